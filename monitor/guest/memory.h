/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_GUEST_MEMORY_H
#define CELLVISOR_MONITOR_GUEST_MEMORY_H

/*
 * Guest RAM: one memfd, which the cell monitor holds too. Offset 0 is guest
 * address 0; RAM beyond LAYOUT_LOW_RAM_END goes on at LAYOUT_HIGH_RAM. Each view
 * maps all of it, through a range of host addresses of its own.
 */

#include "monitor/err.h"
#include "monitor/gpa.h"
#include "monitor/guest/home.h"
#include "monitor/layout.h"

#include <stdint.h>

#define GUEST_MEMORY_NAME "cv-ram"

struct guest_memory {
	int fd; /* owned */
	uint64_t bytes;
};

/* Makes the memfd; no page of it exists yet. 0, or a negative errno with *e. */
int guest_memory_init(struct guest_memory *m, uint64_t bytes, struct err *e);
void guest_memory_fini(struct guest_memory *m);

/*
 * Maps all of it. The mapping asks for huge pages and is left out of core dumps;
 * pages are allocated where `home` says, whoever touches them first, and through
 * whatever mapping. 0 with *hva, or a negative errno with *e.
 */
int guest_memory_map(
	const struct guest_memory *m, const struct guest_home *home, uint8_t **hva, struct err *e);
void guest_memory_unmap(const struct guest_memory *m, uint8_t *hva);

/* Guest address of offset `off`. Pure. */
struct gpa guest_memory_gpa(uint64_t off);

/* RAM of `bytes` bytes, mapped at `hva`, as devices and loaders see it. Pure. */
void guest_memory_regions(uint64_t bytes, uint8_t *hva, struct ram_map *map);

#endif
