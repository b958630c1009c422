/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/boot/place.h"

#include "monitor/layout.h"
#include "numa/check.h"

#include <inttypes.h>

#define PAGE 4096ull
#define MIB (1u << 20)
#define PAGE_DOWN(x) ((x) & ~(PAGE - 1))
#define PAGE_UP(x) PAGE_DOWN((x) + PAGE - 1)

/* For texts: rounded up. */
static uint64_t mib(uint64_t bytes)
{
	return (bytes + MIB - 1) / MIB;
}

uint64_t boot_low_ram(const struct ram_map *m)
{
	uint64_t end = 0;

	for (uint32_t i = 0; i < m->region_count; i++) {
		if (m->regions[i].gpa.addr != end)
			break;
		end += m->regions[i].bytes;
	}
	return end < LAYOUT_LOW_RAM_END ? end : LAYOUT_LOW_RAM_END;
}

int boot_place(const struct bzimage *k, uint64_t initrd_bytes, uint64_t low_ram,
	struct boot_place *p, struct err *e)
{
	uint64_t kernel = (k->pref_addr + k->align - 1) & ~(k->align - 1);
	uint64_t kernel_end = PAGE_UP(kernel + k->run_bytes);
	uint64_t least = kernel_end + PAGE_UP(initrd_bytes);
	uint64_t limit = PAGE_DOWN(k->initrd_last_addr + 1);
	uint64_t top = PAGE_DOWN(low_ram);

	/* Neither sum can wrap: align and run_bytes have 36 bits at most, pref_addr 32. */
	if (initrd_bytes > LAYOUT_LOW_RAM_END || least > LAYOUT_LOW_RAM_END)
		return err_set(e, EXIT_INVALID,
			"kernel (%" PRIu64 " MiB from %" PRIu64 " MiB on) and initrd (%" PRIu64
			" MiB) don't fit below %" PRIu64 " MiB, with any memory",
			mib(k->run_bytes), mib(kernel), mib(initrd_bytes), mib(LAYOUT_LOW_RAM_END));
	if (initrd_bytes > 0 && least > limit)
		return err_set(e, EXIT_INVALID,
			"the initrd (%" PRIu64
			" MiB) is too big for this kernel, which wants it between "
			"%" PRIu64 " and %" PRIu64 " MiB",
			mib(initrd_bytes), mib(kernel_end), limit / MIB);
	if (least > top)
		return err_set(e, EXIT_INVALID,
			"%" PRIu64 " MiB of memory are too little: this kernel%s needs at least "
			"%" PRIu64 " MiB to be loaded, and more to work",
			low_ram / MIB, initrd_bytes ? " with its initrd" : "", mib(least));
	if (top > limit)
		top = limit;
	p->kernel.addr = kernel;
	p->initrd.addr = initrd_bytes ? PAGE_DOWN(top - initrd_bytes) : 0;
	return 0;
}

/* Adds a line, or lengthens the last one if it goes on. Empty ones are left out. */
static uint32_t line_add(
	struct boot_e820 *map, uint32_t n, uint64_t from, uint64_t to, uint32_t type)
{
	if (from >= to)
		return n;
	if (n > 0 && map[n - 1].type == type && map[n - 1].addr + map[n - 1].bytes == from) {
		map[n - 1].bytes += to - from;
		return n;
	}
	CHECK(n < BOOT_E820_MAX);
	map[n] = (struct boot_e820){ .addr = from, .bytes = to - from, .type = type };
	return n + 1;
}

/* Adds the RAM of *m that lies in [from, to). */
static uint32_t ram_add(
	const struct ram_map *m, struct boot_e820 *map, uint32_t n, uint64_t from, uint64_t to)
{
	for (uint32_t i = 0; i < m->region_count; i++) {
		uint64_t start = m->regions[i].gpa.addr;
		uint64_t end = start + m->regions[i].bytes;

		n = line_add(
			map, n, start > from ? start : from, end < to ? end : to, BOOT_E820_RAM);
	}
	return n;
}

uint32_t boot_e820(const struct ram_map *m, struct boot_e820 map[BOOT_E820_MAX])
{
	static const struct {
		uint64_t from, bytes;
	} reserved[] = {
		{ LAYOUT_ECAM, LAYOUT_ECAM_BYTES },
		{ LAYOUT_IOAPIC, PAGE },
		{ LAYOUT_LAPIC, PAGE },
		{ LAYOUT_KVM_IDENTITY_MAP, LAYOUT_KVM_TSS + 3 * PAGE - LAYOUT_KVM_IDENTITY_MAP },
	};
	uint32_t n = 0;

	n = ram_add(m, map, n, 0, LAYOUT_BASE_RAM_END);
	n = line_add(map, n, LAYOUT_BASE_RAM_END, LAYOUT_EXT_RAM, BOOT_E820_RESERVED);
	n = ram_add(m, map, n, LAYOUT_EXT_RAM, LAYOUT_LOW_RAM_END);
	for (uint32_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
		n = line_add(map, n, reserved[i].from, reserved[i].from + reserved[i].bytes,
			BOOT_E820_RESERVED);
	return ram_add(m, map, n, LAYOUT_HIGH_RAM, UINT64_MAX);
}
