/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cell/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "faultcontain/host/fence.h"
#include "monitor/cell/keeper_internal.h"
#include "monitor/cell/runtime_lock.h"
#include "monitor/cell/spawn.h"
#include "monitor/guest/process.h"
#include "numa/check.h"
#include "numa/host/bind.h"
#include "numa/host/cgroup.h"
#include "numa/host/exe_copy.h"

double keeper_wall_clock(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

uint64_t keeper_clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void keeper_changed(struct keeper *k)
{
	k->cfg.events.changed(k->cfg.events.ctx);
}

void keeper_event(struct keeper *k, const struct guest *g, const char *name, const char *cause)
{
	k->cfg.events.event(k->cfg.events.ctx, g, name, cause);
}

int keeper_open(struct keeper **out, const struct keeper_cfg *cfg, struct err *e)
{
	struct keeper *k = calloc(1, sizeof(*k));
	int rc;

	CHECK(k != NULL);
	k->cfg = *cfg;
	snprintf(k->dir, sizeof(k->dir), "%s", cfg->dir);
	for (size_t i = 0; i < NEWCOMERS_MAX; i++)
		k->newcomers[i].fd = -1;
	rc = keeper_listen(k, e);
	if (rc) {
		free(k);
		return rc;
	}
	*out = k;
	return 0;
}

void keeper_close(struct keeper *k)
{
	if (!k)
		return;
	while (k->links) {
		struct guest_link *l = k->links;

		k->links = l->next;
		keeper_link_free(l);
	}
	keeper_unlisten(k);
	guest_book_fini(&k->book);
	free(k);
}

const struct guest_book *keeper_book(const struct keeper *k)
{
	return &k->book;
}

struct guest_link *keeper_find_link(const struct keeper *k, const char *name)
{
	for (struct guest_link *l = k->links; l; l = l->next)
		if (!strcmp(l->g->name, name))
			return l;
	return NULL;
}

static struct waiter *add_waiter(
	struct guest_link *l, enum waiter_kind kind, uint64_t deadline_ns, void *ctx)
{
	struct waiter *w = calloc(1, sizeof(*w));

	CHECK(w != NULL);
	w->kind = kind;
	w->deadline_ns = deadline_ns;
	w->ctx = ctx;
	w->next = l->waiters;
	l->waiters = w;
	return w;
}

void keeper_fill(struct guest *g, const struct guest_spec *spec, const struct guest_home *home)
{
	uint32_t ranges = home->memory_count < GUEST_NODES_MAX ? home->memory_count : 0;

	g->cpus = spec->cpus;
	g->memory_bytes = spec->memory_bytes;
	json_decref(g->spec);
	g->spec = guest_spec_encode(spec);
	g->node_count = home->node_count < GUEST_NODES_MAX ? home->node_count : GUEST_NODES_MAX;
	for (uint32_t n = 0; n < g->node_count; n++) {
		g->nodes[n] = home->nodes[n];
		/* Without a plan the memory may lie on any of them: say an equal part. */
		g->node_bytes[n] = ranges ? 0 : spec->memory_bytes / g->node_count;
		for (uint32_t i = 0; i < ranges; i++)
			if (home->memory[i].node == home->nodes[n])
				g->node_bytes[n] += home->memory[i].bytes;
	}
}

/* Beyond guest RAM: devices, page tables, the process itself. */
#define GROUP_EXTRA_BYTES (256ull << 20)

uint64_t keeper_memory_max(uint64_t memory_bytes)
{
	return memory_bytes + memory_bytes / 8 + GROUP_EXTRA_BYTES;
}

struct group {
	char name[CGROUP_PATH_BYTES];
	const struct guest_spec *spec;
	const struct guest_home *home;
	const struct plan *plan;
	int exe_fd; /* the cell's copy of the program, borrowed */
	bool cgroups;
};

/*
 * In the child, which joins its control group by itself: that waits for an RCU
 * grace period, and the monitor must not. Affinity and memory policy hold in any
 * case, so a group that can't be had is only said.
 */
static void join_group(const struct group *group)
{
	struct cpu_set cpus = { { 0 } };
	struct node_set nodes = { { 0 } };
	const struct cgroup_limits limits = { .cpus = &cpus,
		.nodes = &nodes,
		.memory_max_bytes = keeper_memory_max(group->spec->memory_bytes) };
	struct err e;

	/*
	 * Its vCPUs may come to run anywhere in the cell, or in others: to widen a group later
	 * would undo the affinity of its threads (Linux before 6.2).
	 */
	for (uint32_t c = 0; c < group->plan->cells.cell_count; c++)
		if (c == group->home->cell || group->spec->cells_max > 1)
			cpu_set_merge(&cpus, &group->plan->cells.cells[c].cpus);
	for (uint32_t i = 0; i < group->home->node_count; i++)
		if (group->home->nodes[i] < BIND_NODES)
			node_set_add(&nodes, group->home->nodes[i]);
	if (cgroup_make(group->name, &limits, &e) || cgroup_add(group->name, getpid(), &e))
		fprintf(stderr, "control group %s: %s\n", group->name, e.text);
}

/*
 * In the child. The guest runs from a copy of the program of its own, so that all of it can move
 * to another cell. Where there is no room for it, from the cell's, and then it can't be moved.
 */
static int take_place(void *ctx)
{
	const struct group *group = ctx;
	const struct guest_home *home = group->home;
	uint32_t node = home->nodes[0];
	char name[64];
	int fd;

	if (group->cgroups)
		join_group(group);
	for (uint32_t i = 0; i < home->node_count; i++) {
		uint32_t n = machine_node_of(&group->plan->machine, home->nodes[i]);

		/* What is borrowed of other cells is no place for it. */
		if (n != NODE_NONE && cells_of_node(&group->plan->cells, n) == home->cell) {
			node = home->nodes[i];
			break;
		}
	}
	snprintf(name, sizeof(name), "cellvisor-guest-%s", group->spec->name);
	fd = exe_copy(group->exe_fd, name, node);
	return fd >= 0 ? fd : group->exe_fd;
}

static int spawn_guest(struct keeper *k, const struct guest_spec *spec,
	const struct guest_home *home, int chan, pid_t *pid, int *pidfd)
{
	char cell[32], name_word[48], dir[64];
	char program[] = "cellvisor", role[] = "guest";
	char *argv[] = { program, role, cell, name_word, dir, NULL };
	struct group group = { .spec = spec,
		.home = home,
		.plan = k->cfg.plan,
		/* The child has other things in the lowest ones. */
		.exe_fd = fcntl(k->cfg.exe_fd, F_DUPFD_CLOEXEC, SPAWN_FREE_FD),
		.cgroups = k->cfg.cgroups };
	const struct spawn s = { .exe_fd = -1,
		.log_fd = 2,
		.fd3 = chan,
		.argv = argv,
		.prepare = take_place,
		.ctx = &group };
	int rc;

	snprintf(cell, sizeof(cell), "--cell=%u", k->cfg.cell);
	snprintf(name_word, sizeof(name_word), "--name=%s", spec->name);
	snprintf(dir, sizeof(dir), "--runtime=%s", k->dir);
	snprintf(group.name, sizeof(group.name), KEEPER_GROUP "/cell-%u/%s", k->cfg.cell,
		spec->name);
	rc = group.exe_fd < 0 ? -errno : spawn_process(&s, pid, pidfd);
	if (group.exe_fd >= 0)
		close(group.exe_fd);
	return rc;
}

/* Starts the process and sends it the order. The link owns everything afterwards. */
static int launch(struct keeper *k, struct guest *g, const struct guest_spec *spec,
	const struct guest_home *home, struct guest_link **out)
{
	struct guest_order *order = calloc(1, sizeof(*order));
	struct guest_link *l;
	json_t *message;
	int ends[2], pidfd, rc;

	CHECK(order != NULL);
	order->op = ORDER_START;
	order->spec = *spec;
	order->home = *home;
	message = guest_order_encode(order);
	free(order);
	CHECK(message != NULL);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)) {
		rc = -errno;
		json_decref(message);
		return rc;
	}
	/* Into the socket before the process is there: an error can only be ours. */
	rc = report_send(ends[0], message, -1);
	json_decref(message);
	if (!rc)
		rc = spawn_guest(k, spec, home, ends[1], &g->proc.pid, &pidfd);
	close(ends[1]);
	if (rc) {
		close(ends[0]);
		return rc;
	}
	rc = proc_start_time(g->proc.pid, &g->proc.start_time);
	CHECK(rc == 0); /* our child, not yet reaped */
	l = keeper_link(k, g, pidfd);
	rc = l ? keeper_link_chan(l, ends[0]) : -ENOMEM;
	CHECK(rc == 0); /* epoll takes two more descriptors, or this monitor is of no use */
	l->heard = true;
	keeper_link_home(l, home);
	*out = l;
	return 0;
}

int keeper_start(struct keeper *k, const struct guest_spec *spec, const struct guest_home *home,
	uint64_t deadline_ns, keeper_done *done, void *ctx, struct err *e)
{
	struct guest_link *l = NULL;
	struct guest *g;
	struct waiter *w;
	int rc;

	switch (guest_book_add(&k->book, spec->name, k->cfg.cell, &g)) {
	case GUEST_NAME_TAKEN:
		return err_set(e, EXIT_CONFLICT,
			"guest '%s' is already there, on cell %u; choose another name, or end it "
			"first",
			spec->name, k->cfg.cell);
	case GUEST_BOOK_FULL:
		return err_set(e, EXIT_NO_ROOM, "cell %u already has %u guests, the most it takes",
			k->cfg.cell, GUESTS_LIVE_MAX);
	case GUEST_ADDED:
		break;
	}
	keeper_fill(g, spec, home);
	rc = runtime_make_guest(k->dir, k->cfg.cell, g->name, e);
	if (rc) {
		guest_book_remove(&k->book, g);
		return rc;
	}
	keeper_open_door(k, g->name);
	rc = launch(k, g, spec, home, &l);
	if (rc) {
		runtime_remove_guest(k->dir, k->cfg.cell, spec->name);
		guest_book_remove(&k->book, g);
		return err_set(e, EXIT_ENVIRONMENT, "can't start the process of guest '%s': %s",
			spec->name, strerror(-rc));
	}
	w = add_waiter(l, WAITER_START, deadline_ns, ctx);
	w->done = done;
	err_set(&w->late, EXIT_NO_ANSWER, "guest '%s' did not start in time; it has been ended",
		spec->name);
	/* Peers have to know its process before it can do anything: they may have to fence it. */
	keeper_changed(k);
	return 0;
}

/* The link of a live guest, or -errno with *e. */
static struct guest_link *live_link(struct keeper *k, const char *name, struct err *e)
{
	struct guest_link *l = keeper_find_link(k, name);
	const struct guest *g = guest_book_find(&k->book, name);

	if (l)
		return l;
	if (g)
		err_set(e, EXIT_CONFLICT, "guest '%s' is not running: it is %s (%s)", name,
			guest_state_name(g->state), g->cause);
	else
		err_set(e, EXIT_NOT_FOUND, "no guest '%s'; `cellvisor ls` lists them", name);
	return NULL;
}

int keeper_order(struct guest_link *l, enum guest_order_op op)
{
	struct guest_order *o = calloc(1, sizeof(*o));
	json_t *message;
	int rc;

	CHECK(o != NULL);
	o->op = op;
	message = guest_order_encode(o);
	free(o);
	CHECK(message != NULL);
	rc = l->chan < 0 ? -ENOTCONN : report_send(l->chan, message, -1);
	json_decref(message);
	return rc;
}

int keeper_stop(struct keeper *k, const char *name, uint64_t deadline_ns, keeper_done *done,
	void *ctx, struct err *e)
{
	struct guest_link *l = live_link(k, name, e);
	struct waiter *w;
	int rc;

	if (!l)
		return -ENOENT;
	rc = keeper_order(l, ORDER_STOP);
	if (rc)
		return err_set(e, EXIT_NO_ANSWER,
			"the process of guest '%s' takes no orders now (%s); try again, or end it "
			"with "
			"`cellvisor kill %s`",
			name, strerror(-rc), name);
	w = add_waiter(l, WAITER_END, deadline_ns, ctx);
	w->done = done;
	err_set(&w->late, EXIT_NO_ANSWER,
		"guest '%s' did not react to its power button in time and runs on; does it have an "
		"ACPI daemon? `cellvisor kill %s` ends it at once",
		name, name);
	return 0;
}

/* The kill itself, with what the record will say. */
static void kill_process(struct guest_link *l, enum guest_state state, const char *cause)
{
	l->killed |= state == GUEST_STOPPED;
	if (!l->told) {
		l->told = true;
		l->told_state = state;
		snprintf(l->told_cause, sizeof(l->told_cause), "%s", cause);
	}
	fence_kill(&l->g->proc);
}

int keeper_kill(struct keeper *k, const char *name, const char *cause, uint64_t deadline_ns,
	keeper_done *done, void *ctx, struct err *e)
{
	struct guest_link *l = live_link(k, name, e);
	struct waiter *w;

	if (!l)
		return -ENOENT;
	kill_process(l, GUEST_STOPPED, cause);
	w = add_waiter(l, WAITER_END, deadline_ns, ctx);
	w->done = done;
	err_set(&w->late, EXIT_NO_ANSWER,
		"guest '%s' has been killed, but its process has not ended yet", name);
	return 0;
}

void keeper_lose(struct keeper *k, const char *name, const char *cause)
{
	struct guest_link *l = keeper_find_link(k, name);

	if (l)
		kill_process(l, GUEST_LOST, cause);
}

void keeper_need(struct keeper *k, const char *name, enum keeper_need why, const uint32_t *cells,
	uint32_t count)
{
	struct guest_link *l = keeper_find_link(k, name);
	uint32_t needs[GUEST_NEEDS_MAX], n = 0;

	if (!l)
		return;
	memset(l->needs[why], 0, sizeof(l->needs[why]));
	for (uint32_t i = 0; i < count; i++) {
		CHECK(cells[i] < SPEC_CELLS_MAX);
		l->needs[why][cells[i]] = true;
	}
	for (uint32_t cell = 0; cell < SPEC_CELLS_MAX; cell++) {
		bool needed = cell == k->cfg.cell;

		for (int w = 0; w < KEEPER_NEED_COUNT; w++)
			needed |= l->needs[w][cell];
		if (needed)
			needs[n++] = cell;
	}
	if (n == l->g->need_count && !memcmp(needs, l->g->needs, n * sizeof(needs[0])))
		return;
	memcpy(l->g->needs, needs, n * sizeof(needs[0]));
	l->g->need_count = n;
	keeper_changed(k);
}

void keeper_place(struct keeper *k, const char *name, const uint32_t *nodes, const uint64_t *bytes,
	uint32_t count)
{
	struct guest_link *l = keeper_find_link(k, name);
	struct guest *g;

	CHECK(count <= GUEST_NODES_MAX);
	if (!l)
		return;
	g = l->g;
	if (count == g->node_count && !memcmp(nodes, g->nodes, count * sizeof(nodes[0])) &&
		!memcmp(bytes, g->node_bytes, count * sizeof(bytes[0])))
		return;
	memcpy(g->nodes, nodes, count * sizeof(nodes[0]));
	memcpy(g->node_bytes, bytes, count * sizeof(bytes[0]));
	g->node_count = count;
	keeper_changed(k);
}

void keeper_push_ledger(struct guest_link *l)
{
	struct guest_order *o;
	json_t *message;

	if (!l->ledger_waits || l->chan < 0)
		return;
	o = calloc(1, sizeof(*o));
	CHECK(o != NULL);
	o->op = ORDER_KEEP;
	o->ledger = l->ledger; /* borrowed: it is not freed with *o */
	message = guest_order_encode(o);
	free(o);
	CHECK(message != NULL);
	l->ledger_waits = report_send(l->chan, message, -1) != 0;
	json_decref(message);
}

void keeper_keep(struct keeper *k, const char *name, json_t *ledger)
{
	struct guest_link *l = keeper_find_link(k, name);

	if (!l) {
		json_decref(ledger);
		return;
	}
	json_decref(l->ledger);
	l->ledger = ledger;
	l->ledger_waits = true;
	keeper_push_ledger(l);
}

bool keeper_kept(const struct keeper *k, const char *name)
{
	const struct guest_link *l = keeper_find_link(k, name);

	return l && !l->ledger_waits;
}

int keeper_ram(const struct keeper *k, const char *name)
{
	const struct guest_link *l = keeper_find_link(k, name);
	int fd = l && l->ram_fd >= 0 ? fcntl(l->ram_fd, F_DUPFD_CLOEXEC, 3) : -ENOENT;

	return fd == -1 ? -errno : fd;
}

bool keeper_awaits(const struct keeper *k)
{
	for (const struct guest_link *l = k->links; l; l = l->next)
		if (!l->heard && l->g->need_count > 1)
			return true;
	return false;
}

void keeper_ask(
	struct keeper *k, const char *name, uint64_t deadline_ns, keeper_details *done, void *ctx)
{
	struct guest_link *l = keeper_find_link(k, name);
	struct waiter *w;

	if (!l || keeper_order(l, ORDER_SHOW)) {
		done(ctx, NULL);
		return;
	}
	w = add_waiter(l, WAITER_SHOW, deadline_ns, ctx);
	w->details = done;
}

void keeper_forget(struct keeper *k, const char *name)
{
	struct guest *g = guest_book_find(&k->book, name);

	if (!g || !guest_ended(g))
		return;
	guest_book_remove(&k->book, g);
	runtime_remove_guest(k->dir, k->cfg.cell, name);
	keeper_changed(k);
}
