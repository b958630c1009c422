/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/guest/spec.h"

#include "monitor/guest/fields.h"
#include "monitor/kvm/cpuid.h"

#include <stdlib.h>
#include <string.h>

#define MIB (1ull << 20)

void guest_spec_init(struct guest_spec *s)
{
	memset(s, 0, sizeof(*s));
	s->cpus = 1;
	s->cell = SPEC_ANY_CELL;
	s->cells_max = 1;
}

/* Not isalnum(): names don't depend on the locale. */
static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

int guest_name_check(const char *name, struct err *e)
{
	size_t length = strnlen(name, SPEC_NAME_MAX + 1);
	bool good = length >= 1 && length <= SPEC_NAME_MAX && is_alnum(name[0]);

	for (size_t i = 0; good && i < length; i++)
		good = is_alnum(name[i]) || name[i] == '.' || name[i] == '_' || name[i] == '-';
	if (good)
		return 0;
	return err_set(e, EXIT_USAGE,
		"'%.40s' is no name for a guest: use 1 to %u letters, digits, '.', '_' or '-', "
		"beginning with a letter or digit",
		name, SPEC_NAME_MAX);
}

static int check_path(const char *what, const char *path, struct err *e)
{
	if (path[0] == '/')
		return 0;
	return err_set(e, EXIT_INVALID, "%s '%.200s' has to be an absolute path", what, path);
}

static int check_memory(const struct guest_spec *s, struct err *e)
{
	uint64_t nodes = s->vnuma ? s->vnuma : 1;

	if (s->memory_bytes < SPEC_MEMORY_MIN * nodes)
		return err_set(e, EXIT_INVALID,
			"%llu MiB of memory are too little: a guest%s needs at least %llu MiB",
			(unsigned long long)(s->memory_bytes / MIB),
			s->vnuma > 1 ? " with that many NUMA nodes" : "",
			(unsigned long long)(SPEC_MEMORY_MIN * nodes / MIB));
	if (s->memory_bytes > SPEC_MEMORY_MAX)
		return err_set(e, EXIT_INVALID,
			"more than %llu TiB of memory can't be given to a guest",
			(unsigned long long)(SPEC_MEMORY_MAX >> 40));
	if (s->memory_bytes % SPEC_MEMORY_UNIT) {
		uint64_t below = s->memory_bytes / SPEC_MEMORY_UNIT * SPEC_MEMORY_UNIT;

		return err_set(e, EXIT_INVALID,
			"memory has to be a multiple of %llu MiB: use %llu or %llu MiB",
			SPEC_MEMORY_UNIT / MIB, (unsigned long long)(below / MIB),
			(unsigned long long)((below + SPEC_MEMORY_UNIT) / MIB));
	}
	return 0;
}

static int check_cpus(const struct guest_spec *s, struct err *e)
{
	struct cpuid_topology topology;

	if (s->cpus < 1 || s->cpus > SPEC_CPUS_MAX)
		return err_set(e, EXIT_USAGE, "a guest can have 1 to %u CPUs, not %u",
			SPEC_CPUS_MAX, s->cpus);
	if (s->vnuma > SPEC_VNUMA_MAX)
		return err_set(e, EXIT_INVALID, "a guest can see up to %u NUMA nodes, not %u",
			SPEC_VNUMA_MAX, s->vnuma);
	if (s->vnuma > s->cpus)
		return err_set(e, EXIT_INVALID,
			"%u NUMA nodes need at least as many CPUs; the guest has %u", s->vnuma,
			s->cpus);
	if (s->cells_max < 1 || s->cells_max > SPEC_CELLS_MAX)
		return err_set(e, EXIT_INVALID, "a guest can need 1 to %u cells, not %u",
			SPEC_CELLS_MAX, s->cells_max);
	return cpuid_topology_init(&topology, s->cpus, s->vnuma ? s->vnuma : 1, e);
}

static int check_restart(const struct guest_spec *s, struct err *e)
{
	size_t bytes = strlen(s->kernel) + strlen(s->initrd) + strlen(s->cmdline);

	if (!s->restart)
		return s->restart_max == 0 && s->restarts == 0
			       ? 0
			       : err_set(e, EXIT_INVALID,
					 "restarts are counted of a guest that is restarted only");
	if (s->wait_console)
		return err_set(e, EXIT_INVALID,
			"a guest whose console is attached from its first byte on can't be "
			"restarted: nobody would be there to attach again");
	for (uint32_t i = 0; i < s->disk_count; i++)
		bytes += strlen(s->disks[i].path);
	if (bytes > SPEC_RESTART_TEXT_BYTES)
		return err_set(e, EXIT_INVALID,
			"paths and command line of a guest that is restarted have %zu bytes; "
			"%u are possible",
			bytes, SPEC_RESTART_TEXT_BYTES);
	return 0;
}

static int check_lists(const struct guest_spec *s, struct err *e)
{
	for (uint32_t i = 0; i < s->disk_count; i++) {
		int rc = check_path("disk", s->disks[i].path, e);

		if (rc)
			return rc;
		for (uint32_t k = 0; k < i; k++)
			if (!strcmp(s->disks[i].path, s->disks[k].path))
				return err_set(e, EXIT_INVALID, "disk '%.200s' is given twice",
					s->disks[i].path);
	}
	for (uint32_t i = 1; i < s->node_count; i++)
		if (s->nodes[i] <= s->nodes[i - 1])
			return err_set(
				e, EXIT_INVALID, "nodes have to be in ascending order, each once");
	return 0;
}

int guest_spec_check(const struct guest_spec *s, struct err *e)
{
	int rc = guest_name_check(s->name, e);

	if (!rc)
		rc = check_path("kernel", s->kernel, e);
	if (!rc && s->initrd[0])
		rc = check_path("initrd", s->initrd, e);
	if (!rc)
		rc = check_cpus(s, e);
	if (!rc)
		rc = check_memory(s, e);
	if (!rc)
		rc = check_lists(s, e);
	if (!rc)
		rc = check_restart(s, e);
	return rc;
}

static json_t *encode_disks(const struct guest_spec *s)
{
	json_t *disks = json_array();

	for (uint32_t i = 0; i < s->disk_count; i++)
		json_array_append_new(disks, json_pack("{s:s,s:b}", "path", s->disks[i].path,
						     "read_only", (int)s->disks[i].read_only));
	return disks;
}

static json_t *encode_nodes(const struct guest_spec *s)
{
	json_t *nodes = json_array();

	for (uint32_t i = 0; i < s->node_count; i++)
		json_array_append_new(nodes, json_integer(s->nodes[i]));
	return nodes;
}

json_t *guest_spec_encode(const struct guest_spec *s)
{
	json_t *value = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:o, s:o}", "name", s->name,
		"kernel", s->kernel, "cmdline", s->cmdline, "cpus", (json_int_t)s->cpus,
		"memory_bytes", (json_int_t)s->memory_bytes, "vnuma", (json_int_t)s->vnuma, "disks",
		encode_disks(s), "nodes", encode_nodes(s));

	if (!value)
		return NULL;
	if (s->initrd[0])
		json_object_set_new(value, "initrd", json_string(s->initrd));
	if (s->cell != SPEC_ANY_CELL)
		json_object_set_new(value, "cell", json_integer(s->cell));
	if (s->cells_max != 1)
		json_object_set_new(value, "cells_max", json_integer(s->cells_max));
	if (s->heal)
		json_object_set_new(value, "heal", json_true());
	if (s->restart)
		json_object_set_new(value, "restart", json_true());
	if (s->restart_max)
		json_object_set_new(value, "restart_max", json_integer(s->restart_max));
	if (s->restarts)
		json_object_set_new(value, "restarts", json_integer(s->restarts));
	if (s->wait_console)
		json_object_set_new(value, "wait_console", json_true());
	if (s->gang)
		json_object_set_new(value, "gang", json_true());
	return value;
}

static void decode_disks(struct fields *f, struct guest_spec *s)
{
	static const char *const known[] = { "path", "read_only", NULL };
	const json_t *disks = fields_array(f, "disks", SPEC_DISKS_MAX);
	struct fields disk;

	s->disk_count = (uint32_t)json_array_size(disks);
	for (uint32_t i = 0; i < s->disk_count && !f->rc; i++) {
		fields_begin(&disk, json_array_get(disks, i), "disk", known, f->e);
		fields_text(&disk, "path", s->disks[i].path, SPEC_PATH_BYTES, true);
		fields_bool(&disk, "read_only", &s->disks[i].read_only);
		f->rc = disk.rc;
	}
}

static int decode(const json_t *value, struct guest_spec *s, struct err *e)
{
	static const char *const known[] = { "name", "kernel", "initrd", "disks", "cmdline", "cpus",
		"memory_bytes", "vnuma", "cell", "nodes", "cells_max", "heal", "wait_console",
		"gang", "restart", "restart_max", "restarts", NULL };
	struct fields f;

	guest_spec_init(s);
	fields_begin(&f, value, "spec", known, e);
	fields_text(&f, "name", s->name, sizeof(s->name), true);
	fields_text(&f, "kernel", s->kernel, sizeof(s->kernel), true);
	fields_text(&f, "initrd", s->initrd, sizeof(s->initrd), false);
	fields_text(&f, "cmdline", s->cmdline, sizeof(s->cmdline), false);
	fields_u32(&f, "cpus", 0, UINT32_MAX, &s->cpus, true);
	fields_number(&f, "memory_bytes", 0, INT64_MAX, &s->memory_bytes, true);
	fields_u32(&f, "vnuma", 0, SPEC_VNUMA_MAX, &s->vnuma, false);
	fields_u32(&f, "cell", 0, SPEC_CELL_MAX, &s->cell, false);
	fields_list(&f, "nodes", UINT16_MAX, s->nodes, SPEC_NODES_MAX, &s->node_count, false);
	fields_u32(&f, "cells_max", 0, UINT32_MAX, &s->cells_max, false);
	fields_bool(&f, "heal", &s->heal);
	fields_bool(&f, "wait_console", &s->wait_console);
	fields_bool(&f, "restart", &s->restart);
	fields_u32(&f, "restart_max", 0, SPEC_RESTARTS_MAX, &s->restart_max, false);
	fields_u32(&f, "restarts", 0, SPEC_RESTARTS_MAX, &s->restarts, false);
	fields_bool(&f, "gang", &s->gang);
	decode_disks(&f, s);
	return f.rc ? f.rc : guest_spec_check(s, e);
}

int guest_spec_decode(const json_t *value, struct guest_spec *s, struct err *e)
{
	struct guest_spec *made = malloc(sizeof(*made));
	int rc;

	if (!made)
		return err_set(e, EXIT_FAILED, "out of memory");
	rc = decode(value, made, e);
	if (!rc)
		*s = *made;
	free(made);
	return rc;
}
