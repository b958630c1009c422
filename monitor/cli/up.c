/* SPDX-License-Identifier: BSD-2-Clause */
/* `cellvisor up`: divides the machine into cells and starts their monitors. */

#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faultcontain/host/fence.h"
#include "monitor/cell/errors_source.h"
#include "monitor/cell/launch.h"
#include "monitor/cell/lives.h"
#include "monitor/cell/members.h"
#include "monitor/cell/plan.h"
#include "monitor/cell/runtime.h"
#include "monitor/cell/runtime_lock.h"
#include "monitor/cli/cli.h"
#include "monitor/cli/client.h"
#include "monitor/cli/parse.h"
#include "monitor/kvm/system.h"
#include "numa/check.h"
#include "numa/host/cgroup.h"
#include "numa/host/discover.h"

/* Generous: it only guards against hanging, and emulated machines are slow. */
#define UP_TENTHS 600
#define UNDO_TENTHS 100
#define PING_TIMEOUT_MS 5000
#define LOG_TAIL_BYTES 400

struct up_options {
	const char *cells;
	uint64_t suspect_ms, balance_ms, borrow_below_bytes, lend_above_bytes;
	uint64_t retire_after, drain_after, half_life_hours;
};

enum {
	KEY_BORROW_BELOW = 0x100,
	KEY_LEND_ABOVE,
	KEY_RETIRE_AFTER,
	KEY_DRAIN_AFTER,
	KEY_HALF_LIFE,
};

/* What was started so far, so that it can be ended again. */
struct up {
	char dir[RUNTIME_DIR_MAX + 1];
	int lock;
	bool resumed; /* monitors for guests that outlived all of theirs */
	struct plan plan;
	struct proc_id monitors[CELLS_MAX];
	uint64_t lives[CELLS_MAX]; /* which life each was started with */
	int pidfds[CELLS_MAX];
	uint32_t started;
};

static const struct argp_option options[] = {
	{ "cells", 'c', "PLAN", 0,
		"which nodes make up each cell, such as 0,1/2,3 or 0-1/2-3 (default: one cell per "
		"node "
		"with CPUs; nodes without CPUs join the nearest)",
		0 },
	{ "suspect-ms", 's', "MS", 0,
		"silence after which a cell is examined (default: 1000); more on a slow machine",
		0 },
	{ "balance-ms", 'b', "MS", 0,
		"how often a cell looks where its vCPUs should run; the machine as a whole is "
		"looked at each fourth time (default: 20; 0: never)",
		0 },
	{ "borrow-below", KEY_BORROW_BELOW, "SIZE", 0,
		"free memory of a node below which its cell borrows for guests that may need "
		"others "
		"(default: 16M)",
		0 },
	{ "lend-above", KEY_LEND_ABOVE, "SIZE", 0,
		"free memory of a node above which its cell lends, and takes home what it borrowed "
		"(default: 32M)",
		0 },
	{ "retire-after", KEY_RETIRE_AFTER, "N", 0,
		"corrected memory errors after which a page's contents move away and it is not "
		"used "
		"any more (default: 10; 0: never)",
		0 },
	{ "drain-after", KEY_DRAIN_AFTER, "N", 0,
		"corrected memory errors of a node after which its cell is drained (default: 500; "
		"0: "
		"never)",
		0 },
	{ "half-life", KEY_HALF_LIFE, "HOURS", 0,
		"time in which the counts of corrected errors halve (default: 24)", 0 },
	{ 0 },
};

static void take_threshold(
	const char *option, const char *arg, uint64_t *bytes, struct argp_state *state)
{
	struct err e;

	if (parse_size(option, arg, bytes, &e))
		argp_error(state, "%s", e.text);
	if (*bytes > PLAN_THRESHOLD_MAX)
		argp_error(state, "%s '%s' is more than %llu GiB", option, arg,
			(unsigned long long)(PLAN_THRESHOLD_MAX >> 30));
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct up_options *o = state->input;
	struct err e;

	switch (key) {
	case 'c':
		o->cells = arg;
		return 0;
	case 's':
		if (parse_number("--suspect-ms", arg, PLAN_SUSPECT_MS_MIN, PLAN_SUSPECT_MS_MAX,
			    &o->suspect_ms, &e))
			argp_error(state, "%s", e.text);
		return 0;
	case 'b':
		if (parse_number("--balance-ms", arg, 0, PLAN_BALANCE_MS_MAX, &o->balance_ms, &e))
			argp_error(state, "%s", e.text);
		if (o->balance_ms && o->balance_ms < PLAN_BALANCE_MS_MIN)
			argp_error(state, "--balance-ms is 0 or at least %u", PLAN_BALANCE_MS_MIN);
		return 0;
	case KEY_BORROW_BELOW:
		take_threshold("--borrow-below", arg, &o->borrow_below_bytes, state);
		return 0;
	case KEY_LEND_ABOVE:
		take_threshold("--lend-above", arg, &o->lend_above_bytes, state);
		return 0;
	case KEY_RETIRE_AFTER:
		if (parse_number("--retire-after", arg, 0, PLAN_ERRORS_MAX, &o->retire_after, &e))
			argp_error(state, "%s", e.text);
		return 0;
	case KEY_DRAIN_AFTER:
		if (parse_number("--drain-after", arg, 0, PLAN_ERRORS_MAX, &o->drain_after, &e))
			argp_error(state, "%s", e.text);
		return 0;
	case KEY_HALF_LIFE:
		if (parse_number("--half-life", arg, 1, PLAN_HALF_LIFE_S_MAX / 3600,
			    &o->half_life_hours, &e))
			argp_error(state, "%s", e.text);
		return 0;
	case ARGP_KEY_END:
		if (o->borrow_below_bytes > o->lend_above_bytes)
			argp_error(state, "--borrow-below may not be above --lend-above");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.doc = "Divides this machine into cells and starts a monitor for each: pinned to the "
	       "cell's "
	       "CPUs, running from a copy of this program in the cell's own memory. Returns when "
	       "all "
	       "of them see each other.\v"
	       "`cellvisor topo` shows the nodes and the proposed cells. If all monitors have died "
	       "but "
	       "guests live, `up` starts new monitors for them.\n\n"
	       "Examples:\n"
	       "  cellvisor up\n"
	       "  cellvisor up --cells 0-1/2-3",
};

/* Everything that can be wrong with this machine, before anything is made. */
static int check_environment(struct err *e)
{
	struct kvm_system kvm;
	int rc;

	if (geteuid() != 0)
		return err_set(e, EXIT_ENVIRONMENT,
			"`cellvisor up` has to be run as root: it pins processes and binds memory");
	rc = kvm_system_open(&kvm, KVM_DEVICE_PATH, e);
	if (rc)
		return rc;
	kvm_system_close(&kvm);
	return 0;
}

static int make_plan(const struct up_options *o, struct plan *p, struct err *e)
{
	uint32_t at = 0;
	int rc = discover_this_machine(&p->machine, e);

	if (rc)
		return rc;
	p->suspect_ms = (uint32_t)o->suspect_ms;
	p->balance_ms = (uint32_t)o->balance_ms;
	p->borrow_below_bytes = o->borrow_below_bytes;
	p->lend_above_bytes = o->lend_above_bytes;
	p->retire_after = (uint32_t)o->retire_after;
	p->drain_after = (uint32_t)o->drain_after;
	p->half_life_s = (uint32_t)o->half_life_hours * 3600;
	if (o->cells) {
		enum cells_fault fault = cells_parse(&p->machine, o->cells, &p->cells, &at);

		if (fault)
			return err_set(e, fault == CELLS_UNKNOWN_NODE ? EXIT_NOT_FOUND : EXIT_USAGE,
				"--cells '%s': %s (%u); write it like 0,1/2,3", o->cells,
				cells_fault_text(fault), at);
	} else {
		cells_default(&p->machine, &p->cells);
	}
	for (uint32_t n = 0; n < p->machine.node_count; n++) {
		struct node_memory memory = { .available_bytes = 0 };

		if (bind_node_memory(p->machine.nodes[n].os_node, &memory))
			memory.available_bytes = 0;
		p->start_bytes[n] = memory.available_bytes;
	}
	return 0;
}

/* Are there monitors or guests of this machine? */
static int look_around(const char *dir, size_t *monitors, size_t *guests, struct err *e)
{
	struct member *members;
	size_t count;
	int rc = members_list(dir, &members, &count);

	*monitors = *guests = 0;
	if (rc)
		return err_set(e, EXIT_ENVIRONMENT, "can't read /proc: %s", strerror(-rc));
	for (size_t i = 0; i < count; i++)
		*(members[i].monitor ? monitors : guests) += 1;
	free(members);
	return 0;
}

/* Makes the runtime directory ready: empty, or as the guests that outlived their monitors need it.
 */
static int prepare(const struct up_options *o, struct up *up, struct err *e)
{
	size_t monitors, guests;
	int rc = look_around(up->dir, &monitors, &guests, e);

	if (rc)
		return rc;
	if (monitors > 0)
		return err_set(e, EXIT_CONFLICT,
			"the cells are up already (%zu monitors); `cellvisor ls` lists them, "
			"`cellvisor "
			"down` ends them",
			monitors);
	if (guests > 0) {
		printf("%zu guests have outlived all monitors: starting new ones for them\n",
			guests);
		up->resumed = true;
		return plan_load(&up->plan, up->dir, e);
	}
	rc = make_plan(o, &up->plan, e);
	if (rc)
		return rc;
	runtime_clear(up->dir);
	errors_source_make(up->dir, &up->plan);
	rc = plan_save(&up->plan, up->dir, e);
	for (uint32_t cell = 0; !rc && cell < up->plan.cells.cell_count; cell++)
		rc = runtime_make_cell(up->dir, cell, e);
	return rc;
}

static int start_cell(struct up *up, uint32_t cell, struct err *e)
{
	struct life life = { .incarnation = 1, .born = 1 }, last;
	uint64_t highest;
	int rc;

	if (up->resumed && lives_list(up->dir, cell, &last, 1) == 1) {
		life.incarnation = last.incarnation + 1;
		life.born = last.born ? last.born : life.incarnation;
	}
	rc = lives_claim(up->dir, cell, &life, &highest);
	if (rc)
		return err_set(e, EXIT_ENVIRONMENT, "can't claim life %llu of cell %u: %s",
			(unsigned long long)life.incarnation, cell, strerror(-rc));
	rc = cell_launch(&up->plan, up->dir, cell, &life,
		up->resumed ? "`cellvisor up` started it for guests that outlived all monitors"
			    : "started by `cellvisor up`",
		&life.proc.pid, &up->pidfds[cell], e);
	if (rc)
		return rc;
	up->started++;
	rc = proc_start_time(life.proc.pid, &life.proc.start_time);
	CHECK(rc == 0); /* our child, not yet reaped */
	up->monitors[cell] = life.proc;
	up->lives[cell] = life.incarnation;
	return lives_set_process(up->dir, cell, &life) == 0
		       ? 0
		       : err_set(e, EXIT_ENVIRONMENT, "can't write the record of cell %u", cell);
}

/* The last line of a monitor's log: why it ended. */
static void log_tail(const struct up *up, uint32_t cell, char *text, size_t room)
{
	char path[RUNTIME_PATH_BYTES], line[LOG_TAIL_BYTES];
	FILE *log = fopen(runtime_cell_path(path, up->dir, cell, "monitor.log"), "re");

	snprintf(text, room, "no word in its log");
	while (log && fgets(line, sizeof(line), log)) {
		line[strcspn(line, "\n")] = '\0';
		snprintf(text, room, "%s", line);
	}
	if (log)
		fclose(log);
}

/* 0: it lives, or a peer has replaced it already because it was slow. */
static int check_alive(const struct up *up, uint32_t cell, struct err *e)
{
	siginfo_t status = { 0 };
	struct life last;
	char why[LOG_TAIL_BYTES], how[64];

	if (waitid(P_PIDFD, (id_t)up->pidfds[cell], &status, WEXITED | WNOHANG | WNOWAIT) ||
		status.si_pid == 0)
		return 0;
	if (lives_list(up->dir, cell, &last, 1) == 1 && last.incarnation > up->lives[cell] &&
		(!last.proc.pid || proc_over(&last.proc) == 0))
		return 0;
	if (status.si_code == CLD_EXITED)
		snprintf(how, sizeof(how), "with exit status %d", status.si_status);
	else
		snprintf(how, sizeof(how), "by signal %d (%s)", status.si_status,
			strsignal(status.si_status));
	log_tail(up, cell, why, sizeof(why));
	return err_set(e, EXIT_ENVIRONMENT, "the monitor of cell %u has ended %s; its log says: %s",
		cell, how, why);
}

/* How many cells does the monitor of this one see alive? 0: it does not answer yet. */
static uint64_t cells_seen_by(uint32_t cell)
{
	struct client *c = NULL;
	json_t *pong;
	struct err e;
	uint64_t live = 0;

	if (client_open_cell(&c, cell, &e))
		return 0;
	if (!client_request(
		    c, json_pack("{s:s}", "op", "ping"), PING_TIMEOUT_MS, NULL, NULL, &pong, &e)) {
		live = cli_number(pong, "live");
		json_decref(pong);
	}
	client_close(c);
	return live;
}

/* Waits until each cell sees all of them. */
static int await_all(const struct up *up, struct err *e)
{
	const uint32_t count = up->plan.cells.cell_count;
	uint32_t ready = 0;

	for (int tenths = 0; tenths < UP_TENTHS; tenths++) {
		for (uint32_t cell = 0; cell < count; cell++) {
			int rc = check_alive(up, cell, e);

			if (rc)
				return rc;
		}
		while (ready < count && cells_seen_by(ready) == count)
			ready++;
		if (ready == count)
			return 0;
		usleep(100000);
	}
	return err_set(e, EXIT_NO_ANSWER,
		"cell %u does not see all %u cells after %d s; is the machine overloaded?", ready,
		count, UP_TENTHS / 10);
}

/*
 * Ends what was started. What guests there are go on. Again and again until no
 * monitor is left: while one is killed, another may just be replacing a third.
 */
static void undo(struct up *up)
{
	for (int tenths = 0; tenths < UNDO_TENTHS; tenths++) {
		struct member *members;
		size_t count, left = 0;

		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (members_list(up->dir, &members, &count))
			break;
		for (size_t i = 0; i < count; i++)
			if (members[i].monitor) {
				fence_kill(&members[i].id);
				left++;
			}
		free(members);
		if (left == 0)
			break;
		usleep(100000);
	}
	if (!up->resumed) {
		errors_source_remove(up->dir);
		runtime_remove(up->dir);
	}
}

static void say_plan(const struct up *up)
{
	struct err e;

	for (uint32_t cell = 0; cell < up->plan.cells.cell_count; cell++) {
		char nodes[CLI_LIST_BYTES], cpus[128], memory[CLI_SIZE_BYTES];
		json_t *list = plan_cell_nodes(&up->plan, cell);
		struct life last = { .proc = up->monitors[cell] };

		/* A peer may have replaced it already. */
		(void)lives_list(up->dir, cell, &last, 1);
		cpu_set_format(&up->plan.cells.cells[cell].cpus, cpus, sizeof(cpus));
		printf("cell %-3u node %-5s CPUs %-9s memory %-9s monitor %d\n", cell,
			cli_list(nodes, list), cpus,
			cli_size(memory, up->plan.cells.cells[cell].memory_bytes),
			(int)last.proc.pid);
		json_decref(list);
	}
	if (cgroup_offered(&e))
		printf("guests are held to their nodes by affinity and memory policy alone: %s\n",
			e.text);
	if (up->plan.trace_missing[0])
		printf("corrected memory errors are not counted: %s\n", up->plan.trace_missing);
}

static int start_all(const struct up_options *o, struct up *up, struct err *e)
{
	int rc = prepare(o, up, e);

	if (rc)
		return rc;
	printf("starting %u cells\n", up->plan.cells.cell_count);
	fflush(stdout);
	for (uint32_t cell = 0; !rc && cell < up->plan.cells.cell_count; cell++)
		rc = start_cell(up, cell, e);
	if (!rc)
		rc = await_all(up, e);
	return rc;
}

int cli_up(int argc, char **argv)
{
	struct up_options o = { .suspect_ms = PLAN_SUSPECT_MS_DEFAULT,
		.balance_ms = PLAN_BALANCE_MS_DEFAULT,
		.borrow_below_bytes = PLAN_BORROW_BELOW_DEFAULT,
		.lend_above_bytes = PLAN_LEND_ABOVE_DEFAULT,
		.retire_after = PLAN_RETIRE_AFTER_DEFAULT,
		.drain_after = PLAN_DRAIN_AFTER_DEFAULT,
		.half_life_hours = PLAN_HALF_LIFE_S_DEFAULT / 3600 };
	struct up *up = calloc(1, sizeof(*up));
	struct err e;
	int rc, status = EXIT_OK;

	CHECK(up != NULL);
	argp_parse(&argp, argc, argv, 0, NULL, &o);
	rc = runtime_dir(up->dir, &e);
	if (!rc)
		rc = check_environment(&e);
	up->lock = rc ? -1 : runtime_lock(up->dir, &e);
	if (up->lock < 0) {
		free(up);
		return cli_fail(&e);
	}
	rc = start_all(&o, up, &e);
	if (rc) {
		/* Only what this call made: cells that were up already stay. */
		if (e.code != EXIT_CONFLICT)
			undo(up);
		status = cli_fail(&e);
	} else {
		say_plan(up);
		printf("%u cells are up\n", up->plan.cells.cell_count);
	}
	close(up->lock);
	free(up);
	return status;
}
