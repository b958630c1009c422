/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_HANDOVER_H
#define CELLVISOR_FAULTCONTAIN_HANDOVER_H

/*
 * A guest moves to another cell: the steps of its old home, and the rules by which
 * exactly one monitor is its home, whoever dies in between. docs/moving.md argues them. Pure.
 */

#include <stdbool.h>

/* What the old home does, in this order. */
enum move_step {
	MOVE_ASK,     /* will the new home have it? */
	MOVE_GATHER,  /* its vCPUs come home from visits */
	MOVE_MEMORY,  /* all its RAM is borrowed of the new home, and moves there */
	MOVE_RETURN,  /* loans of third cells end */
	MOVE_PROCESS, /* threads and the process's own memory */
	MOVE_ORDER,   /* the guest process is told its new home */
	MOVE_WAIT,    /* until the new home has it in its book */
	MOVE_DONE,
	/* When something before MOVE_WAIT fails. */
	MOVE_UNDO_PROCESS,
	MOVE_UNDO_MEMORY,
	MOVE_FAILED,
	MOVE_STEP_COUNT,
};

enum move_event {
	MOVE_OK,    /* the step is done */
	MOVE_FAILS, /* it can't be done */
	MOVE_ENDED, /* the guest has ended */
	MOVE_EVENT_COUNT,
};

/* The step that follows. */
enum move_step move_after(enum move_step step, enum move_event event);

/* For people: "asking the new home", ... */
const char *move_step_name(enum move_step step);

/*
 * A guest process introduces itself to the monitor of `self` and says that `home` is its home:
 * its word decides, for it takes the order to move in one step.
 */
enum handover_door {
	HANDOVER_ADOPT,
	HANDOVER_SHOW_DOOR, /* of its home */
};
enum handover_door handover_register(unsigned int self, unsigned int home);

/*
 * A peer's book has come, with this very process as a living guest of the peer. May this
 * monitor's own record of it be dropped? `attached`: the process is connected to it.
 */
bool handover_let_go(bool attached);

/*
 * Does the guest still need the home that it came from? Until the old home's book, as far as
 * this life has been told it, does not have it any more: then nobody kills it with that cell.
 */
bool handover_needs_old(bool old_lives, bool told, bool old_has_it);

#endif
