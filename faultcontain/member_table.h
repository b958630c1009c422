/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_MEMBER_TABLE_H
#define CELLVISOR_FAULTCONTAIN_MEMBER_TABLE_H

/*
 * What a cell knows about all cells: one word per cell, ordered so that of two
 * words the greater one is the later news. To learn is to take the maximum, so
 * knowledge never goes back, in whatever order messages come: the death of a
 * boot of a cell outweighs every life of that boot, and a later boot outweighs
 * the death of the one before.
 *
 *   bits 63..33 born (first life of the boot)   32 dead   31..0 life
 *
 * 0: never heard of. born 0 and dead: found dead by a cell that never heard of it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "faultcontain/cellset.h"

#define WORD_DEAD (UINT64_C(1) << 32)

static inline uint64_t word_make(uint32_t born, uint32_t life)
{
	return (uint64_t)born << 33 | life;
}

static inline uint32_t word_born(uint64_t word)
{
	return (uint32_t)(word >> 33);
}

static inline uint32_t word_life(uint64_t word)
{
	return (uint32_t)word;
}

static inline bool word_dead(uint64_t word)
{
	return (word & WORD_DEAD) != 0;
}

/* Known and not dead. */
static inline bool word_live(uint64_t word)
{
	return word != 0 && !word_dead(word);
}

/* Can this word be true of any cell? */
bool word_valid(uint64_t word);

/* *to becomes the maximum of both, per cell; true if that changed it. */
bool table_merge(uint64_t *to, const uint64_t *from, uint16_t cells);
bool table_equal(const uint64_t *a, const uint64_t *b, uint16_t cells);
/* Is a[c] <= b[c] for every cell? */
bool table_below(const uint64_t *a, const uint64_t *b, uint16_t cells);
void table_live(const uint64_t *table, uint16_t cells, struct cellset *live);

/*
 * A ballot names one attempt to agree and, if it succeeds, the epoch of the view:
 *   bits 63..32 count   31..22 cell of the coordinator   21..0 its life, low bits
 * 0 is no ballot. Two attempts never share one: a life never repeats a count.
 */
static inline uint64_t ballot_make(uint32_t count, uint16_t cell, uint32_t life)
{
	return (uint64_t)count << 32 | (uint64_t)cell << 22 | (life & 0x3fffffu);
}

static inline uint32_t ballot_count(uint64_t ballot)
{
	return (uint32_t)(ballot >> 32);
}

static inline uint16_t ballot_cell(uint64_t ballot)
{
	return (uint16_t)(ballot >> 22 & 0x3ffu);
}

/* Was it made by this life of this cell? */
static inline bool ballot_of(uint64_t ballot, uint16_t cell, uint32_t life)
{
	return ballot_cell(ballot) == cell && (ballot & 0x3fffffu) == (life & 0x3fffffu);
}

#endif
