/* SPDX-License-Identifier: BSD-2-Clause */
#include "guests/agent/owner.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>

static struct owner owner;

static void start(void)
{
	int rc = owner_start(&owner);

	if (rc == -EIO)
		cr_skip_test("page frames are told to root alone");
	cr_assert_eq(rc, 0);
	cr_assert_neq(owner.gpa, 0);
	cr_assert_eq(owner.gpa % 4096, 0);
}

Test(owner, its_page_holds_what_was_written, .timeout = 60)
{
	struct owner_state state;

	start();
	cr_assert_eq(owner_start(&owner), -EBUSY, "there is one already");
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(owner_touch(&owner, &state), 0);
		cr_assert(state.alive && state.intact);
	}
	kill(owner.pid, SIGKILL);
	cr_assert_eq(owner_touch(&owner, &state), 0);
}

Test(owner, the_signal_that_ended_it_is_told, .timeout = 60)
{
	struct owner_state state;

	start();
	kill(owner.pid, SIGTERM);
	cr_assert_eq(owner_touch(&owner, &state), 0);
	cr_assert_not(state.alive);
	cr_assert_eq(state.signal, SIGTERM);
	cr_assert_eq(owner_touch(&owner, &state), -ESRCH);
	cr_assert_eq(owner_write_disk(&owner), -ESRCH);
	start();
	kill(owner.pid, SIGKILL);
	cr_assert_eq(owner_touch(&owner, &state), 0);
}
