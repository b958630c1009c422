/* SPDX-License-Identifier: BSD-2-Clause */
#include "numa/host/discover.h"

#include <errno.h>
#include <hwloc.h>
#include <hwloc/distances.h>
#include <string.h>

/* hwloc's default synthetic machine has no memory sizes; SLIT fits into a byte. */
#define SYNTHETIC_NODE_BYTES (1ull << 30)

static void add_cpus(hwloc_const_bitmap_t set, struct cpu_set *cpus)
{
	int cpu;

	for (cpu = hwloc_bitmap_first(set); cpu >= 0; cpu = hwloc_bitmap_next(set, cpu)) {
		if ((uint32_t)cpu < CPU_SET_CPUS)
			cpu_set_add(cpus, (uint32_t)cpu);
	}
}

/*
 * hwloc attaches a memory-only node to the root, with the cpuset of everything
 * that is close to it. A CPU belongs to the node with the smallest such set; so
 * nodes are taken by growing cpuset, and a CPU that is taken stays taken.
 */
static void share_cpus(struct machine *m, hwloc_obj_t *objects)
{
	struct cpu_set taken = { 0 };
	bool done[MACHINE_NODES_MAX] = { false };

	for (uint32_t round = 0; round < m->node_count; round++) {
		uint32_t pick = NODE_NONE;
		struct cpu_set cpus = { 0 };

		for (uint32_t n = 0; n < m->node_count; n++) {
			if (!done[n] && (pick == NODE_NONE ||
						hwloc_bitmap_weight(objects[n]->cpuset) <
							hwloc_bitmap_weight(objects[pick]->cpuset)))
				pick = n;
		}
		done[pick] = true;
		add_cpus(objects[pick]->cpuset, &cpus);
		for (uint32_t cpu = cpu_set_next(&cpus, 0); cpu != CPU_NONE;
			cpu = cpu_set_next(&cpus, cpu + 1)) {
			if (!cpu_set_has(&taken, cpu))
				cpu_set_add(&m->nodes[pick].cpus, cpu);
		}
		cpu_set_merge(&taken, &cpus);
	}
}

static uint8_t slit_value(hwloc_uint64_t value)
{
	if (value < DISTANCE_LOCAL)
		return DISTANCE_LOCAL;
	return (uint8_t)(value > DISTANCE_UNREACHABLE ? DISTANCE_UNREACHABLE : value);
}

static void read_distances(hwloc_topology_t topology, struct machine *m)
{
	struct hwloc_distances_s *found;
	unsigned int count = 1;

	for (uint32_t a = 0; a < m->node_count; a++) {
		for (uint32_t b = 0; b < m->node_count; b++)
			m->distance[a][b] = a == b ? DISTANCE_LOCAL : DISTANCE_REMOTE_DEFAULT;
	}
	if (hwloc_distances_get_by_type(topology, HWLOC_OBJ_NUMANODE, &count, &found,
		    HWLOC_DISTANCES_KIND_MEANS_LATENCY, 0) != 0 ||
		count == 0)
		return;
	for (uint32_t a = 0; a < found->nbobjs; a++) {
		uint32_t from = machine_node_of(m, found->objs[a]->os_index);

		for (uint32_t b = 0; b < found->nbobjs; b++) {
			uint32_t to = machine_node_of(m, found->objs[b]->os_index);

			if (from != NODE_NONE && to != NODE_NONE && from != to)
				m->distance[from][to] =
					slit_value(found->values[a * found->nbobjs + b]);
		}
	}
	hwloc_distances_release(topology, found);
}

static int read_nodes(hwloc_topology_t topology, bool synthetic, struct machine *m, struct err *e)
{
	int count = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_NUMANODE);
	hwloc_obj_t objects[MACHINE_NODES_MAX];

	if (count < 0 || (uint32_t)count > MACHINE_NODES_MAX)
		return err_set(e, EXIT_INVALID,
			"the machine has %d NUMA nodes; up to %u are handled", count,
			MACHINE_NODES_MAX);
	m->node_count = (uint32_t)count;
	for (uint32_t n = 0; n < m->node_count; n++) {
		hwloc_obj_t object = hwloc_get_obj_by_type(topology, HWLOC_OBJ_NUMANODE, n);
		uint32_t at = n;

		/* In order of the operating system's numbers, which hwloc doesn't promise. */
		for (; at > 0 && objects[at - 1]->os_index > object->os_index; at--)
			objects[at] = objects[at - 1];
		objects[at] = object;
	}
	for (uint32_t n = 0; n < m->node_count; n++) {
		m->nodes[n].os_node = objects[n]->os_index;
		m->nodes[n].memory_bytes = objects[n]->attr->numanode.local_memory;
		if (synthetic && m->nodes[n].memory_bytes == 0)
			m->nodes[n].memory_bytes = SYNTHETIC_NODE_BYTES;
	}
	share_cpus(m, objects);
	return 0;
}

/* `topology` has its source set; loads it and turns it into *m. */
static int load(hwloc_topology_t topology, const char *what, bool synthetic, struct machine *m,
	struct err *e)
{
	enum machine_fault fault;
	int rc;

	memset(m, 0, sizeof(*m));
	if (hwloc_topology_load(topology) != 0)
		return err_set(e, EXIT_INVALID, "%s: hwloc can't read it as a machine", what);
	rc = read_nodes(topology, synthetic, m, e);
	if (rc)
		return rc;
	read_distances(topology, m);
	fault = machine_check(m);
	if (fault != MACHINE_OK)
		return err_set(
			e, EXIT_INVALID, "%s can't be used: %s", what, machine_fault_text(fault));
	return 0;
}

int discover_this_machine(struct machine *m, struct err *e)
{
	hwloc_topology_t topology;
	int rc;

	if (hwloc_topology_init(&topology) != 0)
		return err_set(e, EXIT_FAILED, "hwloc does not start: out of memory?");
	rc = load(topology, "this machine", false, m, e);
	hwloc_topology_destroy(topology);
	return rc;
}

int discover_xml(const char *path, struct machine *m, struct err *e)
{
	hwloc_topology_t topology;
	int rc;

	if (hwloc_topology_init(&topology) != 0)
		return err_set(e, EXIT_FAILED, "hwloc does not start: out of memory?");
	errno = 0;
	if (hwloc_topology_set_xml(topology, path) != 0)
		rc = err_set(e, EXIT_INVALID,
			"%s: %s; it has to be a machine's XML as 'lstopo FILE.xml' writes it", path,
			errno == ENOENT ? "no such file" : "not a topology");
	else
		rc = load(topology, path, false, m, e);
	hwloc_topology_destroy(topology);
	return rc;
}

int discover_synthetic(const char *description, struct machine *m, struct err *e)
{
	hwloc_topology_t topology;
	int rc;

	if (hwloc_topology_init(&topology) != 0)
		return err_set(e, EXIT_FAILED, "hwloc does not start: out of memory?");
	if (hwloc_topology_set_synthetic(topology, description) != 0)
		rc = err_set(e, EXIT_INVALID,
			"'%s' is no machine that hwloc knows; right would be, for example, 'numa:4 "
			"core:2 pu:1'",
			description);
	else
		rc = load(topology, description, true, m, e);
	hwloc_topology_destroy(topology);
	return rc;
}
