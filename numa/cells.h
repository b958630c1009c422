/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_NUMA_CELLS_H
#define CELLVISOR_NUMA_CELLS_H

#include <stddef.h>
#include <stdint.h>

#include "numa/machine.h"

#define CELLS_MAX MACHINE_NODES_MAX
#define CELL_NONE UINT32_MAX

/* One cell's share of a machine: at least one node with CPUs and some memory. */
struct cell_plan {
	uint32_t node_count;
	uint32_t nodes[MACHINE_NODES_MAX]; /* indexes, ascending */
	struct cpu_set cpus;
	uint64_t memory_bytes;
};

/* A partition: every node of the machine is in exactly one cell. */
struct cells {
	uint32_t cell_count;
	struct cell_plan cells[CELLS_MAX];
};

enum cells_fault {
	CELLS_OK,
	CELLS_SYNTAX,	    /* not a list of lists such as "0,1/2,3" */
	CELLS_UNKNOWN_NODE, /* at: the number that is no node */
	CELLS_NODE_TWICE,   /* at: the node */
	CELLS_NODE_MISSING, /* at: a node that no cell has */
	CELLS_NO_CPU,	    /* at: the cell */
	CELLS_NO_MEMORY,    /* at: the cell */
	CELLS_TOO_MANY,
};

/*
 * The default partition: one cell per node that has CPUs, in order; a node
 * without CPUs joins the cell of the nearest node with CPUs, the lowest such
 * node on ties. When a CPU node has no memory at all, it joins the nearest
 * cell that has some, likewise. `m` passes machine_check().
 */
void cells_default(const struct machine *m, struct cells *c);

/*
 * Reads an explicit partition: os_node numbers, ',' or ranges 'A-B' within a
 * cell, '/' between cells ("0,1/2,3" or "0-1/2-3"). On a fault *c is
 * unspecified and *at, if not NULL, says where.
 */
enum cells_fault cells_parse(
	const struct machine *m, const char *text, struct cells *c, uint32_t *at);

/*
 * Builds a partition node by node: gives os_node to cell number `cell`, which may
 * be the next one (c->cell_count). CELLS_UNKNOWN_NODE, CELLS_NODE_TWICE,
 * CELLS_TOO_MANY (also for a cell that leaves a gap) change nothing. Begin with
 * *c all zero, end with cells_check().
 */
enum cells_fault cells_add(
	const struct machine *m, struct cells *c, uint32_t cell, uint32_t os_node);

/* Checks every invariant of *c, made by the functions above, as a partition of *m. */
enum cells_fault cells_check(const struct machine *m, const struct cells *c, uint32_t *at);

/*
 * Writes a partition as cells_parse() reads it, always terminated. Returns its
 * length, or -ENOSPC, with what fitted, when `bytes` is too small.
 */
int cells_format(const struct machine *m, const struct cells *c, char *text, size_t bytes);

/* What is wrong, in words without `at`; never NULL. */
const char *cells_fault_text(enum cells_fault fault);

/* The cell that has this node (index), or CELL_NONE. */
uint32_t cells_of_node(const struct cells *c, uint32_t node);

#endif
