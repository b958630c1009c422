/* SPDX-License-Identifier: BSD-2-Clause */
/* `cellvisor`: one executable; this finds the subcommand. */

#include <argp.h>
#include <stdio.h>
#include <string.h>

#include "monitor/cell/monitor.h"
#include "monitor/cell/predicting.h"
#include "monitor/cli/cli.h"
#include "monitor/guest/process.h"

#define CELLVISOR_VERSION "0.1.0"

const char *argp_program_version = "cellvisor " CELLVISOR_VERSION;

static const struct subcommand subcommands[] = {
	{ "topo", "show nodes, CPUs, memory, distances and the cells", cli_topo },
	{ "up", "start the cells of this machine", cli_up },
	{ "run", "start a guest", cli_run },
	{ "ls", "list cells and guests", cli_ls },
	{ "show", "show everything about one guest", cli_show },
	{ "vcpus", "show where vCPUs run", cli_vcpus },
	{ "move-vcpu", "move a vCPU to another CPU", cli_move_vcpu },
	{ "console", "use the console of a guest", cli_console },
	{ "stop", "press a guest's power button and wait", cli_stop },
	{ "kill", "end a guest at once", cli_kill },
	{ "borrow", "borrow memory of another cell for a guest", cli_borrow },
	{ "give-back", "move borrowed memory home again", cli_give_back },
	{ "move", "move a running guest to another cell", cli_move },
	{ "drain", "empty a cell: its guests move to others", cli_drain },
	{ "undrain", "use a drained cell again", cli_undrain },
	{ "events", "show what happened, on all cells, in order of time", cli_events },
	{ "inject", "inject a fault, to see it contained", cli_inject },
	{ "revive", "take a repaired cell back", cli_revive },
	{ "down", "end guests and cells", cli_down },
	{ "monitor", NULL, cell_monitor_main },
	{ "guest", NULL, guest_process_main },
	{ "errors-reader", NULL, errors_reader_main },
	{ "retire-page", NULL, retire_page_main },
};
#define SUBCOMMAND_COUNT (sizeof(subcommands) / sizeof(subcommands[0]))

static const struct subcommand *find(const char *name)
{
	for (size_t i = 0; i < SUBCOMMAND_COUNT; i++)
		if (!strcmp(subcommands[i].name, name))
			return &subcommands[i];
	return NULL;
}

static void print_help(FILE *to)
{
	fprintf(to,
		"cellvisor: runs guests on a NUMA machine that is divided into cells, so that a\n"
		"failed node costs only the guests that used it.\n\n"
		"Usage: cellvisor SUBCOMMAND [OPTION...]\n\n");
	for (size_t i = 0; i < SUBCOMMAND_COUNT; i++)
		if (subcommands[i].summary)
			fprintf(to, "  %-9s %s\n", subcommands[i].name, subcommands[i].summary);
	fprintf(to,
		"  %-9s show this, or the help of a subcommand\n\n"
		"`cellvisor SUBCOMMAND --help` explains each with examples. A first session:\n\n"
		"  cellvisor topo\n"
		"  cellvisor up\n"
		"  cellvisor run web --kernel /boot/vmlinuz --initrd /boot/initrd.img \\\n"
		"            --disk web.img --cpus 2 --memory 4G\n"
		"  cellvisor ls\n"
		"  cellvisor console web\n"
		"  cellvisor stop web && cellvisor down\n",
		"help");
}

static int run_subcommand(const struct subcommand *s, int argc, char **argv)
{
	char title[64];

	argp_err_exit_status = EXIT_USAGE;
	/* Internal ones keep argv: it is how the processes of a cell are known. */
	if (!s->summary)
		return s->run(argc - 1, argv + 1);
	snprintf(title, sizeof(title), "cellvisor %s", s->name);
	argv[1] = title;
	return s->run(argc - 1, argv + 1);
}

static int help(int argc, char **argv)
{
	char option[] = "--help";
	const struct subcommand *s;

	if (argc < 3) {
		print_help(stdout);
		return EXIT_OK;
	}
	s = find(argv[2]);
	if (!s || !s->summary)
		return cli_error(
			EXIT_USAGE, "no subcommand '%s'; `cellvisor help` lists them", argv[2]);
	char *words[] = { argv[0], argv[2], option, NULL };
	return run_subcommand(s, 3, words);
}

int main(int argc, char **argv)
{
	const struct subcommand *s;

	if (argc < 2) {
		print_help(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return help(argc, argv);
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		printf("%s\n", argp_program_version);
		return EXIT_OK;
	}
	s = find(argv[1]);
	if (!s)
		return cli_error(
			EXIT_USAGE, "no subcommand '%s'; `cellvisor help` lists them", argv[1]);
	return run_subcommand(s, argc, argv);
}
