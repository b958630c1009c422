/* SPDX-License-Identifier: BSD-2-Clause */
/* `cellvisor events`: what happened, over all cells, in order of time. */

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "monitor/cell/events.h"
#include "monitor/cli/cli.h"
#include "monitor/cli/client.h"
#include "monitor/cli/parse.h"

#define EVENTS_TIMEOUT_MS 30000
#define FOLLOW_PERIOD_US 500000

struct events_options {
	double since;
	bool json, follow;
};

static const struct argp_option options[] = {
	{ "since", 's', "TIME", 0,
		"only what happened since: a time ago such as 90s, 5m or 2h, or seconds since "
		"1970; "
		"0 is the beginning (default)",
		0 },
	{ "follow", 'f', NULL, 0, "go on and print events as they happen, until interrupted", 0 },
	{ "json", 'j', NULL, 0, "print JSON, for programs; with --follow one object per line", 0 },
	{ 0 },
};

static double now_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct events_options *o = state->input;
	struct err e;

	switch (key) {
	case 's':
		if (parse_since("--since", arg, now_seconds(), &o->since, &e))
			argp_error(state, "%s", e.text);
		return 0;
	case 'f':
		o->follow = true;
		return 0;
	case 'j':
		o->json = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.doc = "Shows what happened on this machine, merged over all cells by time: cells that "
	       "came "
	       "up, fell silent or died, guests that started, ended or were lost, each with its "
	       "cause.\v"
	       "What a dead cell recorded before its death is read from its file.\n\n"
	       "Examples:\n"
	       "  cellvisor events --since 10m\n"
	       "  cellvisor events --follow\n"
	       "  cellvisor events --json | jq '.events[] | select(.event==\"guest-lost\")'",
};

/* A cell that did not answer may have left its file: events of the dead are history, not lost. */
static void add_file(json_t *events, const char *path, double since)
{
	char line[EVENT_LINE_BYTES];
	FILE *file = fopen(path, "re");

	while (file && fgets(line, sizeof(line), file)) {
		struct event ev;

		if (event_from_line(line, strlen(line), &ev) && ev.time >= since)
			json_array_append_new(events, event_json(&ev));
	}
	if (file)
		fclose(file);
}

static void add_files(json_t *events, const json_t *cells, double since)
{
	char dir[RUNTIME_DIR_MAX + 1], path[RUNTIME_PATH_BYTES];
	struct err e;
	size_t i;
	json_t *cell;

	if (runtime_dir(dir, &e))
		return;
	json_array_foreach(cells, i, cell)
	{
		uint32_t n = (uint32_t)json_integer_value(cell);

		add_file(events, runtime_cell_path(path, dir, n, "events.jsonl.old"), since);
		add_file(events, runtime_cell_path(path, dir, n, "events.jsonl"), since);
	}
}

static int fetch(double since, json_t **reply, struct err *e)
{
	json_t *events;
	int rc = client_ask(json_pack("{s:s, s:f}", "op", "events", "since", since),
		EVENTS_TIMEOUT_MS, reply, e);

	if (rc)
		return rc;
	json_object_del(*reply, "ok");
	events = json_object_get(*reply, "events");
	if (json_array_size(json_object_get(*reply, "unanswered")) > 0) {
		add_files(events, json_object_get(*reply, "unanswered"), since);
		events_sort(events);
	}
	return 0;
}

static void print_event(const json_t *ev)
{
	double time = json_number_value(json_object_get(ev, "time"));
	time_t whole = (time_t)time;
	char clock[32];
	struct tm tm;

	strftime(clock, sizeof(clock), "%Y-%m-%d %H:%M:%S", localtime_r(&whole, &tm));
	printf("%s.%03d  cell %-3llu  %-18s %s%s%s\n", clock, (int)((time - (double)whole) * 1000),
		(unsigned long long)cli_number(ev, "cell"), cli_text(ev, "event"),
		cli_text(ev, "guest"), *cli_text(ev, "guest") ? ": " : "", cli_text(ev, "cause"));
}

/* Newest sequence number printed, by recorder. */
struct printed {
	uint64_t seq[1024];
};

static void print_new(const json_t *events, struct printed *printed, bool json)
{
	size_t i;
	json_t *ev;

	json_array_foreach(events, i, ev)
	{
		uint64_t seq = cli_number(ev, "seq"), by = cli_number(ev, "by");

		if (by >= 1024 || seq <= printed->seq[by])
			continue;
		printed->seq[by] = seq;
		if (json) {
			json_dumpf(ev, stdout,
				JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(16));
			putchar('\n');
		} else {
			print_event(ev);
		}
	}
	fflush(stdout);
}

static int follow(const struct events_options *o)
{
	struct printed printed = { { 0 } };
	double since = o->since;

	for (;;) {
		double asked = now_seconds();
		json_t *reply;
		struct err e;

		if (fetch(since, &reply, &e))
			return cli_fail(&e);
		print_new(json_object_get(reply, "events"), &printed, o->json);
		json_decref(reply);
		/* A cell that is slow to answer gets a second chance to tell. */
		if (asked - 30 > since)
			since = asked - 30;
		usleep(FOLLOW_PERIOD_US);
	}
}

int cli_events(int argc, char **argv)
{
	struct events_options o = { 0 };
	json_t *reply, *ev;
	struct err e;
	size_t i;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (o.follow)
		return follow(&o);
	if (fetch(o.since, &reply, &e))
		return cli_fail(&e);
	if (o.json) {
		cli_print_json(reply);
	} else {
		json_array_foreach(json_object_get(reply, "events"), i, ev)
		{
			print_event(ev);
		}
	}
	json_decref(reply);
	return EXIT_OK;
}
