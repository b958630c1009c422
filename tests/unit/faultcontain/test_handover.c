/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two monitors, a guest process, its folder and its door, in as little code as shows who is the
 * guest's home; monitors die before each step, one or both, and new ones come.
 */

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "faultcontain/handover.h"

#define NOBODY 9u

struct monitor {
	bool alive;
	bool has; /* the guest is in its book */
	bool needs_old;
	bool told, peer_has; /* the other's book, as it was told last */
};

struct world {
	struct monitor m[2];
	struct {
		unsigned int home, door, conn, folder;
		unsigned int order; /* queued in its socket; NOBODY: none */
		unsigned int from;  /* in its ledger */
	} g;
	char log[512];
};

static void note(struct world *w, const char *what, unsigned int cell)
{
	size_t used = strlen(w->log);

	snprintf(w->log + used, sizeof(w->log) - used, " %s%u", what, cell);
}

/* --- what monitors do --- */

static bool attached(const struct world *w, unsigned int c)
{
	return w->g.conn == c;
}

static void settle_need(struct world *w, unsigned int c)
{
	struct monitor *m = &w->m[c];

	if (m->has && m->needs_old)
		m->needs_old = handover_needs_old(true, m->told, m->peer_has);
}

/* The other hears this one's book: as in moving_book(). */
static void tell(struct world *w, unsigned int c)
{
	struct monitor *other = &w->m[1 - c];

	if (!w->m[c].alive || !other->alive)
		return;
	other->told = true;
	other->peer_has = w->m[c].has;
	if (w->m[c].has && other->has && handover_let_go(attached(w, 1 - c))) {
		other->has = false;
		note(w, "lets-go", 1 - c);
	}
	settle_need(w, 1 - c);
}

static void registers(struct world *w, unsigned int c)
{
	if (handover_register(c, w->g.home) == HANDOVER_SHOW_DOOR) {
		w->g.door = w->g.home;
		return;
	}
	note(w, "adopts", c);
	w->g.conn = c;
	w->m[c].has = true;
	w->m[c].needs_old = w->g.from != NOBODY && w->g.from != c;
	if (w->m[c].needs_old && w->g.folder == w->g.from)
		w->g.folder = c;
	settle_need(w, c);
}

static void begin_life(struct world *w, unsigned int c)
{
	struct monitor *m = &w->m[c], *peer = &w->m[1 - c];

	*m = (struct monitor){ .alive = true };
	note(w, "life", c);
	if (w->g.folder == c)
		w->g.door = c;
	/* What a peer was told last of the former life. */
	if (peer->alive)
		m->has = peer->told && peer->peer_has;
}

static void die(struct world *w, unsigned int c)
{
	w->m[c].alive = false;
	note(w, "dies", c);
	if (w->g.conn == c)
		w->g.conn = NOBODY;
}

/* --- what the guest process does --- */

static void guest_turn(struct world *w)
{
	if (w->g.order != NOBODY) {
		w->g.from = w->g.conn == NOBODY ? 1 - w->g.order : w->g.home;
		w->g.home = w->g.order;
		w->g.order = NOBODY;
		w->g.conn = NOBODY;
		note(w, "rehomed", w->g.home);
	}
	if (w->g.conn == NOBODY && w->m[w->g.door].alive)
		registers(w, w->g.door);
}

/* --- what always holds --- */

static void check(const struct world *w)
{
	for (unsigned int c = 0; c < 2; c++) {
		const struct monitor *m = &w->m[c];

		/* One that manages it is its home, by the guest's own word. */
		if (m->alive && attached(w, c))
			cr_assert(w->g.home == c || w->g.order != NOBODY, "%s", w->log);
		/* While the old home is known to have it, its death would take the guest along. */
		if (m->alive && m->has && attached(w, c) && w->g.from == 1 - c && m->told &&
			m->peer_has && w->m[1 - c].alive && w->m[1 - c].has)
			cr_assert(m->needs_old, "%s", w->log);
	}
	if (w->g.conn != NOBODY)
		cr_assert(w->m[w->g.conn].has, "%s", w->log);
}

static void quiesce(struct world *w)
{
	for (int i = 0; i < 12; i++) {
		for (unsigned int c = 0; c < 2; c++)
			if (!w->m[c].alive)
				begin_life(w, c);
		guest_turn(w);
		check(w);
		for (unsigned int c = 0; c < 2; c++) {
			tell(w, c);
			check(w);
			/* keeper_doors_tick() */
			if (w->m[c].has && !attached(w, c))
				w->g.door = c;
			guest_turn(w);
			check(w);
		}
	}
}

static void check_end(const struct world *w)
{
	const unsigned int home = w->g.home;

	cr_assert(w->m[home].has && attached(w, home), "nobody has it:%s", w->log);
	cr_assert(!w->m[1 - home].has, "both have it:%s", w->log);
	cr_assert_eq(w->g.folder, home, "its folder is elsewhere:%s", w->log);
	cr_assert(!w->m[home].needs_old, "needs its old home for ever:%s", w->log);
}

/* --- a move, step by step --- */

#define STEPS 7

static void step(struct world *w, int n, unsigned int from)
{
	const unsigned int to = 1 - from;

	switch (n) {
	case 0:
		if (w->m[from].alive)
			w->g.door = to;
		break;
	case 1:
		if (w->m[from].alive && attached(w, from))
			w->g.order = to;
		break;
	case 2:
	case 3:
		guest_turn(w);
		break;
	case 4:
		tell(w, to);
		break;
	case 5:
		tell(w, from);
		break;
	default:
		break;
	}
	check(w);
}

static struct world at_home(void)
{
	struct world w = { .m = { { .alive = true, .has = true }, { .alive = true } },
		.g = { .home = 0,
			.door = 0,
			.conn = 0,
			.folder = 0,
			.order = NOBODY,
			.from = NOBODY } };

	tell(&w, 0);
	tell(&w, 1);
	return w;
}

Test(handover, ends_with_one_home_when_nobody_dies)
{
	struct world w = at_home();

	for (int n = 0; n < STEPS; n++)
		step(&w, n, 0);
	cr_assert_eq(w.g.home, 1u);
	cr_assert(w.m[1].has && !w.m[0].has && w.g.folder == 1 && !w.m[1].needs_old, "%s", w.log);
	quiesce(&w);
	check_end(&w);
	/* And back, when the books of the first move are all there is to go by. */
	for (int n = 0; n < STEPS; n++)
		step(&w, n, 1);
	quiesce(&w);
	check_end(&w);
	cr_assert_eq(w.g.home, 0u);
}

/* Who dies before step `at`: 1 and 2 are bits. A new life begins at once, or at the end. */
static void one_death(int at, unsigned int who, bool late, bool back)
{
	struct world w = at_home();

	if (back) {
		for (int n = 0; n < STEPS; n++)
			step(&w, n, 0);
	}
	for (int n = 0; n < STEPS; n++) {
		for (unsigned int c = 0; c < 2 && n == at; c++)
			if (who & 1u << c)
				die(&w, c);
		for (unsigned int c = 0; c < 2 && n == at && !late; c++)
			if (!w.m[c].alive)
				begin_life(&w, c);
		step(&w, n, back);
	}
	quiesce(&w);
	check_end(&w);
}

Test(handover, ends_with_one_home_whoever_dies_at_any_step)
{
	for (int at = 0; at < STEPS; at++)
		for (unsigned int who = 1; who <= 3; who++)
			for (int how = 0; how < 4; how++)
				one_death(at, who, how & 1, how & 2);
}

Test(handover, ends_with_one_home_when_two_die_one_after_the_other)
{
	for (int first = 0; first < STEPS; first++)
		for (int second = first; second < STEPS; second++)
			for (unsigned int c = 0; c < 2; c++) {
				struct world w = at_home();

				for (int n = 0; n < STEPS; n++) {
					if (n == first)
						die(&w, c);
					if (n == second) {
						die(&w, 1 - c);
						begin_life(&w, c);
					}
					step(&w, n, 0);
				}
				quiesce(&w);
				check_end(&w);
			}
}

Test(handover, needs_its_old_home_until_that_is_known_to_have_let_go)
{
	cr_assert(handover_needs_old(true, false, false), "not told yet");
	cr_assert(handover_needs_old(true, true, true));
	cr_assert(!handover_needs_old(true, true, false));
	cr_assert(!handover_needs_old(false, true, true), "fenced: whatever it had is over");
}

/* --- the steps of the old home --- */

Test(move_after, goes_through_all_steps_in_order)
{
	static const enum move_step order[] = { MOVE_ASK, MOVE_GATHER, MOVE_MEMORY, MOVE_RETURN,
		MOVE_PROCESS, MOVE_ORDER, MOVE_WAIT, MOVE_DONE };

	for (size_t i = 0; i + 1 < sizeof(order) / sizeof(order[0]); i++)
		cr_assert_eq(move_after(order[i], MOVE_OK), order[i + 1], "%zu", i);
}

Test(move_after, undoes_what_was_done_and_nothing_after_the_order)
{
	cr_assert_eq(move_after(MOVE_ASK, MOVE_FAILS), MOVE_FAILED);
	cr_assert_eq(move_after(MOVE_GATHER, MOVE_FAILS), MOVE_FAILED);
	cr_assert_eq(move_after(MOVE_MEMORY, MOVE_FAILS), MOVE_UNDO_MEMORY);
	cr_assert_eq(move_after(MOVE_RETURN, MOVE_FAILS), MOVE_UNDO_MEMORY);
	cr_assert_eq(move_after(MOVE_PROCESS, MOVE_FAILS), MOVE_UNDO_PROCESS);
	cr_assert_eq(move_after(MOVE_ORDER, MOVE_FAILS), MOVE_UNDO_PROCESS);
	cr_assert_eq(move_after(MOVE_WAIT, MOVE_FAILS), MOVE_WAIT);
	for (int event = MOVE_OK; event <= MOVE_FAILS; event++) {
		cr_assert_eq(move_after(MOVE_UNDO_PROCESS, event), MOVE_UNDO_MEMORY);
		cr_assert_eq(move_after(MOVE_UNDO_MEMORY, event), MOVE_FAILED);
	}
	for (int step = MOVE_ASK; step < MOVE_STEP_COUNT; step++)
		cr_assert_eq(move_after(step, MOVE_ENDED),
			step == MOVE_DONE ? MOVE_DONE : MOVE_FAILED, "%d", step);
}
