/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "numa/cpu_set.h"
#include "numa/text.h"

static struct cpu_set set_of(const char *list)
{
	struct cpu_set s;

	cr_assert_eq(cpu_set_parse(list, &s), 0, "%s", list);
	return s;
}

Test(cpu_set, a_list_is_read_and_written_as_the_kernel_does)
{
	static const char *const lists[][2] = {
		{ "0", "0" },
		{ "2047", "2047" },
		{ "0-3,8", "0-3,8" },
		{ "8,0-3", "0-3,8" },
		{ "63-64,62", "62-64" },
		{ "1,1,1-2", "1-2" },
		{ "5-5", "5" },
		{ "127-128,1990-2047\n", "127-128,1990-2047" },
		{ "0-2047", "0-2047" },
		{ "007", "7" },
	};

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		struct cpu_set s = set_of(lists[i][0]);
		char text[64];

		cr_assert_eq(cpu_set_format(&s, text, sizeof(text)), (int)strlen(lists[i][1]));
		cr_assert_str_eq(text, lists[i][1]);
	}
}

Test(cpu_set, rejected_lists_leave_the_set_empty)
{
	static const char *const lists[] = { "", "\n", " 1", "1 ", "1,", ",1", "1,,2", "3-2", "1-",
		"-1", "1-2-3", "2048", "0-2048", "99999999999999999999", "4294967296",
		"18446744073709551617", "1\n\n", "1\n2", "a", "0x1", "+1", "1;2", "1.5" };

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		struct cpu_set s = set_of("3,70");

		cr_assert_eq(cpu_set_parse(lists[i], &s), -EINVAL, "'%s'", lists[i]);
		cr_assert(cpu_set_empty(&s), "'%s'", lists[i]);
	}
}

Test(cpu_set, a_text_that_does_not_fit_is_cut_between_numbers_and_terminated)
{
	struct cpu_set s = set_of("10-12,100");
	char text[16];

	for (size_t bytes = 1; bytes < sizeof("10-12,100"); bytes++) {
		memset(text, '#', sizeof(text));
		cr_assert_eq(cpu_set_format(&s, text, bytes), -ENOSPC, "%zu", bytes);
		cr_assert_lt(strlen(text), bytes);
		cr_assert_eq(strncmp(text, "10-12,100", strlen(text)), 0);
		cr_assert_eq(text[bytes], '#', "wrote beyond %zu bytes", bytes);
	}
	cr_assert_eq(cpu_set_format(&s, text, sizeof("10-12,100")), 9);
	memset(text, '#', sizeof(text));
	cr_assert_eq(cpu_set_format(&s, text, 0), -ENOSPC);
	cr_assert_eq(text[0], '#');
}

Test(cpu_set, an_empty_set_is_an_empty_text)
{
	struct cpu_set s = { 0 };
	char text[4] = "xyz";

	cr_assert_eq(cpu_set_format(&s, text, sizeof(text)), 0);
	cr_assert_str_eq(text, "");
}

Test(cpu_set, next_walks_over_word_borders_and_ends)
{
	static const uint32_t members[] = { 3, 63, 64, 200, 2047 };
	struct cpu_set s = set_of("3,63-64,200,2047");
	uint32_t i = 0;

	for (uint32_t cpu = cpu_set_next(&s, 0); cpu != CPU_NONE; cpu = cpu_set_next(&s, cpu + 1))
		cr_assert_eq(cpu, members[i++]);
	cr_assert_eq(i, 5);
	cr_assert_eq(cpu_set_next(&s, 65), 200);
	cr_assert_eq(cpu_set_next(&s, CPU_SET_CPUS), CPU_NONE);
	cr_assert_eq(cpu_set_next(&(struct cpu_set){ .words = { 8, 1 } }, 4), 64);
	cr_assert_eq(cpu_set_count(&s), 5);
	cr_assert(!cpu_set_has(&s, 4));
	cr_assert(!cpu_set_has(&s, CPU_SET_CPUS), "beyond the set nothing is in it");
}

Test(cpu_set, overlap_is_found_in_the_last_word_too)
{
	struct cpu_set a = set_of("1,2000"), b = set_of("2,1999"), c = set_of("3,2000");

	cr_assert(!cpu_set_overlap(&a, &b));
	cr_assert(cpu_set_overlap(&a, &c));
	cr_assert(!cpu_set_equal(&a, &c));
	cpu_set_merge(&b, &a);
	a = set_of("1-2,1999-2000");
	cr_assert(cpu_set_equal(&a, &b));
}

Test(text, numbers_at_the_limit)
{
	const char *at = "4294967295,4294967296";
	uint32_t n = 7;
	char text[11];
	struct text_out out = text_to(text, sizeof(text));

	cr_assert(text_take_number(&at, UINT32_MAX, &n));
	cr_assert_eq(n, UINT32_MAX);
	at++;
	cr_assert(!text_take_number(&at, UINT32_MAX, &n));
	cr_assert_eq(*at, '4', "a number that is refused is not stepped over");
	cr_assert(text_number(&out, UINT32_MAX));
	cr_assert_str_eq(text, "4294967295");
	cr_assert(!text_char(&out, 'x'));
}
