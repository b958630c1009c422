/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>

#include "faultcontain/restart.h"

/* Short lives, in the middle of a row, so that neither the first nor the last pause fits. */
static struct restart_past crashed(void)
{
	return (struct restart_past){
		.on_failure = true, .failed = true, .restarts = 3, .started = 1000, .ended = 1005
	};
}

Test(restart, only_what_failed_and_has_the_policy)
{
	struct restart_past p = crashed();
	double due;

	p.failed = false;
	cr_assert_eq(restart_decide(&p, 9999, &due), RESTART_NOT);
	p = crashed();
	p.on_failure = false;
	cr_assert_eq(restart_decide(&p, 9999, &due), RESTART_NOT);
}

Test(restart, pauses_double_up_to_the_last)
{
	static const double wanted[] = { 1, 2, 4, 8, 16, 32, 60, 60 };

	for (uint32_t i = 0; i < 8; i++) {
		struct restart_past p = crashed();
		double due = 0;

		p.restarts = i;
		cr_assert_eq(restart_decide(&p, 1005.5, &due), RESTART_LATER);
		cr_assert_float_eq(due, 1005 + wanted[i], 1e-9);
		cr_assert_eq(restart_decide(&p, due, &due), RESTART_NOW);
		cr_assert_eq(restart_decide(&p, due - 0.001, &due), RESTART_LATER);
	}
}

Test(restart, as_often_as_it_may_and_no_more)
{
	struct restart_past p = crashed();
	double due;

	p.max = 4;
	cr_assert_eq(restart_decide(&p, 2000, &due), RESTART_NOW);
	cr_assert_eq(restart_count(&p), 4);
	p.max = 3;
	cr_assert_eq(restart_decide(&p, 2000, &due), RESTART_SPENT);
}

Test(restart, a_long_life_begins_to_count_anew)
{
	struct restart_past p = crashed();
	double due = 0;

	p.max = 3;
	p.ended = p.started + RESTART_STEADY_S - 1;
	cr_assert_eq(restart_decide(&p, 9999, &due), RESTART_SPENT);
	p.ended = p.started + RESTART_STEADY_S;
	cr_assert_eq(restart_decide(&p, p.ended, &due), RESTART_LATER);
	cr_assert_float_eq(due, p.ended + RESTART_FIRST_S, 1e-9);
	cr_assert_eq(restart_count(&p), 1);
}

Test(restart, attempts_that_fail_become_rarer)
{
	struct restart_past p = crashed();
	double due = 0;

	p.attempts = 2;
	p.attempted = 1100;
	cr_assert_eq(restart_decide(&p, 1103.9, &due), RESTART_LATER);
	cr_assert_float_eq(due, 1104, 1e-9);
	cr_assert_eq(restart_decide(&p, 1104, &due), RESTART_NOW);
}

Test(restart, a_clock_set_back_puts_it_off_by_the_longest_pause_at_most)
{
	struct restart_past p = crashed();
	double due = 0;

	cr_assert_eq(restart_decide(&p, 10, &due), RESTART_LATER);
	cr_assert_float_eq(due, 10 + RESTART_LAST_S, 1e-9);
	p.restarts = UINT32_MAX;
	cr_assert_eq(restart_count(&p), UINT32_MAX);
}
