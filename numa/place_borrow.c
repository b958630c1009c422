/* SPDX-License-Identifier: BSD-2-Clause */
#include "numa/place_borrow.h"

#include <string.h>

#include "numa/check.h"
#include "numa/loans_policy.h"
#include "numa/place_spread.h"

/* What a node can give away and keep `keep` of it, in whole units. */
static uint64_t above(uint64_t free_bytes, uint64_t keep)
{
	return free_bytes > keep ? (free_bytes - keep) / VNUMA_UNIT_BYTES * VNUMA_UNIT_BYTES : 0;
}

/* What a cell may lend. */
static uint64_t lendable(const struct place_state *s, uint32_t cell)
{
	const struct cell_plan *plan = &s->cells->cells[cell];
	uint64_t sum = 0;

	for (uint32_t k = 0; k < plan->node_count; k++)
		sum += above(s->free_bytes[plan->nodes[k]], s->lend_above_bytes);
	return sum;
}

/* What the guest may have of its home: each node keeps enough not to be short at once. */
static uint64_t home_room(const struct place_state *s, uint32_t cell)
{
	const struct cell_plan *plan = &s->cells->cells[cell];
	uint64_t sum = 0;

	for (uint32_t k = 0; k < plan->node_count; k++)
		sum += above(s->free_bytes[plan->nodes[k]], s->borrow_below_bytes);
	return sum;
}

/* The part of the guest that lies at home, placed by the rules for any guest. */
static bool place_home_part(const struct place_state *s, const struct place_request *q,
	uint32_t cell, uint64_t bytes, struct place_result *r)
{
	struct place_state kept = *s;
	struct place_request part = *q;

	for (uint32_t n = 0; n < s->machine->node_count; n++)
		kept.free_bytes[n] = above(s->free_bytes[n], s->borrow_below_bytes);
	part.memory_bytes = bytes;
	part.cell = cell;
	part.vnuma = 1;
	part.cells_max = 1;
	return place_guest(&kept, &part, r);
}

/* Least of a cell's node for the most: the node with the most to lend, the lowest on ties. */
static uint32_t fullest(const uint64_t *room, const struct cell_plan *plan)
{
	uint32_t best = NODE_NONE;

	for (uint32_t k = 0; k < plan->node_count; k++)
		if (room[plan->nodes[k]] > 0 &&
			(best == NODE_NONE || room[plan->nodes[k]] > room[best]))
			best = plan->nodes[k];
	return best;
}

/* Takes up to `bytes` of the nodes of one cell. What it took. */
static uint64_t take_of(
	const struct place_state *s, uint32_t cell, uint64_t bytes, struct place_result *r)
{
	const struct cell_plan *plan = &s->cells->cells[cell];
	uint64_t room[MACHINE_NODES_MAX] = { 0 }, took = 0;
	uint32_t n;

	for (uint32_t k = 0; k < plan->node_count; k++)
		room[plan->nodes[k]] = above(s->free_bytes[plan->nodes[k]], s->lend_above_bytes);
	while (took < bytes && (n = fullest(room, plan)) != NODE_NONE) {
		uint64_t more = room[n] < bytes - took ? room[n] : bytes - took;

		CHECK(r->share_count < PLACE_SHARES_MAX);
		r->shares[r->share_count++] = (struct place_share){ .node = n, .bytes = more };
		room[n] = 0;
		took += more;
	}
	return took;
}

static uint8_t distance(const struct place_state *s, uint32_t from_node, uint32_t cell)
{
	const struct cell_plan *plan = &s->cells->cells[cell];
	uint8_t least = UINT8_MAX;

	for (uint32_t k = 0; k < plan->node_count; k++)
		if (s->machine->distance[from_node][plan->nodes[k]] < least)
			least = s->machine->distance[from_node][plan->nodes[k]];
	return least;
}

/* Borrows `bytes` for a guest that is placed in its home. False: it may not need so many cells. */
static bool borrow(const struct place_state *s, const struct place_request *q, uint64_t bytes,
	struct place_result *r)
{
	struct lender_view cells[CELLS_MAX];
	uint32_t needed = 1;

	for (uint32_t c = 0; c < s->cells->cell_count; c++)
		cells[c] = (struct lender_view){
			.live = s->alive[c] && c != r->spot.cell,
			.distance = distance(s, r->vcpu_node[0], c),
			.free_units = (lendable(s, c) + s->lend_above_bytes) / VNUMA_UNIT_BYTES,
		};
	r->borrowed_bytes = bytes;
	while (bytes > 0) {
		uint32_t c = loans_pick_lender(cells, s->cells->cell_count, needed < q->cells_max,
			bytes / VNUMA_UNIT_BYTES, s->lend_above_bytes / VNUMA_UNIT_BYTES);

		if (c == CELL_NONE)
			return false;
		cells[c].refused = true; /* it gives all that it has, or all that is missing */
		needed++;
		bytes -= take_of(s, c, bytes, r);
	}
	return true;
}

bool place_borrowing(
	const struct place_state *s, const struct place_request *q, struct place_result *r)
{
	bool tried[CELLS_MAX] = { false };

	if (q->cells_max <= 1 || q->node_count > 0)
		return false;
	for (;;) {
		struct place_result made;
		uint32_t best = CELL_NONE;
		uint64_t room;

		for (uint32_t c = 0; c < s->cells->cell_count; c++) {
			if (!s->alive[c] || tried[c] || (q->cell != CELL_NONE && q->cell != c))
				continue;
			if (best == CELL_NONE || home_room(s, c) > home_room(s, best))
				best = c;
		}
		if (best == CELL_NONE)
			return false;
		tried[best] = true;
		room = home_room(s, best);
		room = room < q->memory_bytes ? room : q->memory_bytes;
		if (room == 0 || !place_home_part(s, q, best, room, &made) ||
			!borrow(s, q, q->memory_bytes - room, &made))
			continue;
		made.reason = PLACE_BORROWED;
		made.asked_bytes = q->memory_bytes;
		*r = made;
		return true;
	}
}
