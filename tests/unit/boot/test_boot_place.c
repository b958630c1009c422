/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/boot/place.h"

#include "monitor/layout.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MIB (1ull << 20)
#define GIB (1ull << 30)

/* Wants 40 MiB from 16 MiB on. */
static const struct bzimage kernel = {
	.pref_addr = 16 * MIB,
	.align = 2 * MIB,
	.relocatable = true,
	.run_bytes = 40 * MIB,
	.payload_bytes = 8 * MIB,
	.initrd_last_addr = 0x7fffffff,
};

Test(place, kernel_goes_where_it_likes_to_be)
{
	struct bzimage k = kernel;
	struct boot_place p;
	struct err e;

	cr_assert_eq(boot_place(&k, 0, 512 * MIB, &p, &e), 0, "%s", e.text);
	cr_assert_eq(p.kernel.addr, 16 * MIB);
	cr_assert_eq(p.initrd.addr, 0);
	k.pref_addr = 17 * MIB;
	cr_assert_eq(boot_place(&k, 0, 512 * MIB, &p, &e), 0, "%s", e.text);
	cr_assert_eq(p.kernel.addr, 18 * MIB, "a relocatable kernel is not aligned");
	k.relocatable = false;
	k.align = 1;
	cr_assert_eq(boot_place(&k, 0, 512 * MIB, &p, &e), 0, "%s", e.text);
	cr_assert_eq(p.kernel.addr, 17 * MIB, "a fixed kernel was moved");
}

Test(place, initrd_goes_high_but_below_every_limit)
{
	static const struct {
		const char *what;
		uint64_t bytes, low_ram, last, addr;
	} table[] = {
		{ "RAM is the limit", 5 * MIB, 512 * MIB, 0x7fffffff, 507 * MIB },
		{ "the kernel is the limit", 5 * MIB, 3 * GIB, 0x7fffffff, 2 * GIB - 5 * MIB },
		{ "a limit that is not a page's", 5 * MIB, 3 * GIB, 0x7fffeffe,
			2 * GIB - 5 * MIB - 8192 },
		{ "RAM that does not end with a page", 4096, 512 * MIB + 100, 0x7fffffff,
			512 * MIB - 4096 },
		{ "a size that is not of pages", 5 * MIB + 1, 512 * MIB, 0x7fffffff,
			507 * MIB - 4096 },
		{ "one byte", 1, 512 * MIB, 0x7fffffff, 512 * MIB - 4096 },
		{ "just enough", 8 * MIB, 64 * MIB, 0x7fffffff, 56 * MIB },
		{ "all of 4 GiB allowed", 5 * MIB, 3 * GIB, 0xffffffff, 3 * GIB - 5 * MIB },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct bzimage k = kernel;
		struct boot_place p;
		struct err e;

		k.initrd_last_addr = table[i].last;
		cr_assert_eq(boot_place(&k, table[i].bytes, table[i].low_ram, &p, &e), 0, "%s: %s",
			table[i].what, e.text);
		cr_assert_eq(
			p.initrd.addr, table[i].addr, "%s: at 0x%lx", table[i].what, p.initrd.addr);
		cr_assert_leq(p.kernel.addr + k.run_bytes, p.initrd.addr);
	}
}

Test(place, too_little_memory_says_the_least_that_would_do)
{
	static const struct {
		uint64_t initrd_bytes, low_ram, least_mib;
	} table[] = {
		{ 0, 16 * MIB, 56 },
		{ 0, 0, 56 },
		{ 0, 56 * MIB - 4096, 56 },
		{ 8 * MIB, 64 * MIB - 1, 64 },
		{ 8 * MIB + 1, 64 * MIB, 65 },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct boot_place p = { .kernel = { 1 } };
		struct err e;
		char words[64];

		cr_assert_eq(boot_place(&kernel, table[i].initrd_bytes, table[i].low_ram, &p, &e),
			-EINVAL);
		cr_assert_eq(e.code, EXIT_INVALID);
		snprintf(words, sizeof(words), "at least %lu MiB", table[i].least_mib);
		cr_assert(strstr(e.text, words), "%s", e.text);
		cr_assert_eq(boot_place(&kernel, table[i].initrd_bytes, table[i].least_mib * MIB,
				     &p, &e),
			0, "what the text promised does not do: %s", e.text);
	}
}

Test(place, what_no_memory_can_hold_is_said)
{
	struct boot_place p;
	struct bzimage k = kernel;
	struct err e;

	cr_assert_eq(boot_place(&k, 2000 * MIB, 3 * GIB, &p, &e), -EINVAL);
	cr_assert(strstr(e.text, "too big"), "%s", e.text);
	cr_assert_eq(boot_place(&k, 3 * GIB, 3 * GIB, &p, &e), -EINVAL);
	cr_assert(strstr(e.text, "any memory"), "%s", e.text);
	cr_assert_eq(boot_place(&k, UINT64_MAX, 3 * GIB, &p, &e), -EINVAL);
	k.initrd_last_addr = 0;
	cr_assert_eq(boot_place(&k, 1, 3 * GIB, &p, &e), -EINVAL);
	k.run_bytes = 0xfffffffff0ull;
	k.pref_addr = LAYOUT_LOW_RAM_END - 1;
	k.align = 1u << 31;
	cr_assert_eq(boot_place(&k, 0, 3 * GIB, &p, &e), -EINVAL);
}

static struct ram_map map_of(uint32_t n, const struct ram_region *regions)
{
	struct ram_map m = { .region_count = n };

	memcpy(m.regions, regions, n * sizeof(*regions));
	return m;
}

Test(place, low_ram_ends_at_the_first_gap)
{
	const struct ram_region split[] = { { { 0 }, 64 * MIB, NULL, 0 },
		{ { 64 * MIB }, 3 * GIB - 64 * MIB, NULL, 0 }, { { 4 * GIB }, GIB, NULL, 0 } };
	const struct ram_region gap[] = { { { 0 }, 64 * MIB, NULL, 0 },
		{ { 65 * MIB }, GIB, NULL, 0 } };
	const struct ram_region late[] = { { { MIB }, GIB, NULL, 0 } };
	struct ram_map m = map_of(3, split);

	cr_assert_eq(boot_low_ram(&m), 3 * GIB);
	m = map_of(2, gap);
	cr_assert_eq(boot_low_ram(&m), 64 * MIB);
	m = map_of(1, late);
	cr_assert_eq(boot_low_ram(&m), 0);
	m = map_of(0, late);
	cr_assert_eq(boot_low_ram(&m), 0);
}

/* Sum of the lines of a type; checks that lines are sorted and apart. */
static uint64_t sum(const struct boot_e820 *map, uint32_t n, uint32_t type)
{
	uint64_t bytes = 0, end = 0;

	for (uint32_t i = 0; i < n; i++) {
		cr_assert_geq(map[i].addr, end, "line %u overlaps", i);
		cr_assert_gt(map[i].bytes, 0);
		end = map[i].addr + map[i].bytes;
		if (map[i].type == type)
			bytes += map[i].bytes;
	}
	return bytes;
}

/* The type at an address; 0 if no line tells. */
static uint32_t type_at(const struct boot_e820 *map, uint32_t n, uint64_t addr)
{
	for (uint32_t i = 0; i < n; i++) {
		if (addr >= map[i].addr && addr - map[i].addr < map[i].bytes)
			return map[i].type;
	}
	return 0;
}

#define HOLE (LAYOUT_EXT_RAM - LAYOUT_BASE_RAM_END)

Test(e820, memory_below_and_above_the_hole)
{
	static const struct {
		uint64_t addr;
		uint32_t type;
	} places[] = {
		{ 0, BOOT_E820_RAM },
		{ LAYOUT_BASE_RAM_END - 1, BOOT_E820_RAM },
		{ LAYOUT_BASE_RAM_END, BOOT_E820_RESERVED },
		{ 0xa0000, BOOT_E820_RESERVED },
		{ LAYOUT_ACPI, BOOT_E820_RESERVED },
		{ 0xfffff, BOOT_E820_RESERVED },
		{ LAYOUT_EXT_RAM, BOOT_E820_RAM },
		{ 3 * GIB - 1, BOOT_E820_RAM },
		{ LAYOUT_PCI_MMIO, 0 },
		{ LAYOUT_ECAM - 1, 0 },
		{ LAYOUT_ECAM, BOOT_E820_RESERVED },
		{ LAYOUT_ECAM + LAYOUT_ECAM_BYTES - 1, BOOT_E820_RESERVED },
		{ LAYOUT_ECAM + LAYOUT_ECAM_BYTES, 0 },
		{ LAYOUT_IOAPIC, BOOT_E820_RESERVED },
		{ LAYOUT_LAPIC, BOOT_E820_RESERVED },
		{ LAYOUT_KVM_IDENTITY_MAP, BOOT_E820_RESERVED },
		{ LAYOUT_KVM_TSS + 3 * 4096 - 1, BOOT_E820_RESERVED },
		{ 4 * GIB - 1, 0 },
		{ 4 * GIB, BOOT_E820_RAM },
		{ 7 * GIB - 1, BOOT_E820_RAM },
		{ 7 * GIB, 0 },
	};
	/* Nodes of 2, 1 + 1 and 2 GiB: the borders inside RAM must not show. */
	const struct ram_region regions[] = { { { 0 }, 2 * GIB, NULL, 0 },
		{ { 2 * GIB }, GIB, NULL, 0 }, { { 4 * GIB }, GIB, NULL, 0 },
		{ { 5 * GIB }, 2 * GIB, NULL, 0 } };
	struct ram_map m = map_of(4, regions);
	struct boot_e820 map[BOOT_E820_MAX];
	uint32_t n = boot_e820(&m, map);

	cr_assert_eq(sum(map, n, BOOT_E820_RAM), 6 * GIB - HOLE);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		cr_assert_eq(type_at(map, n, places[i].addr), places[i].type, "at 0x%lx",
			places[i].addr);
	cr_assert_eq(n, 8, "borders of nodes show: %u lines", n);
}

Test(e820, memory_that_ends_below_the_hole)
{
	const struct ram_region regions[] = { { { 0 }, 256 * MIB, NULL, 0 } };
	struct ram_map m = map_of(1, regions);
	struct boot_e820 map[BOOT_E820_MAX];
	uint32_t n = boot_e820(&m, map);

	cr_assert_eq(sum(map, n, BOOT_E820_RAM), 256 * MIB - HOLE);
	cr_assert_eq(type_at(map, n, 256 * MIB), 0);
	cr_assert_eq(type_at(map, n, 4 * GIB), 0);
}

Test(e820, as_many_regions_as_there_can_be)
{
	struct ram_map m = { .region_count = RAM_REGIONS_MAX };
	struct boot_e820 map[BOOT_E820_MAX];
	uint32_t n;

	for (uint32_t i = 0; i < RAM_REGIONS_MAX; i++)
		m.regions[i] = (struct ram_region){ { (i < 4 ? 0 : 4 * GIB) + i * 256 * MIB },
			128 * MIB, NULL, 0 };
	n = boot_e820(&m, map);
	cr_assert_eq(n, BOOT_E820_MAX);
	cr_assert_eq(sum(map, n, BOOT_E820_RAM), RAM_REGIONS_MAX * 128 * MIB - HOLE);
}
