/* SPDX-License-Identifier: BSD-2-Clause */
/* `cellvisor run NAME`: starts a guest. */

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "monitor/cli/attach.h"
#include "monitor/cli/cli.h"
#include "monitor/cli/client.h"
#include "monitor/cli/parse.h"
#include "monitor/guest/spec.h"
#include "numa/check.h"

#define RUN_TIMEOUT_MS 200000
#define SHOW_TIMEOUT_MS 30000
/* After its console closed, a guest's process ends within this time. */
#define END_TENTHS 300

enum {
	KEY_KERNEL = 0x100,
	KEY_INITRD,
	KEY_DISK,
	KEY_CPUS,
	KEY_MEMORY,
	KEY_CELL,
	KEY_NODES,
	KEY_CMDLINE,
	KEY_VNUMA,
	KEY_CELLS_MAX,
	KEY_RESTART,
	KEY_GANG,
	KEY_HEAL,
};

struct run_options {
	struct guest_spec spec;
	bool has_kernel, has_memory, attach, json;
};

static const struct argp_option options[] = {
	{ "kernel", KEY_KERNEL, "FILE", 0, "Linux kernel, a bzImage (required)", 0 },
	{ "initrd", KEY_INITRD, "FILE", 0, "initial ramdisk", 0 },
	{ "disk", KEY_DISK, "FILE[,ro]", 0, "disk image; may be given several times", 0 },
	{ "cpus", KEY_CPUS, "N", 0, "virtual CPUs (default: 1)", 0 },
	{ "memory", KEY_MEMORY, "SIZE", 0, "memory, such as 512M or 4G (required)", 0 },
	{ "cmdline", KEY_CMDLINE, "TEXT", 0, "kernel command line (default: console=ttyS0)", 0 },
	{ "vnuma", KEY_VNUMA, "N", 0, "show the guest N NUMA nodes (default: a flat machine)", 0 },
	{ "cell", KEY_CELL, "N", 0, "run it on this cell (default: the one that fits best)", 1 },
	{ "nodes", KEY_NODES, "LIST", 0, "take its memory from these nodes, such as 0,2-3", 1 },
	{ "cells-max", KEY_CELLS_MAX, "N", 0,
		"let it use memory or CPUs of up to N cells, its own included; it ends when any of "
		"those that it uses dies (default: 1, its own alone)",
		1 },
	{ "gang", KEY_GANG, NULL, 0,
		"give each of its vCPUs a CPU that no other of them uses; refused if there are "
		"too few",
		1 },
	{ "heal", KEY_HEAL, NULL, 0,
		"replace pages that are lost to memory errors and that it has not touched yet; "
		"the log that this takes costs an exit per page first touched, and 4 KiB mappings",
		2 },
	{ "restart", KEY_RESTART, "POLICY", 0,
		"never (the default), or on-failure[:MAX]: after a crash or the loss of its cell "
		"it "
		"is started again where there is room, at most MAX times in a row, with growing "
		"pauses; with --cell or --nodes only there",
		2 },
	{ "attach", 'a', NULL, 0,
		"use its console from its first byte on, and wait for its end: exit status 0 if it "
		"powered off, 1 otherwise",
		2 },
	{ "json", 'j', NULL, 0, "print the guest as JSON, for programs", 2 },
	{ 0 },
};

/* Paths are the monitor's to open, and it has another working directory. */
static void take_path(
	char to[SPEC_PATH_BYTES], const char *option, const char *arg, struct argp_state *state)
{
	char cwd[SPEC_PATH_BYTES] = "";
	int n;

	if (*arg == '\0')
		argp_error(state, "%s wants a file", option);
	if (*arg != '/' && !getcwd(cwd, sizeof(cwd)))
		argp_error(state, "%s '%s': the working directory has no path", option, arg);
	n = snprintf(to, SPEC_PATH_BYTES, "%s%s%s", cwd, *cwd ? "/" : "", arg);
	if (n < 0 || n >= (int)SPEC_PATH_BYTES)
		argp_error(
			state, "%s: the path is longer than %u bytes", option, SPEC_PATH_BYTES - 1);
}

static void take_disk(struct guest_spec *s, char *arg, struct argp_state *state)
{
	struct spec_disk *disk = &s->disks[s->disk_count];
	char *comma = strrchr(arg, ',');

	if (s->disk_count == SPEC_DISKS_MAX)
		argp_error(state, "at most %u disks", SPEC_DISKS_MAX);
	/* A comma may be part of the name; only these two words end it. */
	disk->read_only = comma && !strcmp(comma, ",ro");
	if (comma && (disk->read_only || !strcmp(comma, ",rw")))
		*comma = '\0';
	take_path(disk->path, "--disk", arg, state);
	s->disk_count++;
}

static void take_text(
	char *to, size_t room, const char *option, const char *arg, struct argp_state *state)
{
	if (strlen(arg) >= room)
		argp_error(state, "%s is longer than %zu bytes", option, room - 1);
	snprintf(to, room, "%s", arg);
}

static uint32_t take_number(
	const char *option, const char *arg, uint64_t min, uint64_t max, struct argp_state *state)
{
	uint64_t value = 0;
	struct err e;

	if (parse_number(option, arg, min, max, &value, &e))
		argp_error(state, "%s", e.text);
	return (uint32_t)value;
}

static void take_nodes(struct guest_spec *s, const char *arg, struct argp_state *state)
{
	size_t count = 0;
	struct err e;

	if (parse_list("--nodes", arg, s->nodes, SPEC_NODES_MAX, &count, &e))
		argp_error(state, "%s", e.text);
	s->node_count = (uint32_t)count;
}

static void take_memory(struct run_options *o, const char *arg, struct argp_state *state)
{
	struct err e;

	if (parse_size("--memory", arg, &o->spec.memory_bytes, &e))
		argp_error(state, "%s", e.text);
	o->has_memory = true;
}

static void take_restart(struct guest_spec *s, const char *arg, struct argp_state *state)
{
	const char *max = strchr(arg, ':');

	if (strcmp(arg, "never") != 0 && strcmp(arg, "on-failure") != 0 &&
		(strncmp(arg, "on-failure:", 11) != 0 || !max))
		argp_error(state, "--restart wants never or on-failure[:MAX], not '%s'", arg);
	s->restart = arg[0] == 'o';
	s->restart_max =
		max ? take_number("--restart on-failure:MAX", max + 1, 1, SPEC_RESTARTS_MAX, state)
		    : 0;
}

static void take_name(struct guest_spec *s, const char *arg, struct argp_state *state)
{
	struct err e;

	if (s->name[0])
		argp_error(state, "one guest at a time; '%s' is one too many", arg);
	if (guest_name_check(arg, &e))
		argp_error(state, "%s", e.text);
	take_text(s->name, sizeof(s->name), "the name", arg, state);
}

static error_t parse_end(const struct run_options *o, struct argp_state *state)
{
	if (!o->spec.name[0])
		argp_error(state, "the guest needs a name: cellvisor run NAME --kernel FILE ...");
	if (!o->has_kernel)
		argp_error(state, "--kernel FILE is needed: what is guest '%s' to boot?",
			o->spec.name);
	if (!o->has_memory)
		argp_error(state, "--memory SIZE is needed: how much is guest '%s' to get?",
			o->spec.name);
	if (o->attach && o->spec.restart)
		argp_error(state,
			"--attach waits for the end of the guest, and --restart starts it again: "
			"choose one; `cellvisor console %s` shows what it says",
			o->spec.name);
	return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct run_options *o = state->input;
	struct guest_spec *s = &o->spec;

	switch (key) {
	case KEY_KERNEL:
		take_path(s->kernel, "--kernel", arg, state);
		o->has_kernel = true;
		return 0;
	case KEY_INITRD:
		take_path(s->initrd, "--initrd", arg, state);
		return 0;
	case KEY_DISK:
		take_disk(s, arg, state);
		return 0;
	case KEY_CPUS:
		s->cpus = take_number("--cpus", arg, 1, SPEC_CPUS_MAX, state);
		return 0;
	case KEY_MEMORY:
		take_memory(o, arg, state);
		return 0;
	case KEY_CMDLINE:
		take_text(s->cmdline, sizeof(s->cmdline), "--cmdline", arg, state);
		return 0;
	case KEY_VNUMA:
		s->vnuma = take_number("--vnuma", arg, 1, SPEC_VNUMA_MAX, state);
		return 0;
	case KEY_CELL:
		s->cell = take_number("--cell", arg, 0, SPEC_CELL_MAX, state);
		return 0;
	case KEY_NODES:
		take_nodes(s, arg, state);
		return 0;
	case KEY_CELLS_MAX:
		s->cells_max = take_number("--cells-max", arg, 1, SPEC_CELLS_MAX, state);
		return 0;
	case KEY_GANG:
		s->gang = true;
		return 0;
	case KEY_HEAL:
		s->heal = true;
		return 0;
	case KEY_RESTART:
		take_restart(s, arg, state);
		return 0;
	case 'a':
		o->attach = s->wait_console = true;
		return 0;
	case 'j':
		o->json = true;
		return 0;
	case ARGP_KEY_ARG:
		take_name(s, arg, state);
		return 0;
	case ARGP_KEY_END:
		return parse_end(o, state);
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "NAME",
	.doc = "Starts a guest: a virtual machine with a Linux kernel, in a process of its own on "
	       "one cell, its memory and vCPUs on the same nodes. Says where it was placed and "
	       "why.\v"
	       "Examples:\n"
	       "  cellvisor run web --kernel /boot/vmlinuz --initrd /boot/initrd.img \\\n"
	       "            --disk web.img --cmdline 'console=ttyS0 root=/dev/vda' --memory 4G\n"
	       "  cellvisor run db --kernel bzImage --disk db.img --disk seed.img,ro \\\n"
	       "            --cpus 8 --memory 16G --nodes 0-1 --vnuma 2\n"
	       "  cellvisor run test --kernel bzImage --memory 256M --cell 3 --attach",
};

static void print_progress(void *ctx, const json_t *line)
{
	(void)ctx;
	if (isatty(2))
		fprintf(stderr, "%s\n", cli_text(line, "progress"));
}

static int ask(const struct guest_spec *spec, json_t **reply, struct err *e)
{
	json_t *value = guest_spec_encode(spec);
	struct client *c = NULL;
	int rc;

	if (!value)
		return err_set(e, EXIT_USAGE, "paths and the command line have to be UTF-8");
	rc = client_open(&c, CLIENT_ANY_CELL, e);
	if (rc) {
		json_decref(value);
		return rc;
	}
	rc = client_request(c, json_pack("{s:s, s:o}", "op", "run", "spec", value), RUN_TIMEOUT_MS,
		print_progress, NULL, reply, e);
	client_close(c);
	return rc;
}

/* Its console has closed: how did it end? */
static int await_end(const char *name)
{
	for (int tenths = 0; tenths < END_TENTHS; tenths++) {
		const json_t *guest;
		json_t *reply;
		struct err e;
		bool stopped;

		if (client_ask(json_pack("{s:s, s:s}", "op", "show", "name", name), SHOW_TIMEOUT_MS,
			    &reply, &e))
			return cli_fail(&e);
		guest = json_object_get(reply, "guest");
		stopped = !strcmp(cli_text(guest, "state"), "stopped");
		if (stopped || !strcmp(cli_text(guest, "state"), "crashed") ||
			!strcmp(cli_text(guest, "state"), "lost")) {
			if (!stopped)
				cli_error(EXIT_FAILED, "guest '%s' %s: %s", name,
					cli_text(guest, "state"), cli_text(guest, "cause"));
			json_decref(reply);
			return stopped ? EXIT_OK : EXIT_FAILED;
		}
		json_decref(reply);
		usleep(100000);
	}
	return cli_error(EXIT_NO_ANSWER, "guest '%s' closed its console but runs on", name);
}

static int attach(const json_t *guest)
{
	const char *name = cli_text(guest, "name");
	struct err e;
	int fd = attach_connect(cli_text(guest, "console"), name, &e);
	enum attach_end end;

	if (fd < 0)
		return cli_fail(&e);
	end = attach_run(fd, true);
	close(fd);
	if (end == ATTACH_CLOSED)
		return await_end(name);
	fprintf(stderr, "\nguest '%s' runs on; `cellvisor console %s` comes back to it\n", name,
		name);
	return EXIT_OK;
}

int cli_run(int argc, char **argv)
{
	struct run_options *o = calloc(1, sizeof(*o));
	json_t *reply = NULL;
	struct err e;
	int status = EXIT_OK;

	CHECK(o != NULL);
	guest_spec_init(&o->spec);
	strcpy(o->spec.cmdline, "console=ttyS0");
	argp_parse(&argp, argc, argv, 0, NULL, o);
	if (guest_spec_check(&o->spec, &e) || ask(&o->spec, &reply, &e)) {
		free(o);
		return cli_fail(&e);
	}
	if (o->json)
		cli_print_json(json_object_get(reply, "guest"));
	else if (o->attach)
		fprintf(stderr, "%s\n", cli_text(reply, "text"));
	else
		printf("%s\n", cli_text(reply, "text"));
	fflush(stdout);
	if (o->attach)
		status = attach(json_object_get(reply, "guest"));
	json_decref(reply);
	free(o);
	return status;
}
