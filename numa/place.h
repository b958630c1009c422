/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_NUMA_PLACE_H
#define CELLVISOR_NUMA_PLACE_H

/*
 * Where a new guest goes. One rule after the other, and ties in words:
 *  1. A cell or nodes that the user asked for are taken or refused, never
 *     replaced by others.
 *  2. Memory is never over-committed: what the guest needs has to be free.
 *  3. A cell where it fits into one node comes before one where it has to be
 *     spread: a guest inside one node has all its memory local.
 *  4. Then the cell with the fewest vCPUs per CPU, then the one with the most
 *     free memory, then the lowest number.
 *  5. Inside the cell: the smallest CPU-bearing node in which it fits (best fit
 *     keeps big holes for big guests), the lowest on ties; else the CPU nodes
 *     in ascending order, then memory-only nodes, each filled in turn.
 *  6. CPUs may be over-committed up to PLACE_VCPUS_PER_CPU.
 */

#include <stdbool.h>
#include <stdint.h>

#include "numa/cells.h"

#define PLACE_VCPUS_MAX 240u
/* More vCPUs than this on a CPU make every one of them wait for seconds. */
#define PLACE_VCPUS_PER_CPU 8u

struct place_request {
	uint64_t memory_bytes; /* above 0 */
	uint32_t vcpus;	       /* 1..PLACE_VCPUS_MAX */
	uint32_t cell;	       /* CELL_NONE: any */
	uint32_t node_count;   /* 0: any; else indexes into the machine's nodes */
	uint32_t nodes[MACHINE_NODES_MAX];
};

/* What is known of the cells now. */
struct place_state {
	const struct machine *machine;
	const struct cells *cells;
	bool alive[CELLS_MAX];
	uint32_t vcpus[CELLS_MAX];		/* of the guests that it runs */
	uint64_t free_bytes[MACHINE_NODES_MAX]; /* by node */
};

enum place_reason {
	PLACE_ASKED_CELL,  /* the user named it */
	PLACE_ASKED_NODES, /* likewise */
	PLACE_ONLY_FIT,	   /* no other live cell has the room */
	PLACE_ONE_NODE,	   /* others would have to spread it over nodes */
	PLACE_LEAST_BUSY,  /* fewest vCPUs per CPU */
	PLACE_MOST_FREE,   /* as busy as others, but most memory free */
	PLACE_LOWEST,	   /* all alike: the lowest number */
	/* refusals */
	PLACE_NO_SUCH_CELL,
	PLACE_NO_SUCH_NODE,
	PLACE_CELL_DEAD,
	PLACE_NODES_OF_TWO_CELLS, /* a guest lives within one cell */
	PLACE_NODES_NOT_OF_CELL,
	PLACE_NO_MEMORY,
	PLACE_TOO_MANY_VCPUS,
	PLACE_NO_CELL_ALIVE,
};

struct place_share {
	uint32_t node;
	uint64_t bytes;
};

struct place_result {
	enum place_reason reason;
	uint32_t cell;	      /* chosen, or the one that the refusal is about, or CELL_NONE */
	uint32_t share_count; /* chosen only: where its memory goes; sums up to the request */
	struct place_share shares[MACHINE_NODES_MAX];
	struct cpu_set cpus;  /* chosen only: where its vCPUs run: the CPUs of its nodes, or, if
			       * these have none, of its cell */
	uint32_t node;	      /* PLACE_NO_SUCH_NODE and the like: which */
	uint64_t asked_bytes; /* for the words */
	uint64_t free_bytes;  /* free there; for PLACE_NO_MEMORY the most that any candidate has */
	uint32_t most_vcpus;  /* PLACE_TOO_MANY_VCPUS: what would be allowed */
};

/* Decides; true if a place was found. *r is filled in either way. */
bool place_guest(
	const struct place_state *s, const struct place_request *q, struct place_result *r);

/* Free memory of a cell: the sum over its nodes. */
uint64_t place_cell_free(const struct place_state *s, uint32_t cell);

#endif
