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

const struct loan *loans_pick_return(const struct loans *l, const uint8_t *distance,
	uint64_t free_units, bool (*stays)(void *ctx, const struct loan *loan), void *ctx,
	uint64_t *keep)
{
	const struct loan *best = NULL, *line;

	for (uint32_t at = 0; (line = loans_line(l, &at)) && free_units > 0;) {
		uint8_t far = distance[line->lender];

		if (line->state != LOAN_HELD || (stays && stays(ctx, line)))
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

static bool better_borrower(const struct loans_guest *a, const struct loans_guest *b)
{
	if (a->needs_others != b->needs_others)
		return a->needs_others;
	return a->here_units > b->here_units;
}

enum loans_step loans_look_after(const struct loans_node *node, const struct loans_guest *guests,
	uint32_t guest_count, const struct loans_thresholds *t, uint32_t *guest, uint64_t *units)
{
	uint64_t missing, mine = node->lent_units - node->recalled_units;
	const struct loans_guest *best = NULL;

	if (node->free_units > t->lend_above_units) {
		*units = node->free_units - t->lend_above_units;
		return LOANS_RETURN;
	}
	if (node->free_units >= t->borrow_below_units)
		return LOANS_REST;
	missing = t->lend_above_units - node->free_units;
	/* What was asked back may be on its way. */
	if (node->recalled_units >= missing)
		return LOANS_REST;
	missing -= node->recalled_units;
	if (mine > 0) {
		*units = mine < missing ? mine : missing;
		return LOANS_RECALL;
	}
	for (uint32_t i = 0; i < guest_count; i++) {
		if (!guests[i].may_borrow || guests[i].here_units == 0)
			continue;
		if (!best || better_borrower(&guests[i], best))
			best = &guests[i];
	}
	if (!best)
		return LOANS_REST;
	*guest = (uint32_t)(best - guests);
	*units = best->here_units < missing ? best->here_units : missing;
	return LOANS_BORROW;
}
