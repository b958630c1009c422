/* SPDX-License-Identifier: BSD-2-Clause */
/* `boxctl`: asks the outside of a box for hardware events. docs/box.md. */
#include <argp.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim/box/client.h"
#include "sim/box/run.h"

#define WORDS_MAX 4

/* A deferred error in bank 0: noticed within a second or two, harmless to the kernel. */
#define DEFERRED_STATUS 0x8400100000000000ull
#define DEFERRED_MCG_STATUS 0x5ull

struct options {
	const char *words[WORDS_MAX];
	size_t word_count;
	struct box_mce mce;
	bool have_cpu, have_addr;
	const char *how; /* of a freeze: "idle" or "any" */
	unsigned deadline_ms;
};

enum {
	OPT_CPU = 256,
	OPT_ADDR,
	OPT_STATUS,
	OPT_MCG_STATUS,
	OPT_MISC,
	OPT_BANK,
	OPT_BROADCAST,
	OPT_IDLE
};

static const struct argp_option argp_options[] = {
	{ "cpu", OPT_CPU, "N", 0, "mce: the CPU that reports it", 0 },
	{ "addr", OPT_ADDR, "PA", 0, "mce: physical address of the error", 0 },
	{ "status", OPT_STATUS, "WORD", 0,
		"mce: MCi_STATUS (default 0x8400100000000000, a deferred error)", 0 },
	{ "mcgstatus", OPT_MCG_STATUS, "WORD", 0, "mce: MCG_STATUS (default 0x5)", 0 },
	{ "misc", OPT_MISC, "WORD", 0, "mce: MCi_MISC (default 0)", 0 },
	{ "bank", OPT_BANK, "B", 0, "mce: bank, best 0 to 3 (default 0)", 0 },
	{ "broadcast", OPT_BROADCAST, NULL, 0, "mce: to all CPUs, as Intel's do", 0 },
	{ "idle", OPT_IDLE, NULL, 0, "freeze, freeze-node: only while the CPU idles, else refuse",
		0 },
	{ "deadline", 'd', "MS", 0, "wait so long for the answer (default 60000)", 0 },
	{ 0 },
};

/* argp is used by the only thread. NOLINTBEGIN(concurrency-mt-unsafe) */
static uint64_t number(struct argp_state *state, const char *what, const char *text, uint64_t max)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 0);
	if (errno || end == text || *end || !isdigit((unsigned char)*text) || value > max)
		argp_error(state, "%s wants a number from 0 to 0x%" PRIx64 ", not '%s'", what, max,
			text);
	return value;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case OPT_CPU:
		o->mce.cpu = (uint32_t)number(state, "--cpu", arg, 4095);
		o->have_cpu = true;
		return 0;
	case OPT_ADDR:
		o->mce.addr = number(state, "--addr", arg, UINT64_MAX);
		o->have_addr = true;
		return 0;
	case OPT_STATUS:
		o->mce.status = number(state, "--status", arg, UINT64_MAX);
		return 0;
	case OPT_MCG_STATUS:
		o->mce.mcg_status = number(state, "--mcgstatus", arg, UINT64_MAX);
		return 0;
	case OPT_MISC:
		o->mce.misc = number(state, "--misc", arg, UINT64_MAX);
		return 0;
	case OPT_BANK:
		o->mce.bank = (uint32_t)number(state, "--bank", arg, 31);
		return 0;
	case OPT_BROADCAST:
		o->mce.broadcast = true;
		return 0;
	case OPT_IDLE:
		o->how = "idle";
		return 0;
	case 'd':
		o->deadline_ms = (unsigned)number(state, "--deadline", arg, 600000);
		return 0;
	case ARGP_KEY_ARG:
		if (o->word_count == WORDS_MAX)
			argp_usage(state);
		o->words[o->word_count++] = arg;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_usage(state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* NOLINTEND(concurrency-mt-unsafe) */

static const struct argp argp = {
	.options = argp_options,
	.parser = parse,
	.args_doc = "COMMAND",
	.doc = "Asks the outside of a box for hardware events (docs/box.md).\v"
	       "Commands:\n"
	       "  ping                 does the outside answer?\n"
	       "  info                 the machine as it was asked for, in JSON\n"
	       "  freeze CPU           the CPU executes nothing from now on\n"
	       "  thaw CPU             it goes on\n"
	       "  freeze-node NODE     all CPUs of a node\n"
	       "  thaw-node NODE\n"
	       "  mce --cpu N --addr PA    a machine check\n"
	       "  power-off            ends the box at once\n"
	       "\n"
	       "Exit status: 0 done, 1 refused (the reason is told), 2 wrong command line, 6 this\n"
	       "machine is no box, 9 no answer.\n"
	       "\n"
	       "Example: boxctl mce --cpu 1 --addr 0x7d000000",
};

/* The words of the request for a command; 0, or -1 for a wrong command line. */
static int run_command(struct box_client *c, struct options *o, struct err *e)
{
	const char *verb = o->words[0];
	char answer[BOX_LINE_BYTES];
	bool freeze = strcmp(verb, "freeze") == 0 || strcmp(verb, "freeze-node") == 0;
	int rc;

	if (strcmp(verb, "mce") == 0)
		return box_client_mce(c, &o->mce, e);
	if (freeze)
		o->words[o->word_count++] = o->how;
	rc = box_client_call(c, verb, o->words + 1, o->word_count - 1, o->deadline_ms, answer,
		sizeof(answer), e);
	if (rc == 0 && *answer)
		puts(answer);
	return rc;
}

/* What can be told wrong without asking. */
static const char *complaint(const struct options *o)
{
	static const struct {
		const char *verb;
		size_t words;
	} verbs[] = { { "ping", 1 }, { "info", 1 }, { "mce", 1 }, { "power-off", 1 },
		{ "freeze", 2 }, { "thaw", 2 }, { "freeze-node", 2 }, { "thaw-node", 2 } };

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(o->words[0], verbs[i].verb) != 0)
			continue;
		if (o->word_count != verbs[i].words)
			return verbs[i].words == 2 ? "it wants one number"
						   : "it takes no further word";
		if (strcmp(o->words[0], "mce") == 0 && (!o->have_cpu || !o->have_addr))
			return "it wants --cpu N and --addr PA";
		return NULL;
	}
	return "there is no such command; boxctl --help lists them";
}

int main(int argc, char **argv)
{
	struct options o = {
		.mce = { .status = DEFERRED_STATUS, .mcg_status = DEFERRED_MCG_STATUS },
		.how = "any",
		.deadline_ms = BOX_CLIENT_DEADLINE_MS,
	};
	struct box_client c;
	struct err e = { 0 };
	const char *why;
	int rc;

	if (argc == 3 && strcmp(argv[1], "run") == 0 && getpid() == 1)
		box_run(argv[2]);
	argp_err_exit_status = EXIT_USAGE;
	argp_parse(/* NOLINT(concurrency-mt-unsafe) */ &argp, argc, argv, 0, NULL, &o);
	why = complaint(&o);
	if (why) {
		fprintf(stderr, "boxctl: %s: %s\n", o.words[0], why);
		return EXIT_USAGE;
	}
	rc = box_client_open(&c, o.deadline_ms, &e);
	if (rc == 0) {
		rc = run_command(&c, &o, &e);
		box_client_close(&c);
	}
	if (rc == 0)
		return EXIT_OK;
	fprintf(stderr, "boxctl: %s\n", e.text);
	return (int)e.code;
}
