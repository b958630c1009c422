/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faultcontain/inject/node_death.h"
#include "faultcontain/inject/node_plan.h"
#include "faultcontain/inject/setting.h"
#include "sim/box/client.h"

static struct cpu_set cpus(const char *list)
{
	struct cpu_set s = { { 0 } };

	if (*list)
		cr_assert_eq(cpu_set_parse(list, &s), 0);
	return s;
}

Test(node_plan, only_memory_of_the_process_is_struck)
{
	static const struct {
		const char *line;
		bool own;
	} rows[] = {
		{ "7f31c0000000-7f31d0000000 rw-s 00000000 00:01 1034   /memfd:cv-ram (deleted)\n",
			true },
		{ "00400000-00500000 r-xp 00000000 00:01 33 /memfd:cellvisor-cell-2 (deleted)\n",
			true },
		{ "7f31b0000000-7f31b0021000 rw-p 00000000 00:00 0 \n", true },
		{ "7f31b0000000-7f31b0021000 rw-p 00000000 00:00 0", true },
		{ "01a3b000-01a5c000 rw-p 00000000 00:00 0                  [heap]\n", true },
		{ "7ffc9e3b5000-7ffc9e3d6000 rw-p 00000000 00:00 0          [stack]\n", true },
		{ "7ffc9e3b5000-7ffc9e3d6000 rw-p 00000000 00:00 0          [anon:arena]\n", true },
		{ "7f3100000000-7f3100200000 r-xp 00000000 fe:01 77 /usr/lib/libc.so.6\n", false },
		{ "7f3100000000-7f3100200000 rw-p 00000000 fe:01 77 /home/memfd:fake\n", false },
		{ "7f3100000000-7f3100003000 rw-s 00000000 00:05 4 anon_inode:kvm-vcpu:0\n",
			false },
		{ "7ffc9e3f1000-7ffc9e3f3000 r-xp 00000000 00:00 0          [vdso]\n", false },
		{ "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0  [vsyscall]\n", false },
		{ "7f3100200000-7f3100000000 rw-p 00000000 00:00 0 \n", false },
		{ "nonsense\n", false },
		{ "12-", false },
		{ "", false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct plan_area area = { 0 };

		cr_expect_eq(plan_area_of(rows[i].line, &area), rows[i].own, "%s", rows[i].line);
		cr_expect_eq(area.end != 0, rows[i].own, "%s", rows[i].line);
	}
}

Test(node_plan, the_address_range_is_read_whole)
{
	struct plan_area area;

	cr_assert(plan_area_of("7f31c0000000-7f31d0000000 rw-s 0 00:01 9 /memfd:x", &area));
	cr_expect_eq(area.start, 0x7f31c0000000u);
	cr_expect_eq(area.end, 0x7f31d0000000u);
}

Test(node_plan, a_page_counts_only_if_it_is_there_and_its_own)
{
	const uint64_t present = 1ull << 63, swapped = 1ull << 62, shared = 1ull << 61;
	const uint64_t exclusive = 1ull << 56, soft_dirty = 1ull << 55, frame = 0x186500;
	uint64_t got = 0;

	cr_expect(plan_frame_of(present | exclusive | soft_dirty | frame, &got));
	cr_expect_eq(got, frame, "the bits above the frame number are not part of it");
	cr_expect(plan_frame_of(present | shared | frame, &got), "memfd, also mapped elsewhere");
	cr_expect_not(
		plan_frame_of(present | frame, &got), "private, but another maps it: after a fork");
	cr_expect_not(plan_frame_of(exclusive | frame, &got), "not present");
	cr_expect_not(plan_frame_of(swapped | exclusive | frame, &got));
	cr_expect_not(
		plan_frame_of(present | exclusive, &got), "frame hidden from the unprivileged");
}

Test(node_plan, the_kernels_frames_are_spared)
{
	cr_expect(plan_may_poison(0));
	cr_expect(plan_may_poison(1ull << 5 | 1ull << 4 | 1ull << 12), "lru, dirty, anonymous");
	cr_expect(plan_may_poison(1ull << 22 | 1ull << 16), "part of a huge page");
	cr_expect_not(plan_may_poison(1ull << 24), "the zero page, everybody's");
	cr_expect_not(plan_may_poison(1ull << 7), "slab");
	cr_expect_not(plan_may_poison(1ull << 26), "page table");
	cr_expect_not(plan_may_poison(1ull << 19), "already bad");
	cr_expect_not(plan_may_poison(1ull << 20), "no memory");
	cr_expect_not(plan_may_poison(1ull << 32), "reserved");
}

Test(node_plan, frames_of_a_node_are_ranges)
{
	struct plan_frames f = { .count = 0 };

	cr_assert_eq(plan_frames_add(&f, 1000, 2000), 0);
	cr_assert_eq(plan_frames_add(&f, 2000, 3000), 0);
	cr_assert_eq(plan_frames_add(&f, 500, 600), 0);
	cr_expect_eq(f.count, 2, "adjacent ranges are one");
	cr_expect(
		plan_frames_has(&f, 1000) && plan_frames_has(&f, 2999) && plan_frames_has(&f, 500));
	cr_expect_not(
		plan_frames_has(&f, 3000) || plan_frames_has(&f, 999) || plan_frames_has(&f, 600));
	for (uint64_t i = f.count; i < PLAN_RANGES_MAX; i++)
		cr_assert_eq(plan_frames_add(&f, 10000 + i * 10, 10001 + i * 10), 0);
	cr_expect_eq(plan_frames_add(&f, 1, 2), -ENOSPC);
}

Test(node_plan, bystanders_leave_and_others_stay)
{
	static const struct {
		const char *now, *to; /* to NULL: stays */
	} rows[] = {
		{ "0-7", "0-3,6-7" },
		{ "4", "0-3,6-7" },
		{ "4-5", "0-3,6-7" },
		{ "5-6", "6" },
		{ "0-3", NULL },
		{ "6", NULL },
		/* 9 is offline: who may run on 5 and 9 alone would have nowhere to go. */
		{ "5,9", "0-3,6-7" },
		{ "2,5,9", "2,9" },
	};
	const struct cpu_set dying = cpus("4-5"), others = cpus("0-3,6-7");

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct cpu_set now = cpus(rows[i].now), to, wanted;

		cr_expect_eq(plan_move(&now, &dying, &others, &to), rows[i].to != NULL, "%s",
			rows[i].now);
		if (!rows[i].to)
			continue;
		wanted = cpus(rows[i].to);
		cr_expect(cpu_set_equal(&to, &wanted), "%s", rows[i].now);
	}
}

Test(node_plan, members_are_told_from_bystanders)
{
	const struct proc_id members[] = { { 30, 1 }, { 10, 2 }, { 20, 3 } };

	cr_expect(plan_is_member(members, 3, 10) && plan_is_member(members, 3, 20));
	cr_expect_not(plan_is_member(members, 3, 11));
	cr_expect_not(plan_is_member(members, 2, 20));
	cr_expect_not(plan_is_member(NULL, 0, 20));
}

Test(node_plan, masks_are_written_as_the_kernel_reads_them)
{
	static const struct {
		const char *list, *mask;
	} rows[] = {
		{ "0", "1" },
		{ "0-3,6-7", "cf" },
		{ "31", "80000000" },
		{ "32", "1,00000000" },
		{ "0,33,95", "80000000,00000002,00000001" },
	};
	char text[1024];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct cpu_set s = cpus(rows[i].list);

		cr_assert_eq(plan_mask_write(&s, text, sizeof(text)), 0);
		cr_expect_str_eq(text, rows[i].mask);
	}
	cr_expect_eq(plan_mask_write(&(struct cpu_set){ { 0, 1 } }, text, 9), -ENOSPC);
}

Test(setting, what_was_changed_is_restored_last_first)
{
	struct settings s = { 0 };
	char path[] = "/tmp/cv-setting-XXXXXX", text[64], longer[64];
	int fd = mkstemp(path);

	cr_assert_eq(write(fd, "before\n", 7), 7);
	cr_assert_eq(settings_change(&s, path, "first!"), 0);
	cr_assert_eq(settings_change(&s, path, "second"), 0);
	cr_assert_eq(setting_read(path, text, sizeof(text)), 0);
	cr_expect_str_eq(text, "second");
	cr_expect_eq(settings_change(&s, "/nonexistent/x", "1"), -ENOENT);
	cr_expect_eq(s.count, 2);
	settings_restore(&s);
	cr_assert_eq(setting_read(path, text, sizeof(text)), 0);
	cr_expect_str_eq(text, "before");
	cr_expect_eq(setting_read(path, text, 5), -E2BIG);
	(void)snprintf(longer, sizeof(longer), "%s", path);
	(void)unlink(path);
	(void)close(fd);
	cr_expect_eq(setting_read(longer, text, sizeof(text)), -ENOENT);
}

/* Outside of a box: only the processes of the cell are killed, and that is said. */
static char told[256];

static void listen(void *ctx, const char *text)
{
	(void)ctx;
	(void)snprintf(told, sizeof(told), "%s", text);
}

Test(node_death, on_a_server_only_the_members_are_killed)
{
	struct proc_id members[2];
	const uint32_t node = 0;
	struct node_death_report report;
	struct node_death what = { .nodes = &node,
		.node_count = 1,
		.members = members,
		.member_count = 2,
		.progress = listen };
	struct err e = { 0 };
	pid_t other;

	if (box_client_here())
		cr_skip_test("this is a box");
	other = fork();
	if (other == 0)
		for (;;)
			pause();
	for (int i = 0; i < 2; i++) {
		members[i].pid = fork();
		if (members[i].pid == 0)
			for (;;)
				pause();
		cr_assert_eq(proc_start_time(members[i].pid, &members[i].start_time), 0);
	}
	if (geteuid() != 0) {
		cr_expect_neq(node_death_inject(&what, &report, &e), 0);
		cr_expect(strstr(e.text, "root"), "%s", e.text);
	} else {
		members[1].start_time++;
		cr_assert_eq(node_death_inject(&what, &report, &e), 0, "%s", e.text);
		cr_expect_eq(report.in_box, false);
		cr_expect_eq(report.members_stopped, 1, "the other pid is another process");
		cr_expect(strstr(told, "no box"), "%s", told);
		cr_expect_eq(waitpid(members[0].pid, NULL, 0), members[0].pid);
		cr_expect_eq(kill(other, 0), 0);
	}
	(void)kill(other, SIGKILL);
	(void)kill(members[1].pid, SIGKILL);
}
