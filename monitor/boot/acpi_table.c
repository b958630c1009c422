/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/boot/acpi_table.h"

#include <string.h>

/* Offsets in a table's header (ACPI 6.4, 5.2.6). */
#define HEADER_LENGTH 4u
#define HEADER_CHECKSUM 9u

static void put(struct acpi_out *o, uint64_t v, uint32_t bytes)
{
	if (bytes > o->room - o->at) {
		o->full = true;
		return;
	}
	o->at += bytes;
	acpi_set(o, o->at - bytes, v, bytes);
}

void acpi_put8(struct acpi_out *o, uint32_t v)
{
	put(o, v, 1);
}

void acpi_put16(struct acpi_out *o, uint32_t v)
{
	put(o, v, 2);
}

void acpi_put32(struct acpi_out *o, uint32_t v)
{
	put(o, v, 4);
}

void acpi_put64(struct acpi_out *o, uint64_t v)
{
	put(o, v, 8);
}

void acpi_put_bytes(struct acpi_out *o, const void *src, size_t bytes)
{
	if (bytes > o->room - o->at) {
		o->full = true;
		return;
	}
	memcpy(o->buf + o->at, src, bytes);
	o->at += bytes;
}

void acpi_put_zeros(struct acpi_out *o, size_t bytes)
{
	if (bytes > o->room - o->at) {
		o->full = true;
		return;
	}
	memset(o->buf + o->at, 0, bytes);
	o->at += bytes;
}

void acpi_align(struct acpi_out *o, size_t align)
{
	acpi_put_zeros(o, -o->at & (align - 1));
}

void acpi_set(struct acpi_out *o, size_t at, uint64_t v, uint32_t bytes)
{
	if (o->full || at + bytes > o->at)
		return;
	for (uint32_t i = 0; i < bytes; i++)
		o->buf[at + i] = (uint8_t)(v >> (8 * i));
}

void acpi_sum(struct acpi_out *o, size_t at, size_t bytes, size_t sum_at)
{
	uint8_t sum = 0;

	acpi_set(o, sum_at, 0, 1);
	if (o->full)
		return;
	for (size_t i = 0; i < bytes; i++)
		sum = (uint8_t)(sum + o->buf[at + i]);
	acpi_set(o, sum_at, (uint8_t)-sum, 1);
}

size_t acpi_begin(struct acpi_out *o, const char signature[4], uint32_t revision)
{
	size_t table;

	acpi_align(o, 16);
	table = o->at;
	acpi_put_bytes(o, signature, 4);
	acpi_put32(o, 0); /* length */
	acpi_put8(o, revision);
	acpi_put8(o, 0); /* checksum */
	acpi_put_bytes(o, "CELLVR", 6);
	acpi_put_bytes(o, "CELLVISR", 8);
	acpi_put32(o, 1); /* OEM revision */
	acpi_put_bytes(o, "CLVR", 4);
	acpi_put32(o, 1); /* creator revision */
	return table;
}

void acpi_end(struct acpi_out *o, size_t table)
{
	acpi_set(o, table + HEADER_LENGTH, o->at - table, 4);
	acpi_sum(o, table, o->at - table, table + HEADER_CHECKSUM);
}
