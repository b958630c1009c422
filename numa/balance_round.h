/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_NUMA_BALANCE_ROUND_H
#define CELLVISOR_NUMA_BALANCE_ROUND_H

/*
 * One round of balancing by a cell monitor, from what it measured: which of its
 * guests' vCPUs has to run elsewhere. Built on balance.h. Pure;
 * docs/numa-policies.md has the rules.
 *
 * The work is shared with the scheduler of the operating system: that sees each
 * wakeup and shares out the CPUs that a vCPU may use, so a vCPU normally may use all
 * CPUs of one node; which node, and which CPU for a gang's vCPU, is decided here.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "numa/balance.h"
#include "numa/cells.h"

/* A vCPU that is away from its memory and does nothing goes home after this time. */
#define ROUND_IDLE_HOME_NS 1000000000ull

/* CPUs here are the operating system's numbers, below CPU_SET_CPUS. */

struct round_vcpu {
	uint32_t guest;
	struct cpu_set allowed; /* where the kernel lets it run */
	bool runnable;
	bool held;	   /* stays: placed by hand, or just on its way */
	uint64_t moved_ns; /* when last, 0: never */
	uint64_t idle_ns;  /* how long it has not been runnable */
};

struct round_guest {
	uint32_t home; /* cell */
	struct balance_needs needs;
	uint32_t needs_max;
	bool gang;
	struct cpu_set near; /* CPUs of the nodes with its memory */
};

enum round_scope {
	ROUND_IN_CELL = 1,
	ROUND_MACHINE = 2,
};

struct round_input {
	const struct machine *machine;
	const struct cells *cells;
	uint32_t self;
	unsigned int scopes; /* enum round_scope */
	uint64_t now_ns;
	uint64_t stay_ns;	 /* a vCPU that was moved stays so long, unless its CPU is gone */
	struct cpu_set usable;	 /* online, and of a cell that lives */
	const uint16_t *foreign; /* [CPU_SET_CPUS]: runnable vCPUs of other cells' guests */
	const uint64_t *cpu_idle_ns; /* [CPU_SET_CPUS]: how long a CPU has had nothing to run */
	struct round_vcpu *vcpus;
	uint32_t vcpu_count;
	struct round_guest *guests;
	uint32_t guest_count;
};

enum round_reason {
	ROUND_LOST,   /* it may run where it must not, or its CPUs are gone */
	ROUND_GANG,   /* a gang's vCPU without a CPU of its own */
	ROUND_HOME,   /* back to its memory */
	ROUND_IDLE,   /* an idle CPU took it */
	ROUND_SPREAD, /* the busiest CPU gave it to the least busy */
	ROUND_REASON_COUNT,
};

struct round_move {
	uint32_t vcpu;
	uint32_t from; /* the CPU that it was counted on, or CPU_NONE */
	uint32_t to;
	enum round_reason reason;
};

/* Memory for one round, with `foreign` the sum over all CPUs. */
size_t round_bytes(
	const struct machine *machine, uint32_t vcpus, uint32_t guests, uint32_t foreign);

/*
 * Decides a round: at most `max` moves, each vCPU at most once. `memory` is
 * round_bytes(), aligned for uint64_t. vCPUs and guests are not changed.
 */
uint32_t round_decide(
	void *memory, const struct round_input *in, struct round_move *moves, uint32_t max);

/*
 * Where a vCPU counts as running, for each of in->vcpus: as the kernel's scheduler
 * would spread those that can run over the CPUs that they may use. CPU_NONE: it has no
 * usable CPU in the cells that its guest needs.
 */
void round_places(const struct round_input *in, uint32_t *cpus);

/* The CPUs to give to a vCPU that is to run on `cpu`: that one for a gang, else its node's. */
void round_cpus(const struct machine *machine, uint32_t cpu, bool gang, struct cpu_set *cpus);

/*
 * Whether a new gang of `vcpus` fits: a CPU for each in to[], the near ones and the
 * least busy first. in->guests[guest] is the gang, none of whose vCPUs is in in->vcpus.
 * Otherwise false, with how many there are in *found.
 */
bool round_gang(const struct round_input *in, uint32_t guest, uint32_t vcpus, uint32_t *to,
	uint32_t *found);

/*
 * Where a vCPU that comes back from another cell goes: to `wanted`, which was decided
 * when it was asked back; but if another one of its gang has got that CPU meanwhile, or
 * it is gone, to a usable CPU of its home without one of the gang, near its memory
 * first, the lowest. If there is none, `wanted`.
 */
uint32_t round_back(const struct round_input *in, uint32_t vcpu, uint32_t wanted);

/* In a word, for events and listings. */
const char *round_reason_name(enum round_reason reason);

/* The node (index) that has this CPU, or NODE_NONE. */
uint32_t round_node_of(const struct machine *machine, uint32_t cpu);

#endif
