/* SPDX-License-Identifier: BSD-2-Clause */

/* Cells on separate kernels: silence is all the evidence there is. */

#include "tests/unit/faultcontain/member_world.h"

#define SECOND (1000 * MS)

static struct world w;

static void up(uint16_t n, uint64_t seed)
{
	world_init_as(&w, n, seed, MEMBER_SEPARATE_KERNELS);
	world_expect_settled(&w, SECOND);
	for (uint16_t c = 0; c < n; c++)
		world_guest(&w, c, c);
}

static void cut(uint16_t a, uint16_t b, bool both)
{
	w.cut[a][b] = true;
	w.cut[b][a] |= both;
}

static unsigned running_guests(void)
{
	unsigned count = 0;

	for (uint16_t g = 0; g < w.guest_count; g++)
		count += w.guests[g].runs;
	return count;
}

Test(member_apart, a_dead_cell_is_found_by_the_silence_of_most)
{
	for (uint16_t victim = 0; victim < 4; victim++) {
		up(4, victim + 1u);
		w.cells[victim].node_dead = true;
		world_expect_settled(&w, SECOND);
		cr_assert_eq(running_guests(), 3);
		world_fini(&w);
	}
}

Test(member_apart, a_bad_link_between_two_kills_neither)
{
	for (int way = 0; way < 4; way++) {
		up(4, 5);
		cut(way & 1 ? 0 : 2, way & 1 ? 2 : 0, way & 2);
		world_run(&w, 2 * SECOND);
		cr_assert_eq(w.fences, 0);
		cr_assert_eq(w.stops, 0);
		memset(w.cut, 0, sizeof(w.cut));
		world_expect_settled(&w, SECOND);
		cr_assert_eq(running_guests(), 4);
		world_fini(&w);
	}
}

Test(member_apart, of_two_sides_only_the_greater_goes_on)
{
	/* {1,3} and {0,2,4} */
	up(5, 6);
	for (uint16_t a = 0; a < 5; a++)
		for (uint16_t b = 0; b < 5; b++)
			w.cut[a][b] = (a % 2) != (b % 2);
	world_run(&w, SECOND);
	for (uint16_t c = 0; c < 5; c++) {
		struct cellset live;

		cr_assert_eq(w.cells[c].running, c % 2 == 0, "the greater side fenced the other");
		if (!w.cells[c].running)
			continue;
		cr_assert_not(member_suspended(w.cells[c].m));
		member_live(w.cells[c].m, &live);
		cr_assert_eq(cellset_count(&live), 3);
	}
	world_fini(&w);
}

Test(member_apart, the_smaller_side_waits_and_stops_when_told)
{
	up(5, 7);
	w.fence_fails = true; /* nobody reaches over */
	for (uint16_t a = 0; a < 5; a++)
		for (uint16_t b = 0; b < 5; b++)
			w.cut[a][b] = (a < 2) != (b < 2);
	world_run(&w, SECOND);
	cr_assert(member_suspended(w.cells[0].m));
	cr_assert(member_suspended(w.cells[1].m));
	cr_assert_eq(w.stops, 0);
	memset(w.cut, 0, sizeof(w.cut));
	w.fence_fails = false;
	world_run(&w, SECOND);
	cr_assert_not(w.cells[0].running);
	cr_assert_not(w.cells[1].running);
	world_start_afresh(&w, 0);
	world_start_afresh(&w, 1);
	world_expect_settled(&w, SECOND);
	world_fini(&w);
}

Test(member_apart, of_exactly_half_the_one_with_the_lowest_cell)
{
	up(2, 8);
	cut(0, 1, true);
	w.fence_fails = true;
	world_run(&w, SECOND);
	cr_assert(member_suspended(w.cells[1].m), "both can't declare the other dead");
	cr_assert_eq(member_state(w.cells[1].m, 0), MEMBER_SUSPECT);
	cr_assert_eq(member_state(w.cells[0].m, 1), MEMBER_DEAD);
	world_fini(&w);

	/* Unless the hardware says that the other is dead. */
	up(2, 9);
	w.cells[0].node_dead = true;
	member_evidence(w.cells[1].m, w.now_ns, 0, 1, MEMBER_EVIDENCE_HARDWARE);
	world_drain(&w, 1);
	world_expect_settled(&w, SECOND);
	world_fini(&w);
}

Test(member_apart, a_monitor_restarted_by_its_own_init_stays_a_member)
{
	for (uint16_t victim = 0; victim < 2; victim++) {
		up(2, 10);
		world_kill_monitor(&w, victim);
		world_run(&w, 20 * MS);
		world_start_monitor(&w, victim, 2, 1);
		world_expect_settled(&w, SECOND);
		cr_assert_eq(running_guests(), 2);
		world_fini(&w);
	}
}

Test(member_apart, who_has_forgotten_does_not_count)
{
	/*
	 * {0,1} agree that 2 is dead. 1 is restarted and then only reaches 2: the
	 * two must not found a machine of their own beside 0.
	 */
	up(3, 11);
	cut(0, 2, true);
	cut(1, 2, true);
	w.fence_fails = true;
	world_run(&w, 200 * MS);
	cr_assert_eq(member_state(w.cells[0].m, 2), MEMBER_DEAD);
	memset(w.cut, 0, sizeof(w.cut));
	cut(0, 1, true);
	cut(0, 2, true);
	world_kill_monitor(&w, 1);
	world_start_monitor(&w, 1, 2, 1);
	world_run(&w, 2 * SECOND);
	cr_assert_eq(member_epoch(w.cells[1].m), 0);
	cr_assert(member_suspended(w.cells[2].m));
	cr_assert_eq(ballot_count(member_epoch(w.cells[2].m)), 1, "still the first view");
	world_fini(&w);
}
