/* SPDX-License-Identifier: BSD-2-Clause */
/* `cellvisor stop NAME` and `cellvisor kill NAME`. */

#include <argp.h>
#include <stdio.h>

#include "monitor/cli/cli.h"
#include "monitor/cli/client.h"
#include "monitor/cli/parse.h"

#define STOP_SECONDS 90
#define KILL_TIMEOUT_MS 60000
/* How much later than the monitor the client gives up. */
#define GRACE_MS 20000

struct stop_options {
	const char *name;
	double seconds;
};

static const struct argp_option stop_option[] = {
	{ "timeout", 't', "TIME", 0, "how long to wait for the guest (default: 90s)", 0 },
	{ 0 },
};

static error_t parse_stop(int key, char *arg, struct argp_state *state)
{
	struct stop_options *o = state->input;
	struct err e;

	switch (key) {
	case 't':
		if (parse_duration("--timeout", arg, &o->seconds, &e))
			argp_error(state, "%s", e.text);
		if (o->seconds < 0.001 || o->seconds > 86400)
			argp_error(state, "--timeout '%s' is not from 1ms to 1d", arg);
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

static const struct argp stop_argp = {
	.options = stop_option,
	.parser = parse_stop,
	.args_doc = "NAME",
	.doc = "Presses the guest's ACPI power button and waits until it has shut down.\v"
	       "A guest without an ACPI daemon may not react; then this fails (exit status 9), the "
	       "guest runs on, and `cellvisor kill NAME` ends it at once.\n\n"
	       "Examples:\n"
	       "  cellvisor stop web\n"
	       "  cellvisor stop web --timeout 5m || cellvisor kill web",
};

static error_t parse_kill(int key, char *arg, struct argp_state *state)
{
	struct stop_options *o = state->input;

	switch (key) {
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

static const struct argp kill_argp = {
	.parser = parse_kill,
	.args_doc = "NAME",
	.doc = "Ends a guest at once, as if its power cord were pulled. What it had not written to "
	       "its disks is lost.\v"
	       "Examples:\n"
	       "  cellvisor kill web",
};

static int ask(json_t *request, int timeout_ms)
{
	json_t *reply;
	struct err e;

	if (client_ask(request, timeout_ms, &reply, &e))
		return cli_fail(&e);
	printf("%s\n", cli_text(reply, "text"));
	json_decref(reply);
	return EXIT_OK;
}

int cli_stop(int argc, char **argv)
{
	struct stop_options o = { .seconds = STOP_SECONDS };
	int timeout_ms;

	argp_parse(&stop_argp, argc, argv, 0, NULL, &o);
	timeout_ms = (int)(o.seconds * 1000);
	return ask(json_pack("{s:s, s:s, s:i}", "op", "stop", "name", o.name, "timeout_ms",
			   timeout_ms),
		timeout_ms + GRACE_MS);
}

int cli_kill(int argc, char **argv)
{
	struct stop_options o = { 0 };

	argp_parse(&kill_argp, argc, argv, 0, NULL, &o);
	return ask(json_pack("{s:s, s:s}", "op", "kill", "name", o.name), KILL_TIMEOUT_MS);
}
