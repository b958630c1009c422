/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Memory loans as a simulated monitor carries them out: the real loan book, its
 * messages, the guests' records, and the moves of pages, which take time.
 */

#include <string.h>

#include "faultcontain/member_impl.h"
#include "numa/check.h"
#include "numa/loans_policy.h"
#include "sim/cells/machine.h"

#define LOAN_RETRY_NS (8 * MS)
#define PATIENCE_NS (60 * MS)

/* The guest of this home that a line is for; NULL if it is gone. */
static struct guest *guest_of(struct sim *s, uint16_t cell, uint32_t number)
{
	for (uint32_t i = 0; i < s->cfg.guests; i++) {
		struct guest *g = &s->guests[(size_t)cell * s->cfg.guests + i];

		if (g->number == number && guest_managed(s, g, cell))
			return g;
	}
	return NULL;
}

static struct hold *hold_of(struct sim *s, uint16_t cell, uint64_t id, struct guest **guest)
{
	for (uint32_t i = 0; i < s->cfg.guests; i++) {
		struct guest *g = &s->guests[(size_t)cell * s->cfg.guests + i];

		for (uint16_t k = 0; k < g->hold_count && guest_managed(s, g, cell); k++) {
			*guest = g;
			if (g->holds[k].line.id == id)
				return &g->holds[k];
		}
	}
	return NULL;
}

static void later(struct sim *s, uint16_t cell, enum what what, uint64_t id, uint64_t keep)
{
	struct event e = { .what = what, .cell = cell, .cell_life = s->cells[cell].life };

	e.loan.id = id;
	e.loan.keep = keep;
	sim_push(s, &e, 200 * US + sim_draw(s, 2 * MS));
}

static void claim(struct sim *s, uint16_t cell)
{
	struct cell *c = &s->cells[cell];

	for (uint32_t i = 0; i < s->cfg.guests; i++) {
		struct guest *g = &s->guests[(size_t)cell * s->cfg.guests + i];

		for (uint16_t k = 0; k < g->hold_count && guest_managed(s, g, cell); k++) {
			struct hold *h = &g->holds[k];

			h->busy = h->used < h->line.units;
			if (h->busy)
				later(s, cell, EV_USE, h->line.id, 0);
			if (s->cfg.plant != PLANT_CLAIMS_FORGOTTEN &&
				!loans_claim(c->loans, &h->line))
				sim_violate(s, "cell %u refuses what guest %u held before", cell,
					g->number);
		}
	}
}

void lending_start(struct sim *s, uint16_t cell)
{
	struct cell *c = &s->cells[cell];
	const struct loans_cfg cfg = { .self = cell,
		.cell_count = s->cfg.cells,
		.incarnation = c->life,
		.born = c->born,
		.line_max = s->line_max,
		.peer_line_max = s->line_max / 2,
		.retry_ns = s->pace * LOAN_RETRY_NS,
		.patience_ns = s->pace * PATIENCE_NS,
		.lend_above_units = LEND_ABOVE_UNITS };

	c->loans = loans_start(s->books + cell * s->book_bytes, &cfg, s->now_ns);
	CHECK(c->loans != NULL);
	c->peers = &s->peer_words[(size_t)cell * s->cfg.cells];
	for (uint16_t p = 0; p < s->cfg.cells; p++)
		c->peers[p] = UINT64_MAX;
	c->loans_ns = UINT64_MAX;
	c->recalled = 0;
	c->refused = 0;
	c->suspended = true;
	loans_suspend(c->loans, s->now_ns, true);
	lending_offer(s, cell);
	claim(s, cell);
	if (c->life != c->born)
		sim_push(s,
			&(struct event){ .what = EV_CLAIMED, .cell = cell, .cell_life = c->life },
			sim_draw(s, 3 * MS));
}

void lending_view(struct sim *s, uint16_t cell, bool fenced)
{
	struct cell *c = &s->cells[cell];

	fenced |= s->cfg.plant == PLANT_LOANS_BEFORE_FENCE;
	for (uint16_t p = 0; p < s->cfg.cells; p++) {
		uint64_t word = c->m->view[p], told = c->peers[p];
		bool same = told == UINT64_MAX || told == 0 || word_born(told) == word_born(word);

		if (p == cell || word == told || (!fenced && !(word_live(word) && same)))
			continue;
		if (!word_live(word) && s->cfg.plant == PLANT_LOAN_ONE_BOOK)
			continue;
		loans_peer(
			c->loans, s->now_ns, p, word_life(word), word_born(word), word_live(word));
		c->peers[p] = word;
		if (word_live(word))
			c->peer[p].announce = true;
		if (!word_live(word) || !same)
			visiting_dead(s, cell, p);
	}
	s->books_changed = true;
	lending_drain(s, cell);
}

void lending_suspend(struct sim *s, uint16_t cell)
{
	struct cell *c = &s->cells[cell];
	bool suspended = member_suspended(c->m);

	if (suspended == c->suspended)
		return;
	c->suspended = suspended;
	loans_suspend(c->loans, s->now_ns, suspended);
	lending_drain(s, cell);
}

uint32_t lending_free(const struct sim *s, uint16_t cell, uint16_t node)
{
	const struct cell *c = &s->cells[cell];
	uint64_t used = guests_units(s, cell, node) +
			loans_lent(c->loans, (uint32_t)cell * s->cfg.nodes + node);

	if (c->nodes_dead >> node & 1 || used >= s->node_units)
		return 0;
	return s->node_units - (uint32_t)used;
}

void lending_offer(struct sim *s, uint16_t cell)
{
	const struct cell *c = &s->cells[cell];

	for (uint16_t node = 0; node < s->cfg.nodes; node++) {
		uint32_t units = s->node_units;

		if (c->nodes_dead >> node & 1)
			units = 0;
		else if (s->cfg.plant != PLANT_GRANT_BEYOND_FREE)
			units -= guests_units(s, cell, node);
		CHECK(loans_offer(c->loans, (uint32_t)cell * s->cfg.nodes + node, units));
	}
}

bool lending_known(const struct sim *s, uint16_t cell)
{
	const struct cell *c = &s->cells[cell];

	for (uint16_t p = 0; p < s->cfg.cells && c->life != c->born; p++)
		if (p != cell && word_live(c->m->view[p]) && !loans_agreed(c->loans, p))
			return false;
	return true;
}

/* A loan is granted: need, record, peers told, use, in this order. */
static void granted(struct sim *s, uint16_t cell, const struct loan *line)
{
	struct cell *c = &s->cells[cell];
	struct guest *g = guest_of(s, cell, line->guest);
	bool fits = g && g->hold_count < HOLDS_MAX &&
		    (needs_has(&g->needs, line->lender) || g->needs.count < g->cells_max ||
			    s->cfg.plant == PLANT_LIMIT_IGNORED);

	if (!fits) {
		loans_return(c->loans, s->now_ns, line->id, 0);
		return;
	}
	if (s->cfg.plant != PLANT_NEEDS_NOT_UPDATED)
		needs_add(&g->needs, line->lender, line->lender_born);
	telling_changed(s, cell);
	if (sim_hit(s, SITE_ACTION_CRASH)) {
		monitor_kill(s, cell, "crash between a need and its loan");
		return;
	}
	s->result->loans++;
	sim_trace(s, "guest %u of cell %u gets %u units of cell %u", line->guest, cell,
		(unsigned)line->units, line->lender);
	g->holds[g->hold_count++] = (struct hold){ .line = *line, .busy = true };
	later(s, cell, EV_USE, line->id, 0);
}

static void begin_return(struct sim *s, uint16_t cell, struct hold *h, uint64_t keep)
{
	if (h->busy || keep >= h->line.units)
		return;
	h->busy = true;
	if (s->cfg.plant == PLANT_RETURN_BEFORE_MOVE)
		loans_return(s->cells[cell].loans, s->now_ns, h->line.id, keep);
	later(s, cell, EV_UNUSE, h->line.id, keep);
}

static void recalled(struct sim *s, uint16_t cell, const struct loan *line, uint64_t units)
{
	struct guest *g;
	struct hold *h = hold_of(s, cell, line->id, &g);

	if (h && sim_draw(s, 4))
		begin_return(s, cell, h, h->line.units > units ? h->line.units - units : 0);
}

/* A new monitor that believes that it shares no line with anybody. */
static void believe_none(struct sim *s, uint16_t cell, const struct loans_action *a)
{
	struct loan_msg none = { .op = LOAN_OP_TOLD, .serial = a->msg.serial, .answer = 1 }, reply;

	none.line.lender = a->cell;
	none.line.lender_born = a->msg.line.borrower_born;
	none.line.borrower = cell;
	none.line.borrower_born = a->msg.line.lender_born;
	(void)loans_recv(s->cells[cell].loans, s->now_ns, a->cell, &none, &reply);
}

static void send(struct sim *s, uint16_t cell, uint16_t to, const struct loan_msg *msg)
{
	uint8_t body[LOAN_MSG_BYTES];

	loan_encode(msg, body);
	net_send(s, cell, to, (uint16_t)(SIM_OP_LOAN + msg->op), body, sizeof(body));
}

static void perform(struct sim *s, uint16_t cell, const struct loans_action *a)
{
	switch (a->kind) {
	case LOANS_SEND:
		send(s, cell, a->cell, &a->msg);
		if (a->msg.op == LOAN_OP_TELL && s->cfg.plant == PLANT_CLAIM_NOT_COMPARED)
			believe_none(s, cell, a);
		return;
	case LOANS_GRANTED:
		granted(s, cell, &a->line);
		break;
	case LOANS_REFUSED:
		if (a->line.lender + REACH >= cell)
			s->cells[cell].refused |= (uint16_t)(1u << (a->line.lender + REACH - cell));
		break;
	case LOANS_RECALLED:
		recalled(s, cell, &a->line, a->units);
		break;
	case LOANS_STRUCK:
		sim_trace(s, "cell %u: loan of cell %u to cell %u is struck", cell, a->line.lender,
			a->line.borrower);
		break;
	}
	s->books_changed = true;
	if (sim_hit(s, SITE_ACTION_CRASH))
		monitor_kill(s, cell, "crash while it lends");
}

void lending_drain(struct sim *s, uint16_t cell)
{
	struct cell *c = &s->cells[cell];
	struct loans_action a;
	const char *wrong;
	uint64_t due_ns;

	while (!s->result->violated && monitor_acts(s, cell) && loans_next(c->loans, &a))
		perform(s, cell, &a);
	if (s->result->violated || !monitor_acts(s, cell))
		return;
	wrong = loans_check(c->loans);
	if (wrong)
		sim_violate(s, "conservation: the loan book of cell %u has %s", cell, wrong);
	due_ns = loans_due(c->loans);
	if (due_ns >= c->loans_ns)
		return;
	c->loans_ns = due_ns > s->now_ns ? due_ns : s->now_ns + 1;
	sim_push(s, &(struct event){ .what = EV_LOANS, .cell = cell, .cell_life = c->life },
		c->loans_ns - s->now_ns);
}

/* A lender that says that it has struck a line, and has not. */
static bool keeps_line(const struct sim *s, const struct loan_msg *msg, struct loan_msg *reply)
{
	if (s->cfg.plant != PLANT_RETURN_NOT_BOOKED || msg->op != LOAN_OP_RETURN)
		return false;
	*reply = *msg;
	reply->op = LOAN_OP_RETURNED;
	return true;
}

void lending_message(
	struct sim *s, uint16_t cell, uint16_t from, uint16_t op, const void *body, size_t bytes)
{
	struct cell *c = &s->cells[cell];
	struct loan_msg msg, reply;
	enum loans_recv how;

	if (!loan_decode(op, body, bytes, &msg)) {
		sim_violate(s, "cell %u can't read a loan message %u of an honest cell %u", cell,
			op, from);
		return;
	}
	how = keeps_line(s, &msg, &reply) ? LOANS_RECV_REPLY
					  : loans_recv(c->loans, s->now_ns, from, &msg, &reply);
	if (how == LOANS_RECV_BAD)
		sim_violate(s, "cell %u judged loan message %u of an honest cell %u bad", cell, op,
			from);
	if (how == LOANS_RECV_LATE)
		return;
	if (how == LOANS_RECV_REPLY)
		send(s, cell, from, &reply);
	s->books_changed |= op != LOAN_OP_TELL && op != LOAN_OP_TOLD;
	lending_drain(s, cell);
}

static void moved_out(struct sim *s, uint16_t cell, uint64_t id, uint64_t keep)
{
	struct guest *g;
	struct hold *h = hold_of(s, cell, id, &g);
	uint16_t lender;

	if (!h)
		return;
	lender = h->line.lender;
	h->busy = false;
	h->line.units = keep;
	h->used = h->used < keep ? h->used : keep;
	if (keep == 0)
		*h = g->holds[--g->hold_count];
	visiting_needs(s, g);
	if (s->cfg.plant == PLANT_NEED_STRUCK_EARLY)
		needs_remove(&g->needs, lender);
	s->books_changed = true;
	if (sim_hit(s, SITE_ACTION_CRASH)) {
		monitor_kill(s, cell, "crash before a return");
		return;
	}
	loans_return(s->cells[cell].loans, s->now_ns, id, keep);
	lending_drain(s, cell);
}

static void moved_in(struct sim *s, uint16_t cell, uint64_t id)
{
	struct guest *g;
	struct hold *h = hold_of(s, cell, id, &g);
	const struct cell *lender;

	if (!h)
		return;
	if (s->cfg.plant != PLANT_USE_BEFORE_TOLD && !telling_peers(s, cell)) {
		later(s, cell, EV_USE, id, 0);
		return;
	}
	telling_use_begins(s, g, h->line.lender);
	lender = &s->cells[h->line.lender];
	h->busy = false;
	h->used = h->line.units;
	s->books_changed = true;
	if (lender->nodes_dead >> h->line.os_node % s->cfg.nodes & 1 && !lender->dead &&
		lender->boot == h->line.lender_born)
		guest_die(s, (uint32_t)(g - s->guests), "it touched memory that is lost");
}

void lending_event(struct sim *s, const struct event *e)
{
	struct cell *c = &s->cells[e->cell];

	switch (e->what) {
	case EV_CLAIMED:
		loans_claimed(c->loans, s->now_ns);
		break;
	case EV_LOANS:
		if (e->due_ns != c->loans_ns)
			return;
		c->loans_ns = UINT64_MAX;
		loans_tick(c->loans, s->now_ns);
		break;
	case EV_USE:
		moved_in(s, e->cell, e->loan.id);
		return;
	default: /* EV_UNUSE */
		moved_out(s, e->cell, e->loan.id, e->loan.keep);
		return;
	}
	lending_drain(s, e->cell);
}

uint16_t lending_pick(const struct sim *s, const struct guest *g, uint64_t units)
{
	const struct cell *c = &s->cells[g->home];
	struct lender_view views[WINDOW] = { 0 };
	uint32_t best;

	for (uint32_t i = 0; i < WINDOW; i++) {
		uint32_t p = g->home + i - REACH; /* below 0 it is above all */
		const struct told *told = &c->told[i];

		if (p >= s->cfg.cells || i == REACH)
			continue;
		views[i].live = told->born && member_holds(c->m, (uint16_t)p, told->born);
		views[i].refused = c->refused >> i & 1;
		views[i].needed = needs_has(&g->needs, (uint16_t)p);
		views[i].distance = (uint8_t)(10 + 10 * (i < REACH ? REACH - i : i - REACH));
		views[i].free_units = told->free_units;
	}
	best = loans_pick_lender(
		views, WINDOW, g->needs.count < g->cells_max, units, LEND_ABOVE_UNITS);
	return best == CELL_NONE ? CELLSET_NONE : (uint16_t)(g->home + best - REACH);
}

bool lending_borrow(struct sim *s, uint32_t guest, uint64_t units)
{
	struct guest *g = &s->guests[guest];
	struct cell *c = &s->cells[g->home];
	uint16_t lender;
	uint32_t node = NODE_NONE;

	if (!monitor_serves(s, g->home) || !guest_managed(s, g, g->home))
		return false;
	lender = lending_pick(s, g, units);
	if (lender == CELLSET_NONE)
		return false;
	if (s->cfg.nodes > 1 && sim_draw(s, 2))
		node = lender * (uint32_t)s->cfg.nodes + (uint32_t)sim_draw(s, s->cfg.nodes);
	if (!loans_ask(c->loans, s->now_ns, g->number, lender, node, units))
		return false;
	lending_drain(s, g->home);
	return true;
}

void lending_return_some(struct sim *s, uint16_t cell, uint64_t units)
{
	const struct loan *line;
	struct guest *g;
	struct hold *h;
	uint64_t keep;

	line = loans_pick_return(
		s->cells[cell].loans, s->far + s->cfg.cells - cell, units, NULL, NULL, &keep);
	h = line ? hold_of(s, cell, line->id, &g) : NULL;
	if (!h)
		return;
	begin_return(s, cell, h, keep);
	lending_drain(s, cell);
}

static bool is_recalled(void *ctx, const struct loan *line)
{
	const struct cell *c = ctx;

	return line->id == c->recalled;
}

void lending_recall(struct sim *s, uint16_t cell, uint16_t node, uint64_t units)
{
	struct cell *c = &s->cells[cell];
	const struct loan *line = loans_pick_recall(c->loans, s->far + s->cfg.cells - cell,
		(uint32_t)cell * s->cfg.nodes + node, is_recalled, c);

	if (!line)
		return;
	c->recalled = line->id;
	loans_recall(c->loans, s->now_ns, line->borrower, line->id, units);
	lending_drain(s, cell);
}

void lending_guest_gone(struct sim *s, uint32_t guest)
{
	uint16_t cell = s->guests[guest].home;
	struct cell *c = &s->cells[cell];
	const struct loan *line;

	for (uint32_t at = 0; (line = loans_line(c->loans, &at));)
		if (line->state == LOAN_HELD && line->borrower == cell &&
			line->guest == s->guests[guest].number)
			loans_return(c->loans, s->now_ns, line->id, 0);
	lending_offer(s, cell);
	lending_drain(s, cell);
}
