/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_NUMA_PLACE_SPREAD_H
#define CELLVISOR_NUMA_PLACE_SPREAD_H

/* Inside one cell: the three ways a guest can lie there. Part of place.c. */

#include "numa/place.h"

/* Best first. */
enum place_shape {
	SHAPE_WHOLE,  /* on one node; or each virtual node on a node of its own */
	SHAPE_SHARED, /* virtual nodes are whole, but several are on one node */
	SHAPE_SPREAD, /* memory is spread over nodes without regard to virtual nodes */
};

struct place_plan {
	enum place_shape shape;
	uint32_t share_count;
	struct place_share shares[PLACE_SHARES_MAX];
	uint32_t vcpu_node[PLACE_VCPUS_MAX];
};

/* Is this node allowed by the request? */
bool place_allowed(const struct place_state *s, const struct place_request *q, uint32_t node);

/* Free memory of a node in whole units, in bytes. */
uint64_t place_free(const struct place_state *s, uint32_t node);

/* How many vCPUs the node takes beyond those that it has. */
uint32_t place_vcpu_room(const struct place_state *s, uint32_t node);

/* All of the guest on one node; false if it doesn't fit or the node has no CPU. */
bool place_on_node(const struct place_state *s, const struct place_request *q, uint32_t node,
	struct place_plan *p);

/* Whole virtual nodes on the nodes of a cell; q->vnuma is above 1. */
bool place_vnodes(const struct place_state *s, const struct place_request *q, uint32_t cell,
	struct place_plan *p);

/*
 * Memory spread over the nodes of a cell; over all of those that were asked for.
 * False if the cell has not enough memory, or its CPUs take no more vCPUs.
 */
bool place_spread(const struct place_state *s, const struct place_request *q, uint32_t cell,
	struct place_plan *p);

/*
 * Deals `vcpus` out over nodes[] (with CPUs), each to the one with the fewest
 * vCPUs per CPU, the first on ties; counts them into load[] (by node), which
 * starts with what they have, and into dealt[] (by position).
 */
void place_deal(const struct machine *m, const uint32_t *nodes, uint32_t node_count, uint32_t vcpus,
	uint32_t *load, uint32_t *dealt);

#endif
