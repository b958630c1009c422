/* SPDX-License-Identifier: BSD-2-Clause */
/* `cellvisor inject memory-error GUEST`: this process is the injector. */

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "faultcontain/inject/guest_page.h"
#include "monitor/cli/cli.h"
#include "monitor/cli/client.h"
#include "monitor/layout.h"
#include "numa/host/kernel_file.h"
#include "sim/box/client.h"

#define SHOW_TIMEOUT_MS 30000
#define PAGE 4096u
#define CHECK_INTERVAL "/sys/devices/system/machinecheck/machinecheck0/check_interval"
/* AMD: valid, enabled, address valid, deferred; the machine goes on (docs/box.md). */
#define DEFERRED_STATUS 0x8400100000000000ull
#define DEFERRED_MCG_STATUS 5u

enum {
	KEY_GPA = 0x200,
	KEY_RANDOM,
	KEY_USED,
	KEY_UNUSED,
	KEY_MACHINE_CHECK,
};

struct memory_options {
	const char *name;
	uint64_t gpa;
	bool has_gpa, random, unused, machine_check, json;
};

static const struct argp_option options[] = {
	{ "gpa", KEY_GPA, "ADDRESS", 0, "the page at this guest address", 0 },
	{ "random", KEY_RANDOM, NULL, 0, "any page", 0 },
	{ "used", KEY_USED, NULL, 0, "with --random: one that the guest has touched (the default)",
		0 },
	{ "unused", KEY_UNUSED, NULL, 0, "with --random: one that the guest has never touched", 0 },
	{ "machine-check", KEY_MACHINE_CHECK, NULL, 0,
		"in the box: by a machine check of its (emulated) hardware, a deferred error; "
		"without "
		"it the kernel is asked to take the page for a bad one",
		1 },
	{ "json", 'j', NULL, 0, "print JSON, for programs", 2 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct memory_options *o = state->input;
	char *rest;

	switch (key) {
	case KEY_GPA:
		errno = 0;
		o->gpa = strtoull(arg, &rest, 0);
		o->has_gpa = true;
		if (errno || rest == arg || *rest || *arg == '-')
			argp_error(
				state, "--gpa wants an address such as 0x1234000, not '%s'", arg);
		return 0;
	case KEY_RANDOM:
		o->random = true;
		return 0;
	case KEY_USED:
		o->unused = false;
		return 0;
	case KEY_UNUSED:
		o->unused = true;
		return 0;
	case KEY_MACHINE_CHECK:
		o->machine_check = true;
		return 0;
	case 'j':
		o->json = true;
		return 0;
	case ARGP_KEY_ARG:
		cli_take_guest(state, arg, &o->name);
		return 0;
	case ARGP_KEY_END:
		if (!o->name)
			cli_which_guest(state);
		if (o->has_gpa == o->random)
			argp_error(state, "which page? either --gpa ADDRESS or --random");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "GUEST",
	.doc = "Makes a page of a guest's RAM bad, as an uncorrected memory error does that nobody "
	       "has met yet. The frame is lost to this machine until its next boot.\v"
	       "What becomes of it: `cellvisor events`, `cellvisor show GUEST`.\n\n"
	       "Examples:\n"
	       "  cellvisor inject memory-error web --random\n"
	       "  cellvisor inject memory-error web --gpa 0x1f400000 --json",
};

/* The guest's process, from its monitor. */
static int find_guest(const char *name, struct proc_id *proc, struct err *e)
{
	const json_t *guest;
	json_t *reply;
	int rc = client_ask(
		json_pack("{s:s, s:s}", "op", "show", "name", name), SHOW_TIMEOUT_MS, &reply, e);

	if (rc)
		return rc;
	guest = json_object_get(reply, "guest");
	*proc = (struct proc_id){ (pid_t)cli_number(guest, "pid"),
		cli_number(guest, "start_time") };
	if (json_is_real(json_object_get(guest, "ended")) &&
		json_real_value(json_object_get(guest, "ended")) > 0)
		rc = err_set(e, EXIT_NOT_FOUND, "guest '%s' has ended", name);
	json_decref(reply);
	return rc;
}

static int offset_of(const struct guest_ram *ram, uint64_t gpa, uint64_t *off, struct err *e)
{
	*off = gpa & ~(uint64_t)(PAGE - 1);
	if (*off >= LAYOUT_HIGH_RAM)
		*off -= LAYOUT_HIGH_RAM - LAYOUT_LOW_RAM_END;
	else if (*off >= LAYOUT_LOW_RAM_END)
		*off = UINT64_MAX;
	if (*off >= ram->bytes)
		return err_set(
			e, EXIT_INVALID, "the guest has no RAM at 0x%llx", (unsigned long long)gpa);
	if (guest_ram_has(ram, *off) != 1)
		return err_set(e, EXIT_INVALID,
			"the guest has never touched its page at 0x%llx, so no memory is there "
			"that could be bad; --random --unused makes some",
			(unsigned long long)gpa);
	return 0;
}

static int choose(
	const struct memory_options *o, const struct guest_ram *ram, uint64_t *off, struct err *e)
{
	uint64_t draw = 0;

	if (o->has_gpa)
		return offset_of(ram, o->gpa, off, e);
	if (getrandom(&draw, sizeof(draw), 0) != (ssize_t)sizeof(draw))
		return err_set(e, EXIT_ENVIRONMENT, "no random numbers");
	if (guest_ram_find(ram, draw % ram->bytes & ~(uint64_t)(PAGE - 1), !o->unused, off))
		return err_set(e, EXIT_INVALID, "the guest has %s",
			o->unused ? "touched all of its memory" : "not touched any memory");
	return 0;
}

static int raise_machine_check(uint64_t frame, struct err *e)
{
	const struct box_mce mce = {
		.cpu = 0,
		.bank = 1,
		.status = DEFERRED_STATUS,
		.mcg_status = DEFERRED_MCG_STATUS,
		.addr = frame * PAGE,
	};
	struct box_client c;
	int rc = box_client_open(&c, BOX_CLIENT_DEADLINE_MS, e);

	if (rc)
		return rc;
	/* Nothing announces a deferred error here: the kernel has to look for it often. */
	(void)kernel_file_write(AT_FDCWD, CHECK_INTERVAL, "1");
	rc = box_client_mce(&c, &mce, e);
	box_client_close(&c);
	return rc;
}

static int make_bad(const struct memory_options *o, const struct guest_ram *ram, uint64_t off,
	uint64_t *frame, struct err *e)
{
	int rc = guest_ram_frame(ram, off, frame);

	if (rc)
		return err_set(e, EXIT_FAILED, "the frame of the page is not to be had: %s",
			strerrordesc_np(-rc));
	if (o->machine_check)
		return raise_machine_check(*frame, e);
	rc = guest_ram_poison(*frame);
	return rc ? err_set(e, EXIT_ENVIRONMENT,
			    "the kernel does not take the page for a bad one: %s; it takes root "
			    "and "
			    "CONFIG_MEMORY_FAILURE",
			    strerrordesc_np(-rc))
		  : 0;
}

static void print(const struct memory_options *o, uint64_t gpa, uint64_t frame)
{
	json_t *row;

	if (!o->json) {
		printf("the page at guest address 0x%llx of guest '%s', frame 0x%llx, is bad now\n",
			(unsigned long long)gpa, o->name, (unsigned long long)frame);
		return;
	}
	row = json_pack("{s:s, s:I, s:I}", "name", o->name, "gpa", (json_int_t)gpa, "frame",
		(json_int_t)frame);
	cli_print_json(row);
	json_decref(row);
}

int cli_inject_memory(int argc, char **argv)
{
	struct memory_options o = { 0 };
	struct guest_ram ram;
	struct proc_id proc;
	uint64_t off, frame;
	struct err e;
	int rc;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (find_guest(o.name, &proc, &e) || guest_ram_open(&ram, &proc, &e))
		return cli_fail(&e);
	rc = choose(&o, &ram, &off, &e);
	if (!rc)
		rc = make_bad(&o, &ram, off, &frame, &e);
	guest_ram_close(&ram);
	if (rc)
		return cli_fail(&e);
	print(&o, off < LAYOUT_LOW_RAM_END ? off : off - LAYOUT_LOW_RAM_END + LAYOUT_HIGH_RAM,
		frame);
	return EXIT_OK;
}
