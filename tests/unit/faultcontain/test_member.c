/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/faultcontain/member_world.h"

#define SECOND (1000 * MS)

static struct world w;

/* A machine of n cells in one view; each has a guest that needs only it, and one that needs the
 * next too. */
static void up(uint16_t n, uint64_t seed)
{
	world_init(&w, n, seed);
	world_expect_settled(&w, SECOND);
	for (uint16_t c = 0; c < n; c++) {
		world_guest(&w, c, c);
		world_guest(&w, c, (uint16_t)((c + 1) % n));
	}
}

static unsigned restarts(void)
{
	unsigned count = 0;

	for (uint16_t c = 0; c < w.n; c++)
		count += w.cells[c].restarts;
	return count;
}

/* Exactly the guests that need `cells` have gone. */
static void expect_gone(const struct cellset *cells)
{
	for (uint16_t g = 0; g < w.guest_count; g++)
		cr_assert_eq(w.guests[g].runs, !needs_hurt(&w.guests[g].needs, cells),
			"guest %u of cell %u", g, w.guests[g].home);
}

static struct cellset set_of(uint16_t a, uint16_t b)
{
	struct cellset set = { 0 };

	if (a != CELLSET_NONE)
		cellset_add(&set, a);
	if (b != CELLSET_NONE)
		cellset_add(&set, b);
	return set;
}

Test(member, comes_up_at_every_size)
{
	static const uint16_t sizes[] = { 1, 2, 3, 8, 64, 65, 100 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		world_init(&w, sizes[i], i + 1);
		world_expect_settled(&w, 2 * SECOND);
		world_run(&w, SECOND);
		cr_assert_null(world_unsettled(&w));
		cr_assert_eq(restarts(), 0);
		cr_assert_eq(w.gathers, 0);
		world_fini(&w);
	}
}

Test(member, a_dead_node_takes_only_who_needs_it)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		uint16_t victim = (uint16_t)(seed % 5);
		struct cellset dead = set_of(victim, CELLSET_NONE);

		up(5, seed);
		w.cells[victim].node_dead = true;
		world_expect_settled(&w, SECOND);
		world_run(&w, SECOND);
		expect_gone(&dead);
		cr_assert_eq(restarts(), 0);
		cr_assert_eq(w.fences, 4);
		world_fini(&w);
	}
}

Test(member, a_crashed_monitor_is_restarted_once_and_costs_no_guest)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		uint16_t victim = (uint16_t)(seed % 4);
		struct cellset none = { 0 };

		up(4, seed);
		world_kill_monitor(&w, victim);
		world_expect_settled(&w, SECOND);
		world_run(&w, SECOND);
		expect_gone(&none);
		cr_assert_eq(w.cells[victim].restarts, 1);
		cr_assert_eq(restarts(), 1);
		cr_assert_eq(w.cells[victim].born, 1);
		cr_assert_eq(w.cells[victim].life, 2);
		world_fini(&w);
	}
}

Test(member, a_hanging_monitor_is_replaced)
{
	struct cellset none = { 0 };

	up(4, 7);
	w.cells[0].stopped = true;
	world_expect_settled(&w, SECOND);
	expect_gone(&none);
	cr_assert_eq(w.cells[0].life, 2);
	cr_assert_eq(restarts(), 1);
	world_fini(&w);
}

Test(member, a_short_silence_has_no_consequences)
{
	up(4, 8);
	w.cells[2].stopped = true;
	world_run(&w, 40 * MS);
	w.cells[2].stopped = false;
	world_run(&w, SECOND);
	cr_assert_null(world_unsettled(&w));
	cr_assert_eq(restarts(), 0);
	cr_assert_eq(w.gathers, 0);
	world_fini(&w);
}

Test(member, who_was_itself_stopped_accuses_nobody)
{
	/* All stop for longer than the suspicion time, as in a slow machine, and go on. */
	up(3, 9);
	for (uint16_t c = 0; c < 3; c++)
		w.cells[c].stopped = true;
	world_run(&w, 300 * MS);
	for (uint16_t c = 0; c < 3; c++)
		w.cells[c].stopped = false;
	world_run(&w, SECOND);
	cr_assert_null(world_unsettled(&w));
	cr_assert_eq(restarts(), 0);
	world_fini(&w);
}

Test(member, two_deaths_at_once)
{
	for (uint64_t seed = 1; seed <= 40; seed++) {
		uint16_t a = (uint16_t)(seed % 6), b = (uint16_t)((seed + 1 + seed % 4) % 6);
		struct cellset dead = set_of(a, b);

		up(6, seed);
		w.cells[a].node_dead = true;
		world_run(&w, seed * MS);
		w.cells[b].node_dead = true;
		world_expect_settled(&w, SECOND);
		expect_gone(&dead);
		world_fini(&w);
	}
}

Test(member, the_coordinator_dies_during_its_round)
{
	/* 0 leads the recovery of 3 and dies at each of many moments of it. */
	for (uint64_t moment = 0; moment < 60; moment++) {
		struct cellset dead = set_of(0, 3);
		unsigned before;

		up(5, moment + 1);
		w.cells[3].node_dead = true;
		before = w.rounds;
		while (w.rounds == before)
			world_run(&w, 10 * US);
		world_run(&w, moment * 20 * US);
		w.cells[0].node_dead = true;
		world_expect_settled(&w, SECOND);
		expect_gone(&dead);
		world_fini(&w);
	}
}

Test(member, monitors_crash_during_a_round)
{
	for (uint64_t moment = 0; moment < 60; moment++) {
		struct cellset dead = set_of(3, CELLSET_NONE);
		unsigned before;

		up(5, moment + 1);
		w.cells[3].node_dead = true;
		before = w.rounds;
		while (w.rounds == before)
			world_run(&w, 10 * US);
		world_run(&w, moment * 20 * US);
		world_kill_monitor(&w, moment % 3 ? 1 : 0);
		world_expect_settled(&w, SECOND);
		expect_gone(&dead);
		cr_assert_eq(restarts(), 1);
		world_fini(&w);
	}
}

Test(member, all_but_one_die)
{
	up(8, 3);
	for (uint16_t c = 0; c < 7; c++)
		w.cells[c].node_dead = true;
	world_expect_settled(&w, 2 * SECOND);
	world_fini(&w);
}

Test(member, all_monitors_crash_at_once)
{
	/* Nobody is left to restart them: init does, and they adopt. */
	struct cellset none = { 0 };

	up(4, 5);
	for (uint16_t c = 0; c < 4; c++)
		world_kill_monitor(&w, c);
	world_run(&w, 100 * MS);
	world_init_system(&w);
	world_expect_settled(&w, SECOND);
	expect_gone(&none);
	world_fini(&w);
}

Test(member, a_repaired_cell_rejoins_afresh)
{
	struct cellset dead = set_of(2, CELLSET_NONE), live;

	up(4, 11);
	w.cells[2].node_dead = true;
	world_expect_settled(&w, SECOND);
	world_start_afresh(&w, 2);
	world_expect_settled(&w, SECOND);
	expect_gone(&dead);
	member_live(w.cells[0].m, &live);
	cr_assert(cellset_has(&live, 2));
	cr_assert(member_holds(w.cells[0].m, 2, w.cells[2].life));
	cr_assert_not(member_holds(w.cells[0].m, 2, 1), "what was there before it died is gone");
	world_fini(&w);
}

Test(member, a_cell_that_returns_before_it_is_missed_has_died_all_the_same)
{
	struct cellset dead = set_of(2, CELLSET_NONE);

	up(4, 12);
	w.cells[2].node_dead = true;
	world_run(&w, 5 * MS);
	world_start_afresh(&w, 2);
	world_expect_settled(&w, SECOND);
	expect_gone(&dead);
	world_fini(&w);
}

Test(member, a_stale_life_changes_nothing)
{
	struct membership *old;
	struct member_action a;
	struct cellset live;
	uint64_t epoch;

	up(3, 13);
	/* Keep the old life's state: it wakes up after its successor is at work. */
	old = malloc(member_bytes(3));
	w.cells[1].stopped = true;
	world_run(&w, 30 * MS);
	memcpy(old, w.cells[1].m, sizeof(*old));
	free(old);
	old = w.cells[1].m;
	w.cells[1].m = NULL;
	world_kill_monitor(&w, 1);
	world_expect_settled(&w, SECOND);
	epoch = member_epoch(w.cells[0].m);
	member_tick(old, w.now_ns);
	while (member_next(old, &a)) {
		enum member_recv how;

		if (a.kind != MEMBER_SEND || a.cell != 0)
			continue;
		how = member_recv(w.cells[0].m, w.now_ns, 1, 1, a.op, a.body, a.body_bytes);
		cr_assert_eq(how, MEMBER_RECV_STALE);
	}
	cr_assert(member_next(w.cells[0].m, &a));
	cr_assert_eq(a.kind, MEMBER_SEND);
	cr_assert_eq(a.op, MEMBER_OP_STALE);
	/* Told so, the old life ends itself. */
	cr_assert_eq(member_recv(old, w.now_ns, 0, 1, a.op, a.body, a.body_bytes), MEMBER_RECV_OK);
	cr_assert(member_next(old, &a));
	cr_assert_eq(a.kind, MEMBER_STOP_SELF);
	cr_assert_not(member_next(old, &a));
	cr_assert_eq(member_due(old), UINT64_MAX);
	free(old);
	world_run(&w, SECOND);
	cr_assert_eq(member_epoch(w.cells[0].m), epoch);
	member_live(w.cells[0].m, &live);
	cr_assert(cellset_has(&live, 1));
	world_fini(&w);
}

Test(member, loss_of_any_one_kind_of_message_only_delays)
{
	for (int op = MEMBER_OP_REPORT; op <= MEMBER_OP_STALE; op++) {
		struct cellset dead = set_of(1, CELLSET_NONE);

		up(4, (uint64_t)op);
		w.mutes = 1u << (op - MEMBER_OP_HEARTBEAT);
		w.cells[1].node_dead = true;
		world_run(&w, 80 * MS);
		w.mutes = 0;
		world_expect_settled(&w, SECOND);
		expect_gone(&dead);
		world_fini(&w);
	}
}

Test(member, a_lossy_fabric)
{
	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct cellset dead = set_of((uint16_t)(seed % 6), CELLSET_NONE);

		up(6, seed);
		w.loss = 150;
		w.repeat = 100;
		w.cells[seed % 6].node_dead = true;
		world_run(&w, 200 * MS);
		w.loss = 0;
		world_expect_settled(&w, SECOND);
		expect_gone(&dead);
		world_fini(&w);
	}
}

Test(member, one_deaf_direction_costs_at_most_a_monitor)
{
	/* 3 is heard by 0 but does not hear it, and the other way round. */
	for (int way = 0; way < 2; way++) {
		struct cellset dead = set_of(2, CELLSET_NONE);

		up(4, 17 + (uint64_t)way);
		w.cut[way ? 0 : 3][way ? 3 : 0] = true;
		w.cells[2].node_dead = true;
		world_run(&w, 2 * SECOND);
		expect_gone(&dead);
		w.cut[0][3] = w.cut[3][0] = false;
		world_expect_settled(&w, SECOND);
		expect_gone(&dead);
		world_fini(&w);
	}
}

Test(member, big_machines_watch_through_hubs)
{
	struct cellset dead = set_of(0, 1);
	unsigned sends;

	world_init(&w, 100, 21);
	world_expect_settled(&w, 2 * SECOND);
	world_run(&w, SECOND);
	sends = w.sends;
	world_run(&w, SECOND);
	/* 100 beats: each cell to 3 hubs, each hub to 99. */
	cr_assert_lt(w.sends - sends, 101 * (97 * 3 + 3 * 99 + 3 * 2));
	world_guest(&w, 50, 1);
	w.cells[0].node_dead = w.cells[1].node_dead = w.cells[2].node_dead = true;
	w.cells[3].node_dead = w.cells[70].node_dead = true;
	world_expect_settled(&w, 2 * SECOND);
	expect_gone(&dead);
	world_kill_monitor(&w, 80);
	world_expect_settled(&w, SECOND);
	cr_assert_eq(restarts(), 1);
	world_fini(&w);
}

/* However far from the hubs it is: it must not look through the others three at a time. */
Test(member, the_last_monitor_of_a_big_machine_restarts_all_others_soon)
{
	static const uint16_t lasts[] = { 0, 4, 64, 127 };

	for (size_t i = 0; i < sizeof(lasts) / sizeof(lasts[0]); i++) {
		uint64_t took_ns;

		world_init(&w, 128, 30 + i);
		world_expect_settled(&w, 2 * SECOND);
		world_run(&w, SECOND);
		for (uint16_t c = 0; c < w.n; c++)
			if (c != lasts[i])
				world_kill_monitor(&w, c);
		took_ns = w.now_ns;
		world_expect_settled(&w, SECOND);
		took_ns = w.now_ns - took_ns;
		cr_assert_lt(took_ns, 150 * MS, "last %u: %llu ms", lasts[i],
			(unsigned long long)(took_ns / MS));
		cr_assert_eq(restarts(), 127, "last %u: %u", lasts[i], restarts());
		world_fini(&w);
	}
}

/* Any mixture of faults, then quiet: all is well again, and nobody was hurt without need. */
Test(member, storms_of_faults)
{
	for (uint64_t seed = 1; seed <= 300; seed++) {
		uint16_t n = (uint16_t)(2 + seed % 7);

		up(n, seed);
		w.loss = (unsigned)world_draw(&w, 3) * 60;
		w.repeat = (unsigned)world_draw(&w, 2) * 100;
		for (int i = 0; i < 12; i++) {
			uint16_t c = (uint16_t)world_draw(&w, n);
			unsigned dead = 0;

			for (uint16_t k = 0; k < n; k++)
				dead += w.cells[k].node_dead;
			world_run(&w, world_draw(&w, 40 * MS));
			switch (world_draw(&w, 5)) {
			case 0:
				if (dead + 1 < n)
					w.cells[c].node_dead = true;
				break;
			case 1:
				world_kill_monitor(&w, c);
				break;
			case 2:
				w.cells[c].stopped = w.cells[c].running;
				break;
			case 3:
				w.cells[c].stopped = false;
				break;
			default:
				if (w.cells[c].node_dead)
					world_start_afresh(&w, c);
				break;
			}
		}
		w.loss = w.repeat = 0;
		world_run(&w, 100 * MS);
		world_init_system(&w);
		world_expect_settled(&w, 4 * SECOND);
		world_fini(&w);
	}
}
