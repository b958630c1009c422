/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_BOOT_ACPI_H
#define CELLVISOR_MONITOR_BOOT_ACPI_H

#include "monitor/err.h"

#include <stddef.h>
#include <stdint.h>

/*
 * The guest's ACPI tables (of ACPI 6.3): RSDP, XSDT, FADT (hardware-reduced), MADT,
 * MCFG, DSDT and, for a guest with vNUMA, SRAT and SLIT. Pure: a description in,
 * bytes out.
 */

#define ACPI_CPUS_MAX 1024u
#define ACPI_NODES_MAX 64u
#define ACPI_RANGES_MAX 256u

/* RAM of one vNUMA node. The hole below 4 GiB is in no range. */
struct acpi_range {
	uint64_t addr, bytes; /* multiples of 4096 */
	uint32_t node;
};

/*
 * The machine that the tables describe. All pointers are borrowed during the
 * call only.
 */
struct acpi_machine {
	uint32_t cpu_count;	     /* 1 .. ACPI_CPUS_MAX */
	const uint32_t *cpu_apic_id; /* [cpu_count]; NULL: CPU i has APIC id i */
	uint32_t node_count;	  /* vNUMA nodes; 0: flat, no SRAT and SLIT, the rest is unused */
	const uint32_t *cpu_node; /* [cpu_count] */
	uint32_t range_count;
	const struct acpi_range *ranges; /* in any order */
	/*
	 * [node_count * node_count], row = from, column = to; 10 on the diagonal and
	 * more elsewhere, 255 for unreachable.
	 */
	const uint8_t *distances;
};

/*
 * Writes the tables for placing at guest address `base` (a multiple of 16, below
 * 4 GiB) into buf. The RSDP comes first. Returns 0 with *used set, or -EINVAL
 * (EXIT_INVALID: the machine's description is not valid, or needs more than
 * buf_bytes) with the text saying which value is wrong. Nothing but buf is
 * written.
 */
int acpi_build(const struct acpi_machine *m, uint64_t base, uint8_t *buf, size_t buf_bytes,
	size_t *used, struct err *e);

#endif
