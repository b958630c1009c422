/* SPDX-License-Identifier: BSD-2-Clause */
/* `cellvisor vcpus` and `cellvisor move-vcpu`: where vCPUs run. */

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/cli/cli.h"
#include "monitor/cli/client.h"
#include "monitor/cli/parse.h"
#include "monitor/guest/spec.h"
#include "numa/cpu_set.h"

#define VCPUS_TIMEOUT_MS 30000
#define MOVE_TIMEOUT_MS 30000

struct vcpus_options {
	const char *name;
	bool json, has_vcpu, has_cpu, release;
	uint32_t vcpu, cpu;
};

static const struct argp_option vcpus_option[] = {
	{ "json", 'j', NULL, 0, "print JSON, for programs", 0 },
	{ 0 },
};

static error_t parse_vcpus(int key, char *arg, struct argp_state *state)
{
	struct vcpus_options *o = state->input;

	switch (key) {
	case 'j':
		o->json = true;
		return 0;
	case ARGP_KEY_ARG:
		cli_take_guest(state, arg, &o->name);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp vcpus_argp = {
	.options = vcpus_option,
	.parser = parse_vcpus,
	.args_doc = "[NAME]",
	.doc = "Lists the vCPUs of all guests, or of one: the CPU that each runs on, the CPUs that "
	       "it may use, the share of the time that it could run, and how often and why it was "
	       "moved.\v"
	       "Why: start; spread (its CPU had more to run than another); idle (an idle CPU took "
	       "it); home (back to its memory); gang (a CPU of its own); lost-cpu (its CPUs went "
	       "offline); by-hand.\n\n"
	       "Examples:\n"
	       "  cellvisor vcpus\n"
	       "  cellvisor vcpus web --json | jq '.vcpus[] | [.vcpu, .cpu]'",
};

static void print_rows(const json_t *vcpus)
{
	static const char *const headings[] = { "GUEST", ">VCPU", ">CELL", ">NODE", ">CPU", "CPUS",
		">RUNNABLE", ">MOVES", "WHY" };
	struct table *t;
	size_t i;
	json_t *row;

	if (json_array_size(vcpus) == 0) {
		puts("no vCPUs; start a guest with `cellvisor run` (see `cellvisor help run`)");
		return;
	}
	t = table_new(headings, 9);
	json_array_foreach(vcpus, i, row)
	{
		static const char *const keys[] = { "vcpu", "cell", "node", "cpu", "moves" };
		char cpus[CLI_LIST_BYTES], numbers[5][24], share[24], why[48];

		for (size_t k = 0; k < 5; k++)
			snprintf(numbers[k], sizeof(numbers[k]), "%llu",
				(unsigned long long)cli_number(row, keys[k]));
		snprintf(share, sizeof(share), "%llu%%",
			(unsigned long long)cli_number(row, "share") / 10);
		snprintf(why, sizeof(why), "%s%s%s", cli_text(row, "reason"),
			json_is_true(json_object_get(row, "held")) ? ", held" : "",
			json_is_true(json_object_get(row, "gang")) ? ", gang" : "");
		const char *cells_of_row[] = { cli_text(row, "guest"), numbers[0], numbers[1],
			numbers[2], numbers[3], cli_list(cpus, json_object_get(row, "cpus")), share,
			numbers[4], why };

		table_row(t, cells_of_row);
	}
	table_print(t);
}

int cli_vcpus(int argc, char **argv)
{
	struct vcpus_options o = { 0 };
	json_t *reply, *request;
	char cells[CLI_LIST_BYTES];
	struct err e;

	argp_parse(&vcpus_argp, argc, argv, 0, NULL, &o);
	request = json_pack("{s:s}", "op", "vcpus");
	if (o.name)
		json_object_set_new(request, "name", json_string(o.name));
	if (client_ask(request, VCPUS_TIMEOUT_MS, &reply, &e))
		return cli_fail(&e);
	json_object_del(reply, "ok");
	if (o.json) {
		cli_print_json(reply);
	} else {
		print_rows(json_object_get(reply, "vcpus"));
		if (json_array_size(json_object_get(reply, "unanswered")) > 0)
			printf("\ndid not answer: cell %s\n",
				cli_list(cells, json_object_get(reply, "unanswered")));
	}
	json_decref(reply);
	return EXIT_OK;
}

/* --- move-vcpu --- */

static const struct argp_option move_option[] = {
	{ "to-cpu", 't', "N", 0, "the host CPU that it is to run on, and nowhere else", 0 },
	{ "release", 'r', NULL, 0, "let the balancers move it again", 0 },
	{ "json", 'j', NULL, 0, "print JSON, for programs", 1 },
	{ 0 },
};

static error_t parse_move(int key, char *arg, struct argp_state *state)
{
	struct vcpus_options *o = state->input;
	uint64_t value = 0;
	struct err e;

	switch (key) {
	case 't':
		if (parse_number("--to-cpu", arg, 0, CPU_SET_CPUS - 1, &value, &e))
			argp_error(state, "%s", e.text);
		o->cpu = (uint32_t)value;
		o->has_cpu = true;
		return 0;
	case 'r':
		o->release = true;
		return 0;
	case 'j':
		o->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (!o->name) {
			o->name = arg;
			return 0;
		}
		if (o->has_vcpu)
			argp_error(state, "one vCPU at a time; '%s' is one too many", arg);
		if (parse_number("the vCPU", arg, 0, SPEC_CPUS_MAX - 1, &value, &e))
			argp_error(state, "%s", e.text);
		o->vcpu = (uint32_t)value;
		o->has_vcpu = true;
		return 0;
	case ARGP_KEY_END:
		if (!o->name || !o->has_vcpu)
			argp_error(
				state, "which vCPU of which guest? `cellvisor vcpus` lists them");
		if (o->has_cpu == o->release)
			argp_error(state, "give either --to-cpu N or --release");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp move_argp = {
	.options = move_option,
	.parser = parse_move,
	.args_doc = "NAME VCPU",
	.doc = "Moves a vCPU to a CPU, while the guest runs, and holds it there until it is "
	       "released or that CPU goes offline. Says where it was and how long it took.\v"
	       "A CPU of another cell: only if the guest may need that cell (run --cells-max), "
	       "and from then on the guest ends if that cell dies.\n\n"
	       "Examples:\n"
	       "  cellvisor move-vcpu web 1 --to-cpu 6\n"
	       "  cellvisor move-vcpu web 1 --release",
};

int cli_move_vcpu(int argc, char **argv)
{
	struct vcpus_options o = { 0 };
	json_t *reply, *request;
	struct err e;

	argp_parse(&move_argp, argc, argv, 0, NULL, &o);
	request = json_pack("{s:s, s:s, s:I, s:b}", "op", "move-vcpu", "name", o.name, "vcpu",
		(json_int_t)o.vcpu, "release", o.release);
	if (o.has_cpu)
		json_object_set_new(request, "cpu", json_integer(o.cpu));
	if (client_ask(request, MOVE_TIMEOUT_MS, &reply, &e))
		return cli_fail(&e);
	json_object_del(reply, "ok");
	if (o.json)
		cli_print_json(reply);
	else if (o.release)
		printf("vCPU %u of guest '%s' may be moved by the balancers\n", o.vcpu, o.name);
	else
		printf("vCPU %u of guest '%s': from CPU %llu to CPU %llu in %llu us\n", o.vcpu,
			o.name, (unsigned long long)cli_number(reply, "from"),
			(unsigned long long)cli_number(reply, "to"),
			(unsigned long long)cli_number(reply, "us"));
	json_decref(reply);
	return EXIT_OK;
}
