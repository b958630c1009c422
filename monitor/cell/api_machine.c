/* SPDX-License-Identifier: BSD-2-Clause */
/* What concerns a cell or the machine as a whole: inject and down. */

#include <stdio.h>
#include <string.h>

#include "monitor/cell/api.h"
#include "monitor/cell/recovery.h"
#include "numa/check.h"

static json_t *process_json(pid_t pid, uint64_t start_time)
{
	return json_pack(
		"{s:I, s:I}", "pid", (json_int_t)pid, "start_time", (json_int_t)start_time);
}

static bool needs(const struct guest *g, uint32_t cell)
{
	for (uint32_t i = 0; i < g->need_count; i++)
		if (g->needs[i] == cell)
			return true;
	return false;
}

/* Whatever runs there or uses its memory, guests of other cells as well. */
static json_t *members_of(const struct monitor *m, uint32_t cell, const struct transport_peer *peer)
{
	json_t *members = json_array();

	json_array_append_new(members, process_json(peer->pid, peer->start_time));
	for (uint32_t home = 0; home < m->plan->cells.cell_count; home++) {
		const struct guest_book *book = monitor_book(m, home);

		for (size_t i = 0; i < book->count; i++) {
			const struct guest *g = book->guests[i];

			if (!guest_ended(g) && g->proc.pid && (home == cell || needs(g, cell)))
				json_array_append_new(
					members, process_json(g->proc.pid, g->proc.start_time));
		}
	}
	return members;
}

static json_t *own_cpus(const struct monitor *m)
{
	const struct cpu_set *cpus = &m->plan->cells.cells[m->self].cpus;
	json_t *list = json_array();

	for (uint32_t cpu = cpu_set_next(cpus, 0); cpu != CPU_NONE;
		cpu = cpu_set_next(cpus, cpu + 1))
		json_array_append_new(list, json_integer(cpu));
	return list;
}

/*
 * node-death: the injector is the client's process; it gets what it needs to
 * know. The event is recorded here, because the cell that it is about may not
 * live to tell. hardware-error: the report of a fatal error, as a driver would
 * make it; the survivors then declare the cell dead.
 */
void api_inject(struct op *op)
{
	struct monitor *m = op->m;
	uint32_t node = machine_node_of(&m->plan->machine, op->r.node), cell = CELL_NONE;
	struct transport_peer peer = { .pid = 0 };
	char cause[EVENT_CAUSE_BYTES];
	struct err e = { .code = EXIT_OK };

	const bool hardware = !strcmp(op->r.kind, "hardware-error");

	if (!hardware && strcmp(op->r.kind, "node-death") != 0)
		err_set(&e, EXIT_USAGE, "no fault '%s'; there are: node-death, hardware-error",
			op->r.kind);
	else if (node == NODE_NONE)
		err_set(&e, EXIT_NOT_FOUND, "there is no node %u; `cellvisor topo` shows the nodes",
			op->r.node);
	else
		cell = cells_of_node(&m->plan->cells, node);
	if (cell == m->self) {
		op_reply(op, json_pack("{s:b, s:b, s:I}", "ok", 1, "ask_another", 1, "cell",
				     (json_int_t)cell));
		return;
	}
	if (e.code == EXIT_OK && monitor_cell_state(m, cell) == CELL_DEAD)
		err_set(&e, EXIT_CONFLICT, "cell %u, which has node %u, is dead already", cell,
			op->r.node);
	else if (e.code == EXIT_OK && !fabric_peer(m->fabric, (uint16_t)cell, &peer))
		err_set(&e, EXIT_NO_ANSWER,
			"the monitor of cell %u is being replaced, so its processes are not known; "
			"try "
			"again",
			cell);
	if (e.code != EXIT_OK) {
		op_refuse(op, &e);
		return;
	}
	if (hardware) {
		recovery_hardware(m, cell);
		op_reply(op, json_pack("{s:b}", "ok", 1));
		return;
	}
	snprintf(cause, sizeof(cause), "asked for: death of node %u, and so of cell %u", op->r.node,
		cell);
	monitor_event(m, cell, NULL, "node-death-injected", cause);
	op_reply(op, json_pack("{s:b, s:I, s:o, s:o, s:o}", "ok", 1, "cell", (json_int_t)cell,
			     "nodes", plan_cell_nodes(m->plan, cell), "members",
			     members_of(m, cell, &peer), "cpus", own_cpus(m)));
}

static void down_done(struct monitor *m, void *ctx, const struct gather_reply replies[CELLS_MAX])
{
	struct op *op = ctx;
	json_t *unanswered = json_array();

	for (uint32_t cell = 0; cell < m->plan->cells.cell_count; cell++)
		if (!replies[cell].reply)
			json_array_append_new(unanswered, json_integer(cell));
	op_reply(op, json_pack("{s:b, s:o}", "ok", 1, "unanswered", unanswered));
}

/* Names the guests that live, on whatever cell, as far as there is room. Returns how many. */
static size_t list_live(const struct monitor *m, char *names, size_t room)
{
	size_t live = 0, used = 0;

	names[0] = '\0';
	for (uint32_t cell = 0; cell < m->plan->cells.cell_count; cell++) {
		const struct guest_book *book = monitor_book(m, cell);

		for (size_t i = 0; i < book->count; i++) {
			int n;

			if (guest_ended(book->guests[i]))
				continue;
			live++;
			n = snprintf(names + used, room - used, "%s%s", used ? ", " : "",
				book->guests[i]->name);
			if (n > 0 && used + (size_t)n < room)
				used += (size_t)n;
			else
				names[used] = '\0';
		}
	}
	return live;
}

void api_down(struct op *op)
{
	struct monitor *m = op->m;
	char names[256];
	size_t live = list_live(m, names, sizeof(names));
	bool cells[CELLS_MAX];
	struct err e;

	if (live > 0 && !op->r.force) {
		err_set(&e, EXIT_CONFLICT,
			"%zu guests still run: %s; stop them first, or end them with "
			"`cellvisor down --force`",
			live, names);
		op_refuse(op, &e);
		return;
	}
	monitor_askable(m, cells);
	gather_start(m, json_pack("{s:s}", "op", "cell-down"), cells,
		monitor_now_ns() + API_DOWN_NS, down_done, op);
}
