/* SPDX-License-Identifier: BSD-2-Clause */
#include "numa/host/discover.h"

#include <errno.h>
#include <hwloc.h>
#include <hwloc/distances.h>
#include <hwloc/linux.h>
#include <stdio.h>
#include <string.h>

#include "numa/check.h"

/* hwloc leaves memory sizes out unless a synthetic description has them. */
#define SYNTHETIC_NODE_BYTES (1ull << 30)

/* Where the description of a machine comes from, for what hwloc does not tell alike. */
enum origin { ORIGIN_THIS_MACHINE, ORIGIN_XML, ORIGIN_SYNTHETIC };

static void add_cpus(hwloc_const_bitmap_t set, struct cpu_set *cpus)
{
	int cpu;

	for (cpu = hwloc_bitmap_first(set); cpu >= 0; cpu = hwloc_bitmap_next(set, cpu)) {
		if ((uint32_t)cpu < CPU_SET_CPUS)
			cpu_set_add(cpus, (uint32_t)cpu);
	}
}

/*
 * hwloc gives a memory-only node the cpuset of all CPUs that are close to it. A
 * CPU belongs to the node with the smallest such set, the lowest number on ties.
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
		CHECK(pick != NODE_NONE);
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

/*
 * On this machine the kernel says itself which CPUs a node has; of these, those
 * count that are online and that our control group allows, as hwloc found. False,
 * with nothing done, on a kernel without NUMA.
 */
static bool read_cpus(hwloc_topology_t topology, struct machine *m)
{
	hwloc_bitmap_t cpus = hwloc_bitmap_alloc();
	struct cpu_set found[MACHINE_NODES_MAX] = { 0 };
	bool known = cpus != NULL;

	for (uint32_t n = 0; known && n < m->node_count; n++) {
		char path[64];

		(void)snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/cpumap",
			m->nodes[n].os_node);
		known = hwloc_linux_read_path_as_cpumask(path, cpus) == 0;
		if (!known)
			break;
		hwloc_bitmap_and(cpus, cpus, hwloc_topology_get_topology_cpuset(topology));
		add_cpus(cpus, &found[n]);
	}
	hwloc_bitmap_free(cpus);
	for (uint32_t n = 0; known && n < m->node_count; n++)
		m->nodes[n].cpus = found[n];
	return known;
}

/* To SLIT's scale, where 10 is `local`: some descriptions have nanoseconds. */
static uint8_t slit_value(hwloc_uint64_t value, hwloc_uint64_t local)
{
	if (local > 0 && local != DISTANCE_LOCAL)
		value = value < UINT64_MAX / DISTANCE_LOCAL ? value * DISTANCE_LOCAL / local
							    : UINT64_MAX;
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
					slit_value(found->values[a * found->nbobjs + b],
						found->values[a * found->nbobjs + a]);
		}
	}
	hwloc_distances_release(topology, found);
}

static int read_nodes(
	hwloc_topology_t topology, enum origin origin, struct machine *m, struct err *e)
{
	int count = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_NUMANODE);
	hwloc_obj_t objects[MACHINE_NODES_MAX] = { NULL };

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
		if (origin == ORIGIN_SYNTHETIC && m->nodes[n].memory_bytes == 0)
			m->nodes[n].memory_bytes = SYNTHETIC_NODE_BYTES;
	}
	if (origin != ORIGIN_THIS_MACHINE || !read_cpus(topology, m))
		share_cpus(m, objects);
	return 0;
}

/* Leaves out what is online but has neither CPUs nor memory. */
static void drop_empty_nodes(struct machine *m)
{
	uint32_t kept = 0;

	for (uint32_t n = 0; n < m->node_count; n++) {
		if (m->nodes[n].memory_bytes == 0 && cpu_set_empty(&m->nodes[n].cpus))
			continue;
		if (kept != n)
			m->nodes[kept] = m->nodes[n];
		kept++;
	}
	m->node_count = kept;
}

/* `topology` has its source set; loads it and turns it into *m. */
static int load(hwloc_topology_t topology, const char *what, enum origin origin, struct machine *m,
	struct err *e)
{
	enum machine_fault fault;
	int rc;

	memset(m, 0, sizeof(*m));
	if (hwloc_topology_load(topology) != 0)
		return err_set(e, EXIT_INVALID, "%s: hwloc can't read it as a machine", what);
	if (origin == ORIGIN_THIS_MACHINE && !hwloc_topology_is_thissystem(topology))
		return err_set(e, EXIT_ENVIRONMENT,
			"the environment has hwloc show another machine; unset HWLOC_XMLFILE and "
			"HWLOC_SYNTHETIC");
	rc = read_nodes(topology, origin, m, e);
	if (rc)
		return rc;
	drop_empty_nodes(m);
	read_distances(topology, m);
	fault = machine_check(m);
	if (fault != MACHINE_OK)
		return err_set(
			e, EXIT_INVALID, "%s can't be used: %s", what, machine_fault_text(fault));
	return 0;
}

static int start(hwloc_topology_t *topology, struct err *e)
{
	if (hwloc_topology_init(topology) != 0)
		return err_set(e, EXIT_FAILED, "hwloc does not start: out of memory?");
	return 0;
}

int discover_this_machine(struct machine *m, struct err *e)
{
	hwloc_topology_t topology;
	int rc = start(&topology, e);

	if (rc)
		return rc;
	rc = load(topology, "this machine", ORIGIN_THIS_MACHINE, m, e);
	hwloc_topology_destroy(topology);
	return rc;
}

int discover_xml(const char *path, struct machine *m, struct err *e)
{
	hwloc_topology_t topology;
	int rc = start(&topology, e);

	if (rc)
		return rc;
	errno = 0;
	if (hwloc_topology_set_xml(topology, path) != 0)
		rc = err_set(e, EXIT_INVALID,
			"%s: %s; it has to be a machine's XML as 'lstopo FILE.xml' writes it", path,
			errno == ENOENT ? "no such file" : "not a topology");
	else
		rc = load(topology, path, ORIGIN_XML, m, e);
	hwloc_topology_destroy(topology);
	return rc;
}

int discover_synthetic(const char *description, struct machine *m, struct err *e)
{
	hwloc_topology_t topology;
	int rc = start(&topology, e);

	if (rc)
		return rc;
	if (hwloc_topology_set_synthetic(topology, description) != 0)
		rc = err_set(e, EXIT_INVALID,
			"'%s' is no machine that hwloc knows; right would be, for example, 'numa:4 "
			"core:2 pu:1'",
			description);
	else
		rc = load(topology, description, ORIGIN_SYNTHETIC, m, e);
	hwloc_topology_destroy(topology);
	return rc;
}
