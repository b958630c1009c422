/* SPDX-License-Identifier: BSD-2-Clause */
/* Loans of a running guest: borrow and move pages there, move them home and give back. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/cell/ledger.h"
#include "monitor/cell/lending_internal.h"
#include "monitor/cell/room.h"
#include "numa/check.h"
#include "numa/loans_policy.h"
#include "numa/vnuma.h"

/* Cells that don't say what they have free in time are not asked for it. */
#define LOOK_FREE_NS (500ull * 1000000u)
/* After something that failed, the next time is so much later, doubling up to a minute. */
#define AGAIN_NS (2000ull * 1000000u)
#define AGAIN_DOUBLINGS 6u

static struct lend_op *op_begin(
	struct monitor *m, struct borrower *b, enum lend_kind kind, const struct move_request *r)
{
	struct lend_op *op = calloc(1, sizeof(*op));

	CHECK(op != NULL && !b->op);
	op->m = m;
	op->b = b;
	op->kind = kind;
	op->from_node = r->node;
	op->units = r->units;
	op->asked_for = r->asked_for;
	op->whole = r->whole;
	op->everywhere = r->everywhere;
	op->done = r->done;
	op->ctx = r->ctx;
	op->begun_ns = monitor_now_ns();
	b->op = op;
	return op;
}

static void log_success(const struct lend_op *op)
{
	const struct lending_report *r = &op->report;
	char text[EVENT_CAUSE_BYTES];

	if (op->kind == LEND_SETTLE)
		return;
	snprintf(text, sizeof(text), "%llu MiB of cell %u, node %u: %s; %llu pages moved",
		(unsigned long long)(r->bytes >> 20), r->lender, r->os_node,
		op->asked_for		  ? "on request"
		: op->kind == LEND_BORROW ? "its home was short of memory"
		: op->done		  ? "given back on request"
					  : "there is room at home, or the lender wants it",
		(unsigned long long)r->pages);
	monitor_event(op->m, op->m->self, op->b->name,
		op->kind == LEND_BORROW ? "memory-borrowed" : "memory-returned", text);
}

/* Ends the op, with *e NULL for success, and tells who waits for it. */
static void op_end(struct lend_op *op, const struct err *e)
{
	struct borrower *b = op->b;

	b->op = NULL;
	borrower_record(op->m, b);
	if (!e)
		log_success(op);
	op->report.total_ns = monitor_now_ns() - op->begun_ns;
	b->failures = e ? b->failures + (b->failures < AGAIN_DOUBLINGS) : 0;
	if (e) {
		b->retry_ns = monitor_now_ns() + (AGAIN_NS << (b->failures - 1));
		fprintf(stderr, "memory of guest '%s': %s\n", b->name, e->text);
	}
	if (op->done)
		op->done(op->ctx, &op->report, e);
	free(op);
}

static uint32_t cell_of(const struct monitor *m, uint32_t os_node)
{
	uint32_t n = machine_node_of(&m->plan->machine, os_node);

	return n == NODE_NONE ? CELL_NONE : cells_of_node(&m->plan->cells, n);
}

/* --- the move --- */

static void moved(void *ctx, const struct mover_result *result);

static void add_nodes(const struct ram_layout *l, struct node_set *nodes)
{
	for (uint32_t i = 0; i < l->count; i++)
		node_set_add(nodes, l->ranges[i].os_node);
}

/* The pieces of the op, or, to settle, all of the layout. False: there are too many. */
static bool order_pieces(const struct lend_op *op, struct mover_order *o)
{
	const struct ram_layout *l = &op->b->layout;
	uint64_t at = 0;

	if (op->kind != LEND_SETTLE) {
		for (uint32_t i = 0; i < op->piece_count; i++)
			o->pieces[o->piece_count++] = (struct mover_piece){
				.off = op->pieces[i].at * VNUMA_UNIT_BYTES,
				.bytes = op->pieces[i].units * VNUMA_UNIT_BYTES,
				.os_node = op->pieces[i].to,
			};
		return true;
	}
	for (uint32_t i = 0; i < l->count; i++) {
		if (i == MOVER_PIECES_MAX)
			return false;
		o->pieces[o->piece_count++] = (struct mover_piece){ .off = at * VNUMA_UNIT_BYTES,
			.bytes = l->ranges[i].units * VNUMA_UNIT_BYTES,
			.os_node = l->ranges[i].os_node };
		at += l->ranges[i].units;
	}
	return true;
}

/* 0 or -errno with *e. */
static int op_move(struct lend_op *op, struct err *e)
{
	struct monitor *m = op->m;
	struct mover_order *o = calloc(1, sizeof(*o));
	struct ram_layout after = op->b->layout;
	int rc;

	CHECK(o != NULL && order_pieces(op, o));
	o->proc = op->b->proc;
	if (m->lending->cgroups)
		snprintf(o->group, sizeof(o->group), KEEPER_GROUP "/cell-%u/%s", m->self,
			op->b->name);
	add_nodes(&op->b->layout, &o->nodes_during);
	for (uint32_t i = 0; i < op->piece_count; i++) {
		node_set_add(&o->nodes_during, op->pieces[i].from);
		node_set_add(&o->nodes_during, op->pieces[i].to);
		if (op->kind == LEND_RETURN && !ram_apply(&after, &op->pieces[i]))
			after = op->b->layout;
	}
	add_nodes(&after, &o->nodes_after);
	o->ram_fd = keeper_ram(m->keeper, op->b->name);
	rc = o->ram_fd < 0 ? o->ram_fd : mover_start(m->lending->mover, o, moved, op, &op->job);
	free(o);
	if (rc)
		return err_set(e, EXIT_FAILED, "its memory can't be moved: %s", strerror(-rc));
	op->stage = LEND_MOVE;
	return 0;
}

static void returned_home(struct lend_op *op)
{
	struct borrower *b = op->b;
	struct hold *h = borrower_hold(b, op->id);

	for (uint32_t i = 0; i < op->piece_count; i++)
		CHECK(ram_apply(&b->layout, &op->pieces[i])); /* op_pieces_home() tried it */
	op->piece_count = 0;
	if (h && op->keep == 0) {
		borrower_drop_hold(b, op->id);
	} else if (h) {
		h->line.units = op->keep;
		h->wanted_units = 0;
	}
	/* Struck where a later life reads it, before the lender may lend it to others. */
	ledger_keep(op->m, b->name);
	op->stage = LEND_STRIKE;
}

static void moved(void *ctx, const struct mover_result *result)
{
	struct lend_op *op = ctx;
	struct borrower *b = op->b;
	struct err e = result->e;

	op->job = NULL;
	op->report.pages = result->pages - result->left;
	op->report.move_ns = result->took_ns;
	if (result->rc == -ECANCELED)
		err_set(&e, EXIT_CONFLICT, "guest '%s' has ended meanwhile", b->name);
	if (result->rc) {
		/* What has not arrived is moved to where the ledger has it, as soon as that works.
		 */
		b->settle = true;
		op->piece_count = 0;
		op_end(op, &e);
	} else if (op->kind == LEND_RETURN) {
		returned_home(op);
		moves_turn(op->m);
	} else {
		b->settle = false;
		op->piece_count = 0;
		op_end(op, NULL);
	}
}

void moves_turn(struct monitor *m)
{
	struct borrower *next;
	struct err e;

	for (struct borrower *b = m->lending->borrowers; b; b = next) {
		struct lend_op *op = b->op;

		next = b->next;
		if (!op || (op->stage != LEND_KEEP && op->stage != LEND_STRIKE) ||
			!keeper_kept(m->keeper, b->name) ||
			(op->stage == LEND_KEEP && !monitor_told(m)))
			continue;
		if (op->stage == LEND_STRIKE) {
			loans_return(m->lending->book, monitor_now_ns(), op->id, op->keep);
			op_end(op, NULL);
		} else if (op_move(op, &e)) {
			b->settle = true;
			op->piece_count = 0;
			op_end(op, &e);
		}
	}
	lending_pump(m);
}

/* --- borrow --- */

/* Which of its memory on this cell's nodes goes to the lender's: the fullest of its nodes first. */
static bool pieces_away(struct lend_op *op, uint32_t to)
{
	struct monitor *m = op->m;
	const struct machine *machine = &m->plan->machine;
	const uint32_t lender = cell_of(m, to);
	struct ram_layout after = op->b->layout;
	uint64_t left = op->units;

	op->piece_count = 0;
	while (left > 0) {
		uint32_t best = NODE_NONE, count;

		for (uint32_t i = 0; i < machine->node_count; i++) {
			const uint32_t os_node = machine->nodes[i].os_node;
			const uint32_t cell = cells_of_node(&m->plan->cells, i);

			if ((cell == m->self || (op->everywhere && cell != lender)) &&
				ram_on(&after, os_node) > 0 &&
				(op->from_node == NODE_NONE || op->from_node == os_node) &&
				(best == NODE_NONE ||
					ram_on(&after, os_node) > ram_on(&after, best)))
				best = os_node;
		}
		if (best == NODE_NONE)
			return false;
		count = ram_plan(&after, best, to, left, false, op->pieces + op->piece_count,
			MOVER_PIECES_MAX - op->piece_count);
		if (count == 0)
			return false;
		for (; count > 0; count--) {
			const struct ram_piece *p = &op->pieces[op->piece_count++];

			left -= p->units;
			if (!ram_apply(&after, p))
				return false;
		}
	}
	/* Something stays at home: a guest without any memory there would be nowhere's. Unless it
	 * is moving its home. */
	for (uint32_t i = 0; i < machine->node_count; i++)
		if (cells_of_node(&m->plan->cells, i) == m->self)
			left += ram_on(&after, machine->nodes[i].os_node);
	if (left == 0 && !op->everywhere)
		return false;
	op->b->layout = after;
	return true;
}

static struct lend_op *op_of(const struct monitor *m, uint64_t id)
{
	for (const struct borrower *b = m->lending->borrowers; b; b = b->next)
		if (b->op && b->op->stage == LEND_ASK && b->op->id == id)
			return b->op;
	return NULL;
}

bool move_granted(struct monitor *m, const struct loan *line)
{
	struct lend_op *op = op_of(m, line->id);
	bool needs[CELLS_MAX];
	struct borrower *b;
	struct err e;

	if (!op)
		return false;
	b = op->b;
	op->report.ask_ns = monitor_now_ns() - op->asked_ns;
	op->report.os_node = line->os_node;
	if (cell_of(m, line->os_node) != line->lender) {
		err_set(&e, EXIT_FAILED, "cell %u lends node %u, which is not its own",
			line->lender, line->os_node);
		loans_return(m->lending->book, monitor_now_ns(), line->id, 0);
		op_end(op, &e);
		return true;
	}
	if (op->whole && line->units < op->units)
		err_set(&e, EXIT_NO_ROOM, "cell %u lends only %llu MiB now, not %llu MiB",
			line->lender, (unsigned long long)(line->units * VNUMA_UNIT_BYTES >> 20),
			(unsigned long long)(op->units * VNUMA_UNIT_BYTES >> 20));
	else
		err_set(&e, EXIT_NO_ROOM,
			"guest '%s' has not so much memory on its own cell (2 MiB stay), or in too "
			"many parts",
			b->name);
	/* A vCPU may have gone to one cell more meanwhile. */
	if (!op->everywhere && borrower_needs(m, b, needs) >= b->cells_max &&
		!needs[line->lender]) {
		err_set(&e, EXIT_CONFLICT,
			"guest '%s' needs %u cells already, the most that it may", b->name,
			b->cells_max);
		op->units = 0;
	} else if ((op->whole && line->units < op->units) || b->hold_count == HOLDS_MAX) {
		op->units = 0;
	} else {
		op->units = line->units;
		op->units = pieces_away(op, line->os_node) ? op->units : 0;
	}
	if (op->units == 0) {
		op->piece_count = 0;
		loans_return(m->lending->book, monitor_now_ns(), line->id, 0);
		op_end(op, &e);
		return true;
	}
	op->report.bytes = op->units * VNUMA_UNIT_BYTES;
	b->holds[b->hold_count++] = (struct hold){ .line = *line, .asked_for = op->asked_for };
	/* The need first, with all who have to know of it, then the ledger, then the pages. */
	borrower_record(m, b);
	ledger_keep(m, b->name);
	op->stage = LEND_KEEP;
	return true;
}

bool move_refused(struct monitor *m, const struct loan *line)
{
	struct lend_op *op = op_of(m, line->id);
	struct err e;

	if (!op)
		return false;
	err_set(&e, EXIT_NO_ROOM,
		"cell %u does not lend %llu MiB now: it has too little above the %llu MiB that it "
		"keeps, or did not answer",
		line->lender, (unsigned long long)(op->units * VNUMA_UNIT_BYTES >> 20),
		(unsigned long long)(m->plan->lend_above_bytes >> 20));
	op_end(op, &e);
	return true;
}

/* 0 or -errno with *e. */
static int ask(struct lend_op *op, uint32_t lender, uint32_t lender_node, struct err *e)
{
	op->report.lender = lender;
	op->asked_ns = monitor_now_ns();
	op->id = loans_ask(op->m->lending->book, op->asked_ns, op->b->number, (uint16_t)lender,
		lender_node, op->units);
	op->stage = LEND_ASK;
	if (op->id)
		return 0;
	return err_set(e, EXIT_CONFLICT,
		"cell %u can't be asked for memory now: it is not alive, or the cells are just "
		"agreeing on who is; try again",
		lender);
}

/* What a cell may lend of what it has free, on top of what it keeps of each node. */
static uint64_t lendable(const struct monitor *m, const json_t *reply)
{
	const uint64_t keep = m->plan->lend_above_bytes;
	uint64_t sum = 0;
	size_t i;
	json_t *row;

	json_array_foreach(json_object_get(reply, "free"), i, row)
	{
		json_int_t bytes = json_integer_value(json_object_get(row, "bytes"));

		if (bytes > 0 && (uint64_t)bytes > keep)
			sum += (uint64_t)bytes - keep;
	}
	return sum ? (sum + keep) / VNUMA_UNIT_BYTES : 0;
}

static void looked(struct monitor *m, void *ctx, const struct gather_reply replies[CELLS_MAX])
{
	struct lender_view cells[CELLS_MAX] = { { .live = false } };
	uint8_t distance[CELLS_MAX];
	bool needs[CELLS_MAX];
	struct lend_op *op = ctx;
	uint32_t needed = borrower_needs(m, op->b, needs), lender;
	struct err e;

	lending_distances(m, distance);
	for (uint32_t c = 0; c < m->plan->cells.cell_count; c++)
		cells[c] = (struct lender_view){
			.live = c != m->self && replies[c].reply && reply_ok(replies[c].reply, &e),
			.needed = needs[c],
			.distance = distance[c],
			.free_units = lendable(m, replies[c].reply),
		};
	lender = loans_pick_lender(cells, m->plan->cells.cell_count, needed < op->b->cells_max,
		op->units, m->plan->lend_above_bytes / VNUMA_UNIT_BYTES);
	if (lender == CELL_NONE)
		err_set(&e, EXIT_NO_ROOM,
			"no cell that guest '%s' may need has memory to lend (above the %llu MiB "
			"that each keeps)",
			op->b->name, (unsigned long long)(m->plan->lend_above_bytes >> 20));
	if (lender == CELL_NONE || ask(op, lender, NODE_NONE, &e))
		op_end(op, &e);
	else
		lending_pump(m);
}

int move_borrow(struct monitor *m, struct borrower *b, const struct move_request *r, struct err *e)
{
	struct lend_op *op = op_begin(m, b, LEND_BORROW, r);
	bool cells[CELLS_MAX];
	int rc;

	if (r->lender == LENDING_ANY) {
		op->stage = LEND_LOOK;
		monitor_askable(m, cells);
		cells[m->self] = false;
		gather_start(m, json_pack("{s:s}", "op", "cell-room"), cells,
			monitor_now_ns() + LOOK_FREE_NS, looked, op);
		return 0;
	}
	rc = ask(op, r->lender, r->lender_node, e);
	if (rc) {
		b->op = NULL;
		free(op);
	}
	return rc;
}

/* --- give back --- */

/*
 * Which of its memory on the lender's node goes home, as far as there is room; op->units becomes
 * what of the loan can end.
 */
static bool pieces_home(struct lend_op *op, const struct hold *h)
{
	struct monitor *m = op->m;
	const struct cell_plan *c = &m->plan->cells.cells[m->self];
	const uint32_t from = h->line.os_node;
	struct ram_layout after = op->b->layout;
	uint64_t held = 0, there = ram_on(&after, from), spare;

	for (uint32_t i = 0; i < op->b->hold_count; i++)
		if (op->b->holds[i].line.os_node == from)
			held += op->b->holds[i].line.units;
	/* What is held, but not used, ends without a move. */
	spare = held > there ? held - there : 0;
	spare = spare < op->units ? spare : op->units;
	for (uint32_t i = 0; i < c->node_count && spare < op->units; i++) {
		const uint32_t os_node = m->plan->machine.nodes[c->nodes[i]].os_node;
		uint64_t room = room_of(m, c->nodes[i]) / VNUMA_UNIT_BYTES;
		uint64_t take = op->units - spare < room ? op->units - spare : room;
		uint32_t count;

		if (take == 0 || (op->from_node != NODE_NONE && op->from_node != os_node))
			continue;
		count = ram_plan(&after, from, os_node, take, true, op->pieces + op->piece_count,
			MOVER_PIECES_MAX - op->piece_count);
		for (; count > 0; count--) {
			const struct ram_piece *p = &op->pieces[op->piece_count];

			if (!ram_apply(&after, p))
				break;
			spare += p->units;
			op->piece_count++;
		}
	}
	if (spare == 0 || (op->whole && spare < op->units))
		return false;
	op->units = spare;
	return true;
}

int move_return(struct monitor *m, struct borrower *b, struct hold *h, const struct move_request *r,
	struct err *e)
{
	struct lend_op *op = op_begin(m, b, LEND_RETURN, r);
	int rc;

	op->id = h->line.id;
	op->report.lender = h->line.lender;
	op->report.os_node = h->line.os_node;
	if (!pieces_home(op, h)) {
		rc = err_set(e, EXIT_NO_ROOM,
			"cell %u has no room for the %llu MiB that guest '%s' borrowed of cell %u",
			m->self, (unsigned long long)(op->units * VNUMA_UNIT_BYTES >> 20), b->name,
			h->line.lender);
		goto undo;
	}
	op->report.bytes = op->units * VNUMA_UNIT_BYTES;
	op->keep = h->line.units - op->units;
	/* At home it is promised from here on. */
	borrower_record(m, b);
	if (op->piece_count == 0) {
		returned_home(op);
		return 0;
	}
	rc = op_move(op, e);
	if (!rc)
		return 0;
undo:
	b->op = NULL;
	free(op);
	borrower_record(m, b);
	return rc;
}

void move_settle(struct monitor *m, struct borrower *b)
{
	const struct move_request r = { .node = NODE_NONE };
	struct lend_op *op = op_begin(m, b, LEND_SETTLE, &r);
	struct err e;

	if (op_move(op, &e))
		op_end(op, &e);
}

/* --- on request --- */

static struct borrower *at_rest(struct monitor *m, const char *name, struct err *e)
{
	const struct guest *g = guest_book_find(keeper_book(m->keeper), name);
	struct borrower *b = borrower_find(m, name);

	if (!g)
		err_set(e, EXIT_NOT_FOUND, "no guest '%s'; `cellvisor ls` lists them", name);
	else if (guest_ended(g))
		err_set(e, EXIT_CONFLICT, "guest '%s' is not running: it is %s (%s)", name,
			guest_state_name(g->state), g->cause);
	else if (!b)
		err_set(e, EXIT_INVALID,
			"guest '%s' may need no other cell; start it with --cells-max 2 or more to "
			"let it borrow memory",
			name);
	else if (g->state != GUEST_RUNNING)
		err_set(e, EXIT_CONFLICT, "guest '%s' is still starting; try again", name);
	else if (b->op || b->settle || b->moving)
		err_set(e, EXIT_CONFLICT,
			"memory of guest '%s' is just being moved or asked for; try again", name);
	else
		return b;
	return NULL;
}

int lending_borrow(struct monitor *m, const char *name, uint32_t lender, uint64_t bytes,
	lending_done *done, void *ctx, struct err *e)
{
	const struct move_request r = { .lender = lender,
		.node = NODE_NONE,
		.lender_node = NODE_NONE,
		.units = bytes / VNUMA_UNIT_BYTES,
		.asked_for = true,
		.whole = true,
		.done = done,
		.ctx = ctx };
	struct borrower *b = at_rest(m, name, e);
	bool needs[CELLS_MAX];
	int rc;

	if (!b)
		return -ENOENT;
	if (bytes == 0 || bytes % VNUMA_UNIT_BYTES)
		return err_set(e, EXIT_INVALID, "memory is borrowed in multiples of 2 MiB");
	if (lender != LENDING_ANY && lender >= m->plan->cells.cell_count)
		return err_set(e, EXIT_NOT_FOUND, "there is no cell %u; there are cells 0 to %u",
			lender, m->plan->cells.cell_count - 1);
	if (lender == m->self)
		return err_set(e, EXIT_INVALID,
			"cell %u is the home of guest '%s'; it can't lend to it", lender, name);
	if (lender != LENDING_ANY && monitor_cell_state(m, lender) == CELL_DEAD)
		return err_set(e, EXIT_NOT_FOUND, "cell %u is dead", lender);
	if (borrower_needs(m, b, needs) >= b->cells_max && lender != LENDING_ANY && !needs[lender])
		return err_set(e, EXIT_INVALID,
			"guest '%s' needs %u cells already, the most that it may (--cells-max)",
			name, b->cells_max);
	rc = move_borrow(m, b, &r, e);
	lending_pump(m);
	return rc;
}

int lending_give_back(struct monitor *m, const char *name, uint32_t lender, lending_done *done,
	void *ctx, struct err *e)
{
	struct move_request r = { .node = NODE_NONE, .whole = true, .done = done, .ctx = ctx };
	struct borrower *b = at_rest(m, name, e);

	if (!b)
		return -EBUSY;
	for (uint32_t i = 0; i < b->hold_count; i++) {
		struct hold *h = &b->holds[i];

		if (lender != LENDING_ANY && h->line.lender != lender)
			continue;
		r.units = h->line.units;
		return move_return(m, b, h, &r, e);
	}
	if (lender == LENDING_ANY)
		err_set(e, EXIT_CONFLICT, "guest '%s' has borrowed nothing", name);
	else
		err_set(e, EXIT_CONFLICT, "guest '%s' has borrowed nothing of cell %u", name,
			lender);
	return -ENOENT;
}
