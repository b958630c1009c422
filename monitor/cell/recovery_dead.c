/* SPDX-License-Identifier: BSD-2-Clause */
/* A cell is dead: said, fenced, its guests and those that needed it ended. */

#include <stdio.h>

#include "monitor/cell/recovery_internal.h"

/* Facts that all survivors see are recorded by the lowest of them. */
bool recovery_is_recorder(const struct monitor *m, uint32_t about)
{
	struct cellset live;

	member_live(m->recovery->ms, &live);
	for (uint16_t cell = cellset_next(&live, 0); cell != CELLSET_NONE;
		cell = cellset_next(&live, cell + 1u))
		if (cell != about)
			return cell == m->self;
	return true;
}

static const char *death_text(const struct monitor *m, uint32_t cell, char *text, size_t room)
{
	static const char *const why[MEMBER_EVIDENCE_COUNT] = {
		[MEMBER_EVIDENCE_NO_CPU] = "none of its CPUs executes anything",
		[MEMBER_EVIDENCE_HARDWARE] = "the hardware reported a fatal error",
	};
	enum member_evidence kind = m->recovery->peers[cell].evidence;
	const struct cell_plan *c = &m->plan->cells.cells[cell];
	int used = snprintf(text, room, "%s", c->node_count > 1 ? "nodes" : "node");

	for (uint32_t i = 0; i < c->node_count && used > 0 && (size_t)used < room; i++)
		used += snprintf(text + used, room - (size_t)used, "%s%u", i ? "," : " ",
			m->plan->machine.nodes[c->nodes[i]].os_node);
	if (used > 0 && (size_t)used < room)
		snprintf(text + used, room - (size_t)used, " died, and cell %u with it: %s", cell,
			why[kind] ? why[kind] : "another cell found it dead");
	return text;
}

void recovery_cell_dead(struct monitor *m, const struct member_action *a)
{
	struct examined *x = &m->recovery->peers[a->cell];
	char text[EVENT_CAUSE_BYTES];

	if (x->probe)
		recovery_probe_stop(m, x);
	x->evidence = a->evidence;
	x->dead_life = a->incarnation;
	if (!m->recovery->dead_ns)
		m->recovery->dead_ns = monitor_now_ns();
	death_text(m, a->cell, text, sizeof(text));
	fprintf(stderr, "%s\n", text);
	if (recovery_is_recorder(m, a->cell))
		monitor_event(m, a->cell, NULL, "cell-dead", text);
}

void recovery_fence(struct monitor *m, const struct member_action *a)
{
	struct member_report done = {
		.kind = MEMBER_FENCE, .cell = a->cell, .incarnation = a->incarnation
	};
	struct fence_report monitors, guests;

	recovery_kill_monitors(m, a->cell, (uint64_t)a->incarnation + 1, a->born, &monitors);
	recovery_kill_guests(m, a->cell, &guests);
	fprintf(stderr, "fence of cell %u: %zu processes killed, %zu gone already, %zu failed\n",
		a->cell, monitors.killed + guests.killed, monitors.gone + guests.gone,
		monitors.failed + guests.failed);
	done.result = monitors.failed + guests.failed ? MEMBER_FAILED : MEMBER_DONE;
	member_done(m->recovery->ms, monitor_now_ns(), &done);
}

static bool needs_any(const struct guest *g, const struct cellset *dead)
{
	for (uint32_t i = 0; i < g->need_count; i++)
		if (cellset_has(dead, (uint16_t)g->needs[i]))
			return true;
	return false;
}

static void lose_guests_of(struct monitor *m, uint32_t cell)
{
	struct guest_book *book = &m->replicas[cell].book;
	char text[GUEST_CAUSE_BYTES];

	death_text(m, cell, text, sizeof(text));
	for (size_t i = 0; i < book->count; i++)
		if (guest_move(book->guests[i], GUEST_LOST, text, monitor_wall()) &&
			recovery_is_recorder(m, cell))
			monitor_event(m, cell, book->guests[i]->name, "guest-lost", text);
}

void recovery_end_guests(struct monitor *m, const struct member_action *a)
{
	const struct member_report done = { .kind = MEMBER_END_GUESTS, .epoch = a->epoch };
	const struct guest_book *own = keeper_book(m->keeper);

	for (uint16_t cell = cellset_next(&a->cells, 0); cell != CELLSET_NONE;
		cell = cellset_next(&a->cells, cell + 1u))
		if (cell != m->self)
			lose_guests_of(m, cell);
	for (size_t i = 0; i < own->count; i++)
		if (!guest_ended(own->guests[i]) && needs_any(own->guests[i], &a->cells))
			keeper_lose(m->keeper, own->guests[i]->name, "a cell that it needed died");
	member_done(m->recovery->ms, monitor_now_ns(), &done);
}

void recovery_resumed(struct monitor *m, const struct member_action *a)
{
	struct recovery *r = m->recovery;
	char text[EVENT_CAUSE_BYTES];

	fprintf(stderr, "view %llu: all cells go on\n", (unsigned long long)a->epoch);
	if (!r->dead_ns)
		return;
	snprintf(text, sizeof(text), "the survivors agreed, fenced and went on in %.1f ms",
		(double)(monitor_now_ns() - r->dead_ns) / 1e6);
	r->dead_ns = 0;
	if (recovery_is_recorder(m, UINT32_MAX))
		monitor_event(m, m->self, NULL, "cells-resumed", text);
}
