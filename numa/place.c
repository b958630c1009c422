/* SPDX-License-Identifier: BSD-2-Clause */
#include "numa/place.h"

#include <string.h>

#include "numa/check.h"

/* A cell as far as this request is concerned. */
struct candidate {
	uint32_t cell;
	uint32_t node; /* the node in which all of it fits, or NODE_NONE */
	uint64_t free_bytes;
	uint32_t vcpus, cpus;
};

static bool wanted_node(const struct place_request *q, uint32_t node)
{
	for (uint32_t i = 0; i < q->node_count; i++) {
		if (q->nodes[i] == node)
			return true;
	}
	return q->node_count == 0;
}

uint64_t place_cell_free(const struct place_state *s, uint32_t cell)
{
	const struct cell_plan *plan = &s->cells->cells[cell];
	uint64_t sum = 0;

	for (uint32_t k = 0; k < plan->node_count; k++)
		sum += s->free_bytes[plan->nodes[k]];
	return sum;
}

/* The smallest node of the cell in which all fits; those with CPUs first. */
static uint32_t best_node(
	const struct place_state *s, const struct place_request *q, const struct cell_plan *plan)
{
	uint32_t best = NODE_NONE;

	for (uint32_t k = 0; k < plan->node_count; k++) {
		uint32_t n = plan->nodes[k];

		if (!wanted_node(q, n) || s->free_bytes[n] < q->memory_bytes)
			continue;
		if (cpu_set_empty(&s->machine->nodes[n].cpus) && q->node_count == 0)
			continue;
		if (best == NODE_NONE || s->free_bytes[n] < s->free_bytes[best])
			best = n;
	}
	return best;
}

static struct candidate look_at(
	const struct place_state *s, const struct place_request *q, uint32_t cell)
{
	const struct cell_plan *plan = &s->cells->cells[cell];
	struct candidate c = {
		.cell = cell,
		.node = best_node(s, q, plan),
		.vcpus = s->vcpus[cell],
		.cpus = cpu_set_count(&plan->cpus),
	};

	for (uint32_t k = 0; k < plan->node_count; k++) {
		if (wanted_node(q, plan->nodes[k]))
			c.free_bytes += s->free_bytes[plan->nodes[k]];
	}
	return c;
}

/* Compares vCPUs per CPU without dividing. */
static int compare_load(const struct candidate *a, const struct candidate *b)
{
	uint64_t left = (uint64_t)a->vcpus * b->cpus, right = (uint64_t)b->vcpus * a->cpus;

	return (left > right) - (left < right);
}

/* Is `a` better than `b`, which is another cell? *rule is the one that decides. */
static bool better(const struct candidate *a, const struct candidate *b, enum place_reason *rule)
{
	int load = compare_load(a, b);

	if ((a->node == NODE_NONE) != (b->node == NODE_NONE)) {
		*rule = PLACE_ONE_NODE;
		return b->node == NODE_NONE;
	}
	if (load != 0) {
		*rule = PLACE_LEAST_BUSY;
		return load < 0;
	}
	if (a->free_bytes != b->free_bytes) {
		*rule = PLACE_MOST_FREE;
		return a->free_bytes > b->free_bytes;
	}
	*rule = PLACE_LOWEST;
	return a->cell < b->cell;
}

static bool vcpus_fit(const struct candidate *c, const struct place_request *q)
{
	return c->vcpus + q->vcpus <= c->cpus * PLACE_VCPUS_PER_CPU;
}

/* Judges what the user named; PLACE_LOWEST when there is nothing against it. */
static enum place_reason judge_wishes(
	const struct place_state *s, const struct place_request *q, struct place_result *r)
{
	uint32_t cell = q->cell;

	if (cell != CELL_NONE && cell >= s->cells->cell_count)
		return PLACE_NO_SUCH_CELL;
	for (uint32_t i = 0; i < q->node_count; i++) {
		uint32_t owner;

		r->node = q->nodes[i];
		if (q->nodes[i] >= s->machine->node_count)
			return PLACE_NO_SUCH_NODE;
		owner = cells_of_node(s->cells, q->nodes[i]);
		if (cell != CELL_NONE && owner != cell)
			return q->cell == CELL_NONE ? PLACE_NODES_OF_TWO_CELLS
						    : PLACE_NODES_NOT_OF_CELL;
		cell = owner;
	}
	r->cell = cell;
	if (cell != CELL_NONE && !s->alive[cell])
		return PLACE_CELL_DEAD;
	return PLACE_LOWEST;
}

/* Spreads the guest's memory over the nodes of its cell: CPU nodes first. */
static void spread(const struct place_state *s, const struct place_request *q,
	const struct candidate *c, struct place_result *r)
{
	const struct cell_plan *plan = &s->cells->cells[c->cell];
	uint64_t left = q->memory_bytes;

	for (uint32_t pass = 0; pass < 2; pass++) {
		for (uint32_t k = 0; k < plan->node_count && left > 0; k++) {
			uint32_t n = plan->nodes[k];
			bool memory_only = cpu_set_empty(&s->machine->nodes[n].cpus);
			uint64_t take = s->free_bytes[n] < left ? s->free_bytes[n] : left;

			if (!wanted_node(q, n) || memory_only != (pass == 1) || take == 0)
				continue;
			r->shares[r->share_count++] =
				(struct place_share){ .node = n, .bytes = take };
			left -= take;
		}
	}
	CHECK(left == 0);
}

static void choose(const struct place_state *s, const struct place_request *q,
	const struct candidate *c, struct place_result *r)
{
	r->cell = c->cell;
	r->free_bytes = c->free_bytes;
	if (c->node != NODE_NONE) {
		r->share_count = 1;
		r->shares[0] = (struct place_share){ .node = c->node, .bytes = q->memory_bytes };
	} else {
		spread(s, q, c, r);
	}
	for (uint32_t i = 0; i < r->share_count; i++)
		cpu_set_merge(&r->cpus, &s->machine->nodes[r->shares[i].node].cpus);
	if (cpu_set_empty(&r->cpus))
		r->cpus = s->cells->cells[c->cell].cpus;
}

/* Can cell `i` take the guest? If not, *against and the figures of *r say why. */
static bool fits(const struct place_state *s, const struct place_request *q, uint32_t i,
	struct candidate *c, struct place_result *r, enum place_reason *against)
{
	if (!s->alive[i] || (r->cell != CELL_NONE && r->cell != i))
		return false;
	*c = look_at(s, q, i);
	if (c->free_bytes > r->free_bytes)
		r->free_bytes = c->free_bytes;
	if (c->free_bytes < q->memory_bytes) {
		if (*against != PLACE_TOO_MANY_VCPUS)
			*against = PLACE_NO_MEMORY;
		return false;
	}
	if (!vcpus_fit(c, q)) {
		uint32_t most = c->cpus * PLACE_VCPUS_PER_CPU;

		most = most > c->vcpus ? most - c->vcpus : 0;
		r->most_vcpus = most > r->most_vcpus ? most : r->most_vcpus;
		*against = PLACE_TOO_MANY_VCPUS;
		return false;
	}
	return true;
}

/* The rule by which the winner beat its closest rival. */
static enum place_reason why(
	const struct candidate *fitting, uint32_t count, const struct candidate *winner)
{
	enum place_reason weakest = PLACE_ONLY_FIT;

	for (uint32_t i = 0; i < count; i++) {
		enum place_reason rule;

		if (fitting[i].cell == winner->cell)
			continue;
		CHECK(better(winner, &fitting[i], &rule));
		weakest = rule > weakest ? rule : weakest;
	}
	return weakest;
}

bool place_guest(const struct place_state *s, const struct place_request *q, struct place_result *r)
{
	struct candidate fitting[CELLS_MAX];
	const struct candidate *best = NULL;
	enum place_reason against = PLACE_NO_CELL_ALIVE, rule;
	uint32_t count = 0;

	memset(r, 0, sizeof(*r));
	r->cell = q->cell;
	r->asked_bytes = q->memory_bytes;
	r->reason = judge_wishes(s, q, r);
	if (r->reason != PLACE_LOWEST)
		return false;
	for (uint32_t i = 0; i < s->cells->cell_count; i++) {
		if (!fits(s, q, i, &fitting[count], r, &against))
			continue;
		if (!best || better(&fitting[count], best, &rule))
			best = &fitting[count];
		count++;
	}
	if (!best) {
		r->reason = against;
		return false;
	}
	choose(s, q, best, r);
	if (q->node_count > 0)
		r->reason = PLACE_ASKED_NODES;
	else if (q->cell != CELL_NONE)
		r->reason = PLACE_ASKED_CELL;
	else
		r->reason = why(fitting, count, best);
	return true;
}
