/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <string.h>

#include "faultcontain/member_impl.h"

#define CELLS 5
#define MAX_BODY 128

static uint64_t words[CELLS];

/* Cell c: born 2, life 4 + c; cell 1 dead, cell 3 never heard of. */
static void fill_words(void)
{
	for (uint16_t c = 0; c < CELLS; c++)
		words[c] = word_make(2, 4u + c);
	words[1] |= WORD_DEAD;
	words[3] = 0;
}

static struct member_msg message(uint16_t op)
{
	struct member_msg msg = { .op = op, .ballot = ballot_make(9, 4, 8) };

	switch (op) {
	case MEMBER_OP_HEARTBEAT:
		msg.born = 2;
		msg.seen = ballot_make(10, 3, 1);
		msg.verdict = BEAT_WATCHES;
		break;
	case MEMBER_OP_ANSWER:
		msg.seen = msg.ballot;
		msg.verdict = ANSWER_MORE;
		break;
	case MEMBER_OP_STALE:
		msg.ballot = word_make(2, 4) | WORD_DEAD;
		break;
	case MEMBER_OP_ACCUSE:
	case MEMBER_OP_WITNESS:
		msg.ballot = 77;
		cellset_add(&msg.set, 0);
		cellset_add(&msg.set, 4);
		break;
	default:
		break;
	}
	return msg;
}

static size_t encode(uint8_t *body, const struct member_msg *msg)
{
	fill_words();
	return member_encode(body, msg, words, CELLS);
}

Test(member_wire, every_message_comes_back_as_it_was)
{
	for (uint16_t op = MEMBER_OP_HEARTBEAT; op < MEMBER_OP_END; op++) {
		struct member_msg in = message(op), out;
		uint8_t body[MAX_BODY];
		size_t bytes = encode(body, &in);

		cr_assert_leq(bytes, member_body_max(CELLS));
		cr_assert_eq(member_decode(&out, op, body, bytes, CELLS), MEMBER_RECV_OK, "%x", op);
		cr_assert_eq(out.op, op);
		cr_assert_eq(out.born, in.born);
		cr_assert_eq(out.ballot, in.ballot);
		cr_assert_eq(out.seen, in.seen);
		cr_assert_eq(out.verdict, in.verdict);
		cr_assert(cellset_equal(&out.set, &in.set));
		for (uint16_t c = 0; out.words && c < CELLS; c++)
			cr_assert_eq(member_msg_word(&out, c), words[c]);
	}
}

Test(member_wire, bytes_are_as_documented)
{
	struct member_msg msg = message(MEMBER_OP_ANSWER);
	uint8_t body[MAX_BODY];

	cr_assert_eq(encode(body, &msg), 24 + 8 * CELLS);
	/* ballot: count 9, cell 4, life 8 */
	cr_assert_arr_eq(body, ((uint8_t[]){ 8, 0, 0, 1, 9, 0, 0, 0 }), 8);
	cr_assert_arr_eq(body + 16, ((uint8_t[]){ ANSWER_MORE, 0, 0, 0, 0, 0, 0, 0 }), 8);
	/* word of cell 0: life 4, born 2 */
	cr_assert_arr_eq(body + 24, ((uint8_t[]){ 4, 0, 0, 0, 4, 0, 0, 0 }), 8);
	/* word of cell 1: the same boot, dead */
	cr_assert_arr_eq(body + 32, ((uint8_t[]){ 5, 0, 0, 0, 5, 0, 0, 0 }), 8);
}

Test(member_wire, a_wrong_length_is_refused)
{
	for (uint16_t op = MEMBER_OP_HEARTBEAT; op < MEMBER_OP_END; op++) {
		struct member_msg in = message(op), out;
		uint8_t body[MAX_BODY + 1] = { 0 };
		size_t bytes = encode(body, &in);

		for (size_t wrong = 0; wrong <= MAX_BODY; wrong++) {
			if (wrong == bytes)
				continue;
			cr_assert_eq(member_decode(&out, op, body, wrong, CELLS),
				MEMBER_RECV_BAD_SIZE, "%x %zu", op, wrong);
		}
		/* A message of a machine of another size. */
		if (out.op != MEMBER_OP_ACCUSE && in.op != MEMBER_OP_WITNESS && bytes > 24)
			cr_assert_eq(member_decode(&out, op, body, bytes, CELLS + 1),
				MEMBER_RECV_BAD_SIZE, "%x", op);
	}
}

static void put(uint8_t *body, size_t at, uint64_t value, int bytes)
{
	for (int i = 0; i < bytes; i++)
		body[at + (size_t)i] = (uint8_t)(value >> 8 * i);
}

Test(member_wire, values_that_cannot_be_are_refused)
{
	const struct {
		const char *what;
		uint16_t op;
		size_t at;
		int bytes;
		uint64_t value;
	} bad[] = {
		{ "heartbeat: no birth", MEMBER_OP_HEARTBEAT, 0, 4, 0 },
		{ "heartbeat: birth too high", MEMBER_OP_HEARTBEAT, 0, 4, 0x80000000 },
		{ "heartbeat: unknown flag", MEMBER_OP_HEARTBEAT, 4, 4, 2 },
		{ "heartbeat: epoch without count", MEMBER_OP_HEARTBEAT, 8, 8, 8 },
		{ "heartbeat: epoch of no cell", MEMBER_OP_HEARTBEAT, 8, 8, ballot_make(1, 5, 1) },
		{ "heartbeat: leads for no cell", MEMBER_OP_HEARTBEAT, 16, 8,
			ballot_make(1, 9, 1) },
		{ "report: no ballot", MEMBER_OP_REPORT, 0, 8, 0 },
		{ "propose: no ballot", MEMBER_OP_PROPOSE, 0, 8, 0 },
		{ "propose: ballot of no cell", MEMBER_OP_PROPOSE, 0, 8, ballot_make(1, 5, 1) },
		{ "propose: born after its life", MEMBER_OP_PROPOSE, 8, 8, word_make(5, 4) },
		{ "propose: life too high", MEMBER_OP_PROPOSE, 8, 8, word_make(5, 0x80000000) },
		{ "propose: live and never born", MEMBER_OP_PROPOSE, 16, 8, word_make(0, 4) },
		{ "commit: last word", MEMBER_OP_COMMIT, 8 + 8 * (CELLS - 1), 8, word_make(5, 4) },
		{ "commit: no ballot", MEMBER_OP_COMMIT, 0, 8, 5 },
		{ "answer: more, but refers to a later ballot", MEMBER_OP_ANSWER, 8, 8,
			ballot_make(10, 4, 8) },
		{ "answer: reserved", MEMBER_OP_ANSWER, 20, 4, 1 },
		{ "answer: word", MEMBER_OP_ANSWER, 24, 8, word_make(5, 4) },
		{ "ready: no ballot", MEMBER_OP_READY, 0, 8, 0 },
		{ "ready: ballot of no cell", MEMBER_OP_READY, 0, 8, ballot_make(1, 1023, 1) },
		{ "resume: no ballot", MEMBER_OP_RESUME, 0, 8, 0 },
		{ "stale: nothing", MEMBER_OP_STALE, 0, 8, 0 },
		{ "stale: word", MEMBER_OP_STALE, 0, 8, word_make(5, 4) },
		{ "accuse: no number", MEMBER_OP_ACCUSE, 0, 8, 0 },
		{ "accuse: no such cell", MEMBER_OP_ACCUSE, 8, 8, 1u << CELLS },
		{ "witness: no number", MEMBER_OP_WITNESS, 0, 8, 0 },
		{ "witness: no such cell", MEMBER_OP_WITNESS, 8, 8, UINT64_C(1) << 63 },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct member_msg in = message(bad[i].op), out;
		uint8_t body[MAX_BODY];
		size_t bytes = encode(body, &in);

		put(body, bad[i].at, bad[i].value, bad[i].bytes);
		cr_assert_eq(member_decode(&out, bad[i].op, body, bytes, CELLS),
			MEMBER_RECV_BAD_VALUE, "%s", bad[i].what);
	}
}

Test(member_wire, verdicts_and_lengths_go_together)
{
	struct member_msg in = message(MEMBER_OP_ANSWER), out;
	uint8_t body[MAX_BODY];
	size_t bytes;

	in.verdict = ANSWER_SAME;
	bytes = encode(body, &in);
	cr_assert_eq(bytes, 24);
	cr_assert_eq(member_decode(&out, in.op, body, bytes, CELLS), MEMBER_RECV_OK);
	cr_assert_null(out.words);
	put(body, 16, ANSWER_LATER, 4);
	cr_assert_eq(member_decode(&out, in.op, body, bytes, CELLS), MEMBER_RECV_BAD_VALUE,
		"later, but has seen nothing later");
	put(body, 8, ballot_make(10, 0, 1), 8);
	cr_assert_eq(member_decode(&out, in.op, body, bytes, CELLS), MEMBER_RECV_OK);
	put(body, 16, 0, 4);
	cr_assert_eq(member_decode(&out, in.op, body, bytes, CELLS), MEMBER_RECV_BAD_VALUE);
	put(body, 16, ANSWER_END, 4);
	cr_assert_eq(member_decode(&out, in.op, body, bytes, CELLS), MEMBER_RECV_BAD_VALUE);
}

Test(member_wire, unknown_operations_are_refused)
{
	static const uint16_t ops[] = { 0, 1, MEMBER_OP_HEARTBEAT - 1, MEMBER_OP_END, 0xffff };
	struct member_msg out;
	uint8_t body[MAX_BODY] = { 0 };

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		cr_assert_eq(member_decode(&out, ops[i], body, 24, CELLS), MEMBER_RECV_BAD_OP);
}

Test(member_table, later_news_is_greater)
{
	/* In the order in which they come true. */
	const uint64_t news[] = { 0, WORD_DEAD, WORD_DEAD | 1, word_make(1, 1), word_make(1, 2),
		word_make(1, 1) | WORD_DEAD, word_make(1, 2) | WORD_DEAD, word_make(3, 3),
		word_make(3, 9), word_make(3, 3) | WORD_DEAD, word_make(10, 10) };

	for (size_t i = 1; i < sizeof(news) / sizeof(news[0]); i++)
		cr_assert_lt(news[i - 1], news[i], "%zu", i);
	for (size_t i = 0; i < sizeof(news) / sizeof(news[0]); i++)
		cr_assert(word_valid(news[i]));
	cr_assert_not(word_live(0));
	cr_assert_not(word_live(news[5]));
	cr_assert(word_live(news[4]));
}

Test(member_table, merging_takes_the_later_of_each)
{
	uint64_t a[3] = { 5, 1, 0 }, b[3] = { 4, 2, 0 };
	const uint64_t both[3] = { 5, 2, 0 };

	cr_assert_not(table_below(a, b, 3));
	cr_assert(table_merge(a, b, 3));
	cr_assert(table_equal(a, both, 3));
	cr_assert_not(table_merge(a, b, 3));
	cr_assert(table_below(b, a, 3));
}

Test(member_table, ballots_are_ordered_and_name_their_life)
{
	cr_assert_lt(ballot_make(1, 1023, 9), ballot_make(2, 0, 1));
	cr_assert_lt(ballot_make(2, 0, 9), ballot_make(2, 1, 1));
	cr_assert_eq(ballot_cell(ballot_make(7, 1023, 5)), 1023);
	cr_assert_eq(ballot_count(ballot_make(7, 1023, 5)), 7);
	cr_assert(ballot_of(ballot_make(7, 3, 5), 3, 5));
	cr_assert_not(ballot_of(ballot_make(7, 3, 5), 3, 6));
	cr_assert_not(ballot_of(ballot_make(7, 3, 5), 2, 5));
}
