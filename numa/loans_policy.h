/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_NUMA_LOANS_POLICY_H
#define CELLVISOR_NUMA_LOANS_POLICY_H

/*
 * Whom to borrow of, and which loans to end first. Pure; docs/loans.md says why.
 * Cells are numbers, CELL_NONE is none.
 */

#include "numa/cells.h"
#include "numa/loans.h"

/* What a borrower knows of another cell. */
struct lender_view {
	bool live;
	bool refused;	     /* it has just refused */
	bool needed;	     /* the guest needs this cell already */
	uint8_t distance;    /* from the CPUs of the guest to its memory */
	uint64_t free_units; /* as it last said, loans subtracted */
};

/*
 * The cell to ask for `units` for one guest: one that the guest needs already,
 * before others, which count only if may_need; then one that has it all, keeping
 * lend_above_units; then the nearest, the one with most free, the lowest.
 */
uint32_t loans_pick_lender(const struct lender_view *cells, uint32_t cell_count, bool may_need,
	uint64_t units, uint64_t lend_above_units);

/*
 * The loan to end first now that `free_units` are free at home, and how much of it
 * to keep: of the farthest lender (distance[] by cell), the smallest, since that
 * ends a need first, the lowest id. NULL if nothing is borrowed or free.
 */
const struct loan *loans_pick_return(
	const struct loans *l, const uint8_t *distance, uint64_t free_units, uint64_t *keep);

/*
 * The loan to ask back when a node of the lender is short: of the borrower that is
 * farthest (distance[] by cell), the largest, the lowest id. Loans for which
 * recalled(ctx, loan) is true have been asked back already. NULL if there is none.
 */
const struct loan *loans_pick_recall(const struct loans *l, const uint8_t *distance,
	uint32_t os_node, bool (*recalled)(void *ctx, const struct loan *loan), void *ctx);

#endif
