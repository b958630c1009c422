/* SPDX-License-Identifier: BSD-2-Clause */
/* The old home of a guest that moves. */

#include "monitor/cell/moving.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faultcontain/handover.h"
#include "monitor/cell/balancing.h"
#include "monitor/cell/jobs.h"
#include "monitor/cell/lending.h"
#include "monitor/cell/moving_internal.h"
#include "monitor/cell/request.h"
#include "numa/check.h"
#include "numa/host/cgroup.h"
#include "numa/vnuma.h"

#define ASK_NS (5000ull * 1000000u)
/* How often something is looked at that nobody reports. */
#define LOOK_NS (10ull * 1000000u)
/* A guest process that does not read gets its order again so often. */
#define ORDER_TRIES 100u

void moving_open(struct monitor *m)
{
	m->moving = calloc(1, sizeof(*m->moving));
	CHECK(m->moving != NULL);
}

void moving_close(struct monitor *m)
{
	while (m->moving && m->moving->moves) {
		struct move *v = m->moving->moves;

		m->moving->moves = v->next;
		free(v);
	}
	while (m->moving && m->moving->arrivals) {
		struct arrival *a = m->moving->arrivals;

		m->moving->arrivals = a->next;
		free(a);
	}
	free(m->moving);
	m->moving = NULL;
}

static struct move *find(const struct monitor *m, const char *name)
{
	for (struct move *v = m->moving->moves; v; v = v->next)
		if (!strcmp(v->name, name))
			return v;
	return NULL;
}

bool moving_has(const struct monitor *m, const char *name)
{
	return m->moving && find(m, name) != NULL;
}

bool moving_left(const struct monitor *m, const char *name)
{
	const struct move *v = find(m, name);

	return v && v->step == MOVE_WAIT && !keeper_attached(m->keeper, name);
}

static void enter(struct move *v);

/* The step that is going on has ended so; *e says why it failed. */
static void went(struct move *v, enum move_event event, const struct err *e)
{
	v->busy = false;
	if (event != MOVE_OK && v->e.code == EXIT_OK && e)
		v->e = *e;
	v->step = move_after(v->step, event);
	v->entered = false;
}

static const struct guest *guest_of(const struct move *v)
{
	const struct guest *g = guest_book_find(keeper_book(v->m->keeper), v->name);

	return g && !guest_ended(g) && g->proc.pid == v->proc.pid &&
			       g->proc.start_time == v->proc.start_time
		       ? g
		       : NULL;
}

static void say(const struct move *v)
{
	char text[ERR_TEXT_BYTES];

	if (v->step == MOVE_MEMORY || v->step == MOVE_UNDO_MEMORY)
		snprintf(text, sizeof(text), "guest '%s': %s: %llu of %llu MiB", v->name,
			move_step_name(v->step),
			(unsigned long long)((v->memory_bytes -
						     lending_whole_left(v->m, v->name, v->to)) >>
					     20),
			(unsigned long long)(v->memory_bytes >> 20));
	else
		snprintf(text, sizeof(text), "guest '%s': %s", v->name, move_step_name(v->step));
	job_progress(v->m, v->job, text);
}

/* --- asking --- */

static void expected(struct monitor *m, void *ctx, const struct gather_reply replies[CELLS_MAX])
{
	struct move *v = ctx;
	const json_t *reply = replies[v->to].reply;
	const json_int_t keep = (json_int_t)m->plan->lend_above_bytes;
	uint64_t sum = 0, left = lending_whole_left(m, v->name, v->to);
	size_t i;
	json_t *row;
	struct err e;

	if (!reply) {
		err_set(&e, EXIT_NO_ANSWER, "cell %u did not answer", v->to);
		went(v, MOVE_FAILS, &e);
		return;
	}
	if (!reply_ok(reply, &e)) {
		went(v, MOVE_FAILS, &e);
		return;
	}
	json_array_foreach(json_object_get(reply, "free"), i, row)
	{
		json_int_t node = json_integer_value(json_object_get(row, "node"));
		json_int_t bytes = json_integer_value(json_object_get(row, "bytes"));
		uint32_t n = node < 0 || node >= (json_int_t)BIND_NODES
				     ? NODE_NONE
				     : machine_node_of(&m->plan->machine, (uint32_t)node);

		if (n != NODE_NONE && cells_of_node(&m->plan->cells, n) == v->to && bytes > keep) {
			v->room[n] = (uint64_t)(bytes - keep) / VNUMA_UNIT_BYTES * VNUMA_UNIT_BYTES;
			sum += v->room[n];
		}
	}
	if (sum < left)
		err_set(&e, EXIT_NO_ROOM,
			"cell %u has no room for the %llu MiB of guest '%s': %llu MiB, above the "
			"%llu MiB that it keeps of each node",
			v->to, (unsigned long long)(left >> 20), v->name,
			(unsigned long long)(sum >> 20), (unsigned long long)(keep >> 20));
	went(v, sum < left ? MOVE_FAILS : MOVE_OK, &e);
}

static void ask(struct move *v)
{
	bool cells[CELLS_MAX] = { false };

	cells[v->to] = true;
	v->busy = true;
	gather_start(v->m,
		json_pack("{s:s, s:s, s:I}", "op", "cell-expect", "name", v->name, "bytes",
			(json_int_t)v->memory_bytes),
		cells, monitor_now_ns() + ASK_NS, expected, v);
}

/* --- memory --- */

static void part_done(void *ctx, const struct lending_report *r, const struct err *e)
{
	struct move *v = ctx;

	v->pages += r->pages;
	v->memory_ns += r->move_ns;
	v->busy = false;
	if (e)
		went(v, MOVE_FAILS, e);
	else
		v->entered = false; /* and on with the next part */
}

/* The roomiest of its nodes first. */
static void move_memory(struct move *v)
{
	struct monitor *m = v->m;
	uint64_t left = lending_whole_left(m, v->name, v->to), bytes;
	uint32_t best = NODE_NONE;
	struct err e;

	if (left == 0) {
		went(v, MOVE_OK, NULL);
		return;
	}
	for (uint32_t n = 0; n < m->plan->machine.node_count; n++)
		if (v->room[n] > 0 && (best == NODE_NONE || v->room[n] > v->room[best]))
			best = n;
	if (best == NODE_NONE) {
		err_set(&e, EXIT_NO_ROOM, "cell %u has no room for %llu MiB of guest '%s' any more",
			v->to, (unsigned long long)(left >> 20), v->name);
		went(v, MOVE_FAILS, &e);
		return;
	}
	bytes = left < v->room[best] ? left : v->room[best];
	v->room[best] = 0; /* it gives what was seen, or nothing more */
	v->busy = true;
	if (lending_whole_part(m, v->name, v->to, m->plan->machine.nodes[best].os_node, bytes,
		    part_done, v, &e))
		went(v, MOVE_FAILS, &e);
}

/* Ends loans of all cells but `except`, or of one. */
static void return_loans(struct move *v, uint32_t lender, uint32_t except)
{
	struct err e;
	int rc;

	v->busy = true;
	rc = lending_whole_return(v->m, v->name, lender, except, part_done, v, &e);
	if (rc == -ENOENT)
		went(v, MOVE_OK, NULL);
	else if (rc)
		went(v, MOVE_FAILS, &e);
}

/* --- the process --- */

static void house_done(void *ctx, const struct mover_result *result)
{
	struct move *v = ctx;

	if (v->step == MOVE_PROCESS) {
		v->process_pages = result->pages;
		v->process_ns = result->took_ns;
	}
	if (result->rc)
		fprintf(stderr, "guest '%s': %s\n", v->name, result->e.text);
	went(v, result->rc ? MOVE_FAILS : MOVE_OK, &result->e);
}

static void set_of_cell(const struct monitor *m, uint32_t cell, struct node_set *nodes)
{
	plan_cell_node_set(m->plan, cell, nodes);
}

/* The cgroup that it would have had if it had been started there. */
static void limits_of(const struct move *v, uint32_t cell, struct mover_house *h)
{
	const struct monitor *m = v->m;

	snprintf(h->group, sizeof(h->group), KEEPER_GROUP "/cell-%u/%s", cell, v->name);
	h->limits.memory_max_bytes = keeper_memory_max(v->memory_bytes);
	for (uint32_t c = 0; c < m->plan->cells.cell_count; c++)
		if (c == cell || v->cells_max > 1)
			cpu_set_merge(&h->group_cpus, &m->plan->cells.cells[c].cpus);
}

static void move_process(struct move *v, uint32_t from, uint32_t to)
{
	struct monitor *m = v->m;
	struct mover_order *o = calloc(1, sizeof(*o));
	struct mover_job *job;
	struct err e;
	int rc;

	CHECK(o != NULL);
	o->proc = v->proc;
	o->house.wanted = true;
	limits_of(v, to, &o->house);
	set_of_cell(m, from, &o->house.from);
	set_of_cell(m, to, &o->house.to);
	o->house.cpus = m->plan->cells.cells[to].cpus;
	o->ram_fd = keeper_ram(m->keeper, v->name);
	v->busy = true;
	rc = o->ram_fd < 0 ? o->ram_fd : mover_start(m->moving->mover, o, house_done, v, &job);
	free(o);
	if (rc) {
		err_set(&e, EXIT_FAILED, "its process can't be moved: %s", strerror(-rc));
		went(v, MOVE_FAILS, &e);
	}
}

/* --- handing over --- */

static void make_home(const struct move *v, struct guest_home *home)
{
	const struct monitor *m = v->m;
	const struct machine *machine = &m->plan->machine;
	const struct cpu_set *all = &m->plan->cells.cells[v->to].cpus;
	struct cpu_set cpus = { { 0 } };
	bool known = true;

	memset(home, 0, sizeof(*home));
	home->cell = v->to;
	lending_whole_home(m, v->name, home);
	for (uint32_t i = 0; i < home->node_count; i++)
		cpu_set_merge(
			&cpus, &machine->nodes[machine_node_of(machine, home->nodes[i])].cpus);
	if (cpu_set_empty(&cpus)) {
		cpus = *all;
		known = false;
	}
	for (uint32_t cpu = cpu_set_next(&cpus, 0);
		cpu != CPU_NONE && home->cpu_count < HOME_CPUS_MAX;
		cpu = cpu_set_next(&cpus, cpu + 1)) {
		for (uint32_t n = 0; n < machine->node_count; n++)
			if (cpu_set_has(&machine->nodes[n].cpus, cpu))
				home->cpu_nodes[home->cpu_count] = machine->nodes[n].os_node;
		home->cpus[home->cpu_count++] = cpu;
	}
	home->has_cpu_nodes = known;
}

static void order(struct move *v)
{
	struct monitor *m = v->m;
	struct guest_home *home = calloc(1, sizeof(*home));
	json_t *ledger = lending_whole_ledger(m, v->name);
	struct err e;
	int rc;

	CHECK(home != NULL);
	make_home(v, home);
	json_object_set_new(ledger, MOVING_FROM, json_integer(m->self));
	/* The door first: with the order the process goes there. */
	keeper_show_door(m->keeper, v->name, v->to);
	v->ordered_ns = monitor_now_ns();
	rc = keeper_rehome(m->keeper, v->name, home, ledger);
	free(home);
	if (!rc) {
		went(v, MOVE_OK, NULL);
	} else if (++v->tries < ORDER_TRIES) {
		v->entered = false; /* it does not read just now */
	} else {
		keeper_show_door(m->keeper, v->name, m->self);
		err_set(&e, EXIT_NO_ANSWER, "its process takes no orders: %s", strerror(-rc));
		went(v, MOVE_FAILS, &e);
	}
}

/* --- the end --- */

static json_t *report(const struct move *v, char *text, size_t room)
{
	const struct monitor *m = v->m;
	const uint64_t total_ns = monitor_now_ns() - v->began_ns;

	snprintf(text, room,
		"guest '%s' moved from cell %u to cell %u with %llu MiB in %.1f ms (%llu pages in "
		"%.1f ms, its process in %.1f ms, handed over in %.1f ms)",
		v->name, m->self, v->to, (unsigned long long)(v->memory_bytes >> 20),
		(double)total_ns / 1e6, (unsigned long long)v->pages, (double)v->memory_ns / 1e6,
		(double)v->process_ns / 1e6, (double)(monitor_now_ns() - v->ordered_ns) / 1e6);
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f}", "guest", v->name,
		"from", (json_int_t)m->self, "to", (json_int_t)v->to, "bytes",
		(json_int_t)v->memory_bytes, "pages", (json_int_t)v->pages, "process_pages",
		(json_int_t)v->process_pages, "memory_ms", (double)v->memory_ns / 1e6, "process_ms",
		(double)v->process_ns / 1e6, "handover_ms",
		(double)(monitor_now_ns() - v->ordered_ns) / 1e6, "total_ms",
		(double)total_ns / 1e6);
}

static void finish(struct move *v)
{
	struct monitor *m = v->m;
	struct move **at = &m->moving->moves;
	char text[ERR_TEXT_BYTES];
	json_t *result = NULL;

	while (*at != v)
		at = &(*at)->next;
	*at = v->next;
	lending_whole_end(m, v->name);
	if (v->step == MOVE_DONE) {
		json_t *move = report(v, text, sizeof(text));

		result = json_pack("{s:s, s:o}", "text", text, "move", move);
		fprintf(stderr, "%s\n", text);
	} else if (v->e.code == EXIT_OK) {
		err_set(&v->e, EXIT_CONFLICT, "guest '%s' has ended meanwhile", v->name);
	}
	if (v->done)
		v->done(m, v->ctx, result, result ? NULL : &v->e);
	if (v->own_job)
		job_end(m, v->job, result ? NULL : &v->e, json_incref(result));
	json_decref(result);
	free(v);
}

/* Begins a step, or goes on with it. */
static void enter(struct move *v)
{
	v->entered = true;
	switch (v->step) {
	case MOVE_ASK:
		ask(v);
		break;
	case MOVE_GATHER:
		if (balancing_all_home(v->m, v->name))
			went(v, MOVE_OK, NULL);
		else
			v->entered = false;
		break;
	case MOVE_MEMORY:
		move_memory(v);
		break;
	case MOVE_RETURN:
		return_loans(v, LENDING_ANY, v->to);
		break;
	case MOVE_PROCESS:
		move_process(v, v->m->self, v->to);
		break;
	case MOVE_ORDER:
		order(v);
		break;
	case MOVE_UNDO_PROCESS:
		move_process(v, v->to, v->m->self);
		break;
	case MOVE_UNDO_MEMORY:
		return_loans(v, v->to, CELL_NONE);
		break;
	default:
		break;
	}
}

static void turn(struct move *v, uint64_t now_ns)
{
	enum move_step before = v->step;

	if (v->busy)
		return;
	if (v->step < MOVE_DONE && !guest_of(v))
		went(v, MOVE_ENDED, NULL);
	if (v->step == MOVE_DONE || v->step == MOVE_FAILED) {
		finish(v);
		return;
	}
	if (!v->entered && v->look_ns <= now_ns) {
		if (v->said != v->step || v->step == MOVE_MEMORY)
			say(v);
		v->said = v->step;
		enter(v);
		/* The next step at once, the same one after a while. */
		v->look_ns = v->step == before && !v->entered && v->step != MOVE_MEMORY &&
					     v->step != MOVE_RETURN
				     ? now_ns + LOOK_NS
				     : 0;
	}
}

void moving_steps(struct monitor *m, uint64_t now_ns)
{
	struct move *next;

	for (struct move *v = m->moving->moves; v; v = next) {
		next = v->next;
		turn(v, now_ns);
	}
}

/* The new home has it. */
void moving_taken(struct monitor *m, const char *name)
{
	struct move *v = find(m, name);

	if (v && v->step == MOVE_WAIT)
		went(v, MOVE_OK, NULL);
}

/* --- begin --- */

static int judge(const struct monitor *m, const char *name, uint32_t to, struct err *e)
{
	const struct guest *g = guest_book_find(keeper_book(m->keeper), name);

	if (!g)
		return err_set(e, EXIT_NOT_FOUND, "no guest '%s'; `cellvisor ls` lists them", name);
	if (guest_ended(g))
		return err_set(e, EXIT_CONFLICT, "guest '%s' is not running: it is %s (%s)", name,
			guest_state_name(g->state), g->cause);
	if (g->state != GUEST_RUNNING || !keeper_attached(m->keeper, name))
		return err_set(e, EXIT_CONFLICT,
			"guest '%s' is still starting, or its process is not connected; try again",
			name);
	if (to >= m->plan->cells.cell_count)
		return err_set(e, EXIT_NOT_FOUND, "there is no cell %u; there are cells 0 to %u",
			to, m->plan->cells.cell_count - 1);
	if (to == m->self)
		return err_set(e, EXIT_CONFLICT, "guest '%s' is on cell %u already", name, to);
	if (monitor_cell_state(m, to) == CELL_DEAD)
		return err_set(e, EXIT_NOT_FOUND, "cell %u is dead", to);
	if (moving_has(m, name))
		return err_set(e, EXIT_CONFLICT, "guest '%s' is on its way already", name);
	if (m->going_down)
		return err_set(e, EXIT_CONFLICT, "the cells are going down");
	if (cgroup_offered(e))
		/* Nobody else can bind the memory policy of a running process anew. */
		return err_set(e, EXIT_ENVIRONMENT,
			"to move a guest takes control groups (version 2, with cpuset and memory), "
			"which this machine does not offer");
	return 0;
}

int moving_start(struct monitor *m, const char *name, uint32_t to, uint64_t job, moving_done *done,
	void *ctx, struct err *e)
{
	const struct guest *g;
	const json_t *cells_max;
	struct move *v;
	int rc = judge(m, name, to, e);

	if (!rc && !m->moving->mover && mover_open(&m->moving->mover, &m->loop))
		rc = err_set(e, EXIT_ENVIRONMENT, "can't move processes: no descriptor is left");
	if (!rc)
		rc = lending_whole_begin(m, name, e);
	if (rc)
		return rc;
	g = guest_book_find(keeper_book(m->keeper), name);
	cells_max = json_object_get(g->spec, "cells_max");
	v = calloc(1, sizeof(*v));
	CHECK(v != NULL);
	v->m = m;
	memcpy(v->name, g->name, sizeof(v->name));
	v->proc = g->proc;
	v->to = to;
	v->memory_bytes = g->memory_bytes;
	v->cells_max = cells_max ? (uint32_t)json_integer_value(cells_max) : 1;
	v->job = job;
	v->done = done;
	v->ctx = ctx;
	v->said = MOVE_STEP_COUNT;
	v->began_ns = v->ordered_ns = monitor_now_ns();
	v->next = m->moving->moves;
	m->moving->moves = v;
	return 0;
}

void moving_serve(struct monitor *m, const struct asker *who, const struct request *r)
{
	uint64_t job = job_begin(m);
	struct err e;

	if (moving_start(m, r->name, r->cell, job, NULL, NULL, &e)) {
		job_end(m, job, &e, NULL);
		asker_refuse(m, who, &e);
		return;
	}
	find(m, r->name)->own_job = true;
	asker_reply(m, who, json_pack("{s:b, s:I}", "ok", 1, "job", (json_int_t)job));
}

uint64_t moving_due(const struct monitor *m, uint64_t now_ns)
{
	uint64_t due = UINT64_MAX;

	for (const struct move *v = m->moving->moves; v; v = v->next)
		if (!v->busy) {
			uint64_t at = v->look_ns > now_ns    ? v->look_ns
				      : v->step == MOVE_WAIT ? now_ns + LOOK_NS
							     : now_ns;

			due = at < due ? at : due;
		}
	return due;
}
