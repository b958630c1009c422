/* SPDX-License-Identifier: BSD-2-Clause */
/* `cellvisor topo`: the machine, its cells, and what lives in them. */

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "monitor/cli/cli.h"
#include "monitor/cli/client.h"
#include "monitor/cli/topo_live.h"
#include "numa/host/discover.h"
#include "numa/host/words.h"

#define TOPO_TIMEOUT_MS 30000
#define COLUMNS_DEFAULT 80u
/* Wider pictures are harder to read, not easier. */
#define COLUMNS_MOST 120u

struct options {
	const char *xml, *synthetic, *cells;
	bool json, live;
};

static const struct argp_option options[] = {
	{ "json", 'j', NULL, 0, "print JSON, for programs", 0 },
	{ "live", 'l', NULL, 0, "show the cells that are up and their guests, not a proposal", 0 },
	{ "cells", 'c', "PLAN", 0, "divide the machine like this instead of a cell per node", 0 },
	{ "xml", 'x', "FILE", 0, "another machine: what lstopo wrote there", 0 },
	{ "synthetic", 's', "TEXT", 0, "another machine: a synthetic description of hwloc", 0 },
	{ 0 },
};

/* argp is used by the only thread. NOLINTBEGIN(concurrency-mt-unsafe) */
static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 'j':
		o->json = true;
		break;
	case 'l':
		o->live = true;
		break;
	case 'c':
		o->cells = arg;
		break;
	case 'x':
		o->xml = arg;
		break;
	case 's':
		o->synthetic = arg;
		break;
	case ARGP_KEY_END:
		if (o->xml && o->synthetic)
			argp_error(state, "--xml and --synthetic name two machines; choose one");
		if (o->live && (o->xml || o->synthetic || o->cells))
			argp_error(state,
				"--live shows the cells that are up on this machine; it goes "
				"with neither --cells, --xml nor --synthetic");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}
/* NOLINTEND(concurrency-mt-unsafe) */

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.doc = "Shows the nodes of the machine with their CPUs, memory and distances, and the "
	       "cells "
	       "into which it is divided: one per node that has CPUs and memory; a node that has "
	       "only one of both joins the nearest cell.\v"
	       "PLAN names the nodes of each cell, cells separated by '/'.\n\n"
	       "Examples:\n"
	       "  cellvisor topo\n"
	       "  cellvisor topo --cells 0-1/2-3\n"
	       "  cellvisor topo --live\n"
	       "  cellvisor topo --synthetic 'pack:2 [numa(memory=64GB)] core:8 pu:2'\n"
	       "  lstopo server.xml && cellvisor topo --xml server.xml --json",
};

static int find_machine(const struct options *o, struct machine *m, struct err *e)
{
	if (o->xml)
		return discover_xml(o->xml, m, e);
	if (o->synthetic)
		return discover_synthetic(o->synthetic, m, e);
	return discover_this_machine(m, e);
}

static int find_cells(
	const struct options *o, const struct machine *m, struct cells *c, struct err *e)
{
	enum cells_fault fault;
	char words[160];
	uint32_t at;

	if (!o->cells) {
		cells_default(m, c);
		return 0;
	}
	fault = cells_parse(m, o->cells, c, &at);
	if (fault == CELLS_OK)
		return 0;
	words_cells(fault, at, words, sizeof(words));
	return err_set(e, EXIT_INVALID, "--cells '%s': %s", o->cells, words);
}

static bool is_utf8(void)
{
	static const char *const names[] = { "LC_ALL", "LC_CTYPE", "LANG" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		/* There is one thread. NOLINTNEXTLINE(concurrency-mt-unsafe) */
		const char *value = getenv(names[i]);

		if (value && value[0])
			return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
	}
	return false;
}

static uint32_t columns_of_terminal(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
		return COLUMNS_DEFAULT;
	return size.ws_col < COLUMNS_MOST ? size.ws_col : COLUMNS_MOST;
}

static void draw(const struct picture *p)
{
	const struct picture_style style = {
		.columns = columns_of_terminal(),
		.utf8 = is_utf8(),
		.colour = isatty(STDOUT_FILENO),
	};

	picture_draw(p, &style, stdout);
}

static int topo_proposed(const struct options *o, const struct machine *m, struct err *e)
{
	static struct cells cells; /* too big for comfort on the stack; one thread */
	struct picture picture = { .machine = m, .cells = &cells };
	json_t *json;
	int rc = find_cells(o, m, &cells, e);

	if (rc)
		return rc;
	if (!o->json) {
		draw(&picture);
		return 0;
	}
	json = topo_json(m, &cells);
	cli_print_json(json);
	json_decref(json);
	return 0;
}

static int topo_live(const struct options *o, const struct machine *m, struct err *e)
{
	struct live *live;
	json_t *reply;
	int rc = client_ask(json_pack("{s:s}", "op", "ls"), TOPO_TIMEOUT_MS, &reply, e);

	if (rc)
		return rc;
	if (o->json) {
		json_t *json = topo_live_json(m, reply);

		cli_print_json(json);
		json_decref(json);
	} else {
		rc = live_read(&live, m, reply, e);
		if (!rc) {
			draw(&live->picture);
			live_free(live);
		}
	}
	json_decref(reply);
	return rc;
}

int cli_topo(int argc, char **argv)
{
	struct options o = { 0 };
	struct machine machine;
	struct err e;
	int rc;

	/* There is one thread. NOLINTNEXTLINE(concurrency-mt-unsafe) */
	if (argp_parse(&argp, argc, argv, 0, NULL, &o) != 0)
		return EXIT_USAGE;
	rc = find_machine(&o, &machine, &e);
	if (!rc)
		rc = o.live ? topo_live(&o, &machine, &e) : topo_proposed(&o, &machine, &e);
	return rc ? cli_fail(&e) : EXIT_OK;
}
