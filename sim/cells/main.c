/* SPDX-License-Identifier: BSD-2-Clause */

/* cellsim: runs many simulated machines, says which broke a promise. */

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim/cells/many.h"

struct options {
	struct sim_cfg cfg;
	uint64_t first, last;
	uint32_t jobs;
	bool json, list_plants, trace;
};

enum {
	OPT_CELLS = 256,
	OPT_NODES,
	OPT_GUESTS,
	OPT_SEEDS,
	OPT_PLANT,
	OPT_SCENARIO,
	OPT_FAULT_MS,
	OPT_JSON
};

static const struct argp_option argp_options[] = {
	{ "cells", OPT_CELLS, "N", 0, "cells of a machine, 1 to 1024 (8)", 0 },
	{ "nodes-per-cell", OPT_NODES, "N", 0, "nodes of a cell, 1 to 8 (1)", 0 },
	{ "guests", OPT_GUESTS, "N", 0, "guests of a cell at most, 0 to 256 (4)", 0 },
	{ "seeds", OPT_SEEDS, "A..B", 0, "seeds of the machines to run, or one (1..100)", 0 },
	{ "plant", OPT_PLANT, "BUG", 0, "switch in a known bug; `list` names them", 0 },
	{ "scenario", OPT_SCENARIO, "WHAT", 0,
		"faults (all kinds, drawn from the seed), quiet, or measure one of node-death, "
		"two-deaths, monitor-crash",
		0 },
	{ "fault-ms", OPT_FAULT_MS, "T", 0, "simulated time during which faults happen (1000)", 0 },
	{ "jobs", 'j', "N", 0, "processes (all CPUs)", 0 },
	{ "trace", 't', NULL, 0, "print what happens; for one seed", 0 },
	{ "json", OPT_JSON, NULL, 0, "print one JSON object", 0 },
	{ 0 },
};

/* argp is used by the only thread. NOLINTBEGIN(concurrency-mt-unsafe) */
static uint64_t number(
	struct argp_state *state, const char *text, uint64_t low, uint64_t high, const char *what)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || *end || text[0] < '0' || text[0] > '9' || value < low || value > high)
		argp_error(state, "%s must be %" PRIu64 " to %" PRIu64 ", not '%s'", what, low,
			high, text);
	return value;
}

static void seeds(struct argp_state *state, struct options *o, char *text)
{
	char *dots = strstr(text, "..");

	if (dots)
		*dots = '\0';
	o->first = number(state, text, 0, UINT64_MAX - 1, "the first seed");
	o->last = dots ? number(state, dots + 2, o->first, UINT64_MAX - 1, "the last seed")
		       : o->first;
}

static void scenario(struct argp_state *state, struct options *o, const char *text)
{
	int i = 0;

	while (i < SIM_SCENARIO_COUNT && strcmp(sim_scenario_name((enum sim_scenario)i), text) != 0)
		i++;
	if (i == SIM_SCENARIO_COUNT)
		argp_error(state,
			"no scenario '%s'; there are: faults quiet node-death two-deaths "
			"monitor-crash",
			text);
	o->cfg.scenario = (enum sim_scenario)i;
}

static error_t option(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case OPT_CELLS:
		o->cfg.cells = (uint16_t)number(state, arg, 1, 1024, "--cells");
		break;
	case OPT_NODES:
		o->cfg.nodes = (uint16_t)number(state, arg, 1, 8, "--nodes-per-cell");
		break;
	case OPT_GUESTS:
		o->cfg.guests = (uint32_t)number(state, arg, 0, 256, "--guests");
		break;
	case OPT_SEEDS:
		seeds(state, o, arg);
		break;
	case OPT_PLANT:
		o->list_plants = !strcmp(arg, "list");
		o->cfg.plant = o->list_plants ? PLANT_NONE : plant_find(arg);
		if (o->cfg.plant == PLANT_COUNT)
			argp_error(state, "no bug '%s' to plant; `--plant list` names them", arg);
		break;
	case OPT_SCENARIO:
		scenario(state, o, arg);
		break;
	case OPT_FAULT_MS:
		o->cfg.fault_ms = (uint32_t)number(state, arg, 1, 1000000, "--fault-ms");
		break;
	case 'j':
		o->jobs = (uint32_t)number(state, arg, 1, 1024, "--jobs");
		break;
	case 't':
		o->trace = true;
		break;
	case OPT_JSON:
		o->json = true;
		break;
	case ARGP_KEY_ARG:
		argp_error(state, "what is '%s'? Everything is given by options", arg);
		break;
	case ARGP_KEY_END:
		if (o->trace && o->first != o->last)
			argp_error(state, "--trace is for one seed: --seeds N");
		if (o->cfg.scenario > SIM_QUIET && o->cfg.cells < 3)
			argp_error(state, "a measured scenario needs 3 cells or more");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}
/* NOLINTEND(concurrency-mt-unsafe) */

static const struct argp argp = { .options = argp_options,
	.parser = option,
	.doc = "Simulates machines of many cells with faults drawn from seeds, around the same "
	       "object files that decide in the cell monitors, and checks their promises after "
	       "every step.\vExit status: 0 all promises held, 1 one was broken, 2 wrong usage.\n"
	       "The same seeds and sizes always give the same digest." };

static void replay_command(char *text, size_t room, const struct options *o, uint64_t seed)
{
	snprintf(text, room,
		"cellsim --cells %u --nodes-per-cell %u --guests %u --fault-ms %u --scenario "
		"%s%s%s "
		"--seeds %" PRIu64 " --trace",
		o->cfg.cells, o->cfg.nodes, o->cfg.guests, o->cfg.fault_ms,
		sim_scenario_name(o->cfg.scenario), o->cfg.plant ? " --plant " : "",
		o->cfg.plant ? plant_name(o->cfg.plant) : "", seed);
}

static double ms(uint64_t ns)
{
	return (double)ns / 1e6;
}

static json_t *counts(const struct many *all)
{
	return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}",
		"events", (json_int_t)all->events, "messages", (json_int_t)all->messages, "views",
		(json_int_t)all->views, "node_deaths", (json_int_t)all->node_deaths, "node_hangs",
		(json_int_t)all->node_hangs, "monitor_crashes", (json_int_t)all->monitor_crashes,
		"monitor_hangs", (json_int_t)all->monitor_hangs, "monitor_restarts",
		(json_int_t)all->restarts, "rejoins", (json_int_t)all->rejoins, "guests_started",
		(json_int_t)all->guests_started, "guests_hurt", (json_int_t)all->guests_hurt,
		"loans", (json_int_t)all->loans, "vcpu_moves", (json_int_t)all->vcpu_moves,
		"vcpu_moves_to_another_cell", (json_int_t)all->vcpu_visits, "cpus_off",
		(json_int_t)all->cpus_off, "crashes_of_the_simulator", (json_int_t)all->crashed);
}

static void print_json(const struct options *o, const struct many *all)
{
	char digest[17], replay[256] = "";
	json_t *out;

	snprintf(digest, sizeof(digest), "%016" PRIx64, all->digest);
	if (all->violations)
		replay_command(replay, sizeof(replay), o, all->first_failing_seed);
	out = json_pack("{s:i,s:i,s:i,s:s,s:I,s:I,s:s,s:o,s:o*,s:s*,s:s*,s:f,s:f,s:f}", "cells",
		o->cfg.cells, "nodes_per_cell", o->cfg.nodes, "guests_per_cell", (int)o->cfg.guests,
		"scenario", sim_scenario_name(o->cfg.scenario), "runs", (json_int_t)all->runs,
		"violations", (json_int_t)all->violations, "digest", digest, "counts", counts(all),
		"first_failing_seed",
		all->violations ? json_integer((json_int_t)all->first_failing_seed) : json_null(),
		"first_failure", all->violations ? all->first_why : NULL, "replay",
		all->violations ? replay : NULL, "settle_ms_mean",
		all->runs ? ms(all->settle_ns) / (double)all->runs : 0.0, "settle_ms_max",
		ms(all->settle_ns_max), "wall_seconds", all->wall_seconds);
	if (o->cfg.scenario > SIM_QUIET && all->runs)
		json_object_set_new(out, "recovery",
			json_pack("{s:f,s:f,s:f,s:I}", "ms_mean",
				ms(all->recovery_ns) / (double)all->runs, "ms_max",
				ms(all->recovery_ns_max), "messages_per_cell_mean",
				(double)all->recovery_messages / (double)all->runs / o->cfg.cells,
				"messages_per_cell_max", (json_int_t)all->recovery_messages_max));
	json_dumpf(out, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
	putchar('\n');
	json_decref(out);
}

static void print_text(const struct options *o, const struct many *all)
{
	char replay[256];

	printf("%" PRIu64 " machines of %u cells, %" PRIu64 " broke a promise; digest %016" PRIx64
	       "; %.1f s\n",
		all->runs, o->cfg.cells, all->violations, all->digest, all->wall_seconds);
	printf("%" PRIu64 " events, %" PRIu64 " messages, %" PRIu64 " views; %" PRIu64
	       " nodes died, %" PRIu64 " cells hung, %" PRIu64 " monitors crashed and %" PRIu64
	       " hung, %" PRIu64 " were restarted, %" PRIu64 " cells rejoined; %" PRIu64
	       " guests, %" PRIu64 " of them lost with what they needed; %" PRIu64
	       " loans, %" PRIu64 " vCPUs moved, %" PRIu64 " to another cell\n",
		all->events, all->messages, all->views, all->node_deaths, all->node_hangs,
		all->monitor_crashes, all->monitor_hangs, all->restarts, all->rejoins,
		all->guests_started, all->guests_hurt, all->loans, all->vcpu_moves,
		all->vcpu_visits);
	printf("whole again after the last fault: %.1f ms on average, %.1f ms at most "
	       "(simulated)\n",
		all->runs ? ms(all->settle_ns) / (double)all->runs : 0.0, ms(all->settle_ns_max));
	if (o->cfg.scenario > SIM_QUIET && all->runs)
		printf("recovery: %.3f ms on average, %.3f ms at most; messages per cell: %.1f on "
		       "average, %" PRIu64 " of the busiest\n",
			ms(all->recovery_ns) / (double)all->runs, ms(all->recovery_ns_max),
			(double)all->recovery_messages / (double)all->runs / o->cfg.cells,
			all->recovery_messages_max);
	if (!all->violations)
		return;
	replay_command(replay, sizeof(replay), o, all->first_failing_seed);
	printf("first failing seed %" PRIu64 ": %s\nreplay: %s\n", all->first_failing_seed,
		all->first_why, replay);
}

static int list_plants(void)
{
	for (int i = PLANT_NONE + 1; i < PLANT_COUNT; i++)
		puts(plant_name((enum plant)i));
	return 0;
}

static int run_traced(const struct options *o)
{
	struct sim_cfg cfg = o->cfg;
	struct sim_result result;

	cfg.trace = stdout;
	if (!sim_run(&cfg, o->first, &result)) {
		fprintf(stderr, "cellsim: no memory for a machine of %u cells\n", cfg.cells);
		return 1;
	}
	printf("seed %" PRIu64 ": %s; digest %016" PRIx64 "\n", o->first,
		result.violated ? result.why : "every promise held", result.digest);
	return result.violated;
}

int main(int argc, char **argv)
{
	struct options o = {
		.cfg = { .cells = 8, .nodes = 1, .guests = 4, .fault_ms = 1000 },
		.first = 1,
		.last = 100,
		.jobs = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN),
	};
	struct many all;
	int rc;

	argp_err_exit_status = 2;
	/* There is one thread. NOLINTNEXTLINE(concurrency-mt-unsafe) */
	if (argp_parse(&argp, argc, argv, 0, NULL, &o))
		return 2;
	if (o.list_plants)
		return list_plants();
	if (o.trace)
		return run_traced(&o);
	rc = many_run(&o.cfg, o.first, o.last, o.jobs, &all);
	if (rc) {
		fprintf(stderr, "cellsim: can't start its processes: %s\n", strerrordesc_np(-rc));
		return 1;
	}
	if (o.json)
		print_json(&o, &all);
	else
		print_text(&o, &all);
	return all.violations != 0;
}
