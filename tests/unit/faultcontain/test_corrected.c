/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faultcontain/corrected.h"

#define SECOND 1000000000ull
#define HALF (1024 * SECOND)
#define START (77777 * SECOND + 5)

static struct corrected *fresh(uint32_t retire_after, uint32_t drain_after)
{
	const struct corrected_cfg cfg = {
		.retire_after = retire_after, .drain_after = drain_after, .half_life_ns = HALF
	};
	struct corrected *c = malloc(sizeof(*c));

	memset(c, 0xa5, sizeof(*c));
	corrected_init(c, &cfg);
	return c;
}

static bool take(struct corrected *c, uint64_t now_ns, uint64_t frame, uint32_t node,
	uint32_t count, const char *dimm)
{
	struct corrected_error e = { .frame = frame, .node = node, .count = count };
	bool drain;

	strncpy(e.dimm, dimm, sizeof(e.dimm) - 1);
	drain = corrected_take(c, now_ns, &e);
	cr_assert_null(corrected_check(c), "%s", corrected_check(c));
	return drain;
}

static const struct corrected_page *page(const struct corrected *c, uint64_t frame)
{
	for (uint32_t s = 0; s < CORRECTED_SETS; s++)
		for (uint32_t w = 0; w < CORRECTED_WAYS; w++)
			if (c->pages[s][w].state != CORRECTED_FREE && c->pages[s][w].frame == frame)
				return &c->pages[s][w];
	return NULL;
}

static uint32_t page_now(const struct corrected *c, uint64_t frame, uint64_t now_ns)
{
	const struct corrected_page *p = page(c, frame);

	return p ? corrected_now(c, &p->count, now_ns) : 0;
}

static uint32_t node_now(const struct corrected *c, uint32_t node, uint64_t now_ns)
{
	return corrected_now(c, &c->nodes[node].count, now_ns);
}

static bool next(struct corrected *c, uint64_t now_ns, uint64_t *frame)
{
	uint32_t node;
	bool found = corrected_next(c, now_ns, frame, &node);

	cr_assert_null(corrected_check(c));
	return found;
}

Test(corrected, a_count_halves_each_half_life)
{
	struct corrected *c = fresh(0, 0);

	take(c, START, 9, 3, 1024, "");
	for (uint32_t h = 0; h <= 10; h++)
		cr_assert_eq(page_now(c, 9, START + h * HALF), 1024u >> h, "after %u", h);
	cr_assert_eq(page_now(c, 9, START + 12 * HALF), 0);
	cr_assert_eq(page_now(c, 9, START + 5000 * HALF), 0);
	cr_assert_eq(page_now(c, 9, UINT64_MAX), 0);
	/* A quarter of a half-life: 2^-(1/4) of 1024 is 861.08; three quarters: 608.87. */
	cr_assert_eq(page_now(c, 9, START + HALF / 4), 861);
	cr_assert_eq(page_now(c, 9, START + HALF / 4 * 3), 609);
	cr_assert_eq(node_now(c, 3, START + HALF), 512);
	cr_assert_eq(node_now(c, 2, START), 0);
	free(c);
}

/* However short the times in between, they add up. */
Test(corrected, errors_that_come_quickly_still_fade)
{
	struct corrected *c = fresh(0, 0);
	uint64_t t = START;

	/* 4 a second, for ten half-lives: settles at 4 * 1024 s / ln 2 = 5909. */
	for (uint32_t i = 0; i < 10 * 1024 * 4; i++, t += SECOND / 4)
		take(c, t, 9, 3, 1, "");
	cr_assert_leq(abs((int)page_now(c, 9, t) - 5904), 12, "%u", page_now(c, 9, t));
	free(c);
}

Test(corrected, time_that_runs_backwards_changes_nothing)
{
	struct corrected *c = fresh(0, 0);

	take(c, START, 9, 3, 4, "");
	take(c, START - 5 * HALF, 9, 3, 4, "");
	cr_assert_eq(page_now(c, 9, START - HALF), 8);
	cr_assert_eq(page_now(c, 9, START), 8);
	free(c);
}

Test(corrected, counts_end_at_a_bound)
{
	struct corrected *c = fresh(0, 0);

	for (uint32_t i = 0; i < 140000; i++)
		corrected_take(c, START,
			&(struct corrected_error){
				.frame = 1, .node = 0, .count = CORRECTED_COUNT_MAX, .dimm = "D" });
	cr_assert_eq(page_now(c, 1, START), UINT32_MAX);
	cr_assert_eq(node_now(c, 0, START), UINT32_MAX);
	cr_assert_eq(page_now(c, 1, START + 31 * HALF), 2);
	free(c);
}

Test(corrected, a_page_at_its_threshold_is_retired_once)
{
	struct corrected *c = fresh(3, 0);
	uint64_t frame;

	take(c, START, 100, 1, 1, "");
	take(c, START, 7, 2, 2, "");
	take(c, START, 100, 1, 1, "");
	cr_assert_not(next(c, START, &frame));
	take(c, START, 100, 1, 1, "");
	cr_assert(next(c, START, &frame));
	cr_assert_eq(frame, 100);
	/* While it leaves, and afterwards, further errors don't ask again. */
	take(c, START, 100, 1, 50, "");
	cr_assert_not(next(c, START, &frame));
	cr_assert(corrected_left(c, START, 100, true));
	take(c, START, 100, 1, 50, "");
	cr_assert_not(next(c, START, &frame));
	cr_assert_eq(page(c, 100)->state, CORRECTED_RETIRED);
	cr_assert_eq(c->nodes[1].retired, 1);
	cr_assert_not(corrected_left(c, START, 100, true));
	cr_assert_not(corrected_left(c, START, 4711, true));
	free(c);
}

Test(corrected, errors_of_long_ago_do_not_retire_a_page)
{
	struct corrected *c = fresh(3, 0);
	uint64_t frame;

	for (uint32_t i = 0; i < 20; i++)
		take(c, START + 2 * i * HALF, 100, 1, 1, "");
	cr_assert_not(next(c, START, &frame));
	take(c, START + 2 * 20 * HALF, 100, 1, 3, "");
	cr_assert(next(c, START, &frame));
	free(c);
}

Test(corrected, the_page_with_most_errors_leaves_first)
{
	struct corrected *c = fresh(3, 0);
	uint64_t frame;

	take(c, START, 300, 1, 4, "");
	take(c, START, 200, 1, 9, "");
	take(c, START, 400, 1, 5, "");
	take(c, START, 100, 1, 5, "");
	cr_assert(next(c, START, &frame) && frame == 200);
	cr_assert(next(c, START, &frame) && frame == 100);
	cr_assert(next(c, START, &frame) && frame == 400);
	cr_assert(next(c, START, &frame) && frame == 300);
	cr_assert_not(next(c, START, &frame));
	for (uint64_t i = 0; i < 40; i++)
		take(c, START, 1000 + i * 7 % 40, 1, 5, "");
	for (uint64_t i = 0; i < 40; i++)
		cr_assert(next(c, START, &frame) && frame == 1000 + i);
	free(c);
}

Test(corrected, a_page_that_stays_is_tried_three_times)
{
	struct corrected *c = fresh(3, 0);
	uint64_t frame;

	for (uint32_t i = 1; i <= CORRECTED_ATTEMPTS; i++) {
		take(c, START, 100, 1, 2, "");
		cr_assert_not(next(c, START, &frame), "attempt %u came too early", i);
		take(c, START, 100, 1, 1, "");
		cr_assert(next(c, START, &frame), "attempt %u", i);
		cr_assert(corrected_left(c, START, 100, false));
	}
	take(c, START, 100, 1, 1000, "");
	cr_assert_not(next(c, START, &frame));
	cr_assert_eq(page(c, 100)->state, CORRECTED_STUCK);
	cr_assert_eq(c->nodes[1].stuck, 1);
	cr_assert_eq(c->nodes[1].retired, 0);
	free(c);
}

Test(corrected, nothing_is_retired_or_given_up_when_that_is_off)
{
	struct corrected *c = fresh(0, 0);
	uint64_t frame;

	cr_assert_not(take(c, START, 100, 1, CORRECTED_COUNT_MAX, ""));
	cr_assert_not(next(c, START, &frame));
	cr_assert_eq(node_now(c, 1, START), CORRECTED_COUNT_MAX);
	free(c);
}

Test(corrected, one_bad_page_is_no_bad_node)
{
	struct corrected *c = fresh(10, 40);
	uint64_t frame;

	for (uint32_t i = 0; i < 100; i++)
		cr_assert_not(take(c, START, 100, 1, 7, ""));
	cr_assert_eq(node_now(c, 1, START), 10);
	cr_assert(next(c, START, &frame) && corrected_left(c, START, 100, true));
	/* The scrubber finds it again and again. */
	for (uint32_t i = 0; i < 100; i++)
		cr_assert_not(take(c, START, 100, 1, 7, ""));
	cr_assert_eq(node_now(c, 1, START), 10);
	free(c);
}

Test(corrected, a_page_that_can_not_be_retired_is_the_nodes_fault)
{
	struct corrected *c = fresh(10, 40);
	uint64_t frame;

	for (uint32_t i = 0; i < CORRECTED_ATTEMPTS; i++) {
		cr_assert_not(take(c, START, 100, 1, 1000, ""));
		cr_assert(next(c, START, &frame) && corrected_left(c, START, 100, false));
	}
	cr_assert_eq(node_now(c, 1, START), 30);
	cr_assert(take(c, START, 100, 1, 10, ""));
	take(c, START, 100, 1, 100, "");
	cr_assert_eq(node_now(c, 1, START), 140);
	free(c);
}

Test(corrected, many_bad_pages_are_a_bad_node)
{
	struct corrected *c = fresh(10, 40);

	for (uint64_t frame = 0; frame < 4; frame++)
		cr_assert_not(take(c, START, 1000 + frame, 5, 9, ""));
	cr_assert_not(take(c, START, 2000, 5, 3, ""));
	cr_assert_not(take(c, START, 3000, 6, 9, ""), "another node's errors");
	cr_assert(take(c, START, 2000, 5, 1, ""));
	cr_assert(c->nodes[5].failing && !c->nodes[6].failing);
	/* Said once, until it is trusted again; and then it begins at zero. */
	cr_assert_not(take(c, START, 4000, 5, 9, ""));
	corrected_pardon(c, 5);
	cr_assert_eq(node_now(c, 5, START), 0);
	for (uint64_t frame = 0; frame < 4; frame++)
		cr_assert_not(take(c, START, 5000 + frame, 5, 9, ""));
	cr_assert(take(c, START, 6000, 5, 4, ""));
	free(c);
}

/* In which set a page is kept. */
static uint32_t set_of(uint64_t frame)
{
	struct corrected *c = fresh(0, 0);
	uint32_t set = 0;

	take(c, START, frame, 0, 1, "");
	while (c->pages[set][0].state == CORRECTED_FREE)
		set++;
	free(c);
	return set;
}

/* The n-th page after `first` that is kept in the same set. */
static uint64_t neighbour(uint64_t first, uint32_t n)
{
	const uint32_t set = set_of(first);
	uint64_t frame = first;

	while (n)
		n -= set_of(++frame) == set;
	return frame;
}

Test(corrected, a_full_set_forgets_the_page_with_the_fewest_errors)
{
	struct corrected *c = fresh(100, 0);
	uint64_t frames[CORRECTED_WAYS + 2];

	for (uint32_t i = 0; i < CORRECTED_WAYS + 2; i++)
		frames[i] = neighbour(5000, i);
	/* The fourth has the fewest; the second the same, but later. */
	for (uint32_t i = 0; i < CORRECTED_WAYS; i++)
		take(c, START + (i == 1 ? 2 : 0), frames[i], 0, i == 3 || i == 1 ? 2 : 9, "");
	take(c, START + 3, frames[CORRECTED_WAYS], 0, 1, "");
	cr_assert_null(page(c, frames[3]));
	cr_assert_eq(page_now(c, frames[CORRECTED_WAYS], START + 3), 1);
	/* Now the newcomer has the fewest. A page that errs again and again stays. */
	take(c, START + 4, frames[CORRECTED_WAYS + 1], 0, 1, "");
	cr_assert_null(page(c, frames[CORRECTED_WAYS]));
	for (uint32_t i = 0; i < CORRECTED_WAYS; i++)
		if (i != 3)
			cr_assert_not_null(page(c, frames[i]), "%u", i);
	/* What counts is the present: nines of long ago are less than a one of now. */
	take(c, START + 20 * HALF, frames[3], 0, 1, "");
	take(c, START + 20 * HALF, frames[CORRECTED_WAYS], 0, 1, "");
	cr_assert_not_null(page(c, frames[3]));
	free(c);
}

Test(corrected, pages_that_leave_are_never_forgotten)
{
	struct corrected *c = fresh(3, 0);
	uint64_t frame;

	for (uint32_t i = 0; i < CORRECTED_WAYS; i++)
		take(c, START, neighbour(5000, i), 0, 3, "");
	for (uint32_t i = 0; i < CORRECTED_WAYS / 2; i++)
		cr_assert(next(c, START, &frame));
	take(c, START, neighbour(5000, CORRECTED_WAYS), 0, 30, "");
	cr_assert_null(page(c, neighbour(5000, CORRECTED_WAYS)));
	cr_assert_eq(node_now(c, 0, START), 3 * CORRECTED_WAYS + 30, "the node counts it");
	for (uint32_t i = 0; i < CORRECTED_WAYS; i++)
		cr_assert_not_null(page(c, neighbour(5000, i)));
	free(c);
}

/* Many pages that err once do not hide the few that err often. */
Test(corrected, a_storm_of_single_errors_hides_nothing)
{
	struct corrected *c = fresh(10, 0);
	uint64_t frame, found = 0;

	for (uint64_t i = 0; i < 200000; i++) {
		corrected_take(c, START + i,
			&(struct corrected_error){ .frame = i, .node = 0, .count = 1 });
		if (i % 10000 == 0)
			for (uint64_t bad = 0; bad < 8; bad++)
				corrected_take(c, START + i,
					&(struct corrected_error){ .frame = 1000000 + 17 * bad,
						.node = 0,
						.count = 2 });
	}
	while (next(c, START, &frame)) {
		cr_assert_geq(frame, 1000000);
		found++;
	}
	cr_assert_eq(found, 8);
	free(c);
}

Test(corrected, dimms_are_counted_by_name)
{
	struct corrected *c = fresh(1, 0);
	const struct corrected_dimm *d;
	char label[16];

	take(c, START, 1, 4, 3, "DIMM_B1");
	take(c, START, 2, 4, 2, "DIMM_A1");
	take(c, START, 3, 5, 90, "DIMM_C1");
	take(c, START, 2, 4, 2, "DIMM_A1");
	take(c, START, 9, CORRECTED_NO_NODE, 1, "DIMM_X");
	d = corrected_worst_dimm(c, 4, START);
	cr_assert_str_eq(d->label, "DIMM_A1");
	cr_assert_eq(corrected_now(c, &d->count, START), 4);
	cr_assert_null(corrected_worst_dimm(c, 6, START));
	cr_assert_str_eq(corrected_worst_dimm(c, CORRECTED_NO_NODE, START)->label, "DIMM_X");
	cr_assert_null(page(c, 9));
	/* The same name on another node is another DIMM. */
	take(c, START, 4, 5, 1, "DIMM_A1");
	cr_assert_eq(corrected_now(c, &corrected_worst_dimm(c, 4, START)->count, START), 4);
	/* More names than room: the worst stays. */
	for (uint32_t i = 0; i < 3 * CORRECTED_DIMMS; i++) {
		snprintf(label, sizeof(label), "D%u", i);
		take(c, START, 1, 4, 1, label);
	}
	cr_assert_str_eq(corrected_worst_dimm(c, 4, START)->label, "DIMM_A1");
	cr_assert_str_eq(corrected_worst_dimm(c, 5, START)->label, "DIMM_C1");
	free(c);
}

Test(corrected, the_worst_pages_come_first)
{
	const uint32_t counts[] = { 3, 9, 1, 7, 8, 2 };
	const struct corrected_page *pages[4];
	struct corrected *c = fresh(0, 0);

	cr_assert_eq(corrected_worst_pages(c, START, pages, 4), 0);
	for (uint32_t i = 0; i < 6; i++)
		take(c, START, 10 * i, 0, counts[i], "");
	cr_assert_eq(corrected_worst_pages(c, START, pages, 4), 4);
	cr_assert_eq(pages[0]->frame, 10);
	cr_assert_eq(pages[1]->frame, 40);
	cr_assert_eq(pages[2]->frame, 30);
	cr_assert_eq(pages[3]->frame, 0);
	cr_assert_eq(corrected_worst_pages(c, START, pages, 0), 0);
	free(c);
}

Test(corrected, a_message_is_what_was_sent)
{
	const struct corrected_error e = { .frame = CORRECTED_FRAME_MAX,
		.node = CORRECTED_NODES - 1,
		.count = CORRECTED_COUNT_MAX,
		.dimm = "CPU_SrcID#1_MC#0_Chan#2_DIMM#0" };
	uint8_t body[CORRECTED_MSG_BYTES];
	struct corrected_error again;

	corrected_encode(&e, body);
	cr_assert(corrected_decode(body, sizeof(body), &again));
	cr_assert_eq(again.frame, e.frame);
	cr_assert_eq(again.node, e.node);
	cr_assert_eq(again.count, e.count);
	cr_assert_str_eq(again.dimm, e.dimm);
}

Test(corrected, bad_messages_are_refused)
{
	static const struct {
		const char *what;
		uint32_t at;
		uint8_t byte;
	} rows[] = {
		{ "a frame beyond all memory", 5, 1 },
		{ "no such node", 8, CORRECTED_NODES },
		{ "node none", 11, 0xff },
		{ "no error at all", 12, 0 },
		{ "more errors than can be", 13, 0x80 },
		{ "a label that does not end", 16 + CORRECTED_LABEL_BYTES - 1, 'x' },
		{ "something behind the label's end", 16 + 30, 'x' },
		{ "a control character", 17, '\n' },
		{ "no ASCII", 17, 0xe4 },
	};
	const struct corrected_error e = { .frame = 1, .node = 2, .count = 1, .dimm = "DIMM" };
	uint8_t body[CORRECTED_MSG_BYTES];
	struct corrected_error again;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		corrected_encode(&e, body);
		cr_assert(corrected_decode(body, sizeof(body), &again));
		body[rows[i].at] = rows[i].byte;
		cr_assert_not(corrected_decode(body, sizeof(body), &again), "%s", rows[i].what);
	}
	corrected_encode(&e, body);
	cr_assert_not(corrected_decode(body, sizeof(body) - 1, &again));
	cr_assert_not(corrected_decode(body, 0, &again));
}
