/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_NUMA_PLACE_BORROW_H
#define CELLVISOR_NUMA_PLACE_BORROW_H

/* Part of place.c. */

#include "numa/place.h"

/*
 * A guest that fits in no cell, and may need several: in the cell that lacks least,
 * with the rest borrowed of others, chosen as for every loan (loans_policy.h). False, with *r
 * untouched, if that does not help either.
 */
bool place_borrowing(
	const struct place_state *s, const struct place_request *q, struct place_result *r);

#endif
