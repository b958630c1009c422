/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <string.h>

#include "guests/agent/pattern.h"

/* Not a multiple of PATTERN_STEPS, so that slices wrap. */
#define PAGES 19u

static uint64_t memory[PAGES * PATTERN_PAGE_WORDS];

/* Steps until something is found wrong, at most `most`; how many it took, or 0. */
static unsigned steps_until_wrong(struct pattern *p, unsigned most)
{
	for (unsigned step = 1; step <= most; step++)
		if (!pattern_step(p))
			return step;
	return 0;
}

Test(pattern, right_memory_stays_right)
{
	struct pattern p;

	pattern_init(&p, memory, PAGES, 7);
	cr_assert_eq(steps_until_wrong(&p, 10 * PATTERN_STEPS), 0);
}

Test(pattern, a_flipped_bit_anywhere_is_found_within_a_round_and_never_forgotten)
{
	for (size_t at = 0; at < sizeof(memory); at += 509) {
		struct pattern p;

		pattern_init(&p, memory, PAGES, at);
		for (size_t i = 0; i < at % 11; i++)
			cr_assert(pattern_step(&p));
		((unsigned char *)memory)[at] ^= (unsigned char)(1u << at % 8);
		cr_expect_gt(steps_until_wrong(&p, PATTERN_STEPS), 0, "byte %zu", at);
		cr_expect_eq(p.wrong_page, at / PATTERN_PAGE_BYTES);
		memory[(p.wrong_page + 7) % PAGES * PATTERN_PAGE_WORDS] ^= 1;
		for (unsigned i = 0; i < 3 * PATTERN_STEPS; i++)
			cr_expect_not(pattern_step(&p));
		cr_expect_eq(p.wrong_page, at / PATTERN_PAGE_BYTES, "the first one is kept");
	}
}

Test(pattern, a_lost_page_is_found)
{
	struct pattern p;

	pattern_init(&p, memory, PAGES, 1);
	memset(memory + 5 * PATTERN_PAGE_WORDS, 0, PATTERN_PAGE_BYTES);
	cr_assert_gt(steps_until_wrong(&p, PATTERN_STEPS), 0);
	cr_assert_eq(p.wrong_page, 5);
}

Test(pattern, pages_that_were_swapped_are_found)
{
	static uint64_t page[PATTERN_PAGE_WORDS];
	struct pattern p;

	pattern_init(&p, memory, PAGES, 1);
	memcpy(page, memory + 6 * PATTERN_PAGE_WORDS, sizeof(page));
	memcpy(memory + 6 * PATTERN_PAGE_WORDS, memory + 9 * PATTERN_PAGE_WORDS, sizeof(page));
	memcpy(memory + 9 * PATTERN_PAGE_WORDS, page, sizeof(page));
	cr_assert_gt(steps_until_wrong(&p, PATTERN_STEPS), 0);
	cr_assert_eq(p.wrong_page, 6);
}

Test(pattern, a_page_of_the_past_is_found)
{
	static uint64_t page[PATTERN_PAGE_WORDS];
	struct pattern p;

	pattern_init(&p, memory, PAGES, 1);
	memcpy(page, memory + 4 * PATTERN_PAGE_WORDS, sizeof(page));
	for (unsigned i = 0; i < PATTERN_STEPS; i++)
		cr_assert(pattern_step(&p));
	memcpy(memory + 4 * PATTERN_PAGE_WORDS, page, sizeof(page));
	cr_assert_gt(steps_until_wrong(&p, PATTERN_STEPS), 0);
	cr_assert_eq(p.wrong_page, 4);
}

Test(pattern, the_sum_changes_with_each_step_and_tells_seeds_apart)
{
	static uint64_t other[PAGES * PATTERN_PAGE_WORDS];
	struct pattern p, q;
	uint64_t before;

	pattern_init(&p, memory, PAGES, 1);
	pattern_init(&q, other, PAGES, 2);
	cr_assert_neq(p.sum, q.sum);
	pattern_init(&q, other, PAGES, 1);
	for (unsigned i = 0; i < 3 * PATTERN_STEPS; i++) {
		before = p.sum;
		pattern_step(&p);
		pattern_step(&q);
		cr_expect_neq(p.sum, before);
		cr_expect_eq(p.sum, q.sum, "the same history gives the same sum");
	}
}

Test(pattern, the_sum_tells_what_the_memory_really_held)
{
	static uint64_t other[PAGES * PATTERN_PAGE_WORDS];
	struct pattern p, q;

	pattern_init(&p, memory, PAGES, 1);
	pattern_init(&q, other, PAGES, 1);
	memory[0] ^= 1;
	pattern_step(&p);
	pattern_step(&q);
	cr_assert_neq(p.sum, q.sum);
}

Test(pattern, one_page_is_enough)
{
	struct pattern p;

	pattern_init(&p, memory, 1, 3);
	cr_assert(pattern_step(&p));
	memory[PATTERN_PAGE_WORDS - 1] ^= 1ull << 63;
	cr_assert_not(pattern_step(&p));
}
