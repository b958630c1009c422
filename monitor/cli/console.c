/* SPDX-License-Identifier: BSD-2-Clause */
/* `cellvisor console NAME`. */

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "monitor/cell/runtime.h"
#include "monitor/cli/attach.h"
#include "monitor/cli/cli.h"
#include "monitor/cli/client.h"
#include "monitor/guest/process.h"

#define CONSOLE_TIMEOUT_MS 30000

struct console_options {
	const char *name;
	bool log;
};

static const struct argp_option options[] = {
	{ "log", 'l', NULL, 0, "print what the guest has said so far, and end", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct console_options *o = state->input;

	switch (key) {
	case 'l':
		o->log = true;
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

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "NAME",
	.doc = "Connects this terminal to the serial console of a guest; Ctrl-] leaves it. Without "
	       "a terminal, standard input is typed at the console, and the guest's answer is "
	       "printed until input has ended and the guest is silent for a second.\v"
	       "The log outlives the guest: --log also works for one that has ended.\n\n"
	       "Examples:\n"
	       "  cellvisor console web\n"
	       "  echo uptime | cellvisor console web\n"
	       "  cellvisor console web --log | tail",
};

/* false: it can't be opened. */
static bool print_file(const char *path)
{
	char buf[65536];
	size_t n;
	FILE *file = fopen(path, "re");

	if (!file)
		return false;
	while ((n = fread(buf, 1, sizeof(buf), file)) > 0)
		fwrite(buf, 1, n, stdout);
	fclose(file);
	return true;
}

static int print_log(const json_t *guest)
{
	char dir[RUNTIME_DIR_MAX + 1], path[RUNTIME_PATH_BYTES];
	const uint32_t cell = (uint32_t)cli_number(guest, "cell");
	const char *name = cli_text(guest, "name");
	struct err e;

	if (runtime_dir(dir, &e))
		return cli_fail(&e);
	print_file(runtime_guest_path(path, dir, cell, name, GUEST_CONSOLE_LOG_OLD));
	if (!print_file(runtime_guest_path(path, dir, cell, name, GUEST_CONSOLE_LOG)))
		return cli_error(EXIT_FAILED, "%s: %s", path, strerror(errno));
	return EXIT_OK;
}

static int use_console(const json_t *guest)
{
	const char *name = cli_text(guest, "name"), *state = cli_text(guest, "state");
	struct err e;
	int fd;

	if (strcmp(state, "running") != 0 && strcmp(state, "unmanaged") != 0)
		return cli_error(EXIT_CONFLICT,
			"guest '%s' is %s, so its console is closed; `cellvisor console %s --log` "
			"shows "
			"what it said",
			name, state, name);
	fd = attach_connect(cli_text(guest, "console"), name, &e);
	if (fd < 0)
		return cli_fail(&e);
	if (isatty(0))
		fprintf(stderr, "console of guest '%s'; Ctrl-] leaves it\r\n", name);
	if (attach_run(fd, false) == ATTACH_CLOSED)
		fprintf(stderr, "the guest closed its console\n");
	else if (isatty(0))
		fputc('\n', stderr);
	close(fd);
	return EXIT_OK;
}

int cli_console(int argc, char **argv)
{
	struct console_options o = { 0 };
	const json_t *guest;
	json_t *reply;
	struct err e;
	int status;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (client_ask(json_pack("{s:s, s:s}", "op", "show", "name", o.name), CONSOLE_TIMEOUT_MS,
		    &reply, &e))
		return cli_fail(&e);
	guest = json_object_get(reply, "guest");
	status = o.log ? print_log(guest) : use_console(guest);
	json_decref(reply);
	return status;
}
