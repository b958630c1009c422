/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "numa/loans.h"
#include "numa/machine.h"

#define CELLS 4u
#define LINES 64u
#define MS 1000000ull
#define NODE_OF(cell) ((cell)*10 + 3) /* os_node is not the cell's number */

static struct loans_cfg cfg_of(uint16_t self, uint32_t incarnation, uint32_t born)
{
	return (struct loans_cfg){
		.self = self,
		.cell_count = CELLS,
		.incarnation = incarnation,
		.born = born,
		.line_max = LINES,
		.peer_line_max = LINES / 2,
		.retry_ns = 10 * MS,
		.patience_ns = 100 * MS,
		.lend_above_units = 16,
	};
}

static struct loans *book(uint16_t self, uint32_t incarnation, uint32_t born)
{
	static uint64_t memory[4][1024]; /* each test is a process of its own */
	static uint32_t used;
	struct loans_cfg cfg = cfg_of(self, incarnation, born);
	struct loans *l;

	cr_assert_lt(used, 4);
	cr_assert_leq(loans_bytes(CELLS, LINES), sizeof(memory[0]));
	l = loans_start(memory[used++], &cfg, 0);
	cr_assert_not_null(l);
	cr_assert(loans_offer(l, NODE_OF(self), 100));
	return l;
}

/* Two books, 0 the borrower and 2 the lender, that know each other. */
struct pair {
	struct loans *borrower, *lender;
};

static struct pair make_pair(void)
{
	struct pair p = { book(0, 5, 5), book(2, 7, 7) };

	loans_peer(p.borrower, 0, 2, 7, 7, true);
	loans_peer(p.lender, 0, 0, 5, 5, true);
	return p;
}

static struct loans_action next(struct loans *l, enum loans_action_kind kind)
{
	struct loans_action a;

	cr_assert(loans_next(l, &a), "nothing to do");
	cr_assert_eq(a.kind, kind, "%d", a.kind);
	return a;
}

static void assert_idle(struct loans *l)
{
	struct loans_action a;

	cr_assert(!loans_next(l, &a), "kind %d, op %u", a.kind, a.msg.op);
	cr_assert_null(loans_check(l), "%s", loans_check(l));
}

static bool same(const struct loan_msg *a, const struct loan_msg *b)
{
	uint8_t x[LOAN_MSG_BYTES], y[LOAN_MSG_BYTES];

	loan_encode(a, x);
	loan_encode(b, y);
	return a->op == b->op && memcmp(x, y, sizeof(x)) == 0;
}

/* Carries a message over, through its encoding, and the reply back. */
static enum loans_recv carry(struct loans *to, uint16_t from, const struct loan_msg *msg,
	struct loan_msg *reply, uint64_t now_ns)
{
	uint8_t body[LOAN_MSG_BYTES];
	struct loan_msg decoded;

	loan_encode(msg, body);
	cr_assert(loan_decode(msg->op, body, sizeof(body), &decoded));
	cr_assert(same(&decoded, msg));
	return loans_recv(to, now_ns, from, &decoded, reply);
}

static uint64_t borrow(struct pair *p, uint64_t units)
{
	uint64_t id = loans_ask(p->borrower, 0, 77, 2, NODE_NONE, units);
	struct loans_action a = next(p->borrower, LOANS_SEND);
	struct loan_msg reply, none;

	cr_assert_eq(a.msg.op, LOAN_OP_REQUEST);
	cr_assert_eq(a.cell, 2);
	cr_assert_eq(carry(p->lender, 0, &a.msg, &reply, 0), LOANS_RECV_REPLY);
	cr_assert_eq(reply.op, LOAN_OP_GRANT);
	cr_assert_eq(carry(p->borrower, 2, &reply, &none, 0), LOANS_RECV_OK);
	a = next(p->borrower, LOANS_GRANTED);
	cr_assert_eq(a.line.id, id);
	cr_assert_eq(a.line.guest, 77);
	return id;
}

Test(loans, a_loan_is_in_both_books_until_it_is_returned)
{
	struct pair p = make_pair();
	uint64_t id = borrow(&p, 30);
	struct loans_action a;
	struct loan_msg reply, none;

	cr_assert_eq(loans_lent(p.lender, NODE_OF(2)), 30);
	cr_assert_eq(loans_lent(p.lender, NODE_OF(1)), 0);
	cr_assert_eq(loans_borrowed(p.borrower, 2, 77), 30);
	cr_assert_eq(loans_borrowed(p.borrower, 2, 78), 0);
	cr_assert_eq(loans_borrowed(p.borrower, 1, UINT32_MAX), 0);
	assert_idle(p.borrower);
	assert_idle(p.lender);

	loans_return(p.borrower, 0, id, 12);
	cr_assert_eq(loans_borrowed(p.borrower, UINT16_MAX, UINT32_MAX), 12);
	a = next(p.borrower, LOANS_SEND);
	cr_assert_eq(a.msg.op, LOAN_OP_RETURN);
	cr_assert_eq(carry(p.lender, 0, &a.msg, &reply, 0), LOANS_RECV_REPLY);
	cr_assert_eq(loans_lent(p.lender, NODE_NONE), 12);
	cr_assert_eq(carry(p.borrower, 2, &reply, &none, 0), LOANS_RECV_OK);
	loans_tick(p.borrower, 50 * MS);
	assert_idle(p.borrower);

	loans_return(p.borrower, 50 * MS, id, 0);
	cr_assert_eq(loans_borrowed(p.borrower, UINT16_MAX, UINT32_MAX), 0);
	cr_assert_eq(loans_lent(p.lender, NODE_NONE), 12, "until it knows");
	a = next(p.borrower, LOANS_SEND);
	cr_assert_eq(carry(p.lender, 0, &a.msg, &reply, 0), LOANS_RECV_REPLY);
	cr_assert_eq(loans_lent(p.lender, NODE_NONE), 0);
	cr_assert_eq(carry(p.borrower, 2, &reply, &none, 50 * MS), LOANS_RECV_OK);
	loans_tick(p.borrower, 500 * MS);
	assert_idle(p.borrower);
	cr_assert_eq(loans_due(p.borrower), UINT64_MAX);
}

Test(loans, a_lender_keeps_what_it_must_and_gives_what_is_left)
{
	struct pair p = make_pair();
	struct loans_action a;
	struct loan_msg reply, none;

	(void)borrow(&p, 80); /* of 100, of which 16 stay */
	(void)loans_ask(p.borrower, 0, 1, 2, NODE_OF(2), 50);
	a = next(p.borrower, LOANS_SEND);
	cr_assert_eq(carry(p.lender, 0, &a.msg, &reply, 0), LOANS_RECV_REPLY);
	cr_assert_eq(reply.op, LOAN_OP_GRANT);
	cr_assert_eq(reply.line.units, 4);
	cr_assert_eq(carry(p.borrower, 2, &reply, &none, 0), LOANS_RECV_OK);
	(void)next(p.borrower, LOANS_GRANTED);
	(void)loans_ask(p.borrower, 0, 1, 2, NODE_NONE, 1);
	a = next(p.borrower, LOANS_SEND);
	cr_assert_eq(carry(p.lender, 0, &a.msg, &reply, 0), LOANS_RECV_REPLY);
	cr_assert_eq(reply.op, LOAN_OP_REFUSE);
	cr_assert_eq(carry(p.borrower, 2, &reply, &none, 0), LOANS_RECV_OK);
	a = next(p.borrower, LOANS_REFUSED);
	cr_assert_eq(a.line.units, 1);
	assert_idle(p.borrower);
	cr_assert(loans_offer(p.lender, NODE_OF(2), 101));
	cr_assert(loans_offer(p.lender, 99, 20));
	(void)loans_ask(p.borrower, 0, 1, 2, NODE_NONE, 9);
	a = next(p.borrower, LOANS_SEND);
	cr_assert_eq(carry(p.lender, 0, &a.msg, &reply, 0), LOANS_RECV_REPLY);
	cr_assert_eq(reply.line.os_node, 99, "the node with the most room");
	cr_assert_eq(reply.line.units, 4);
	(void)loans_ask(p.borrower, 0, 1, 2, 5, 9);
	a = next(p.borrower, LOANS_SEND);
	cr_assert_eq(carry(p.lender, 0, &a.msg, &reply, 0), LOANS_RECV_REPLY);
	cr_assert_eq(reply.op, LOAN_OP_REFUSE, "no such node");
}

Test(loans, what_is_not_answered_is_repeated_and_answered_alike)
{
	struct pair p = make_pair();
	struct loan_msg first, second, none;
	struct loans_action a;

	(void)loans_ask(p.borrower, 0, 1, 2, NODE_NONE, 30);
	a = next(p.borrower, LOANS_SEND);
	cr_assert_eq(carry(p.lender, 0, &a.msg, &first, 0), LOANS_RECV_REPLY);
	assert_idle(p.borrower);
	cr_assert_eq(loans_due(p.borrower), 10 * MS);
	loans_tick(p.borrower, 10 * MS);
	a = next(p.borrower, LOANS_SEND);
	cr_assert_eq(carry(p.lender, 0, &a.msg, &second, 0), LOANS_RECV_REPLY);
	cr_assert(same(&first, &second));
	cr_assert_eq(loans_lent(p.lender, NODE_NONE), 30, "one loan");
	cr_assert_eq(carry(p.borrower, 2, &second, &none, 10 * MS), LOANS_RECV_OK);
	cr_assert_eq(carry(p.borrower, 2, &first, &none, 10 * MS), LOANS_RECV_LATE);
	(void)next(p.borrower, LOANS_GRANTED);
	assert_idle(p.borrower);
}

Test(loans, a_request_that_is_given_up_leaves_nothing_behind)
{
	struct pair p = make_pair();
	struct loan_msg granted, returned, none;
	struct loans_action ask, back;

	(void)loans_ask(p.borrower, 0, 1, 2, NODE_NONE, 30);
	ask = next(p.borrower, LOANS_SEND);
	cr_assert_eq(carry(p.lender, 0, &ask.msg, &granted, 0), LOANS_RECV_REPLY);
	loans_tick(p.borrower, 100 * MS);
	cr_assert_eq(next(p.borrower, LOANS_REFUSED).line.units, 30);
	back = next(p.borrower, LOANS_SEND);
	cr_assert_eq(back.msg.op, LOAN_OP_RETURN);
	cr_assert_eq(carry(p.borrower, 2, &granted, &none, 100 * MS), LOANS_RECV_LATE);
	cr_assert_eq(carry(p.lender, 0, &back.msg, &returned, 0), LOANS_RECV_REPLY);
	cr_assert_eq(loans_lent(p.lender, NODE_NONE), 0);
	cr_assert_eq(carry(p.borrower, 2, &returned, &none, 100 * MS), LOANS_RECV_OK);
	assert_idle(p.borrower);
	/* The request comes once more, late. */
	cr_assert_eq(carry(p.lender, 0, &ask.msg, &granted, 0), LOANS_RECV_REPLY);
	cr_assert_eq(granted.op, LOAN_OP_REFUSE);
	cr_assert_eq(loans_lent(p.lender, NODE_NONE), 0);
}

Test(loans, a_return_that_overtakes_its_request_wins)
{
	struct pair p = make_pair();
	struct loan_msg reply;
	struct loans_action ask, back;

	(void)loans_ask(p.borrower, 0, 1, 2, NODE_NONE, 30);
	ask = next(p.borrower, LOANS_SEND);
	loans_tick(p.borrower, 100 * MS);
	(void)next(p.borrower, LOANS_REFUSED);
	back = next(p.borrower, LOANS_SEND);
	cr_assert_eq(carry(p.lender, 0, &back.msg, &reply, 0), LOANS_RECV_REPLY);
	cr_assert_eq(carry(p.lender, 0, &ask.msg, &reply, 0), LOANS_RECV_REPLY);
	cr_assert_eq(reply.op, LOAN_OP_REFUSE);
	cr_assert_eq(loans_lent(p.lender, NODE_NONE), 0);
}

Test(loans, death_strikes_the_lines_on_both_sides)
{
	struct pair p = make_pair();
	uint64_t id = borrow(&p, 30);
	struct loans_action a;

	(void)loans_ask(p.borrower, 0, 1, 2, NODE_NONE, 5);
	loans_peer(p.borrower, 0, 2, 7, 7, false);
	a = next(p.borrower, LOANS_STRUCK);
	cr_assert_eq(a.line.id, id);
	(void)next(p.borrower, LOANS_REFUSED);
	assert_idle(p.borrower);
	cr_assert_eq(loans_borrowed(p.borrower, UINT16_MAX, UINT32_MAX), 0);
	cr_assert_eq(loans_ask(p.borrower, 0, 1, 2, NODE_NONE, 5), 0, "nobody to ask");

	loans_peer(p.lender, 0, 0, 6, 5, true);
	cr_assert_eq(loans_lent(p.lender, NODE_NONE), 30, "only its monitor was replaced");
	loans_peer(p.lender, 0, 0, 8, 8, true);
	(void)next(p.lender, LOANS_STRUCK);
	cr_assert_eq(loans_lent(p.lender, NODE_NONE), 0, "it has been born anew");
	assert_idle(p.lender);
}

Test(loans, while_suspended_nothing_is_asked_or_granted_but_returned)
{
	struct pair p = make_pair();
	uint64_t id = borrow(&p, 30);
	struct loans_action ask, back;
	struct loan_msg reply;

	(void)loans_ask(p.borrower, 0, 1, 2, NODE_NONE, 5);
	ask = next(p.borrower, LOANS_SEND);
	loans_suspend(p.lender, 0, true);
	loans_suspend(p.borrower, 0, true);
	cr_assert_eq(carry(p.lender, 0, &ask.msg, &reply, 0), LOANS_RECV_LATE);
	cr_assert_eq(loans_ask(p.borrower, 0, 1, 2, NODE_NONE, 5), 0);
	loans_tick(p.borrower, 20 * MS);
	assert_idle(p.borrower);
	loans_return(p.borrower, 20 * MS, id, 0);
	back = next(p.borrower, LOANS_SEND);
	cr_assert_eq(carry(p.lender, 0, &back.msg, &reply, 0), LOANS_RECV_REPLY);
	loans_suspend(p.lender, 0, false);
	loans_suspend(p.borrower, 20 * MS, false);
	ask = next(p.borrower, LOANS_SEND);
	cr_assert_eq(ask.msg.op, LOAN_OP_REQUEST);
	cr_assert_eq(carry(p.lender, 0, &ask.msg, &reply, 0), LOANS_RECV_REPLY);
	cr_assert_eq(reply.op, LOAN_OP_GRANT);
}

Test(loans, a_recall_asks_for_no_more_than_there_is)
{
	struct pair p = make_pair();
	uint64_t id = borrow(&p, 30);
	struct loans_action a;
	struct loan_msg none;

	loans_recall(p.lender, 0, 0, id + 1, 10);
	assert_idle(p.lender);
	loans_recall(p.lender, 0, 0, id, 99);
	a = next(p.lender, LOANS_SEND);
	cr_assert_eq(a.msg.op, LOAN_OP_RECALL);
	cr_assert_eq(a.msg.line.units, 30);
	loans_return(p.borrower, 0, id, 20);
	cr_assert_eq(carry(p.borrower, 2, &a.msg, &none, 0), LOANS_RECV_OK);
	a = next(p.borrower, LOANS_RECALLED);
	cr_assert_eq(a.line.id, id);
	cr_assert_eq(a.units, 20);
}

static void exchange(
	struct loans *a, uint16_t a_cell, struct loans *b, uint16_t b_cell, uint64_t now)
{
	struct loans *sides[] = { a, b };
	uint16_t cells[] = { a_cell, b_cell };

	for (int round = 0; round < 40; round++) {
		for (int i = 0; i < 2; i++) {
			struct loan_msg reply, none;
			struct loans_action action;

			if (!loans_next(sides[i], &action) || action.kind != LOANS_SEND)
				continue;
			if (carry(sides[!i], cells[i], &action.msg, &reply, now) ==
				LOANS_RECV_REPLY)
				(void)carry(sides[i], cells[!i], &reply, &none, now);
		}
	}
}

Test(loans, a_replaced_borrower_keeps_what_guests_claim_and_returns_the_rest)
{
	struct pair p = make_pair();
	uint64_t held = borrow(&p, 30), lost = borrow(&p, 11);
	struct loan claim = { .id = held,
		.units = 25,
		.lender_born = 7,
		.borrower_born = 5,
		.guest = 3,
		.os_node = NODE_OF(2),
		.lender = 2,
		.borrower = 0 };
	struct loans *fresh = book(0, 6, 5);

	cr_assert(loans_claim(fresh, &claim));
	cr_assert(!loans_claim(fresh, &claim), "twice");
	cr_assert_neq(lost, held);
	loans_peer(fresh, 0, 2, 7, 7, true);
	loans_peer(fresh, 0, 3, 4, 4, false);
	loans_peer(p.lender, 0, 0, 6, 5, true);
	cr_assert(!loans_agreed(fresh, 2));
	cr_assert_eq(loans_ask(fresh, 0, 1, 2, NODE_NONE, 5), 0, "not before it knows its book");
	assert_idle(fresh);
	loans_claimed(fresh, 0);
	cr_assert(!loans_claim(fresh, &claim));
	exchange(fresh, 0, p.lender, 2, 0);
	cr_assert(loans_agreed(fresh, 2));
	cr_assert_eq(loans_borrowed(fresh, 2, 3), 25);
	cr_assert_eq(loans_lent(p.lender, NODE_NONE), 25, "the other one, and what was returned");
	assert_idle(fresh);
	cr_assert_eq(
		loans_ask(fresh, 0, 1, 2, NODE_NONE, 5), 0, "not before it knows of all cells");
	loans_peer(fresh, 0, 1, 4, 4, false);
	cr_assert_eq(loans_ask(fresh, 0, 1, 2, NODE_NONE, 5) >> 32, 6, "ids of its own life");
}

Test(loans, a_replaced_lender_learns_what_it_lent_before_it_lends_again)
{
	struct pair p = make_pair();
	struct loans *fresh = book(2, 8, 7);
	struct loans_action ask;
	struct loan_msg reply;

	(void)borrow(&p, 80);
	loans_claimed(fresh, 0);
	loans_peer(fresh, 0, 0, 5, 5, true);
	loans_peer(fresh, 0, 1, 1, 1, false);
	loans_peer(fresh, 0, 3, 1, 1, false);
	loans_peer(p.borrower, 0, 2, 8, 7, true);
	(void)loans_ask(p.borrower, 0, 1, 2, NODE_NONE, 50);
	ask = next(p.borrower, LOANS_SEND);
	cr_assert_eq(carry(fresh, 0, &ask.msg, &reply, 0), LOANS_RECV_LATE, "it does not know yet");
	exchange(fresh, 2, p.borrower, 0, 0);
	cr_assert(loans_agreed(fresh, 0));
	cr_assert_eq(loans_lent(fresh, NODE_OF(2)), 80);
	cr_assert_eq(carry(fresh, 0, &ask.msg, &reply, 0), LOANS_RECV_REPLY);
	cr_assert_eq(reply.line.units, 4);
}

Test(loans, a_message_that_can_not_be_true_fails_the_link)
{
	struct pair p = make_pair();
	struct loans_action a;
	struct loan_msg good, bad, reply;

	(void)loans_ask(p.borrower, 0, 1, 2, NODE_OF(2), 30);
	a = next(p.borrower, LOANS_SEND);
	cr_assert_eq(carry(p.lender, 0, &a.msg, &good, 0), LOANS_RECV_REPLY);
	bad = good;
	bad.line.units = 31;
	cr_assert_eq(carry(p.borrower, 2, &bad, &reply, 0), LOANS_RECV_BAD, "more than asked");
	bad = good;
	bad.line.os_node++;
	cr_assert_eq(carry(p.borrower, 2, &bad, &reply, 0), LOANS_RECV_BAD, "another node");
	cr_assert_eq(carry(p.borrower, 1, &good, &reply, 0), LOANS_RECV_BAD, "of a third cell");
	cr_assert_eq(carry(p.borrower, 0, &good, &reply, 0), LOANS_RECV_BAD, "of itself");
	cr_assert_eq(carry(p.borrower, 9, &good, &reply, 0), LOANS_RECV_BAD, "of nobody");
	cr_assert_eq(carry(p.lender, 0, &good, &reply, 0), LOANS_RECV_BAD, "to the wrong side");
	bad = good;
	bad.op = LOAN_OP_REQUEST;
	cr_assert_eq(
		carry(p.borrower, 2, &bad, &reply, 0), LOANS_RECV_BAD, "a lender does not ask");
	bad = good;
	bad.line.lender_born = 6;
	cr_assert_eq(carry(p.borrower, 2, &bad, &reply, 0), LOANS_RECV_LATE, "of an earlier birth");
	cr_assert_eq(carry(p.borrower, 2, &good, &reply, 0), LOANS_RECV_OK);
}

Test(loans, requests_and_returns_that_are_over_change_nothing)
{
	struct pair p = make_pair();
	uint64_t id = borrow(&p, 30);
	struct loan_msg msg = {
		.op = LOAN_OP_RETURN,
		.line = { .id = id, .units = 31, .lender_born = 7, .borrower_born = 5, .lender = 2 }
	};
	struct loan_msg reply;

	cr_assert_eq(carry(p.lender, 0, &msg, &reply, 0), LOANS_RECV_LATE, "more than is lent");
	cr_assert_eq(loans_lent(p.lender, NODE_NONE), 30);
	msg.op = LOAN_OP_REQUEST;
	msg.line.id = 4ull << 32 | 9;
	msg.line.os_node = NODE_NONE;
	cr_assert_eq(carry(p.lender, 0, &msg, &reply, 0), LOANS_RECV_LATE, "of its last life");
	msg.line.id = 6ull << 32 | 9;
	cr_assert_eq(carry(p.lender, 0, &msg, &reply, 0), LOANS_RECV_LATE, "of no life yet");
	cr_assert_eq(loans_lent(p.lender, NODE_NONE), 30);
}

Test(loans, an_old_answer_does_not_hide_a_newer_return)
{
	struct pair p = make_pair();
	uint64_t id = borrow(&p, 30);
	struct loan_msg first, second, none;
	struct loans_action a;

	loans_return(p.borrower, 0, id, 12);
	a = next(p.borrower, LOANS_SEND);
	cr_assert_eq(carry(p.lender, 0, &a.msg, &first, 0), LOANS_RECV_REPLY);
	loans_return(p.borrower, 0, id, 5);
	cr_assert_eq(carry(p.borrower, 2, &first, &none, 0), LOANS_RECV_LATE);
	a = next(p.borrower, LOANS_SEND);
	cr_assert_eq(a.msg.line.units, 5);
	cr_assert_eq(carry(p.lender, 0, &a.msg, &second, 0), LOANS_RECV_REPLY);
	cr_assert_eq(carry(p.borrower, 2, &second, &none, 0), LOANS_RECV_OK);
	assert_idle(p.borrower);
	cr_assert_eq(loans_lent(p.lender, NODE_NONE), 5);
}

/* A lender's new monitor, and its TELL on the way to the borrower. */
static struct loans *replace_lender(struct pair *p, struct loan_msg *tell)
{
	struct loans *fresh = book(2, 8, 7);

	loans_claimed(fresh, 0);
	loans_peer(fresh, 0, 0, 5, 5, true);
	loans_peer(fresh, 0, 1, 1, 1, false);
	loans_peer(fresh, 0, 3, 1, 1, false);
	loans_peer(p->borrower, 0, 2, 8, 7, true);
	*tell = next(fresh, LOANS_SEND).msg;
	cr_assert_eq(tell->op, LOAN_OP_TELL);
	return fresh;
}

Test(loans, a_line_that_is_returned_before_it_is_told_does_not_stay)
{
	struct pair p = make_pair();
	uint64_t id = borrow(&p, 30);
	struct loan_msg tell, line, told, back, none;
	struct loans *fresh = replace_lender(&p, &tell);

	cr_assert_eq(carry(p.borrower, 2, &tell, &none, 0), LOANS_RECV_OK);
	line = next(p.borrower, LOANS_SEND).msg;
	told = next(p.borrower, LOANS_SEND).msg;
	cr_assert_eq(told.op, LOAN_OP_TOLD);
	loans_return(p.borrower, 0, id, 0);
	back = next(p.borrower, LOANS_SEND).msg;
	cr_assert_eq(carry(fresh, 0, &back, &none, 0), LOANS_RECV_REPLY);
	cr_assert_eq(carry(fresh, 0, &line, &none, 0), LOANS_RECV_LATE);
	cr_assert_eq(carry(fresh, 0, &told, &none, 0), LOANS_RECV_LATE);
	cr_assert(!loans_agreed(fresh, 0));
	cr_assert_eq(loans_lent(fresh, NODE_NONE), 0);
	exchange(fresh, 2, p.borrower, 0, 0);
	cr_assert(loans_agreed(fresh, 0));
	cr_assert_eq(loans_lent(fresh, NODE_NONE), 0);
}

Test(loans, an_answer_is_one_pass_and_is_not_begun_anew)
{
	struct pair p = make_pair();
	struct loan_msg tell, msg, none;
	uint32_t lines = 0;

	for (int i = 0; i < 4; i++)
		(void)borrow(&p, 2);
	(void)replace_lender(&p, &tell);
	cr_assert_eq(carry(p.borrower, 2, &tell, &none, 0), LOANS_RECV_OK);
	(void)next(p.borrower, LOANS_SEND);
	(void)next(p.borrower, LOANS_SEND);
	cr_assert_eq(carry(p.borrower, 2, &tell, &none, 0), LOANS_RECV_OK);
	do {
		msg = next(p.borrower, LOANS_SEND).msg;
		lines += msg.op == LOAN_OP_LINE;
	} while (msg.op == LOAN_OP_LINE);
	cr_assert_eq(lines, 2);
	cr_assert_eq(msg.line.units, 4);
}

Test(loans, what_a_former_life_told_does_not_count_for_the_next)
{
	struct pair p = make_pair();
	uint64_t x = borrow(&p, 3), y = borrow(&p, 4);
	struct loan claim = { .id = y,
		.units = 4,
		.lender_born = 7,
		.borrower_born = 5,
		.guest = 3,
		.os_node = NODE_OF(2),
		.lender = 2,
		.borrower = 0 };
	struct loan_msg tell, msg, none;
	struct loans *lender = replace_lender(&p, &tell), *fresh = book(0, 6, 5);

	cr_assert_eq(carry(p.borrower, 2, &tell, &none, 0), LOANS_RECV_OK);
	msg = next(p.borrower, LOANS_SEND).msg;
	cr_assert_eq(msg.line.id, x);
	cr_assert_eq(carry(lender, 0, &msg, &none, 0), LOANS_RECV_OK);
	/* Its second line is lost, as is its first life. */
	cr_assert(loans_claim(fresh, &claim));
	loans_claimed(fresh, 0);
	loans_peer(fresh, 0, 2, 8, 7, true);
	loans_peer(lender, 0, 0, 6, 5, true);
	tell = next(lender, LOANS_SEND).msg;
	cr_assert_eq(carry(fresh, 2, &tell, &none, 0), LOANS_RECV_OK);
	do
		msg = next(fresh, LOANS_SEND).msg; /* all lines are lost again */
	while (msg.op != LOAN_OP_TOLD);
	cr_assert_eq(msg.line.units, 1);
	cr_assert_eq(carry(lender, 0, &msg, &none, 0), LOANS_RECV_OK);
	cr_assert(!loans_agreed(lender, 0));
}

Test(loans, nothing_is_told_before_all_claims_are_in)
{
	struct pair p = make_pair();
	struct loans *fresh = book(0, 6, 5);
	struct loan_msg tell, none;

	(void)replace_lender(&p, &tell);
	loans_peer(fresh, 0, 2, 8, 7, true);
	cr_assert_eq(carry(fresh, 2, &tell, &none, 0), LOANS_RECV_LATE);
	assert_idle(fresh);
}

Test(loans, one_peer_can_not_fill_the_book)
{
	struct pair p = make_pair();
	uint32_t granted = 0;

	cr_assert(loans_offer(p.lender, NODE_OF(2), 10000));
	for (uint32_t i = 1; i <= LINES; i++) {
		struct loan_msg ask = { .op = LOAN_OP_REQUEST,
			.line = { .id = 5ull << 32 | i,
				.units = 1,
				.lender_born = 7,
				.borrower_born = 5,
				.os_node = NODE_NONE,
				.lender = 2 } };
		struct loan_msg reply;

		cr_assert_eq(carry(p.lender, 0, &ask, &reply, 0), LOANS_RECV_REPLY);
		granted += reply.op == LOAN_OP_GRANT;
	}
	cr_assert_eq(granted, LINES / 2);
}

Test(loans, configurations_that_contradict_themselves_are_refused)
{
	void *memory = malloc(loans_bytes(CELLS, LINES));
	struct loans_cfg good = cfg_of(1, 2, 2), bad = good;

	cr_assert_not_null(loans_start(memory, &good, 0));
	bad.self = CELLS;
	cr_assert_null(loans_start(memory, &bad, 0));
	bad = good;
	bad.born = 3;
	cr_assert_null(loans_start(memory, &bad, 0));
	bad = good;
	bad.born = 0;
	cr_assert_null(loans_start(memory, &bad, 0));
	bad = good;
	bad.retry_ns = 0;
	cr_assert_null(loans_start(memory, &bad, 0));
	bad = good;
	bad.line_max = 0;
	cr_assert_null(loans_start(memory, &bad, 0));
	bad = good;
	bad.cell_count = LOANS_CELLS_MAX + 1;
	cr_assert_null(loans_start(memory, &bad, 0));
	free(memory);
}

Test(loan_wire, rejected_bodies)
{
	static const struct {
		const char *what;
		uint16_t op;
		uint32_t at;
		uint8_t value;
	} rejects[] = {
		{ "no operation", 0, 0, 9 },
		{ "an unknown operation", LOAN_OP_END, 0, 9 },
		{ "a serial where none belongs", LOAN_OP_GRANT, 39, 1 },
		{ "none where one belongs", LOAN_OP_LINE, 40, 1 },
		{ "an answer without a question", LOAN_OP_GRANT, 40, 1 },
		{ "no number of an answer", LOAN_OP_LINE, 36, 1 },
		{ "reserved bytes", LOAN_OP_GRANT, 47, 1 },
		{ "an id without a count", LOAN_OP_GRANT, 0, 0 },
		{ "an id without a life", LOAN_OP_GRANT, 4, 0 },
		{ "no units", LOAN_OP_GRANT, 8, 0 },
		{ "no units", LOAN_OP_REQUEST, 8, 0 },
		{ "no units", LOAN_OP_RECALL, 8, 0 },
		{ "no units", LOAN_OP_LINE, 8, 0 },
		{ "too many units", LOAN_OP_RETURN, 13, 2 },
		{ "no birth of the lender", LOAN_OP_GRANT, 16, 0 },
		{ "no birth of the borrower", LOAN_OP_GRANT, 20, 0 },
		{ "a cell that lends to itself", LOAN_OP_GRANT, 34, 2 },
		{ "a lender that is no cell", LOAN_OP_GRANT, 33, 4 },
		{ "a borrower that is no cell", LOAN_OP_GRANT, 35, 4 },
		{ "a whole book with an id", LOAN_OP_TELL, 36, 1 },
		{ "a book told without a number", LOAN_OP_TOLD, 36, 1 },
	};
	const struct loan_msg good = { .op = LOAN_OP_GRANT,
		.line = { .id = 5ull << 32 | 1,
			.units = 1,
			.lender_born = 7,
			.borrower_born = 5,
			.guest = 9,
			.os_node = 3,
			.lender = 2,
			.borrower = 1 } };
	struct loan_msg msg = { .op = 55 };
	uint8_t body[LOAN_MSG_BYTES + 1] = { 0 };

	loan_encode(&good, body);
	cr_assert(!loan_decode(LOAN_OP_GRANT, body, LOAN_MSG_BYTES - 1, &msg));
	cr_assert(!loan_decode(LOAN_OP_GRANT, body, LOAN_MSG_BYTES + 1, &msg));
	for (size_t i = 0; i < sizeof(rejects) / sizeof(rejects[0]); i++) {
		loan_encode(&good, body);
		body[rejects[i].at] = rejects[i].value;
		cr_assert(!loan_decode(rejects[i].op, body, LOAN_MSG_BYTES, &msg), "%zu: %s", i,
			rejects[i].what);
		cr_assert_eq(msg.op, 55);
	}
}
