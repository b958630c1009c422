/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Four books and a network that loses, repeats and reorders, while monitors are
 * replaced and cells die and come back. After every step what a borrower holds is
 * in its lender's book; when it is quiet, both books are equal.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "machines.h"
#include "numa/loans.h"

#define CELLS 4u
#define LINES 40u
#define OFFERED 100u
#define FLYING_MAX 4096u
#define RECORDS_MAX 200u
#define NODE_OF(cell) ((cell)*10 + 3)

/* What the guests of a cell have written down: it outlives the monitor. */
struct record {
	struct loan loans[RECORDS_MAX];
	uint32_t count;
};

struct cell {
	struct loans *book; /* NULL: dead */
	uint32_t life, born;
	struct record record;
};

/* A message, or (op 0) the news of a view. */
struct flying {
	uint16_t from, to;
	uint32_t from_life, to_life;
	uint32_t from_born;
	bool live;
	struct loan_msg msg;
};

struct world {
	uint64_t seed, now_ns;
	uint32_t lives; /* used so far; no two are alike */
	struct cell cells[CELLS];
	/* What each cell believes the others' lives to be: [who][about], twice the life, odd if
	 * over. */
	uint32_t view[CELLS][CELLS];
	struct flying flying[FLYING_MAX];
	uint32_t flying_count;
	uint32_t granted, returned, replaced, died, struck, recalled;
	bool calm; /* nothing is lost any more */
};

static void fly(struct world *w, const struct flying *f)
{
	cr_assert_lt(w->flying_count, FLYING_MAX);
	w->flying[w->flying_count++] = *f;
}

static void start(struct world *w, uint16_t c, uint32_t born)
{
	struct cell *cell = &w->cells[c];
	struct loans_cfg cfg = {
		.self = c,
		.cell_count = CELLS,
		.incarnation = ++w->lives,
		.born = born ? born : w->lives,
		.line_max = LINES,
		.peer_line_max = LINES,
		.retry_ns = 10,
		.patience_ns = 60,
		.lend_above_units = 10,
	};

	cell->life = cfg.incarnation;
	cell->born = cfg.born;
	if (!born)
		cell->record.count = 0;
	cell->book = loans_start(malloc(loans_bytes(CELLS, LINES)), &cfg, w->now_ns);
	cr_assert_not_null(cell->book);
	cr_assert(loans_offer(cell->book, NODE_OF(c), OFFERED));
	for (uint32_t i = 0; i < cell->record.count; i++)
		cr_assert(loans_claim(cell->book, &cell->record.loans[i]));
	memset(w->view[c], 0, sizeof(w->view[c]));
}

/* Tells everyone (and a newcomer of everyone), some later than others. */
static void announce(struct world *w, uint16_t about)
{
	for (uint16_t c = 0; c < CELLS; c++) {
		struct flying f = { .from = about,
			.to = c,
			.from_life = w->cells[about].life,
			.from_born = w->cells[about].born,
			.live = w->cells[about].book != NULL };

		if (c == about)
			continue;
		fly(w, &f);
		f = (struct flying){ .from = c,
			.to = about,
			.from_life = w->cells[c].life,
			.from_born = w->cells[c].born,
			.live = w->cells[c].book != NULL };
		if (w->cells[about].book)
			fly(w, &f);
	}
}

static void stop(struct world *w, uint16_t c)
{
	free(w->cells[c].book);
	w->cells[c].book = NULL;
}

static uint32_t record_find(const struct record *r, uint64_t id)
{
	uint32_t i = 0;

	while (i < r->count && r->loans[i].id != id)
		i++;
	return i;
}

static void record_drop(struct record *r, uint64_t id)
{
	uint32_t i = record_find(r, id);

	cr_assert_lt(i, r->count);
	r->loans[i] = r->loans[--r->count];
}

/* Does one action of this book. */
static bool act(struct world *w, uint16_t c)
{
	struct cell *cell = &w->cells[c];
	struct loans_action a;

	if (!cell->book || !loans_next(cell->book, &a))
		return false;
	switch (a.kind) {
	case LOANS_SEND:
		fly(w, &(struct flying){ .from = c,
			       .to = a.cell,
			       .from_life = cell->life,
			       .to_life = w->view[c][a.cell] / 2,
			       .msg = a.msg });
		break;
	case LOANS_GRANTED:
		cr_assert_lt(cell->record.count, RECORDS_MAX);
		cell->record.loans[cell->record.count++] = a.line;
		w->granted++;
		break;
	case LOANS_STRUCK:
		w->struck++;
		/* One that was granted, but not yet told, is not in the record. */
		if (a.line.borrower == c &&
			record_find(&cell->record, a.line.id) < cell->record.count)
			record_drop(&cell->record, a.line.id);
		break;
	case LOANS_RECALLED:
		w->recalled++;
		break;
	default:
		break;
	}
	return true;
}

static void deliver(struct world *w, uint32_t which)
{
	struct flying f = w->flying[which];
	struct cell *to = &w->cells[f.to];
	struct loan_msg reply;
	enum loans_recv got;

	if (w->calm || draw(&w->seed) % 10 != 0 || f.msg.op == 0)
		w->flying[which] = w->flying[--w->flying_count];
	if (!to->book || (!w->calm && f.msg.op != 0 && draw(&w->seed) % 8 == 0))
		return;
	if (f.msg.op == 0) {
		/* News that is older than what is known is not news. */
		if (2 * f.from_life + !f.live <= w->view[f.to][f.from])
			return;
		w->view[f.to][f.from] = 2 * f.from_life + !f.live;
		loans_peer(to->book, w->now_ns, f.from, f.from_life, f.from_born, f.live);
		return;
	}
	/* What the fabric lets pass. */
	if (f.to_life != to->life || 2 * f.from_life != w->view[f.to][f.from])
		return;
	got = loans_recv(to->book, w->now_ns, f.from, &f.msg, &reply);
	cr_assert_neq(got, LOANS_RECV_BAD, "op %u of cell %u", f.msg.op, f.from);
	if (got == LOANS_RECV_REPLY)
		fly(w, &(struct flying){ .from = f.to,
			       .to = f.from,
			       .from_life = to->life,
			       .to_life = f.from_life,
			       .msg = reply });
}

static const struct loan *book_find(const struct loans *l, const struct loan *loan)
{
	const struct loan *line;

	for (uint32_t at = 0; (line = loans_line(l, &at));) {
		if (line->id == loan->id && line->borrower == loan->borrower)
			return line;
	}
	return NULL;
}

static void check(const struct world *w)
{
	for (uint16_t c = 0; c < CELLS; c++) {
		const struct loans *book = w->cells[c].book;
		const struct loan *line;

		if (!book)
			continue;
		cr_assert_null(loans_check(book), "cell %u: %s", c, loans_check(book));
		cr_assert_leq(loans_lent(book, NODE_OF(c)), OFFERED - 10, "more than there is");
		for (uint32_t at = 0; (line = loans_line(book, &at));) {
			const struct cell *lender = &w->cells[line->lender];
			const struct loan *twin;

			if (line->state != LOAN_HELD || !lender->book ||
				lender->born != line->lender_born ||
				w->view[line->lender][c] != 2 * w->cells[c].life ||
				!loans_agreed(lender->book, c))
				continue;
			twin = book_find(lender->book, line);
			cr_assert_not_null(
				twin, "cell %u holds what cell %u has not lent", c, line->lender);
			cr_assert_geq(twin->units, line->units);
		}
	}
}

static void some_return(struct world *w, uint16_t c)
{
	struct record *r = &w->cells[c].record;
	struct loan *loan;
	uint64_t keep;

	if (!w->cells[c].book || r->count == 0)
		return;
	loan = &r->loans[draw(&w->seed) % r->count];
	keep = draw(&w->seed) % loan->units;
	w->returned++;
	/* The guest's record first: the monitor may be gone before the next line. */
	if (keep == 0) {
		uint64_t id = loan->id;

		record_drop(r, id);
		loans_return(w->cells[c].book, w->now_ns, id, 0);
	} else {
		loan->units = keep;
		loans_return(w->cells[c].book, w->now_ns, loan->id, keep);
	}
}

static void some_event(struct world *w)
{
	uint16_t c = (uint16_t)(draw(&w->seed) % CELLS), other = (uint16_t)(draw(&w->seed) % CELLS);
	struct cell *cell = &w->cells[c];
	uint64_t what = draw(&w->seed) % 400;

	if (what < 60) {
		if (cell->book)
			(void)loans_ask(cell->book, w->now_ns, (uint32_t)what, other,
				what % 2 ? NODE_NONE : (uint32_t)NODE_OF(other),
				1 + draw(&w->seed) % 40);
	} else if (what < 100) {
		some_return(w, c);
	} else if (what < 110 && cell->book) {
		uint32_t at = (uint32_t)(draw(&w->seed) % LINES);
		const struct loan *line = loans_line(cell->book, &at);

		if (line && line->state == LOAN_LENT)
			loans_recall(cell->book, w->now_ns, line->borrower, line->id, 3);
	} else if (what < 120 && cell->book) {
		loans_suspend(cell->book, w->now_ns, what % 2);
	} else if (what < 124 && cell->book) {
		stop(w, c);
		start(w, c, cell->born);
		announce(w, c);
		w->replaced++;
	} else if (what == 124 && cell->book) {
		stop(w, c);
		announce(w, c);
		w->died++;
	} else if (what == 125 && !cell->book) {
		start(w, c, 0);
		announce(w, c);
	} else if (what < 150 && cell->book) {
		loans_claimed(cell->book, w->now_ns);
	}
}

static void step(struct world *w)
{
	uint64_t what = draw(&w->seed) % 10;
	uint16_t c = (uint16_t)(draw(&w->seed) % CELLS);

	if (what < 3 && !w->calm) {
		some_event(w);
	} else if (what < 5) {
		(void)act(w, c);
	} else if (what < 9) {
		if (w->flying_count > 0)
			deliver(w, (uint32_t)(draw(&w->seed) % w->flying_count));
	} else {
		w->now_ns++;
		for (c = 0; c < CELLS; c++) {
			if (w->cells[c].book)
				loans_tick(w->cells[c].book, w->now_ns);
		}
	}
	check(w);
}

/* Nothing is lost or begun any more: the books have to become equal. */
static void settle(struct world *w)
{
	bool busy = true;

	w->calm = true;
	for (uint16_t c = 0; c < CELLS; c++) {
		if (!w->cells[c].book)
			continue;
		loans_suspend(w->cells[c].book, w->now_ns, false);
		loans_claimed(w->cells[c].book, w->now_ns);
	}
	for (int round = 0; busy && round < 2000; round++) {
		busy = false;
		for (uint16_t c = 0; c < CELLS; c++) {
			while (act(w, c))
				busy = true;
		}
		while (w->flying_count > 0) {
			deliver(w, (uint32_t)(draw(&w->seed) % w->flying_count));
			busy = true;
		}
		for (uint16_t c = 0; c < CELLS; c++) {
			uint64_t due = w->cells[c].book ? loans_due(w->cells[c].book) : UINT64_MAX;

			if (due == UINT64_MAX)
				continue;
			busy = true;
			w->now_ns = due > w->now_ns ? due : w->now_ns;
		}
		for (uint16_t c = 0; c < CELLS; c++) {
			if (w->cells[c].book)
				loans_tick(w->cells[c].book, w->now_ns);
		}
		check(w);
	}
	cr_assert(!busy, "it never becomes quiet");
}

static void compare(const struct world *w)
{
	for (uint16_t c = 0; c < CELLS; c++) {
		const struct loan *line, *twin;
		uint32_t held = 0;

		if (!w->cells[c].book)
			continue;
		for (uint32_t at = 0; (line = loans_line(w->cells[c].book, &at));) {
			uint16_t other = line->lender == c ? line->borrower : line->lender;

			cr_assert(line->state == LOAN_HELD || line->state == LOAN_LENT);
			held += line->state == LOAN_HELD;
			cr_assert_not_null(w->cells[other].book, "a line with a dead cell");
			twin = book_find(w->cells[other].book, line);
			cr_assert_not_null(twin, "in the book of cell %u only", c);
			cr_assert_eq(twin->units, line->units);
			cr_assert_neq(twin->state, line->state);
			cr_assert_eq(twin->os_node, line->os_node);
		}
		cr_assert_eq(held, w->cells[c].record.count, "what guests use is what is held");
		for (uint32_t i = 0; i < held; i++) {
			twin = book_find(w->cells[c].book, &w->cells[c].record.loans[i]);
			cr_assert_not_null(twin);
			cr_assert_eq(twin->units, w->cells[c].record.loans[i].units);
		}
	}
}

Test(loans_many, both_books_agree_whatever_happens)
{
	uint32_t granted = 0, returned = 0, replaced = 0, died = 0, struck = 0, recalled = 0;
	struct world *w = malloc(sizeof(*w));

	for (uint64_t seed = 1; seed <= 120; seed++) {
		memset(w, 0, sizeof(*w));
		w->seed = seed * 0x9e3779b97f4a7c15ull;
		for (uint16_t c = 0; c < CELLS; c++)
			start(w, c, 0);
		for (uint16_t c = 0; c < CELLS; c++)
			announce(w, c);
		for (int i = 0; i < 2500; i++)
			step(w);
		settle(w);
		compare(w);
		granted += w->granted;
		returned += w->returned;
		replaced += w->replaced;
		died += w->died;
		struck += w->struck;
		recalled += w->recalled;
		for (uint16_t c = 0; c < CELLS; c++)
			stop(w, c);
	}
	free(w);
	cr_log_info("%u granted, %u returned, %u replaced, %u died, %u struck, %u recalled",
		granted, returned, replaced, died, struck, recalled);
	cr_assert_gt(granted, 500);
	cr_assert_gt(returned, 500);
	cr_assert_gt(replaced, 200);
	cr_assert_gt(died, 50);
	cr_assert_gt(struck, 20);
	cr_assert_gt(recalled, 20);
}
