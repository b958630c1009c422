/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/handover.h"

enum move_step move_after(enum move_step step, enum move_event event)
{
	static const enum move_step on_ok[MOVE_STEP_COUNT] = {
		[MOVE_ASK] = MOVE_GATHER,
		[MOVE_GATHER] = MOVE_MEMORY,
		[MOVE_MEMORY] = MOVE_RETURN,
		[MOVE_RETURN] = MOVE_PROCESS,
		[MOVE_PROCESS] = MOVE_ORDER,
		[MOVE_ORDER] = MOVE_WAIT,
		[MOVE_WAIT] = MOVE_DONE,
		[MOVE_DONE] = MOVE_DONE,
		[MOVE_UNDO_PROCESS] = MOVE_UNDO_MEMORY,
		[MOVE_UNDO_MEMORY] = MOVE_FAILED,
		[MOVE_FAILED] = MOVE_FAILED,
	};
	static const enum move_step on_failure[MOVE_STEP_COUNT] = {
		[MOVE_ASK] = MOVE_FAILED,
		[MOVE_GATHER] = MOVE_FAILED,
		[MOVE_MEMORY] = MOVE_UNDO_MEMORY,
		[MOVE_RETURN] = MOVE_UNDO_MEMORY,
		[MOVE_PROCESS] = MOVE_UNDO_PROCESS,
		[MOVE_ORDER] = MOVE_UNDO_PROCESS,
		/* What was ordered can't be taken back. */
		[MOVE_WAIT] = MOVE_WAIT,
		[MOVE_DONE] = MOVE_DONE,
		/* What can't be moved back stays borrowed of the other cell. */
		[MOVE_UNDO_PROCESS] = MOVE_UNDO_MEMORY,
		[MOVE_UNDO_MEMORY] = MOVE_FAILED,
		[MOVE_FAILED] = MOVE_FAILED,
	};

	switch (event) {
	case MOVE_OK:
		return on_ok[step];
	case MOVE_FAILS:
		return on_failure[step];
	default:
		return step == MOVE_DONE ? MOVE_DONE : MOVE_FAILED;
	}
}

const char *move_step_name(enum move_step step)
{
	static const char *const names[MOVE_STEP_COUNT] = {
		[MOVE_ASK] = "asking the new home",
		[MOVE_GATHER] = "calling its vCPUs home",
		[MOVE_MEMORY] = "moving its memory",
		[MOVE_RETURN] = "giving back what it borrowed of other cells",
		[MOVE_PROCESS] = "moving its threads and its process",
		[MOVE_ORDER] = "telling its process the new home",
		[MOVE_WAIT] = "waiting for the new home to have it",
		[MOVE_DONE] = "moved",
		[MOVE_UNDO_PROCESS] = "moving its threads and its process back",
		[MOVE_UNDO_MEMORY] = "moving its memory back",
		[MOVE_FAILED] = "not moved",
	};

	return step < MOVE_STEP_COUNT ? names[step] : "unknown";
}

enum handover_door handover_register(unsigned int self, unsigned int home)
{
	return self == home ? HANDOVER_ADOPT : HANDOVER_SHOW_DOOR;
}

bool handover_let_go(bool attached)
{
	return !attached;
}

bool handover_needs_old(bool old_lives, bool told, bool old_has_it)
{
	return old_lives && (!told || old_has_it);
}
