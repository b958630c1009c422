/* SPDX-License-Identifier: BSD-2-Clause */
/* A new monitor for a peer whose monitor has failed; the killing of what must not act beside it. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor/cell/launch.h"
#include "monitor/cell/recovery_internal.h"
#include "numa/check.h"

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
	recovery_give_evidence(l->m, l->cell, l->life, MEMBER_EVIDENCE_PROCESS_GONE);
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

void recovery_forget_children(struct recovery *r, struct loop *loop)
{
	while (r->children) {
		struct launched *l = r->children;

		r->children = l->next;
		loop_unwatch(loop, &l->watch);
		close(l->pidfd);
		free(l);
	}
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
void recovery_kill_monitors(struct monitor *m, uint32_t cell, uint64_t below, uint64_t born,
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
void recovery_kill_guests(struct monitor *m, uint32_t cell, struct fence_report *report)
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
	recovery_kill_guests(m, a->cell, &report);
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
	recovery_kill_monitors(m, a->cell, a->incarnation, 0, &killed);
	snprintf(because, sizeof(because), "cell %u replaced the monitor: %s", m->self,
		why == MEMBER_EVIDENCE_PROCESS_GONE ? "its process was gone"
						    : "it was silent, but its CPUs work");
	if (cell_launch(m->plan, m->dir, a->cell, &life, because, &life.proc.pid, &pidfd, &e)) {
		fprintf(stderr, "%s\n", e.text);
		return MEMBER_FAILED;
	}
	watch_child(m, a->cell, a->incarnation, pidfd);
	if (!proc_start_time(life.proc.pid, &life.proc.start_time)) {
		recovery_know(&m->recovery->peers[a->cell], &life);
		lives_set_process(m->dir, a->cell, &life);
	}
	fprintf(stderr, "%s; cell %u lives its life %u now\n", because, a->cell, a->incarnation);
	return MEMBER_DONE;
}

void recovery_restart(struct monitor *m, const struct member_action *a)
{
	struct member_report report = {
		.kind = MEMBER_RESTART, .cell = a->cell, .incarnation = a->incarnation
	};

	report.result = restart(m, a, &report);
	member_done(m->recovery->ms, monitor_now_ns(), &report);
}
