/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_TESTS_UNIT_NUMA_MACHINES_H
#define CELLVISOR_TESTS_UNIT_NUMA_MACHINES_H

/*
 * Machines to test with. Numbers are chosen so that index, os_node, the first, the
 * last, the largest and the farthest are all different answers.
 */

#include <criterion/criterion.h>

#include "numa/cells.h"
#include "numa/machine.h"

#define GIB (1ull << 30)
#define MIB (1ull << 20)

static inline struct machine_node make_node(uint32_t os_node, const char *cpus, uint64_t bytes)
{
	struct machine_node node = { .os_node = os_node, .memory_bytes = bytes };

	if (cpus)
		cr_assert_eq(cpu_set_parse(cpus, &node.cpus), 0, "%s", cpus);
	return node;
}

/* Distances by default: 10 and 20. */
static inline void default_distances(struct machine *m)
{
	for (uint32_t a = 0; a < m->node_count; a++) {
		for (uint32_t b = 0; b < m->node_count; b++)
			m->distance[a][b] = a == b ? 10 : 20;
	}
}

/*
 * Index 0..5 are nodes 1, 3, 4, 6, 8, 9. Nodes 3, 6 and 8 have CPUs; 1, 4 and 9
 * are memory only. Seen from the CPUs node 1 is nearest to node 6, node 4 to
 * nodes 3 and 8 alike, node 9 to node 8; in the other direction of the matrix each of
 * them seems nearest to another one.
 */
static inline struct machine machine_of_six(void)
{
	struct machine m = {
		.node_count = 6,
		.nodes = {
			make_node(1, NULL, 3 * GIB),
			make_node(3, "8-11", 4 * GIB),
			make_node(4, NULL, 16 * GIB),
			make_node(6, "0-3,12", 2 * GIB),
			make_node(8, "4-7", 8 * GIB),
			make_node(9, NULL, 1 * GIB),
		},
		.distance = {
			{ 10, 11, 30, 31, 32, 33 },
			{ 25, 10, 17, 21, 22, 40 },
			{ 30, 29, 10, 11, 28, 33 },
			{ 14, 21, 19, 10, 21, 41 },
			{ 26, 22, 17, 23, 10, 18 },
			{ 30, 31, 33, 12, 29, 10 },
		},
	};

	return m;
}

/* Nodes 0..count-1 with two CPUs and a GiB each. */
static inline struct machine machine_plain(uint32_t count)
{
	struct machine m = { .node_count = count };

	for (uint32_t n = 0; n < count; n++) {
		m.nodes[n] = (struct machine_node){ .os_node = n, .memory_bytes = GIB };
		cpu_set_add(&m.nodes[n].cpus, 2 * n);
		cpu_set_add(&m.nodes[n].cpus, 2 * n + 1);
	}
	default_distances(&m);
	return m;
}

/* A generator that is the same everywhere (xorshift64). */
static inline uint64_t draw(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/*
 * A machine from a seed: 1 to 64 nodes with gaps in their numbers, some without
 * CPUs, some without memory, any distances. At least one CPU and some memory.
 */
static inline struct machine machine_drawn(uint64_t *seed)
{
	struct machine m = { .node_count = 1 + (uint32_t)(draw(seed) % MACHINE_NODES_MAX) };
	uint32_t os_node = 0, cpu = 0;

	for (uint32_t n = 0; n < m.node_count; n++) {
		uint32_t kind = (uint32_t)(draw(seed) % 5);

		os_node += 1 + (uint32_t)(draw(seed) % 3);
		m.nodes[n].os_node = os_node;
		for (uint64_t c = draw(seed) % 4 + 1; kind != 0 && c > 0; c--)
			cpu_set_add(&m.nodes[n].cpus, cpu++);
		if (kind != 1)
			m.nodes[n].memory_bytes = (1 + draw(seed) % 64) * 64 * MIB;
		for (uint32_t k = 0; k < m.node_count; k++)
			m.distance[n][k] = k == n ? 10 : (uint8_t)(11 + draw(seed) % 40);
	}
	m.nodes[m.node_count / 2].memory_bytes += GIB;
	cpu_set_add(&m.nodes[m.node_count / 3].cpus, cpu);
	cr_assert_eq(machine_check(&m), MACHINE_OK);
	return m;
}

#endif
