/* SPDX-License-Identifier: BSD-2-Clause */
#include "numa/drain.h"

/* Lower ones come first among equals, for they are entered first. */
static bool better(const struct drain_cell *a, const struct drain_cell *b)
{
	if (a->distance != b->distance)
		return a->distance < b->distance;
	return a->room_bytes > b->room_bytes;
}

uint32_t drain_order(
	const struct drain_cell *cells, uint32_t count, uint64_t bytes, uint32_t *order)
{
	uint32_t n = 0;

	for (uint32_t c = 0; c < count; c++) {
		uint32_t at = n;

		if (!cells[c].takes || cells[c].room_bytes < bytes)
			continue;
		for (n++; at > 0 && better(&cells[c], &cells[order[at - 1]]); at--)
			order[at] = order[at - 1];
		order[at] = c;
	}
	return n;
}
