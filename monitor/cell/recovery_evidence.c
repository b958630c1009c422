/* SPDX-License-Identifier: BSD-2-Clause */
/* Silence of a cell: has its process ended, do its CPUs execute? */

#include "monitor/cell/recovery_internal.h"

/* CPUs get at least so long to run a probe: a busy one is not a dead one. */
#define PROBE_NS_MIN (1500ull * 1000000u)

/* So long after its own start a monitor takes a cell that it never heard of for one that starts. */
#define START_GRACE_NS (20ull * 1000000000u)

uint64_t recovery_probe_ns(const struct monitor *m)
{
	uint64_t suspect_ns = m->plan->suspect_ms * 1000000ull;

	return suspect_ns > PROBE_NS_MIN ? suspect_ns : PROBE_NS_MIN;
}

void recovery_probe_stop(struct monitor *m, struct examined *x)
{
	loop_unwatch(&m->loop, &x->probe_watch);
	probe_end(x->probe, &m->recovery->leftovers);
	x->probe = NULL;
	if (m->recovery->leftovers.count > 0)
		m->recovery->reap_ns = monitor_now_ns() + RECOVERY_REAP_NS;
}

void recovery_know(struct examined *x, const struct life *life)
{
	for (uint32_t i = 0; i < MONITORS_KNOWN; i++)
		if (x->monitors[i].incarnation == life->incarnation) {
			x->monitors[i] = *life;
			return;
		}
	x->monitors[x->next] = *life;
	x->next = (x->next + 1) % MONITORS_KNOWN;
}

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

void recovery_give_evidence(
	struct monitor *m, uint32_t cell, uint32_t life, enum member_evidence kind)
{
	if (kind != MEMBER_EVIDENCE_NONE)
		m->recovery->peers[cell].evidence = kind;
	member_evidence(m->recovery->ms, monitor_now_ns(), (uint16_t)cell, life, kind);
}

void recovery_probe_look(struct examined *x, uint64_t now_ns)
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
	recovery_probe_stop(m, x);
	recovery_give_evidence(m, x->cell, x->probed_life, kind);
}

static void probe_ready(void *ctx, uint32_t events)
{
	(void)events;
	recovery_probe_look(ctx, monitor_now_ns());
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

void recovery_gather(struct monitor *m, uint32_t cell, uint32_t life)
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
		recovery_give_evidence(m, cell, life, MEMBER_EVIDENCE_PROCESS_GONE);
		return;
	}
	if (member_incarnation(m->recovery->ms, (uint16_t)cell) == 0 && may_be_starting(m, cell)) {
		recovery_give_evidence(m, cell, life, MEMBER_EVIDENCE_NONE);
		return;
	}
	x->probed_life = life;
	if (x->probe)
		return;
	for (uint32_t cpu = cpu_set_next(set, 0); cpu != CPU_NONE && count < 1024;
		cpu = cpu_set_next(set, cpu + 1))
		cpus[count++] = cpu;
	x->probe_deadline_ns = monitor_now_ns() + recovery_probe_ns(m);
	if (probe_begin(&x->probe, cpus, count, x->probe_deadline_ns)) {
		x->probe = NULL;
		recovery_give_evidence(m, cell, life, MEMBER_EVIDENCE_NONE);
		return;
	}
	/* If it can't be watched, the deadline still comes. */
	loop_watch(&m->loop, &x->probe_watch, probe_fd(x->probe), probe_ready, x);
}
