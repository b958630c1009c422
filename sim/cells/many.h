/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_SIM_CELLS_MANY_H
#define CELLVISOR_SIM_CELLS_MANY_H

/*
 * Many machines on all CPUs: processes that each run every k-th seed, so that
 * a crash of the code under test costs one seed and is counted as a violation.
 */

#include "sim/cells/sim.h"

/* Sums over all runs, the same in whatever order they end. */
struct many {
	uint64_t runs, violations, crashed, digest;
	uint64_t first_failing_seed; /* the lowest, if violations > 0 */
	char first_why[SIM_WHY_BYTES];
	uint64_t events, messages, views;
	uint64_t node_deaths, node_hangs, monitor_crashes, monitor_hangs, restarts, rejoins;
	uint64_t guests_started, guests_hurt, loans, vcpu_moves, vcpu_visits, cpus_off;
	uint64_t recovery_ns, recovery_ns_max, recovery_messages, recovery_messages_max;
	uint64_t settle_ns, settle_ns_max;
	double wall_seconds;
};

/* Runs the seeds first..last in `jobs` processes. 0 or -errno. Progress goes to a terminal. */
int many_run(
	const struct sim_cfg *cfg, uint64_t first, uint64_t last, uint32_t jobs, struct many *all);

#endif
