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
 * ends a need first, the lowest id. Loans for which stays(ctx, loan) is true are passed over (NULL:
 * none). NULL if nothing is borrowed or free.
 */
const struct loan *loans_pick_return(const struct loans *l, const uint8_t *distance,
	uint64_t free_units, bool (*stays)(void *ctx, const struct loan *loan), void *ctx,
	uint64_t *keep);

/*
 * The loan to ask back when a node of the lender is short: of the borrower that is
 * farthest (distance[] by cell), the largest, the lowest id. Loans for which
 * recalled(ctx, loan) is true have been asked back already. NULL if there is none.
 */
const struct loan *loans_pick_recall(const struct loans *l, const uint8_t *distance,
	uint32_t os_node, bool (*recalled)(void *ctx, const struct loan *loan), void *ctx);

/* One node of a cell that looks after its own memory, in units. */
struct loans_node {
	uint64_t free_units; /* what guests may still take, loans subtracted */
	uint64_t lent_units;
	uint64_t recalled_units; /* of them asked back already */
};

/* A guest of that cell. */
struct loans_guest {
	uint64_t here_units; /* on that node */
	bool may_borrow;     /* it is at rest, and is allowed to need another cell */
	bool needs_others;   /* it needs another cell already */
};

enum loans_step {
	LOANS_REST,
	LOANS_RECALL, /* ask `units` back of those who borrowed them */
	LOANS_BORROW, /* borrow `units` for guest number `guest` and move so many of its pages */
	LOANS_RETURN, /* there is room for `units` of what is borrowed */
};

struct loans_thresholds {
	uint64_t borrow_below_units, lend_above_units; /* the former is the lower one */
};

/*
 * What a cell does about one of its nodes. Below borrow_below it first asks back
 * what it lent, since that costs its own guests nothing, then borrows, each time as much as
 * brings it to lend_above; for a guest that needs another cell already, then the one with most
 * memory there, the lowest. What is free above lend_above takes borrowed memory home. Between the
 * two thresholds nothing happens, so that nothing goes back and forth.
 */
enum loans_step loans_look_after(const struct loans_node *node, const struct loans_guest *guests,
	uint32_t guest_count, const struct loans_thresholds *t, uint32_t *guest, uint64_t *units);

#endif
