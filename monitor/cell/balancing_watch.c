/* SPDX-License-Identifier: BSD-2-Clause */
/* Which vCPU threads there are, what they do, and where the kernel lets them run. */

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "monitor/cell/balancing_internal.h"
#include "monitor/cell/moving.h"
#include "monitor/cell/recovery.h"
#include "numa/check.h"
#include "numa/host/bind.h"

#define ONLINE "/sys/devices/system/cpu/online"
/* Permille of the time: above it a vCPU counts as one that can run, below it not any more. */
#define SHARE_RUNNABLE 500u
#define SHARE_IDLE 250u

struct bal_guest *balancing_find(struct balancing *b, const char *name)
{
	for (struct bal_guest *g = b->guests; g; g = g->next)
		if (!strcmp(g->name, name))
			return g;
	return NULL;
}

uint32_t balancing_cell_of(const struct monitor *m, uint32_t cpu)
{
	uint32_t node = cpu < CPU_SET_CPUS ? round_node_of(&m->plan->machine, cpu) : NODE_NONE;

	return node == NODE_NONE ? CELL_NONE : cells_of_node(&m->plan->cells, node);
}

/* --- threads --- */

void balancing_free_guest(struct bal_guest *g)
{
	for (uint32_t v = 0; v < g->cpus; v++)
		if (g->vcpus[v].stat_fd >= 0)
			close(g->vcpus[v].stat_fd);
	free(g->vcpus);
	free(g);
}

/* The number in a thread's name "vcpuN"; UINT32_MAX: it is another's. */
static uint32_t vcpu_number(int task, const char *tid)
{
	char path[48], name[32] = "";
	unsigned int number;
	int fd, end = 0;
	ssize_t n;

	snprintf(path, sizeof(path), "%.20s/comm", tid);
	fd = openat(task, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return UINT32_MAX;
	n = read(fd, name, sizeof(name) - 1);
	close(fd);
	if (n <= 0 || sscanf(name, "vcpu%4u%n", &number, &end) != 1 || name[end] != '\n')
		return UINT32_MAX;
	return number;
}

/*
 * A guest process may name its threads as it likes: it can only mislead us about itself,
 * for the threads are the kernel's list of this very process.
 */
static void find_threads(struct bal_guest *g, uint64_t now_ns)
{
	char path[64];
	const struct dirent *entry;
	uint64_t start_time;
	DIR *task;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)g->proc.pid);
	task = opendir(path);
	if (!task)
		return;
	if (proc_start_time(g->proc.pid, &start_time) || start_time != g->proc.start_time) {
		closedir(task);
		return;
	}
	while ((entry = readdir(task)) != NULL) { // NOLINT(concurrency-mt-unsafe)
		uint32_t number = vcpu_number(dirfd(task), entry->d_name);
		struct bal_vcpu *v = number < g->cpus ? &g->vcpus[number] : NULL;
		char stat[48];

		if (!v || v->stat_fd >= 0)
			continue;
		snprintf(stat, sizeof(stat), "%.20s/schedstat", entry->d_name);
		v->stat_fd = openat(dirfd(task), stat, O_RDONLY | O_CLOEXEC);
		if (v->stat_fd < 0)
			continue;
		v->tid = (pid_t)strtol(entry->d_name, NULL, 10);
		v->idle_since_ns = now_ns;
		g->found++;
	}
	closedir(task);
}

static struct bal_guest *add_guest(struct balancing *b, const struct guest *g)
{
	const json_t *cells_max = json_object_get(g->spec, "cells_max");
	struct bal_guest *made = calloc(1, sizeof(*made));

	CHECK(made != NULL && g->cpus <= SPEC_CPUS_MAX);
	snprintf(made->name, sizeof(made->name), "%s", g->name);
	made->proc = g->proc;
	made->cpus = g->cpus;
	made->cells_max = cells_max ? (uint32_t)json_integer_value(cells_max) : 1;
	made->gang = json_is_true(json_object_get(g->spec, "gang"));
	made->vcpus = calloc(g->cpus, sizeof(*made->vcpus));
	CHECK(made->vcpus != NULL);
	for (uint32_t v = 0; v < g->cpus; v++) {
		made->vcpus[v].stat_fd = -1;
		made->vcpus[v].reason = ROUND_REASON_COUNT;
	}
	made->next = b->guests;
	b->guests = made;
	return made;
}

static void drop_ended(struct monitor *m)
{
	struct bal_guest **at = &m->balancing->guests;

	while (*at) {
		struct bal_guest *g = *at;

		if (g->listed) {
			at = &g->next;
			continue;
		}
		visits_forget(m->balancing->visits, g->name);
		*at = g->next;
		balancing_free_guest(g);
	}
	balancing_tidy_records(m->balancing);
}

void balancing_watch(struct monitor *m, uint64_t now_ns)
{
	struct balancing *b = m->balancing;
	const struct guest_book *book = keeper_book(m->keeper);

	for (struct bal_guest *g = b->guests; g; g = g->next)
		g->listed = false;
	for (size_t i = 0; i < book->count; i++) {
		const struct guest *row = book->guests[i];
		struct bal_guest *g;
		uint32_t found;

		/* Without a spec it has not registered with this monitor yet. */
		if (row->state != GUEST_RUNNING || !row->proc.pid || !row->spec || !row->cpus)
			continue;
		g = balancing_find(b, row->name);
		if (g && (g->proc.pid != row->proc.pid ||
				 g->proc.start_time != row->proc.start_time))
			continue; /* another one of this name: the former is dropped below */
		if (!g)
			g = add_guest(b, row);
		g->listed = true;
		found = g->found;
		if (found < g->cpus)
			find_threads(g, now_ns);
		/* Only with a view it is known whether what a vCPU visited is still there. */
		if (!g->adopted && g->found == g->cpus && !recovery_suspended(m))
			balancing_adopt(m, g);
		b->busy |= g->found > found || !g->adopted;
	}
	drop_ended(m);
}

/* --- measuring --- */

bool balancing_online(struct balancing *b, uint64_t now_ns)
{
	struct cpu_set before = b->online;
	char text[8192];
	ssize_t n;

	if (b->online_fd < 0)
		b->online_fd = open(ONLINE, O_RDONLY | O_CLOEXEC);
	n = b->online_fd < 0 ? -1 : pread(b->online_fd, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return false;
	text[n] = '\0';
	if (cpu_set_parse(text, &b->online))
		b->online = before;
	if (cpu_set_equal(&before, &b->online))
		return false;
	if (!cpu_set_empty(&before))
		b->hotplug_ns = now_ns;
	return true;
}

static void measure(struct bal_vcpu *v, uint64_t now_ns)
{
	unsigned long long run = 0, wait = 0;
	char text[96];
	ssize_t n = pread(v->stat_fd, text, sizeof(text) - 1, 0);
	uint64_t passed = now_ns - v->sampled_ns, share;

	if (n <= 0)
		return;
	text[n] = '\0';
	if (sscanf(text, "%llu %llu", &run, &wait) != 2)
		return;
	if (v->sampled_ns && passed > 0) {
		share = (run + wait - v->busy_ns) * 1000 / passed;
		/* What it waited is told when it runs again, so it may be more than the time
		 * passed. */
		share = share > 4000 ? 4000 : share;
		v->share = (v->share + (uint32_t)share) / 2;
		if (v->share >= SHARE_RUNNABLE)
			v->runnable = true;
		else if (v->runnable && v->share < SHARE_IDLE) {
			v->runnable = false;
			v->idle_since_ns = now_ns;
		}
	}
	v->sampled_ns = now_ns;
	v->busy_ns = run + wait;
}

/*
 * When CPUs go or come, the kernel may give all threads of a control group all of its
 * CPUs (cpuset before Linux 6.2), a while afterwards: then they get back what they had.
 * At any other time someone has moved the thread: that is how it is then.
 */
static void settle(
	struct balancing *b, struct bal_vcpu *v, const struct cpu_set *allowed, uint64_t now_ns)
{
	struct cpu_set expected = { { 0 } }, now;
	bool hotplug = b->hotplug_ns && now_ns - b->hotplug_ns < HOTPLUG_NS;

	for (uint32_t cpu = cpu_set_next(&v->wanted, 0); cpu != CPU_NONE;
		cpu = cpu_set_next(&v->wanted, cpu + 1))
		if (cpu_set_has(&b->online, cpu))
			cpu_set_add(&expected, cpu);
	v->allowed = *allowed;
	if (v->known && cpu_set_equal(allowed, &expected))
		return;
	if (v->known && hotplug) {
		if (!cpu_set_empty(&expected) &&
			!binder_bind(b->binder, v->tid, &v->wanted, b->bind_ns, &now))
			v->allowed = now;
		return;
	}
	v->held = false;
	v->known = true;
	v->wanted = *allowed;
}

void balancing_sample(struct monitor *m, uint64_t now_ns, bool check)
{
	for (struct bal_guest *g = m->balancing->guests; g; g = g->next)
		for (uint32_t v = 0; v < g->cpus; v++) {
			struct bal_vcpu *vcpu = &g->vcpus[v];
			struct cpu_set allowed;

			if (vcpu->stat_fd < 0)
				continue;
			measure(vcpu, now_ns);
			if ((check || !vcpu->known) && !bind_thread_read(vcpu->tid, &allowed))
				settle(m->balancing, vcpu, &allowed, now_ns);
		}
}

/* --- what a round works on --- */

void balancing_usable(const struct monitor *m, struct cpu_set *cpus)
{
	const struct balancing *b = m->balancing;

	memset(cpus, 0, sizeof(*cpus));
	for (uint32_t c = 0; c < m->plan->cells.cell_count; c++) {
		const struct cpu_set *set = &m->plan->cells.cells[c].cpus;
		uint32_t i = 0;

		for (uint32_t cpu = cpu_set_next(set, 0); cpu != CPU_NONE;
			cpu = cpu_set_next(set, cpu + 1), i++) {
			if (!cpu_set_has(&b->online, cpu))
				continue;
			if (c == m->self ||
				(b->peers[c].known && monitor_cell_state(m, c) == CELL_ALIVE &&
					b->peers[c].cpus[i].usable))
				cpu_set_add(cpus, cpu);
		}
	}
}

/* Runnable vCPUs of other cells' guests: visitors here, and what peers said of theirs. */
static uint32_t foreign_loads(struct monitor *m)
{
	struct balancing *b = m->balancing;
	uint32_t sum = 0;

	memset(b->foreign, 0, sizeof(b->foreign));
	for (uint32_t i = 0; i < b->visitors->count; i++)
		b->foreign[b->visitors->rows[i].cpu]++;
	for (uint32_t c = 0; c < m->plan->cells.cell_count; c++) {
		const struct cpu_set *set = &m->plan->cells.cells[c].cpus;
		uint32_t i = 0;

		if (c == m->self || !b->peers[c].known)
			continue;
		for (uint32_t cpu = cpu_set_next(set, 0); cpu != CPU_NONE;
			cpu = cpu_set_next(set, cpu + 1))
			b->foreign[cpu] = b->peers[c].cpus[i++].runnable;
	}
	/* What peers said counts our own visits there as well. */
	for (uint32_t i = 0; i < VISITS_MAX; i++) {
		const struct visit *row = &b->visits->rows[i];

		if ((row->state == VISIT_THERE || row->state == VISIT_LEAVING) &&
			b->foreign[row->cpu] > 0)
			b->foreign[row->cpu]--;
	}
	for (uint32_t cpu = 0; cpu < CPU_SET_CPUS; cpu++)
		sum += b->foreign[cpu];
	return sum;
}

static void near_cpus(const struct monitor *m, const struct guest *row, struct cpu_set *near)
{
	const struct cell_plan *cell = &m->plan->cells.cells[m->self];

	memset(near, 0, sizeof(*near));
	for (uint32_t i = 0; i < row->node_count; i++) {
		uint32_t n = machine_node_of(&m->plan->machine, row->nodes[i]);

		if (n != NODE_NONE && cells_of_node(&m->plan->cells, n) == m->self)
			cpu_set_merge(near, &m->plan->machine.nodes[n].cpus);
	}
	if (cpu_set_empty(near))
		*near = cell->cpus;
}

static void input_guest(struct monitor *m, const struct bal_guest *g, struct round_guest *out)
{
	const struct guest *row = guest_book_find(keeper_book(m->keeper), g->name);

	memset(out, 0, sizeof(*out));
	out->home = m->self;
	out->needs_max = g->cells_max;
	out->gang = g->gang;
	for (uint32_t i = 0; row && i < row->need_count; i++)
		balance_need(&out->needs, row->needs[i]);
	balance_need(&out->needs, m->self);
	if (row)
		near_cpus(m, row, &out->near);
}

static void input_vcpu(
	struct monitor *m, struct bal_input *i, struct bal_guest *g, uint32_t v, uint32_t guest)
{
	struct bal_vcpu *vcpu = &g->vcpus[v];
	const struct visit *visit = visits_find(m->balancing->visits, g->name, v);
	uint32_t at = i->in.vcpu_count++;

	i->who[at] = vcpu;
	i->whose[at] = g;
	i->numbers[at] = v;
	i->vcpus[at] = (struct round_vcpu){ .guest = guest,
		.allowed = vcpu->allowed,
		.runnable = vcpu->runnable,
		.held = vcpu->held || moving_has(m, g->name) ||
			(visit && visit->state != VISIT_THERE),
		.moved_ns = vcpu->moved_ns,
		.idle_ns = vcpu->runnable ? 0 : i->in.now_ns - vcpu->idle_since_ns };
}

/* Of a host whose monitor is being replaced nothing is known now: its visitors stay. */
static bool waits_for_host(struct monitor *m, const struct bal_guest *g, uint32_t v)
{
	const struct visit *visit = visits_find(m->balancing->visits, g->name, v);

	return visit && visit->state != VISIT_ASKING &&
	       (monitor_cell_state(m, visit->host) != CELL_ALIVE ||
		       !m->balancing->peers[visit->host].known);
}

void balancing_input(struct monitor *m, uint64_t now_ns, struct bal_input *out)
{
	struct balancing *b = m->balancing;
	uint32_t vcpus = 0, guests = 0;

	memset(out, 0, sizeof(*out));
	for (const struct bal_guest *g = b->guests; g; g = g->next) {
		vcpus += g->cpus;
		guests++;
	}
	/* One more, for a guest that is to start. */
	out->vcpus = calloc(vcpus + 1, sizeof(*out->vcpus));
	out->guests = calloc(guests + 1, sizeof(*out->guests));
	out->who = calloc(vcpus + 1, sizeof(struct bal_vcpu *));
	out->whose = calloc(vcpus + 1, sizeof(struct bal_guest *));
	out->numbers = calloc(vcpus + 1, sizeof(*out->numbers));
	CHECK(out->vcpus && out->guests && out->who && out->whose && out->numbers);
	out->foreign = foreign_loads(m);
	out->in = (struct round_input){ .machine = &m->plan->machine,
		.cells = &m->plan->cells,
		.self = m->self,
		.now_ns = now_ns,
		.stay_ns = 0,
		.foreign = b->foreign,
		.cpu_idle_ns = b->cpu_idle_ns,
		.vcpus = out->vcpus,
		.guests = out->guests };
	balancing_usable(m, &out->in.usable);
	for (struct bal_guest *g = b->guests; g; g = g->next) {
		input_guest(m, g, &out->guests[out->in.guest_count]);
		for (uint32_t v = 0; v < g->cpus; v++)
			if (g->adopted && g->vcpus[v].stat_fd >= 0 && g->vcpus[v].known &&
				!waits_for_host(m, g, v))
				input_vcpu(m, out, g, v, out->in.guest_count);
		out->in.guest_count++;
	}
}

void balancing_input_free(struct bal_input *i)
{
	free(i->vcpus);
	free(i->guests);
	free((void *)i->who);
	free((void *)i->whose);
	free(i->numbers);
}
