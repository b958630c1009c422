/* SPDX-License-Identifier: BSD-2-Clause */
/* `cellvisor move NAME --cell N`. */

#include <argp.h>
#include <stdio.h>

#include "monitor/cli/cli.h"
#include "monitor/cli/client.h"
#include "monitor/cli/parse.h"
#include "monitor/guest/spec.h"

/* Terabytes take their time; a monitor that is gone is noticed much earlier. */
#define MOVE_TIMEOUT_MS (6 * 3600 * 1000)

struct move_options {
	const char *name;
	bool json, has_cell;
	uint64_t cell;
};

static const struct argp_option options[] = {
	{ "cell", 'c', "N", 0, "the cell that will be its home (required)", 0 },
	{ "json", 'j', NULL, 0, "print JSON, for programs", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct move_options *o = state->input;
	struct err e;

	switch (key) {
	case 'c':
		if (parse_number("--cell", arg, 0, SPEC_CELL_MAX, &o->cell, &e))
			argp_error(state, "%s", e.text);
		o->has_cell = true;
		return 0;
	case 'j':
		o->json = true;
		return 0;
	case ARGP_KEY_ARG:
		cli_take_guest(state, arg, &o->name);
		return 0;
	case ARGP_KEY_END:
		if (!o->name)
			cli_which_guest(state);
		if (!o->has_cell)
			argp_error(state, "--cell N is needed: where is it to go?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "NAME",
	.doc = "Moves a running guest to another cell: its memory, its vCPUs, its process and then "
	       "its home. The guest goes on meanwhile; until it has arrived it needs both cells, "
	       "whatever --cells-max says.\v"
	       "Examples:\n"
	       "  cellvisor move web --cell 2\n"
	       "  cellvisor move web --cell 2 --json",
};

int cli_move(int argc, char **argv)
{
	struct move_options o = { 0 };
	struct client *c;
	json_t *reply;
	struct err e;
	int rc;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (client_open(&c, CLIENT_ANY_CELL, &e))
		return cli_fail(&e);
	rc = client_request(c,
		json_pack("{s:s, s:s, s:I}", "op", "move", "name", o.name, "cell",
			(json_int_t)o.cell),
		MOVE_TIMEOUT_MS, o.json ? NULL : cli_progress, NULL, &reply, &e);
	client_close(c);
	if (rc)
		return cli_fail(&e);
	if (o.json)
		cli_print_json(json_object_get(reply, "move"));
	else
		printf("%s\n", cli_text(reply, "text"));
	json_decref(reply);
	return EXIT_OK;
}
