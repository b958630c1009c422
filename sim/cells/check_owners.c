/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Promise 4, and what needs have to say: who owns which memory and runs on which
 * CPU, compared with what the books of the monitors say.
 */

#include <string.h>

#include "faultcontain/member_impl.h"
#include "sim/cells/machine.h"

static const struct loan *find(const struct sim *s, uint16_t cell, const struct loan *like)
{
	const struct loan *line;

	for (uint32_t at = 0; (line = loans_line(s->cells[cell].loans, &at));)
		if (line->id == like->id && line->borrower == like->borrower)
			return line;
	return NULL;
}

static uint32_t born_of(const struct needs *needs, uint16_t cell)
{
	for (uint16_t i = 0; i < needs->count; i++)
		if (needs->list[i].cell == cell)
			return needs->list[i].born;
	return 0;
}

/* What it really needs must be recorded, and no more than it may; settled: exactly that. */
static void check_needs(struct sim *s, uint32_t guest, bool settled)
{
	const struct guest *g = &s->guests[guest];
	struct need truth[TRUTH_MAX];
	uint16_t count = guest_truth(s, g, truth), cells = 0;

	for (uint16_t i = 0; i < count; i++) {
		bool again = false;

		for (uint16_t k = 0; k < i; k++)
			again |= truth[k].cell == truth[i].cell;
		cells = (uint16_t)(cells + !again);
		if (born_of(&g->needs, truth[i].cell) < truth[i].born)
			sim_violate(s,
				"needs: guest %u of cell %u uses cell %u, and that is not recorded",
				guest, g->home, truth[i].cell);
	}
	if (g->needs.count > g->cells_max)
		sim_violate(s, "needs: guest %u of cell %u needs %u cells, and may need %u", guest,
			g->home, g->needs.count, g->cells_max);
	if (settled && cells != g->needs.count)
		sim_violate(s, "needs: guest %u of cell %u needs %u cells, recorded are %u", guest,
			g->home, cells, g->needs.count);
}

bool check_gang_shares(const struct sim *s, const struct guest *g)
{
	uint32_t usable = 0;
	bool shares = false;

	for (uint16_t v = 0; v < g->vcpu_count; v++)
		for (uint16_t k = 0; k < v && g->gang; k++)
			shares |= g->vcpus[k].cpu == g->vcpus[v].cpu;
	if (!shares)
		return false;
	for (uint32_t k = 0; k < cpus_per_cell(s); k++)
		usable += cpu_usable(s, g->home, k);
	return usable >= g->vcpu_count;
}

/* Unless CPUs went, when two may have to share one for a while. */
static void check_vcpus(struct sim *s, uint32_t guest)
{
	const struct guest *g = &s->guests[guest];

	if (!s->result->cpus_off && !s->result->node_deaths && check_gang_shares(s, g))
		sim_violate(s, "gang: two vCPUs of guest %u of cell %u on one CPU", guest, g->home);
}

/* What a guest uses is in the book of whoever lent it, as far as that book is known. */
static void check_holds(struct sim *s, uint32_t guest, bool settled)
{
	const struct guest *g = &s->guests[guest];

	for (uint16_t i = 0; i < g->hold_count; i++) {
		const struct hold *h = &g->holds[i];
		const struct cell *lender = &s->cells[h->line.lender];
		const struct loan *line;

		if (lender->boot == h->line.lender_born)
			s->node_used[h->line.os_node] += (uint32_t)h->used;
		if (!lender->running || lender->dead || lender->born != h->line.lender_born)
			continue;
		if (lender->life != lender->born && !loans_agreed(lender->loans, g->home))
			continue;
		line = find(s, h->line.lender, &h->line);
		if (!line || line->units < h->used)
			sim_violate(s,
				"conservation: guest %u of cell %u uses %u units of cell %u, whose "
				"book has %u",
				guest, g->home, (unsigned)h->used, h->line.lender,
				line ? (unsigned)line->units : 0);
		else if (settled && (line->units != h->used || h->line.units != h->used))
			sim_violate(s, "conservation: %u units of cell %u are lost",
				(unsigned)(line->units - h->used), h->line.lender);
	}
}

/* Every line is in both books, and a guest has it. */
static void check_lines(struct sim *s, uint16_t cell)
{
	const struct loan *line;

	for (uint32_t at = 0; (line = loans_line(s->cells[cell].loans, &at));) {
		uint16_t other = line->lender == cell ? line->borrower : line->lender;
		const struct loan *same = monitor_acts(s, other) ? find(s, other, line) : NULL;
		bool held = false;

		if (!same || same->units != line->units)
			sim_violate(s,
				"conservation: a loan of cell %u to cell %u is in one book only",
				line->lender, line->borrower);
		for (uint32_t i = 0; i < s->cfg.guests && line->borrower == cell; i++) {
			const struct guest *g = &s->guests[(size_t)cell * s->cfg.guests + i];

			for (uint16_t k = 0; k < g->hold_count && g->running; k++)
				held |= g->holds[k].line.id == line->id;
		}
		if (line->borrower == cell && !held)
			sim_violate(s, "conservation: no guest has what cell %u lent to cell %u",
				line->lender, cell);
	}
}

static void check_nodes(struct sim *s, uint16_t cell)
{
	const struct cell *c = &s->cells[cell];
	uint64_t booked[NODES_MAX] = { 0 };
	const struct loan *line;
	uint32_t first = (uint32_t)cell * s->cfg.nodes;

	for (uint32_t at = 0; c->running && !c->dead && (line = loans_line(c->loans, &at));)
		if (line->state == LOAN_LENT)
			booked[line->os_node - first] += line->units;
	for (uint32_t i = 0; i < s->cfg.guests; i++) {
		const struct guest *g = &s->guests[(size_t)cell * s->cfg.guests + i];

		if (g->in_book && g->home_born == c->boot)
			booked[g->node] += GUEST_UNITS;
	}
	for (uint16_t node = 0; node < s->cfg.nodes; node++) {
		if (s->node_used[first + node] > s->node_units)
			sim_violate(s, "conservation: %u units of node %u are used, and it has %u",
				s->node_used[first + node], first + node, s->node_units);
		if (c->running && !c->dead && booked[node] > s->node_units)
			sim_violate(s, "conservation: cell %u gives away %u units of node %u of %u",
				cell, (unsigned)booked[node], first + node, s->node_units);
	}
}

void check_books(struct sim *s, bool settled)
{
	if (s->result->violated)
		return;
	memset(s->node_used, 0, sizeof(*s->node_used) * s->cfg.cells * s->cfg.nodes);
	for (uint32_t i = 0; i < s->guest_room; i++) {
		const struct guest *g = &s->guests[i];
		const struct cell *home = &s->cells[g->home];

		if (!g->running)
			continue;
		if (g->home_born == home->boot)
			s->node_used[(uint32_t)g->home * s->cfg.nodes + g->node] += GUEST_UNITS;
		check_holds(s, i, settled);
		if (!home->running || home->dead || !guest_managed(s, g, g->home))
			continue;
		check_needs(s, i, settled);
		check_vcpus(s, i);
	}
	for (uint16_t c = 0; c < s->cfg.cells; c++) {
		check_nodes(s, c);
		if (settled && monitor_acts(s, c))
			check_lines(s, c);
	}
}
