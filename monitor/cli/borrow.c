/* SPDX-License-Identifier: BSD-2-Clause */
/* `cellvisor borrow NAME` and `cellvisor give-back NAME`. */

#include <argp.h>
#include <stdio.h>
#include <string.h>

#include "monitor/cli/cli.h"
#include "monitor/cli/client.h"
#include "monitor/cli/parse.h"
#include "monitor/guest/spec.h"

#define BORROW_TIMEOUT_MS 320000

struct borrow_options {
	const char *name;
	bool json, has_cell;
	uint64_t cell, bytes;
};

static const struct argp_option borrow_options[] = {
	{ "size", 's', "SIZE", 0, "how much, such as 4M: a multiple of 2 MiB (required)", 0 },
	{ "from", 'f', "CELL", 0,
		"of which cell; `any`: the nearest that has it, one that the guest needs already "
		"before others (default: any)",
		0 },
	{ "json", 'j', NULL, 0, "print JSON, for programs", 0 },
	{ 0 },
};

static const struct argp_option back_options[] = {
	{ "from", 'f', "CELL", 0, "only what was borrowed of this cell (default: everything)", 0 },
	{ "json", 'j', NULL, 0, "print JSON, for programs", 0 },
	{ 0 },
};

static void take_cell(struct borrow_options *o, const char *arg, struct argp_state *state)
{
	struct err e;

	o->has_cell = strcmp(arg, "any") != 0;
	if (o->has_cell && parse_number("--from", arg, 0, SPEC_CELL_MAX, &o->cell, &e))
		argp_error(state, "%s", e.text);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct borrow_options *o = state->input;
	struct err e;

	switch (key) {
	case 's':
		if (parse_size("--size", arg, &o->bytes, &e))
			argp_error(state, "%s", e.text);
		return 0;
	case 'f':
		take_cell(o, arg, state);
		return 0;
	case 'j':
		o->json = true;
		return 0;
	case ARGP_KEY_ARG:
		cli_take_guest(state, arg, &o->name);
		return 0;
	case ARGP_KEY_NO_ARGS:
		cli_which_guest(state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp borrow_argp = {
	.options = borrow_options,
	.parser = parse,
	.args_doc = "NAME",
	.doc = "Borrows memory of another cell for a running guest and moves so much of the "
	       "guest's "
	       "memory there, while it runs. From then on the guest needs that cell too: it ends "
	       "when either dies. Only for guests that were started with --cells-max above 1. The "
	       "loan stays until it is given back, or the lender is short itself.\v"
	       "Examples:\n"
	       "  cellvisor borrow web --size 64M\n"
	       "  cellvisor borrow web --size 4M --from 2 --json",
};

static const struct argp back_argp = {
	.options = back_options,
	.parser = parse,
	.args_doc = "NAME",
	.doc = "Moves what a guest borrowed back to its home cell and ends the loans, and with "
	       "them "
	       "the guest's need of the lenders.\v"
	       "Examples:\n"
	       "  cellvisor give-back web\n"
	       "  cellvisor give-back web --from 2",
};

static int ask(const struct borrow_options *o, json_t *request)
{
	json_t *reply;
	struct err e;

	if (o->has_cell)
		json_object_set_new(request, "cell", json_integer((json_int_t)o->cell));
	if (client_ask(request, BORROW_TIMEOUT_MS, &reply, &e))
		return cli_fail(&e);
	if (o->json)
		cli_print_json(json_object_get(reply, "loan"));
	else
		printf("%s\n", cli_text(reply, "text"));
	json_decref(reply);
	return EXIT_OK;
}

int cli_borrow(int argc, char **argv)
{
	struct borrow_options o = { 0 };

	argp_parse(&borrow_argp, argc, argv, 0, NULL, &o);
	if (o.bytes == 0 || o.bytes % SPEC_MEMORY_UNIT)
		return cli_error(EXIT_USAGE,
			"--size SIZE is needed, a multiple of 2 MiB: how much is guest '%s' to "
			"borrow?",
			o.name);
	return ask(&o, json_pack("{s:s, s:s, s:I}", "op", "borrow", "name", o.name, "bytes",
			       (json_int_t)o.bytes));
}

int cli_give_back(int argc, char **argv)
{
	struct borrow_options o = { 0 };

	argp_parse(&back_argp, argc, argv, 0, NULL, &o);
	return ask(&o, json_pack("{s:s, s:s}", "op", "give-back", "name", o.name));
}
