/* SPDX-License-Identifier: BSD-2-Clause */
/* Listings of the whole machine: ls and events. */

#include <stdlib.h>
#include <string.h>

#include "monitor/cell/api.h"
#include "monitor/cell/predicting.h"
#include "numa/check.h"

/* Asked so often for a further page of one cell's events: bounds what a mad peer costs. */
#define EVENT_PAGES_MAX 64
/* In a row of a guest: its process has gone to another cell. */
#define LEFT "left"

static json_t *cell_cpus(const struct monitor *m, uint32_t cell)
{
	const struct cpu_set *cpus = &m->plan->cells.cells[cell].cpus;
	json_t *list = json_array();

	for (uint32_t cpu = cpu_set_next(cpus, 0); cpu != CPU_NONE;
		cpu = cpu_set_next(cpus, cpu + 1))
		json_array_append_new(list, json_integer(cpu));
	return list;
}

/* What a cell says of its loans; only what makes sense is shown. */
static void add_loans(const struct monitor *m, json_t *row, const json_t *reply)
{
	static const char *const sums[] = { "lent_bytes", "borrowed_bytes" };
	const json_t *loans = json_object_get(reply, "loans");
	json_t *list = json_array(), *line;
	size_t i;

	for (i = 0; i < 2; i++)
		json_object_set_new(row, sums[i],
			json_integer(json_integer_value(json_object_get(reply, sums[i]))));
	json_array_foreach(loans, i, line)
	{
		json_int_t id, lender, borrower, node, bytes, guest;
		const char *state;

		if (!json_unpack(line, "{s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "id", &id, "lender",
			    &lender, "borrower", &borrower, "node", &node, "bytes", &bytes, "guest",
			    &guest, "state", &state) &&
			lender >= 0 && lender < m->plan->cells.cell_count && borrower >= 0 &&
			borrower < m->plan->cells.cell_count)
			json_array_append(list, line);
	}
	json_object_set_new(row, "loans", list);
}

static json_t *cell_row(const struct monitor *m, uint32_t cell, const json_t *reply)
{
	enum cell_state state = monitor_cell_state(m, cell);
	const char *name = cell_state_name(state);
	const json_t *free_bytes = json_object_get(reply, "free_bytes");
	const char *closed = json_string_value(json_object_get(reply, "closed"));
	json_t *row;

	if (!reply && state == CELL_ALIVE)
		name = "silent";
	/* Closed: shown instead of alive, for it is no place for guests. */
	if (reply && closed && (!strcmp(closed, "drained") || !strcmp(closed, "draining")))
		name = closed;
	row = json_pack("{s:I, s:o, s:o, s:s, s:I, s:I, s:I}", "cell", (json_int_t)cell, "nodes",
		plan_cell_nodes(m->plan, cell), "cpus", cell_cpus(m, cell), "state", name, "pid",
		json_integer_value(json_object_get(reply, "pid")), "incarnation",
		json_integer_value(json_object_get(reply, "incarnation")), "memory_bytes",
		(json_int_t)m->plan->cells.cells[cell].memory_bytes);
	json_object_set_new(row, "free_bytes",
		json_is_integer(free_bytes) ? json_integer(json_integer_value(free_bytes))
					    : json_null());
	add_loans(m, row, reply);
	predicting_copy(row, reply);
	return row;
}

static bool has_guest(const json_t *rows, const char *name)
{
	size_t i;
	json_t *row;

	json_array_foreach(rows, i, row)
	{
		if (!strcmp(name, json_string_value(json_object_get(row, "name"))))
			return true;
	}
	return false;
}

/* Appends the guests of one cell; returns how many live. */
static size_t add_guests(
	const struct monitor *m, uint32_t cell, const json_t *reply, json_t *guests)
{
	const struct guest_book *book = &m->replicas[cell].book;
	json_t *rows = json_array(), *row;
	size_t i, live = 0;

	json_array_foreach(json_object_get(reply, "guests"), i, row)
	{
		struct guest g;
		json_t *made;

		/* Read and written anew: what a peer sends is only shown if it makes sense. */
		if (!guest_from_row(row, &g))
			continue;
		made = api_guest_row(m, &g, false);
		if (json_is_true(json_object_get(row, LEFT)))
			json_object_set_new(made, LEFT, json_true());
		json_array_append_new(rows, made);
		live += !guest_ended(&g);
		json_decref(g.spec);
	}
	if (cell != m->self && (!reply || json_is_true(json_object_get(reply, "settling"))))
		for (i = 0; i < book->count; i++) {
			if (has_guest(rows, book->guests[i]->name))
				continue;
			json_array_append_new(rows, api_guest_row(m, book->guests[i], true));
			live += !guest_ended(book->guests[i]);
		}
	json_array_extend(guests, rows);
	json_decref(rows);
	return live;
}

/* One that moves may be in two books for a moment: its old home says that it has left. */
static void drop_doubles(json_t *guests)
{
	for (size_t i = 0; i < json_array_size(guests); i++) {
		json_t *row = json_array_get(guests, i);
		const char *name = json_string_value(json_object_get(row, "name"));
		size_t same = 0, k;
		json_t *other;

		if (!json_object_get(row, LEFT))
			continue;
		json_object_del(row, LEFT);
		json_array_foreach(guests, k, other)
		{
			same += !strcmp(name, json_string_value(json_object_get(other, "name")));
		}
		if (same > 1)
			json_array_remove(guests, i--);
	}
}

static void ls_done(struct monitor *m, void *ctx, const struct gather_reply replies[CELLS_MAX])
{
	struct op *op = ctx;
	json_t *cells = json_array(), *guests = json_array(), *unanswered = json_array();

	for (uint32_t cell = 0; cell < m->plan->cells.cell_count; cell++) {
		struct err e;
		json_t *reply = replies[cell].reply;
		json_t *row;

		if (!reply || !reply_ok(reply, &e))
			reply = NULL;
		row = cell_row(m, cell, reply);
		json_object_set_new(row, "guests",
			json_integer((json_int_t)add_guests(m, cell, reply, guests)));
		json_array_append_new(cells, row);
		if (!reply && monitor_cell_state(m, cell) != CELL_DEAD)
			json_array_append_new(unanswered, json_integer(cell));
	}
	drop_doubles(guests);
	op_reply(op, json_pack("{s:b, s:o, s:o, s:o}", "ok", 1, "cells", cells, "guests", guests,
			     "unanswered", unanswered));
}

void api_ls(struct op *op)
{
	bool cells[CELLS_MAX];

	monitor_askable(op->m, cells);
	gather_start(op->m, json_pack("{s:s}", "op", "cell-rows"), cells,
		monitor_now_ns() + API_LIST_NS, ls_done, op);
}

/* All cells are asked at once, each page by page. */
struct event_op {
	struct op *op;
	json_t *events;
	size_t open; /* cells that have not told all yet */
	bool answered[CELLS_MAX];
};

struct event_pages {
	struct event_op *eo;
	uint32_t cell;
	uint64_t after;
	int pages;
};

static void ask_page(struct event_pages *p);

/* Takes in a page; true if there is another. */
static bool take_page(struct event_pages *p, const json_t *reply)
{
	const json_t *next = json_object_get(reply, "next");
	size_t i;
	json_t *value;
	struct err e;

	if (!reply || !reply_ok(reply, &e))
		return false;
	json_array_foreach(json_object_get(reply, "events"), i, value)
	{
		struct event ev;

		if (event_from_json(value, &ev))
			json_array_append_new(p->eo->events, event_json(&ev));
	}
	if (!json_is_true(json_object_get(reply, "more"))) {
		p->eo->answered[p->cell] = true;
		return false;
	}
	if (!json_is_integer(next) || json_integer_value(next) <= (json_int_t)p->after)
		return false;
	p->after = (uint64_t)json_integer_value(next);
	return ++p->pages < EVENT_PAGES_MAX;
}

static void events_finish(struct event_op *eo)
{
	const struct monitor *m = eo->op->m;
	json_t *unanswered = json_array();

	for (uint32_t cell = 0; cell < m->plan->cells.cell_count; cell++)
		if (!eo->answered[cell])
			json_array_append_new(unanswered, json_integer(cell));
	events_sort(eo->events);
	op_reply(eo->op, json_pack("{s:b, s:o, s:o}", "ok", 1, "events", eo->events, "unanswered",
				 unanswered));
	free(eo);
}

static void page_done(struct monitor *m, void *ctx, const struct gather_reply replies[CELLS_MAX])
{
	struct event_pages *p = ctx;

	(void)m;
	if (take_page(p, replies[p->cell].reply)) {
		ask_page(p);
		return;
	}
	if (--p->eo->open == 0)
		events_finish(p->eo);
	free(p);
}

static void ask_page(struct event_pages *p)
{
	struct monitor *m = p->eo->op->m;
	bool cells[CELLS_MAX];

	only_cell(cells, p->cell);
	gather_start(m,
		json_pack("{s:s, s:f, s:I}", "op", "cell-events", "since", p->eo->op->r.since,
			"after", (json_int_t)p->after),
		cells, monitor_now_ns() + API_LIST_NS, page_done, p);
}

void api_events(struct op *op)
{
	struct event_op *eo = calloc(1, sizeof(*eo));
	bool cells[CELLS_MAX];

	CHECK(eo != NULL);
	eo->op = op;
	eo->events = json_array();
	monitor_askable(op->m, cells);
	for (uint32_t cell = 0; cell < op->m->plan->cells.cell_count; cell++)
		eo->open += cells[cell];
	CHECK(eo->open > 0); /* this cell at least */
	for (uint32_t cell = 0; cell < op->m->plan->cells.cell_count; cell++) {
		struct event_pages *p;

		if (!cells[cell])
			continue;
		p = calloc(1, sizeof(*p));
		CHECK(p != NULL);
		p->eo = eo;
		p->cell = cell;
		ask_page(p);
	}
}
