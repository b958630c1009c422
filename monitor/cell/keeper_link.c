/* SPDX-License-Identifier: BSD-2-Clause */
/* One guest process: what it reports, when it ends, who waits for what of it. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faultcontain/host/fence.h"
#include "monitor/cell/keeper_internal.h"
#include "monitor/cell/runtime_lock.h"
#include "monitor/guest/process.h"
#include "numa/check.h"

/* Messages taken at one go, so that a guest process that floods us only wastes its own turn. */
#define REPORTS_AT_ONCE 16

/* How often a guest process is asked whether it answers, and how long that may take. */
#define PING_NS (1000ull * 1000000u)
#define SILENT_NS (5000ull * 1000000u)
/* A guest process that does not read gets its ledger again after this time. */
#define LEDGER_AGAIN_NS (50ull * 1000000u)
/* A guest process that went mad shall not push everything else out of the log. */
#define MEMORY_EVENTS_MAX 256u

void keeper_link_free(struct guest_link *l)
{
	struct loop *loop = l->k->cfg.loop;

	loop_unwatch(loop, &l->chan_watch);
	loop_unwatch(loop, &l->pid_watch);
	if (l->chan >= 0)
		close(l->chan);
	if (l->ram_fd >= 0)
		close(l->ram_fd);
	close(l->pidfd);
	json_decref(l->ledger);
	free(l->home);
	while (l->waiters) {
		struct waiter *w = l->waiters;

		l->waiters = w->next;
		free(w);
	}
	free(l);
}

/* Takes the first waiter of this kind out of the list; NULL if there is none. */
static struct waiter *take_waiter(struct guest_link *l, enum waiter_kind kind)
{
	for (struct waiter **at = &l->waiters; *at; at = &(*at)->next)
		if ((*at)->kind == kind) {
			struct waiter *w = *at;

			*at = w->next;
			return w;
		}
	return NULL;
}

static void finish(struct waiter *w, const struct guest *g, const struct err *e)
{
	if (w->kind == WAITER_SHOW)
		w->details(w->ctx, NULL);
	else
		w->done(w->ctx, g, e);
	free(w);
}

/* How it ended: its own word, else what the kernel says. */
static enum guest_state verdict(
	const struct guest_link *l, const siginfo_t *status, char cause[GUEST_CAUSE_BYTES])
{
	if (l->told) {
		snprintf(cause, GUEST_CAUSE_BYTES, "%s", l->told_cause);
		return l->told_state;
	}
	if (!status)
		snprintf(cause, GUEST_CAUSE_BYTES,
			"its process ended without a word; it was started by an earlier life of "
			"this "
			"monitor, so its exit status is not known");
	else if (status->si_code == CLD_EXITED && status->si_status == EXIT_OK)
		snprintf(cause, GUEST_CAUSE_BYTES, "powered off");
	else if (status->si_code == CLD_EXITED)
		snprintf(cause, GUEST_CAUSE_BYTES, "its process ended with exit status %d",
			status->si_status);
	else
		snprintf(cause, GUEST_CAUSE_BYTES, "its process was ended by signal %d (%s)",
			status->si_status, strsignal(status->si_status));
	return status && status->si_code == CLD_EXITED && status->si_status == EXIT_OK
		       ? GUEST_STOPPED
		       : GUEST_CRASHED;
}

/* It never ran: nothing of it is left, and whoever asked for it hears why. */
static void settle_failed_start(struct guest_link *l, const char *cause)
{
	struct keeper *k = l->k;
	struct waiter *w;
	struct guest *g = l->g;
	struct err e = l->start_error;

	if (e.code == EXIT_OK && l->killed)
		err_set(&e, EXIT_FAILED, "guest '%s' was ended while it started: %s", g->name,
			cause);
	else if (e.code == EXIT_OK)
		err_set(&e, EXIT_FAILED,
			"guest '%s' did not start: %s; cell-%u/monitor.log may have more", g->name,
			cause, k->cfg.cell);
	keeper_event(k, g, "guest-start-failed", e.text);
	runtime_remove_guest(k->dir, k->cfg.cell, g->name);
	while ((w = take_waiter(l, WAITER_START)))
		finish(w, NULL, &e);
	while ((w = take_waiter(l, WAITER_END)))
		finish(w, NULL, NULL);
	guest_book_remove(&k->book, g);
}

static void settle_end(struct guest_link *l, enum guest_state state, const char *cause)
{
	static const char *const names[GUEST_STATE_COUNT] = {
		[GUEST_STOPPED] = "guest-stopped",
		[GUEST_CRASHED] = "guest-crashed",
		[GUEST_LOST] = "guest-lost",
	};
	struct keeper *k = l->k;
	char path[RUNTIME_PATH_BYTES];
	struct waiter *w;

	guest_move(l->g, state, cause, keeper_wall_clock());
	/* A process that was killed could not tidy up; the log stays to be read. */
	unlink(runtime_guest_path(path, k->dir, k->cfg.cell, l->g->name, GUEST_CONSOLE_SOCK));
	keeper_event(k, l->g, l->killed ? "guest-killed" : names[state], cause);
	while ((w = take_waiter(l, WAITER_END)))
		finish(w, l->g, NULL);
}

/* The process is over. `status` is NULL when it was not our child. */
static void link_end(struct guest_link *l, const siginfo_t *status)
{
	struct keeper *k = l->k;
	char cause[GUEST_CAUSE_BYTES];
	enum guest_state state = verdict(l, status, cause);
	struct guest_link **at = &k->links;

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	if (l->g->state == GUEST_STARTING)
		settle_failed_start(l, cause);
	else
		settle_end(l, state, cause);
	for (struct waiter *w; (w = take_waiter(l, WAITER_SHOW));)
		finish(w, NULL, NULL);
	keeper_link_free(l);
	keeper_changed(k);
}

static void on_started(struct guest_link *l, int fd)
{
	struct waiter *w;

	if (!guest_move(l->g, GUEST_RUNNING, "started", keeper_wall_clock()))
		return;
	if (l->ram_fd < 0 && fd >= 0)
		l->ram_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	keeper_event(l->k, l->g, "guest-started", "started on request");
	keeper_changed(l->k);
	while ((w = take_waiter(l, WAITER_START)))
		finish(w, l->g, NULL);
}

static void on_state(struct guest_link *l, const struct guest_report *r)
{
	const uint32_t reboots = r->reboots < INT32_MAX ? (uint32_t)r->reboots : INT32_MAX;

	if (reboots > l->g->reboots) {
		l->g->reboots = reboots;
		keeper_event(l->k, l->g, "guest-rebooted", r->cause[0] ? r->cause : "reboot");
		keeper_changed(l->k);
	}
	if ((r->state == REPORT_STOPPED || r->state == REPORT_CRASHED) && !l->told) {
		l->told = true;
		l->told_state = r->state == REPORT_STOPPED ? GUEST_STOPPED : GUEST_CRASHED;
		snprintf(l->told_cause, sizeof(l->told_cause), "%s",
			r->cause[0] ? r->cause : report_state_name(r->state));
	}
}

static void on_memory_error(struct guest_link *l, const struct guest_report *r)
{
	char text[GUEST_CAUSE_BYTES];

	l->g->memory_errors = r->memory_errors;
	if (l->memory_events < MEMORY_EVENTS_MAX) {
		l->memory_events++;
		keeper_event(l->k, l->g, "guest-memory-error",
			memory_error_text(&r->error, text, sizeof(text)));
	}
	keeper_changed(l->k);
}

void keeper_link_report(struct guest_link *l, const struct guest_report *r, int fd)
{
	struct waiter *w;

	switch (r->op) {
	case REPORT_STARTED:
		on_started(l, fd);
		break;
	case REPORT_ERROR:
		if (l->g->state == GUEST_STARTING && l->start_error.code == EXIT_OK)
			err_set(&l->start_error, r->code == EXIT_OK ? EXIT_FAILED : r->code, "%s",
				r->text);
		break;
	case REPORT_REGISTER:
		/* Its monitor died between start and started: it runs by now. */
		on_started(l, fd);
		if (l->ram_fd < 0 && fd >= 0)
			l->ram_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		l->g->memory_errors = r->memory_errors;
		on_state(l, r);
		break;
	case REPORT_MEMORY_ERROR:
		on_memory_error(l, r);
		break;
	case REPORT_STATE:
		on_state(l, r);
		break;
	case REPORT_SHOWN:
		w = take_waiter(l, WAITER_SHOW);
		if (w) {
			w->details(w->ctx, r->shown);
			free(w);
		}
		break;
	case REPORT_PONG:
	case REPORT_OP_COUNT:
		break;
	}
	if (fd >= 0)
		close(fd);
}

static void drop_chan(struct guest_link *l)
{
	struct waiter *w;

	loop_unwatch(l->k->cfg.loop, &l->chan_watch);
	if (l->chan >= 0)
		close(l->chan);
	l->chan = -1;
	while ((w = take_waiter(l, WAITER_SHOW)))
		finish(w, NULL, NULL);
}

static void set_silent(struct guest_link *l, bool silent)
{
	if (l->g->silent == silent)
		return;
	l->g->silent = silent;
	if (silent)
		keeper_event(l->k, l->g, "guest-silent",
			"its process does not answer: it is stopped, or hangs");
	else
		keeper_event(l->k, l->g, "guest-heard", "its process answers again");
	keeper_changed(l->k);
}

/* Whatever it says is an answer. */
static void answered(struct guest_link *l)
{
	l->asked_ns = 0;
	set_silent(l, false);
}

/* Reads what there is. false: the socket is of no use any more. */
static bool read_reports(struct guest_link *l)
{
	for (int i = 0; i < REPORTS_AT_ONCE; i++) {
		struct guest_report *r;
		json_t *value;
		struct err e;
		int fd, rc = report_recv(l->chan, &value, &fd);

		if (rc == -EAGAIN || rc == -EINTR)
			return true;
		if (rc != 1)
			return false;
		r = calloc(1, sizeof(*r));
		CHECK(r != NULL);
		rc = guest_report_decode(value, r, &e);
		json_decref(value);
		if (rc) {
			fprintf(stderr, "guest '%s' reports nonsense: %s\n", l->g->name, e.text);
			free(r);
			if (fd >= 0)
				close(fd);
			return false;
		}
		keeper_link_report(l, r, fd);
		answered(l);
		guest_report_fini(r);
		free(r);
	}
	return true;
}

static void chan_ready(void *ctx, uint32_t events)
{
	struct guest_link *l = ctx;

	(void)events;
	if (!read_reports(l))
		drop_chan(l);
}

static void pid_ready(void *ctx, uint32_t events)
{
	struct guest_link *l = ctx;
	siginfo_t status = { 0 };

	(void)events;
	/* Its last words first: they say more than an exit status. */
	while (l->chan >= 0)
		if (!read_reports(l))
			drop_chan(l);
		else
			break;
	if (waitid(P_PIDFD, (id_t)l->pidfd, &status, WEXITED | WNOHANG) == 0 && status.si_pid)
		link_end(l, &status);
	else
		link_end(l, NULL);
}

struct guest_link *keeper_link(struct keeper *k, struct guest *g, int pidfd)
{
	struct guest_link *l = calloc(1, sizeof(*l));

	CHECK(l != NULL);
	l->k = k;
	l->g = g;
	l->chan = l->ram_fd = -1;
	l->pidfd = pidfd;
	if (loop_watch(k->cfg.loop, &l->pid_watch, pidfd, pid_ready, l)) {
		keeper_link_free(l);
		return NULL;
	}
	l->next = k->links;
	k->links = l;
	return l;
}

int keeper_link_chan(struct guest_link *l, int fd)
{
	int rc;

	drop_chan(l);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	rc = loop_watch(l->k->cfg.loop, &l->chan_watch, fd, chan_ready, l);
	if (rc) {
		close(fd);
		return rc;
	}
	l->chan = fd;
	return 0;
}

/* One waiter whose time is over, or NULL. */
static struct waiter *take_late(struct guest_link *l, uint64_t now_ns)
{
	for (struct waiter **at = &l->waiters; *at; at = &(*at)->next)
		if ((*at)->deadline_ns <= now_ns) {
			struct waiter *w = *at;

			*at = w->next;
			return w;
		}
	return NULL;
}

static void link_tick(struct guest_link *l, uint64_t now_ns)
{
	struct waiter *w;

	while ((w = take_late(l, now_ns))) {
		struct err late = w->late;

		if (w->kind == WAITER_START) {
			l->start_error = late;
			fence_kill(&l->g->proc);
		}
		finish(w, w->kind == WAITER_START ? NULL : l->g, &late);
	}
}

static void ping(struct guest_link *l, uint64_t now_ns)
{
	if (l->chan < 0 || l->g->state != GUEST_RUNNING) {
		l->asked_ns = 0; /* it looks for its monitor, or is being made */
		return;
	}
	/* A monitor that did not run itself heard nobody. */
	if (l->ping_ns && now_ns > l->ping_ns + PING_NS)
		l->asked_ns = 0;
	if (l->asked_ns && now_ns - l->asked_ns >= SILENT_NS)
		set_silent(l, true);
	if (now_ns < l->ping_ns)
		return;
	l->ping_ns = now_ns + PING_NS;
	(void)keeper_order(l, ORDER_PING); /* a full socket is an answer that is owed, too */
	if (!l->asked_ns)
		l->asked_ns = now_ns;
}

void keeper_tick(struct keeper *k, uint64_t now_ns)
{
	for (struct guest_link *l = k->links; l; l = l->next) {
		keeper_push_ledger(l);
		link_tick(l, now_ns);
		ping(l, now_ns);
	}
	keeper_newcomers_tick(k, now_ns);
	keeper_doors_tick(k, now_ns);
}

uint64_t keeper_next_ns(const struct keeper *k)
{
	uint64_t next = keeper_newcomers_next_ns(k), doors = keeper_doors_next_ns(k);

	next = doors < next ? doors : next;
	for (const struct guest_link *l = k->links; l; l = l->next) {
		if (l->ledger_waits && l->chan >= 0 && keeper_clock_ns() + LEDGER_AGAIN_NS < next)
			next = keeper_clock_ns() + LEDGER_AGAIN_NS;
		if (l->chan >= 0 && l->g->state == GUEST_RUNNING && l->ping_ns < next)
			next = l->ping_ns;
		for (const struct waiter *w = l->waiters; w; w = w->next)
			if (w->deadline_ns < next)
				next = w->deadline_ns;
	}
	return next;
}
