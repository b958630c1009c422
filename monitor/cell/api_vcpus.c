/* SPDX-License-Identifier: BSD-2-Clause */
/* Where vCPUs run, and moving one: vcpus and move-vcpu. */

#include <stdio.h>
#include <string.h>

#include "monitor/cell/api.h"
#include "monitor/cell/balancing.h"
#include "numa/check.h"

#define MOVE_NS (10ull * 1000000000u)

static json_t *clean_visitor(const json_t *row, uint32_t host)
{
	static const char *const keys[] = { "vcpu", "home", "cpu" };
	const char *name = json_string_value(json_object_get(row, "guest"));
	json_t *clean;
	struct err e;

	if (!name || guest_name_check(name, &e))
		return NULL;
	for (size_t i = 0; i < 3; i++) {
		const json_t *v = json_object_get(row, keys[i]);

		if (!json_is_integer(v) || json_integer_value(v) < 0 ||
			json_integer_value(v) > UINT16_MAX)
			return NULL;
	}
	clean = json_pack("{s:s, s:I}", "guest", name, "host", (json_int_t)host);
	for (size_t i = 0; i < 3; i++)
		json_object_set(clean, keys[i], json_object_get(row, keys[i]));
	return clean;
}

/* Read and written anew: what a peer sends is only shown if it makes sense. */
static void add_rows(uint32_t cell, const json_t *reply, json_t *vcpus, json_t *visitors)
{
	size_t i;
	json_t *row, *clean;

	json_array_foreach(json_object_get(reply, "vcpus"), i, row)
	{
		clean = balancing_clean_vcpu(row);
		if (clean)
			json_array_append_new(vcpus, clean);
	}
	json_array_foreach(json_object_get(reply, "visitors"), i, row)
	{
		clean = clean_visitor(row, cell);
		if (clean)
			json_array_append_new(visitors, clean);
	}
}

static void vcpus_done(struct monitor *m, void *ctx, const struct gather_reply replies[CELLS_MAX])
{
	struct op *op = ctx;
	json_t *vcpus = json_array(), *visitors = json_array(), *unanswered = json_array();

	for (uint32_t cell = 0; cell < m->plan->cells.cell_count; cell++) {
		const json_t *reply = replies[cell].reply;
		struct err e;

		if (reply && reply_ok(reply, &e))
			add_rows(cell, reply, vcpus, visitors);
		else if (monitor_cell_state(m, cell) != CELL_DEAD)
			json_array_append_new(unanswered, json_integer(cell));
	}
	op_reply(op, json_pack("{s:b, s:o, s:o, s:o}", "ok", 1, "vcpus", vcpus, "visitors",
			     visitors, "unanswered", unanswered));
}

void api_vcpus(struct op *op)
{
	json_t *request = json_pack("{s:s}", "op", "cell-vcpus");
	const struct guest *g = op->r.name[0] ? api_find_guest(op->m, op->r.name) : NULL;
	bool cells[CELLS_MAX];
	struct err e;

	if (op->r.name[0] && (!g || guest_ended(g))) {
		json_decref(request);
		err_set(&e, EXIT_NOT_FOUND, "no guest '%s' that runs; `cellvisor ls` lists them",
			op->r.name);
		op_refuse(op, &e);
		return;
	}
	if (op->r.name[0])
		json_object_set_new(request, "name", json_string(op->r.name));
	monitor_askable(op->m, cells);
	gather_start(op->m, request, cells, monitor_now_ns() + API_LIST_NS, vcpus_done, op);
}

static void moved(struct monitor *m, void *ctx, const struct gather_reply replies[CELLS_MAX])
{
	struct op *op = ctx;
	const json_t *reply = NULL;
	struct err e;

	for (uint32_t cell = 0; cell < m->plan->cells.cell_count; cell++)
		if (replies[cell].asked)
			reply = replies[cell].reply;
	if (!reply)
		err_set(&e, EXIT_NO_ANSWER,
			"the cell of guest '%s' did not answer; look with `cellvisor vcpus`",
			op->r.name);
	if (reply && reply_ok(reply, &e))
		op_reply(op, json_pack("{s:b, s:I, s:I, s:I}", "ok", 1, "from",
				     json_integer_value(json_object_get(reply, "from")), "to",
				     json_integer_value(json_object_get(reply, "to")), "us",
				     json_integer_value(json_object_get(reply, "us"))));
	else
		op_refuse(op, &e);
}

void api_move_vcpu(struct op *op)
{
	struct monitor *m = op->m;
	const struct guest *g = api_working(op);
	json_t *request;
	bool cells[CELLS_MAX];

	if (!g)
		return;
	request = json_pack("{s:s, s:s, s:I, s:b}", "op", "cell-move-vcpu", "name", op->r.name,
		"vcpu", (json_int_t)op->r.vcpu, "release", op->r.release);
	if (!op->r.release)
		json_object_set_new(request, "cpu", json_integer(op->r.cpu));
	only_cell(cells, g->home);
	gather_start(m, request, cells, monitor_now_ns() + MOVE_NS, moved, op);
}
