/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Starting a guest, wherever it will be: the name is reserved with all cells,
 * first with the lowest one that is alive, so that of two who want the same
 * name at once exactly one gets it; then the guest is placed, and its home cell
 * starts it.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/cell/api.h"
#include "numa/check.h"
#include "numa/host/words.h"
#include "numa/place.h"

struct run_op {
	struct monitor *m;
	struct op *op; /* NULL: a restart, nobody waits for it but `done` */
	run_done *done;
	void *ctx;
	struct guest_spec spec;
	struct guest_home home;
	uint64_t token;
	uint32_t first; /* the cell that serializes */
	bool reserved[CELLS_MAX];
	struct place_state state;
	struct place_request place;
	struct place_result result;
	char words[ERR_TEXT_BYTES];
	/* How it ended. */
	bool started;
	struct err e;
	json_t *guest;
};

static void finish(struct run_op *run)
{
	struct op *op = run->op;
	char text[ERR_TEXT_BYTES + 64];

	if (!op) {
		run->done(run->ctx, run->started ? NULL : &run->e, run->words);
	} else if (run->started) {
		snprintf(text, sizeof(text), "guest '%s' runs on %s", run->spec.name, run->words);
		op_reply(op,
			json_pack("{s:b, s:s, s:O}", "ok", 1, "text", text, "guest", run->guest));
	} else {
		op_refuse(op, &run->e);
	}
	json_decref(run->guest);
	free(run);
}

static void released(struct monitor *m, void *ctx, const struct gather_reply replies[CELLS_MAX])
{
	(void)m;
	(void)replies; /* a reservation that is not given up runs out */
	finish(ctx);
}

/* Gives the name back everywhere, and then tells the client. */
static void release(struct run_op *run)
{
	gather_start(run->m,
		json_pack("{s:s, s:s, s:I, s:b}", "op", "cell-release", "name", run->spec.name,
			"token", (json_int_t)run->token, "started", run->started),
		run->reserved, monitor_now_ns() + API_LIST_NS, released, run);
}

static void started(struct monitor *m, void *ctx, const struct gather_reply replies[CELLS_MAX])
{
	struct run_op *run = ctx;
	const uint32_t cell = run->home.cell;
	json_t *reply = replies[cell].reply;
	struct guest g;

	if (!reply) {
		err_set(&run->e, EXIT_NO_ANSWER,
			"cell %u did not answer; look with `cellvisor ls` whether guest '%s' "
			"started",
			cell, run->spec.name);
	} else if (reply_ok(reply, &run->e)) {
		if (guest_from_row(json_object_get(reply, "guest"), &g)) {
			run->started = true;
			run->guest = api_guest_row(m, &g, false);
			json_decref(g.spec);
		} else {
			err_set(&run->e, EXIT_FAILED, "the reply of cell %u is not understood",
				cell);
		}
	}
	release(run);
}

/* What guests promised memory to, and vCPUs run where: from all books. */
static void survey_guests(struct monitor *m, struct place_state *s)
{
	for (uint32_t cell = 0; cell < m->plan->cells.cell_count; cell++) {
		const struct guest_book *book = monitor_book(m, cell);

		for (size_t i = 0; i < book->count; i++) {
			const struct guest *g = book->guests[i];
			uint32_t nodes[GUEST_NODES_MAX], count = 0;

			/* Where it only borrows memory, it runs no vCPU. */
			for (uint32_t k = 0; k < g->node_count; k++) {
				uint32_t n = machine_node_of(&m->plan->machine, g->nodes[k]);

				if (n != NODE_NONE && cells_of_node(&m->plan->cells, n) == cell)
					nodes[count++] = n;
			}
			if (!guest_ended(g))
				place_add_guest(s, nodes, count, g->cpus);
		}
	}
}

static void survey_memory(struct monitor *m, struct place_state *s, const json_t *free_list)
{
	size_t i;
	json_t *row;

	json_array_foreach(free_list, i, row)
	{
		json_int_t bytes = json_integer_value(json_object_get(row, "bytes"));
		json_int_t node = json_integer_value(json_object_get(row, "node"));
		uint32_t n = node < 0 || node >= (json_int_t)BIND_NODES
				     ? NODE_NONE
				     : machine_node_of(&m->plan->machine, (uint32_t)node);

		if (n != NODE_NONE && bytes > 0)
			s->free_bytes[n] = (uint64_t)bytes;
	}
}

/* A share of memory per node in order of guest addresses, and CPUs with their nodes. */
static void fill_home(const struct monitor *m, struct run_op *run)
{
	const struct machine *machine = &m->plan->machine;
	const struct place_result *r = &run->result;
	struct guest_home *h = &run->home;
	bool used[MACHINE_NODES_MAX] = { false };

	memset(h, 0, sizeof(*h));
	h->cell = r->spot.cell;
	CHECK(r->share_count <= SPEC_NODES_MAX);
	for (uint32_t i = 0; i < r->share_count; i++) {
		h->memory[h->memory_count].node = machine->nodes[r->shares[i].node].os_node;
		h->memory[h->memory_count++].bytes = r->shares[i].bytes;
		used[r->shares[i].node] = true;
	}
	for (uint32_t n = 0; n < machine->node_count; n++)
		if (used[n])
			h->nodes[h->node_count++] = machine->nodes[n].os_node;
	for (uint32_t cpu = cpu_set_next(&r->cpus, 0);
		cpu != CPU_NONE && h->cpu_count < HOME_CPUS_MAX;
		cpu = cpu_set_next(&r->cpus, cpu + 1)) {
		for (uint32_t n = 0; n < machine->node_count; n++)
			if (cpu_set_has(&machine->nodes[n].cpus, cpu))
				h->cpu_nodes[h->cpu_count] = machine->nodes[n].os_node;
		h->cpus[h->cpu_count++] = cpu;
	}
	for (uint32_t from = 0, at = 0; from < machine->node_count; from++)
		for (uint32_t to = 0; used[from] && to < machine->node_count; to++)
			if (used[to])
				h->distances[at++] = machine->distance[from][to];
	h->has_distances = true;
}

static bool cpu_nodes_are_ours(const struct guest_home *h)
{
	for (uint32_t i = 0; i < h->cpu_count; i++) {
		bool found = false;

		for (uint32_t n = 0; n < h->node_count; n++)
			found |= h->nodes[n] == h->cpu_nodes[i];
		if (!found)
			return false;
	}
	return true;
}

static void place_and_start(struct run_op *run)
{
	struct monitor *m = run->m;
	struct guest_spec spec = run->spec;
	bool cells[CELLS_MAX];
	char text[ERR_TEXT_BYTES + 64];
	json_t *request;

	survey_guests(m, &run->state);
	if (!place_guest(&run->state, &run->place, &run->result)) {
		words_place(&run->state, &run->place, &run->result, text, sizeof(text));
		err_set(&run->e, words_place_code(run->result.reason), "guest '%s': %s",
			run->spec.name, text);
		release(run);
		return;
	}
	words_place(&run->state, &run->place, &run->result, run->words, sizeof(run->words));
	fill_home(m, run);
	run->home.has_cpu_nodes = cpu_nodes_are_ours(&run->home);
	snprintf(text, sizeof(text), "starting on %s", run->words);
	if (run->op)
		op_progress(run->op, text);
	only_cell(cells, run->home.cell);
	request = json_pack("{s:s, s:o, s:o}", "op", "cell-start", "spec", guest_spec_encode(&spec),
		"home", guest_home_encode(&run->home));
	CHECK(request != NULL);
	gather_start(m, request, cells, monitor_now_ns() + API_START_NS, started, run);
}

static void reserve(struct run_op *run, const bool cells[CELLS_MAX], gather_done *done)
{
	gather_start(run->m,
		json_pack("{s:s, s:s, s:I}", "op", "cell-reserve", "name", run->spec.name, "token",
			(json_int_t)run->token),
		cells, monitor_now_ns() + API_RESERVE_NS, done, run);
}

/* Notes who gave the name, and how much room there is. false: somebody refused; run->e says it. */
static bool take_reservations(struct run_op *run, const struct gather_reply replies[CELLS_MAX])
{
	struct monitor *m = run->m;
	bool good = true;

	for (uint32_t cell = 0; cell < m->plan->cells.cell_count; cell++) {
		const json_t *reply = replies[cell].reply;
		struct err e;

		if (!reply)
			continue; /* not asked, or fell silent: it gets no guest now */
		if (!reply_ok(reply, &e)) {
			good = false;
			run->e = e;
			continue;
		}
		run->reserved[cell] = true;
		run->state.alive[cell] = !json_is_true(json_object_get(reply, "closed"));
		if (!run->state.alive[cell] && run->place.cell == cell) {
			good = false;
			err_set(&run->e, EXIT_CONFLICT,
				"cell %u takes no guests: it is drained; `cellvisor undrain %u` "
				"changes that",
				cell, cell);
		}
		survey_memory(m, &run->state, json_object_get(reply, "free"));
	}
	return good;
}

/*
 * A gang is not placed on a cell with too few CPUs, if there is another. Which CPUs it gets, or
 * that there are too few online, is for its home to say.
 */
static void fit_gang(struct run_op *run)
{
	const struct monitor *m = run->m;
	uint32_t fits = 0;

	for (uint32_t cell = 0; cell < m->plan->cells.cell_count; cell++)
		fits += run->state.alive[cell] &&
			cpu_set_count(&m->plan->cells.cells[cell].cpus) >= run->spec.cpus;
	for (uint32_t cell = 0; fits && cell < m->plan->cells.cell_count; cell++)
		if (cpu_set_count(&m->plan->cells.cells[cell].cpus) < run->spec.cpus)
			run->state.alive[cell] = false;
}

static void reserved_all(struct monitor *m, void *ctx, const struct gather_reply replies[CELLS_MAX])
{
	struct run_op *run = ctx;

	(void)m;
	if (take_reservations(run, replies)) {
		if (run->spec.gang && run->place.cell == CELL_NONE && !run->place.node_count)
			fit_gang(run);
		place_and_start(run);
	} else {
		release(run);
	}
}

static void reserved_first(
	struct monitor *m, void *ctx, const struct gather_reply replies[CELLS_MAX])
{
	struct run_op *run = ctx;
	bool cells[CELLS_MAX];

	if (!replies[run->first].reply) {
		err_set(&run->e, EXIT_NO_ANSWER, "cell %u did not answer; try again", run->first);
		release(run);
		return;
	}
	if (!take_reservations(run, replies)) {
		release(run);
		return;
	}
	monitor_askable(m, cells);
	cells[run->first] = false;
	reserve(run, cells, reserved_all);
}

/* Wishes into the terms of the placement, which judges them. */
static void to_request(struct run_op *run)
{
	const struct guest_spec *s = &run->spec;
	struct place_request *q = &run->place;

	q->memory_bytes = s->memory_bytes;
	q->vcpus = s->cpus;
	q->vnuma = s->vnuma;
	q->cell = s->cell == SPEC_ANY_CELL ? CELL_NONE : s->cell;
	q->cells_max = s->cells_max;
	q->node_count = s->node_count;
	memcpy(q->os_nodes, s->nodes, s->node_count * sizeof(s->nodes[0]));
}

/* A guest that no cell can vouch for now may still live under this name. */
static int check_unmanaged(const struct monitor *m, const char *name, struct err *e)
{
	const struct guest *g = api_find_guest(m, name);
	bool cells[CELLS_MAX];

	if (!g || guest_ended(g))
		return 0;
	/* Its home knows better, and will be asked: what is known here may be a moment old. */
	monitor_askable(m, cells);
	if (cells[g->home])
		return 0;
	return err_set(e, EXIT_CONFLICT,
		"guest '%s' is already there, on cell %u; choose another name, or end it first",
		name, g->home);
}

static struct run_op *run_new(struct monitor *m, struct op *op)
{
	struct run_op *run = calloc(1, sizeof(*run));

	CHECK(run != NULL);
	run->m = m;
	run->op = op;
	run->state.machine = &m->plan->machine;
	run->state.cells = &m->plan->cells;
	run->state.borrow_below_bytes = m->plan->borrow_below_bytes;
	run->state.lend_above_bytes = m->plan->lend_above_bytes;
	return run;
}

static void run_begin(struct run_op *run)
{
	bool cells[CELLS_MAX];

	to_request(run);
	run->token = run->m->next_token++;
	monitor_askable(run->m, cells);
	while (!cells[run->first])
		run->first++;
	only_cell(cells, run->first);
	reserve(run, cells, reserved_first);
}

void api_restart(struct monitor *m, const struct guest_spec *spec, run_done *done, void *ctx)
{
	struct run_op *run = run_new(m, NULL);

	run->spec = *spec;
	run->done = done;
	run->ctx = ctx;
	run_begin(run);
}

void api_run(struct op *op)
{
	struct run_op *run = run_new(op->m, op);
	struct err e;

	if (guest_spec_decode(op->r.spec, &run->spec, &e) ||
		check_unmanaged(op->m, run->spec.name, &e)) {
		free(run);
		op_refuse(op, &e);
		return;
	}
	run_begin(run);
}
