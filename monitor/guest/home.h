/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_GUEST_HOME_H
#define CELLVISOR_MONITOR_GUEST_HOME_H

/*
 * Where a guest was placed: the decision of its home cell, carried out by the
 * guest process. Pure.
 */

#include "monitor/err.h"
#include "monitor/guest/spec.h"
#include "numa/cpu_set.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define HOME_CPUS_MAX CPU_SET_CPUS
#define HOME_CPU_ID_MAX (CPU_SET_CPUS - 1)
#define HOME_NODE_ID_MAX 1023u

/* RAM of the guest in order of guest addresses: `bytes` of it on host node `node`. */
struct home_range {
	uint32_t node;
	uint64_t bytes; /* a multiple of SPEC_MEMORY_UNIT */
};

/* A plain value. */
struct guest_home {
	uint32_t cell;
	uint32_t nodes[SPEC_NODES_MAX]; /* host nodes that hold its memory, ascending */
	uint32_t node_count;		/* at least 1 */
	uint32_t cpus[HOME_CPUS_MAX];	/* host CPUs that its threads may use, ascending */
	uint32_t cpu_count;		/* at least 1 */
	/* Host node of each of cpus[]. The vCPUs of a vNUMA node run on its host node's CPUs. */
	uint32_t cpu_nodes[HOME_CPUS_MAX];
	bool has_cpu_nodes;
	/* A host CPU for each vCPU, none twice; 0 of them: as said above. */
	uint32_t pins[SPEC_CPUS_MAX], pin_count;
	struct home_range memory[SPEC_NODES_MAX];
	uint32_t memory_count; /* 0: all RAM is bound to the set of nodes[] */
	/* [node_count * node_count] as in the host's SLIT, row = from; for the guest's SLIT. */
	uint8_t distances[SPEC_NODES_MAX * SPEC_NODES_MAX];
	bool has_distances;
};

/*
 * {"cell","nodes":[],"cpus":[],"cpu_nodes"?:[],"pins"?:[],
 * "memory"?:[{"node","bytes"}],"distances"?:[]}. A new reference, NULL when out of memory.
 */
json_t *guest_home_encode(const struct guest_home *h);

/*
 * The reverse, for any JSON value (borrowed). 0, or a negative errno
 * (EXIT_INVALID) with *h untouched: a field of wrong type or size, a node of
 * cpu_nodes or memory that is not in nodes, a CPU that is twice in pins.
 */
int guest_home_decode(const json_t *value, struct guest_home *h, struct err *e);

/*
 * Does the memory plan cover exactly `memory_bytes`? 0 or -EINVAL
 * (EXIT_INVALID). An empty plan covers anything.
 */
int guest_home_covers(const struct guest_home *h, uint64_t memory_bytes, struct err *e);

/*
 * Host node on which offset `off` of RAM was placed; false if the home has
 * several nodes and no plan, so that only the kernel knows. Async-signal-safe.
 */
bool guest_home_node_of(const struct guest_home *h, uint64_t off, uint32_t *node);

#endif
