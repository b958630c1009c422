/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <string.h>

#include "monitor/cli/parse.h"

Test(parse, sizes)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{ "0", 0 },
		{ "1", 1 },
		{ "512B", 512 },
		{ "4k", 4096 },
		{ "256M", 256ull << 20 },
		{ "256MiB", 256ull << 20 },
		{ "256MB", 256ull << 20 },
		{ "1.5G", 3ull << 29 },
		{ "2T", 2ull << 40 },
	};
	static const char *const bad[] = { "", "lots", "-1", "+1", "M", "1X", "1MM", "1M ", " 1M",
		"0x10", "1.", ".5", "1.5", "0.3k", "inf", "nan", "1e3",
		"99999999999999999999999999999999999999", "9000000T", "1MiBs" };
	struct err e;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		uint64_t bytes = 77;

		cr_assert_eq(parse_size("--memory", good[i].text, &bytes, &e), 0, "%s: %s",
			good[i].text, e.text);
		cr_assert_eq(bytes, good[i].bytes, "%s", good[i].text);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint64_t bytes = 77;

		cr_assert_lt(parse_size("--memory", bad[i], &bytes, &e), 0, "%s", bad[i]);
		cr_assert_eq(e.code, EXIT_USAGE);
		cr_assert_eq(bytes, 77);
		cr_assert(strstr(e.text, "--memory"), "%s", e.text);
		cr_assert(strstr(e.text, bad[i]), "the word is not named: %s", e.text);
	}
}

Test(parse, numbers_have_limits)
{
	static const char *const bad[] = { "", "1", "9", "-3", "3x", " 3", "0x3",
		"18446744073709551619" };
	uint64_t value = 77;
	struct err e;

	cr_assert_eq(parse_number("--cpus", "2", 2, 8, &value, &e), 0);
	cr_assert_eq(value, 2);
	cr_assert_eq(parse_number("--cpus", "8", 2, 8, &value, &e), 0);
	cr_assert_eq(value, 8);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cr_assert_lt(parse_number("--cpus", bad[i], 2, 8, &value, &e), 0, "%s", bad[i]);
		cr_assert(strstr(e.text, "2 to 8"), "%s", e.text);
	}
	cr_assert_eq(value, 8);
}

Test(parse, lists_are_sorted_sets)
{
	static const char *const bad[] = { "", ",", "1,", ",1", "3-1", "1-", "-1", "a", "1024",
		"1;2", "1--2", "1-2-3", "99999999999999999999" };
	uint32_t numbers[4] = { 77, 77, 77, 77 };
	size_t count = 77;
	struct err e;

	cr_assert_eq(parse_list("--nodes", "9,2-3,2", numbers, 4, &count, &e), 0, "%s", e.text);
	cr_assert_eq(count, 3);
	cr_assert_eq(numbers[0], 2);
	cr_assert_eq(numbers[1], 3);
	cr_assert_eq(numbers[2], 9);
	cr_assert_eq(parse_list("--nodes", "1023", numbers, 4, &count, &e), 0);
	cr_assert_eq(numbers[0], 1023);
	cr_assert_lt(parse_list("--nodes", "0-4", numbers, 4, &count, &e), 0);
	cr_assert_eq(count, 1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_lt(
			parse_list("--nodes", bad[i], numbers, 4, &count, &e), 0, "%s", bad[i]);
}

Test(parse, times)
{
	double t = 0;
	struct err e;

	cr_assert_eq(parse_duration("--timeout", "1500ms", &t, &e), 0);
	cr_assert_float_eq(t, 1.5, 1e-9);
	cr_assert_eq(parse_duration("--timeout", "90", &t, &e), 0);
	cr_assert_float_eq(t, 90, 1e-9);
	cr_assert_eq(parse_duration("--timeout", "2h", &t, &e), 0);
	cr_assert_float_eq(t, 7200, 1e-9);
	cr_assert_lt(parse_duration("--timeout", "2w", &t, &e), 0);
	cr_assert_lt(parse_duration("--timeout", "", &t, &e), 0);
	cr_assert_lt(parse_duration("--timeout", "1e9", &t, &e), 0);
	cr_assert_lt(parse_duration("--timeout", "100000d", &t, &e), 0);
	/* With a unit it is a time ago, without one a point in time. */
	cr_assert_eq(parse_since("--since", "5m", 1000, &t, &e), 0);
	cr_assert_float_eq(t, 700, 1e-9);
	cr_assert_eq(parse_since("--since", "5", 1000, &t, &e), 0);
	cr_assert_float_eq(t, 5, 1e-9);
	cr_assert_eq(parse_since("--since", "0", 1000, &t, &e), 0);
	cr_assert_float_eq(t, 0, 1e-9);
	cr_assert_lt(parse_since("--since", "yesterday", 1000, &t, &e), 0);
}
