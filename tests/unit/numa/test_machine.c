/* SPDX-License-Identifier: BSD-2-Clause */
#include "machines.h"

Test(machine, a_good_one_passes)
{
	struct machine m = machine_of_six();

	cr_assert_eq(machine_check(&m), MACHINE_OK);
	cr_assert_eq(machine_node_of(&m, 6), 3);
	cr_assert_eq(machine_node_of(&m, 9), 5);
	cr_assert_eq(machine_node_of(&m, 5), NODE_NONE);
	cr_assert_eq(machine_node_of(&m, 0), NODE_NONE);
}

struct breach {
	const char *what;
	void (*make)(struct machine *m);
	enum machine_fault fault;
};

static void no_nodes(struct machine *m)
{
	m->node_count = 0;
}
static void too_many_nodes(struct machine *m)
{
	m->node_count = MACHINE_NODES_MAX + 1;
}
static void number_twice(struct machine *m)
{
	m->nodes[5].os_node = m->nodes[4].os_node;
}
static void out_of_order(struct machine *m)
{
	m->nodes[4].os_node = 5;
}
static void empty_node(struct machine *m)
{
	m->nodes[5].memory_bytes = 0;
}
static void cpu_twice(struct machine *m)
{
	cpu_set_add(&m->nodes[4].cpus, 12);
}
static void no_cpus(struct machine *m)
{
	for (uint32_t n = 0; n < m->node_count; n++)
		m->nodes[n].cpus = (struct cpu_set){ 0 };
}
static void no_memory(struct machine *m)
{
	for (uint32_t n = 0; n < m->node_count; n++) {
		m->nodes[n].memory_bytes = 0;
		cpu_set_add(&m->nodes[n].cpus, 100 + n);
	}
}
static void far_from_itself(struct machine *m)
{
	m->distance[5][5] = 11;
}
static void too_near(struct machine *m)
{
	m->distance[5][0] = 9;
}

Test(machine, each_broken_invariant_is_named)
{
	static const struct breach breaches[] = {
		{ "no nodes", no_nodes, MACHINE_NO_NODES },
		{ "65 nodes", too_many_nodes, MACHINE_TOO_MANY_NODES },
		{ "a number twice", number_twice, MACHINE_NODES_UNSORTED },
		{ "out of order", out_of_order, MACHINE_NODES_UNSORTED },
		{ "an empty node", empty_node, MACHINE_NODE_EMPTY },
		{ "a CPU twice", cpu_twice, MACHINE_CPU_TWICE },
		{ "no CPUs", no_cpus, MACHINE_NO_CPUS },
		{ "no memory", no_memory, MACHINE_NO_MEMORY },
		{ "far from itself", far_from_itself, MACHINE_BAD_DISTANCE },
		{ "too near to another", too_near, MACHINE_BAD_DISTANCE },
	};

	for (size_t i = 0; i < sizeof(breaches) / sizeof(breaches[0]); i++) {
		struct machine m = machine_of_six();

		breaches[i].make(&m);
		cr_assert_eq(machine_check(&m), breaches[i].fault, "%s: %s", breaches[i].what,
			machine_fault_text(machine_check(&m)));
	}
}

Test(machine, sixty_four_nodes_are_allowed_and_an_os_gap_too)
{
	struct machine m = machine_plain(MACHINE_NODES_MAX);

	m.nodes[63].os_node = 1023;
	cr_assert_eq(machine_check(&m), MACHINE_OK);
	cr_assert_eq(machine_node_of(&m, 1023), 63);
}
