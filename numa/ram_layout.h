/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_NUMA_RAM_LAYOUT_H
#define CELLVISOR_NUMA_RAM_LAYOUT_H

/*
 * On which nodes the RAM of one guest lies, as it was decided: ranges in order of
 * its offsets, and which of it to move when memory is borrowed or given back. Pure.
 */

#include <stdbool.h>
#include <stdint.h>

#define RAM_RANGES_MAX 128u
/* A move touches so many ranges at most. */
#define RAM_PIECES_MAX RAM_RANGES_MAX

/* Units are VNUMA_UNIT_BYTES. */
struct ram_range {
	uint32_t os_node;
	uint64_t units; /* at least 1 */
};

/* Neighbours are on different nodes. */
struct ram_layout {
	uint32_t count;
	struct ram_range ranges[RAM_RANGES_MAX];
};

/* A part that goes to another node. */
struct ram_piece {
	uint64_t at, units;
	uint32_t from, to;
};

/* Appends `units` of a node at the end. False, nothing changed: too many ranges. */
bool ram_append(struct ram_layout *l, uint32_t os_node, uint64_t units);

uint64_t ram_units(const struct ram_layout *l);
/* Of them on this node. */
uint64_t ram_on(const struct ram_layout *l, uint32_t os_node);

/*
 * Which `units` (at most those that are there) of node `from` go to `to`: from the highest
 * offsets down, or, with `from_below`, from the lowest up. So memory that is borrowed piece by
 * piece lies together, and what is given back grows the range that it came from. The number of
 * pieces, at most `room`; fewer units if these are not enough.
 */
uint32_t ram_plan(const struct ram_layout *l, uint32_t from, uint32_t to, uint64_t units,
	bool from_below, struct ram_piece *pieces, uint32_t room);

/* Writes down that a piece is on its new node. False, nothing changed: too many ranges. */
bool ram_apply(struct ram_layout *l, const struct ram_piece *piece);

#endif
