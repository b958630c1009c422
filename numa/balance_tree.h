/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_NUMA_BALANCE_TREE_H
#define CELLVISOR_NUMA_BALANCE_TREE_H

/*
 * The load tree: leaves are CPUs, an inner node knows the busiest and the least
 * busy leaf below it, the lowest on ties. Part of balance.c.
 */

#include <stdbool.h>
#include <stdint.h>

struct load_leaf {
	uint32_t load;
	bool usable;  /* else it is never the least busy, and with any load the busiest */
	bool blocked; /* is not the busiest for now */
};

struct load_best {
	uint32_t busiest, idlest; /* leaves, or UINT32_MAX */
};

struct load_tree {
	uint32_t leaf_count, width; /* the power of two at or above leaf_count */
	struct load_leaf *leaves;   /* [leaf_count], borrowed as `nodes` */
	struct load_best *nodes;    /* [2 * width] */
};

/* What a CPU that is gone counts more than any that is there. */
#define LOAD_GONE (1u << 24)

static inline uint32_t load_of(const struct load_leaf *leaf)
{
	return leaf->load + (leaf->load > 0 && !leaf->usable ? LOAD_GONE : 0);
}

uint32_t load_tree_width(uint32_t leaf_count);

/* All leaves are set already. */
void load_tree_build(struct load_tree *t);

/* Leaf `leaf` has changed. */
void load_tree_update(struct load_tree *t, uint32_t leaf);

/* The best of the leaves first..end-1. */
struct load_best load_tree_find(const struct load_tree *t, uint32_t first, uint32_t end);

#endif
