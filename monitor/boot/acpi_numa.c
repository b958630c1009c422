/* SPDX-License-Identifier: BSD-2-Clause */
/* SRAT and SLIT: which CPUs and which memory belong together, and how far they are. */
#include "monitor/boot/acpi_table.h"
#include "monitor/layout.h"

#include <inttypes.h>

#define PAGE 4096u
#define LOCAL_DISTANCE 10u

/* Structures of the SRAT (ACPI 6.4, 5.2.16). */
#define SRAT_APIC 0u
#define SRAT_APIC_BYTES 16u
#define SRAT_MEMORY 1u
#define SRAT_MEMORY_BYTES 40u
#define SRAT_X2APIC 2u
#define SRAT_X2APIC_BYTES 24u
#define SRAT_ENABLED 1u

static bool overlap(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
	return a < b + b_bytes && b < a + a_bytes;
}

static int ranges_check(const struct acpi_machine *m, struct err *e)
{
	if (m->range_count == 0 || m->range_count > ACPI_RANGES_MAX)
		return err_set(e, EXIT_INVALID,
			"vNUMA with %u ranges of memory; 1 to %u can be had", m->range_count,
			ACPI_RANGES_MAX);
	for (uint32_t i = 0; i < m->range_count; i++) {
		const struct acpi_range *r = &m->ranges[i];

		if (r->bytes == 0 || r->addr % PAGE != 0 || r->bytes % PAGE != 0 ||
			r->addr + r->bytes < r->addr)
			return err_set(e, EXIT_INVALID,
				"vNUMA memory at 0x%" PRIx64 " of 0x%" PRIx64
				" bytes is not a range of pages",
				r->addr, r->bytes);
		if (r->node >= m->node_count)
			return err_set(e, EXIT_INVALID,
				"vNUMA memory at 0x%" PRIx64 " is of node %u; there are %u nodes",
				r->addr, r->node, m->node_count);
		if (overlap(r->addr, r->bytes, LAYOUT_LOW_RAM_END,
			    LAYOUT_HIGH_RAM - LAYOUT_LOW_RAM_END))
			return err_set(e, EXIT_INVALID,
				"vNUMA memory at 0x%" PRIx64 " reaches into the hole below 4 GiB",
				r->addr);
		for (uint32_t j = 0; j < i; j++) {
			if (overlap(r->addr, r->bytes, m->ranges[j].addr, m->ranges[j].bytes))
				return err_set(e, EXIT_INVALID,
					"vNUMA memory at 0x%" PRIx64 " is given to nodes %u and %u",
					r->addr, m->ranges[j].node, r->node);
		}
	}
	return 0;
}

static int distances_check(const struct acpi_machine *m, struct err *e)
{
	for (uint32_t from = 0; from < m->node_count; from++) {
		for (uint32_t to = 0; to < m->node_count; to++) {
			uint32_t d = m->distances[from * m->node_count + to];

			if (from == to ? d != LOCAL_DISTANCE : d <= LOCAL_DISTANCE)
				return err_set(e, EXIT_INVALID,
					"vNUMA distance from node %u to node %u is %u; it has to "
					"be %s",
					from, to, d,
					from == to ? "10, the node's own"
						   : "more than 10, the local one");
		}
	}
	return 0;
}

int acpi_numa_check(const struct acpi_machine *m, struct err *e)
{
	int rc;

	if (m->node_count > ACPI_NODES_MAX)
		return err_set(e, EXIT_INVALID, "%u vNUMA nodes; at most %u can be had",
			m->node_count, ACPI_NODES_MAX);
	for (uint32_t i = 0; i < m->cpu_count; i++) {
		if (m->cpu_node[i] >= m->node_count)
			return err_set(e, EXIT_INVALID,
				"CPU %u is of vNUMA node %u; there are %u nodes", i, m->cpu_node[i],
				m->node_count);
	}
	rc = ranges_check(m, e);
	return rc ? rc : distances_check(m, e);
}

static void srat_cpu(struct acpi_out *o, uint32_t apic_id, uint32_t node)
{
	if (acpi_is_x2apic(apic_id)) {
		acpi_put8(o, SRAT_X2APIC);
		acpi_put8(o, SRAT_X2APIC_BYTES);
		acpi_put16(o, 0);
		acpi_put32(o, node);
		acpi_put32(o, apic_id);
		acpi_put32(o, SRAT_ENABLED);
		acpi_put32(o, 0); /* clock domain */
		acpi_put32(o, 0);
		return;
	}
	acpi_put8(o, SRAT_APIC);
	acpi_put8(o, SRAT_APIC_BYTES);
	acpi_put8(o, node & 0xffu);
	acpi_put8(o, apic_id);
	acpi_put32(o, SRAT_ENABLED);
	acpi_put8(o, 0); /* SAPIC */
	acpi_put8(o, node >> 8 & 0xffu);
	acpi_put16(o, node >> 16);
	acpi_put32(o, 0); /* clock domain */
}

size_t acpi_srat(struct acpi_out *o, const struct acpi_machine *m)
{
	size_t table = acpi_begin(o, "SRAT", 3);

	acpi_put32(o, 1);
	acpi_put64(o, 0);
	for (uint32_t i = 0; i < m->cpu_count; i++)
		srat_cpu(o, acpi_apic_id(m, i), m->cpu_node[i]);
	for (uint32_t i = 0; i < m->range_count; i++) {
		acpi_put8(o, SRAT_MEMORY);
		acpi_put8(o, SRAT_MEMORY_BYTES);
		acpi_put32(o, m->ranges[i].node);
		acpi_put16(o, 0);
		acpi_put64(o, m->ranges[i].addr);
		acpi_put64(o, m->ranges[i].bytes);
		acpi_put32(o, 0);
		acpi_put32(o, SRAT_ENABLED);
		acpi_put64(o, 0);
	}
	acpi_end(o, table);
	return table;
}

size_t acpi_slit(struct acpi_out *o, const struct acpi_machine *m)
{
	size_t table = acpi_begin(o, "SLIT", 1);

	acpi_put64(o, m->node_count);
	acpi_put_bytes(o, m->distances, (size_t)m->node_count * m->node_count);
	acpi_end(o, table);
	return table;
}
