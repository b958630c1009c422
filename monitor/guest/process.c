/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/guest/process.h"

#include "faultcontain/host/proc.h"
#include "monitor/guest/report.h"
#include "monitor/guest/run.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define START_WAIT_MS 30000

struct words {
	uint32_t cell;
	bool has_cell;
	const char *name, *runtime;
};

/* argp is used by the only thread. NOLINTBEGIN(concurrency-mt-unsafe) */
static error_t parse_word(int key, char *arg, struct argp_state *state)
{
	struct words *w = state->input;
	char *rest;
	unsigned long cell;

	switch (key) {
	case 'c':
		errno = 0;
		cell = strtoul(arg, &rest, 10);
		if (errno || *rest || rest == arg || cell > SPEC_CELL_MAX)
			argp_error(state, "'%s' is no cell", arg);
		w->cell = (uint32_t)cell;
		w->has_cell = true;
		return 0;
	case 'n':
		w->name = arg;
		return 0;
	case 'r':
		w->runtime = arg;
		return 0;
	case ARGP_KEY_END:
		if (!w->has_cell || !w->name || !w->runtime)
			argp_error(state, "--cell, --name and --runtime are needed");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}
/* NOLINTEND(concurrency-mt-unsafe) */

static const struct argp_option options[] = {
	{ "cell", 'c', "N", 0, "home cell", 0 },
	{ "name", 'n', "NAME", 0, "the guest's name", 0 },
	{ "runtime", 'r', "DIR", 0, "runtime directory", 0 },
	{ 0 },
};

static const struct argp parser = {
	.options = options,
	.parser = parse_word,
	.doc = "Runs one guest. Internal: a cell monitor starts it, with its socket as descriptor "
	       "3.",
};

/* Everything of the guest's own has a short name from here on, also when it is the root. */
static int enter_folder(struct run *r, const struct words *w, struct err *e)
{
	int length = snprintf(
		r->folder, sizeof(r->folder), "%s/cell-%u/guests/%s", w->runtime, w->cell, w->name);

	if (length < 0 || length >= (int)sizeof(r->folder))
		return err_set(
			e, EXIT_USAGE, "runtime directory '%.60s...' is too long", w->runtime);
	if (chdir(r->folder) < 0)
		return err_set(e, EXIT_ENVIRONMENT, "%s can't be entered: %s", r->folder,
			strerrordesc_np(errno));
	return 0;
}

/* The first message: what guest to be. */
static int receive_start(struct run *r, const struct words *w, int sock, struct err *e)
{
	struct pollfd ready = { .fd = sock, .events = POLLIN };
	struct guest_order *order = calloc(1, sizeof(*order));
	json_t *value = NULL;
	int fd = -1, rc;

	if (!order)
		return err_set(e, EXIT_FAILED, "out of memory");
	if (poll(&ready, 1, START_WAIT_MS) != 1 || report_recv(sock, &value, &fd) != 1) {
		rc = err_set(e, EXIT_USAGE,
			"descriptor %d is no cell monitor's socket: `cellvisor run` starts guests",
			sock);
		goto out;
	}
	if (fd >= 0)
		close(fd);
	rc = guest_order_decode(value, order, e);
	if (!rc && order->op != ORDER_START)
		rc = err_set(e, EXIT_INVALID, "the monitor's first order is not to start");
	if (!rc && (strcmp(order->spec.name, w->name) != 0 || order->home.cell != w->cell))
		rc = err_set(e, EXIT_INVALID, "the guest of the order is another one than '%.40s'",
			w->name);
	if (!rc) {
		r->spec = order->spec;
		r->home = order->home;
	}
out:
	json_decref(value);
	guest_order_fini(order);
	free(order);
	return rc;
}

static void report_error(int sock, const struct err *e)
{
	struct guest_report report = { .op = REPORT_ERROR, .code = e->code };
	json_t *value;

	memcpy(report.text, e->text, sizeof(report.text));
	value = guest_report_encode(&report);
	if (!value || report_send(sock, value, -1))
		fprintf(stderr, "cellvisor guest: %s\n", e->text);
	json_decref(value);
}

/* A guest with many disks and CPUs needs more descriptors than the usual soft limit. */
static void raise_limits(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
}

static int run_guest(struct run *r, const struct words *w, int sock, struct err *e)
{
	struct proc_id self;
	int rc = enter_folder(r, w, e);

	if (!rc)
		rc = receive_start(r, w, sock, e);
	if (rc)
		return rc;
	if (proc_self(&self))
		return err_set(e, EXIT_ENVIRONMENT, "/proc is not mounted");
	r->start_time = self.start_time;
	rc = run_build(r, e);
	if (rc)
		return rc;
	rc = run_go(r, sock, e);
	if (r->hangs) {
		(void)unlink(GUEST_CONSOLE_SOCK);
		_exit(r->state == REPORT_STOPPED ? EXIT_OK : EXIT_FAILED);
	}
	run_unbuild(r);
	return rc;
}

int guest_process_main(int argc, char **argv)
{
	struct words words = { 0 };
	struct err e = { .code = EXIT_OK };
	struct run *r;
	int status;

	argp_err_exit_status = EXIT_USAGE;
	/* No thread has begun. NOLINTNEXTLINE(concurrency-mt-unsafe) */
	argp_parse(&parser, argc, argv, 0, NULL, &words);
	(void)fcntl(REPORT_START_FD, F_SETFD, FD_CLOEXEC);
	(void)signal(SIGPIPE, SIG_IGN);
	raise_limits();
	r = calloc(1, sizeof(*r));
	if (!r)
		return EXIT_FAILED;
	if (run_guest(r, &words, REPORT_START_FD, &e)) {
		report_error(REPORT_START_FD, &e);
		status = (int)e.code;
	} else {
		status = r->state == REPORT_STOPPED ? EXIT_OK : EXIT_FAILED;
	}
	free(r);
	return status;
}
