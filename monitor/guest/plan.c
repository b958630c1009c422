/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/guest/plan.h"

#include "monitor/guest/memory.h"
#include "numa/machine.h"
#include "numa/vnuma.h"

#include <string.h>

/* Two nodes of the guest on one node of the host: near, but SLIT wants more than 10. */
#define DISTANCE_SAME_HOST_NODE 11u

/* Bytes of [from, from + bytes) of RAM that the plan puts on `node`. */
static uint64_t bytes_on(const struct guest_home *h, uint32_t node, uint64_t from, uint64_t bytes)
{
	uint64_t at = 0, sum = 0;

	for (uint32_t i = 0; i < h->memory_count; i++) {
		uint64_t end = at + h->memory[i].bytes;
		uint64_t low = at > from ? at : from;
		uint64_t high = end < from + bytes ? end : from + bytes;

		if (h->memory[i].node == node && high > low)
			sum += high - low;
		at = end;
	}
	return sum;
}

/*
 * The host node with most of a range of RAM, the lowest on ties. Without a
 * memory plan, vNUMA nodes take the home's nodes in turn.
 */
static uint32_t main_node(const struct guest_home *h, uint32_t vnode, uint64_t from, uint64_t bytes)
{
	uint32_t best = h->nodes[vnode % h->node_count];
	uint64_t most = 0;

	for (uint32_t i = 0; i < h->node_count; i++) {
		uint64_t here = bytes_on(h, h->nodes[i], from, bytes);

		if (here > most) {
			most = here;
			best = h->nodes[i];
		}
	}
	return best;
}

static void add_cpus_of(struct cpu_set *cpus, const struct guest_home *h, uint32_t node)
{
	for (uint32_t i = 0; i < h->cpu_count; i++)
		if (h->has_cpu_nodes && h->cpu_nodes[i] == node)
			cpu_set_add(cpus, h->cpus[i]);
}

/* Guest addresses of [from, from + bytes) of RAM, which may span the hole. */
static void add_ranges(struct guest_plan *p, uint32_t vnode, uint64_t from, uint64_t bytes)
{
	while (bytes) {
		struct gpa gpa = guest_memory_gpa(from);
		uint64_t run = bytes;

		if (gpa.addr < LAYOUT_LOW_RAM_END && run > LAYOUT_LOW_RAM_END - gpa.addr)
			run = LAYOUT_LOW_RAM_END - gpa.addr;
		p->ranges[p->range_count++] =
			(struct acpi_range){ .addr = gpa.addr, .bytes = run, .node = vnode };
		from += run;
		bytes -= run;
	}
}

static uint32_t index_of(const struct guest_home *h, uint32_t node)
{
	uint32_t i = 0;

	while (h->nodes[i] != node)
		i++;
	return i;
}

static uint8_t distance(const struct guest_home *h, uint32_t from, uint32_t to)
{
	if (from == to)
		return DISTANCE_SAME_HOST_NODE;
	if (!h->has_distances)
		return DISTANCE_REMOTE_DEFAULT;
	return h->distances[index_of(h, from) * h->node_count + index_of(h, to)];
}

static void plan_vnodes(
	struct guest_plan *p, const struct guest_spec *spec, const struct guest_home *home)
{
	uint64_t from = 0;
	uint32_t n = spec->vnuma;

	for (uint32_t v = 0; v < n; v++) {
		uint64_t bytes = vnuma_bytes(spec->memory_bytes, n, v);

		p->host_node[v] = main_node(home, v, from, bytes);
		if (n > 1)
			add_cpus_of(&p->vnode_cpus[v], home, p->host_node[v]);
		add_ranges(p, v, from, bytes);
		from += bytes;
	}
	for (uint32_t a = 0; a < n; a++)
		for (uint32_t b = 0; b < n; b++) {
			uint8_t d = a == b ? DISTANCE_LOCAL
					   : distance(home, p->host_node[a], p->host_node[b]);

			/* A host's table may say 10 between nodes; a guest's may not. */
			p->distances[a * n + b] =
				a != b && d <= DISTANCE_LOCAL ? DISTANCE_SAME_HOST_NODE : d;
		}
}

int guest_plan_init(struct guest_plan *p, const struct guest_spec *spec,
	const struct guest_home *home, struct err *e)
{
	int rc;

	memset(p, 0, sizeof(*p));
	p->vnode_count = spec->vnuma;
	rc = cpuid_topology_init(&p->topology, spec->cpus, spec->vnuma ? spec->vnuma : 1, e);
	if (rc)
		return rc;
	for (uint32_t i = 0; i < spec->cpus; i++) {
		p->apic_ids[i] = cpuid_apic_id(&p->topology, i);
		p->vnode_of[i] = cpuid_package(&p->topology, i);
	}
	if (home->pin_count && home->pin_count != spec->cpus)
		return err_set(
			e, EXIT_INVALID, "home: %u CPUs for %u vCPUs", home->pin_count, spec->cpus);
	p->pinned = home->pin_count > 0;
	for (uint32_t i = 0; i < home->pin_count; i++)
		cpu_set_add(&p->pins[i], home->pins[i]);
	for (uint32_t i = 0; i < home->cpu_count; i++)
		cpu_set_add(&p->all_cpus, home->cpus[i]);
	plan_vnodes(p, spec, home);
	return 0;
}

struct acpi_machine guest_plan_machine(const struct guest_plan *p)
{
	return (struct acpi_machine){
		.cpu_count = p->topology.cpus,
		.cpu_apic_id = p->apic_ids,
		.node_count = p->vnode_count,
		.cpu_node = p->vnode_of,
		.range_count = p->range_count,
		.ranges = p->ranges,
		.distances = p->distances,
	};
}

const struct cpu_set *guest_plan_cpus(const struct guest_plan *p, uint32_t cpu)
{
	const struct cpu_set *near = &p->vnode_cpus[p->vnode_of[cpu]];

	if (p->pinned)
		return &p->pins[cpu];
	return cpu_set_empty(near) ? &p->all_cpus : near;
}
