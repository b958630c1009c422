/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_BOOT_ACPI_TABLE_H
#define CELLVISOR_MONITOR_BOOT_ACPI_TABLE_H

#include "monitor/boot/acpi.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Writes tables one after the other into a buffer of fixed size. Writing beyond
 * it is remembered, not done, so that only the end needs a check.
 */
#define ACPI_HEADER_BYTES 36u

struct acpi_out {
	uint8_t *buf; /* borrowed */
	size_t room;
	size_t at;
	bool full;
};

/* Little-endian values at the end. */
void acpi_put8(struct acpi_out *o, uint32_t v);
void acpi_put16(struct acpi_out *o, uint32_t v);
void acpi_put32(struct acpi_out *o, uint32_t v);
void acpi_put64(struct acpi_out *o, uint64_t v);
void acpi_put_zeros(struct acpi_out *o, size_t bytes);
void acpi_put_bytes(struct acpi_out *o, const void *src, size_t bytes);

/* Goes on to a multiple of `align` (a power of two) with zeros. */
void acpi_align(struct acpi_out *o, size_t align);

/* Writes over what is there already. */
void acpi_set(struct acpi_out *o, size_t at, uint64_t v, uint32_t bytes);

/* Makes the sum of `bytes` bytes from `at` on 0 by the byte at `sum_at`. */
void acpi_sum(struct acpi_out *o, size_t at, size_t bytes, size_t sum_at);

/* Starts a table with its header, 16-aligned; returns its offset for acpi_end. */
size_t acpi_begin(struct acpi_out *o, const char signature[4], uint32_t revision);

/* Sets length and checksum of the table that acpi_begin started. */
void acpi_end(struct acpi_out *o, size_t table);

/* The tables of vNUMA; the machine has passed acpi_numa_check. */
int acpi_numa_check(const struct acpi_machine *m, struct err *e);
size_t acpi_srat(struct acpi_out *o, const struct acpi_machine *m);
size_t acpi_slit(struct acpi_out *o, const struct acpi_machine *m);

/* The APIC id of a CPU, and whether it needs the x2APIC form of an entry. */
uint32_t acpi_apic_id(const struct acpi_machine *m, uint32_t cpu);
bool acpi_is_x2apic(uint32_t apic_id);

#endif
