/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/guest/memory.h"
#include "monitor/guest/plan.h"

#include <criterion/criterion.h>
#include <string.h>

#define MIB (1ull << 20)

static struct guest_spec spec_of(uint32_t cpus, uint64_t mib, uint32_t vnuma)
{
	struct guest_spec s;

	guest_spec_init(&s);
	strcpy(s.name, "g");
	strcpy(s.kernel, "/k");
	s.cpus = cpus;
	s.memory_bytes = mib * MIB;
	s.vnuma = vnuma;
	return s;
}

/* Nodes and CPUs such that no number is an index of anything. */
static struct guest_home home_of_two(void)
{
	return (struct guest_home){ .cell = 1,
		.nodes = { 3, 6 },
		.node_count = 2,
		.cpus = { 20, 21, 30, 31 },
		.cpu_count = 4,
		.cpu_nodes = { 6, 3, 3, 6 },
		.has_cpu_nodes = true,
		.distances = { 10, 17, 28, 10 },
		.has_distances = true };
}

Test(plan, flat_guest_has_no_nodes_and_all_cpus)
{
	struct guest_spec s = spec_of(3, 256, 0);
	struct guest_home h = home_of_two();
	struct guest_plan p;
	struct err e;

	cr_assert_eq(guest_plan_init(&p, &s, &h, &e), 0, "%s", e.text);
	cr_assert_eq(guest_plan_machine(&p).node_count, 0);
	cr_assert_eq(guest_plan_machine(&p).cpu_count, 3);
	for (uint32_t i = 0; i < 3; i++) {
		cr_assert_eq(p.apic_ids[i], i);
		cr_assert_eq(cpu_set_count(guest_plan_cpus(&p, i)), 4);
	}
}

Test(plan, vcpus_run_near_their_nodes_memory)
{
	struct guest_spec s = spec_of(4, 256, 2);
	struct guest_home h = home_of_two();
	struct guest_plan p;
	struct err e;

	/* The first half of memory is on the higher node. */
	h.memory[0] = (struct home_range){ 6, 128 * MIB };
	h.memory[1] = (struct home_range){ 3, 128 * MIB };
	h.memory_count = 2;
	cr_assert_eq(guest_plan_init(&p, &s, &h, &e), 0, "%s", e.text);
	cr_assert_eq(p.host_node[0], 6);
	cr_assert_eq(p.host_node[1], 3);
	for (uint32_t i = 0; i < 4; i++) {
		const struct cpu_set *cpus = guest_plan_cpus(&p, i);

		cr_assert_eq(cpu_set_count(cpus), 2);
		cr_assert_eq(cpu_set_has(cpus, 20), i < 2);
		cr_assert_eq(cpu_set_has(cpus, 31), i < 2);
		cr_assert_eq(cpu_set_has(cpus, 21), i >= 2);
		cr_assert_eq(cpu_set_has(cpus, 30), i >= 2);
		cr_assert_eq(p.vnode_of[i], i / 2);
	}
	/* rows are 'from': vnode 0 is host node 6, whose way to 3 is 28 */
	cr_assert_eq(p.distances[0], 10);
	cr_assert_eq(p.distances[1], 28);
	cr_assert_eq(p.distances[2], 17);
	cr_assert_eq(p.distances[3], 10);
}

Test(plan, a_node_goes_with_most_of_its_memory)
{
	struct guest_spec s = spec_of(2, 200, 2);
	struct guest_home h = home_of_two();
	struct guest_plan p;
	struct err e;

	/* vnode 0 is [0, 100), of which 60 are on node 6; vnode 1 has 40 on 6 and 60 on 3 */
	h.memory[0] = (struct home_range){ 3, 40 * MIB };
	h.memory[1] = (struct home_range){ 6, 100 * MIB };
	h.memory[2] = (struct home_range){ 3, 60 * MIB };
	h.memory_count = 3;
	cr_assert_eq(guest_plan_init(&p, &s, &h, &e), 0, "%s", e.text);
	cr_assert_eq(p.host_node[0], 6);
	cr_assert_eq(p.host_node[1], 3);
}

Test(plan, the_lower_node_wins_a_tie)
{
	struct guest_spec s = spec_of(2, 200, 2);
	struct guest_home h = home_of_two();
	struct guest_plan p;
	struct err e;

	h.memory[0] = (struct home_range){ 6, 50 * MIB };
	h.memory[1] = (struct home_range){ 3, 100 * MIB };
	h.memory[2] = (struct home_range){ 6, 50 * MIB };
	h.memory_count = 3;
	cr_assert_eq(guest_plan_init(&p, &s, &h, &e), 0, "%s", e.text);
	cr_assert_eq(p.host_node[0], 3);
	cr_assert_eq(p.host_node[1], 3);
}

Test(plan, two_nodes_of_one_host_node_are_near_but_not_local)
{
	struct guest_spec s = spec_of(2, 352, 2);
	struct guest_home h = home_of_two();
	struct guest_plan p;
	struct err e;

	h.node_count = 1;
	h.has_distances = false;
	h.has_cpu_nodes = false;
	cr_assert_eq(guest_plan_init(&p, &s, &h, &e), 0, "%s", e.text);
	cr_assert_eq(p.distances[0], 10);
	cr_assert_eq(p.distances[1], 11);
	cr_assert_eq(p.distances[2], 11);
	cr_assert_eq(cpu_set_count(guest_plan_cpus(&p, 1)), 4);
	cr_assert_eq(p.range_count, 2);
	cr_assert_eq(p.ranges[0].addr, 0);
	cr_assert_eq(p.ranges[0].bytes, 176 * MIB);
	cr_assert_eq(p.ranges[1].addr, 176 * MIB);
	cr_assert_eq(p.ranges[1].bytes, 176 * MIB);
	cr_assert_eq(p.ranges[1].node, 1);
}

Test(plan, pinned_vcpus_have_a_cpu_each)
{
	struct guest_spec s = spec_of(2, 256, 2);
	struct guest_home h = home_of_two();
	struct guest_plan p;
	struct err e;

	h.pins[0] = 31;
	h.pins[1] = 44;
	h.pin_count = 2;
	cr_assert_eq(guest_plan_init(&p, &s, &h, &e), 0, "%s", e.text);
	cr_assert_eq(cpu_set_count(guest_plan_cpus(&p, 0)), 1);
	cr_assert(cpu_set_has(guest_plan_cpus(&p, 0), 31));
	cr_assert(cpu_set_has(guest_plan_cpus(&p, 1), 44));
	h.pin_count = 1;
	cr_assert_lt(guest_plan_init(&p, &s, &h, &e), 0, "a vCPU without a CPU");
}

Test(plan, the_hole_cuts_the_node_that_spans_it)
{
	struct guest_spec s = spec_of(3, 6144, 3);
	struct guest_home h = home_of_two();
	struct guest_plan p;
	struct err e;
	uint64_t sum = 0;

	cr_assert_eq(guest_plan_init(&p, &s, &h, &e), 0, "%s", e.text);
	cr_assert_eq(p.range_count, 4);
	cr_assert_eq(p.ranges[1].node, 1);
	cr_assert_eq(p.ranges[1].addr + p.ranges[1].bytes, LAYOUT_LOW_RAM_END);
	cr_assert_eq(p.ranges[2].node, 1);
	cr_assert_eq(p.ranges[2].addr, LAYOUT_HIGH_RAM);
	cr_assert_eq(p.ranges[3].addr, p.ranges[2].addr + p.ranges[2].bytes);
	for (uint32_t i = 0; i < 4; i++)
		sum += p.ranges[i].bytes;
	cr_assert_eq(sum, s.memory_bytes);
}

Test(plan, ram_goes_on_above_the_hole)
{
	static uint8_t host[1];
	struct ram_map map;

	cr_assert_eq(guest_memory_gpa(LAYOUT_LOW_RAM_END - 1).addr, LAYOUT_LOW_RAM_END - 1);
	cr_assert_eq(guest_memory_gpa(LAYOUT_LOW_RAM_END).addr, LAYOUT_HIGH_RAM);
	guest_memory_regions(LAYOUT_LOW_RAM_END, host, &map);
	cr_assert_eq(map.region_count, 1);
	guest_memory_regions(LAYOUT_LOW_RAM_END + 2 * MIB, host, &map);
	cr_assert_eq(map.region_count, 2);
	cr_assert_eq(map.regions[1].gpa.addr, LAYOUT_HIGH_RAM);
	cr_assert_eq(map.regions[1].bytes, 2 * MIB);
	cr_assert_eq(map.regions[1].hva - map.regions[0].hva, (ptrdiff_t)LAYOUT_LOW_RAM_END);
}

Test(home, offsets_are_on_the_nodes_of_the_plan)
{
	struct guest_home h = home_of_two();
	uint32_t node;

	cr_assert_not(guest_home_node_of(&h, 0, &node), "two nodes and no plan");
	h.memory[0] = (struct home_range){ 6, 4 * MIB };
	h.memory[1] = (struct home_range){ 3, 2 * MIB };
	h.memory_count = 2;
	cr_assert(guest_home_node_of(&h, 4 * MIB - 1, &node));
	cr_assert_eq(node, 6);
	cr_assert(guest_home_node_of(&h, 4 * MIB, &node));
	cr_assert_eq(node, 3);
	h.memory_count = 0;
	h.node_count = 1;
	cr_assert(guest_home_node_of(&h, 5 * MIB, &node));
	cr_assert_eq(node, 3);
}
