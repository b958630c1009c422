/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <string.h>

#include "sim/cells/sim.h"

static struct sim_cfg config(uint16_t cells)
{
	return (struct sim_cfg){ .cells = cells, .nodes = 1, .guests = 4, .fault_ms = 1000 };
}

static struct sim_result run(const struct sim_cfg *cfg, uint64_t seed)
{
	struct sim_result result;

	cr_assert(sim_run(cfg, seed, &result));
	return result;
}

Test(cellsim, promises_hold_on_machines_of_every_shape)
{
	static const struct {
		uint16_t cells, nodes;
		uint64_t seeds;
	} shapes[] = { { 1, 1, 20 }, { 2, 1, 40 }, { 3, 2, 40 }, { 8, 1, 60 }, { 16, 4, 3 },
		{ 70, 1, 3 } };

	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		struct sim_cfg cfg = config(shapes[i].cells);

		cfg.nodes = shapes[i].nodes;
		for (uint64_t seed = 1000; seed < 1000 + shapes[i].seeds; seed++) {
			struct sim_result r = run(&cfg, seed);

			cr_assert_not(r.violated, "%u cells, seed %lu: %s", cfg.cells,
				(unsigned long)seed, r.why);
		}
	}
}

Test(cellsim, the_same_seed_gives_the_same_digest_and_another_one_not)
{
	struct sim_cfg cfg = config(8);

	for (uint64_t seed = 1; seed < 10; seed++) {
		struct sim_result a = run(&cfg, seed), b = run(&cfg, seed);

		cr_assert_eq(memcmp(&a, &b, sizeof(a)), 0);
		cr_assert_neq(a.digest, run(&cfg, seed + 1).digest);
	}
}

Test(cellsim, faults_of_every_kind_happen)
{
	struct sim_cfg cfg = config(8);
	struct sim_result sum = { 0 };

	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct sim_result r = run(&cfg, seed);

		sum.node_deaths += r.node_deaths;
		sum.node_hangs += r.node_hangs;
		sum.monitor_crashes += r.monitor_crashes;
		sum.monitor_hangs += r.monitor_hangs;
		sum.restarts += r.restarts;
		sum.rejoins += r.rejoins;
		sum.guests_started += r.guests_started;
		sum.guests_hurt += r.guests_hurt;
		sum.loans += r.loans;
		sum.vcpu_moves += r.vcpu_moves;
		sum.vcpu_visits += r.vcpu_visits;
		sum.cpus_off += r.cpus_off;
	}
	cr_assert_gt(sum.node_deaths, 30);
	cr_assert_gt(sum.node_hangs, 30);
	cr_assert_gt(sum.monitor_crashes, 30);
	cr_assert_gt(sum.monitor_hangs, 30);
	cr_assert_gt(sum.restarts, 100);
	cr_assert_gt(sum.rejoins, 10);
	cr_assert_gt(sum.loans, 500);
	cr_assert_gt(sum.vcpu_moves, 400);
	cr_assert_gt(sum.vcpu_visits, 200, "moves to other cells");
	cr_assert_gt(sum.cpus_off, 20);
	cr_assert_gt(sum.guests_hurt, 100);
	cr_assert_lt(sum.guests_hurt, sum.guests_started / 2);
}

Test(cellsim, nothing_happens_without_faults)
{
	struct sim_cfg cfg = config(8);
	struct sim_result r;
	uint32_t visits = 0;

	cfg.scenario = SIM_QUIET;
	for (uint64_t seed = 1; seed <= 3; seed++) {
		r = run(&cfg, seed);
		cr_assert_not(r.violated, "%s", r.why);
		cr_assert_eq(r.restarts, 0);
		cr_assert_eq(r.guests_hurt, 0);
		cr_assert_eq(r.views, 1, "only the first");
		cr_assert_gt(r.loans, 10);
		visits += r.vcpu_visits;
	}
	cr_assert_gt(visits, 10);
}

Test(cellsim, measured_recoveries)
{
	struct sim_cfg cfg = config(16);
	struct sim_result r;

	cfg.scenario = SIM_NODE_DEATH;
	r = run(&cfg, 1);
	cr_assert_not(r.violated, "%s", r.why);
	cr_assert_eq(r.node_deaths, 1);
	cr_assert_eq(r.restarts, 0);
	/* PROPOSE, COMMIT and RESUME to 14 others, and their answers. */
	cr_assert_eq(r.recovery_messages_max, 3 * 14);
	cr_assert_eq(r.recovery_messages, 5 * 14);
	cr_assert_gt(r.recovery_ns, 0);
	cfg.scenario = SIM_MONITOR_CRASH;
	r = run(&cfg, 1);
	cr_assert_not(r.violated, "%s", r.why);
	cr_assert_eq(r.restarts, 1);
	cr_assert_eq(r.guests_hurt, 0);
	cfg.scenario = SIM_TWO_DEATHS;
	r = run(&cfg, 1);
	cr_assert_not(r.violated, "%s", r.why);
	cr_assert_eq(r.node_deaths, 2);
}

Test(cellsim, every_planted_bug_is_caught_within_100_seeds)
{
	struct sim_cfg cfg = config(8);

	for (int plant = PLANT_NONE + 1; plant < PLANT_COUNT; plant++) {
		uint64_t seed = 1;

		cfg.plant = (enum plant)plant;
		while (seed <= 100 && !run(&cfg, seed).violated)
			seed++;
		cr_assert_leq(seed, 100, "%s was not caught", plant_name(cfg.plant));
	}
}

Test(cellsim, planted_bugs_have_names)
{
	for (int plant = PLANT_NONE; plant < PLANT_COUNT; plant++)
		cr_assert_eq((int)plant_find(plant_name((enum plant)plant)), plant);
	cr_assert_eq(plant_find("no-such-bug"), PLANT_COUNT);
	cr_assert_geq(PLANT_COUNT - 1, 10);
}
