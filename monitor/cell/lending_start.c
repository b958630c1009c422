/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest that starts with borrowed memory: first the loans, then the process. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/cell/balancing.h"
#include "monitor/cell/ledger.h"
#include "monitor/cell/lending_internal.h"
#include "monitor/cell/room.h"
#include "numa/check.h"
#include "numa/vnuma.h"

static void unlink_start(struct lending *L, const struct lend_start *s)
{
	struct lend_start **at = &L->starts;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
}

/* Nothing stays borrowed of a start that failed. */
static void give_all_back(struct monitor *m, const struct lend_start *s)
{
	for (uint32_t i = 0; i < s->asked_count; i++)
		if (s->asked[i].state == LOAN_HELD)
			loans_return(m->lending->book, monitor_now_ns(), s->asked[i].id, 0);
}

static void enter(struct monitor *m, const struct lend_start *s)
{
	const struct guest *g = guest_book_find(keeper_book(m->keeper), s->spec.name);
	struct borrower *b = borrower_add(m, g, &s->spec, &s->home);

	/* Without a plan by node it can't borrow; room_check_home() wants one of those who have to.
	 */
	CHECK(b != NULL || s->asked_count == 0);
	if (!b)
		return;
	b->number = s->number;
	for (uint32_t i = 0; i < s->asked_count; i++) {
		b->holds[b->hold_count++] = (struct hold){ .line = s->asked[i] };
	}
	borrower_record(m, b);
	ledger_keep(m, b->name);
}

static int begin(struct monitor *m, struct lend_start *s, struct err *e)
{
	int rc = room_check(m, &s->home, e);

	for (uint32_t i = 0; i < s->asked_count && !rc; i++)
		if (!lending_held(m, s->asked[i].id))
			rc = err_set(e, EXIT_NO_ROOM, "cell %u died, or took its memory back",
				s->asked[i].lender);
	if (!rc && m->going_down)
		rc = err_set(e, EXIT_CONFLICT, "the cells are going down");
	s->home.pin_count =
		0; /* which CPUs a gang gets is the home's decision, at the last moment */
	if (!rc && s->spec.gang)
		rc = balancing_place_gang(m, &s->spec, &s->home, e);
	if (!rc)
		rc = keeper_start(
			m->keeper, &s->spec, &s->home, s->deadline_ns, s->done, s->ctx, e);
	if (!rc && s->spec.cells_max > 1)
		enter(m, s);
	return rc;
}

/* Goes on when every cell that was asked has answered. */
static void answered(struct monitor *m, struct lend_start *s)
{
	struct err e;

	for (uint32_t i = 0; i < s->asked_count; i++)
		if (s->asked[i].state == LOAN_ASKED)
			return;
	unlink_start(m->lending, s);
	if (s->e.code != EXIT_OK) {
		give_all_back(m, s);
		s->done(s->ctx, NULL, &s->e);
	} else if (begin(m, s, &e)) {
		give_all_back(m, s);
		s->done(s->ctx, NULL, &e);
	}
	free(s);
}

static struct lend_start *find(const struct monitor *m, uint64_t id, struct loan **asked)
{
	for (struct lend_start *s = m->lending->starts; s; s = s->next)
		for (uint32_t i = 0; i < s->asked_count; i++)
			if (s->asked[i].id == id) {
				*asked = &s->asked[i];
				return s;
			}
	return NULL;
}

static void say_refused(struct monitor *m, struct lend_start *s, const struct loan *asked)
{
	err_set(&s->e, EXIT_NO_ROOM,
		"cell %u does not lend the %llu MiB of node %u that guest '%s' was to borrow: it "
		"has "
		"too little above the %llu MiB that it keeps, or did not answer; try again, give "
		"--memory less, or stop a guest",
		asked->lender, (unsigned long long)(asked->units * VNUMA_UNIT_BYTES >> 20),
		asked->os_node, s->spec.name,
		(unsigned long long)(m->plan->lend_above_bytes >> 20));
}

bool start_granted(struct monitor *m, const struct loan *line)
{
	struct loan *asked;
	struct lend_start *s = find(m, line->id, &asked);

	if (!s || asked->state != LOAN_ASKED)
		return false;
	if (line->units < asked->units || line->os_node != asked->os_node)
		say_refused(m, s, asked);
	*asked = *line;
	answered(m, s);
	return true;
}

bool start_refused(struct monitor *m, const struct loan *line)
{
	struct loan *asked;
	struct lend_start *s = find(m, line->id, &asked);

	if (!s)
		return false;
	say_refused(m, s, asked);
	asked->state = LOAN_FREE;
	answered(m, s);
	return true;
}

void start_struck(struct monitor *m, const struct loan *line)
{
	struct loan *asked;
	struct lend_start *s = find(m, line->id, &asked);

	if (!s)
		return;
	err_set(&s->e, EXIT_NO_ROOM, "cell %u, which was to lend memory to guest '%s', died",
		line->lender, s->spec.name);
	asked->state = LOAN_FREE;
	answered(m, s);
}

/* Asks every node of other cells for what the home has there. 0 or -errno with *e. */
static int ask_all(struct monitor *m, struct lend_start *s, struct err *e)
{
	const struct guest_home *home = &s->home;

	for (uint32_t i = 0; i < home->node_count; i++) {
		const uint32_t os_node = home->nodes[i];
		struct loan *asked = &s->asked[s->asked_count];
		uint64_t bytes = 0;

		for (uint32_t k = 0; k < home->memory_count; k++)
			bytes += home->memory[k].node == os_node ? home->memory[k].bytes : 0;
		if (room_owns(m, os_node) || bytes == 0)
			continue;
		if (s->asked_count == HOLDS_MAX)
			return err_set(
				e, EXIT_INVALID, "a guest borrows of at most %u nodes", HOLDS_MAX);
		asked->lender = (uint16_t)cells_of_node(
			&m->plan->cells, machine_node_of(&m->plan->machine, os_node));
		asked->os_node = os_node;
		asked->units = bytes / VNUMA_UNIT_BYTES;
		asked->state = LOAN_ASKED;
		asked->id = loans_ask(m->lending->book, monitor_now_ns(), s->number, asked->lender,
			os_node, asked->units);
		if (asked->id == 0)
			return err_set(e, EXIT_CONFLICT,
				"cell %u can't be asked for memory now: it is not alive, or the "
				"cells are just agreeing on who is; try again",
				asked->lender);
		s->asked_count++;
	}
	return 0;
}

int lending_start(struct monitor *m, const struct guest_spec *spec, const struct guest_home *home,
	uint64_t deadline_ns, keeper_done *done, void *ctx, struct err *e)
{
	struct lend_start *s = calloc(1, sizeof(*s));
	int rc;

	CHECK(s != NULL);
	s->spec = *spec;
	s->home = *home;
	s->number = m->lending->next_number++;
	s->deadline_ns = deadline_ns;
	s->done = done;
	s->ctx = ctx;
	rc = ask_all(m, s, e);
	if (!rc && s->asked_count > 0) {
		s->next = m->lending->starts;
		m->lending->starts = s;
		lending_pump(m);
		return 0;
	}
	if (!rc)
		rc = begin(m, s, e);
	/* Those that were asked already: nobody waits for the answer, so it is given back. */
	free(s);
	lending_pump(m);
	return rc;
}
