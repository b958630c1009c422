/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_NUMA_PLACE_H
#define CELLVISOR_NUMA_PLACE_H

/*
 * Where a new guest goes: docs/numa-policies.md says why. One rule after the
 * other:
 *  1. A cell or nodes that the user asked for are taken or refused, never
 *     replaced by others. Several nodes asked for are all used, evenly.
 *  2. Memory is never over-committed; CPUs are, up to PLACE_VCPUS_PER_CPU. A
 *     dead cell gets nothing. A guest lives within one cell, unless cells_max lets it borrow:
 *     see rule 5.
 *  3. A place on one node comes before one that is spread over the nodes of a
 *     cell, which is only looked for in cells where no single node fits. A guest
 *     that is to see several virtual nodes first wants a node for each of them,
 *     then whole virtual nodes that share nodes.
 *  4. Then the place with the fewest vCPUs per CPU, then the one with the most
 *     free memory, then the lowest cell and node.
 *  5. A guest that fits in no cell and may need several goes to the cell with the most
 *     free memory, the lowest on ties, takes what that has, and borrows the rest
 *     (loans_pick_lender()): place_borrow.h.
 * Spread means: the cell's node with CPUs and the most free memory first, then
 * its nearest, nodes with CPUs before those without, until it fits; even shares
 * as far as free memory allows, memory-only nodes get only what is left.
 */

#include <stdbool.h>
#include <stdint.h>

#include "numa/cells.h"
#include "numa/vnuma.h"

#define PLACE_VCPUS_MAX 240u
/* More vCPUs than this on a CPU make every one of them wait for seconds. */
#define PLACE_VCPUS_PER_CPU 8u
#define PLACE_SHARES_MAX MACHINE_NODES_MAX

struct place_request {
	uint64_t memory_bytes; /* above 0, a multiple of VNUMA_UNIT_BYTES */
	uint32_t vcpus;	       /* 1..PLACE_VCPUS_MAX */
	uint32_t vnuma;	       /* virtual nodes, at most VNUMA_MAX and vcpus; 0 and 1: one */
	uint32_t cell;	       /* CELL_NONE: any */
	uint32_t node_count;   /* 0: any; else so many of os_nodes, each once */
	uint32_t os_nodes[MACHINE_NODES_MAX];
	uint32_t cells_max; /* how many cells it may need; 0 and 1: no memory is borrowed */
};

/* What is known of the cells now. */
struct place_state {
	const struct machine *machine; /* borrowed, as `cells`, which is a partition of it */
	const struct cells *cells;
	bool alive[CELLS_MAX];
	uint32_t node_vcpus[MACHINE_NODES_MAX]; /* of the guests placed there: place_add_guest() */
	uint64_t free_bytes[MACHINE_NODES_MAX]; /* what guests may still take: place_room() */
	/* What a node keeps free when a guest borrows, and when its cell lends. */
	uint64_t borrow_below_bytes, lend_above_bytes;
};

enum place_reason {
	PLACE_ASKED_CELL,  /* the user named it */
	PLACE_ASKED_NODES, /* likewise */
	PLACE_ONLY_FIT,	   /* nowhere else is the room */
	PLACE_WHOLE,	   /* elsewhere it would have to be spread over nodes */
	PLACE_OWN_NODES,   /* elsewhere its virtual nodes would have to share nodes */
	PLACE_LEAST_BUSY,  /* fewest vCPUs per CPU */
	PLACE_MOST_FREE,   /* as busy as others, but most memory free */
	PLACE_BORROWED,	   /* no cell has the room: a part is borrowed of others */
	PLACE_LOWEST,	   /* all alike: the lowest number */
	/* refusals */
	PLACE_BAD_REQUEST, /* breaks a bound that place_request states */
	PLACE_NO_SUCH_CELL,
	PLACE_NO_SUCH_NODE,
	PLACE_NODE_TWICE,
	PLACE_NODES_OF_TWO_CELLS,
	PLACE_NODES_NOT_OF_CELL, /* node and cell were both named, and don't match */
	PLACE_CELL_DEAD,
	PLACE_NO_CELL_ALIVE,
	PLACE_NO_MEMORY,
	PLACE_TOO_MANY_VCPUS,
};

/* A place that was looked at: one node of a cell, or a whole cell. */
struct place_spot {
	uint32_t cell; /* CELL_NONE: there is none */
	uint32_t node; /* NODE_NONE: several nodes of the cell */
	uint64_t free_bytes;
	uint32_t vcpus, cpus; /* before this guest; of the node, or of the cell */
};

struct place_share {
	uint32_t node;
	uint64_t bytes; /* a multiple of VNUMA_UNIT_BYTES */
};

struct place_result {
	enum place_reason reason;
	struct place_spot spot; /* chosen; for a refusal the cell that it is about, if any */
	uint32_t os_node;	/* a refusal: the node that it is about, if any */
	/* The best of the others, to say what made the difference. */
	struct place_spot runner_up;
	/* Chosen only: where its memory goes, in order of guest addresses; sums up to the request.
	 */
	uint32_t share_count;
	struct place_share shares[PLACE_SHARES_MAX];
	/* Chosen only: the node on whose CPUs each vCPU runs, and the CPUs of all these. */
	uint32_t vcpu_node[PLACE_VCPUS_MAX];
	struct cpu_set cpus;
	/* The numbers behind a refusal. */
	uint64_t asked_bytes, most_free_bytes; /* most free in a live cell that was allowed ... */
	uint32_t most_free_cell;	       /* ... and which that is, or CELL_NONE */
	uint64_t machine_free_bytes;	       /* in all live cells */
	uint64_t borrowed_bytes;	       /* PLACE_BORROWED: of other cells */
	uint32_t asked_vcpus, most_vcpus;      /* PLACE_TOO_MANY_VCPUS: what would be allowed */
};

/* Decides; true if a place was found. *r is filled in either way. */
bool place_guest(
	const struct place_state *s, const struct place_request *q, struct place_result *r);

/*
 * Counts the vCPUs of a guest that runs on these nodes (indexes; those that the
 * machine has not are passed over): dealt out over the nodes that have CPUs, or,
 * if none has, over those of its cell.
 */
void place_add_guest(
	struct place_state *s, const uint32_t *nodes, uint32_t node_count, uint32_t vcpus);

/*
 * What guests may still take of a node, in whole units: no more than was available
 * when its cell came up, before any guest, less what guests were promised since
 * (they may not have touched it yet); and no more than the kernel says is available
 * now. Of both a reserve is kept for the monitors and the kernel, whose page tables
 * grow with the guests: the larger of PLACE_RESERVE_BYTES and the
 * PLACE_RESERVE_PART-th part of at_start_bytes.
 */
#define PLACE_RESERVE_BYTES (64ull << 20)
#define PLACE_RESERVE_PART 128u
uint64_t place_room(uint64_t at_start_bytes, uint64_t promised_bytes, uint64_t available_bytes);

/* Free memory of a cell: the sum over its nodes. */
uint64_t place_cell_free(const struct place_state *s, uint32_t cell);

#endif
