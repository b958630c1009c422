/* SPDX-License-Identifier: BSD-2-Clause */
/* `cellvisor drain CELL` and `cellvisor undrain CELL`. */

#include <argp.h>
#include <stdio.h>

#include "monitor/cli/cli.h"
#include "monitor/cli/client.h"
#include "monitor/cli/parse.h"
#include "monitor/guest/spec.h"

#define DRAIN_TIMEOUT_MS (6 * 3600 * 1000)
#define UNDRAIN_TIMEOUT_MS 30000

struct drain_options {
	uint64_t cell;
	bool has_cell;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct drain_options *o = state->input;
	struct err e;

	switch (key) {
	case ARGP_KEY_ARG:
		if (o->has_cell)
			argp_error(state, "one cell at a time; '%s' is one too many", arg);
		if (parse_number("CELL", arg, 0, SPEC_CELL_MAX, &o->cell, &e))
			argp_error(state, "%s", e.text);
		o->has_cell = true;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which cell? `cellvisor ls` lists them");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp drain_argp = {
	.parser = parse,
	.args_doc = "CELL",
	.doc = "Empties a cell, to repair its node for instance: it takes no guest and lends "
	       "nothing "
	       "from now on, its guests move to other cells while they run, what it has lent and "
	       "the vCPUs of others go home. Guests that fit nowhere are named and stay; the exit "
	       "status is 5 then, and the cell stays closed. It stays so until it is undrained.\v"
	       "Examples:\n"
	       "  cellvisor drain 3",
};

static const struct argp undrain_argp = {
	.parser = parse,
	.args_doc = "CELL",
	.doc = "Opens a drained cell again. Guests that have left don't come back by themselves.\v"
	       "Examples:\n"
	       "  cellvisor undrain 3",
};

static int ask(const char *op, uint64_t cell, int timeout_ms)
{
	struct client *c;
	json_t *reply;
	struct err e;
	int rc;

	if (client_open(&c, CLIENT_ANY_CELL, &e))
		return cli_fail(&e);
	rc = client_request(c, json_pack("{s:s, s:I}", "op", op, "cell", (json_int_t)cell),
		timeout_ms, cli_progress, NULL, &reply, &e);
	client_close(c);
	if (rc)
		return cli_fail(&e);
	printf("%s\n", cli_text(reply, "text"));
	json_decref(reply);
	return EXIT_OK;
}

int cli_drain(int argc, char **argv)
{
	struct drain_options o = { 0 };

	argp_parse(&drain_argp, argc, argv, 0, NULL, &o);
	return ask("drain", o.cell, DRAIN_TIMEOUT_MS);
}

int cli_undrain(int argc, char **argv)
{
	struct drain_options o = { 0 };

	argp_parse(&undrain_argp, argc, argv, 0, NULL, &o);
	return ask("undrain", o.cell, UNDRAIN_TIMEOUT_MS);
}
