/* SPDX-License-Identifier: BSD-2-Clause */
/* `cellvisor inject FAULT ...`; of node-death this process is the injector. */

#include <argp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faultcontain/inject/node_death.h"
#include "monitor/cli/cli.h"
#include "monitor/cli/client.h"
#include "monitor/cli/parse.h"
#include "numa/check.h"
#include "sim/box/client.h"

#define INJECT_TIMEOUT_MS 30000
#define NODES_MAX 1024u
#define CPUS_MAX ((size_t)8192)

struct inject_options {
	const char *kind;
	uint64_t node;
	bool has_node;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct inject_options *o = state->input;
	struct err e;

	switch (key) {
	case ARGP_KEY_ARG:
		if (state->arg_num == 0 && strcmp(arg, "node-death") != 0)
			argp_error(
				state, "no fault '%s'; there are: node-death, memory-error", arg);
		if (state->arg_num == 0)
			o->kind = arg;
		if (state->arg_num == 1 &&
			parse_number("node", arg, 0, NODES_MAX - 1, &o->node, &e))
			argp_error(state, "%s", e.text);
		if (state->arg_num > 1)
			argp_error(state, "one node at a time; '%s' is one too many", arg);
		o->has_node |= state->arg_num == 1;
		return 0;
	case ARGP_KEY_END:
		if (!o->kind || !o->has_node)
			argp_error(state,
				"which fault, and where? e.g. node-death 2, memory-error web "
				"--random");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.parser = parse,
	.args_doc = "node-death NODE\nmemory-error GUEST ...",
	.doc = "Injects a fault, to see that it is contained.\v"
	       "memory-error GUEST: a page of the guest's RAM becomes bad; `cellvisor inject "
	       "memory-error --help` tells how.\n\n"
	       "node-death NODE: the cell of this NUMA node dies with all its nodes. In the box "
	       "the "
	       "CPUs stop, the memory of the cell's processes is poisoned, and after some seconds "
	       "the "
	       "CPUs are taken offline. On a real server the survivors are told of a fatal "
	       "hardware "
	       "error instead, the processes of the cell are killed, and this says so. The guests "
	       "of "
	       "the "
	       "cell are lost.\n\n"
	       "Examples:\n"
	       "  cellvisor inject node-death 2\n"
	       "  cellvisor events --since 1m",
};

static void print_progress(void *ctx, const char *text)
{
	(void)ctx;
	printf("%s\n", text);
	fflush(stdout);
}

/* Asks a monitor of another cell than the one that is to die. */
static int ask(const struct inject_options *o, const char *kind, json_t **reply, struct err *e)
{
	uint32_t except = CLIENT_ANY_CELL;

	for (int attempt = 0; attempt < 2; attempt++) {
		struct client *c;
		int rc = client_open(&c, except, e);

		if (rc)
			return rc;
		rc = client_request(c,
			json_pack("{s:s, s:s, s:I}", "op", "inject", "kind", kind, "node",
				(json_int_t)o->node),
			INJECT_TIMEOUT_MS, NULL, NULL, reply, e);
		client_close(c);
		if (rc)
			return rc;
		if (!json_is_true(json_object_get(*reply, "ask_another")))
			return 0;
		except = (uint32_t)cli_number(*reply, "cell");
		json_decref(*reply);
		*reply = NULL;
	}
	return err_set(e, EXIT_CONFLICT, "no other cell is there to see the death");
}

static int to_cpus(const json_t *cpus, struct err *e)
{
	cpu_set_t *set = CPU_ALLOC(CPUS_MAX);
	size_t bytes = CPU_ALLOC_SIZE(CPUS_MAX), i;
	json_t *cpu;
	int rc = 0;

	CHECK(set != NULL);
	CPU_ZERO_S(bytes, set);
	json_array_foreach(cpus, i, cpu)
	{
		CPU_SET_S((size_t)json_integer_value(cpu), bytes, set);
	}
	if (sched_setaffinity(0, bytes, set))
		rc = err_set(
			e, EXIT_ENVIRONMENT, "can't move the injector to CPUs of another cell");
	CPU_FREE(set);
	return rc;
}

static int inject(const json_t *reply, struct node_death_report *report, struct err *e)
{
	const json_t *nodes = json_object_get(reply, "nodes");
	const json_t *members = json_object_get(reply, "members");
	const size_t node_count = json_array_size(nodes), member_count = json_array_size(members);
	uint32_t *node = calloc(node_count + 1, sizeof(*node));
	struct proc_id *member = calloc(member_count + 1, sizeof(*member));
	struct node_death what = { .nodes = node,
		.node_count = node_count,
		.members = member,
		.member_count = member_count,
		.progress = print_progress };
	int rc;

	CHECK(node && member);
	for (size_t i = 0; i < node_count; i++)
		node[i] = (uint32_t)json_integer_value(json_array_get(nodes, i));
	for (size_t i = 0; i < member_count; i++) {
		const json_t *m = json_array_get(members, i);

		member[i].pid = (pid_t)cli_number(m, "pid");
		member[i].start_time = cli_number(m, "start_time");
	}
	rc = to_cpus(json_object_get(reply, "cpus"), e);
	if (!rc)
		rc = node_death_inject(&what, report, e);
	free(node);
	free(member);
	return rc;
}

/*
 * Where no CPU can be stopped, killing the processes alone would look like
 * software that died, and be repaired. So the survivors are told, as by a
 * machine check, that the hardware failed; they then fence the cell.
 */
static int report_hardware_error(const struct inject_options *o, struct err *e)
{
	json_t *reply = NULL;
	int rc = ask(o, "hardware-error", &reply, e);

	json_decref(reply);
	return rc;
}

int cli_inject(int argc, char **argv)
{
	struct inject_options o = { 0 };
	struct node_death_report report = { 0 };
	json_t *reply = NULL;
	struct err e;
	int rc;

	if (argc > 1 && strcmp(argv[1], "memory-error") == 0) {
		static char name[] = "cellvisor inject memory-error";

		argv[1] = name;
		return cli_inject_memory(argc - 1, argv + 1);
	}
	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (ask(&o, o.kind, &reply, &e))
		return cli_fail(&e);
	rc = box_client_here() ? 0 : report_hardware_error(&o, &e);
	if (!rc)
		rc = inject(reply, &report, &e);
	if (rc) {
		json_decref(reply);
		return cli_fail(&e);
	}
	if (report.in_box)
		printf("cell %llu has died: %zu processes stopped, %zu CPUs frozen and %zu "
		       "offline, "
		       "%llu pages poisoned\n",
			(unsigned long long)cli_number(reply, "cell"), report.members_stopped,
			report.cpus_frozen, report.cpus_offline,
			(unsigned long long)report.pages_poisoned);
	else
		printf("cell %llu was reported as failed and its processes were killed; this is a "
		       "real server, so its CPUs and memory were left alone\n",
			(unsigned long long)cli_number(reply, "cell"));
	json_decref(reply);
	return EXIT_OK;
}
