/* SPDX-License-Identifier: BSD-2-Clause */
/* The new home of a guest that moves, and both homes' books. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/cell/draining.h"
#include "monitor/cell/ledger.h"
#include "monitor/cell/moving_internal.h"
#include "monitor/cell/request.h"
#include "monitor/cell/room.h"
#include "numa/check.h"

void moving_serve_expect(struct monitor *m, const struct asker *who, const struct request *r)
{
	const struct guest *g = guest_book_find(keeper_book(m->keeper), r->name);
	uint64_t sum;
	json_t *nodes = room_by_node(m, &sum);
	struct err e;

	if (m->going_down)
		err_set(&e, EXIT_CONFLICT, "the cells are going down");
	else if (draining_closed(m))
		err_set(&e, EXIT_CONFLICT,
			"cell %u takes no guests: it is %s; `cellvisor undrain %u` changes that",
			m->self, draining_name(m), m->self);
	else if (g && !guest_ended(g))
		err_set(&e, EXIT_CONFLICT, "guest '%s' is on cell %u already", r->name, m->self);
	else if (guest_book_live(keeper_book(m->keeper), NULL) >= GUESTS_LIVE_MAX)
		err_set(&e, EXIT_NO_ROOM, "cell %u already has %u guests, the most it takes",
			m->self, GUESTS_LIVE_MAX);
	else {
		asker_reply(m, who, json_pack("{s:b, s:o}", "ok", 1, "free", nodes));
		return;
	}
	json_decref(nodes);
	asker_refuse(m, who, &e);
}

/* --- the new home --- */

static struct arrival *find(const struct monitor *m, const char *name)
{
	for (struct arrival *a = m->moving->arrivals; a; a = a->next)
		if (!strcmp(a->name, name))
			return a;
	return NULL;
}

void moving_registered(struct monitor *m, const struct guest *g, const json_t *ledger)
{
	const json_t *from = json_object_get(ledger, MOVING_FROM);
	struct arrival *a = find(m, g->name);
	uint32_t cell;

	/* What a peer remembered of its needs is replaced by what it says. */
	if (!json_is_integer(from) || json_integer_value(from) < 0 ||
		json_integer_value(from) >= m->plan->cells.cell_count ||
		json_integer_value(from) == m->self) {
		keeper_need(m->keeper, g->name, KEEPER_NEED_MOVE, NULL, 0);
		return;
	}
	cell = (uint32_t)json_integer_value(from);
	if (!a) {
		a = calloc(1, sizeof(*a));
		CHECK(a != NULL);
		a->next = m->moving->arrivals;
		m->moving->arrivals = a;
	}
	memcpy(a->name, g->name, sizeof(a->name));
	a->proc = g->proc;
	a->from = cell;
	keeper_need(m->keeper, g->name, KEEPER_NEED_MOVE, &cell, 1);
	keeper_take_folder(m->keeper, g->name, cell);
}

json_t *moving_mark(const struct monitor *m, const char *name, json_t *ledger)
{
	const struct arrival *a = m->moving ? find(m, name) : NULL;

	if (a && ledger)
		json_object_set_new(ledger, MOVING_FROM, json_integer(a->from));
	return ledger;
}

static bool same(const struct proc_id *a, const struct proc_id *b)
{
	return a->pid == b->pid && a->start_time == b->start_time;
}

/* This very process, as a live guest in a book; NULL: not there. */
static const struct guest *has(const struct guest_book *book, const struct proc_id *proc)
{
	for (size_t i = 0; i < book->count; i++)
		if (!guest_ended(book->guests[i]) && same(&book->guests[i]->proc, proc))
			return book->guests[i];
	return NULL;
}

/* Those that nobody else has in his book any more need their old home no longer. */
static void settle_arrivals(struct monitor *m)
{
	struct arrival **at = &m->moving->arrivals;

	while (*at) {
		struct arrival *a = *at;
		const struct guest *g = has(keeper_book(m->keeper), &a->proc);
		const bool lives = monitor_cell_state(m, a->from) != CELL_DEAD;

		if (g && handover_needs_old(lives, m->replicas[a->from].known,
				 has(&m->replicas[a->from].book, &a->proc) != NULL)) {
			at = &a->next;
			continue;
		}
		*at = a->next;
		if (g) {
			keeper_need(m->keeper, g->name, KEEPER_NEED_MOVE, NULL, 0);
			ledger_keep(m, g->name);
		}
		free(a);
	}
}

/* --- any home --- */

void moving_book(struct monitor *m, uint32_t cell)
{
	const struct guest_book *theirs = &m->replicas[cell].book;
	char cause[GUEST_CAUSE_BYTES];

	for (size_t i = 0; i < theirs->count; i++) {
		const struct guest *row = theirs->guests[i], *own;
		char name[SPEC_NAME_MAX + 1];

		own = guest_ended(row) ? NULL : has(keeper_book(m->keeper), &row->proc);
		if (!own || !handover_let_go(keeper_attached(m->keeper, own->name)))
			continue;
		memcpy(name, own->name, sizeof(name));
		snprintf(cause, sizeof(cause), "from cell %u to cell %u", m->self, cell);
		keeper_let_go(m->keeper, name, cause);
		moving_taken(m, name);
	}
}

void moving_turn(struct monitor *m, uint64_t now_ns)
{
	moving_steps(m, now_ns);
	settle_arrivals(m);
}
