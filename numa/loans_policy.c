/* SPDX-License-Identifier: BSD-2-Clause */
#include "numa/loans_policy.h"

#include <stddef.h>

/* Is `a`, of a higher number, the better one to ask? */
static bool better_lender(const struct lender_view *a, const struct lender_view *b, uint64_t whole)
{
	bool a_whole = a->free_units >= whole, b_whole = b->free_units >= whole;

	if (a->needed != b->needed)
		return a->needed;
	if (a_whole != b_whole)
		return a_whole;
	if (a->distance != b->distance)
		return a->distance < b->distance;
	return a->free_units > b->free_units;
}

uint32_t loans_pick_lender(const struct lender_view *cells, uint32_t cell_count, bool may_need,
	uint64_t units, uint64_t lend_above_units)
{
	uint32_t best = CELL_NONE;

	for (uint32_t c = 0; c < cell_count; c++) {
		const struct lender_view *cell = &cells[c];

		if (!cell->live || cell->refused || cell->free_units <= lend_above_units ||
			!(cell->needed || may_need))
			continue;
		if (best == CELL_NONE ||
			better_lender(cell, &cells[best], units + lend_above_units))
			best = c;
	}
	return best;
}

const struct loan *loans_pick_return(
	const struct loans *l, const uint8_t *distance, uint64_t free_units, uint64_t *keep)
{
	const struct loan *best = NULL, *line;

	for (uint32_t at = 0; (line = loans_line(l, &at)) && free_units > 0;) {
		uint8_t far = distance[line->lender];

		if (line->state != LOAN_HELD)
			continue;
		if (!best || far > distance[best->lender] ||
			(far == distance[best->lender] &&
				(line->units < best->units ||
					(line->units == best->units && line->id < best->id))))
			best = line;
	}
	if (best)
		*keep = best->units > free_units ? best->units - free_units : 0;
	return best;
}

const struct loan *loans_pick_recall(const struct loans *l, const uint8_t *distance,
	uint32_t os_node, bool (*recalled)(void *ctx, const struct loan *loan), void *ctx)
{
	const struct loan *best = NULL, *line;

	for (uint32_t at = 0; (line = loans_line(l, &at));) {
		uint8_t far = distance[line->borrower];

		if (line->state != LOAN_LENT || line->os_node != os_node || recalled(ctx, line))
			continue;
		if (!best || far > distance[best->borrower] ||
			(far == distance[best->borrower] &&
				(line->units > best->units ||
					(line->units == best->units && line->id < best->id))))
			best = line;
	}
	return best;
}
