/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/cellset.h"

#include <string.h>

#include "numa/check.h"

static uint64_t bit_of(uint16_t cell)
{
	CHECK(cell < WIRE_CELLS_MAX);
	return UINT64_C(1) << (cell % 64u);
}

void cellset_add(struct cellset *set, uint16_t cell)
{
	uint64_t bit = bit_of(cell);

	set->words[cell / 64u] |= bit;
}

void cellset_remove(struct cellset *set, uint16_t cell)
{
	uint64_t bit = bit_of(cell);

	set->words[cell / 64u] &= ~bit;
}

bool cellset_has(const struct cellset *set, uint16_t cell)
{
	uint64_t bit = bit_of(cell);

	return (set->words[cell / 64u] & bit) != 0;
}

bool cellset_empty(const struct cellset *set)
{
	for (uint32_t i = 0; i < CELLSET_WORDS; i++)
		if (set->words[i])
			return false;
	return true;
}

bool cellset_equal(const struct cellset *a, const struct cellset *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

bool cellset_intersects(const struct cellset *a, const struct cellset *b)
{
	for (uint32_t i = 0; i < CELLSET_WORDS; i++)
		if (a->words[i] & b->words[i])
			return true;
	return false;
}

uint16_t cellset_count(const struct cellset *set)
{
	int count = 0;

	for (uint32_t i = 0; i < CELLSET_WORDS; i++)
		count += __builtin_popcountll(set->words[i]);
	return (uint16_t)count;
}

void cellset_unite(struct cellset *set, const struct cellset *other)
{
	for (uint32_t i = 0; i < CELLSET_WORDS; i++)
		set->words[i] |= other->words[i];
}

void cellset_subtract(struct cellset *set, const struct cellset *other)
{
	for (uint32_t i = 0; i < CELLSET_WORDS; i++)
		set->words[i] &= ~other->words[i];
}

uint16_t cellset_next(const struct cellset *set, uint32_t from)
{
	uint64_t word;

	if (from >= WIRE_CELLS_MAX)
		return CELLSET_NONE;
	word = set->words[from / 64u] & (UINT64_MAX << (from % 64u));
	for (uint32_t i = from / 64u;;) {
		if (word)
			return (uint16_t)(i * 64u + (uint32_t)__builtin_ctzll(word));
		if (++i == CELLSET_WORDS)
			return CELLSET_NONE;
		word = set->words[i];
	}
}
