/* SPDX-License-Identifier: BSD-2-Clause */
/* `cellvisor ls`: cells and guests. */

#include <argp.h>
#include <stdio.h>
#include <string.h>

#include "monitor/cli/cli.h"
#include "monitor/cli/client.h"

#define LS_TIMEOUT_MS 30000

static const struct argp_option options[] = {
	{ "json", 'j', NULL, 0, "print JSON, for programs", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	bool *json = state->input;

	(void)arg;
	if (key != 'j')
		return ARGP_ERR_UNKNOWN;
	*json = true;
	return 0;
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.doc = "Lists the cells of this machine and the guests on them.\v"
	       "States of a cell: alive; suspect (silent for some time, being examined); silent "
	       "(did not answer this listing); dead (its guests are lost).\n"
	       "States of a guest: starting; running; silent (its process does not answer); "
	       "stopped (powered off, or ended on request); "
	       "crashed (its process ended otherwise); lost (a cell that it needed died); "
	       "unmanaged "
	       "(it runs, and its cell's monitor is being replaced).\n\n"
	       "Examples:\n"
	       "  cellvisor ls\n"
	       "  cellvisor ls --json | jq '.guests[] | select(.state==\"running\") | .name'",
};

static void print_number(char buf[24], const json_t *row, const char *key)
{
	uint64_t value = cli_number(row, key);

	snprintf(buf, 24, value ? "%llu" : "-", (unsigned long long)value);
}

static void print_cells(const json_t *cells)
{
	static const char *const headings[] = { ">CELL", "NODES", "STATE", ">MONITOR", ">LIFE",
		">MEMORY", ">FREE", ">LENT", ">BORROWED", ">GUESTS" };
	struct table *t = table_new(headings, 11);
	size_t i;
	json_t *row;

	json_array_foreach(cells, i, row)
	{
		char nodes[CLI_LIST_BYTES], memory[CLI_SIZE_BYTES], free_memory[CLI_SIZE_BYTES];
		char cell[24], pid[24], life[24], guests[24];
		char lent[CLI_SIZE_BYTES], borrowed[CLI_SIZE_BYTES];

		snprintf(cell, sizeof(cell), "%llu", (unsigned long long)cli_number(row, "cell"));
		snprintf(guests, sizeof(guests), "%llu",
			(unsigned long long)cli_number(row, "guests"));
		print_number(pid, row, "pid");
		print_number(life, row, "incarnation");
		const char *cells_of_row[] = { cell, cli_list(nodes, json_object_get(row, "nodes")),
			cli_text(row, "state"), pid, life,
			cli_size(memory, cli_number(row, "memory_bytes")),
			json_is_integer(json_object_get(row, "free_bytes"))
				? cli_size(free_memory, cli_number(row, "free_bytes"))
				: "?",
			cli_size(lent, cli_number(row, "lent_bytes")),
			cli_size(borrowed, cli_number(row, "borrowed_bytes")), guests };

		table_row(t, cells_of_row);
	}
	table_print(t);
}

/* A line for each node with corrected memory errors. */
static void print_errors(const json_t *cells)
{
	size_t i, k;
	json_t *row, *node;

	json_array_foreach(cells, i, row)
	{
		json_array_foreach(
			json_object_get(json_object_get(row, "corrected_errors"), "nodes"), k, node)
		{
			const char *dimm = cli_text(node, "worst_dimm");

			printf("node %llu: %llu corrected memory errors lately%s%s; pages retired: "
			       "%llu, not "
			       "to be retired: %llu%s\n",
				(unsigned long long)cli_number(node, "node"),
				(unsigned long long)cli_number(node, "errors"),
				*dimm ? ", most in " : "", dimm,
				(unsigned long long)cli_number(node, "retired"),
				(unsigned long long)cli_number(node, "not_retired"),
				json_is_true(json_object_get(node, "failing")) ? "; it is failing"
									       : "");
		}
	}
}

/* Of other cells. */
static uint64_t borrowed_bytes(const json_t *guest)
{
	uint64_t sum = 0;
	size_t i;
	json_t *part;

	json_array_foreach(json_object_get(guest, "memory"), i, part)
	{
		if (json_object_get(part, "lender"))
			sum += cli_number(part, "bytes");
	}
	return sum;
}

static void print_guests(const json_t *guests)
{
	static const char *const headings[] = { "GUEST", ">CELL", "STATE", ">CPUS", ">MEMORY",
		">BORROWED", "NODES", ">PROCESS", ">REBOOTS", ">RESTARTS", "CAUSE" };
	struct table *t;
	size_t i;
	json_t *row;

	if (json_array_size(guests) == 0) {
		puts("no guests; start one with `cellvisor run` (see `cellvisor help run`)");
		return;
	}
	t = table_new(headings, 10);
	json_array_foreach(guests, i, row)
	{
		char nodes[CLI_LIST_BYTES], memory[CLI_SIZE_BYTES];
		char cell[24], cpus[24], pid[24], reboots[24], restarts[24],
			borrowed[CLI_SIZE_BYTES];

		snprintf(cell, sizeof(cell), "%llu", (unsigned long long)cli_number(row, "cell"));
		snprintf(reboots, sizeof(reboots), "%llu",
			(unsigned long long)cli_number(row, "reboots"));
		print_number(restarts, json_object_get(row, "spec"), "restarts");
		print_number(cpus, row, "cpus");
		print_number(pid, row, "pid");
		const char *cells_of_row[] = { cli_text(row, "name"), cell, cli_text(row, "state"),
			cpus, cli_size(memory, cli_number(row, "memory_bytes")),
			cli_size(borrowed, borrowed_bytes(row)),
			cli_list(nodes, json_object_get(row, "nodes")), pid, reboots, restarts,
			cli_text(row, "cause") };

		table_row(t, cells_of_row);
	}
	table_print(t);
}

/* Says which cells' rows are second-hand. */
static void print_unanswered(const json_t *reply)
{
	char cells[CLI_LIST_BYTES];
	const json_t *unanswered = json_object_get(reply, "unanswered");

	if (json_array_size(unanswered) > 0)
		printf("\ndid not answer: cell %s; what is shown of it is what the others last "
		       "heard\n",
			cli_list(cells, unanswered));
}

int cli_ls(int argc, char **argv)
{
	bool json = false;
	json_t *reply;
	struct err e;

	argp_parse(&argp, argc, argv, 0, NULL, &json);
	if (client_ask(json_pack("{s:s}", "op", "ls"), LS_TIMEOUT_MS, &reply, &e))
		return cli_fail(&e);
	json_object_del(reply, "ok");
	if (json) {
		cli_print_json(reply);
	} else {
		print_cells(json_object_get(reply, "cells"));
		print_errors(json_object_get(reply, "cells"));
		putchar('\n');
		print_guests(json_object_get(reply, "guests"));
		print_unanswered(reply);
	}
	json_decref(reply);
	return EXIT_OK;
}
