/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_NUMA_MACHINE_H
#define CELLVISOR_NUMA_MACHINE_H

#include <stdint.h>

#include "numa/cpu_set.h"

#define MACHINE_NODES_MAX 64u
#define NODE_NONE UINT32_MAX

/* SLIT's unit (ACPI 6.4, 5.2.17): 10 is local, 255 is unreachable. */
#define DISTANCE_LOCAL 10u
#define DISTANCE_REMOTE_DEFAULT 20u
#define DISTANCE_UNREACHABLE 255u

/* A node without CPUs is memory only (CXL memory, for example). */
struct machine_node {
	uint32_t os_node; /* the operating system's number */
	struct cpu_set cpus;
	uint64_t memory_bytes;
};

/*
 * The whole server, as a value. Nodes are in ascending order of os_node;
 * distance[from][to] is by index, as SLIT has it, and need not be symmetric.
 * Everywhere else a 'node' is an index into nodes[] unless it says os_node.
 */
struct machine {
	uint32_t node_count;
	struct machine_node nodes[MACHINE_NODES_MAX];
	uint8_t distance[MACHINE_NODES_MAX][MACHINE_NODES_MAX];
};

enum machine_fault {
	MACHINE_OK,
	MACHINE_NO_NODES,
	MACHINE_TOO_MANY_NODES,
	MACHINE_NODES_UNSORTED, /* or a number twice */
	MACHINE_NODE_EMPTY,	/* neither CPUs nor memory */
	MACHINE_CPU_TWICE,	/* a CPU on two nodes */
	MACHINE_NO_CPUS,	/* no node has a CPU */
	MACHINE_NO_MEMORY,	/* no node has memory */
	MACHINE_BAD_DISTANCE,	/* to itself not 10, to another below 10 */
};

/* Checks every invariant of *m; the first one that is broken. */
enum machine_fault machine_check(const struct machine *m);

/* What is wrong, in words; never NULL. */
const char *machine_fault_text(enum machine_fault fault);

/* The index of the node that the operating system calls os_node, or NODE_NONE. */
uint32_t machine_node_of(const struct machine *m, uint32_t os_node);

#endif
