/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_NUMA_BALANCE_H
#define CELLVISOR_NUMA_BALANCE_H

/*
 * Which CPU a vCPU runs on: the two balancers of Cellular Disco (SOSP 1999,
 * section 5.2). An idle CPU takes a waiting vCPU, from the nearest first; and from
 * time to time vCPUs are moved from the busiest to the least busy CPU of a node,
 * a cell or the machine. Pure; docs/numa-policies.md has the rules.
 *
 * The load of a CPU is the number of its vCPUs that can run. Loads lie in a tree
 * over the CPUs in the order of cells and nodes, so that the busiest and the
 * least busy CPU of any node, cell or of all are found, and a load is changed, in
 * steps proportional to the logarithm of their number.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "numa/machine.h"

#define BALANCE_CELLS_MAX 1024u
#define BALANCE_NONE UINT32_MAX

/* One CPU. They are given in ascending order of cell, then node. */
struct balance_cpu {
	uint32_t cell, node;
	bool usable; /* online, and its cell lives */
};

/* A set of cells. */
struct balance_needs {
	uint64_t words[BALANCE_CELLS_MAX / 64];
};

struct balance_guest {
	struct balance_needs needs; /* cells that it needs now */
	uint32_t needs_max;	    /* it may not come to need more */
	bool gang;		    /* never two of its vCPUs on one CPU */
};

struct balance_vcpu {
	uint32_t guest;
	uint32_t cpu; /* or BALANCE_NONE: not placed */
	bool runnable;
	uint64_t moved_ns; /* when last; keeps one from being moved to and fro */
	uint32_t next;	   /* of the same CPU; kept by the balancer */
};

/* What the balancer works on. The arrays are the caller's and outlive it. */
struct balance_input {
	uint32_t cpu_count, vcpu_count, guest_count, node_count;
	const struct balance_cpu *cpus;
	struct balance_vcpu *vcpus;
	struct balance_guest *guests;
	const uint8_t *distance; /* [node_count * node_count], row: from */
};

struct balance; /* lies in memory of the caller */

size_t balance_bytes(uint32_t cpu_count, uint32_t node_count);

/*
 * Begins with every vCPU on the CPU that its `cpu` says. `memory` is
 * balance_bytes(), aligned for uint64_t and borrowed. NULL if the CPUs are out of
 * order or an index has no element.
 */
struct balance *balance_start(void *memory, const struct balance_input *input);

/* The vCPU is now on `cpu` (BALANCE_NONE: nowhere), and can run or not. */
void balance_set(struct balance *b, uint32_t vcpu, uint32_t cpu, bool runnable);

/* A CPU is usable or not from now on; *cpus is the caller's to change first. */
void balance_cpu_changed(struct balance *b, uint32_t cpu);

uint32_t balance_load(const struct balance *b, uint32_t cpu);

struct balance_move {
	uint32_t vcpu, from, to;
	bool new_need; /* the guest comes to need the cell of `to` */
};

enum balance_scope { BALANCE_NODE, BALANCE_CELL, BALANCE_MACHINE };

/*
 * The periodic balancer, for the node, cell or machine that `cpu` belongs to: as
 * long as the busiest CPU has over one vCPU more than the least busy, moves one,
 * at most `max` in all. Of the vCPUs of the busiest CPU those come first whose guest
 * needs the other's cell already, then the one that has not been moved for longest,
 * then the lowest. If none of them may go there, the least busy CPU is taken where
 * one may. A CPU that is not usable is busier than any other. Guests gain
 * needs up to their limit. What it decides it does in its own books, and returns
 * how many moves it wrote.
 */
uint32_t balance_periodic(struct balance *b, uint64_t now_ns, uint32_t cpu,
	enum balance_scope scope, struct balance_move *moves, uint32_t max);

/*
 * The idle balancer, for a CPU that has had nothing to run for idle_ns: takes a
 * vCPU that waits for another one of its CPU. From the same node after
 * BALANCE_IDLE_NODE_NS, from others after BALANCE_IDLE_FAR_NS, nearest first. False
 * if there is none.
 */
#define BALANCE_IDLE_NODE_NS 4000000ull
#define BALANCE_IDLE_FAR_NS 6000000ull
bool balance_idle(struct balance *b, uint64_t now_ns, uint32_t cpu, uint64_t idle_ns,
	struct balance_move *move);

/*
 * Gives each vCPU of a gang a CPU of its own, the least busy first, in cells that
 * it needs (none yet: in the one whose busiest CPU of those is least busy). All or
 * none: false if there are too few. `moves` has room for all its vCPUs.
 */
bool balance_gang(struct balance *b, uint64_t now_ns, uint32_t guest, struct balance_move *moves,
	uint32_t *count);

/* Checks the books against what the vCPUs say; NULL, or in words what is wrong. */
const char *balance_check(const struct balance *b);

static inline void balance_need(struct balance_needs *needs, uint32_t cell)
{
	needs->words[cell / 64] |= 1ull << (cell % 64);
}

static inline bool balance_needs(const struct balance_needs *needs, uint32_t cell)
{
	return needs->words[cell / 64] >> (cell % 64) & 1;
}

#endif
