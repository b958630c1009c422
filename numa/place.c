/* SPDX-License-Identifier: BSD-2-Clause */
#include "numa/place.h"

#include <string.h>

#include "numa/check.h"
#include "numa/place_borrow.h"
#include "numa/place_spread.h"

/* A way to do what was asked. */
struct candidate {
	struct place_spot spot;
	struct place_plan plan;
};

uint64_t place_cell_free(const struct place_state *s, uint32_t cell)
{
	const struct cell_plan *plan = &s->cells->cells[cell];
	uint64_t sum = 0;

	for (uint32_t k = 0; k < plan->node_count; k++)
		sum += s->free_bytes[plan->nodes[k]];
	return sum;
}

uint64_t place_room(uint64_t at_start_bytes, uint64_t promised_bytes, uint64_t available_bytes)
{
	uint64_t part = at_start_bytes / PLACE_RESERVE_PART;
	uint64_t reserve = part > PLACE_RESERVE_BYTES ? part : PLACE_RESERVE_BYTES;
	uint64_t room = at_start_bytes;

	room = room > promised_bytes ? room - promised_bytes : 0;
	room = room < available_bytes ? room : available_bytes;
	room = room > reserve ? room - reserve : 0;
	return room / VNUMA_UNIT_BYTES * VNUMA_UNIT_BYTES;
}

void place_add_guest(
	struct place_state *s, const uint32_t *nodes, uint32_t node_count, uint32_t vcpus)
{
	uint32_t with_cpus[MACHINE_NODES_MAX], count = 0, dealt[MACHINE_NODES_MAX] = { 0 };
	uint32_t cell = CELL_NONE;

	for (uint32_t i = 0; i < node_count; i++) {
		if (nodes[i] >= s->machine->node_count)
			continue;
		cell = cells_of_node(s->cells, nodes[i]);
		if (!cpu_set_empty(&s->machine->nodes[nodes[i]].cpus) && count < MACHINE_NODES_MAX)
			with_cpus[count++] = nodes[i];
	}
	if (count == 0 && cell != CELL_NONE) {
		const struct cell_plan *plan = &s->cells->cells[cell];

		for (uint32_t k = 0; k < plan->node_count; k++) {
			if (!cpu_set_empty(&s->machine->nodes[plan->nodes[k]].cpus))
				with_cpus[count++] = plan->nodes[k];
		}
	}
	if (count > 0)
		place_deal(s->machine, with_cpus, count, vcpus, s->node_vcpus, dealt);
}

static bool request_ok(const struct place_request *q)
{
	return q->memory_bytes > 0 && q->memory_bytes % VNUMA_UNIT_BYTES == 0 && q->vcpus > 0 &&
	       q->vcpus <= PLACE_VCPUS_MAX && q->vnuma <= VNUMA_MAX && q->vnuma <= q->vcpus &&
	       q->vnuma <= q->memory_bytes / VNUMA_UNIT_BYTES && q->node_count <= MACHINE_NODES_MAX;
}

/* Judges the nodes that the user named; PLACE_LOWEST when there is nothing against them. */
static enum place_reason judge_nodes(
	const struct place_state *s, const struct place_request *q, struct place_result *r)
{
	for (uint32_t i = 0; i < q->node_count; i++) {
		uint32_t node = machine_node_of(s->machine, q->os_nodes[i]), owner;

		r->os_node = q->os_nodes[i];
		if (node == NODE_NONE)
			return PLACE_NO_SUCH_NODE;
		for (uint32_t k = 0; k < i; k++) {
			if (q->os_nodes[k] == q->os_nodes[i])
				return PLACE_NODE_TWICE;
		}
		owner = cells_of_node(s->cells, node);
		CHECK(owner != CELL_NONE);
		if (q->cell != CELL_NONE && owner != q->cell)
			return PLACE_NODES_NOT_OF_CELL;
		if (r->spot.cell != CELL_NONE && owner != r->spot.cell)
			return PLACE_NODES_OF_TWO_CELLS;
		r->spot.cell = owner;
	}
	return PLACE_LOWEST;
}

/* Judges all that the user named; then r->spot.cell is the only cell allowed, or CELL_NONE. */
static enum place_reason judge_wishes(
	const struct place_state *s, const struct place_request *q, struct place_result *r)
{
	enum place_reason against;

	if (!request_ok(q))
		return PLACE_BAD_REQUEST;
	r->spot.cell = q->cell;
	if (q->cell != CELL_NONE && q->cell >= s->cells->cell_count)
		return PLACE_NO_SUCH_CELL;
	against = judge_nodes(s, q, r);
	if (against != PLACE_LOWEST)
		return against;
	if (r->spot.cell != CELL_NONE && !s->alive[r->spot.cell])
		return PLACE_CELL_DEAD;
	return PLACE_LOWEST;
}

static struct place_spot node_spot(const struct place_state *s, uint32_t cell, uint32_t node)
{
	return (struct place_spot){
		.cell = cell,
		.node = node,
		.free_bytes = place_free(s, node),
		.vcpus = s->node_vcpus[node],
		.cpus = cpu_set_count(&s->machine->nodes[node].cpus),
	};
}

/* What of the cell the request allows, as one place. */
static struct place_spot cell_spot(
	const struct place_state *s, const struct place_request *q, uint32_t cell)
{
	const struct cell_plan *plan = &s->cells->cells[cell];
	struct place_spot spot = { .cell = cell, .node = NODE_NONE };

	for (uint32_t k = 0; k < plan->node_count; k++) {
		uint32_t n = plan->nodes[k];

		if (!place_allowed(s, q, n))
			continue;
		spot.free_bytes += place_free(s, n);
		spot.vcpus += s->node_vcpus[n];
		spot.cpus += cpu_set_count(&s->machine->nodes[n].cpus);
	}
	return spot;
}

/* Rule 4: below 0 if `a` is the better place, above 0 if `b` is; *why says what decided. */
static int compare(const struct candidate *a, const struct candidate *b, enum place_reason *why)
{
	const struct place_spot *x = &a->spot, *y = &b->spot;
	uint64_t x_load = (uint64_t)x->vcpus * y->cpus, y_load = (uint64_t)y->vcpus * x->cpus;

	if (a->plan.shape != b->plan.shape) {
		bool spread = a->plan.shape == SHAPE_SPREAD || b->plan.shape == SHAPE_SPREAD;

		*why = spread ? PLACE_WHOLE : PLACE_OWN_NODES;
		return a->plan.shape < b->plan.shape ? -1 : 1;
	}
	if (x_load != y_load) {
		*why = PLACE_LEAST_BUSY;
		return x_load < y_load ? -1 : 1;
	}
	if (x->free_bytes != y->free_bytes) {
		*why = PLACE_MOST_FREE;
		return x->free_bytes > y->free_bytes ? -1 : 1;
	}
	*why = PLACE_LOWEST;
	if (x->cell != y->cell)
		return x->cell < y->cell ? -1 : 1;
	return x->node < y->node ? -1 : 1;
}

/* The best of all candidates so far, and the best of the others. */
struct contest {
	struct candidate best, second, next;
};

/* Enters c->next. */
static void enter(struct contest *c)
{
	enum place_reason ignored;

	if (c->best.spot.cell == CELL_NONE || compare(&c->next, &c->best, &ignored) < 0) {
		c->second = c->best;
		c->best = c->next;
	} else if (c->second.spot.cell == CELL_NONE ||
		   compare(&c->next, &c->second, &ignored) < 0) {
		c->second = c->next;
	}
}

/* Enters every way in which the guest fits into this cell: rule 3. */
static void enter_cell(const struct place_state *s, const struct place_request *q, uint32_t cell,
	struct contest *c)
{
	const struct cell_plan *plan = &s->cells->cells[cell];
	bool found = false;

	if (q->vnuma > 1) {
		found = place_vnodes(s, q, cell, &c->next.plan);
	} else if (q->node_count <= 1) {
		for (uint32_t k = 0; k < plan->node_count; k++) {
			if (!place_allowed(s, q, plan->nodes[k]) ||
				!place_on_node(s, q, plan->nodes[k], &c->next.plan))
				continue;
			c->next.spot = node_spot(s, cell, plan->nodes[k]);
			enter(c);
			found = true;
		}
		if (found)
			return;
	}
	if (!found && !place_spread(s, q, cell, &c->next.plan))
		return;
	c->next.spot = cell_spot(s, q, cell);
	enter(c);
}

/* The numbers behind a refusal, and which one it is. */
static enum place_reason refuse(
	const struct place_state *s, const struct place_request *q, struct place_result *r)
{
	bool alive = false, memory = false;

	r->most_free_cell = CELL_NONE;
	for (uint32_t i = 0; i < s->cells->cell_count; i++) {
		const struct cell_plan *plan = &s->cells->cells[i];
		struct place_spot spot = cell_spot(s, q, i);
		uint32_t vcpus = 0;

		if (!s->alive[i])
			continue;
		alive = true;
		r->machine_free_bytes += place_cell_free(s, i);
		if (r->spot.cell != CELL_NONE && r->spot.cell != i)
			continue;
		if (r->most_free_cell == CELL_NONE || spot.free_bytes > r->most_free_bytes) {
			r->most_free_bytes = spot.free_bytes;
			r->most_free_cell = i;
		}
		if (spot.free_bytes < q->memory_bytes)
			continue;
		memory = true;
		for (uint32_t k = 0; k < plan->node_count; k++) {
			if (spot.cpus == 0 || place_allowed(s, q, plan->nodes[k]))
				vcpus += place_vcpu_room(s, plan->nodes[k]);
		}
		r->most_vcpus = vcpus > r->most_vcpus ? vcpus : r->most_vcpus;
	}
	if (!alive)
		return PLACE_NO_CELL_ALIVE;
	return memory ? PLACE_TOO_MANY_VCPUS : PLACE_NO_MEMORY;
}

static void take_plan(const struct place_state *s, const struct place_request *q,
	const struct contest *c, struct place_result *r)
{
	const struct place_plan *p = &c->best.plan;

	r->spot = c->best.spot;
	r->runner_up = c->second.spot;
	r->share_count = p->share_count;
	memcpy(r->shares, p->shares, sizeof(r->shares));
	memcpy(r->vcpu_node, p->vcpu_node, sizeof(r->vcpu_node));
	for (uint32_t v = 0; v < q->vcpus; v++)
		cpu_set_merge(&r->cpus, &s->machine->nodes[p->vcpu_node[v]].cpus);
	if (q->node_count > 0)
		r->reason = PLACE_ASKED_NODES;
	else if (q->cell != CELL_NONE)
		r->reason = PLACE_ASKED_CELL;
	else if (c->second.spot.cell == CELL_NONE)
		r->reason = PLACE_ONLY_FIT;
	else
		(void)compare(&c->best, &c->second, &r->reason);
}

bool place_guest(const struct place_state *s, const struct place_request *q, struct place_result *r)
{
	struct contest c = {
		.best.spot.cell = CELL_NONE,
		.second.spot.cell = CELL_NONE,
	};

	memset(r, 0, sizeof(*r));
	r->spot = (struct place_spot){ .cell = CELL_NONE, .node = NODE_NONE };
	r->runner_up = r->spot;
	r->asked_bytes = q->memory_bytes;
	r->asked_vcpus = q->vcpus;
	r->reason = judge_wishes(s, q, r);
	if (r->reason != PLACE_LOWEST)
		return false;
	for (uint32_t i = 0; i < s->cells->cell_count; i++) {
		if (s->alive[i] && (r->spot.cell == CELL_NONE || r->spot.cell == i))
			enter_cell(s, q, i, &c);
	}
	if (c.best.spot.cell == CELL_NONE) {
		if (place_borrowing(s, q, r))
			return true;
		r->reason = refuse(s, q, r);
		return false;
	}
	take_plan(s, q, &c, r);
	return true;
}
