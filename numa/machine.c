/* SPDX-License-Identifier: BSD-2-Clause */
#include "numa/machine.h"

#include <stddef.h>

static bool distances_ok(const struct machine *m)
{
	for (uint32_t a = 0; a < m->node_count; a++) {
		for (uint32_t b = 0; b < m->node_count; b++) {
			uint8_t d = m->distance[a][b];

			if (a == b ? d != DISTANCE_LOCAL : d < DISTANCE_LOCAL)
				return false;
		}
	}
	return true;
}

enum machine_fault machine_check(const struct machine *m)
{
	struct cpu_set seen = { 0 };
	uint64_t memory = 0;

	if (m->node_count == 0)
		return MACHINE_NO_NODES;
	if (m->node_count > MACHINE_NODES_MAX)
		return MACHINE_TOO_MANY_NODES;
	for (uint32_t n = 0; n < m->node_count; n++) {
		const struct machine_node *node = &m->nodes[n];

		if (n > 0 && node->os_node <= m->nodes[n - 1].os_node)
			return MACHINE_NODES_UNSORTED;
		if (node->memory_bytes == 0 && cpu_set_empty(&node->cpus))
			return MACHINE_NODE_EMPTY;
		if (cpu_set_overlap(&seen, &node->cpus))
			return MACHINE_CPU_TWICE;
		cpu_set_merge(&seen, &node->cpus);
		memory |= node->memory_bytes;
	}
	if (cpu_set_empty(&seen))
		return MACHINE_NO_CPUS;
	if (memory == 0)
		return MACHINE_NO_MEMORY;
	return distances_ok(m) ? MACHINE_OK : MACHINE_BAD_DISTANCE;
}

const char *machine_fault_text(enum machine_fault fault)
{
	switch (fault) {
	case MACHINE_OK:
		return "nothing is wrong";
	case MACHINE_NO_NODES:
		return "it has no NUMA node";
	case MACHINE_TOO_MANY_NODES:
		return "it has more than 64 NUMA nodes";
	case MACHINE_NODES_UNSORTED:
		return "a NUMA node is listed twice or out of order";
	case MACHINE_NODE_EMPTY:
		return "a NUMA node has neither CPUs nor memory";
	case MACHINE_CPU_TWICE:
		return "a CPU belongs to two NUMA nodes";
	case MACHINE_NO_CPUS:
		return "no NUMA node has a CPU";
	case MACHINE_NO_MEMORY:
		return "no NUMA node has memory";
	case MACHINE_BAD_DISTANCE:
		return "a distance is below 10, or not 10 from a node to itself";
	}
	return "unknown fault";
}

uint32_t machine_node_of(const struct machine *m, uint32_t os_node)
{
	for (uint32_t n = 0; n < m->node_count; n++) {
		if (m->nodes[n].os_node == os_node)
			return n;
	}
	return NODE_NONE;
}
