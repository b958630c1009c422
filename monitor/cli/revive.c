/* SPDX-License-Identifier: BSD-2-Clause */
/* `cellvisor revive CELL`: a repaired cell comes back, with a monitor that begins afresh. */

#include <argp.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "faultcontain/host/fence.h"
#include "faultcontain/host/probe.h"
#include "monitor/cell/launch.h"
#include "monitor/cell/lives.h"
#include "monitor/cell/members.h"
#include "monitor/cell/plan.h"
#include "monitor/cell/runtime.h"
#include "monitor/cell/runtime_lock.h"
#include "monitor/cli/cli.h"
#include "monitor/cli/client.h"
#include "monitor/cli/parse.h"
#include "numa/check.h"

#define LS_TIMEOUT_MS 30000
#define PROBE_NS (5000ull * 1000000u)
#define REVIVE_TENTHS 600
#define CPUS_MAX 1024u

struct revive {
	char dir[RUNTIME_DIR_MAX + 1];
	uint32_t cell;
	bool has_cell;
	int lock;
	struct plan plan;
	struct life life;
	int pidfd;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct revive *r = state->input;
	uint64_t cell = 0;
	struct err e;

	switch (key) {
	case ARGP_KEY_ARG:
		if (state->arg_num > 0)
			argp_error(state, "one cell at a time; '%s' is one too many", arg);
		if (parse_number("cell", arg, 0, CELLS_MAX - 1, &cell, &e))
			argp_error(state, "%s", e.text);
		r->cell = (uint32_t)cell;
		r->has_cell = true;
		return 0;
	case ARGP_KEY_END:
		if (!r->has_cell)
			argp_error(state, "which cell? `cellvisor ls` lists them");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.parser = parse,
	.args_doc = "CELL",
	.doc = "Takes a cell that died back after its nodes were repaired: starts a new monitor "
	       "for it and returns when the other cells have let it in. Nothing of its former "
	       "lives goes on; what it had lost stays lost.\v"
	       "The CPUs of the cell have to be online and to execute: "
	       "echo 1 >/sys/devices/system/cpu/cpuN/online.\n\n"
	       "Examples:\n"
	       "  cellvisor revive 2",
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The cell's row as the others see it. A new reference, or NULL with *e. */
static json_t *row_of(uint32_t cell, struct err *e)
{
	json_t *reply = NULL, *row;
	size_t i;

	if (client_ask(json_pack("{s:s}", "op", "ls"), LS_TIMEOUT_MS, &reply, e))
		return NULL;
	json_array_foreach(json_object_get(reply, "cells"), i, row)
	{
		if (cli_number(row, "cell") == cell) {
			json_incref(row);
			json_decref(reply);
			return row;
		}
	}
	json_decref(reply);
	err_set(e, EXIT_NOT_FOUND, "there is no cell %u; `cellvisor ls` lists them", cell);
	return NULL;
}

static int check_dead(const struct revive *r, struct err *e)
{
	json_t *row = row_of(r->cell, e);
	int rc = 0;

	if (!row)
		return -ENOENT;
	if (strcmp(cli_text(row, "state"), "dead") != 0)
		rc = err_set(e, EXIT_CONFLICT,
			"cell %u is not dead but %s: there is nothing to revive", r->cell,
			cli_text(row, "state"));
	json_decref(row);
	return rc;
}

/* A process of a former life may hang on a CPU that was frozen; it has to be gone first. */
static int check_nothing_left(const struct revive *r, struct err *e)
{
	struct member *members;
	size_t count, left = 0;
	int rc = members_list(r->dir, &members, &count);

	if (rc)
		return err_set(e, EXIT_ENVIRONMENT, "can't read /proc: %s", strerror(-rc));
	for (size_t i = 0; i < count; i++)
		left += members[i].cell == r->cell;
	free(members);
	if (left == 0)
		return 0;
	return err_set(e, EXIT_CONFLICT,
		"%zu processes of the former life of cell %u have been killed but have not ended "
		"yet: are its CPUs still frozen?",
		left, r->cell);
}

/* Every CPU that is online has to execute, and one at least has to be. */
static int check_cpus(const struct revive *r, struct err *e)
{
	const struct cpu_set *set = &r->plan.cells.cells[r->cell].cpus;
	uint64_t deadline_ns = now_ns() + PROBE_NS;
	struct probe_leftovers leftovers = { .count = 0 };
	uint32_t cpus[CPUS_MAX];
	size_t count = 0, hanging = 0, answered;
	struct probe *probe;

	for (uint32_t cpu = cpu_set_next(set, 0); cpu != CPU_NONE && count < CPUS_MAX;
		cpu = cpu_set_next(set, cpu + 1))
		cpus[count++] = cpu;
	if (probe_begin(&probe, cpus, count, deadline_ns))
		return err_set(e, EXIT_ENVIRONMENT, "can't probe the CPUs of cell %u", r->cell);
	do {
		struct pollfd ready = { .fd = probe_fd(probe), .events = POLLIN };

		poll(&ready, 1, 100);
		probe_step(probe, now_ns());
		hanging = 0;
		for (size_t i = 0; i < count; i++)
			hanging += probe_cpu(probe, i) == PROBE_CPU_WAITING;
	} while (hanging > 0 && now_ns() < deadline_ns);
	answered = probe_answered(probe);
	probe_end(probe, &leftovers);
	probe_leftovers_fini(&leftovers);
	if (hanging > 0)
		return err_set(e, EXIT_CONFLICT,
			"%zu CPUs of cell %u still execute nothing: repair them, or take them "
			"offline",
			hanging, r->cell);
	if (answered == 0)
		return err_set(e, EXIT_CONFLICT,
			"all CPUs of cell %u are offline; first: echo 1 "
			">/sys/devices/system/cpu/cpu%u/online",
			r->cell, cpus[0]);
	return 0;
}

static int start(struct revive *r, struct err *e)
{
	struct life last = { .incarnation = 0 };
	uint64_t highest = 0;
	int rc;

	(void)lives_list(r->dir, r->cell, &last, 1);
	r->life.incarnation = r->life.born = last.incarnation + 1;
	rc = lives_claim(r->dir, r->cell, &r->life, &highest);
	if (rc)
		return err_set(e, EXIT_ENVIRONMENT, "can't claim life %llu of cell %u: %s",
			(unsigned long long)r->life.incarnation, r->cell, strerror(-rc));
	rc = cell_launch(&r->plan, r->dir, r->cell, &r->life, "revived by `cellvisor revive`",
		&r->life.proc.pid, &r->pidfd, e);
	if (rc)
		return rc;
	rc = proc_start_time(r->life.proc.pid, &r->life.proc.start_time);
	CHECK(rc == 0); /* our child, not yet reaped */
	rc = lives_set_process(r->dir, r->cell, &r->life);
	return rc ? err_set(e, EXIT_ENVIRONMENT, "can't write the record of cell %u: %s", r->cell,
			    strerror(-rc))
		  : 0;
}

/* Waits until the others count it among them. */
static int await(const struct revive *r, struct err *e)
{
	for (int tenths = 0; tenths < REVIVE_TENTHS; tenths++) {
		siginfo_t status = { 0 };
		json_t *row = row_of(r->cell, e);
		bool back = row && !strcmp(cli_text(row, "state"), "alive") &&
			    cli_number(row, "incarnation") >= r->life.incarnation;

		json_decref(row);
		if (back)
			return 0;
		if (!waitid(P_PIDFD, (id_t)r->pidfd, &status, WEXITED | WNOHANG | WNOWAIT) &&
			status.si_pid != 0)
			return err_set(e, EXIT_ENVIRONMENT,
				"the new monitor of cell %u has ended; cell-%u/monitor.log says "
				"why",
				r->cell, r->cell);
		usleep(100000);
	}
	return err_set(e, EXIT_NO_ANSWER, "the other cells have not let cell %u in after %d s",
		r->cell, REVIVE_TENTHS / 10);
}

static int revive(struct revive *r, struct err *e)
{
	int rc = 0;

	if (r->cell >= r->plan.cells.cell_count)
		rc = err_set(e, EXIT_NOT_FOUND, "there is no cell %u; `cellvisor ls` lists them",
			r->cell);
	if (!rc)
		rc = check_dead(r, e);
	if (!rc)
		rc = check_nothing_left(r, e);
	if (!rc)
		rc = check_cpus(r, e);
	if (!rc)
		rc = start(r, e);
	if (rc)
		return rc;
	rc = await(r, e);
	/* Alone it would only wait to be let in, and be in the way of the next try. */
	if (rc)
		fence_kill(&r->life.proc);
	return rc;
}

int cli_revive(int argc, char **argv)
{
	struct revive *r = calloc(1, sizeof(*r));
	struct err e;
	int rc, status = EXIT_OK;

	CHECK(r != NULL);
	r->pidfd = r->lock = -1;
	argp_parse(&argp, argc, argv, 0, NULL, r);
	rc = runtime_dir(r->dir, &e);
	/* Taking the lock makes the directory: not if no cells are up. */
	if (!rc)
		rc = plan_load(&r->plan, r->dir, &e);
	if (!rc)
		r->lock = runtime_lock(r->dir, &e);
	if (rc || r->lock < 0 || revive(r, &e))
		status = cli_fail(&e);
	else
		printf("cell %u is back, in its life %llu, with monitor %d\n", r->cell,
			(unsigned long long)r->life.incarnation, (int)r->life.proc.pid);
	if (r->pidfd >= 0)
		close(r->pidfd);
	if (r->lock >= 0)
		close(r->lock);
	free(r);
	return status;
}
