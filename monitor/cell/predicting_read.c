/* SPDX-License-Identifier: BSD-2-Clause */
/* The kernel's trace of memory errors: a process that reads it, and what it reads. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faultcontain/error_record.h"
#include "monitor/cell/predicting.h"
#include "monitor/cell/predicting_internal.h"
#include "monitor/cell/recovery.h"
#include "monitor/cell/recovery_internal.h"
#include "monitor/cell/spawn.h"
#include "monitor/cell/state.h"
#include "numa/host/frame.h"

/* A reader that ended is started again after this time. */
#define AGAIN_NS (5ull * 1000000000u)
/* Where the reader writes what it reads. */
#define OUTPUT_FD 3

/* --- the process --- */

static const char *option(int argc, char **argv, const char *name)
{
	const size_t n = strlen(name);

	for (int i = 1; i < argc; i++)
		if (!strncmp(argv[i], name, n))
			return argv[i] + n;
	return NULL;
}

static int pass_on(const char *text, size_t bytes)
{
	while (bytes) {
		ssize_t n = write(OUTPUT_FD, text, bytes);

		if (n <= 0)
			return -errno;
		text += n;
		bytes -= (size_t)n;
	}
	return 0;
}

int errors_reader_main(int argc, char **argv)
{
	const char *dir = option(argc, argv, "--trace="), *parent = option(argc, argv, "--parent=");
	char path[PLAN_TRACE_BYTES + 16], text[4096];
	ssize_t n;
	int fd;

	if (!dir || !parent) {
		fprintf(stderr, "cellvisor errors-reader is internal: cell monitors start it\n");
		return EXIT_USAGE;
	}
	/* Whatever it still took from the trace would be lost. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != (pid_t)atol(parent))
		return EXIT_FAILED;
	snprintf(path, sizeof(path), "%s/trace_pipe", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return EXIT_ENVIRONMENT;
	}
	/* It waits until there is something. */
	while ((n = read(fd, text, sizeof(text))) > 0)
		if (pass_on(text, (size_t)n))
			break;
	if (n < 0)
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
	close(fd);
	return EXIT_ENVIRONMENT;
}

/* --- what it says --- */

static void say_once(bool *said, const char *text)
{
	if (!*said)
		fprintf(stderr, "%s\n", text);
	*said = true;
}

/* Errors that name no page: the operator can do something about it. */
static void say_nowhere(struct monitor *m)
{
	if (m->predicting->reader.said_nowhere)
		return;
	m->predicting->reader.said_nowhere = true;
	monitor_event(m, m->self, NULL, "errors-without-address",
		"the kernel tells of corrected memory errors, but not of their pages: an EDAC "
		"driver for this machine's memory controllers is missing");
}

static void take_line(struct monitor *m, const char *line, size_t bytes)
{
	struct errors_reader *r = &m->predicting->reader;
	struct corrected_error e;
	uint32_t os_node = 0;

	switch (error_record_read(line, bytes, &e)) {
	case ERROR_RECORD_CORRECTED:
		if (frame_node(e.frame, &os_node) == 0)
			e.node = machine_node_of(&m->plan->machine, os_node);
		/* Of no node, it still is of a DIMM. */
		if (e.node >= m->plan->machine.node_count)
			e.node = CORRECTED_NO_NODE;
		predicting_heard(m, &e);
		break;
	case ERROR_RECORD_NOWHERE:
		say_nowhere(m);
		predicting_heard(m, &e);
		break;
	case ERROR_RECORD_BAD:
		say_once(&r->said_bad,
			"a line of the kernel's trace of memory errors was not understood");
		break;
	case ERROR_RECORD_LOST:
		say_once(&r->said_lost, "the kernel's trace of memory errors had no room for some");
		break;
	case ERROR_RECORD_SEVERE:
	case ERROR_RECORD_OTHER:
		break;
	}
}

static void take_lines(struct monitor *m)
{
	struct errors_reader *r = &m->predicting->reader;
	char *at = r->text, *end = r->text + r->used, *newline;

	while ((newline = memchr(at, '\n', (size_t)(end - at)))) {
		if (!r->skips)
			take_line(m, at, (size_t)(newline - at));
		r->skips = false;
		at = newline + 1;
	}
	r->used = (uint32_t)(end - at);
	if (r->used > ERROR_RECORD_LINE_BYTES) {
		r->skips = true;
		r->used = 0;
	}
	memmove(r->text, at, r->used);
}

static void text_ready(void *ctx, uint32_t events)
{
	struct monitor *m = ctx;
	struct errors_reader *r = &m->predicting->reader;
	ssize_t n = read(r->pipe, r->text + r->used, ERROR_TEXT_BYTES - r->used);

	(void)events;
	if (n > 0) {
		r->used += (uint32_t)n;
		take_lines(m);
	} else if (n == 0 || errno != EAGAIN) {
		/* It has ended, or is about to. */
		loop_unwatch(&m->loop, &r->watch);
	}
}

/* --- starting and stopping it --- */

static void close_pipe(struct monitor *m)
{
	struct errors_reader *r = &m->predicting->reader;

	loop_unwatch(&m->loop, &r->watch);
	if (r->pipe >= 0)
		close(r->pipe);
	r->pipe = -1;
	r->used = 0;
	r->skips = false;
}

static void reader_ended(void *ctx, uint32_t events)
{
	struct monitor *m = ctx;
	struct errors_reader *r = &m->predicting->reader;
	siginfo_t status;

	(void)events;
	/* Of those that it wrote last. */
	if (r->pipe >= 0 && r->watch.active)
		text_ready(m, 0);
	waitid(P_PIDFD, (id_t)r->process.pidfd, &status, WEXITED | WNOHANG);
	loop_unwatch(&m->loop, &r->process.watch);
	close(r->process.pidfd);
	r->process.pidfd = -1;
	if (r->pipe >= 0)
		say_once(&r->said_end,
			"the reader of the kernel's trace of memory errors has ended; it "
			"is started again from time to time");
	close_pipe(m);
	r->again_ns = monitor_now_ns() + AGAIN_NS;
}

static int start(struct monitor *m)
{
	struct errors_reader *r = &m->predicting->reader;
	char program[] = "cellvisor", role[] = "errors-reader";
	char trace[PLAN_TRACE_BYTES + 16], parent[32];
	char *argv[] = { program, role, trace, parent, NULL };
	struct spawn s = { .exe_fd = m->exe_fd, .log_fd = 2, .argv = argv };
	int ends[2], rc;

	snprintf(trace, sizeof(trace), "--trace=%s", m->plan->trace_dir);
	snprintf(parent, sizeof(parent), "--parent=%d", (int)getpid());
	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	s.fd3 = ends[1];
	rc = fcntl(ends[0], F_SETFL, O_NONBLOCK)
		     ? -errno
		     : spawn_process(&s, &r->process.pid, &r->process.pidfd);
	close(ends[1]);
	if (rc) {
		r->process.pidfd = -1;
		close(ends[0]);
		return rc;
	}
	r->pipe = ends[0];
	rc = loop_watch(&m->loop, &r->watch, r->pipe, text_ready, m);
	if (!rc)
		rc = loop_watch(&m->loop, &r->process.watch, r->process.pidfd, reader_ended, m);
	if (rc) {
		errors_reader_stop(m);
		close(r->process.pidfd);
		r->process.pidfd = -1;
	}
	return rc;
}

void errors_reader_stop(struct monitor *m)
{
	struct errors_reader *r = &m->predicting->reader;

	close_pipe(m);
	if (r->process.pidfd >= 0)
		kill(r->process.pid, SIGKILL); /* not reaped yet, so it is still this one */
}

static void say_missing(struct monitor *m)
{
	if (m->predicting->reader.said_missing || !m->plan->trace_missing[0])
		return;
	m->predicting->reader.said_missing = true;
	fprintf(stderr, "corrected memory errors are not counted: %s\n", m->plan->trace_missing);
	monitor_event(m, m->self, NULL, "errors-not-counted", m->plan->trace_missing);
}

void errors_reader_turn(struct monitor *m, uint64_t now_ns)
{
	struct errors_reader *r = &m->predicting->reader;
	bool ours = recovery_is_recorder(m, UINT32_MAX) && !m->going_down;

	/* While a recovery goes on, who read goes on. */
	if (recovery_suspended(m))
		return;
	if (!ours) {
		if (r->pipe >= 0)
			errors_reader_stop(m);
		return;
	}
	if (!m->plan->trace_dir[0]) {
		say_missing(m);
		return;
	}
	if (r->process.pidfd >= 0 || r->again_ns > now_ns)
		return;
	r->again_ns = now_ns + AGAIN_NS;
	if (start(m))
		say_once(&r->said_end,
			"the reader of the kernel's trace of memory errors could not be started");
}
