/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "numa/cells.h"
#include "numa/host/discover.h"

#define GIB (1ull << 30)

static struct machine machine_of(const char *file)
{
	struct err e = { 0 };
	struct machine m;
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", FIXTURES, file);
	cr_assert_eq(discover_xml(path, &m, &e), 0, "%s", e.text);
	return m;
}

static void assert_node(
	const struct machine *m, uint32_t n, uint32_t os_node, const char *cpus, uint64_t bytes)
{
	char text[64];

	cr_assert_geq(cpu_set_format(&m->nodes[n].cpus, text, sizeof(text)), 0);
	cr_assert_eq(m->nodes[n].os_node, os_node);
	cr_assert_str_eq(text, cpus);
	cr_assert_eq(m->nodes[n].memory_bytes, bytes, "node %u: %llu", os_node,
		(unsigned long long)m->nodes[n].memory_bytes);
}

static void assert_distances(const struct machine *m, uint32_t n, const uint8_t *row)
{
	for (uint32_t k = 0; k < m->node_count; k++)
		cr_assert_eq(
			m->distance[n][k], row[k], "from %u to %u: %u", n, k, m->distance[n][k]);
}

static void assert_cells(const struct machine *m, const char *expected)
{
	struct cells c;
	char text[64];

	cells_default(m, &c);
	cr_assert_geq(cells_format(m, &c, text, sizeof(text)), 0);
	cr_assert_str_eq(text, expected);
}

Test(discover, one_node)
{
	struct machine m = machine_of("one-node.xml");

	cr_assert_eq(m.node_count, 1);
	assert_node(&m, 0, 0, "0-1", GIB);
	assert_cells(&m, "0");
}

Test(discover, distances_that_are_missing_are_10_and_20)
{
	struct machine m = machine_of("two-sockets.xml");

	cr_assert_eq(m.node_count, 2);
	assert_node(&m, 0, 0, "0-5", 32 * GIB);
	assert_node(&m, 1, 1, "6-11", 32 * GIB);
	assert_distances(&m, 0, (const uint8_t[]){ 10, 20 });
	assert_distances(&m, 1, (const uint8_t[]){ 20, 10 });
	assert_cells(&m, "0/1");
}

Test(discover, nodes_come_in_the_kernels_order_and_distances_with_their_direction)
{
	struct machine m = machine_of("four-asymmetric.xml");

	cr_assert_eq(m.node_count, 4);
	assert_node(&m, 0, 0, "0-1,3", 2 * GIB);
	assert_node(&m, 1, 2, "4-7", 8 * GIB);
	assert_node(&m, 2, 4, "12-15", 6 * GIB);
	assert_node(&m, 3, 9, "11", 4 * GIB);
	assert_distances(&m, 0, (const uint8_t[]){ 10, 28, 40, 16 });
	assert_distances(&m, 1, (const uint8_t[]){ 22, 10, 12, 31 });
	assert_distances(&m, 2, (const uint8_t[]){ 42, 13, 10, 24 });
	assert_distances(&m, 3, (const uint8_t[]){ 16, 33, 26, 10 });
	assert_cells(&m, "0/2/4/9");
}

Test(discover, eight_nodes)
{
	struct machine m = machine_of("eight-nodes.xml");

	cr_assert_eq(m.node_count, 8);
	assert_node(&m, 5, 5, "10-11", 16 * GIB);
	assert_distances(&m, 6, (const uint8_t[]){ 32, 32, 32, 32, 16, 12, 10, 12 });
	assert_cells(&m, "0/1/2/3/4/5/6/7");
}

/*
 * Captured in the box: node 3 is memory only, and hwloc gives it the CPUs of the
 * nearest node; the only CPU of node 2 is offline.
 */
Test(discover, memory_only_nodes_and_offline_cpus)
{
	struct machine m = machine_of("box-memory-only-offline.xml");

	cr_assert_eq(m.node_count, 4);
	assert_node(&m, 0, 0, "0-1", 790970368);
	assert_node(&m, 1, 1, "2-4", 1009664000);
	assert_node(&m, 2, 2, "", 460804096);
	assert_node(&m, 3, 3, "", 657510400);
	assert_distances(&m, 3, (const uint8_t[]){ 17, 38, 19, 10 });
	assert_cells(&m, "0,2,3/1");
}

Test(discover, synthetic_machines)
{
	struct err e = { 0 };
	struct machine m;

	cr_assert_eq(discover_synthetic("numa:4 core:2 pu:2", &m, &e), 0, "%s", e.text);
	cr_assert_eq(m.node_count, 4);
	assert_node(&m, 3, 3, "12-15", GIB);
	cr_assert_eq(m.distance[1][2], 20);
	cr_assert_eq(discover_synthetic(
			     "[numa(memory=4096)] pack:2 [numa(memory=8192)] core:1 pu:1", &m, &e),
		0, "%s", e.text);
	cr_assert_eq(m.node_count, 3, "a memory-only node that is close to both");
	cr_assert_eq(cpu_set_count(&m.nodes[0].cpus) + cpu_set_count(&m.nodes[1].cpus) +
			     cpu_set_count(&m.nodes[2].cpus),
		2);
	for (uint32_t n = 0; n < 3; n++)
		cr_assert_eq(cpu_set_empty(&m.nodes[n].cpus), m.nodes[n].memory_bytes == 4096);
	cr_assert_eq(discover_synthetic("numa:64 pu:32", &m, &e), 0, "%s", e.text);
	cr_assert_eq(m.node_count, 64);
	assert_node(&m, 63, 63, "2016-2047", GIB);
}

static const char *write_file(const char *text, size_t bytes)
{
	static char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/tmp/cv-discover-%d.xml", getpid());
	file = fopen(path, "w");
	cr_assert_not_null(file);
	cr_assert_eq(fwrite(text, 1, bytes, file), bytes);
	fclose(file);
	return path;
}

/* four-asymmetric.xml with one text replaced by another. */
static const char *altered(const char *from, const char *to)
{
	char path[512], text[16384], out[16384];
	size_t bytes;
	FILE *file;
	char *at;

	snprintf(path, sizeof(path), "%s/four-asymmetric.xml", FIXTURES);
	file = fopen(path, "r");
	cr_assert_not_null(file);
	bytes = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[bytes] = '\0';
	at = strstr(text, from);
	cr_assert_not_null(at, "%s", from);
	snprintf(out, sizeof(out), "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
	return write_file(out, strlen(out));
}

Test(discover, other_scales_are_brought_to_that_of_slit)
{
	static const struct {
		const char *values;
		uint8_t row[4];
	} scales[] = {
		{ ">80 99 88 40 ", { 10, 12, 10, 11 } },
		{ ">01 28 04 16 ", { 10, 255, 160, 40 } },
		{ ">00 28 04 99 ", { 10, 28, 99, 10 } },
	};

	for (size_t i = 0; i < sizeof(scales) / sizeof(scales[0]); i++) {
		const char *path = altered(">10 28 16 40 ", scales[i].values);
		struct err e = { 0 };
		struct machine m;

		cr_assert_eq(discover_xml(path, &m, &e), 0, "%s", e.text);
		assert_distances(&m, 0, scales[i].row);
		unlink(path);
	}
}

Test(discover, what_is_no_machine_is_refused_with_its_name)
{
	static const struct {
		const char *what, *from, *to;
	} rejects[] = {
		{ "distances too short", "length=\"30\"", "length=\"3\"" },
		{ "cut tags", "</topology>", "" },
		{ "no topology", "<topology", "<geometry" },
		{ "hostile nesting", "<object type=\"Machine\"", "<object type=\"NUMANode\"" },
	};
	struct err e = { 0 };
	struct machine m;

	for (size_t i = 0; i < sizeof(rejects) / sizeof(rejects[0]); i++) {
		const char *path = altered(rejects[i].from, rejects[i].to);

		cr_assert_lt(discover_xml(path, &m, &e), 0, "%s", rejects[i].what);
		cr_assert_eq(e.code, EXIT_INVALID);
		cr_assert_not_null(strstr(e.text, path), "%s", e.text);
		unlink(path);
	}
	cr_assert_lt(discover_xml("/nonexistent/machine.xml", &m, &e), 0);
	cr_assert_not_null(strstr(e.text, "/nonexistent/machine.xml: no such file"), "%s", e.text);
	cr_assert_eq(e.code, EXIT_INVALID);
	cr_assert_lt(discover_xml(write_file("", 0), &m, &e), 0);
	cr_assert_lt(discover_xml(write_file("\0\1\2", 3), &m, &e), 0);
	cr_assert_lt(discover_xml("/tmp", &m, &e), 0);
}

Test(discover, descriptions_that_are_no_machine_are_refused)
{
	static const char *const rejects[] = { "", "numa", "numa:0 pu:1", "frog:2 pu:1",
		"numa:4:pu", "pu:-1", "numa:65 pu:1" };
	struct err e = { 0 };
	struct machine m;

	for (size_t i = 0; i < sizeof(rejects) / sizeof(rejects[0]); i++) {
		cr_assert_lt(discover_synthetic(rejects[i], &m, &e), 0, "'%s'", rejects[i]);
		cr_assert_eq(e.code, EXIT_INVALID, "'%s'", rejects[i]);
	}
}

/* Against the kernel's own words, where there are any. */
Test(discover, this_machine)
{
	struct err e = { 0 };
	struct machine m;
	char line[8192];
	FILE *file;

	cr_assert_eq(discover_this_machine(&m, &e), 0, "%s", e.text);
	cr_assert_eq(machine_check(&m), MACHINE_OK);
	for (uint32_t n = 0; n < m.node_count; n++) {
		struct cpu_set cpus;

		snprintf(line, sizeof(line), "/sys/devices/system/node/node%u/cpulist",
			m.nodes[n].os_node);
		file = fopen(line, "r");
		if (!file)
			cr_skip_test("no NUMA in this kernel");
		if (!fgets(line, sizeof(line), file) || cpu_set_parse(line, &cpus) != 0)
			cpus = (struct cpu_set){ 0 };
		fclose(file);
		/* Ours may be fewer: offline, or not allowed to us. */
		for (uint32_t cpu = cpu_set_next(&m.nodes[n].cpus, 0); cpu != CPU_NONE;
			cpu = cpu_set_next(&m.nodes[n].cpus, cpu + 1))
			cr_assert(cpu_set_has(&cpus, cpu), "CPU %u, node %u", cpu, n);
	}
}

Test(discover, another_machine_in_the_environment_is_not_this_one)
{
	struct err e = { 0 };
	struct machine m;

	setenv("HWLOC_SYNTHETIC", "numa:4 pu:1", 1);
	cr_assert_lt(discover_this_machine(&m, &e), 0);
	cr_assert_eq(e.code, EXIT_ENVIRONMENT);
	cr_assert_not_null(strstr(e.text, "HWLOC_SYNTHETIC"));
}
