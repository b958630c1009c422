/* SPDX-License-Identifier: BSD-2-Clause */
/* The loan book: what its owner tells it, and what it tells its owner. */
#include "numa/loans.h"

#include <string.h>

#include "numa/loans_impl.h"
#include "numa/machine.h"

#define EIGHT(bytes) (((bytes) + 7) & ~(size_t)7)

size_t loans_bytes(uint16_t cell_count, uint32_t line_max)
{
	return EIGHT(sizeof(struct loans)) + EIGHT(cell_count * sizeof(struct peer)) +
	       line_max * sizeof(struct line);
}

struct loans *loans_start(void *memory, const struct loans_cfg *cfg, uint64_t now_ns)
{
	uint8_t *at = memory;
	struct loans *l = memory;

	if (cfg->cell_count == 0 || cfg->cell_count > LOANS_CELLS_MAX ||
		cfg->self >= cfg->cell_count || cfg->line_max == 0 || cfg->peer_line_max == 0 ||
		cfg->retry_ns == 0 || cfg->born == 0 || cfg->incarnation < cfg->born)
		return NULL;
	memset(memory, 0, loans_bytes(cfg->cell_count, cfg->line_max));
	l->cfg = *cfg;
	l->now_ns = now_ns;
	l->peers = (struct peer *)(void *)(at + EIGHT(sizeof(*l)));
	l->lines = (struct line *)(void *)(at + EIGHT(sizeof(*l)) +
					   EIGHT(cfg->cell_count * sizeof(struct peer)));
	l->claimed = cfg->incarnation == cfg->born;
	return l;
}

/* Has another monitor of the same birth written lines that this book must learn of? */
static bool replaces(const struct loans *l)
{
	return l->cfg.incarnation > l->cfg.born;
}

struct line *loans_find(struct loans *l, uint16_t borrower, uint64_t id)
{
	for (uint32_t i = 0; i < l->cfg.line_max; i++) {
		struct line *line = &l->lines[i];

		if (line_counts(line) && line->loan.borrower == borrower && line->loan.id == id)
			return line;
	}
	return NULL;
}

struct line *loans_enter(struct loans *l, const struct loan *loan)
{
	struct line *found = NULL;
	uint32_t shared = 0;

	for (uint32_t i = 0; i < l->cfg.line_max; i++) {
		struct line *line = &l->lines[i];

		if (line->loan.state == LOAN_FREE)
			found = found ? found : line;
		else if (other_side(l, &line->loan) == other_side(l, loan))
			shared++;
	}
	if (!found || shared >= l->cfg.peer_line_max)
		return NULL;
	*found = (struct line){ .loan = *loan };
	return found;
}

bool loans_settled(const struct loans *l)
{
	if (l->suspended || !l->claimed)
		return false;
	for (uint16_t c = 0; c < l->cfg.cell_count; c++) {
		const struct peer *p = &l->peers[c];

		if (c != l->cfg.self && replaces(l) && !(p->known && (p->agreed || !p->live)))
			return false;
	}
	return true;
}

void loans_say(struct loans *l, struct line *line)
{
	line->todo |= TODO_SEND;
	line->due_ns = l->now_ns;
}

bool loans_claim(struct loans *l, const struct loan *claim)
{
	struct loan line = *claim;

	if (l->claimed || line.borrower != l->cfg.self || line.borrower_born != l->cfg.born ||
		line.lender >= l->cfg.cell_count || line.lender == l->cfg.self ||
		line.id >> 32 < l->cfg.born || line.id >> 32 >= l->cfg.incarnation ||
		line.units == 0 || line.units > LOANS_UNITS_MAX ||
		loans_find(l, line.borrower, line.id))
		return false;
	line.state = LOAN_HELD;
	return loans_enter(l, &line) != NULL;
}

void loans_claimed(struct loans *l, uint64_t now_ns)
{
	l->now_ns = now_ns;
	if (l->claimed)
		return;
	l->claimed = true;
	for (uint16_t c = 0; c < l->cfg.cell_count; c++)
		l->peers[c].due_ns = now_ns;
}

bool loans_offer(struct loans *l, uint32_t os_node, uint64_t units)
{
	uint32_t i = 0;

	while (i < l->offer_count && l->offers[i].os_node != os_node)
		i++;
	if (i == LOANS_NODES_MAX)
		return false;
	if (i == l->offer_count)
		l->offer_count++;
	l->offers[i] = (struct offer){ .os_node = os_node, .units = units };
	return true;
}

/* Strikes the lines shared with this cell that are of another birth than `born`. */
static void strike(struct loans *l, uint16_t cell, uint32_t born)
{
	for (uint32_t i = 0; i < l->cfg.line_max; i++) {
		struct line *line = &l->lines[i];
		uint32_t line_born = line->loan.lender == cell ? line->loan.lender_born
							       : line->loan.borrower_born;

		if (!line_counts(line) || other_side(l, &line->loan) != cell || line_born == born)
			continue;
		/* What was never granted was never used, and of what was returned nobody waits to
		 * hear. */
		if (line->loan.state == LOAN_ASKED)
			line->todo = TODO_REFUSED;
		else if (line->loan.state == LOAN_RETURNING)
			line->todo &= TODO_REFUSED;
		else
			line->todo = TODO_STRUCK;
		line->loan.state = line->todo ? LOAN_OVER : LOAN_FREE;
	}
}

void loans_peer(struct loans *l, uint64_t now_ns, uint16_t cell, uint32_t incarnation,
	uint32_t born, bool live)
{
	struct peer *p;

	CHECK(cell < l->cfg.cell_count);
	l->now_ns = now_ns;
	p = &l->peers[cell];
	if (cell == l->cfg.self || (live && p->live && p->incarnation == incarnation))
		return;
	strike(l, cell, live ? born : 0);
	if (!live) {
		*p = (struct peer){ .known = true };
		return;
	}
	*p = (struct peer){
		.incarnation = incarnation,
		.born = born,
		.known = true,
		.live = true,
		/* Only who replaces another has to be told, and only once. */
		.agreed = !replaces(l) || p->agreed,
		.due_ns = now_ns,
		.serial = 1,
	};
	for (uint32_t i = 0; i < l->cfg.line_max; i++) {
		struct line *line = &l->lines[i];

		if (!line_counts(line) || other_side(l, &line->loan) != cell)
			continue;
		line->confirmed = 0;
		line->due_ns = now_ns; /* what its former life may not have heard */
	}
}

void loans_suspend(struct loans *l, uint64_t now_ns, bool suspended)
{
	l->now_ns = now_ns;
	l->suspended = suspended;
}

uint64_t loans_ask(struct loans *l, uint64_t now_ns, uint32_t guest, uint16_t lender,
	uint32_t os_node, uint64_t units)
{
	struct line *line;

	l->now_ns = now_ns;
	if (lender >= l->cfg.cell_count || !l->peers[lender].live || !loans_settled(l) ||
		units == 0 || units > LOANS_UNITS_MAX)
		return 0;
	line = loans_enter(l, &(struct loan){
				      .id = (uint64_t)l->cfg.incarnation << 32 | (l->last_id + 1),
				      .units = units,
				      .lender_born = l->peers[lender].born,
				      .borrower_born = l->cfg.born,
				      .guest = guest,
				      .os_node = os_node,
				      .lender = lender,
				      .borrower = l->cfg.self,
				      .state = LOAN_ASKED,
			      });
	if (!line)
		return 0;
	l->last_id++;
	line->give_up_ns = now_ns + l->cfg.patience_ns;
	loans_say(l, line);
	return line->loan.id;
}

void loans_return(struct loans *l, uint64_t now_ns, uint64_t id, uint64_t keep)
{
	struct line *line = loans_find(l, l->cfg.self, id);

	l->now_ns = now_ns;
	if (!line || line->loan.state != LOAN_HELD || keep >= line->loan.units)
		return;
	if (keep == 0) {
		line->loan.state = LOAN_RETURNING;
		line->todo = 0;
	} else {
		line->loan.units = keep;
	}
	loans_say(l, line);
}

void loans_recall(struct loans *l, uint64_t now_ns, uint16_t borrower, uint64_t id, uint64_t units)
{
	struct line *line = loans_find(l, borrower, id);

	l->now_ns = now_ns;
	if (!line || line->loan.state != LOAN_LENT || units == 0)
		return;
	line->wanted = units < line->loan.units ? units : line->loan.units;
	line->todo |= TODO_RECALL;
}

void loans_tick(struct loans *l, uint64_t now_ns)
{
	l->now_ns = now_ns;
	for (uint32_t i = 0; i < l->cfg.line_max; i++) {
		struct line *line = &l->lines[i];

		if (!line_counts(line) || line->loan.state != LOAN_ASKED ||
			line->give_up_ns > now_ns)
			continue;
		/* It may have been granted all the same: so it is given back. */
		line->loan.state = LOAN_RETURNING;
		line->todo = TODO_REFUSED;
		loans_say(l, line);
	}
}

uint64_t loans_due(const struct loans *l)
{
	uint64_t due = UINT64_MAX;

	for (uint32_t i = 0; i < l->cfg.line_max; i++) {
		const struct line *line = &l->lines[i];

		if (!line_counts(line) || !l->peers[other_side(l, &line->loan)].live)
			continue;
		if (line_speaks(l, line) && line->due_ns < due)
			due = line->due_ns;
		if (line->loan.state == LOAN_ASKED && line->give_up_ns < due)
			due = line->give_up_ns;
	}
	for (uint16_t c = 0; c < l->cfg.cell_count; c++) {
		const struct peer *p = &l->peers[c];

		if (l->claimed && p->live && !p->agreed && p->due_ns < due)
			due = p->due_ns;
	}
	return due;
}
