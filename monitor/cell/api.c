/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cell/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/cell/recovery.h"
#include "monitor/guest/process.h"
#include "numa/check.h"

#define STOP_MS_DEFAULT 90000u

void op_progress(struct op *op, const char *text)
{
	server_send(op->m->server, op->who, json_pack("{s:s}", "progress", text), 0);
}

void op_reply(struct op *op, json_t *value)
{
	CHECK(value != NULL);
	server_send(op->m->server, op->who, value, 1);
	request_fini(&op->r);
	free(op);
}

void op_refuse(struct op *op, const struct err *e)
{
	op_reply(op, reply_error(e));
}

void only_cell(bool cells[CELLS_MAX], uint32_t cell)
{
	memset(cells, 0, CELLS_MAX * sizeof(cells[0]));
	cells[cell] = true;
}

const struct guest *api_find_guest(const struct monitor *m, const char *name)
{
	const struct guest *best = NULL;

	for (uint32_t cell = 0; cell < m->plan->cells.cell_count; cell++) {
		const struct guest_book *book = monitor_book(m, cell);
		const struct guest *g = guest_book_find(book, name);

		if (g && (!best || (guest_ended(best) &&
					   (!guest_ended(g) || g->ended > best->ended))))
			best = g;
	}
	return best;
}

json_t *api_guest_memory(const struct monitor *m, const struct guest *g)
{
	json_t *parts = json_array();

	for (uint32_t i = 0; i < g->node_count; i++) {
		uint32_t n = machine_node_of(&m->plan->machine, g->nodes[i]);
		uint32_t owner = n == NODE_NONE ? CELL_NONE : cells_of_node(&m->plan->cells, n);
		json_t *part = json_pack("{s:I, s:I}", "node", (json_int_t)g->nodes[i], "bytes",
			(json_int_t)g->node_bytes[i]);

		if (owner != CELL_NONE && owner != g->home)
			json_object_set_new(part, "lender", json_integer(owner));
		json_array_append_new(parts, part);
	}
	return parts;
}

json_t *api_guest_row(const struct monitor *m, const struct guest *g, bool second_hand)
{
	char console[RUNTIME_PATH_BYTES];
	json_t *row = guest_row(g, true);

	runtime_guest_path(console, m->dir, g->home, g->name, GUEST_CONSOLE_SOCK);
	json_object_set_new(row, "console", json_string(console));
	if (g->silent && g->state == GUEST_RUNNING)
		json_object_set_new(row, "state", json_string("silent"));
	if (second_hand && !guest_ended(g))
		json_object_set_new(row, "state", json_string("unmanaged"));
	json_object_set_new(row, "memory", api_guest_memory(m, g));
	return row;
}

static void no_such_guest(struct op *op)
{
	struct err e;

	err_set(&e, EXIT_NOT_FOUND, "no guest '%s'; `cellvisor ls` lists them", op->r.name);
	op_refuse(op, &e);
}

bool api_askable(const struct monitor *m, uint32_t cell)
{
	bool cells[CELLS_MAX];

	monitor_askable(m, cells);
	return cells[cell];
}

const struct guest *api_working(struct op *op)
{
	const struct guest *g = api_find_guest(op->m, op->r.name);
	struct err e;

	if (!g)
		err_set(&e, EXIT_NOT_FOUND, "no guest '%s'; `cellvisor ls` lists them", op->r.name);
	else if (guest_ended(g))
		err_set(&e, EXIT_CONFLICT, "guest '%s' is not running: it is %s (%s)", g->name,
			guest_state_name(g->state), g->cause);
	else if (!api_askable(op->m, g->home))
		err_set(&e, EXIT_NO_ANSWER,
			"the monitor of cell %u, where guest '%s' runs, can't be asked now; try "
			"again",
			g->home, g->name);
	else
		return g;
	op_refuse(op, &e);
	return NULL;
}

static void show_second_hand(struct op *op)
{
	const struct guest *g = api_find_guest(op->m, op->r.name);

	if (!g)
		no_such_guest(op);
	else
		op_reply(op,
			json_pack("{s:b, s:o}", "ok", 1, "guest", api_guest_row(op->m, g, true)));
}

/* Of several cells that know the name, one where the guest lives has precedence. */
static void show_done(struct monitor *m, void *ctx, const struct gather_reply replies[CELLS_MAX])
{
	struct op *op = ctx;
	json_t *best = NULL;
	struct guest best_guest = { .state = GUEST_LOST };
	char console[RUNTIME_PATH_BYTES];

	for (uint32_t cell = 0; cell < m->plan->cells.cell_count; cell++) {
		json_t *row = json_object_get(replies[cell].reply, "guest");
		struct guest g;

		if (!row || !guest_from_row(row, &g) || g.home != cell)
			continue;
		json_decref(g.spec);
		if (!best || (guest_ended(&best_guest) && !guest_ended(&g))) {
			best = row;
			best_guest = g;
		}
	}
	if (!best) {
		show_second_hand(op);
		return;
	}
	runtime_guest_path(console, m->dir, best_guest.home, best_guest.name, GUEST_CONSOLE_SOCK);
	json_object_set_new(best, "console", json_string(console));
	if (best_guest.silent && best_guest.state == GUEST_RUNNING)
		json_object_set_new(best, "state", json_string("silent"));
	json_object_set_new(best, "memory", api_guest_memory(m, &best_guest));
	op_reply(op, json_pack("{s:b, s:O}", "ok", 1, "guest", best));
}

static void api_show(struct op *op)
{
	struct monitor *m = op->m;
	const struct guest *g = api_find_guest(m, op->r.name);
	bool cells[CELLS_MAX];

	if (g && !api_askable(m, g->home)) {
		show_second_hand(op);
		return;
	}
	monitor_askable(m, cells);
	if (g && !guest_ended(g))
		only_cell(cells, g->home);
	gather_start(m, json_pack("{s:s, s:s}", "op", "cell-show", "name", op->r.name), cells,
		monitor_now_ns() + API_LIST_NS, show_done, op);
}

/* stop and kill: one cell was asked, or all when nobody knew where the guest is. */
static void end_done(struct monitor *m, void *ctx, const struct gather_reply replies[CELLS_MAX])
{
	struct op *op = ctx;
	struct err e, worst = { .code = EXIT_OK };
	bool silent = false;

	for (uint32_t cell = 0; cell < m->plan->cells.cell_count; cell++) {
		json_t *reply = replies[cell].reply;

		silent |= replies[cell].asked && !reply;
		if (!reply)
			continue;
		if (reply_ok(reply, &e)) {
			op_reply(op, json_incref(reply));
			return;
		}
		if (e.code != EXIT_NOT_FOUND)
			worst = e;
	}
	if (worst.code != EXIT_OK) {
		op_refuse(op, &worst);
	} else if (silent) {
		err_set(&e, EXIT_NO_ANSWER,
			"the cell of guest '%s' did not answer; look with `cellvisor ls`",
			op->r.name);
		op_refuse(op, &e);
	} else {
		no_such_guest(op);
	}
}

static void gave_up(struct monitor *m, void *ctx, const struct gather_reply replies[CELLS_MAX])
{
	struct op *op = ctx;
	char text[ERR_TEXT_BYTES];

	(void)m;
	(void)replies; /* a cell that is silent hears of it from none; the name is free with the
			  others */
	snprintf(text, sizeof(text), "guest '%s' was not running and will not be restarted",
		op->r.name);
	op_reply(op, json_pack("{s:b, s:s}", "ok", 1, "text", text));
}

/* It has ended and waits to be restarted: without its record it will not be. */
static void give_up(struct op *op)
{
	bool cells[CELLS_MAX];

	monitor_askable(op->m, cells);
	gather_start(op->m,
		json_pack("{s:s, s:s, s:i, s:b}", "op", "cell-release", "name", op->r.name, "token",
			0, "started", 1),
		cells, monitor_now_ns() + API_LIST_NS, gave_up, op);
}

static void api_end(struct op *op)
{
	struct monitor *m = op->m;
	const struct guest *g = api_find_guest(m, op->r.name);
	uint64_t patience_ns = 15ull * 1000000000u;
	json_t *request;
	bool cells[CELLS_MAX];

	if (g && guest_ended(g) && g->state != GUEST_STOPPED && guest_restarts(g)) {
		give_up(op);
		return;
	}
	/* One that is in no book here may be known to its home: all are asked. */
	if (g && !api_working(op))
		return;
	monitor_askable(m, cells);
	if (g)
		only_cell(cells, g->home);
	if (op->r.op == REQUEST_STOP) {
		uint64_t ms = op->r.timeout_ms ? op->r.timeout_ms : STOP_MS_DEFAULT;

		patience_ns = ms * 1000000u;
		request = json_pack("{s:s, s:s, s:I}", "op", "cell-stop", "name", op->r.name,
			"timeout_ms", (json_int_t)ms);
	} else {
		request = json_pack("{s:s, s:s}", "op", "cell-kill", "name", op->r.name);
	}
	gather_start(
		m, request, cells, monitor_now_ns() + patience_ns + API_GRACE_NS, end_done, op);
}

void api_line(void *ctx, struct server_conn who, const char *line, size_t bytes)
{
	struct monitor *m = ctx;
	struct op *op = calloc(1, sizeof(*op));
	struct err e;

	CHECK(op != NULL);
	op->m = m;
	op->who = who;
	if (request_parse(&op->r, REQUEST_FROM_CLIENT, line, bytes, &e)) {
		op_refuse(op, &e);
		return;
	}
	switch (op->r.op) {
	case REQUEST_PING:
		op_reply(op, json_pack("{s:b, s:I, s:I, s:I}", "ok", 1, "cell", (json_int_t)m->self,
				     "incarnation", (json_int_t)m->incarnation, "live",
				     (json_int_t)recovery_live_count(m)));
		break;
	case REQUEST_LS:
		api_ls(op);
		break;
	case REQUEST_SHOW:
		api_show(op);
		break;
	case REQUEST_RUN:
		api_run(op);
		break;
	case REQUEST_STOP:
	case REQUEST_KILL:
		api_end(op);
		break;
	case REQUEST_VCPUS:
		api_vcpus(op);
		break;
	case REQUEST_MOVE_VCPU:
		api_move_vcpu(op);
		break;
	case REQUEST_BORROW:
	case REQUEST_GIVE_BACK:
		api_loan(op);
		break;
	case REQUEST_MOVE:
		api_move(op);
		break;
	case REQUEST_DRAIN:
	case REQUEST_UNDRAIN:
		api_drain(op);
		break;
	case REQUEST_EVENTS:
		api_events(op);
		break;
	case REQUEST_INJECT:
		api_inject(op);
		break;
	case REQUEST_DOWN:
		api_down(op);
		break;
	default:
		CHECK(false); /* the parser lets no other pass from a client */
	}
}
