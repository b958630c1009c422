/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cell/recovery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "monitor/cell/balancing.h"
#include "monitor/cell/lending.h"
#include "monitor/cell/recovery_internal.h"
#include "numa/check.h"

#define HEARTBEAT_NS (100ull * 1000000u)
#define RESTART_NS (15ull * 1000000000u)
#define RETRY_NS HEARTBEAT_NS

int recovery_open(struct monitor *m, uint64_t born, struct err *e)
{
	const uint16_t count = (uint16_t)m->plan->cells.cell_count;
	const struct member_cfg cfg = {
		.self = (uint16_t)m->self,
		.cell_count = count,
		.incarnation = (uint32_t)m->incarnation,
		.born = (uint32_t)born,
		.evidence_mode = MEMBER_ONE_KERNEL,
		.heartbeat_ns = HEARTBEAT_NS,
		.suspect_ns = m->plan->suspect_ms * 1000000ull,
		.evidence_ns = 2 * recovery_probe_ns(m),
		.restart_ns = RESTART_NS,
		.retry_ns = RETRY_NS,
	};
	struct recovery *r = calloc(1, sizeof(*r));

	CHECK(r != NULL);
	m->recovery = r;
	r->memory = calloc(1, member_bytes(count));
	CHECK(r->memory != NULL);
	for (uint32_t cell = 0; cell < CELLS_MAX; cell++) {
		r->peers[cell].m = m;
		r->peers[cell].cell = cell;
	}
	r->reap_ns = UINT64_MAX;
	r->opened_ns = monitor_now_ns();
	r->ms = member_start(r->memory, &cfg, monitor_now_ns());
	if (!r->ms)
		return err_set(e, EXIT_USAGE, "cell %u of %u can't be in its life %llu since %llu",
			m->self, count, (unsigned long long)m->incarnation,
			(unsigned long long)born);
	return 0;
}

void recovery_close(struct monitor *m)
{
	struct recovery *r = m->recovery;

	if (!r)
		return;
	for (uint32_t cell = 0; cell < CELLS_MAX; cell++)
		if (r->peers[cell].probe)
			recovery_probe_stop(m, &r->peers[cell]);
	probe_leftovers_fini(&r->leftovers);
	recovery_forget_children(r, &m->loop);
	free(r->memory);
	free(r);
	m->recovery = NULL;
}

void recovery_link_up(struct monitor *m, const struct transport_peer *peer)
{
	const struct life life = { .incarnation = peer->incarnation,
		.proc = { .pid = peer->pid, .start_time = peer->start_time } };

	recovery_know(&m->recovery->peers[peer->cell], &life);
	member_link(m->recovery->ms, monitor_now_ns(), peer->cell, peer->incarnation, true);
}

void recovery_link_down(struct monitor *m, uint32_t cell, uint64_t incarnation)
{
	member_link(m->recovery->ms, monitor_now_ns(), (uint16_t)cell, incarnation, false);
}

void recovery_message(struct monitor *m, uint32_t cell, uint64_t incarnation, uint16_t op,
	const void *body, size_t bytes)
{
	enum member_recv how = member_recv(
		m->recovery->ms, monitor_now_ns(), (uint16_t)cell, incarnation, op, body, bytes);

	if (how >= MEMBER_RECV_BAD_OP) {
		fprintf(stderr, "message %#x of cell %u can't be true: %s\n", op, cell,
			member_recv_name(how));
		fabric_fail(m->fabric, (uint16_t)cell);
	}
}

void recovery_hardware(struct monitor *m, uint32_t cell)
{
	member_evidence(m->recovery->ms, monitor_now_ns(), (uint16_t)cell,
		member_incarnation(m->recovery->ms, (uint16_t)cell), MEMBER_EVIDENCE_HARDWARE);
}

static void do_event(struct monitor *m, const struct member_action *a)
{
	char text[EVENT_CAUSE_BYTES];

	if (!recovery_is_recorder(m, a->cell) || member_incarnation(m->recovery->ms, a->cell) == 0)
		return;
	if (a->event == MEMBER_EVENT_SUSPECT) {
		snprintf(text, sizeof(text),
			"its monitor has been silent for %u ms; looking whether its process and "
			"CPUs "
			"live",
			m->plan->suspect_ms);
		monitor_event(m, a->cell, NULL, "cell-suspect", text);
	} else if (a->event == MEMBER_EVENT_HEARD) {
		monitor_event(m, a->cell, NULL, "cell-heard", "its monitor speaks again");
	}
}

static void log_view(const struct member_action *a)
{
	fprintf(stderr, "view %llu: cells", (unsigned long long)a->epoch);
	for (uint16_t cell = cellset_next(&a->cells, 0); cell != CELLSET_NONE;
		cell = cellset_next(&a->cells, cell + 1u))
		fprintf(stderr, " %u", cell);
	fprintf(stderr, " are alive\n");
}

static void perform(struct monitor *m, const struct member_action *a)
{
	switch (a->kind) {
	case MEMBER_SEND:
		/* Lost when there is no link or no room: the state machine repeats what matters. */
		fabric_send(m->fabric, a->cell, a->op, a->body, a->body_bytes);
		break;
	case MEMBER_GATHER:
		recovery_gather(m, a->cell, a->incarnation);
		break;
	case MEMBER_RESTART:
		recovery_restart(m, a);
		break;
	case MEMBER_STOP_SELF:
		fprintf(stderr, "life %u of cell %u is over: the others go on without it\n",
			a->incarnation, m->self);
		m->exit_ns = 0;
		break;
	case MEMBER_CELL_DEAD:
		recovery_cell_dead(m, a);
		break;
	case MEMBER_FENCE:
		recovery_fence(m, a);
		break;
	case MEMBER_ABORT_CALLS:
		for (uint16_t cell = cellset_next(&a->cells, 0); cell != CELLSET_NONE;
			cell = cellset_next(&a->cells, cell + 1u))
			fabric_dead(m->fabric, cell, m->recovery->peers[cell].dead_life);
		break;
	case MEMBER_DROP_LOANS:
		for (uint16_t cell = cellset_next(&a->cells, 0); cell != CELLSET_NONE;
			cell = cellset_next(&a->cells, cell + 1u))
			balancing_dead(m, cell);
		lending_drop(m, &a->cells);
		break;
	case MEMBER_END_GUESTS:
		recovery_end_guests(m, a);
		break;
	case MEMBER_VIEW:
		log_view(a);
		balancing_view(m);
		break;
	case MEMBER_RESUMED:
		recovery_resumed(m, a);
		lending_resumed(m);
		break;
	case MEMBER_EVENT:
		do_event(m, a);
		break;
	case MEMBER_ACTION_COUNT:
		break;
	}
}

/* While the cells go down, silence and missing processes are no news. */
static bool wanted(const struct monitor *m, const struct member_action *a)
{
	return !m->going_down || a->kind == MEMBER_SEND;
}

void recovery_turn(struct monitor *m, uint64_t now_ns)
{
	struct recovery *r = m->recovery;
	struct member_action a;

	for (uint32_t cell = 0; cell < m->plan->cells.cell_count; cell++)
		if (r->peers[cell].probe && r->peers[cell].probe_deadline_ns <= now_ns)
			recovery_probe_look(&r->peers[cell], now_ns);
	if (r->reap_ns <= now_ns)
		r->reap_ns = probe_reap(&r->leftovers) ? now_ns + RECOVERY_REAP_NS : UINT64_MAX;
	/* What came before may have told it of a later time already. */
	member_tick(r->ms, monitor_now_ns());
	while (member_next(r->ms, &a))
		if (wanted(m, &a))
			perform(m, &a);
}

uint64_t recovery_due(const struct monitor *m)
{
	const struct recovery *r = m->recovery;
	uint64_t due = member_due(r->ms);

	for (uint32_t cell = 0; cell < m->plan->cells.cell_count; cell++)
		if (r->peers[cell].probe && r->peers[cell].probe_deadline_ns < due)
			due = r->peers[cell].probe_deadline_ns;
	return r->reap_ns < due ? r->reap_ns : due;
}

uint32_t recovery_live_count(const struct monitor *m)
{
	struct cellset live;

	if (member_epoch(m->recovery->ms) == 0 || member_suspended(m->recovery->ms))
		return 0;
	member_live(m->recovery->ms, &live);
	return cellset_count(&live);
}

bool recovery_suspended(const struct monitor *m)
{
	return member_epoch(m->recovery->ms) == 0 || member_suspended(m->recovery->ms);
}

bool recovery_gone(const struct monitor *m, uint32_t cell, uint32_t born)
{
	const struct membership *ms = m->recovery->ms;

	return member_epoch(ms) != 0 && !member_holds(ms, (uint16_t)cell, born);
}

bool recovery_life(const struct monitor *m, uint32_t cell, uint32_t *incarnation, uint32_t *born)
{
	struct cellset live;

	member_live(m->recovery->ms, &live);
	*incarnation = member_incarnation(m->recovery->ms, (uint16_t)cell);
	*born = member_born(m->recovery->ms, (uint16_t)cell);
	return cellset_has(&live, (uint16_t)cell);
}

enum cell_state monitor_cell_state(const struct monitor *m, uint32_t cell)
{
	if (cell == m->self)
		return CELL_ALIVE;
	switch (member_state(m->recovery->ms, (uint16_t)cell)) {
	case MEMBER_ALIVE:
		return CELL_ALIVE;
	case MEMBER_DEAD:
		return CELL_DEAD;
	default:
		return CELL_SUSPECT;
	}
}

const char *cell_state_name(enum cell_state state)
{
	static const char *const names[] = { "alive", "suspect", "dead" };

	return names[state];
}

void monitor_askable(const struct monitor *m, bool cells[CELLS_MAX])
{
	memset(cells, 0, CELLS_MAX * sizeof(cells[0]));
	for (uint32_t cell = 0; cell < m->plan->cells.cell_count; cell++) {
		struct transport_peer peer;

		cells[cell] =
			cell == m->self || (monitor_cell_state(m, cell) == CELL_ALIVE &&
						   fabric_peer(m->fabric, (uint16_t)cell, &peer));
	}
}
