/* SPDX-License-Identifier: BSD-2-Clause */
/* What the balancing answers to peers and the command line. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "monitor/cell/balancing_internal.h"
#include "monitor/cell/moving.h"
#include "numa/check.h"

/* --- listing --- */

/* The CPU that a thread runs on or ran on last; CPU_NONE: unknown. */
static uint32_t last_cpu(const struct bal_guest *g, const struct bal_vcpu *v)
{
	char path[80];
	uint32_t cpu;
	int fd, rc;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)g->proc.pid, (int)v->tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return CPU_NONE;
	rc = proc_last_cpu(fd, &cpu);
	close(fd);
	return !rc && cpu < CPU_SET_CPUS ? cpu : CPU_NONE;
}

/* The same, but one that has just been given other CPUs is on its way there. */
static uint32_t where(const struct bal_guest *g, const struct bal_vcpu *v)
{
	uint32_t cpu = last_cpu(g, v);

	return cpu != CPU_NONE && cpu_set_has(&v->allowed, cpu) ? cpu
								: cpu_set_next(&v->allowed, 0);
}

static json_t *cpu_list(const struct cpu_set *cpus)
{
	json_t *list = json_array();

	for (uint32_t cpu = cpu_set_next(cpus, 0); cpu != CPU_NONE;
		cpu = cpu_set_next(cpus, cpu + 1))
		json_array_append_new(list, json_integer(cpu));
	return list;
}

static json_t *vcpu_row(const struct monitor *m, const struct bal_guest *g, uint32_t number)
{
	const struct bal_vcpu *v = &g->vcpus[number];
	const uint32_t cpu = where(g, v), cell = balancing_cell_of(m, cpu);
	const uint32_t node = cell == CELL_NONE ? NODE_NONE : round_node_of(&m->plan->machine, cpu);
	if (node == NODE_NONE)
		return NULL;
	return json_pack(
		"{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:b, s:b, s:b, s:I, s:I, s:s}",
		"guest", g->name, "vcpu", (json_int_t)number, "tid", (json_int_t)v->tid, "home",
		(json_int_t)m->self, "cell", (json_int_t)cell, "node",
		(json_int_t)m->plan->machine.nodes[node].os_node, "cpu", (json_int_t)cpu, "cpus",
		cpu_list(&v->allowed), "share", (json_int_t)(v->share > 1000 ? 1000 : v->share),
		"runnable", (int)v->runnable, "held", (int)v->held, "gang", (int)g->gang, "moves",
		(json_int_t)v->moves, "visits", (json_int_t)v->visits, "reason",
		v->reason < ROUND_REASON_COUNT ? round_reason_name(v->reason)
		: v->moves		       ? "by-hand"
					       : "start");
}

static json_t *visitor_rows(const struct balancing *b, const char *name)
{
	json_t *rows = json_array();

	for (uint32_t i = 0; i < b->visitors->count; i++) {
		const struct visitor *row = &b->visitors->rows[i];

		if (*name && strcmp(name, row->name) != 0)
			continue;
		json_array_append_new(
			rows, json_pack("{s:s, s:I, s:I, s:I}", "guest", row->name, "vcpu",
				      (json_int_t)row->vcpu, "home", (json_int_t)row->home, "cpu",
				      (json_int_t)row->cpu));
	}
	return rows;
}

void balancing_serve_vcpus(struct monitor *m, const struct asker *who, const struct request *r)
{
	struct balancing *b = m->balancing;
	json_t *rows = json_array();

	balancing_watch(m, monitor_now_ns());
	for (struct bal_guest *g = b->guests; g; g = g->next) {
		if (r->name[0] && strcmp(r->name, g->name) != 0)
			continue;
		for (uint32_t v = 0; v < g->cpus; v++) {
			struct cpu_set allowed;

			if (g->vcpus[v].stat_fd < 0)
				continue;
			/* The kernel's word of this moment. */
			if (!bind_thread_read(g->vcpus[v].tid, &allowed))
				g->vcpus[v].allowed = allowed;
			json_array_append_new(rows, vcpu_row(m, g, v));
		}
	}
	asker_reply(m, who,
		json_pack("{s:b, s:o, s:o}", "ok", 1, "vcpus", rows, "visitors",
			visitor_rows(b, r->name)));
}

/* --- rows of peers, judged --- */

static bool number_ok(const json_t *row, const char *key, json_int_t max)
{
	const json_t *v = json_object_get(row, key);

	return json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) <= max;
}

static bool cpus_ok(const json_t *cpus)
{
	size_t count = json_array_size(cpus);

	if (!json_is_array(cpus) || count > CPU_SET_CPUS)
		return false;
	for (size_t i = 0; i < count; i++) {
		json_int_t cpu = json_integer_value(json_array_get(cpus, i));

		if (!json_is_integer(json_array_get(cpus, i)) || cpu < 0 ||
			cpu >= (json_int_t)CPU_SET_CPUS ||
			(i > 0 && cpu <= json_integer_value(json_array_get(cpus, i - 1))))
			return false;
	}
	return true;
}

json_t *balancing_clean_vcpu(const json_t *row)
{
	static const struct {
		const char *key;
		json_int_t max;
	} numbers[] = { { "vcpu", SPEC_CPUS_MAX - 1 }, { "tid", INT32_MAX },
		{ "home", CELLS_MAX - 1 }, { "cell", CELLS_MAX - 1 }, { "node", BIND_NODES - 1 },
		{ "cpu", CPU_SET_CPUS - 1 }, { "share", 1000 }, { "moves", INT64_MAX },
		{ "visits", INT64_MAX } };
	static const char *const flags[] = { "runnable", "held", "gang" };
	const char *name = json_string_value(json_object_get(row, "guest"));
	const char *reason = json_string_value(json_object_get(row, "reason"));
	json_t *clean;
	struct err e;

	if (!name || guest_name_check(name, &e) || !reason || strlen(reason) > 16 ||
		!cpus_ok(json_object_get(row, "cpus")))
		return NULL;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (!number_ok(row, numbers[i].key, numbers[i].max))
			return NULL;
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (!json_is_boolean(json_object_get(row, flags[i])))
			return NULL;
	clean = json_pack("{s:s, s:O, s:s}", "guest", name, "cpus", json_object_get(row, "cpus"),
		"reason", reason);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		json_object_set(clean, numbers[i].key, json_object_get(row, numbers[i].key));
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		json_object_set(clean, flags[i], json_object_get(row, flags[i]));
	return clean;
}

/* --- moving by hand --- */

static bool gang_is_on(const struct bal_guest *g, uint32_t vcpu, uint32_t cpu)
{
	for (uint32_t v = 0; v < g->cpus; v++)
		if (v != vcpu && g->gang && cpu_set_count(&g->vcpus[v].allowed) == 1 &&
			cpu_set_has(&g->vcpus[v].allowed, cpu))
			return true;
	return false;
}

/* May this vCPU go to that CPU at all? 0 or -errno with *e. */
static int judge_move(
	struct monitor *m, const struct bal_guest *g, uint32_t vcpu, uint32_t cpu, struct err *e)
{
	const uint32_t cell = balancing_cell_of(m, cpu);
	struct cpu_set usable;

	if (cell == CELL_NONE)
		return err_set(e, EXIT_NOT_FOUND,
			"there is no CPU %u; `cellvisor topo` shows the CPUs", cpu);
	if (cell != m->self && monitor_cell_state(m, cell) == CELL_DEAD)
		return err_set(e, EXIT_CONFLICT, "CPU %u is of cell %u, which is dead", cpu, cell);
	if (cell != m->self && g->cells_max < 2)
		return err_set(e, EXIT_CONFLICT,
			"CPU %u is of cell %u, and guest '%s' may need no cell but its own, %u "
			"(start it with --cells-max 2 or more)",
			cpu, cell, g->name, m->self);
	(void)balancing_online(m->balancing, monitor_now_ns());
	balancing_usable(m, &usable);
	if (!cpu_set_has(&usable, cpu))
		return err_set(e, EXIT_CONFLICT,
			cell == m->self ? "CPU %u of cell %u is offline"
					: "CPU %u of cell %u is offline, or that cell silent",
			cpu, cell);
	if (gang_is_on(g, vcpu, cpu))
		return err_set(e, EXIT_CONFLICT,
			"CPU %u already has another vCPU of guest '%s', which is a gang: each of "
			"its vCPUs has a CPU of its own",
			cpu, g->name);
	return 0;
}

static void answer_move(
	struct monitor *m, const struct asker *who, uint32_t from, uint32_t to, uint64_t began_ns)
{
	asker_reply(m, who,
		json_pack("{s:b, s:I, s:I, s:I}", "ok", 1, "from", (json_int_t)from, "to",
			(json_int_t)to, "us", (json_int_t)((monitor_now_ns() - began_ns) / 1000)));
}

static int bind_here(
	struct monitor *m, struct bal_guest *g, struct bal_vcpu *v, uint32_t cpu, struct err *e)
{
	int rc = balancing_bind(m, g, v, cpu, true, ROUND_REASON_COUNT);

	return rc ? err_set(e, EXIT_ENVIRONMENT, "CPU %u: %s", cpu, strerror(-rc)) : 0;
}

/* Over a host: the answer comes later. 0 or -errno with *e. */
static int move_far(struct monitor *m, const struct asker *who, struct bal_guest *g, uint32_t vcpu,
	uint32_t from, uint32_t to, uint64_t began_ns, struct err *e)
{
	struct bal_ask *ask = balancing_ask_slot(m);
	int rc = 0;

	if (!ask)
		return err_set(e, EXIT_NO_ROOM, "too many moves are under way; try again");
	ask->manual = true;
	ask->who = *who;
	ask->began_ns = began_ns;
	ask->vcpu = vcpu;
	ask->from = from;
	ask->to = to;
	ask->reason = ROUND_REASON_COUNT;
	memcpy(ask->name, g->name, sizeof(ask->name));
	if (balancing_cell_of(m, to) != m->self) {
		rc = balancing_ask(m, ask, true);
	} else {
		ask->end = true;
		if (!balancing_leave(m, g, vcpu, to)) {
			ask->used = false;
			rc = -EBUSY;
		}
	}
	if (rc)
		return err_set(e, EXIT_NO_ANSWER,
			"vCPU %u of guest '%s' is being moved, or its cell "
			"can't be asked now; try again",
			vcpu, g->name);
	m->balancing->next_ns = 0; /* what is to be sent goes out with this turn */
	return 0;
}

static int move(struct monitor *m, const struct asker *who, const struct request *r, struct err *e)
{
	const uint64_t began_ns = monitor_now_ns();
	struct bal_guest *g;
	struct bal_vcpu *v;
	struct visit *visit;
	uint32_t from;
	int rc;

	balancing_watch(m, began_ns);
	g = balancing_find(m->balancing, r->name);
	if (!g)
		return err_set(e, EXIT_NOT_FOUND,
			"no guest '%s' that runs on cell %u; `cellvisor ls` lists them", r->name,
			m->self);
	if (r->vcpu >= g->cpus || g->vcpus[r->vcpu].stat_fd < 0)
		return err_set(e, EXIT_NOT_FOUND, "guest '%s' has no vCPU %u: it has 0 to %u",
			r->name, r->vcpu, g->cpus - 1);
	if (!g->adopted)
		return err_set(e, EXIT_CONFLICT,
			"guest '%s' is just being taken over by a new monitor; try again", r->name);
	if (moving_has(m, g->name))
		return err_set(
			e, EXIT_CONFLICT, "guest '%s' is on its way to another cell", g->name);
	v = &g->vcpus[r->vcpu];
	if (!v->known)
		balancing_sample(m, began_ns, false);
	from = where(g, v);
	if (r->release) {
		v->held = false;
		ledger_keep(m, g->name);
		m->balancing->next_ns = 0;
		answer_move(m, who, from, from, began_ns);
		return 0;
	}
	rc = judge_move(m, g, r->vcpu, r->cpu, e);
	if (rc)
		return rc;
	visit = visits_find(m->balancing->visits, g->name, r->vcpu);
	if (visit && visit->state == VISIT_THERE && visit->host == balancing_cell_of(m, r->cpu)) {
		rc = bind_here(m, g, v, r->cpu, e);
		if (rc)
			return rc;
		visit->cpu = r->cpu;
		ledger_keep(m, g->name);
		m->balancing->peers[visit->host].announce = true;
	} else if (visit && balancing_cell_of(m, r->cpu) != m->self) {
		return err_set(e, EXIT_CONFLICT,
			"vCPU %u of guest '%s' visits cell %u: move it back to a CPU of cell %u "
			"first",
			r->vcpu, g->name, visit->host, m->self);
	} else if (visit || balancing_cell_of(m, r->cpu) != m->self) {
		return move_far(m, who, g, r->vcpu, from, r->cpu, began_ns, e);
	} else {
		rc = bind_here(m, g, v, r->cpu, e);
		if (rc)
			return rc;
	}
	answer_move(m, who, from, r->cpu, began_ns);
	return 0;
}

void balancing_serve_move(struct monitor *m, const struct asker *who, const struct request *r)
{
	struct err e;

	if (move(m, who, r, &e))
		asker_refuse(m, who, &e);
}
