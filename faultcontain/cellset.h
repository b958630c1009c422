/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_CELLSET_H
#define CELLVISOR_FAULTCONTAIN_CELLSET_H

/* A set of cells, as a value: zero-initialized is empty. */

#include <stdbool.h>
#include <stdint.h>

#include "faultcontain/wire.h"

#define CELLSET_WORDS (WIRE_CELLS_MAX / 64u)
#define CELLSET_NONE 0xffffu /* no cell: end of an iteration, nobody found */

struct cellset {
	uint64_t words[CELLSET_WORDS];
};

/* `cell` is below WIRE_CELLS_MAX in all of these; a bug of ours otherwise. */
void cellset_add(struct cellset *set, uint16_t cell);
void cellset_remove(struct cellset *set, uint16_t cell);
bool cellset_has(const struct cellset *set, uint16_t cell);

bool cellset_empty(const struct cellset *set);
bool cellset_equal(const struct cellset *a, const struct cellset *b);
bool cellset_intersects(const struct cellset *a, const struct cellset *b);
uint16_t cellset_count(const struct cellset *set);

/* *set becomes its union with, or what of it is not in, `other`. */
void cellset_unite(struct cellset *set, const struct cellset *other);
void cellset_subtract(struct cellset *set, const struct cellset *other);

/*
 * The lowest member at or above `from`, or CELLSET_NONE. To visit all in order:
 * for (c = cellset_next(s, 0); c != CELLSET_NONE; c = cellset_next(s, c + 1)).
 */
uint16_t cellset_next(const struct cellset *set, uint32_t from);

#endif
