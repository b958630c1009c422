/* SPDX-License-Identifier: BSD-2-Clause */
/* `cellvisor down`: ends guests and cells, also of a machine that is half dead. */

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faultcontain/host/fence.h"
#include "monitor/cell/errors_source.h"
#include "monitor/cell/keeper.h"
#include "monitor/cell/members.h"
#include "monitor/cell/runtime.h"
#include "monitor/cell/runtime_lock.h"
#include "monitor/cli/cli.h"
#include "monitor/cli/client.h"
#include "numa/host/cgroup.h"

#define DOWN_TIMEOUT_MS 60000
/* For monitors that said they would end. */
#define LEAVE_TENTHS 50
/* For killed processes; one on a CPU that hangs takes until the CPU is offline. */
#define KILLED_TENTHS 300
#define GROUP_TENTHS 20

static const struct argp_option options[] = {
	{ "force", 'f', NULL, 0, "end guests that still run, too", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	bool *force = state->input;

	(void)arg;
	if (key != 'f')
		return ARGP_ERR_UNKNOWN;
	*force = true;
	return 0;
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.doc = "Ends the cells of this machine and removes the runtime directory. Refuses while "
	       "guests run, unless --force is given: it then ends them at once, as `cellvisor "
	       "kill` "
	       "does.\v"
	       "A machine with dead cells or monitors that do not answer is taken down, too.\n\n"
	       "Examples:\n"
	       "  cellvisor down\n"
	       "  cellvisor down --force",
};

/* Waits until no member is left, or the time is over. The number of those left. */
static size_t await_end(const char *dir, int tenths)
{
	for (;;) {
		struct member *members;
		size_t count;

		if (members_list(dir, &members, &count))
			return 0;
		free(members);
		if (count == 0 || tenths-- <= 0)
			return count;
		usleep(100000);
	}
}

/* Monitors first: they must not replace each other while the rest is killed. */
static void kill_members(const char *dir)
{
	struct member *members;
	size_t count;

	if (members_list(dir, &members, &count))
		return;
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < count; i++)
			if (members[i].monitor == (pass == 0))
				fence_kill(&members[i].id);
	free(members);
}

/* Processes that have just ended leave their groups a moment later; one that hangs stays. */
static void remove_groups(void)
{
	struct err e;

	for (int tenths = 0; tenths < GROUP_TENTHS; tenths++) {
		if (cgroup_remove(KEEPER_GROUP, &e) != -EBUSY)
			return;
		usleep(100000);
	}
}

/*
 * Asks a monitor to end everything. -errno with *e if it refuses; 0 also when
 * none answers and the rest has to be done by signals.
 */
static int ask_down(const char *dir, bool force, struct err *e)
{
	struct member *members = NULL;
	json_t *reply;
	size_t count = 0;
	int rc = client_ask(
		json_pack("{s:s, s:b}", "op", "down", "force", force), DOWN_TIMEOUT_MS, &reply, e);

	if (!rc) {
		json_decref(reply);
		return 0;
	}
	if (e->code != EXIT_NO_ANSWER && e->code != EXIT_NOT_RUNNING)
		return rc;
	if (members_list(dir, &members, &count))
		count = 0;
	free(members);
	if (count == 0)
		return e->code == EXIT_NOT_RUNNING ? rc : 0;
	if (force)
		return 0;
	return err_set(e, e->code,
		"%zu processes of cells and guests are left and no monitor answers; "
		"`cellvisor down --force` ends them",
		count);
}

int cli_down(int argc, char **argv)
{
	char dir[RUNTIME_DIR_MAX + 1];
	struct err e;
	bool force = false;
	int lock;
	size_t left;

	argp_parse(&argp, argc, argv, 0, NULL, &force);
	if (runtime_dir(dir, &e) || ask_down(dir, force, &e))
		return cli_fail(&e);
	lock = runtime_lock(dir, &e);
	if (lock < 0)
		return cli_fail(&e);
	left = await_end(dir, LEAVE_TENTHS);
	for (int tenths = 0; left > 0 && tenths < KILLED_TENTHS; tenths += 10) {
		kill_members(dir);
		left = await_end(dir, 10);
	}
	remove_groups();
	errors_source_remove(dir);
	runtime_remove(dir);
	close(lock);
	if (left > 0)
		return cli_error(EXIT_NO_ANSWER,
			"%zu processes are killed but not yet gone: they hang on CPUs of a dead "
			"node and "
			"end when these are taken offline",
			left);
	puts("all cells are down");
	return EXIT_OK;
}
