/* SPDX-License-Identifier: BSD-2-Clause */
/* The loan book of a cell, between the fabric, the membership and the guests. */

#include "monitor/cell/lending.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/cell/draining.h"
#include "monitor/cell/lending_internal.h"
#include "monitor/cell/recovery.h"
#include "monitor/cell/room.h"
#include "numa/check.h"
#include "numa/host/cgroup.h"
#include "numa/loans_policy.h"
#include "numa/vnuma.h"

#define LINES_MAX 512u
#define LINES_PER_PEER 128u
#define RETRY_NS (200ull * 1000000u)
#define PATIENCE_NS (3000ull * 1000000u)
/* How often a cell looks at its own memory, if it has a part in any loan. */
#define LOOK_NS (50ull * 1000000u)
/* Guests of a former life register within this time; see also keeper_awaits(). */
#define CLAIM_NS (3000ull * 1000000u)
/* What was recalled and not returned meanwhile is asked for again. */
#define RECALL_NS (2000ull * 1000000u)
#define LOOK_AGAIN_NS (1000ull * 1000000u)

/* A message: the operation, 0, and what loan_encode() makes. */
#define BODY_BYTES (4u + LOAN_MSG_BYTES)

int lending_open(struct monitor *m, uint64_t born, struct err *e)
{
	const struct loans_cfg cfg = {
		.self = (uint16_t)m->self,
		.cell_count = (uint16_t)m->plan->cells.cell_count,
		.incarnation = (uint32_t)m->incarnation,
		.born = (uint32_t)born,
		.line_max = LINES_MAX,
		.peer_line_max = LINES_PER_PEER,
		.retry_ns = RETRY_NS,
		.patience_ns = PATIENCE_NS,
		.lend_above_units = m->plan->lend_above_bytes / VNUMA_UNIT_BYTES,
	};
	struct lending *L = calloc(1, sizeof(*L));
	struct err ignored;
	int rc;

	CHECK(L != NULL);
	m->lending = L;
	L->born = (uint32_t)born;
	L->memory = calloc(1, loans_bytes(cfg.cell_count, cfg.line_max));
	CHECK(L->memory != NULL);
	L->book = loans_start(L->memory, &cfg, monitor_now_ns());
	if (!L->book)
		return err_set(e, EXIT_USAGE, "cell %u can't keep a loan book", m->self);
	L->next_number = 1;
	L->claim_ns = born < m->incarnation ? monitor_now_ns() + CLAIM_NS : UINT64_MAX;
	L->cgroups = cgroup_offered(&ignored) == 0;
	rc = mover_open(&L->mover, &m->loop);
	return rc ? err_set(e, EXIT_ENVIRONMENT, "can't move pages: %s", strerror(-rc)) : 0;
}

void lending_close(struct monitor *m)
{
	struct lending *L = m->lending;

	if (!L)
		return;
	if (L->mover)
		mover_close(L->mover);
	while (L->borrowers) {
		struct borrower *b = L->borrowers;

		L->borrowers = b->next;
		free(b->op);
		free(b);
	}
	while (L->starts) {
		struct lend_start *s = L->starts;

		L->starts = s->next;
		free(s);
	}
	free(L->memory);
	free(L);
	m->lending = NULL;
}

/* Has the book of a monitor that replaced another been put together again? */
static bool book_is_whole(const struct monitor *m)
{
	const struct lending *L = m->lending;

	if (L->born == m->incarnation)
		return true;
	if (L->claim_ns != UINT64_MAX || !L->resumed)
		return false;
	for (uint32_t c = 0; c < m->plan->cells.cell_count; c++)
		if (L->lives[c] && !loans_agreed(L->book, (uint16_t)c))
			return false;
	return true;
}

/* What guests of other cells have on a node of this one, as their monitors told. */
static uint64_t used_by_others(const struct monitor *m, uint32_t os_node)
{
	uint64_t sum = 0;

	for (uint32_t c = 0; c < m->plan->cells.cell_count; c++)
		if (c != m->self)
			sum += guest_book_promised(&m->replicas[c].book, os_node);
	return sum;
}

uint64_t lending_lent(const struct monitor *m, uint32_t os_node)
{
	uint64_t lent = loans_lent(m->lending->book, os_node) * VNUMA_UNIT_BYTES, used;

	if (book_is_whole(m))
		return lent;
	used = used_by_others(m, os_node);
	return used > lent ? used : lent;
}

bool lending_held(const struct monitor *m, uint64_t id)
{
	const struct loan *line;

	for (uint32_t at = 0; (line = loans_line(m->lending->book, &at));)
		if (line->borrower == m->self && line->id == id)
			return line->state == LOAN_HELD;
	return false;
}

void lending_distances(const struct monitor *m, uint8_t distance[CELLS_MAX])
{
	const struct cells *cells = &m->plan->cells;
	const struct cell_plan *own = &cells->cells[m->self];

	for (uint32_t c = 0; c < cells->cell_count; c++) {
		distance[c] = UINT8_MAX;
		for (uint32_t i = 0; i < own->node_count; i++)
			for (uint32_t k = 0; k < cells->cells[c].node_count; k++) {
				uint8_t d =
					m->plan->machine
						.distance[own->nodes[i]][cells->cells[c].nodes[k]];

				distance[c] = d < distance[c] ? d : distance[c];
			}
	}
}

/* --- the book --- */

static void send_message(struct monitor *m, uint32_t cell, const struct loan_msg *msg)
{
	uint8_t body[BODY_BYTES] = { (uint8_t)msg->op, 0, 0, 0 };

	loan_encode(msg, body + 4);
	/* Lost when there is no link or no room: the book repeats what matters. */
	(void)fabric_send(m->fabric, (uint16_t)cell, CELL_OP_LOAN, body, sizeof(body));
}

/* What may be lent: as much as guests could still get, with what is lent already. */
static void offer(struct monitor *m)
{
	const struct cell_plan *c = &m->plan->cells.cells[m->self];

	for (uint32_t i = 0; i < c->node_count; i++) {
		const uint32_t os_node = m->plan->machine.nodes[c->nodes[i]].os_node;

		loans_offer(m->lending->book, os_node,
			room_of(m, c->nodes[i]) / VNUMA_UNIT_BYTES +
				loans_lent(m->lending->book, os_node));
	}
}

/* The lender is dead, and the guest with it; nothing of it may run on. */
static void struck(struct monitor *m, const struct loan *line)
{
	char cause[GUEST_CAUSE_BYTES];

	if (line->borrower != m->self)
		return;
	start_struck(m, line);
	for (struct borrower *b = m->lending->borrowers; b; b = b->next)
		if (borrower_hold(b, line->id)) {
			snprintf(cause, sizeof(cause), "cell %u, which lent it memory, died",
				line->lender);
			keeper_lose(m->keeper, b->name, cause);
			borrower_drop_hold(b, line->id);
		}
}

static void recalled(struct monitor *m, const struct loan *line, uint64_t units)
{
	for (struct borrower *b = m->lending->borrowers; b; b = b->next) {
		struct hold *h = borrower_hold(b, line->id);

		if (h)
			h->wanted_units = units;
	}
}

void lending_pump(struct monitor *m)
{
	struct loans *book = m->lending->book;
	struct loans_action a;

	while (loans_next(book, &a))
		switch (a.kind) {
		case LOANS_SEND:
			send_message(m, a.cell, &a.msg);
			break;
		case LOANS_GRANTED:
			/* Whoever wanted it may be gone. */
			if (!move_granted(m, &a.line) && !start_granted(m, &a.line))
				loans_return(book, monitor_now_ns(), a.line.id, 0);
			break;
		case LOANS_REFUSED:
			if (!move_refused(m, &a.line))
				(void)start_refused(m, &a.line);
			break;
		case LOANS_RECALLED:
			recalled(m, &a.line, a.units);
			break;
		case LOANS_STRUCK:
			struck(m, &a.line);
			break;
		}
}

void lending_message(
	struct monitor *m, uint32_t cell, uint64_t incarnation, const void *body, size_t bytes)
{
	struct lending *L = m->lending;
	const uint8_t *at = body;
	struct loan_msg msg, reply;

	if (bytes != BODY_BYTES || at[1] || at[2] || at[3] ||
		!loan_decode(at[0], at + 4, LOAN_MSG_BYTES, &msg)) {
		fprintf(stderr, "a message about a loan from cell %u can't be true\n", cell);
		fabric_fail(m->fabric, (uint16_t)cell);
		return;
	}
	if (L->lives[cell] == 0 || incarnation != L->lives[cell])
		return;
	if (msg.op == LOAN_OP_REQUEST)
		offer(m);
	switch (loans_recv(L->book, monitor_now_ns(), (uint16_t)cell, &msg, &reply)) {
	case LOANS_RECV_REPLY:
		send_message(m, cell, &reply);
		break;
	case LOANS_RECV_BAD:
		fprintf(stderr, "what cell %u says of a loan can't be true\n", cell);
		fabric_fail(m->fabric, (uint16_t)cell);
		break;
	case LOANS_RECV_OK:
	case LOANS_RECV_LATE:
		break;
	}
	lending_pump(m);
}

/* --- membership --- */

void lending_drop(struct monitor *m, const struct cellset *dead)
{
	for (uint16_t cell = cellset_next(dead, 0); cell != CELLSET_NONE;
		cell = cellset_next(dead, cell + 1u))
		if (cell != m->self) {
			m->lending->lives[cell] = 0;
			loans_peer(m->lending->book, monitor_now_ns(), cell, 0, 0, false);
		}
	lending_pump(m);
}

void lending_resumed(struct monitor *m)
{
	m->lending->resumed = true;
	for (uint32_t cell = 0; cell < m->plan->cells.cell_count; cell++) {
		uint32_t incarnation, born;
		bool live;

		if (cell == m->self)
			continue;
		live = recovery_life(m, cell, &incarnation, &born);
		m->lending->lives[cell] = live ? incarnation : 0;
		loans_peer(m->lending->book, monitor_now_ns(), (uint16_t)cell, incarnation, born,
			live);
	}
	lending_pump(m);
}

/* --- guests of a former life --- */

/* One that held memory which was given up meanwhile, or of a cell that died, can't go on. */
static void lose(struct monitor *m, const char *name)
{
	keeper_lose(m->keeper, name,
		"the loan of the memory that it used was given up while its process did not "
		"answer, or its lender died");
}

/* Is all that it has on nodes of other cells borrowed of them? */
static bool covered(const struct monitor *m, const struct borrower *b)
{
	for (uint32_t i = 0; i < b->layout.count; i++) {
		const uint32_t os_node = b->layout.ranges[i].os_node;
		uint64_t held = 0;

		for (uint32_t k = 0; k < b->hold_count; k++)
			if (b->holds[k].line.os_node == os_node)
				held += b->holds[k].line.units;
		if (!room_owns(m, os_node) && held < ram_on(&b->layout, os_node))
			return false;
	}
	return true;
}

void lending_registered(struct monitor *m, const struct guest *g, const struct guest_spec *spec,
	const struct guest_home *home, const json_t *ledger)
{
	struct borrower *b;

	/* One that may need no other cell has borrowed if it was on its way to one. */
	if (spec->cells_max <= 1 && json_array_size(json_object_get(ledger, "loans")) == 0)
		return;
	b = borrower_add(m, g, spec, home);
	if (!b)
		return;
	if ((ledger && !ledger_decode(ledger, b)) ||
		ram_units(&b->layout) != spec->memory_bytes / VNUMA_UNIT_BYTES || !covered(m, b)) {
		lose(m, b->name);
		return;
	}
	for (uint32_t i = 0; i < b->hold_count; i++)
		if (!loans_claim(m->lending->book, &b->holds[i].line))
			lose(m, b->name);
	if (b->number >= m->lending->next_number)
		m->lending->next_number = b->number + 1;
	b->settle = b->hold_count > 0;
	borrower_record(m, b);
}

static void end_of_claims(struct monitor *m, uint64_t now_ns)
{
	struct lending *L = m->lending;

	/* A guest that is known to use memory of others, but doesn't answer, holds what it holds.
	 */
	if (L->claim_ns > now_ns || m->settled_ns || keeper_awaits(m->keeper))
		return;
	L->claim_ns = UINT64_MAX;
	loans_claimed(L->book, now_ns);
}

/* --- looking after this cell's own memory --- */

static struct recall *find_recall(struct lending *L, const struct loan *line)
{
	for (size_t i = 0; i < RECALLS_MAX; i++)
		if (L->recalls[i].id == line->id && L->recalls[i].borrower == line->borrower)
			return &L->recalls[i];
	return NULL;
}

static bool is_recalled(void *ctx, const struct loan *line)
{
	return find_recall(ctx, line) != NULL;
}

static uint64_t recalled_units(struct lending *L, uint32_t os_node)
{
	const struct loan *line;
	uint64_t sum = 0;

	for (uint32_t at = 0; (line = loans_line(L->book, &at));) {
		const struct recall *r = line->state == LOAN_LENT && line->os_node == os_node
						 ? find_recall(L, line)
						 : NULL;

		if (r)
			sum += r->units < line->units ? r->units : line->units;
	}
	return sum;
}

static void recall(struct monitor *m, uint32_t os_node, uint64_t units, uint64_t now_ns)
{
	struct lending *L = m->lending;
	uint8_t distance[CELLS_MAX];
	const struct loan *line;
	struct recall *r = L->recalls;

	lending_distances(m, distance);
	line = loans_pick_recall(L->book, distance, os_node, is_recalled, L);
	while (r < L->recalls + RECALLS_MAX && r->id)
		r++;
	if (!line || r == L->recalls + RECALLS_MAX)
		return;
	*r = (struct recall){ .id = line->id,
		.borrower = line->borrower,
		.os_node = os_node,
		.units = units < line->units ? units : line->units,
		.until_ns = now_ns + RECALL_NS };
	loans_recall(L->book, now_ns, line->borrower, line->id, r->units);
}

/* Only what was borrowed by itself, of guests at rest, is given back by itself. */
static bool stays(void *ctx, const struct loan *line)
{
	const struct monitor *m = ctx;

	for (struct borrower *b = m->lending->borrowers; b; b = b->next) {
		struct hold *h = borrower_hold(b, line->id);

		if (h)
			return h->asked_for || b->settle || !borrower_rests(m, b, monitor_now_ns());
	}
	return true;
}

static void give_back(struct monitor *m, uint32_t os_node, uint64_t units)
{
	struct move_request r = { .node = os_node };
	uint8_t distance[CELLS_MAX];
	const struct loan *line;
	struct err e;

	lending_distances(m, distance);
	line = loans_pick_return(m->lending->book, distance, units, stays, m, &r.units);
	if (!line)
		return;
	r.units = line->units - r.units;
	for (struct borrower *b = m->lending->borrowers; b; b = b->next) {
		struct hold *h = borrower_hold(b, line->id);

		if (h && move_return(m, b, h, &r, &e))
			b->retry_ns = monitor_now_ns() + LOOK_AGAIN_NS;
	}
}

static void borrow(struct monitor *m, uint32_t os_node, uint32_t guest, uint64_t units)
{
	const struct move_request r = {
		.lender = LENDING_ANY, .node = os_node, .lender_node = NODE_NONE, .units = units
	};
	struct borrower *b = m->lending->borrowers;
	struct err e;

	for (; guest > 0 && b; guest--)
		b = b->next;
	CHECK(b != NULL);
	b->retry_ns = monitor_now_ns() + LOOK_AGAIN_NS;
	if (move_borrow(m, b, &r, &e))
		fprintf(stderr, "%s\n", e.text);
}

static void look_after(struct monitor *m, uint32_t n, uint64_t now_ns)
{
	struct lending *L = m->lending;
	const uint32_t os_node = m->plan->machine.nodes[n].os_node;
	const struct loans_thresholds t = {
		.borrow_below_units = m->plan->borrow_below_bytes / VNUMA_UNIT_BYTES,
		.lend_above_units = m->plan->lend_above_bytes / VNUMA_UNIT_BYTES,
	};
	const struct loans_node node = {
		.free_units = room_of(m, n) / VNUMA_UNIT_BYTES,
		.lent_units = loans_lent(L->book, os_node),
		.recalled_units = recalled_units(L, os_node),
	};
	struct loans_guest guests[GUESTS_LIVE_MAX];
	uint32_t count = 0, guest;
	uint64_t units;

	for (const struct borrower *b = L->borrowers; b && count < GUESTS_LIVE_MAX; b = b->next) {
		bool needs[CELLS_MAX];
		uint32_t needed = borrower_needs(m, b, needs);

		guests[count++] = (struct loans_guest){
			.here_units = ram_on(&b->layout, os_node),
			.may_borrow = !b->settle && borrower_rests(m, b, now_ns) &&
				      (needed < b->cells_max || needed > 1),
			.needs_others = needed > 1,
		};
	}
	switch (loans_look_after(&node, guests, count, &t, &guest, &units)) {
	case LOANS_REST:
		break;
	case LOANS_RECALL:
		recall(m, os_node, units, now_ns);
		break;
	case LOANS_BORROW:
		borrow(m, os_node, guest, units);
		break;
	case LOANS_RETURN:
		give_back(m, os_node, units);
		break;
	}
}

/* What lenders want back goes home as far as there is room. */
static void obey_recalls(struct monitor *m, uint64_t now_ns)
{
	struct err e;

	for (struct borrower *b = m->lending->borrowers; b; b = b->next)
		for (uint32_t i = 0; i < b->hold_count; i++) {
			struct hold *h = &b->holds[i];
			const struct move_request r = { .node = NODE_NONE,
				.units = h->wanted_units };

			if (!h->wanted_units || b->settle || !borrower_rests(m, b, now_ns))
				continue;
			if (move_return(m, b, h, &r, &e))
				b->retry_ns = now_ns + LOOK_AGAIN_NS;
			break;
		}
}

void lending_recall_all(struct monitor *m)
{
	const struct cell_plan *c = &m->plan->cells.cells[m->self];

	for (uint32_t i = 0; i < c->node_count; i++)
		recall(m, m->plan->machine.nodes[c->nodes[i]].os_node, UINT64_MAX,
			monitor_now_ns());
	lending_pump(m);
}

uint64_t lending_all_lent(const struct monitor *m)
{
	return loans_lent(m->lending->book, NODE_NONE) * VNUMA_UNIT_BYTES;
}

static bool has_part(const struct monitor *m)
{
	return m->lending->borrowers || loans_lent(m->lending->book, NODE_NONE) > 0;
}

static void look(struct monitor *m, uint64_t now_ns)
{
	struct lending *L = m->lending;
	const struct cell_plan *c = &m->plan->cells.cells[m->self];

	L->look_ns = now_ns + LOOK_NS;
	for (size_t i = 0; i < RECALLS_MAX; i++)
		if (L->recalls[i].until_ns <= now_ns)
			L->recalls[i].id = 0;
	if (recovery_suspended(m) || m->going_down || L->claim_ns != UINT64_MAX)
		return;
	for (struct borrower *b = L->borrowers; b; b = b->next)
		if (b->settle && borrower_rests(m, b, now_ns))
			move_settle(m, b);
	obey_recalls(m, now_ns);
	/* A closed cell wants nothing: what is left here leaves. */
	for (uint32_t i = 0; i < c->node_count && !draining_closed(m); i++)
		look_after(m, c->nodes[i], now_ns);
}

void lending_turn(struct monitor *m, uint64_t now_ns)
{
	struct lending *L = m->lending;

	loans_suspend(L->book, now_ns, recovery_suspended(m));
	borrowers_tidy(m);
	end_of_claims(m, now_ns);
	moves_turn(m);
	if (has_part(m) && L->look_ns <= now_ns)
		look(m, now_ns);
	loans_tick(L->book, now_ns);
	lending_pump(m);
}

uint64_t lending_due(const struct monitor *m, uint64_t now_ns)
{
	const struct lending *L = m->lending;
	uint64_t due = loans_due(L->book);

	if (has_part(m) && L->look_ns < due)
		due = L->look_ns;
	if (L->claim_ns != UINT64_MAX) {
		uint64_t claim_ns = L->claim_ns > now_ns ? L->claim_ns : now_ns + LOOK_NS;

		due = claim_ns < due ? claim_ns : due;
	}
	return due;
}

void lending_describe(const struct monitor *m, json_t *row)
{
	const struct loans *book = m->lending->book;
	static const char *const states[] = { "free", "asked", "held", "returning", "lent",
		"over" };
	json_t *lines = json_array();
	const struct loan *line;

	for (uint32_t at = 0; (line = loans_line(book, &at));)
		json_array_append_new(
			lines, json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "id",
				       (json_int_t)line->id, "lender", (json_int_t)line->lender,
				       "borrower", (json_int_t)line->borrower, "guest",
				       (json_int_t)line->guest, "node",
				       line->os_node == NODE_NONE ? (json_int_t)-1
								  : (json_int_t)line->os_node,
				       "bytes", (json_int_t)(line->units * VNUMA_UNIT_BYTES),
				       "state", states[line->state]));
	json_object_set_new(row, "lent_bytes",
		json_integer((json_int_t)(loans_lent(book, NODE_NONE) * VNUMA_UNIT_BYTES)));
	json_object_set_new(row, "borrowed_bytes",
		json_integer((json_int_t)(loans_borrowed(book, UINT16_MAX, UINT32_MAX) *
					  VNUMA_UNIT_BYTES)));
	json_object_set_new(row, "loans", lines);
}
