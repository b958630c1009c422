/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <string.h>

#include "machines.h"
#include "numa/host/words.h"

static void assert_partition(const struct machine *m, const struct cells *c, const char *expected)
{
	char text[512];
	uint32_t at;

	cr_assert_eq(cells_check(m, c, &at), CELLS_OK, "%s, %u",
		cells_fault_text(cells_check(m, c, &at)), at);
	cr_assert_geq(cells_format(m, c, text, sizeof(text)), 0);
	cr_assert_str_eq(text, expected);
}

Test(cells, one_per_node_with_cpus_and_memory_only_nodes_join_the_nearest)
{
	struct machine m = machine_of_six();
	struct cells c;

	cells_default(&m, &c);
	assert_partition(&m, &c, "3,4/1,6/8,9");
	cr_assert_eq(c.cells[0].memory_bytes, 20 * GIB);
	cr_assert_eq(c.cells[1].memory_bytes, 5 * GIB);
	cr_assert_eq(cpu_set_count(&c.cells[1].cpus), 5);
	cr_assert_eq(cells_of_node(&c, 0), 1, "by index, not by os_node");
	cr_assert_eq(cells_of_node(&c, 2), 0);
	cr_assert_eq(cells_of_node(&c, 6), CELL_NONE);
}

Test(cells, a_cpu_node_without_memory_joins_the_memory_that_it_reaches_best)
{
	struct machine m = machine_of_six();
	struct cells c;

	m.nodes[1].memory_bytes = 0;
	/* From node 3: 21 to node 6, 22 to node 8. The other way round 8 would be nearer. */
	m.distance[4][1] = 12;
	cells_default(&m, &c);
	assert_partition(&m, &c, "1,3,6/4,8,9");
}

Test(cells, cpus_here_and_memory_there_are_one_cell)
{
	struct machine m = machine_of_six();
	struct cells c;

	m.nodes[1].memory_bytes = 0;
	m.nodes[3].memory_bytes = 0;
	m.nodes[4].memory_bytes = 0;
	cells_default(&m, &c);
	assert_partition(&m, &c, "1,3,4,6,8,9");
}

Test(cells, sixty_four_nodes_are_sixty_four_cells)
{
	struct machine m = machine_plain(64);
	struct cells c;
	uint32_t at;

	cells_default(&m, &c);
	cr_assert_eq(c.cell_count, 64);
	cr_assert_eq(cells_check(&m, &c, &at), CELLS_OK);
}

Test(cells, a_default_partition_covers_each_node_once_with_nothing_nearer)
{
	uint64_t seed = 42;

	for (int run = 0; run < 2000; run++) {
		struct machine m = machine_drawn(&seed);
		uint32_t times[MACHINE_NODES_MAX] = { 0 }, at, last = 0;
		struct cpu_set cpus = { 0 };
		uint64_t memory = 0;
		struct cells c, again;
		char text[512];

		cells_default(&m, &c);
		cr_assert_eq(cells_check(&m, &c, &at), CELLS_OK, "run %d", run);
		for (uint32_t i = 0; i < c.cell_count; i++) {
			for (uint32_t k = 0; k < c.cells[i].node_count; k++) {
				times[c.cells[i].nodes[k]]++;
				cr_assert(k == 0 || c.cells[i].nodes[k] > last);
				last = c.cells[i].nodes[k];
			}
			cr_assert(!cpu_set_overlap(&cpus, &c.cells[i].cpus));
			cpu_set_merge(&cpus, &c.cells[i].cpus);
			memory += c.cells[i].memory_bytes;
		}
		for (uint32_t n = 0; n < m.node_count; n++) {
			cr_assert_eq(times[n], 1, "run %d, node %u", run, n);
			cr_assert_eq(cells_of_node(&c, n) == CELL_NONE, false);
			for (uint32_t cpu = cpu_set_next(&m.nodes[n].cpus, 0); cpu != CPU_NONE;
				cpu = cpu_set_next(&m.nodes[n].cpus, cpu + 1))
				cr_assert(cpu_set_has(&cpus, cpu));
			memory -= m.nodes[n].memory_bytes;
		}
		cr_assert_eq(memory, 0);
		cr_assert_geq(cells_format(&m, &c, text, sizeof(text)), 0);
		cr_assert_eq(cells_parse(&m, text, &again, &at), CELLS_OK, "%s", text);
		cr_assert_eq(memcmp(&c, &again, sizeof(c)), 0, "%s", text);
	}
}

Test(cells, an_explicit_partition)
{
	static const char *const plans[][2] = {
		{ "1,3/4,6/8-9", "1,3/4,6/8,9" },
		{ "9,8,4/6,3,1", "4,8,9/1,3,6" },
		{ "8-9,6,4,3,1", "1,3,4,6,8,9" },
		{ "3-4/1,6/8-9", "3,4/1,6/8,9" },
	};
	struct machine m = machine_of_six();

	for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
		struct cells c;

		cr_assert_eq(cells_parse(&m, plans[i][0], &c, NULL), CELLS_OK, "%s", plans[i][0]);
		assert_partition(&m, &c, plans[i][1]);
	}
}

Test(cells, rejected_partitions_say_what_and_where)
{
	static const struct {
		const char *plan;
		enum cells_fault fault;
		uint32_t at;
		const char *words;
	} rejects[] = {
		{ "", CELLS_SYNTAX, 0, "not a list of cells" },
		{ "/", CELLS_SYNTAX, 0, "not a list of cells" },
		{ "1,3,4,6,8,9/", CELLS_SYNTAX, 0, "not a list of cells" },
		{ "1,3//4,6,8,9", CELLS_SYNTAX, 0, "not a list of cells" },
		{ "1,3,4,6,8,9,", CELLS_SYNTAX, 0, "not a list of cells" },
		{ "1,3 /4,6,8,9", CELLS_SYNTAX, 0, "not a list of cells" },
		{ "4-3/1,6,8,9", CELLS_SYNTAX, 0, "not a list of cells" },
		{ "1;3", CELLS_SYNTAX, 0, "not a list of cells" },
		{ "100000", CELLS_SYNTAX, 0, "not a list of cells" },
		{ "99999999999999999999", CELLS_SYNTAX, 0, "not a list of cells" },
		{ "1,3/4,6/8-9,7", CELLS_UNKNOWN_NODE, 7, "there is no node 7" },
		{ "1-3/4,6/8,9", CELLS_UNKNOWN_NODE, 2, "there is no node 2" },
		{ "8-99999", CELLS_UNKNOWN_NODE, 10, "there is no node 10" },
		{ "1,3/4,6/8,9,4", CELLS_NODE_TWICE, 4, "node 4 is named twice" },
		{ "1,3,3/4,6/8,9", CELLS_NODE_TWICE, 3, "node 3 is named twice" },
		{ "1,3/6/8,9", CELLS_NODE_MISSING, 4, "node 4 is in no cell" },
		{ "1,4/3/6/8,9", CELLS_NO_CPU, 0, "cell 0 has no CPU" },
		{ "3/6/8/1,4,9", CELLS_NO_CPU, 3, "cell 3 has no CPU" },
	};
	struct machine m = machine_of_six();

	for (size_t i = 0; i < sizeof(rejects) / sizeof(rejects[0]); i++) {
		uint32_t at = 77;
		char words[128];
		struct cells c;

		cr_assert_eq(cells_parse(&m, rejects[i].plan, &c, &at), rejects[i].fault, "'%s'",
			rejects[i].plan);
		cr_assert_eq(at, rejects[i].at, "'%s': %u", rejects[i].plan, at);
		words_cells(rejects[i].fault, at, words, sizeof(words));
		cr_assert(strstr(words, rejects[i].words), "'%s': %s", rejects[i].plan, words);
	}
}

Test(cells, a_cell_needs_memory_too)
{
	struct machine m = machine_of_six();
	struct cells c;
	uint32_t at;

	m.nodes[3].memory_bytes = 0;
	cr_assert_eq(cells_parse(&m, "1,3,4/8,9/6", &c, &at), CELLS_NO_MEMORY);
	cr_assert_eq(at, 2);
}

Test(cells, built_node_by_node)
{
	struct machine m = machine_of_six();
	struct cells c = { 0 };

	cr_assert_eq(cells_add(&m, &c, 1, 3), CELLS_TOO_MANY, "a gap");
	cr_assert_eq(cells_add(&m, &c, 0, 8), CELLS_OK);
	cr_assert_eq(cells_add(&m, &c, 1, 3), CELLS_OK);
	cr_assert_eq(cells_add(&m, &c, 0, 3), CELLS_NODE_TWICE);
	cr_assert_eq(cells_add(&m, &c, 0, 5), CELLS_UNKNOWN_NODE);
	cr_assert_eq(c.cell_count, 2);
	cr_assert_eq(cells_check(&m, &c, NULL), CELLS_NODE_MISSING);
	cr_assert_eq(cells_add(&m, &c, 0, 4), CELLS_OK);
	cr_assert_eq(cells_add(&m, &c, 1, 1), CELLS_OK);
	cr_assert_eq(cells_add(&m, &c, 1, 6), CELLS_OK);
	cr_assert_eq(cells_add(&m, &c, 0, 9), CELLS_OK);
	assert_partition(&m, &c, "4,8,9/1,3,6");
}

Test(cells, no_cells_are_no_partition)
{
	struct machine m = machine_of_six();
	struct cells c = { 0 };

	cr_assert_eq(cells_check(&m, &c, NULL), CELLS_TOO_MANY);
	c.cell_count = CELLS_MAX + 1;
	cr_assert_eq(cells_check(&m, &c, NULL), CELLS_TOO_MANY);
}

Test(cells, a_text_that_does_not_fit_is_refused)
{
	struct machine m = machine_of_six();
	struct cells c;
	char text[12] = "###########";

	cells_default(&m, &c);
	cr_assert_eq(cells_format(&m, &c, text, 11), -ENOSPC);
	cr_assert_eq(text[11], '\0');
	cr_assert_str_eq(text, "3,4/1,6/8,");
	cr_assert_eq(cells_format(&m, &c, text, 12), 11);
}
