/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_NUMA_DRAIN_H
#define CELLVISOR_NUMA_DRAIN_H

/* Where the guests of a cell go that is drained. Pure. */

#include <stdbool.h>
#include <stdint.h>

/* A cell as its monitor described it just now. */
struct drain_cell {
	bool takes;	  /* it answered, and takes guests */
	uint8_t distance; /* from the drained cell */
	uint64_t room_bytes;
};

/*
 * Cells with room for a guest of so much memory, in the order in which to try them: the nearest
 * first, of equals the roomiest, then the lowest. order[] has room for `count`; the number of them.
 */
uint32_t drain_order(
	const struct drain_cell *cells, uint32_t count, uint64_t bytes, uint32_t *order);

#endif
