/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#include "faultcontain/crc32c.h"
#include "faultcontain/wire.h"
#include "faultcontain/wire_calls.h"
#include "faultcontain/wire_hello.h"

/* RFC 3720 appendix B.4, and the check value of the CRC catalogue. */
Test(crc32c, known_answers)
{
	uint8_t zeros[32] = { 0 }, ones[32], rising[32], falling[32];

	memset(ones, 0xff, sizeof(ones));
	for (int i = 0; i < 32; i++) {
		rising[i] = (uint8_t)i;
		falling[i] = (uint8_t)(31 - i);
	}
	cr_assert_eq(crc32c(0, "123456789", 9), 0xe3069283u);
	cr_assert_eq(crc32c(0, zeros, 32), 0x8a9136aau);
	cr_assert_eq(crc32c(0, ones, 32), 0x62a8ab43u);
	cr_assert_eq(crc32c(0, rising, 32), 0x46dd794eu);
	cr_assert_eq(crc32c(0, falling, 32), 0x113fdb5cu);
	cr_assert_eq(crc32c_table(0, "123456789", 9), 0xe3069283u);
	cr_assert_eq(crc32c_table(0, falling, 32), 0x113fdb5cu);
}

Test(crc32c, both_ways_agree_at_every_length_and_alignment)
{
	uint8_t bytes[80];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 37 + 11);
	for (size_t at = 0; at < 8; at++)
		for (size_t n = 0; n + at <= sizeof(bytes); n++) {
			cr_assert_eq(crc32c(7, bytes + at, n), crc32c_table(7, bytes + at, n));
			cr_assert_eq(
				crc32c(crc32c(0, bytes + at, n / 3), bytes + at + n / 3, n - n / 3),
				crc32c(0, bytes + at, n));
		}
}

/* --- messages ------------------------------------------------------------ */

#define BODY "what cell 5 says"

static const struct wire_expect expect_call = {
	.cell_count = 9,
	.self_cell = 3,
	.peer_cell = 5,
	.self_incarnation = 20,
	.peer_incarnation = 7,
	.last_seq = 41,
};

struct message {
	struct wire_hdr h;
	char body[sizeof(BODY)];
	uint8_t after[8];
};

static struct message good_call(void)
{
	struct message m = {
		.h = {
			.body_bytes = sizeof(BODY),
			.op = WIRE_OP_CELL + 4,
			.src_cell = 5,
			.dst_cell = 3,
			.src_incarnation = 7,
			.dst_incarnation = 20,
			.seq = 42,
			.req_id = 99,
			.flags = WIRE_CALL,
		},
		.body = BODY,
	};

	wire_seal(&m.h, m.body);
	return m;
}

#define GOOD_BYTES (sizeof(struct wire_hdr) + sizeof(BODY))

Test(wire, a_sealed_message_is_accepted_unchanged)
{
	struct message m = good_call();
	struct wire_hdr h;
	const void *body;

	cr_assert_eq(wire_judge(&m, GOOD_BYTES, &expect_call, &h, &body), WIRE_OK);
	cr_assert_eq(memcmp(&h, &m.h, sizeof(h)), 0);
	cr_assert_eq(body, (const void *)m.body);
	cr_assert_eq(wire_verdict(WIRE_OK), WIRE_ACCEPT);
}

Test(wire, the_frozen_prefix_never_moves)
{
	struct message m = good_call();
	const uint8_t *b = (const uint8_t *)&m;

	cr_assert_eq(memcmp(b, "CVCL", 4), 0);
	cr_assert(b[4] == 1 && b[5] == 0, "rev");
	cr_assert(b[6] == 56 && b[7] == 0, "hdr_bytes");
	cr_assert(b[8] == sizeof(BODY) && !b[9] && !b[10] && !b[11], "body_bytes");
	cr_assert(b[12] == 0x04 && b[13] == 0x02, "op");
	cr_assert(b[14] == 5 && b[15] == 0, "src_cell");
}

/* Changes one thing of a good message; `seal` says whether its CRC is made right again. */
struct wrong {
	const char *what;
	enum wire_outcome outcome;
	enum wire_verdict verdict;
	void (*change)(struct message *m, size_t *bytes);
	int seal;
};

static void bad_magic(struct message *m, size_t *bytes)
{
	(void)bytes;
	m->h.magic ^= 1;
}
static void bad_rev(struct message *m, size_t *bytes)
{
	(void)bytes;
	m->h.rev = 2;
}
static void bad_hdr_bytes(struct message *m, size_t *bytes)
{
	(void)bytes;
	m->h.hdr_bytes = 64;
}
static void huge_body(struct message *m, size_t *bytes)
{
	(void)bytes;
	m->h.body_bytes = WIRE_BODY_MAX + 1;
}
static void wrapping_body(struct message *m, size_t *bytes)
{
	(void)bytes;
	m->h.body_bytes = UINT32_MAX;
}
static void no_prefix(struct message *m, size_t *bytes)
{
	(void)m;
	*bytes = WIRE_PREFIX_BYTES - 1;
}
static void half_header(struct message *m, size_t *bytes)
{
	(void)m;
	*bytes = sizeof(struct wire_hdr) - 1;
}
static void body_cut(struct message *m, size_t *bytes)
{
	(void)m;
	*bytes -= 1;
}
static void bytes_follow(struct message *m, size_t *bytes)
{
	(void)m;
	*bytes += 1;
}
static void body_damaged(struct message *m, size_t *bytes)
{
	(void)bytes;
	m->body[sizeof(BODY) - 1] ^= 0x40;
}
static void header_damaged(struct message *m, size_t *bytes)
{
	(void)bytes;
	m->h.req_id ^= 1ull << 63;
}
static void reserved_flag(struct message *m, size_t *bytes)
{
	(void)bytes;
	m->h.flags |= 1u << 3;
}
static void call_and_reply(struct message *m, size_t *bytes)
{
	(void)bytes;
	m->h.flags = WIRE_CALL | WIRE_REPLY;
}
static void refused_call(struct message *m, size_t *bytes)
{
	(void)bytes;
	m->h.flags = WIRE_CALL | WIRE_REFUSED;
}
static void refusal_with_body(struct message *m, size_t *bytes)
{
	(void)bytes;
	m->h.flags = WIRE_REPLY | WIRE_REFUSED;
}
static void op_zero(struct message *m, size_t *bytes)
{
	(void)bytes;
	m->h.op = 0;
}
static void op_end(struct message *m, size_t *bytes)
{
	(void)bytes;
	m->h.op = WIRE_OP_END;
}
static void call_without_id(struct message *m, size_t *bytes)
{
	(void)bytes;
	m->h.req_id = 0;
}
static void plain_with_id(struct message *m, size_t *bytes)
{
	(void)bytes;
	m->h.flags = 0;
}
static void src_no_cell(struct message *m, size_t *bytes)
{
	(void)bytes;
	m->h.src_cell = 9;
}
static void src_other_cell(struct message *m, size_t *bytes)
{
	(void)bytes;
	m->h.src_cell = 4;
}
static void dst_other_cell(struct message *m, size_t *bytes)
{
	(void)bytes;
	m->h.dst_cell = 4;
}
static void src_earlier_life(struct message *m, size_t *bytes)
{
	(void)bytes;
	m->h.src_incarnation = 6;
}
static void src_later_life(struct message *m, size_t *bytes)
{
	(void)bytes;
	m->h.src_incarnation = 8;
}
static void dst_earlier_life(struct message *m, size_t *bytes)
{
	(void)bytes;
	m->h.dst_incarnation = 19;
}
static void dst_later_life(struct message *m, size_t *bytes)
{
	(void)bytes;
	m->h.dst_incarnation = 21;
}
static void seen_before(struct message *m, size_t *bytes)
{
	(void)bytes;
	m->h.seq = 41;
}
static void seq_zero(struct message *m, size_t *bytes)
{
	(void)bytes;
	m->h.seq = 0;
}

static const struct wrong wrongs[] = {
	{ "no prefix", WIRE_SHORT, WIRE_FAIL_LINK, no_prefix, 1 },
	{ "half a header", WIRE_SHORT, WIRE_FAIL_LINK, half_header, 1 },
	{ "a body cut", WIRE_SHORT, WIRE_FAIL_LINK, body_cut, 1 },
	{ "bytes after the body", WIRE_BAD_BODY_BYTES, WIRE_FAIL_LINK, bytes_follow, 1 },
	{ "another magic", WIRE_BAD_MAGIC, WIRE_FAIL_LINK, bad_magic, 0 },
	{ "another revision", WIRE_BAD_REV, WIRE_REFUSE, bad_rev, 0 },
	{ "another header size", WIRE_BAD_HDR_BYTES, WIRE_FAIL_LINK, bad_hdr_bytes, 0 },
	{ "a huge body", WIRE_BAD_BODY_BYTES, WIRE_FAIL_LINK, huge_body, 0 },
	{ "a body length that wraps", WIRE_BAD_BODY_BYTES, WIRE_FAIL_LINK, wrapping_body, 0 },
	{ "damage in the body", WIRE_BAD_CRC, WIRE_FAIL_LINK, body_damaged, 0 },
	{ "damage in the header", WIRE_BAD_CRC, WIRE_FAIL_LINK, header_damaged, 0 },
	{ "a reserved flag", WIRE_BAD_FLAGS, WIRE_FAIL_LINK, reserved_flag, 1 },
	{ "call and reply", WIRE_BAD_FLAGS, WIRE_FAIL_LINK, call_and_reply, 1 },
	{ "a refused call", WIRE_BAD_FLAGS, WIRE_FAIL_LINK, refused_call, 1 },
	{ "a refusal with a body", WIRE_BAD_FLAGS, WIRE_FAIL_LINK, refusal_with_body, 1 },
	{ "operation 0", WIRE_BAD_OP, WIRE_FAIL_LINK, op_zero, 1 },
	{ "an operation past the end", WIRE_BAD_OP, WIRE_FAIL_LINK, op_end, 1 },
	{ "a call without id", WIRE_BAD_REQ_ID, WIRE_FAIL_LINK, call_without_id, 1 },
	{ "a plain message with id", WIRE_BAD_REQ_ID, WIRE_FAIL_LINK, plain_with_id, 1 },
	{ "from a cell that is not", WIRE_BAD_SRC, WIRE_FAIL_LINK, src_no_cell, 1 },
	{ "from another cell", WIRE_BAD_SRC, WIRE_FAIL_LINK, src_other_cell, 1 },
	{ "for another cell", WIRE_BAD_DST, WIRE_FAIL_LINK, dst_other_cell, 1 },
	{ "from an earlier life", WIRE_SRC_STALE, WIRE_DROP, src_earlier_life, 1 },
	{ "from a later life", WIRE_SRC_UNKNOWN, WIRE_FAIL_LINK, src_later_life, 1 },
	{ "for our earlier life", WIRE_DST_STALE, WIRE_DROP, dst_earlier_life, 1 },
	{ "for a life we don't have yet", WIRE_DST_STALE, WIRE_DROP, dst_later_life, 1 },
	{ "seen before", WIRE_REPEATED, WIRE_DROP, seen_before, 1 },
	{ "sequence number 0", WIRE_REPEATED, WIRE_DROP, seq_zero, 1 },
};

Test(wire, every_wrong_message_is_told_apart)
{
	int covered[WIRE_OUTCOME_COUNT] = { [WIRE_OK] = 1 };

	for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
		struct message m = good_call();
		size_t bytes = GOOD_BYTES;
		enum wire_outcome outcome;
		struct wire_hdr h;
		const void *body = &m;

		wrongs[i].change(&m, &bytes);
		if (wrongs[i].seal)
			wire_seal(&m.h, m.body);
		outcome = wire_judge(&m, bytes, &expect_call, &h, &body);
		cr_expect_eq(outcome, wrongs[i].outcome, "%s: %s, wanted %s", wrongs[i].what,
			wire_outcome_name(outcome), wire_outcome_name(wrongs[i].outcome));
		cr_expect_eq(wire_verdict(outcome), wrongs[i].verdict, "%s", wrongs[i].what);
		cr_expect_null(body, "%s: a rejected message has no body", wrongs[i].what);
		covered[wrongs[i].outcome] = 1;
	}
	for (int i = 0; i < WIRE_OUTCOME_COUNT; i++)
		cr_expect(covered[i], "no row for %s", wire_outcome_name(i));
}

Test(wire, an_unreadable_revision_still_names_operation_and_sender)
{
	struct message m = good_call();
	struct wire_hdr h;
	const void *body;

	m.h.rev = 77;
	m.h.hdr_bytes = 16;
	cr_assert_eq(wire_judge(&m, WIRE_PREFIX_BYTES, &expect_call, &h, &body), WIRE_BAD_REV);
	cr_assert_eq(h.rev, 77);
	cr_assert_eq(h.src_cell, 5);
	cr_assert_eq(h.op, WIRE_OP_CELL + 4);
	cr_assert_eq(h.src_incarnation, 0, "not part of the frozen prefix");
}

Test(wire, every_single_bit_of_damage_is_noticed)
{
	for (size_t bit = 0; bit < GOOD_BYTES * 8; bit++) {
		struct message m = good_call();
		struct wire_hdr h;
		const void *body;

		((uint8_t *)&m)[bit / 8] ^= (uint8_t)(1u << bit % 8);
		cr_assert_neq(wire_judge(&m, GOOD_BYTES, &expect_call, &h, &body), WIRE_OK,
			"bit %zu", bit);
	}
}

Test(wire, a_gap_in_the_sequence_is_no_error)
{
	struct message m = good_call();
	struct wire_hdr h;
	const void *body;

	m.h.seq = 1000;
	wire_seal(&m.h, m.body);
	cr_assert_eq(wire_judge(&m, GOOD_BYTES, &expect_call, &h, &body), WIRE_OK);
}

Test(wire, a_message_may_have_no_body)
{
	struct wire_hdr m = {
		.op = WIRE_OP_MEMBER,
		.src_cell = 5,
		.dst_cell = 3,
		.src_incarnation = 7,
		.dst_incarnation = 20,
		.seq = 42,
	};
	struct wire_hdr h;
	const void *body;

	wire_seal(&m, NULL);
	cr_assert_eq(wire_judge(&m, sizeof(m), &expect_call, &h, &body), WIRE_OK);
	cr_assert_eq(h.body_bytes, 0);
}

/* --- hellos --------------------------------------------------------------- */

static const uint64_t min_incarnation[6] = { 1, 1, 4, 1, 9, 1 };
static const struct wire_hello_expect expect_hello = {
	.cell_count = 6,
	.self_cell = 3,
	.self_incarnation = 20,
	.peer_cell = WIRE_HELLO_ANY_CELL,
	.min_incarnation = min_incarnation,
	.ring_bytes_min = 1u << 16,
	.ring_bytes_max = 1u << 20,
};

static struct wire_hello good_hello(enum wire_hello_kind kind)
{
	return (struct wire_hello){
		.kind = (uint16_t)kind,
		.src_cell = kind == WIRE_HELLO_OFFER ? 4 : 2,
		.dst_cell = 3,
		.incarnation = 9,
		.start_time = 12345,
		.pid = 678,
		.ring_bytes = kind == WIRE_HELLO_OFFER || kind == WIRE_HELLO_ACCEPT ? 1u << 18 : 0,
		.known_incarnation = kind == WIRE_HELLO_OFFER ? 20 : 0,
		.refusal = kind == WIRE_HELLO_REFUSE ? WIRE_HELLO_STALE : 0,
	};
}

Test(hello, each_kind_is_accepted_from_the_right_side)
{
	for (int kind = WIRE_HELLO_OFFER; kind <= WIRE_HELLO_KNOCK; kind++) {
		struct wire_hello m = good_hello(kind), h;

		wire_hello_seal(&m);
		cr_assert_eq(wire_hello_judge(&m, sizeof(m), &expect_hello, &h), WIRE_HELLO_OK,
			"kind %d", kind);
		cr_assert_eq(memcmp(&m, &h, sizeof(m)), 0);
	}
}

#define HELLO_ROW(why, kind, field, value)                                                         \
	{                                                                                          \
		why, kind, #field " = " #value, offsetof(struct wire_hello, field),                \
			sizeof(((struct wire_hello *)0)->field), value                             \
	}

Test(hello, every_wrong_hello_is_refused_for_its_reason)
{
	static const struct {
		enum wire_refusal why;
		enum wire_hello_kind kind;
		const char *what;
		size_t at, bytes;
		uint64_t value;
	} rows[] = {
		HELLO_ROW(WIRE_HELLO_MALFORMED, WIRE_HELLO_OFFER, kind, 0),
		HELLO_ROW(WIRE_HELLO_MALFORMED, WIRE_HELLO_OFFER, kind, 5),
		HELLO_ROW(WIRE_HELLO_MALFORMED, WIRE_HELLO_OFFER, reserved, 1),
		HELLO_ROW(WIRE_HELLO_MALFORMED, WIRE_HELLO_OFFER, incarnation, 0),
		HELLO_ROW(WIRE_HELLO_MALFORMED, WIRE_HELLO_OFFER, pid, 0),
		HELLO_ROW(WIRE_HELLO_MALFORMED, WIRE_HELLO_OFFER, pid, 0x80000000u),
		HELLO_ROW(WIRE_HELLO_MALFORMED, WIRE_HELLO_OFFER, refusal, WIRE_HELLO_REV),
		HELLO_ROW(WIRE_HELLO_MALFORMED, WIRE_HELLO_ACCEPT, known_incarnation, 1),
		HELLO_ROW(WIRE_HELLO_STALE, WIRE_HELLO_OFFER, known_incarnation, 21),
		HELLO_ROW(WIRE_HELLO_MALFORMED, WIRE_HELLO_KNOCK, ring_bytes, 1u << 18),
		HELLO_ROW(WIRE_HELLO_MALFORMED, WIRE_HELLO_REFUSE, ring_bytes, 1u << 18),
		HELLO_ROW(WIRE_HELLO_MALFORMED, WIRE_HELLO_REFUSE, refusal, WIRE_HELLO_OK),
		HELLO_ROW(WIRE_HELLO_MALFORMED, WIRE_HELLO_REFUSE, refusal, WIRE_REFUSAL_COUNT),
		HELLO_ROW(WIRE_HELLO_SRC, WIRE_HELLO_OFFER, src_cell, 6),
		HELLO_ROW(WIRE_HELLO_SRC, WIRE_HELLO_OFFER, src_cell, 3),
		HELLO_ROW(WIRE_HELLO_DST, WIRE_HELLO_OFFER, dst_cell, 2),
		HELLO_ROW(WIRE_HELLO_DIRECTION, WIRE_HELLO_OFFER, src_cell, 2),
		HELLO_ROW(WIRE_HELLO_DIRECTION, WIRE_HELLO_ACCEPT, src_cell, 4),
		HELLO_ROW(WIRE_HELLO_DIRECTION, WIRE_HELLO_KNOCK, src_cell, 4),
		HELLO_ROW(WIRE_HELLO_STALE, WIRE_HELLO_OFFER, incarnation, 8),
		HELLO_ROW(WIRE_HELLO_STALE, WIRE_HELLO_KNOCK, incarnation, 3),
		HELLO_ROW(WIRE_HELLO_RING, WIRE_HELLO_OFFER, ring_bytes, 0),
		HELLO_ROW(WIRE_HELLO_RING, WIRE_HELLO_OFFER, ring_bytes, 1u << 15),
		HELLO_ROW(WIRE_HELLO_RING, WIRE_HELLO_OFFER, ring_bytes, 1u << 21),
		HELLO_ROW(WIRE_HELLO_RING, WIRE_HELLO_ACCEPT, ring_bytes, (1u << 18) + 4096),
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wire_hello m = good_hello(rows[i].kind), h;

		memcpy((uint8_t *)&m + rows[i].at, &rows[i].value, rows[i].bytes);
		wire_hello_seal(&m);
		cr_expect_eq(wire_hello_judge(&m, sizeof(m), &expect_hello, &h), rows[i].why,
			"kind %d, %s: %s, wanted %s", rows[i].kind, rows[i].what,
			wire_refusal_text(wire_hello_judge(&m, sizeof(m), &expect_hello, &h)),
			wire_refusal_text(rows[i].why));
	}
}

Test(hello, wrong_frames_are_refused)
{
	struct wire_hello m = good_hello(WIRE_HELLO_OFFER), h;
	uint8_t longer[sizeof(m) + 1] = { 0 };

	wire_hello_seal(&m);
	memcpy(longer, &m, sizeof(m));
	cr_expect_eq(
		wire_hello_judge(longer, sizeof(longer), &expect_hello, &h), WIRE_HELLO_MALFORMED);
	for (size_t n = 0; n < sizeof(m); n++)
		cr_expect_eq(wire_hello_judge(&m, n, &expect_hello, &h), WIRE_HELLO_MALFORMED);
	for (size_t bit = 0; bit < sizeof(m) * 8; bit++) {
		struct wire_hello hurt = m;

		((uint8_t *)&hurt)[bit / 8] ^= (uint8_t)(1u << bit % 8);
		cr_expect_neq(wire_hello_judge(&hurt, sizeof(hurt), &expect_hello, &h),
			WIRE_HELLO_OK, "bit %zu", bit);
	}
	m.rev = 2;
	cr_expect_eq(wire_hello_judge(&m, 16, &expect_hello, &h), WIRE_HELLO_REV);
	cr_expect_eq(h.src_cell, 4, "the prefix is readable in every revision");
}

Test(hello, an_answer_has_to_come_from_the_cell_that_was_asked)
{
	struct wire_hello m = good_hello(WIRE_HELLO_ACCEPT), h;
	struct wire_hello_expect expect = expect_hello;

	wire_hello_seal(&m);
	expect.peer_cell = 1;
	cr_assert_eq(wire_hello_judge(&m, sizeof(m), &expect, &h), WIRE_HELLO_SRC);
	expect.peer_cell = 2;
	cr_assert_eq(wire_hello_judge(&m, sizeof(m), &expect, &h), WIRE_HELLO_OK);
}

/* --- calls ------------------------------------------------------------------ */

Test(calls, a_reply_matches_by_id_cell_life_and_operation_alone)
{
	struct wire_call slots[4];
	struct wire_calls book;
	uint32_t a, b;

	wire_calls_init(&book, slots, 4);
	a = wire_calls_open(&book, 2, 10, 0x201, 500);
	b = wire_calls_open(&book, 6, 11, 0x202, 400);
	cr_assert_neq(slots[a].req_id, slots[b].req_id);
	cr_expect_eq(wire_calls_match(&book, 6, 11, 0x202, slots[b].req_id), b);
	cr_expect_eq(book.late, 0);
	cr_expect_eq(wire_calls_match(&book, 2, 11, 0x202, slots[b].req_id), WIRE_CALL_NONE);
	cr_expect_eq(wire_calls_match(&book, 6, 10, 0x202, slots[b].req_id), WIRE_CALL_NONE);
	cr_expect_eq(wire_calls_match(&book, 6, 11, 0x201, slots[b].req_id), WIRE_CALL_NONE);
	cr_expect_eq(wire_calls_match(&book, 6, 11, 0x202, slots[a].req_id), WIRE_CALL_NONE);
	cr_expect_eq(wire_calls_match(&book, 6, 11, 0x202, 0), WIRE_CALL_NONE);
	cr_expect_eq(wire_calls_match(&book, 6, 11, 0x202, UINT64_MAX), WIRE_CALL_NONE);
	cr_expect_eq(book.late, 6);
}

Test(calls, a_late_reply_does_not_match_the_next_call_of_that_slot)
{
	struct wire_call slots[1];
	struct wire_calls book;
	uint64_t old;

	wire_calls_init(&book, slots, 1);
	cr_assert_eq(wire_calls_open(&book, 2, 10, 0x201, 500), 0);
	cr_assert_eq(wire_calls_open(&book, 2, 10, 0x201, 500), WIRE_CALL_NONE, "all in use");
	old = slots[0].req_id;
	wire_calls_close(&book, 0);
	cr_expect_eq(wire_calls_match(&book, 2, 10, 0x201, old), WIRE_CALL_NONE);
	cr_assert_eq(wire_calls_open(&book, 2, 10, 0x201, 500), 0);
	cr_expect_eq(wire_calls_match(&book, 2, 10, 0x201, old), WIRE_CALL_NONE);
	cr_expect_eq(book.late, 2);
}

Test(calls, deadlines_and_cells_are_found_behind_closed_slots)
{
	struct wire_call slots[8];
	struct wire_calls book;

	wire_calls_init(&book, slots, 8);
	cr_expect_eq(wire_calls_next_ns(&book), UINT64_MAX);
	for (uint16_t i = 0; i < 6; i++)
		cr_assert_eq(wire_calls_open(&book, i % 3, 10, 0x201, 1000 - i * 100u), i);
	wire_calls_close(&book, 0);
	wire_calls_close(&book, 3);
	cr_expect_eq(wire_calls_next_ns(&book), 500);
	cr_expect_eq(wire_calls_expired(&book, 499), WIRE_CALL_NONE);
	cr_expect_eq(wire_calls_expired(&book, 500), 5);
	cr_expect_eq(wire_calls_expired(&book, 900), 1);
	cr_expect_eq(wire_calls_to(&book, 0), WIRE_CALL_NONE);
	cr_expect_eq(wire_calls_to(&book, 2), 2);
	wire_calls_close(&book, 2);
	cr_expect_eq(wire_calls_to(&book, 2), 5);
	cr_expect_eq(book.open_count, 3);
}
