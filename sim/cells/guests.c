/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Guests and the memory that they use, at home and lent by other cells. What the
 * monitors' books say is kept apart from what is so, so that the two can be
 * compared. Granting and returning are one step each: the calls that do it on
 * real machines are not simulated here.
 */

#include <string.h>

#include "faultcontain/member_impl.h"
#include "sim/cells/machine.h"

static bool home_is(const struct guest *g, uint16_t cell)
{
	return g->used && g->home == cell;
}

void guests_count_frames(struct machine *s)
{
	for (uint16_t c = 0; c < s->cfg.cells; c++)
		s->cells[c].frames_used = s->cells[c].frames_booked = 0;
	for (uint32_t i = 0; i < s->guest_room; i++) {
		const struct guest *g = &s->guests[i];
		struct cell *c = &s->cells[g->home];

		if (!g->used || g->home_born != c->boot)
			continue;
		c->frames_used += g->running ? GUEST_FRAMES : 0;
		c->frames_booked += g->in_book ? GUEST_FRAMES : 0;
	}
	for (uint32_t i = 0; i < s->loan_count; i++) {
		const struct loan *l = &s->loans[i];
		struct cell *c = &s->cells[l->lender];

		if (l->lender_born != c->boot)
			continue;
		c->frames_used += l->live ? LOAN_FRAMES : 0;
		c->frames_booked += l->in_lender ? LOAN_FRAMES : 0;
	}
}

/* Forgets loans that nobody holds any more. */
static void forget_loans(struct machine *s)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < s->loan_count; i++) {
		const struct loan *l = &s->loans[i];

		if (l->live || l->in_lender || l->in_borrower)
			s->loans[kept++] = *l;
	}
	s->loan_count = kept;
}

/* The home monitor gives back what its guest had borrowed. */
static void give_back(struct machine *s, uint32_t guest)
{
	for (uint32_t i = 0; i < s->loan_count; i++)
		if (s->loans[i].guest == guest &&
			s->loans[i].borrower_born == s->guests[guest].home_born)
			s->loans[i].in_lender = s->loans[i].in_borrower = false;
	s->guests[guest].in_book = false;
}

/* Its process is gone, and with it every use of memory. */
static void stop(struct machine *s, uint32_t guest, const char *why)
{
	struct guest *g = &s->guests[guest];

	sim_trace(s, "guest %u of cell %u ends: %s", guest, g->home, why);
	g->running = false;
	for (uint32_t i = 0; i < s->loan_count; i++)
		if (s->loans[i].guest == guest)
			s->loans[i].live = false;
	if (monitor_acts(s, g->home) && s->cells[g->home].boot == g->home_born)
		give_back(s, guest);
	s->books_changed = true;
}

void guest_die(struct machine *s, uint32_t guest, const char *why)
{
	stop(s, guest, why);
}

void guest_end(struct machine *s, uint32_t guest, const char *why)
{
	const struct guest *g = &s->guests[guest];
	bool justified = false;

	for (uint16_t i = 0; i < g->truth.count; i++)
		justified |= g->truth.list[i].born <= s->cells[g->truth.list[i].cell].failed_boot;
	if (!justified)
		sim_violate(s,
			"containment: guest %u of cell %u needs no failed cell and was ended: %s",
			guest, g->home, why);
	s->result->guests_hurt++;
	stop(s, guest, why);
}

void guests_of_boot_end(struct machine *s, uint16_t cell, uint32_t boot, const char *why)
{
	for (uint32_t i = 0; i < s->guest_room; i++) {
		const struct guest *g = &s->guests[i];

		if (home_is(g, cell) && g->running && g->home_born <= boot)
			guest_end(s, i, why);
	}
}

/* Whatever has memory on this node can't go on. */
void guests_node_dead(struct machine *s, uint16_t cell, uint16_t node)
{
	const struct cell *c = &s->cells[cell];

	if (c->dead)
		return; /* nothing there executes, and the others find out by the recovery */
	for (uint32_t i = 0; i < s->guest_room; i++)
		if (home_is(&s->guests[i], cell) && s->guests[i].running &&
			s->guests[i].node == node)
			guest_die(s, i, "its memory is lost");
}

void guests_end_needing(struct machine *s, uint16_t cell, const struct cellset *dead)
{
	if (s->cfg.plant == PLANT_GUESTS_NOT_ENDED)
		return;
	for (uint32_t i = 0; i < s->guest_room; i++) {
		const struct guest *g = &s->guests[i];

		if (home_is(g, cell) && g->running && g->home_born == s->cells[cell].boot &&
			needs_hurt(&g->needs, dead))
			guest_end(s, i, "it needs a cell that died");
	}
}

void guests_drop_loans(struct machine *s, uint16_t cell, const struct cellset *dead)
{
	const struct membership *m = s->cells[cell].m;

	for (uint32_t i = 0; i < s->loan_count; i++) {
		struct loan *l = &s->loans[i];

		if (l->lender == cell && cellset_has(dead, l->borrower) &&
			!member_holds(m, l->borrower, l->borrower_born) &&
			s->cfg.plant != PLANT_LOAN_ONE_BOOK)
			l->in_lender = false;
		if (l->borrower == cell && cellset_has(dead, l->lender) &&
			!member_holds(m, l->lender, l->lender_born))
			l->in_borrower = false;
	}
	s->books_changed = true;
}

void guests_sweep(struct machine *s, uint16_t cell)
{
	for (uint32_t i = 0; i < s->guest_room; i++)
		if (home_is(&s->guests[i], cell) && s->guests[i].in_book && !s->guests[i].running &&
			s->guests[i].home_born == s->cells[cell].boot)
			give_back(s, i);
	s->books_changed = true;
}

/* A new monitor builds its books from the guests that register and from its peers. */
void guests_adopt(struct machine *s, uint16_t cell)
{
	const struct cell *c = &s->cells[cell];
	bool forget = s->cfg.plant == PLANT_ADOPTION_FORGETS;

	guests_sweep(s, cell);
	for (uint32_t i = 0; i < s->guest_room; i++) {
		struct guest *g = &s->guests[i];

		if (!home_is(g, cell))
			continue;
		g->in_book = g->running && g->home_born == c->boot && !forget;
		forget &= !g->running;
	}
	for (uint32_t i = 0; i < s->loan_count; i++) {
		struct loan *l = &s->loans[i];

		if (l->lender == cell && l->lender_born == c->boot)
			l->in_lender = l->live;
		if (l->borrower == cell && l->borrower_born == c->boot)
			l->in_borrower = l->live;
	}
	s->books_changed = true;
}

void guests_check_adopted(struct machine *s, uint16_t cell)
{
	const struct membership *m = s->cells[cell].m;

	if (s->cfg.plant == PLANT_ADOPTION_UNCHECKED)
		return;
	for (uint32_t i = 0; i < s->guest_room; i++) {
		struct guest *g = &s->guests[i];
		bool holds = true;

		if (!home_is(g, cell) || !g->running || g->home_born != s->cells[cell].boot)
			continue;
		for (uint16_t k = 0; k < g->needs.count; k++)
			holds &= member_holds(m, g->needs.list[k].cell, g->needs.list[k].born);
		if (!holds)
			guest_end(s, i, "what it needs is gone, says the first view");
	}
}

void guests_check_loans(struct machine *s, uint16_t cell)
{
	const struct membership *m = s->cells[cell].m;

	for (uint32_t i = 0; i < s->loan_count; i++) {
		struct loan *l = &s->loans[i];

		if (l->lender == cell && !member_holds(m, l->borrower, l->borrower_born) &&
			s->cfg.plant != PLANT_LOAN_ONE_BOOK)
			l->in_lender = false;
		if (l->borrower == cell && !member_holds(m, l->lender, l->lender_born))
			l->in_borrower = false;
	}
	s->books_changed = true;
}

static bool serves(const struct machine *s, uint16_t cell)
{
	return monitor_acts(s, cell) && !member_suspended(s->cells[cell].m);
}

/* By its book, as last counted. */
static uint32_t free_frames(const struct machine *s, uint16_t cell)
{
	uint32_t used = s->cells[cell].frames_booked;

	return used < CELL_FRAMES ? CELL_FRAMES - used : 0;
}

/* Returns the guest's index, or guest_room. */
static uint32_t start(struct machine *s, uint16_t cell)
{
	struct cell *c = &s->cells[cell];
	uint32_t first = (uint32_t)cell * s->cfg.guests, i = first;
	struct guest *g;

	guests_count_frames(s);
	if (!serves(s, cell) || free_frames(s, cell) < GUEST_FRAMES)
		return s->guest_room;
	while (i < first + s->cfg.guests && (s->guests[i].running || s->guests[i].in_book))
		i++;
	if (i == first + s->cfg.guests)
		return s->guest_room;
	g = &s->guests[i];
	*g = (struct guest){
		.used = true, .running = true, .in_book = true, .home = cell, .home_born = c->boot
	};
	do
		g->node = (uint16_t)sim_draw(s, s->cfg.nodes);
	while (c->nodes_dead & 1u << g->node);
	needs_add(&g->needs, cell, c->boot);
	g->truth = g->needs;
	s->result->guests_started++;
	sim_trace(s, "guest %u starts in cell %u", i, cell);
	s->books_changed = true;
	return i;
}

/* The nearest cell that can lend, or CELLSET_NONE. */
static uint16_t lender_for(const struct machine *s, uint16_t cell)
{
	uint16_t n = s->cfg.cells;
	const struct membership *m = s->cells[cell].m;

	for (uint16_t distance = 1; distance < n; distance++) {
		for (int side = 0; side < 2; side++) {
			uint32_t c = side ? cell + distance : (uint32_t)(cell - distance);

			if (c < n && serves(s, (uint16_t)c) &&
				member_epoch(s->cells[c].m) == member_epoch(m) &&
				free_frames(s, (uint16_t)c) >= 2 * GUEST_FRAMES)
				return (uint16_t)c;
		}
		if (distance > 16)
			break;
	}
	return CELLSET_NONE;
}

static bool borrow(struct machine *s, uint32_t guest)
{
	struct guest *g = &s->guests[guest];
	uint16_t lender;

	guests_count_frames(s);
	if (!g->running || !serves(s, g->home) || s->loan_count == s->loan_room)
		return false;
	lender = lender_for(s, g->home);
	if (lender == CELLSET_NONE)
		return false;
	if (!needs_add(&g->truth, lender, s->cells[lender].boot))
		return false;
	if (s->cfg.plant != PLANT_NEEDS_NOT_UPDATED)
		needs_add(&g->needs, lender, s->cells[lender].boot);
	s->loans[s->loan_count++] = (struct loan){ .live = true,
		.in_lender = true,
		.in_borrower = true,
		.lender = lender,
		.lender_born = s->cells[lender].boot,
		.borrower = g->home,
		.borrower_born = g->home_born,
		.guest = guest };
	s->result->loans++;
	sim_trace(s, "guest %u of cell %u borrows from cell %u", guest, g->home, lender);
	s->books_changed = true;
	return true;
}

static void return_one(struct machine *s, uint32_t guest)
{
	struct guest *g = &s->guests[guest];
	struct loan *last = NULL;
	uint32_t same = 0;

	for (uint32_t i = 0; i < s->loan_count; i++)
		if (s->loans[i].guest == guest && s->loans[i].live)
			last = &s->loans[i];
	if (!last || !serves(s, g->home) || !serves(s, last->lender))
		return;
	for (uint32_t i = 0; i < s->loan_count; i++)
		same += s->loans[i].guest == guest && s->loans[i].live &&
			s->loans[i].lender == last->lender;
	last->live = last->in_lender = last->in_borrower = false;
	if (same == 1) {
		needs_remove(&g->needs, last->lender);
		needs_remove(&g->truth, last->lender);
	}
	s->books_changed = true;
}

void guests_event(struct machine *s, const struct event *e)
{
	uint16_t cell = (uint16_t)sim_draw(s, s->cfg.cells);
	uint32_t guest = s->cfg.guests ? (uint32_t)cell * s->cfg.guests +
						 (uint32_t)sim_draw(s, s->cfg.guests)
				       : s->guest_room;

	(void)e;
	if (guest == s->guest_room)
		return;
	forget_loans(s);
	switch (sim_draw(s, 8)) {
	case 0:
		if (s->guests[guest].running && monitor_acts(s, cell))
			guest_die(s, guest, "powered off");
		break;
	case 1:
		if (s->guests[guest].running && s->rate[SITE_GUEST_CRASH] && s->faults)
			guest_die(s, guest, "crash");
		break;
	case 2:
		if (s->guests[guest].running)
			return_one(s, guest);
		break;
	case 3:
	case 4:
		if (s->guests[guest].running)
			borrow(s, guest);
		break;
	default:
		start(s, cell);
		break;
	}
	if (s->busy)
		sim_push(s, &(struct event){ .what = EV_GUEST }, sim_draw(s, 80 * MS));
}

bool guests_serve(struct machine *s, uint16_t cell)
{
	uint32_t first = (uint32_t)cell * s->cfg.guests, guest;
	bool others = false;

	if (s->cfg.guests == 0)
		return true;
	if (s->guests[first].running && serves(s, cell))
		guest_die(s, first, "powered off");
	guest = start(s, cell);
	if (guest == s->guest_room)
		return false;
	for (uint16_t c = 0; c < s->cfg.cells; c++)
		others |= c != cell && lender_for(s, cell) == c;
	return !others || borrow(s, guest);
}
