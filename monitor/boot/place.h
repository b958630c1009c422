/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_BOOT_PLACE_H
#define CELLVISOR_MONITOR_BOOT_PLACE_H

#include "monitor/boot/bzimage.h"
#include "monitor/err.h"
#include "monitor/gpa.h"

#include <stdint.h>

/* Where kernel and initrd go. Pure. */

struct boot_place {
	struct gpa kernel;
	struct gpa initrd; /* 0 if there is none */
};

/* Bytes of RAM from address 0 on without a gap, at most up to LAYOUT_LOW_RAM_END. */
uint64_t boot_low_ram(const struct ram_map *m);

/*
 * Chooses addresses in [0, low_ram). The kernel goes to its preferred address:
 * a relocatable one that is loaded below moves itself there anyway. The initrd
 * (initrd_bytes 0: none) goes page aligned as high as RAM and the kernel's limit
 * allow. Returns 0, or -EINVAL (EXIT_INVALID) saying the least memory that would
 * do, or that no amount would.
 */
int boot_place(const struct bzimage *k, uint64_t initrd_bytes, uint64_t low_ram,
	struct boot_place *p, struct err *e);

/* One line of the BIOS memory map. */
struct boot_e820 {
	uint64_t addr, bytes;
	uint32_t type; /* of E820_RAM, E820_RESERVED */
};
#define BOOT_E820_RAM 1u
#define BOOT_E820_RESERVED 2u
#define BOOT_E820_MAX (RAM_REGIONS_MAX + 6u)

/*
 * The memory map that the guest is told: RAM of *m less the hole for EBDA, video
 * and BIOS, in which the ACPI tables lie, which is reserved, as are ECAM, the
 * interrupt controllers and KVM's pages. Sorted, without overlaps. Returns the
 * number of lines, at most BOOT_E820_MAX.
 */
uint32_t boot_e820(const struct ram_map *m, struct boot_e820 map[BOOT_E820_MAX]);

#endif
