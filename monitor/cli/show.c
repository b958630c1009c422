/* SPDX-License-Identifier: BSD-2-Clause */
/* `cellvisor show NAME`: everything about one guest. */

#include <argp.h>
#include <stdio.h>

#include "monitor/cli/cli.h"
#include "monitor/cli/client.h"

#define SHOW_TIMEOUT_MS 30000

struct show_options {
	const char *name;
	bool json;
};

static const struct argp_option options[] = {
	{ "json", 'j', NULL, 0, "print JSON, for programs", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct show_options *o = state->input;

	switch (key) {
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

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "NAME",
	.doc = "Shows everything about one guest: state and cause, where its memory and vCPUs are, "
	       "which cells it needs, its devices, its console.\v"
	       "Examples:\n"
	       "  cellvisor show web\n"
	       "  cellvisor show web --json | jq -r .console",
};

static void print_value(const char *key, const json_t *value)
{
	char buf[CLI_LIST_BYTES];
	char *text;

	if (json_is_string(value)) {
		printf("%-16s %s\n", key, json_string_value(value));
	} else if (json_is_array(value) && json_is_integer(json_array_get(value, 0))) {
		printf("%-16s %s\n", key, cli_list(buf, value));
	} else {
		text = json_dumps(
			value, JSON_ENCODE_ANY | JSON_SORT_KEYS | JSON_REAL_PRECISION(15));
		printf("%-16s %s\n", key, text ? text : "");
		free(text);
	}
}

/* Where it is, and whose it is. */
static void print_memory(const json_t *parts)
{
	size_t i;
	json_t *part;

	json_array_foreach(parts, i, part)
	{
		char size[CLI_SIZE_BYTES];

		printf("%-16s %s on node %llu", "", cli_size(size, cli_number(part, "bytes")),
			(unsigned long long)cli_number(part, "node"));
		if (json_object_get(part, "lender"))
			printf(", borrowed of cell %llu",
				(unsigned long long)cli_number(part, "lender"));
		putchar('\n');
	}
}

static void print_guest(const json_t *guest)
{
	static const char *const first[] = { "name", "state", "cause", "cell", "nodes", "needs",
		"cpus" };
	const char *key;
	json_t *value;
	char size[CLI_SIZE_BYTES];
	json_t *rest = json_copy((json_t *)guest);

	for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++) {
		value = json_object_get(rest, first[i]);
		if (value)
			print_value(first[i], value);
		json_object_del(rest, first[i]);
	}
	printf("%-16s %s\n", "memory", cli_size(size, cli_number(rest, "memory_bytes")));
	print_memory(json_object_get(rest, "memory"));
	json_object_del(rest, "memory_bytes");
	json_object_del(rest, "memory");
	json_object_del(rest, "node_bytes");
	json_object_foreach(rest, key, value)
	{
		print_value(key, value);
	}
	json_decref(rest);
}

int cli_show(int argc, char **argv)
{
	struct show_options o = { 0 };
	const json_t *guest;
	json_t *reply;
	struct err e;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (client_ask(json_pack("{s:s, s:s}", "op", "show", "name", o.name), SHOW_TIMEOUT_MS,
		    &reply, &e))
		return cli_fail(&e);
	guest = json_object_get(reply, "guest");
	if (o.json)
		cli_print_json(guest);
	else
		print_guest(guest);
	json_decref(reply);
	return EXIT_OK;
}
