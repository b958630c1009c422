/* SPDX-License-Identifier: BSD-2-Clause */
/* What is known of one guest's loans: its layout, its ledger, its record. */

#include <stdlib.h>
#include <string.h>

#include "monitor/cell/ledger.h"
#include "monitor/cell/lending_internal.h"
#include "monitor/cell/moving.h"
#include "monitor/cell/room.h"
#include "monitor/guest/fields.h"
#include "numa/check.h"
#include "numa/vnuma.h"

struct borrower *borrower_find(const struct monitor *m, const char *name)
{
	for (struct borrower *b = m->lending->borrowers; b; b = b->next)
		if (!strcmp(b->name, name))
			return b;
	return NULL;
}

struct borrower *borrower_add(struct monitor *m, const struct guest *g,
	const struct guest_spec *spec, const struct guest_home *home)
{
	struct borrower *b = calloc(1, sizeof(*b));
	bool known = home->memory_count > 0 || home->node_count == 1;

	CHECK(b != NULL);
	if (home->memory_count == 0)
		known = known && ram_append(&b->layout, home->nodes[0],
					 spec->memory_bytes / VNUMA_UNIT_BYTES);
	for (uint32_t i = 0; i < home->memory_count; i++)
		known = known && ram_append(&b->layout, home->memory[i].node,
					 home->memory[i].bytes / VNUMA_UNIT_BYTES);
	if (!known) {
		free(b);
		return NULL;
	}
	memcpy(b->name, g->name, sizeof(b->name));
	b->proc = g->proc;
	b->cells_max = spec->cells_max;
	b->number = m->lending->next_number++;
	b->next = m->lending->borrowers;
	m->lending->borrowers = b;
	return b;
}

struct hold *borrower_hold(struct borrower *b, uint64_t id)
{
	for (uint32_t i = 0; i < b->hold_count; i++)
		if (b->holds[i].line.id == id)
			return &b->holds[i];
	return NULL;
}

void borrower_drop_hold(struct borrower *b, uint64_t id)
{
	struct hold *h = borrower_hold(b, id);

	if (h)
		*h = b->holds[--b->hold_count];
}

static bool is_over(const struct monitor *m, const struct borrower *b)
{
	const struct guest *g = guest_book_find(keeper_book(m->keeper), b->name);

	return !g || guest_ended(g) || g->proc.pid != b->proc.pid ||
	       g->proc.start_time != b->proc.start_time;
}

static void op_over(struct lend_op *op)
{
	struct err e;

	err_set(&e, EXIT_CONFLICT, "guest '%s' has ended meanwhile", op->b->name);
	if (op->done)
		op->done(op->ctx, &op->report, &e);
	op->b->op = NULL;
	free(op);
}

void borrowers_tidy(struct monitor *m)
{
	struct borrower **at = &m->lending->borrowers;

	while (*at) {
		struct borrower *b = *at;

		if (!is_over(m, b)) {
			at = &b->next;
			continue;
		}
		/* While its thread works, the RAM is still held open, and LEND_LOOK comes back. */
		if (b->op && (b->op->stage == LEND_MOVE || b->op->stage == LEND_LOOK)) {
			if (b->op->job)
				mover_cancel(b->op->job);
			at = &b->next;
			continue;
		}
		if (b->op)
			op_over(b->op);
		for (uint32_t i = 0; i < b->hold_count; i++)
			loans_return(m->lending->book, monitor_now_ns(), b->holds[i].line.id, 0);
		*at = b->next;
		free(b);
	}
	lending_pump(m);
}

bool borrower_rests(const struct monitor *m, const struct borrower *b, uint64_t now_ns)
{
	const struct guest *g = guest_book_find(keeper_book(m->keeper), b->name);

	return g && g->state == GUEST_RUNNING && !b->op && !b->moving && b->retry_ns <= now_ns &&
	       monitor_told(m);
}

uint32_t borrower_needs(const struct monitor *m, const struct borrower *b, bool needs[CELLS_MAX])
{
	const struct guest *g = guest_book_find(keeper_book(m->keeper), b->name);
	uint32_t count = 0;

	memset(needs, 0, CELLS_MAX * sizeof(needs[0]));
	for (uint32_t i = 0; g && i < g->need_count; i++)
		if (g->needs[i] < CELLS_MAX) {
			needs[g->needs[i]] = true;
			count++;
		}
	return count;
}

/* What lies, or may lie, on which node: during a move on both. By index of the node. */
static void spread(const struct monitor *m, const struct borrower *b, uint64_t units[])
{
	const struct machine *machine = &m->plan->machine;
	const struct lend_op *op = b->op;

	for (uint32_t n = 0; n < machine->node_count; n++) {
		const uint32_t os_node = machine->nodes[n].os_node;

		units[n] = ram_on(&b->layout, os_node);
		for (uint32_t i = 0; op && i < op->piece_count; i++)
			/* The layout has borrowed memory as moved, returned memory as not yet. */
			if ((op->kind == LEND_BORROW && op->pieces[i].from == os_node) ||
				(op->kind == LEND_RETURN && op->pieces[i].to == os_node))
				units[n] += op->pieces[i].units;
	}
}

void borrower_record(struct monitor *m, const struct borrower *b)
{
	const struct machine *machine = &m->plan->machine;
	uint64_t units[MACHINE_NODES_MAX], bytes[MACHINE_NODES_MAX];
	uint32_t nodes[MACHINE_NODES_MAX], count = 0, lenders[CELLS_MAX], lender_count = 0;
	bool needed[CELLS_MAX] = { false };

	spread(m, b, units);
	/* The machine's nodes are in ascending order of their numbers. */
	for (uint32_t n = 0; n < machine->node_count; n++) {
		if (units[n] == 0)
			continue;
		nodes[count] = machine->nodes[n].os_node;
		bytes[count++] = units[n] * VNUMA_UNIT_BYTES;
		needed[cells_of_node(&m->plan->cells, n)] = true;
	}
	for (uint32_t i = 0; i < b->hold_count; i++)
		needed[b->holds[i].line.lender] = true;
	for (uint32_t c = 0; c < m->plan->cells.cell_count; c++)
		if (needed[c])
			lenders[lender_count++] = c;
	keeper_place(m->keeper, b->name, nodes, bytes, count);
	keeper_need(m->keeper, b->name, KEEPER_NEED_MEMORY, lenders, lender_count);
}

json_t *ledger_encode(const struct borrower *b)
{
	json_t *memory = json_array(), *loans = json_array();

	for (uint32_t i = 0; i < b->layout.count; i++) {
		json_array_append_new(memory, json_integer(b->layout.ranges[i].os_node));
		json_array_append_new(memory, json_integer((json_int_t)b->layout.ranges[i].units));
	}
	for (uint32_t i = 0; i < b->hold_count; i++) {
		const struct loan *line = &b->holds[i].line;

		json_array_append_new(loans,
			json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "id",
				(json_int_t)line->id, "units", (json_int_t)line->units, "node",
				(json_int_t)line->os_node, "lender", (json_int_t)line->lender,
				"lender_born", (json_int_t)line->lender_born, "borrower",
				(json_int_t)line->borrower, "borrower_born",
				(json_int_t)line->borrower_born, "asked_for",
				(int)b->holds[i].asked_for));
	}
	return json_pack("{s:I, s:o, s:o}", "number", (json_int_t)b->number, "memory", memory,
		"loans", loans);
}

static void decode_hold(struct fields *f, const json_t *value, struct hold *h)
{
	static const char *const known[] = { "id", "units", "node", "lender", "lender_born",
		"borrower", "borrower_born", "asked_for", NULL };
	uint32_t lender = 0, borrower = 0;
	struct fields line;

	*h = (struct hold){ .line.state = LOAN_HELD };
	fields_begin(&line, value, "loan", known, f->e);
	fields_number(&line, "id", 1, INT64_MAX, &h->line.id, true);
	fields_number(&line, "units", 1, LOANS_UNITS_MAX, &h->line.units, true);
	fields_u32(&line, "node", 0, BIND_NODES - 1, &h->line.os_node, true);
	fields_u32(&line, "lender", 0, CELLS_MAX - 1, &lender, true);
	fields_u32(&line, "borrower", 0, CELLS_MAX - 1, &borrower, true);
	fields_u32(&line, "lender_born", 1, UINT32_MAX, &h->line.lender_born, true);
	fields_u32(&line, "borrower_born", 1, UINT32_MAX, &h->line.borrower_born, true);
	fields_bool(&line, "asked_for", &h->asked_for);
	h->line.lender = (uint16_t)lender;
	h->line.borrower = (uint16_t)borrower;
	f->rc = line.rc;
}

static bool decode_memory(struct fields *f, struct ram_layout *layout)
{
	uint32_t numbers[2 * RAM_RANGES_MAX], count = 0;

	fields_list(f, "memory", UINT32_MAX, numbers, 2 * RAM_RANGES_MAX, &count, true);
	if (f->rc || count == 0 || count % 2)
		return false;
	for (uint32_t i = 0; i < count; i += 2)
		if (numbers[i] >= BIND_NODES || numbers[i + 1] == 0 ||
			!ram_append(layout, numbers[i], numbers[i + 1]))
			return false;
	return true;
}

bool ledger_decode(const json_t *ledger, struct borrower *b)
{
	static const char *const known[] = { "number", "memory", "loans", MOVING_FROM,
		LEDGER_VISITS, NULL };
	struct ram_layout layout = { .count = 0 };
	struct hold holds[HOLDS_MAX];
	const json_t *loans;
	uint32_t number = 0, count;
	struct fields f;
	struct err e;

	fields_begin(&f, ledger, "ledger", known, &e);
	/* 0: it has just come from another cell, and gets one here. */
	fields_u32(&f, "number", 0, INT32_MAX, &number, true);
	loans = fields_array(&f, "loans", HOLDS_MAX);
	count = (uint32_t)json_array_size(loans);
	for (uint32_t i = 0; i < count && !f.rc; i++) {
		decode_hold(&f, json_array_get(loans, i), &holds[i]);
		holds[i].line.guest = number;
		if (number == 0)
			return false;
		for (uint32_t k = 0; k < i; k++)
			if (holds[k].line.id == holds[i].line.id)
				return false;
	}
	if (f.rc || !loans || !decode_memory(&f, &layout))
		return false;
	if (number)
		b->number = number;
	b->layout = layout;
	memcpy(b->holds, holds, count * sizeof(holds[0]));
	b->hold_count = count;
	return true;
}
