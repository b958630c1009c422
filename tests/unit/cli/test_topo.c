/* SPDX-License-Identifier: BSD-2-Clause */
/* The picture of a machine, and what `topo --live` makes of a monitor's reply. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/cli/topo_live.h"

#define GIB (1ull << 30)
#define MIB (1ull << 20)

/* Nodes 1, 3 and 6; the last has memory only and belongs to the first cell. */
static struct machine machine_of_three(void)
{
	struct machine m = {
		.node_count = 3,
		.nodes = {
			{ .os_node = 1, .memory_bytes = 2 * GIB },
			{ .os_node = 3, .memory_bytes = 4 * GIB },
			{ .os_node = 6, .memory_bytes = 8 * GIB },
		},
		.distance = { { 10, 21, 17 }, { 22, 10, 38 }, { 17, 38, 10 } },
	};

	cr_assert_eq(cpu_set_parse("4-6", &m.nodes[0].cpus), 0);
	cr_assert_eq(cpu_set_parse("2", &m.nodes[1].cpus), 0);
	return m;
}

static char *draw(const struct picture *p, uint32_t columns, bool utf8, bool colour)
{
	struct picture_style style = { .columns = columns, .utf8 = utf8, .colour = colour };
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	picture_draw(p, &style, out);
	fclose(out);
	return text;
}

/* Columns of the longest line: continuation bytes of UTF-8 and escape sequences take none. */
static uint32_t widest(const char *text)
{
	uint32_t column = 0, most = 0;

	for (; *text; text++) {
		if (*text == '\033') {
			text += strcspn(text, "m");
			continue;
		}
		column = *text == '\n' ? 0 : column + (((unsigned char)*text & 0xc0) != 0x80);
		most = column > most ? column : most;
	}
	return most;
}

static void assert_same(char *text, const char *expected)
{
	cr_assert_str_eq(text, expected, "\n%s", text);
	free(text);
}

Test(picture, of_a_machine_before_its_cells_are_up)
{
	struct machine m = machine_of_three();
	struct cells c;
	struct picture p = { .machine = &m, .cells = &c };

	cells_default(&m, &c);
	assert_same(draw(&p, 80, false, false),
		"3 nodes, 4 CPUs, 14 GiB of memory; 2 cells, not started: `cellvisor up`\n"
		"+- cell 0 ----------------------------+ +- cell 1 ----------------------------+\n"
		"| node 1  CPUs 4-6                    | | node 3  CPU 2                       |\n"
		"|   ............ 2 GiB                | |   ............ 4 GiB                |\n"
		"| node 6  no CPUs, memory only        | |                                     |\n"
		"|   ............ 8 GiB                | |                                     |\n"
		"+-------------------------------------+ +-------------------------------------+\n"
		"distances\n"
		"   to node    1    3    6\n"
		"         1   10   21   17\n"
		"         3   22   10   38\n"
		"         6   17   38   10\n");
}

Test(picture, of_guests_alive_and_lost)
{
	struct machine m = machine_of_three();
	struct cells c;
	struct picture_cell states[] = { { "alive", true, 9 * GIB + 512 * MIB },
		{ "dead", false, 0 } };
	struct picture_guest guests[] = {
		{ "birch", "lost", 1, 1, GIB, 1, { 3 }, { GIB } },
		{ "alder", "running", 0, 2, 3 * GIB, 2, { 1, 6 }, { GIB, 2 * GIB } },
		{ "elm", "stopped", 0, 1, GIB, 1, { 1 }, { GIB } },
	};
	struct picture p = { &m, &c, states, guests, 3 };

	cells_default(&m, &c);
	/* So that the lines stay whole: */
	/* clang-format off */
	assert_same(draw(&p, 100, true, false),
		"3 nodes, 4 CPUs, 14 GiB of memory; 2 cells\n"
		"┌─ cell 0 ● alive ─────────────── 9.5 GiB free ─┐ ┌─ cell 1 ✗ dead ───────────────────────────────┐\n"
		"│ node 1  CPUs 4-6                              │ │ node 3  CPU 2                                 │\n"
		"│   ██████░░░░░░ 1 GiB of 2 GiB                 │ │   ░░░░░░░░░░░░ 4 GiB, out of use              │\n"
		"│ node 6  no CPUs, memory only                  │ │ ✗ lost     birch 1 vCPU, 1 GiB                │\n"
		"│   ███░░░░░░░░░ 2 GiB of 8 GiB                 │ │                                               │\n"
		"│ ● running  alder 2 vCPUs, 3 GiB on nodes 1,6  │ │                                               │\n"
		"│ ○ stopped  elm   1 vCPU, 1 GiB on node 1      │ │                                               │\n"
		"└───────────────────────────────────────────────┘ └───────────────────────────────────────────────┘\n"
		"distances\n"
		"   to node    1    3    6\n"
		"         1   10   21   17\n"
		"         3   22   10   38\n"
		"         6   17   38   10\n");
	/* clang-format on */
}

Test(picture, fits_whatever_there_is_to_show)
{
	static const uint32_t columns[] = { 1, 60, 79, 80, 100, 120, 5000 };
	struct picture_guest guests[40] = { 0 };
	struct picture_cell states[CELLS_MAX] = { 0 };
	struct machine m = { .node_count = MACHINE_NODES_MAX };
	struct cells c;
	struct picture p = { &m, &c, states, guests, 40 };

	for (uint32_t n = 0; n < m.node_count; n++) {
		m.nodes[n].os_node = 10 * n + 300;
		m.nodes[n].memory_bytes = 999 * GIB + 999 * MIB * n;
		for (uint32_t k = 0; k < m.node_count; k++)
			m.distance[n][k] = n == k ? 10 : (uint8_t)(11 + (n * k) % 200);
		for (uint32_t cpu = n; cpu < CPU_SET_CPUS; cpu += 64)
			cpu_set_add(&m.nodes[n].cpus, cpu);
		snprintf(states[n].state, sizeof(states[n].state), "%s",
			n % 2 ? "suspect" : "silent");
		states[n].free_known = true;
		states[n].free_bytes = UINT64_MAX;
	}
	cells_default(&m, &c);
	for (uint32_t i = 0; i < 40; i++) {
		memset(guests[i].name, 'g', PICTURE_WORD_BYTES - 1);
		snprintf(guests[i].state, sizeof(guests[i].state), "unmanaged");
		guests[i].vcpus = UINT32_MAX;
		guests[i].memory_bytes = UINT64_MAX;
		guests[i].cell = i % 2 ? 63 : 7;
		guests[i].node_count = 2;
		guests[i].os_nodes[0] = 930;
		guests[i].os_nodes[1] = 370;
		guests[i].node_bytes[1] = UINT64_MAX;
	}
	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
		char *text = draw(&p, columns[i], true, true);
		uint32_t most = columns[i] < 60 ? 60 : columns[i] > 200 ? 200 : columns[i];

		cr_assert_leq(widest(text), most, "%u columns in %u", widest(text), columns[i]);
		cr_assert_null(strstr(text, " \n"), "trailing blanks");
		cr_assert_not_null(strstr(text, "and 9 more"));
		free(text);
	}
}

Test(picture, sizes_are_not_cut_at_80_columns)
{
	struct machine m = machine_of_three();
	struct cells c;
	struct picture_cell states[3] = { { "alive", true, 1000 * MIB }, { "alive", true, 0 } };
	struct picture_guest guests[] = { { "alder", "running", 1, 1, 1001 * MIB, 1, { 3 },
		{ 0 } } };
	struct picture p = { &m, &c, states, guests, 1 };
	char *text;

	m.nodes[1].memory_bytes = 1023 * MIB;
	cells_default(&m, &c);
	text = draw(&p, 80, true, false);
	cr_assert_not_null(strstr(text, "███████████░ 1001 MiB of 1023 MiB │"), "%s", text);
	free(text);
}

Test(picture, ascii_without_colour_is_ascii)
{
	struct machine m = machine_of_three();
	struct cells c;
	struct picture_cell states[] = { { "alive", true, GIB }, { "suspect", false, 0 } };
	struct picture_guest guests[] = { { "na\033[31m\xff\n", "crashed", 1, 1, GIB, 0, { 0 },
		{ 0 } } };
	struct picture p = { &m, &c, states, guests, 1 };
	char *text;

	cells_default(&m, &c);
	text = draw(&p, 80, false, false);
	for (const char *at = text; *at; at++)
		cr_assert(*at == '\n' || (*at >= ' ' && *at <= '~'), "%s", text);
	cr_assert_not_null(strstr(text, "na?[31m??"), "%s", text);
	free(text);
}

static json_t *reply_of(const char *text)
{
	json_t *reply = json_loads(text, 0, NULL);

	cr_assert_not_null(reply, "%s", text);
	return reply;
}

#define CELLS                                                                                      \
	"'cells':[{'cell':1,'nodes':[1,9],'state':'dead','free_bytes':null},"                      \
	"{'cell':0,'nodes':[3,6],'state':'alive','free_bytes':1073741824}]"

/* JSON with ' for ". */
static int read_live(struct live **live, const struct machine *m, const char *text, struct err *e)
{
	char copy[1024];
	json_t *reply;
	int rc;

	snprintf(copy, sizeof(copy), "%s", text);
	for (char *at = copy; *at; at++)
		*at = *at == '\'' ? '"' : *at;
	reply = reply_of(copy);
	rc = live_read(live, m, reply, e);
	json_decref(reply);
	return rc;
}

Test(live, is_read_from_a_monitors_reply)
{
	struct machine m = machine_of_three();
	struct live *live;
	struct err e;
	int rc = read_live(&live, &m,
		"{" CELLS ",'guests':[{'name':'alder','state':'running','cell':0,'cpus':3,"
		"'memory_bytes':4096,'nodes':[6,3],'node_bytes':[4096,0]},"
		"{'name':'birch','state':'lost','cell':1,'cpus':1,'memory_bytes':7,'nodes':[]}]}",
		&e);

	cr_assert_eq(rc, 0, "%s", e.text);
	cr_assert_eq(live->cells.cell_count, 2);
	cr_assert_eq(cells_of_node(&live->cells, 0), 1, "node 1");
	cr_assert_eq(cells_of_node(&live->cells, 2), 0, "node 6");
	cr_assert_eq(live->cells.cells[1].node_count, 1, "node 9 left the machine");
	cr_assert_str_eq(live->states[1].state, "dead");
	cr_assert(!live->states[1].free_known);
	cr_assert(live->states[0].free_known);
	cr_assert_eq(live->states[0].free_bytes, GIB);
	cr_assert_eq(live->picture.guest_count, 2);
	cr_assert_str_eq(live->guests[0].name, "alder");
	cr_assert_eq(live->guests[0].os_nodes[0], 6);
	cr_assert_eq(live->guests[0].node_bytes[0], 4096);
	cr_assert_eq(live->guests[0].vcpus, 3);
	cr_assert_eq(live->guests[1].cell, 1);
	cr_assert_eq(live->guests[1].node_count, 0);
	free(draw(&live->picture, 80, true, false));
	live_free(live);
}

Test(live, a_cell_whose_nodes_are_all_gone_is_still_shown)
{
	struct machine m = machine_of_three();
	struct live *live;
	struct err e;
	char *text;

	cr_assert_eq(read_live(&live, &m,
			     "{'cells':[{'cell':0,'nodes':[9],'state':'dead'},"
			     "{'cell':1,'nodes':[1,3,6],'state':'alive'}],'guests':[]}",
			     &e),
		0);
	text = draw(&live->picture, 80, false, false);
	cr_assert_not_null(strstr(text, "cell 0 x dead"), "%s", text);
	free(text);
	live_free(live);
}

Test(live, replies_that_make_no_sense_are_refused)
{
	static const char *const rejects[] = {
		"{}",
		"[]",
		"{'cells':[]}",
		"{'cells':{}}",
		"{'cells':[{'nodes':[1]}]}",
		"{'cells':[{'cell':1,'nodes':[1]}]}",
		"{'cells':[{'cell':-1,'nodes':[1]}]}",
		"{'cells':[{'cell':0,'nodes':[1]},{'cell':0,'nodes':[3]}]}",
		"{'cells':[{'cell':0,'nodes':[1,1]}]}",
		"{'cells':[{'cell':0,'nodes':[1]},{'cell':1,'nodes':[1]}]}",
		"{'cells':[{'cell':0,'nodes':['1']}]}",
		"{'cells':[{'cell':0,'nodes':[-1]}]}",
		"{'cells':[{'cell':0,'nodes':[4294967296]}]}",
		"{" CELLS
		",'guests':[{'name':'a','state':'running','cell':2,'cpus':1,'memory_bytes':1}]}",
		"{" CELLS ",'guests':[{'name':'a','state':'running','cpus':1,'memory_bytes':1}]}",
		"{" CELLS ",'guests':[{'name':'a','state':'running','cell':0,'memory_bytes':1}]}",
		"{" CELLS
		",'guests':[{'name':'a','state':'running','cell':0,'cpus':1,'memory_bytes':-1}]}",
		"{" CELLS ",'guests':[{'cell':0,'cpus':1,'memory_bytes':1,'nodes':[-3]}]}",
		"{" CELLS ",'guests':[{'cell':0,'cpus':1,'memory_bytes':1,'nodes':[1.5]}]}",
		"{" CELLS
		",'guests':[{'cell':0,'cpus':1,'memory_bytes':1,'nodes':[1],'node_bytes':[-1]}]}",
		"{" CELLS ",'guests':[7]}",
	};
	struct machine m = machine_of_three();

	for (size_t i = 0; i < sizeof(rejects) / sizeof(rejects[0]); i++) {
		struct live *live = NULL;
		struct err e = { 0 };

		cr_assert_lt(read_live(&live, &m, rejects[i], &e), 0, "%s", rejects[i]);
		cr_assert_eq(e.code, EXIT_FAILED);
	}
}

Test(live, more_nodes_or_cells_than_there_can_be_are_refused)
{
	struct machine m = machine_of_three();
	json_t *many = json_array(), *reply;
	struct live *live;
	struct err e;

	for (int i = 0; i < 65; i++)
		json_array_append_new(many, json_pack("{s:i, s:[]}", "cell", i, "nodes"));
	reply = json_pack("{s:o, s:[]}", "cells", many, "guests");
	cr_assert_lt(live_read(&live, &m, reply, &e), 0);
	json_decref(reply);
	many = json_array();
	for (int i = 0; i < 65; i++)
		json_array_append_new(many, json_integer(i));
	reply = json_pack("{s:[{s:i, s:[i]}], s:[{s:i, s:i, s:i, s:o}]}", "cells", "cell", 0,
		"nodes", 1, "guests", "cell", 0, "cpus", 1, "memory_bytes", 1, "nodes", many);
	cr_assert_lt(live_read(&live, &m, reply, &e), 0);
	json_decref(reply);
}

Test(topo, json_has_the_nodes_and_cells)
{
	struct machine m = machine_of_three();
	json_t *json, *expected;
	struct cells c;

	cells_default(&m, &c);
	json = topo_json(&m, &c);
	expected = reply_of(
		"{\"nodes\":["
		"{\"node\":1,\"cpus\":[4,5,6],\"memory_bytes\":2147483648,\"distances\":[10,21,17]}"
		","
		"{\"node\":3,\"cpus\":[2],\"memory_bytes\":4294967296,\"distances\":[22,10,38]},"
		"{\"node\":6,\"cpus\":[],\"memory_bytes\":8589934592,\"distances\":[17,38,10]}],"
		"\"cells\":[{\"cell\":0,\"nodes\":[1,6]},{\"cell\":1,\"nodes\":[3]}]}");
	cr_assert(json_equal(json, expected));
	json_decref(json);
	json_decref(expected);
}
