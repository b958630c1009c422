/* SPDX-License-Identifier: BSD-2-Clause */
#include "numa/place_spread.h"

#include <string.h>

#include "numa/check.h"

bool place_allowed(const struct place_state *s, const struct place_request *q, uint32_t node)
{
	for (uint32_t i = 0; i < q->node_count; i++) {
		if (q->os_nodes[i] == s->machine->nodes[node].os_node)
			return true;
	}
	return q->node_count == 0;
}

uint64_t place_free(const struct place_state *s, uint32_t node)
{
	return s->free_bytes[node] / VNUMA_UNIT_BYTES * VNUMA_UNIT_BYTES;
}

static bool has_cpu(const struct place_state *s, uint32_t node)
{
	return !cpu_set_empty(&s->machine->nodes[node].cpus);
}

uint32_t place_vcpu_room(const struct place_state *s, uint32_t node)
{
	uint32_t most = cpu_set_count(&s->machine->nodes[node].cpus) * PLACE_VCPUS_PER_CPU;

	return most > s->node_vcpus[node] ? most - s->node_vcpus[node] : 0;
}

/* Guest memory grows by a share; neighbours on one node become one share. */
static void add_share(struct place_plan *p, uint32_t node, uint64_t bytes)
{
	if (bytes == 0)
		return;
	if (p->share_count > 0 && p->shares[p->share_count - 1].node == node) {
		p->shares[p->share_count - 1].bytes += bytes;
		return;
	}
	CHECK(p->share_count < PLACE_SHARES_MAX);
	p->shares[p->share_count++] = (struct place_share){ .node = node, .bytes = bytes };
}

bool place_on_node(const struct place_state *s, const struct place_request *q, uint32_t node,
	struct place_plan *p)
{
	if (place_free(s, node) < q->memory_bytes || place_vcpu_room(s, node) < q->vcpus)
		return false;
	memset(p, 0, sizeof(*p));
	add_share(p, node, q->memory_bytes);
	for (uint32_t v = 0; v < q->vcpus; v++)
		p->vcpu_node[v] = node;
	return true;
}

/* Fewer vCPUs per CPU: compared without dividing. */
static int compare_load(uint64_t vcpus_a, uint64_t cpus_a, uint64_t vcpus_b, uint64_t cpus_b)
{
	return (vcpus_a * cpus_b > vcpus_b * cpus_a) - (vcpus_a * cpus_b < vcpus_b * cpus_a);
}

void place_deal(const struct machine *m, const uint32_t *nodes, uint32_t node_count, uint32_t vcpus,
	uint32_t *load, uint32_t *dealt)
{
	uint32_t cpus[MACHINE_NODES_MAX];

	CHECK(node_count > 0 && node_count <= MACHINE_NODES_MAX);
	for (uint32_t i = 0; i < node_count; i++)
		cpus[i] = cpu_set_count(&m->nodes[nodes[i]].cpus);
	for (uint32_t v = 0; v < vcpus; v++) {
		uint32_t best = 0;

		/* What counts is the load that it would have with this vCPU. */
		for (uint32_t i = 1; i < node_count; i++) {
			if (compare_load(load[nodes[i]] + 1, cpus[i], load[nodes[best]] + 1,
				    cpus[best]) < 0)
				best = i;
		}
		load[nodes[best]]++;
		dealt[best]++;
	}
}

/* What is left of the nodes while virtual nodes are put on them. */
struct vnode_room {
	uint64_t free_bytes;
	uint32_t vcpu_room, vnodes;
};

/* The node for the next virtual node: the fewest of them on it, then most free, then lowest. */
static uint32_t vnode_pick(const struct place_state *s, const struct place_request *q,
	const struct cell_plan *cell, const struct vnode_room *room, uint64_t bytes, uint32_t vcpus)
{
	uint32_t best = NODE_NONE;

	for (uint32_t k = 0; k < cell->node_count; k++) {
		uint32_t n = cell->nodes[k];

		if (!place_allowed(s, q, n) || room[n].free_bytes < bytes ||
			room[n].vcpu_room < vcpus)
			continue;
		if (best == NODE_NONE || room[n].vnodes < room[best].vnodes ||
			(room[n].vnodes == room[best].vnodes &&
				room[n].free_bytes > room[best].free_bytes))
			best = n;
	}
	return best;
}

bool place_vnodes(const struct place_state *s, const struct place_request *q, uint32_t cell,
	struct place_plan *p)
{
	const struct cell_plan *plan = &s->cells->cells[cell];
	struct vnode_room room[MACHINE_NODES_MAX];
	uint32_t vcpus[VNUMA_MAX] = { 0 }, home[VNUMA_MAX];

	CHECK(q->vnuma <= VNUMA_MAX);
	memset(p, 0, sizeof(*p));
	for (uint32_t n = 0; n < s->machine->node_count; n++)
		room[n] = (struct vnode_room){ place_free(s, n), place_vcpu_room(s, n), 0 };
	for (uint32_t v = 0; v < q->vcpus; v++)
		vcpus[vnuma_of_vcpu(q->vcpus, q->vnuma, v)]++;
	for (uint32_t i = 0; i < q->vnuma; i++) {
		uint64_t bytes = vnuma_bytes(q->memory_bytes, q->vnuma, i);
		uint32_t n = vnode_pick(s, q, plan, room, bytes, vcpus[i]);

		if (n == NODE_NONE)
			return false;
		if (room[n].vnodes++ > 0)
			p->shape = SHAPE_SHARED;
		room[n].free_bytes -= bytes;
		room[n].vcpu_room -= vcpus[i];
		home[i] = n;
		add_share(p, n, bytes);
	}
	for (uint32_t v = 0; v < q->vcpus; v++)
		p->vcpu_node[v] = home[vnuma_of_vcpu(q->vcpus, q->vnuma, v)];
	return true;
}

/* Nodes in an order, of which the first ones are taken. */
struct node_list {
	uint32_t count;
	uint32_t nodes[MACHINE_NODES_MAX];
};

/* The node with CPUs and the most free memory, the lowest on ties; NODE_NONE if none has CPUs. */
static uint32_t spread_home(
	const struct place_state *s, const struct place_request *q, const struct cell_plan *plan)
{
	uint32_t home = NODE_NONE;

	for (uint32_t k = 0; k < plan->node_count; k++) {
		uint32_t n = plan->nodes[k];

		if (has_cpu(s, n) && place_allowed(s, q, n) &&
			(home == NODE_NONE || place_free(s, n) > place_free(s, home)))
			home = n;
	}
	return home;
}

/*
 * The cell's nodes with free memory in the order in which a spread guest takes
 * them: its home, the nearest others with CPUs, then the nearest that have only
 * memory; the lowest on ties.
 */
static struct node_list spread_order(
	const struct place_state *s, const struct place_request *q, uint32_t cell)
{
	const struct cell_plan *plan = &s->cells->cells[cell];
	uint32_t home = spread_home(s, q, plan);
	bool taken[MACHINE_NODES_MAX] = { false };
	struct node_list order = { 0 };

	for (;;) {
		uint32_t best = NODE_NONE, best_rank = 0;

		for (uint32_t k = 0; k < plan->node_count; k++) {
			uint32_t n = plan->nodes[k], rank = has_cpu(s, n) ? 0 : 256;

			if (taken[n] || !place_allowed(s, q, n) || place_free(s, n) == 0)
				continue;
			/* Its own distance, 10, is the least of all. */
			rank += home == NODE_NONE ? 0 : s->machine->distance[home][n];
			if (best == NODE_NONE || rank < best_rank || n == home) {
				best = n;
				best_rank = n == home ? 0 : rank;
			}
		}
		if (best == NODE_NONE)
			return order;
		taken[best] = true;
		order.nodes[order.count++] = best;
	}
}

/* Deals `bytes` out over nodes[] as evenly as their free memory allows; there is enough. */
static void share_evenly(const struct place_state *s, const uint32_t *nodes, uint32_t count,
	uint64_t bytes, uint64_t *to_node)
{
	uint64_t units = bytes / VNUMA_UNIT_BYTES;
	bool done[MACHINE_NODES_MAX] = { false };

	/* The fullest first: what it can't take, the others share. */
	for (uint32_t left = count; left > 0; left--) {
		uint32_t pick = NODE_NONE;
		uint64_t most, give;

		for (uint32_t i = 0; i < count; i++) {
			if (!done[i] && (pick == NODE_NONE || place_free(s, nodes[i]) <
								      place_free(s, nodes[pick])))
				pick = i;
		}
		CHECK(pick != NODE_NONE);
		done[pick] = true;
		most = place_free(s, nodes[pick]) / VNUMA_UNIT_BYTES;
		give = units / left < most ? units / left : most;
		to_node[nodes[pick]] = give * VNUMA_UNIT_BYTES;
		units -= give;
	}
	CHECK(units == 0);
}

static uint64_t list_free(const struct place_state *s, const struct node_list *list)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < list->count; i++)
		sum += place_free(s, list->nodes[i]);
	return sum;
}

/* The part of `order` that the guest takes: the shortest that is enough, all of it if asked for. */
static struct node_list spread_memory(
	const struct place_state *s, const struct place_request *q, const struct node_list *order)
{
	struct node_list memory = { 0 };
	uint64_t sum = 0, vcpu_room = 0;

	for (uint32_t i = 0; i < order->count; i++) {
		uint32_t n = order->nodes[i];
		bool useful = sum < q->memory_bytes || (has_cpu(s, n) && vcpu_room < q->vcpus);

		if (place_free(s, n) == 0 || (q->node_count == 0 && !useful))
			continue;
		memory.nodes[memory.count++] = n;
		sum += place_free(s, n);
		vcpu_room += place_vcpu_room(s, n);
	}
	return memory;
}

/* Do the nodes that are allowed have CPUs? Else it borrows those of the rest of the cell. */
static bool allowed_cpus(
	const struct place_state *s, const struct place_request *q, const struct cell_plan *plan)
{
	for (uint32_t k = 0; k < plan->node_count; k++) {
		if (place_allowed(s, q, plan->nodes[k]) && has_cpu(s, plan->nodes[k]))
			return true;
	}
	return false;
}

/*
 * The nodes whose CPUs it uses: those of its memory, and as many more that are
 * allowed, nearest to its first memory, as its vCPUs need. False if all are not
 * enough.
 */
static bool spread_cpus(const struct place_state *s, const struct place_request *q, uint32_t cell,
	const struct node_list *memory, struct node_list *cpus)
{
	const struct cell_plan *plan = &s->cells->cells[cell];
	bool taken[MACHINE_NODES_MAX] = { false };
	bool borrow = !allowed_cpus(s, q, plan);
	uint64_t room = 0;

	cpus->count = 0;
	for (uint32_t i = 0; i < memory->count; i++) {
		if (place_vcpu_room(s, memory->nodes[i]) == 0)
			continue;
		cpus->nodes[cpus->count++] = memory->nodes[i];
		taken[memory->nodes[i]] = true;
		room += place_vcpu_room(s, memory->nodes[i]);
	}
	while (room < q->vcpus) {
		uint32_t best = NODE_NONE, to = memory->nodes[0];

		for (uint32_t k = 0; k < plan->node_count; k++) {
			uint32_t n = plan->nodes[k];

			if (taken[n] || place_vcpu_room(s, n) == 0 ||
				!(borrow || place_allowed(s, q, n)))
				continue;
			if (best == NODE_NONE ||
				s->machine->distance[n][to] < s->machine->distance[best][to])
				best = n;
		}
		if (best == NODE_NONE)
			return false;
		taken[best] = true;
		cpus->nodes[cpus->count++] = best;
		room += place_vcpu_room(s, best);
	}
	return true;
}

bool place_spread(const struct place_state *s, const struct place_request *q, uint32_t cell,
	struct place_plan *p)
{
	struct node_list order = spread_order(s, q, cell);
	struct node_list memory = spread_memory(s, q, &order), cpus;
	uint64_t to_node[MACHINE_NODES_MAX] = { 0 }, left = q->memory_bytes, even;
	uint32_t load[MACHINE_NODES_MAX], dealt[MACHINE_NODES_MAX] = { 0 }, v = 0;
	struct node_list first = { 0 };

	memset(p, 0, sizeof(*p));
	p->shape = SHAPE_SPREAD;
	if (list_free(s, &memory) < q->memory_bytes || !spread_cpus(s, q, cell, &memory, &cpus))
		return false;
	for (uint32_t i = 0; i < memory.count; i++) {
		if (q->node_count > 0 || has_cpu(s, memory.nodes[i]))
			first.nodes[first.count++] = memory.nodes[i];
	}
	even = list_free(s, &first) < left ? list_free(s, &first) : left;
	share_evenly(s, first.nodes, first.count, even, to_node);
	left -= even;
	for (uint32_t i = 0; i < memory.count; i++) {
		uint32_t n = memory.nodes[i];
		uint64_t more = place_free(s, n) - to_node[n];

		more = more < left ? more : left;
		add_share(p, n, to_node[n] + more);
		left -= more;
	}
	CHECK(left == 0);
	memcpy(load, s->node_vcpus, sizeof(load));
	place_deal(s->machine, cpus.nodes, cpus.count, q->vcpus, load, dealt);
	for (uint32_t i = 0; i < cpus.count; i++) {
		for (uint32_t k = 0; k < dealt[i]; k++)
			p->vcpu_node[v++] = cpus.nodes[i];
	}
	return true;
}
