/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cell/recovery.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faultcontain/host/fence.h"
#include "faultcontain/host/probe.h"
#include "faultcontain/member.h"
#include "monitor/cell/balancing.h"
#include "monitor/cell/launch.h"
#include "monitor/cell/lending.h"
#include "monitor/cell/lives.h"
#include "monitor/cell/state.h"
#include "numa/check.h"

#define HEARTBEAT_NS (100ull * 1000000u)
#define RESTART_NS (15ull * 1000000000u)
#define RETRY_NS HEARTBEAT_NS
#define REAP_NS (1000ull * 1000000u)
/* CPUs get at least so long to run a probe: a busy one is not a dead one. */
#define PROBE_NS_MIN (1500ull * 1000000u)

/* So long after its own start a monitor takes a cell that it never heard of for one that starts. */
#define START_GRACE_NS (20ull * 1000000000u)

#define MONITORS_KNOWN LIVES_KEPT

/* What is known of a peer beyond what the state machine keeps. */
struct examined {
	struct monitor *m;
	uint32_t cell;
	struct life monitors[MONITORS_KNOWN]; /* that were linked, or started from here */
	uint32_t next;
	struct probe *probe; /* owned; NULL: none runs */
	struct watch probe_watch;
	uint64_t probe_deadline_ns;
	uint32_t probed_life;
	enum member_evidence evidence; /* why it is dead */
	uint32_t dead_life;	       /* the highest life that is over with it */
};

/* A monitor started from here is our child until it ends. */
struct launched {
	struct monitor *m;
	uint32_t cell, life;
	int pidfd; /* owned */
	struct watch watch;
	struct launched *next;
};

struct recovery {
	struct membership *ms;
	void *memory; /* owned */
	struct examined peers[CELLS_MAX];
	struct probe_leftovers leftovers;
	uint64_t reap_ns, opened_ns;
	uint64_t dead_ns; /* a cell was found dead then, and not all go on yet; 0: not so */
	struct launched *children; /* owned */
};

static uint64_t probe_ns(const struct monitor *m)
{
	uint64_t suspect_ns = m->plan->suspect_ms * 1000000ull;

	return suspect_ns > PROBE_NS_MIN ? suspect_ns : PROBE_NS_MIN;
}

int recovery_open(struct monitor *m, uint64_t born, struct err *e)
{
	const uint16_t count = (uint16_t)m->plan->cells.cell_count;
	const struct member_cfg cfg = {
		.self = (uint16_t)m->self,
		.cell_count = count,
		.incarnation = (uint32_t)m->incarnation,
		.born = (uint32_t)born,
		.evidence_mode = MEMBER_ONE_KERNEL,
		.heartbeat_ns = HEARTBEAT_NS,
		.suspect_ns = m->plan->suspect_ms * 1000000ull,
		.evidence_ns = 2 * probe_ns(m),
		.restart_ns = RESTART_NS,
		.retry_ns = RETRY_NS,
	};
	struct recovery *r = calloc(1, sizeof(*r));

	CHECK(r != NULL);
	m->recovery = r;
	r->memory = calloc(1, member_bytes(count));
	CHECK(r->memory != NULL);
	for (uint32_t cell = 0; cell < CELLS_MAX; cell++) {
		r->peers[cell].m = m;
		r->peers[cell].cell = cell;
	}
	r->reap_ns = UINT64_MAX;
	r->opened_ns = monitor_now_ns();
	r->ms = member_start(r->memory, &cfg, monitor_now_ns());
	if (!r->ms)
		return err_set(e, EXIT_USAGE, "cell %u of %u can't be in its life %llu since %llu",
			m->self, count, (unsigned long long)m->incarnation,
			(unsigned long long)born);
	return 0;
}

static void probe_stop(struct monitor *m, struct examined *x)
{
	loop_unwatch(&m->loop, &x->probe_watch);
	probe_end(x->probe, &m->recovery->leftovers);
	x->probe = NULL;
	if (m->recovery->leftovers.count > 0)
		m->recovery->reap_ns = monitor_now_ns() + REAP_NS;
}

void recovery_close(struct monitor *m)
{
	struct recovery *r = m->recovery;

	if (!r)
		return;
	for (uint32_t cell = 0; cell < CELLS_MAX; cell++)
		if (r->peers[cell].probe)
			probe_stop(m, &r->peers[cell]);
	probe_leftovers_fini(&r->leftovers);
	while (r->children) {
		struct launched *l = r->children;

		r->children = l->next;
		loop_unwatch(&m->loop, &l->watch);
		close(l->pidfd);
		free(l);
	}
	free(r->memory);
	free(r);
	m->recovery = NULL;
}

static void know_monitor(struct examined *x, const struct life *life)
{
	for (uint32_t i = 0; i < MONITORS_KNOWN; i++)
		if (x->monitors[i].incarnation == life->incarnation) {
			x->monitors[i] = *life;
			return;
		}
	x->monitors[x->next] = *life;
	x->next = (x->next + 1) % MONITORS_KNOWN;
}

void recovery_link_up(struct monitor *m, const struct transport_peer *peer)
{
	const struct life life = { .incarnation = peer->incarnation,
		.proc = { .pid = peer->pid, .start_time = peer->start_time } };

	know_monitor(&m->recovery->peers[peer->cell], &life);
	member_link(m->recovery->ms, monitor_now_ns(), peer->cell, peer->incarnation, true);
}

void recovery_link_down(struct monitor *m, uint32_t cell, uint64_t incarnation)
{
	member_link(m->recovery->ms, monitor_now_ns(), (uint16_t)cell, incarnation, false);
}

void recovery_message(struct monitor *m, uint32_t cell, uint64_t incarnation, uint16_t op,
	const void *body, size_t bytes)
{
	enum member_recv how = member_recv(
		m->recovery->ms, monitor_now_ns(), (uint16_t)cell, incarnation, op, body, bytes);

	if (how >= MEMBER_RECV_BAD_OP) {
		fprintf(stderr, "message %#x of cell %u can't be true: %s\n", op, cell,
			member_recv_name(how));
		fabric_fail(m->fabric, (uint16_t)cell);
	}
}

void recovery_hardware(struct monitor *m, uint32_t cell)
{
	member_evidence(m->recovery->ms, monitor_now_ns(), (uint16_t)cell,
		member_incarnation(m->recovery->ms, (uint16_t)cell), MEMBER_EVIDENCE_HARDWARE);
}

/* --- evidence --- */

/* Has the monitor of this life ended? Known of a link, a launch, or the record. */
static bool monitor_gone(const struct monitor *m, uint32_t cell, uint32_t incarnation)
{
	const struct examined *x = &m->recovery->peers[cell];
	struct life lives[LIVES_KEPT];
	uint32_t count;

	for (uint32_t i = 0; i < MONITORS_KNOWN; i++)
		if (x->monitors[i].incarnation == incarnation && x->monitors[i].proc.pid)
			return proc_over(&x->monitors[i].proc) == 1;
	count = lives_list(m->dir, cell, lives, LIVES_KEPT);
	for (uint32_t i = 0; i < count; i++)
		if (lives[i].incarnation == incarnation && lives[i].proc.pid)
			return proc_over(&lives[i].proc) == 1;
	return false;
}

static void give_evidence(
	struct monitor *m, uint32_t cell, uint32_t life, enum member_evidence kind)
{
	if (kind != MEMBER_EVIDENCE_NONE)
		m->recovery->peers[cell].evidence = kind;
	member_evidence(m->recovery->ms, monitor_now_ns(), (uint16_t)cell, life, kind);
}

static void probe_look(struct examined *x, uint64_t now_ns)
{
	struct monitor *m = x->m;
	enum member_evidence kind = MEMBER_EVIDENCE_NONE;

	switch (probe_step(x->probe, now_ns)) {
	case PROBE_WAITING:
		return;
	case PROBE_ALIVE:
		kind = monitor_gone(m, x->cell, x->probed_life) ? MEMBER_EVIDENCE_PROCESS_GONE
								: MEMBER_EVIDENCE_CPU_ANSWERS;
		break;
	case PROBE_SILENT:
		kind = MEMBER_EVIDENCE_NO_CPU;
		break;
	case PROBE_UNKNOWN:
		break;
	}
	probe_stop(m, x);
	give_evidence(m, x->cell, x->probed_life, kind);
}

static void probe_ready(void *ctx, uint32_t events)
{
	(void)events;
	probe_look(ctx, monitor_now_ns());
}

/*
 * A cell that was never heard of: `up` is about to start its monitor, or that
 * takes its time on a busy machine. Silence means nothing yet.
 */
static bool may_be_starting(const struct monitor *m, uint32_t cell)
{
	struct life last;

	if (monitor_now_ns() - m->recovery->opened_ns > START_GRACE_NS)
		return false;
	return lives_list(m->dir, cell, &last, 1) == 0 || !last.proc.pid ||
	       proc_over(&last.proc) == 0;
}

static void gather_evidence(struct monitor *m, uint32_t cell, uint32_t life)
{
	struct examined *x = &m->recovery->peers[cell];
	const struct cpu_set *set = &m->plan->cells.cells[cell].cpus;
	uint32_t cpus[1024];
	struct life last;
	size_t count = 0;

	/* Not heard of yet, as when every monitor was started anew: what is on record counts. */
	if (!life && lives_list(m->dir, cell, &last, 1) == 1)
		life = (uint32_t)last.incarnation;
	if (life && monitor_gone(m, cell, life)) {
		give_evidence(m, cell, life, MEMBER_EVIDENCE_PROCESS_GONE);
		return;
	}
	if (member_incarnation(m->recovery->ms, (uint16_t)cell) == 0 && may_be_starting(m, cell)) {
		give_evidence(m, cell, life, MEMBER_EVIDENCE_NONE);
		return;
	}
	x->probed_life = life;
	if (x->probe)
		return;
	for (uint32_t cpu = cpu_set_next(set, 0); cpu != CPU_NONE && count < 1024;
		cpu = cpu_set_next(set, cpu + 1))
		cpus[count++] = cpu;
	x->probe_deadline_ns = monitor_now_ns() + probe_ns(m);
	if (probe_begin(&x->probe, cpus, count, x->probe_deadline_ns)) {
		x->probe = NULL;
		give_evidence(m, cell, life, MEMBER_EVIDENCE_NONE);
		return;
	}
	/* If it can't be watched, the deadline still comes. */
	loop_watch(&m->loop, &x->probe_watch, probe_fd(x->probe), probe_ready, x);
}

/* --- a new monitor for a peer --- */

static void child_ended(void *ctx, uint32_t events)
{
	struct launched *l = ctx, **at = &l->m->recovery->children;
	siginfo_t status;

	(void)events;
	waitid(P_PIDFD, (id_t)l->pidfd, &status, WEXITED | WNOHANG);
	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	loop_unwatch(&l->m->loop, &l->watch);
	close(l->pidfd);
	/* No need to wait for the time that a new monitor has to speak up. */
	give_evidence(l->m, l->cell, l->life, MEMBER_EVIDENCE_PROCESS_GONE);
	free(l);
}

static void watch_child(struct monitor *m, uint32_t cell, uint32_t life, int pidfd)
{
	struct launched *l = calloc(1, sizeof(*l));

	CHECK(l != NULL);
	l->m = m;
	l->cell = cell;
	l->life = life;
	l->pidfd = pidfd;
	l->next = m->recovery->children;
	m->recovery->children = l;
	loop_watch(&m->loop, &l->watch, pidfd, child_ended, l);
}

struct killing {
	struct proc_id ids[5 * LIVES_KEPT];
	uint32_t count;
};

/* Lives below `below`, and later ones of the boot `born` (0: none) or an earlier one. */
static void add_monitor(struct killing *k, const struct life *life, uint64_t below, uint64_t born)
{
	bool same_boot = life->born && life->born <= born;

	if ((life->incarnation >= below && !same_boot) || !life->proc.pid)
		return;
	for (uint32_t i = 0; i < k->count; i++)
		if (k->ids[i].pid == life->proc.pid &&
			k->ids[i].start_time == life->proc.start_time)
			return;
	k->ids[k->count++] = life->proc;
}

/* Monitors of these lives, as far as known: they must not act beside a new one, or at all. */
static void kill_monitors(struct monitor *m, uint32_t cell, uint64_t below, uint64_t born,
	struct fence_report *report)
{
	const struct examined *x = &m->recovery->peers[cell];
	struct life lives[4 * LIVES_KEPT];
	uint32_t count = lives_list(m->dir, cell, lives, 4 * LIVES_KEPT);
	struct killing k = { .count = 0 };

	for (uint32_t i = 0; i < count; i++)
		add_monitor(&k, &lives[i], below, born);
	for (uint32_t i = 0; i < MONITORS_KNOWN; i++)
		add_monitor(&k, &x->monitors[i], below, born);
	fence_kill_all(k.ids, k.count, report);
}

/* The guests of a cell that may still run. */
static void kill_guests(struct monitor *m, uint32_t cell, struct fence_report *report)
{
	const struct guest_book *book = monitor_book(m, cell);
	struct proc_id ids[GUESTS_LIVE_MAX + GUESTS_ENDED_MAX + 1];
	size_t n = 0;

	for (size_t i = 0; i < book->count; i++)
		if (!guest_ended(book->guests[i]) && book->guests[i]->proc.pid)
			ids[n++] = book->guests[i]->proc;
	fence_kill_all(ids, n, report);
}

static uint64_t born_of(struct monitor *m, const struct member_action *a)
{
	struct life last;
	struct fence_report report;

	if (a->born)
		return a->born;
	if (lives_list(m->dir, a->cell, &last, 1) == 1 && last.born)
		return last.born;
	/* Nothing on record: it starts afresh, and nothing of before may go on. */
	kill_guests(m, a->cell, &report);
	return a->incarnation;
}

static enum member_result restart(
	struct monitor *m, const struct member_action *a, struct member_report *report)
{
	struct life life = { .incarnation = a->incarnation, .born = born_of(m, a) }, last;
	enum member_evidence why = m->recovery->peers[a->cell].evidence;
	struct fence_report killed;
	uint64_t claimed = 0;
	char because[160];
	int pidfd, rc = 0;
	struct err e;

	/* Started afresh since: what is known here of the cell is over. */
	if (lives_list(m->dir, a->cell, &last, 1) == 1 && last.born > life.born)
		rc = -EEXIST;
	else
		rc = lives_claim(m->dir, a->cell, &life, &claimed);
	if (rc == -EEXIST && lives_list(m->dir, a->cell, &last, 1) == 1) {
		report->incarnation = (uint32_t)last.incarnation;
		report->born = (uint32_t)last.born;
		return MEMBER_REFUSED;
	}
	if (rc)
		return MEMBER_FAILED;
	kill_monitors(m, a->cell, a->incarnation, 0, &killed);
	snprintf(because, sizeof(because), "cell %u replaced the monitor: %s", m->self,
		why == MEMBER_EVIDENCE_PROCESS_GONE ? "its process was gone"
						    : "it was silent, but its CPUs work");
	if (cell_launch(m->plan, m->dir, a->cell, &life, because, &life.proc.pid, &pidfd, &e)) {
		fprintf(stderr, "%s\n", e.text);
		return MEMBER_FAILED;
	}
	watch_child(m, a->cell, a->incarnation, pidfd);
	if (!proc_start_time(life.proc.pid, &life.proc.start_time)) {
		know_monitor(&m->recovery->peers[a->cell], &life);
		lives_set_process(m->dir, a->cell, &life);
	}
	fprintf(stderr, "%s; cell %u lives its life %u now\n", because, a->cell, a->incarnation);
	return MEMBER_DONE;
}

static void do_restart(struct monitor *m, const struct member_action *a)
{
	struct member_report report = {
		.kind = MEMBER_RESTART, .cell = a->cell, .incarnation = a->incarnation
	};

	report.result = restart(m, a, &report);
	member_done(m->recovery->ms, monitor_now_ns(), &report);
}

/* --- a cell is dead --- */

/* Facts that all survivors see are recorded by the lowest of them. */
static bool is_recorder(const struct monitor *m, uint32_t about)
{
	struct cellset live;

	member_live(m->recovery->ms, &live);
	for (uint16_t cell = cellset_next(&live, 0); cell != CELLSET_NONE;
		cell = cellset_next(&live, cell + 1u))
		if (cell != about)
			return cell == m->self;
	return true;
}

static const char *death_text(const struct monitor *m, uint32_t cell, char *text, size_t room)
{
	static const char *const why[MEMBER_EVIDENCE_COUNT] = {
		[MEMBER_EVIDENCE_NO_CPU] = "none of its CPUs executes anything",
		[MEMBER_EVIDENCE_HARDWARE] = "the hardware reported a fatal error",
	};
	enum member_evidence kind = m->recovery->peers[cell].evidence;
	const struct cell_plan *c = &m->plan->cells.cells[cell];
	int used = snprintf(text, room, "%s", c->node_count > 1 ? "nodes" : "node");

	for (uint32_t i = 0; i < c->node_count && used > 0 && (size_t)used < room; i++)
		used += snprintf(text + used, room - (size_t)used, "%s%u", i ? "," : " ",
			m->plan->machine.nodes[c->nodes[i]].os_node);
	if (used > 0 && (size_t)used < room)
		snprintf(text + used, room - (size_t)used, " died, and cell %u with it: %s", cell,
			why[kind] ? why[kind] : "another cell found it dead");
	return text;
}

static void do_cell_dead(struct monitor *m, const struct member_action *a)
{
	struct examined *x = &m->recovery->peers[a->cell];
	char text[EVENT_CAUSE_BYTES];

	if (x->probe)
		probe_stop(m, x);
	x->evidence = a->evidence;
	x->dead_life = a->incarnation;
	if (!m->recovery->dead_ns)
		m->recovery->dead_ns = monitor_now_ns();
	death_text(m, a->cell, text, sizeof(text));
	fprintf(stderr, "%s\n", text);
	if (is_recorder(m, a->cell))
		monitor_event(m, a->cell, NULL, "cell-dead", text);
}

static void do_fence(struct monitor *m, const struct member_action *a)
{
	struct member_report done = {
		.kind = MEMBER_FENCE, .cell = a->cell, .incarnation = a->incarnation
	};
	struct fence_report monitors, guests;

	kill_monitors(m, a->cell, (uint64_t)a->incarnation + 1, a->born, &monitors);
	kill_guests(m, a->cell, &guests);
	fprintf(stderr, "fence of cell %u: %zu processes killed, %zu gone already, %zu failed\n",
		a->cell, monitors.killed + guests.killed, monitors.gone + guests.gone,
		monitors.failed + guests.failed);
	done.result = monitors.failed + guests.failed ? MEMBER_FAILED : MEMBER_DONE;
	member_done(m->recovery->ms, monitor_now_ns(), &done);
}

static bool needs_any(const struct guest *g, const struct cellset *dead)
{
	for (uint32_t i = 0; i < g->need_count; i++)
		if (cellset_has(dead, (uint16_t)g->needs[i]))
			return true;
	return false;
}

static void lose_guests_of(struct monitor *m, uint32_t cell)
{
	struct guest_book *book = &m->replicas[cell].book;
	char text[GUEST_CAUSE_BYTES];

	death_text(m, cell, text, sizeof(text));
	for (size_t i = 0; i < book->count; i++)
		if (guest_move(book->guests[i], GUEST_LOST, text, monitor_wall()) &&
			is_recorder(m, cell))
			monitor_event(m, cell, book->guests[i]->name, "guest-lost", text);
}

static void do_end_guests(struct monitor *m, const struct member_action *a)
{
	const struct member_report done = { .kind = MEMBER_END_GUESTS, .epoch = a->epoch };
	const struct guest_book *own = keeper_book(m->keeper);

	for (uint16_t cell = cellset_next(&a->cells, 0); cell != CELLSET_NONE;
		cell = cellset_next(&a->cells, cell + 1u))
		if (cell != m->self)
			lose_guests_of(m, cell);
	for (size_t i = 0; i < own->count; i++)
		if (!guest_ended(own->guests[i]) && needs_any(own->guests[i], &a->cells))
			keeper_lose(m->keeper, own->guests[i]->name, "a cell that it needed died");
	member_done(m->recovery->ms, monitor_now_ns(), &done);
}

static void do_event(struct monitor *m, const struct member_action *a)
{
	char text[EVENT_CAUSE_BYTES];

	if (!is_recorder(m, a->cell) || member_incarnation(m->recovery->ms, a->cell) == 0)
		return;
	if (a->event == MEMBER_EVENT_SUSPECT) {
		snprintf(text, sizeof(text),
			"its monitor has been silent for %u ms; looking whether its process and "
			"CPUs "
			"live",
			m->plan->suspect_ms);
		monitor_event(m, a->cell, NULL, "cell-suspect", text);
	} else if (a->event == MEMBER_EVENT_HEARD) {
		monitor_event(m, a->cell, NULL, "cell-heard", "its monitor speaks again");
	}
}

static void log_view(const struct member_action *a)
{
	fprintf(stderr, "view %llu: cells", (unsigned long long)a->epoch);
	for (uint16_t cell = cellset_next(&a->cells, 0); cell != CELLSET_NONE;
		cell = cellset_next(&a->cells, cell + 1u))
		fprintf(stderr, " %u", cell);
	fprintf(stderr, " are alive\n");
}

static void do_resumed(struct monitor *m, const struct member_action *a)
{
	struct recovery *r = m->recovery;
	char text[EVENT_CAUSE_BYTES];

	fprintf(stderr, "view %llu: all cells go on\n", (unsigned long long)a->epoch);
	if (!r->dead_ns)
		return;
	snprintf(text, sizeof(text), "the survivors agreed, fenced and went on in %.1f ms",
		(double)(monitor_now_ns() - r->dead_ns) / 1e6);
	r->dead_ns = 0;
	if (is_recorder(m, UINT32_MAX))
		monitor_event(m, m->self, NULL, "cells-resumed", text);
}

static void perform(struct monitor *m, const struct member_action *a)
{
	switch (a->kind) {
	case MEMBER_SEND:
		/* Lost when there is no link or no room: the state machine repeats what matters. */
		fabric_send(m->fabric, a->cell, a->op, a->body, a->body_bytes);
		break;
	case MEMBER_GATHER:
		gather_evidence(m, a->cell, a->incarnation);
		break;
	case MEMBER_RESTART:
		do_restart(m, a);
		break;
	case MEMBER_STOP_SELF:
		fprintf(stderr, "life %u of cell %u is over: the others go on without it\n",
			a->incarnation, m->self);
		m->exit_ns = 0;
		break;
	case MEMBER_CELL_DEAD:
		do_cell_dead(m, a);
		break;
	case MEMBER_FENCE:
		do_fence(m, a);
		break;
	case MEMBER_ABORT_CALLS:
		for (uint16_t cell = cellset_next(&a->cells, 0); cell != CELLSET_NONE;
			cell = cellset_next(&a->cells, cell + 1u))
			fabric_dead(m->fabric, cell, m->recovery->peers[cell].dead_life);
		break;
	case MEMBER_DROP_LOANS:
		for (uint16_t cell = cellset_next(&a->cells, 0); cell != CELLSET_NONE;
			cell = cellset_next(&a->cells, cell + 1u))
			balancing_dead(m, cell);
		lending_drop(m, &a->cells);
		break;
	case MEMBER_END_GUESTS:
		do_end_guests(m, a);
		break;
	case MEMBER_VIEW:
		log_view(a);
		break;
	case MEMBER_RESUMED:
		do_resumed(m, a);
		lending_resumed(m);
		break;
	case MEMBER_EVENT:
		do_event(m, a);
		break;
	case MEMBER_ACTION_COUNT:
		break;
	}
}

/* While the cells go down, silence and missing processes are no news. */
static bool wanted(const struct monitor *m, const struct member_action *a)
{
	return !m->going_down || a->kind == MEMBER_SEND;
}

void recovery_turn(struct monitor *m, uint64_t now_ns)
{
	struct recovery *r = m->recovery;
	struct member_action a;

	for (uint32_t cell = 0; cell < m->plan->cells.cell_count; cell++)
		if (r->peers[cell].probe && r->peers[cell].probe_deadline_ns <= now_ns)
			probe_look(&r->peers[cell], now_ns);
	if (r->reap_ns <= now_ns)
		r->reap_ns = probe_reap(&r->leftovers) ? now_ns + REAP_NS : UINT64_MAX;
	/* What came before may have told it of a later time already. */
	member_tick(r->ms, monitor_now_ns());
	while (member_next(r->ms, &a))
		if (wanted(m, &a))
			perform(m, &a);
}

uint64_t recovery_due(const struct monitor *m)
{
	const struct recovery *r = m->recovery;
	uint64_t due = member_due(r->ms);

	for (uint32_t cell = 0; cell < m->plan->cells.cell_count; cell++)
		if (r->peers[cell].probe && r->peers[cell].probe_deadline_ns < due)
			due = r->peers[cell].probe_deadline_ns;
	return r->reap_ns < due ? r->reap_ns : due;
}

uint32_t recovery_live_count(const struct monitor *m)
{
	struct cellset live;

	if (member_epoch(m->recovery->ms) == 0 || member_suspended(m->recovery->ms))
		return 0;
	member_live(m->recovery->ms, &live);
	return cellset_count(&live);
}

bool recovery_suspended(const struct monitor *m)
{
	return member_epoch(m->recovery->ms) == 0 || member_suspended(m->recovery->ms);
}

bool recovery_life(const struct monitor *m, uint32_t cell, uint32_t *incarnation, uint32_t *born)
{
	struct cellset live;

	member_live(m->recovery->ms, &live);
	*incarnation = member_incarnation(m->recovery->ms, (uint16_t)cell);
	*born = member_born(m->recovery->ms, (uint16_t)cell);
	return cellset_has(&live, (uint16_t)cell);
}

enum cell_state monitor_cell_state(const struct monitor *m, uint32_t cell)
{
	if (cell == m->self)
		return CELL_ALIVE;
	switch (member_state(m->recovery->ms, (uint16_t)cell)) {
	case MEMBER_ALIVE:
		return CELL_ALIVE;
	case MEMBER_DEAD:
		return CELL_DEAD;
	default:
		return CELL_SUSPECT;
	}
}

const char *cell_state_name(enum cell_state state)
{
	static const char *const names[] = { "alive", "suspect", "dead" };

	return names[state];
}

void monitor_askable(const struct monitor *m, bool cells[CELLS_MAX])
{
	memset(cells, 0, CELLS_MAX * sizeof(cells[0]));
	for (uint32_t cell = 0; cell < m->plan->cells.cell_count; cell++) {
		struct transport_peer peer;

		cells[cell] =
			cell == m->self || (monitor_cell_state(m, cell) == CELL_ALIVE &&
						   fabric_peer(m->fabric, (uint16_t)cell, &peer));
	}
}
