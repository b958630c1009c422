/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/needs.h"

#include <stddef.h>
#include <string.h>

#include "numa/check.h"

/* Where `cell` is in the list, or would be. */
static uint16_t position(const struct needs *needs, uint16_t cell)
{
	uint16_t i = 0;

	CHECK(needs->count <= NEEDS_MAX);
	while (i < needs->count && needs->list[i].cell < cell)
		i++;
	return i;
}

static bool is_at(const struct needs *needs, uint16_t i, uint16_t cell)
{
	return i < needs->count && needs->list[i].cell == cell;
}

bool needs_add(struct needs *needs, uint16_t cell, uint32_t born)
{
	uint16_t i = position(needs, cell);

	CHECK(cell < WIRE_CELLS_MAX);
	if (is_at(needs, i, cell)) {
		if (needs->list[i].born < born)
			needs->list[i].born = born;
		return true;
	}
	if (needs->count == NEEDS_MAX)
		return false;
	memmove(&needs->list[i + 1], &needs->list[i],
		(size_t)(needs->count - i) * sizeof(needs->list[0]));
	needs->list[i] = (struct need){ .cell = cell, .born = born };
	needs->count++;
	return true;
}

void needs_remove(struct needs *needs, uint16_t cell)
{
	uint16_t i = position(needs, cell);

	if (!is_at(needs, i, cell))
		return;
	needs->count--;
	memmove(&needs->list[i], &needs->list[i + 1],
		(size_t)(needs->count - i) * sizeof(needs->list[0]));
}

bool needs_has(const struct needs *needs, uint16_t cell)
{
	return is_at(needs, position(needs, cell), cell);
}

void needs_cells(const struct needs *needs, struct cellset *cells)
{
	*cells = (struct cellset){ 0 };
	for (uint16_t i = 0; i < needs->count; i++)
		cellset_add(cells, needs->list[i].cell);
}

bool needs_hurt(const struct needs *needs, const struct cellset *dead)
{
	for (uint16_t i = 0; i < needs->count; i++)
		if (cellset_has(dead, needs->list[i].cell))
			return true;
	return false;
}

enum guest_fate needs_fate(const struct needs *needs, uint16_t home, const struct cellset *dead,
	const struct cellset *replaced)
{
	if (cellset_has(dead, home))
		return FATE_LOST;
	if (needs_hurt(needs, dead))
		return FATE_ENDED;
	return cellset_has(replaced, home) ? FATE_ADOPT : FATE_UNAFFECTED;
}

const char *guest_fate_name(enum guest_fate fate)
{
	static const char *const names[FATE_COUNT] = { "unaffected", "adopt", "ended", "lost" };

	return (unsigned)fate < FATE_COUNT ? names[fate] : "?";
}
