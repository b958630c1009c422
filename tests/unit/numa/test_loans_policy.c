/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <string.h>

#include "numa/loans_policy.h"

Test(loans_policy, whom_to_ask)
{
	static const struct {
		const char *what;
		struct lender_view cells[4];
		bool may_need;
		uint32_t answer;
	} cases[] = {
		{ "needed already, though far, and with only a part of it",
			{ { true, false, false, 11, 900 }, { true, false, true, 99, 20 },
				{ true, false, false, 10, 800 }, { true, false, false, 12, 999 } },
			true, 1 },
		{ "the nearest of two that are needed",
			{ { true, false, true, 31, 900 }, { true, false, true, 30, 800 },
				{ true, false, false, 10, 800 }, { true, false, true, 32, 999 } },
			true, 1 },
		{ "all of it at once, though not the nearest",
			{ { true, false, false, 10, 115 }, { true, false, false, 40, 900 },
				{ true, false, false, 20, 116 }, { true, false, false, 30, 116 } },
			true, 2 },
		{ "most free of the equally near",
			{ { true, false, false, 20, 300 }, { true, false, false, 20, 200 },
				{ true, false, false, 20, 400 }, { true, false, false, 20, 300 } },
			true, 2 },
		{ "the lowest of what is alike",
			{ { false, false, false, 20, 300 }, { true, false, false, 20, 300 },
				{ true, false, false, 20, 300 }, { true, false, false, 20, 300 } },
			true, 1 },
		{ "not who has just refused, is dead, or keeps what it has",
			{ { true, true, true, 10, 300 }, { false, false, true, 10, 300 },
				{ true, false, true, 10, 16 }, { true, false, false, 90, 17 } },
			true, 3 },
		{ "nobody new for a guest at its limit",
			{ { true, false, false, 10, 300 }, { true, false, false, 11, 300 },
				{ true, false, true, 90, 16 }, { true, false, false, 12, 300 } },
			false, CELL_NONE },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cr_assert_eq(loans_pick_lender(cases[i].cells, 4, cases[i].may_need, 100, 16),
			cases[i].answer, "%s", cases[i].what);
}

/* A book of cell 0 with what it borrowed (of 1, 2, 3) and lent (to the same). */
static struct loans *book(void)
{
	static uint64_t memory[2048];
	static const struct loan borrowed[] = {
		{ .id = 1ull << 32 | 1, .units = 5, .lender = 1 },
		{ .id = 1ull << 32 | 4, .units = 9, .lender = 2 },
		{ .id = 1ull << 32 | 5, .units = 7, .lender = 2 },
		{ .id = 1ull << 32 | 2, .units = 7, .lender = 2 },
		{ .id = 1ull << 32 | 3, .units = 1, .lender = 3 },
	};
	struct loans_cfg cfg = { .cell_count = 4,
		.incarnation = 2,
		.born = 1,
		.line_max = 32,
		.peer_line_max = 32,
		.retry_ns = 1 };
	struct loans *l = loans_start(memory, &cfg, 0);

	cr_assert_leq(loans_bytes(4, 32), sizeof(memory));
	for (size_t i = 0; i < sizeof(borrowed) / sizeof(borrowed[0]); i++) {
		struct loan claim = borrowed[i];

		claim.borrower_born = 1;
		claim.lender_born = 6;
		cr_assert(loans_claim(l, &claim));
	}
	loans_claimed(l, 0);
	cr_assert(loans_offer(l, 70, 1000));
	cr_assert(loans_offer(l, 71, 2000));
	for (uint16_t c = 1; c < 4; c++) {
		struct loan_msg told = { .op = LOAN_OP_TOLD,
			.serial = 1,
			.answer = 1,
			.line = { .lender = c, .lender_born = 6, .borrower_born = 1 } };
		struct loan_msg reply;

		loans_peer(l, 0, c, 6, 6, true);
		cr_assert_eq(loans_recv(l, 0, c, &told, &reply), LOANS_RECV_OK);
	}
	return l;
}

static void lend(struct loans *l, uint16_t to, uint32_t count, uint32_t os_node, uint64_t units)
{
	struct loan_msg reply, ask = { .op = LOAN_OP_REQUEST,
		.line = { .id = 6ull << 32 | count,
			.units = units,
			.lender_born = 1,
			.borrower_born = 6,
			.os_node = os_node,
			.borrower = to } };

	cr_assert_eq(loans_recv(l, 0, to, &ask, &reply), LOANS_RECV_REPLY);
	cr_assert_eq(reply.op, LOAN_OP_GRANT);
}

Test(loans_policy, what_to_return_first)
{
	static const uint8_t distance[] = { 10, 20, 40, 30 };
	static const uint8_t alike[] = { 10, 20, 20, 20 };
	struct loans *l = book();
	uint64_t keep = 99;

	cr_assert_null(loans_pick_return(l, distance, 0, NULL, NULL, &keep));
	cr_assert_eq(loans_pick_return(l, distance, 100, NULL, NULL, &keep)->id, 1ull << 32 | 2,
		"of the farthest the smallest, of these the lowest");
	cr_assert_eq(keep, 0);
	cr_assert_eq(loans_pick_return(l, distance, 3, NULL, NULL, &keep)->id, 1ull << 32 | 2);
	cr_assert_eq(keep, 4);
	cr_assert_eq(loans_pick_return(l, alike, 3, NULL, NULL, &keep)->id, 1ull << 32 | 3);
	loans_return(l, 0, 1ull << 32 | 2, 0);
	cr_assert_eq(loans_pick_return(l, distance, 100, NULL, NULL, &keep)->id, 1ull << 32 | 5,
		"not what is on its way back");
}

static bool is_recalled(void *ctx, const struct loan *loan)
{
	const uint64_t *id = ctx;

	return loan->id == *id;
}

Test(loans_policy, what_to_ask_back_first)
{
	static const uint8_t distance[] = { 10, 20, 40, 30 };
	struct loans *l = book();
	uint64_t none = 0, first = 6ull << 32 | 3;

	cr_assert_null(loans_pick_recall(l, distance, 70, is_recalled, &none));
	lend(l, 1, 1, 70, 90);
	lend(l, 2, 1, 71, 80);
	lend(l, 2, 2, 70, 7);
	lend(l, 2, 3, 70, 8);
	lend(l, 2, 4, 70, 8);
	lend(l, 3, 1, 70, 60);
	cr_assert_eq(loans_pick_recall(l, distance, 70, is_recalled, &none)->id, first);
	cr_assert_eq(loans_pick_recall(l, distance, 70, is_recalled, &first)->id, 6ull << 32 | 4);
	cr_assert_eq(loans_pick_recall(l, distance, 71, is_recalled, &none)->units, 80);
}

Test(loans_policy, looking_after_a_node)
{
	static const struct loans_thresholds t = { .borrow_below_units = 8,
		.lend_above_units = 16 };
	static const struct loans_guest guests[] = {
		{ .here_units = 99, .may_borrow = false, .needs_others = true },
		{ .here_units = 50, .may_borrow = true },
		{ .here_units = 60, .may_borrow = true },
		{ .here_units = 5, .may_borrow = true, .needs_others = true },
		{ .here_units = 0, .may_borrow = true, .needs_others = true },
	};
	static const struct {
		const char *what;
		struct loans_node node;
		uint32_t guest_count;
		enum loans_step step;
		uint32_t guest;
		uint64_t units;
	} cases[] = {
		{ "just enough", { 8, 0, 0 }, 5, LOANS_REST, 0, 0 },
		{ "nothing goes back before there is more than the upper threshold", { 16, 0, 0 },
			5, LOANS_REST, 0, 0 },
		{ "what is above it takes something home", { 19, 7, 7 }, 5, LOANS_RETURN, 0, 3 },
		{ "lent memory first, up to the upper threshold", { 7, 20, 0 }, 5, LOANS_RECALL, 0,
			9 },
		{ "all that is lent", { 0, 3, 0 }, 5, LOANS_RECALL, 0, 3 },
		{ "what was asked back is on its way", { 7, 20, 9 }, 5, LOANS_REST, 0, 0 },
		{ "and not asked back twice", { 0, 20, 10 }, 5, LOANS_RECALL, 0, 6 },
		{ "not enough on its way, and no more lent", { 0, 10, 10 }, 3, LOANS_BORROW, 2, 6 },
		{ "the one that needs others already, as much as it has here", { 7, 0, 0 }, 5,
			LOANS_BORROW, 3, 5 },
		{ "else the largest", { 7, 0, 0 }, 3, LOANS_BORROW, 2, 9 },
		{ "nobody may", { 0, 0, 0 }, 1, LOANS_REST, 0, 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t guest = 0;
		uint64_t units = 0;
		enum loans_step step = loans_look_after(
			&cases[i].node, guests, cases[i].guest_count, &t, &guest, &units);

		cr_assert_eq(step, cases[i].step, "%s: %d", cases[i].what, step);
		cr_assert_eq(guest, cases[i].guest, "%s: guest %u", cases[i].what, guest);
		cr_assert_eq(units, cases[i].units, "%s: %d units", cases[i].what, (int)units);
	}
}

static bool is_the_one(void *ctx, const struct loan *loan)
{
	return loan->id == *(const uint64_t *)ctx;
}

Test(loans_policy, a_loan_that_stays_is_passed_over)
{
	static const uint8_t distance[] = { 10, 20, 40, 30 };
	uint64_t stays = 1ull << 32 | 2, keep;

	cr_assert_eq(loans_pick_return(book(), distance, 100, is_the_one, &stays, &keep)->id,
		1ull << 32 | 5);
}
