/* SPDX-License-Identifier: BSD-2-Clause */

/* The six promises of docs/architecture.md, checked against what really is so. */

#include "numa/check.h"
#include "faultcontain/member_impl.h"
#include "sim/cells/machine.h"

/* Promise 1: one epoch, one table. And nobody is dead in it who has not failed. */
void check_view(struct sim *s, uint16_t cell, const struct member_action *a)
{
	struct cell *c = &s->cells[cell];
	uint64_t hash = 0;
	size_t i = s->agreed_count;

	for (uint16_t k = 0; k < s->cfg.cells; k++) {
		uint64_t word = c->m->view[k];

		hash = (hash ^ word) * UINT64_C(0x9fb21c651e98df25);
		hash ^= hash >> 32;
		s->cells[k].admitted |= word_live(word) && word_born(word) == s->cells[k].boot;
		if (word_dead(word) && word_born(word) > s->cells[k].failed_boot)
			sim_violate(s,
				"containment: cell %u counts cell %u as dead, which it is not",
				cell, k);
	}
	if (a->epoch <= c->epoch)
		sim_violate(s, "agreement: cell %u goes back to an earlier view", cell);
	c->epoch = a->epoch;
	while (i && s->agreed[i - 1].epoch != a->epoch)
		i--;
	if (i) {
		if (s->agreed[i - 1].hash != hash)
			sim_violate(
				s, "agreement: cell %u has another view of the same epoch", cell);
		return;
	}
	CHECK(sim_room(
		(void **)&s->agreed, &s->agreed_room, s->agreed_count + 1, sizeof(*s->agreed)));
	s->agreed[s->agreed_count++] = (struct agreed){ .epoch = a->epoch, .hash = hash };
	s->result->views++;
	sim_trace(s, "view %u of cell %u agreed: %u cells live", ballot_count(a->epoch),
		ballot_cell(a->epoch), cellset_count(&a->cells));
}

/* Promise 3: once anyone goes on, no guest runs that has lost what it needs. */
void check_resumed(struct sim *s, uint16_t cell)
{
	const uint64_t *view = s->cells[cell].m->view;

	for (uint32_t i = 0; i < s->guest_room; i++) {
		const struct guest *g = &s->guests[i];
		struct need truth[TRUTH_MAX];
		uint16_t count = g->running ? guest_truth(s, g, truth) : 0;

		for (uint16_t k = 0; k < count; k++) {
			uint64_t word = view[truth[k].cell];

			if (word_dead(word) ? word_born(word) >= truth[k].born
					    : word_born(word) > truth[k].born)
				sim_violate(s,
					"poison: guest %u of cell %u runs on without cell %u after "
					"the recovery",
					i, g->home, truth[k].cell);
		}
	}
}

/* What monitors have begun and not finished with memory and CPUs; or NULL. */
static const char *unsettled_owners(struct sim *s)
{
	for (uint16_t c = 0; c < s->cfg.cells; c++) {
		const struct cell *cell = &s->cells[c];

		if (!monitor_acts(s, c))
			continue;
		if (!lending_known(s, c) || loans_due(cell->loans) != UINT64_MAX)
			return "loan books are not equal yet";
		if (!visiting_settled(s, c))
			return "home and host have not agreed on a visit";
		if (!telling_settled(s, c))
			return "a cell has not heard what another's guests need";
	}
	for (uint32_t i = 0; i < s->guest_room; i++) {
		const struct guest *g = &s->guests[i];

		for (uint16_t k = 0; k < g->hold_count && g->running; k++)
			if (g->holds[k].busy)
				return "pages are still being moved";
		for (uint16_t v = 0; v < g->vcpu_count && g->running; v++)
			if (!balancing_executes(s, g, &g->vcpus[v]))
				return "a vCPU is on a CPU that executes nothing";
		if (g->running && check_gang_shares(s, g))
			return "two vCPUs of a gang share a CPU";
	}
	return NULL;
}

const char *check_unsettled(struct sim *s)
{
	static const char *const why[] = { "a dead cell is not fenced",
		"a cell has no working monitor", "a cell is suspended",
		"the cells have different views", "a cell is wrong about another" };
	uint64_t epoch = 0;

	for (uint16_t c = 0; c < s->cfg.cells; c++) {
		struct cell *cell = &s->cells[c];
		struct cellset live;

		/* One that was declared dead while it hung stays out until it is repaired. */
		if (cell->out && cell->running && cell->admitted && !monitor_acts(s, c))
			return why[0];
		if (cell->out && !monitor_acts(s, c))
			continue;
		if (!monitor_acts(s, c))
			return why[1];
		if (member_suspended(cell->m))
			return why[2];
		if (epoch && member_epoch(cell->m) != epoch)
			return why[3];
		epoch = member_epoch(cell->m);
		member_live(cell->m, &live);
		for (uint16_t k = 0; k < s->cfg.cells; k++)
			if (cellset_has(&live, k) != monitor_acts(s, k))
				return why[4];
	}
	return unsettled_owners(s);
}

/* Promises 2 and 3 at rest: every guest has a monitor, and all that it needs. */
void check_guests_settled(struct sim *s)
{
	for (uint32_t i = 0; i < s->guest_room && !s->result->violated; i++) {
		const struct guest *g = &s->guests[i];
		struct need truth[TRUTH_MAX];
		uint16_t count;

		if (!g->running)
			continue;
		if (!g->in_book || !monitor_acts(s, g->home) ||
			s->cells[g->home].boot != g->home_born)
			sim_violate(s, "conservation: guest %u of cell %u runs in nobody's book", i,
				g->home);
		count = guest_truth(s, g, truth);
		for (uint16_t k = 0; k < count; k++)
			if (truth[k].born <= s->cells[truth[k].cell].failed_boot &&
				!monitor_acts(s, truth[k].cell))
				sim_violate(s,
					"poison: guest %u of cell %u runs on without cell %u", i,
					g->home, truth[k].cell);
	}
}

void check_dump(const struct sim *s)
{
	static const char *const leads[] = { "", " proposes", " has committed" };
	static const char *const steps[] = { "fences", "ends guests", "is ready", "has resumed" };

	for (uint32_t i = 0; s->cfg.trace && i < s->guest_room; i++) {
		const struct guest *g = &s->guests[i];

		for (uint16_t v = 0; v < g->vcpu_count && g->running; v++)
			sim_trace(s, "guest %u of cell %u%s: vCPU %u on CPU %u%s%s", g->number,
				g->home, g->gang ? " (gang)" : "", v, g->vcpus[v].cpu,
				g->vcpus[v].runnable ? "" : ", idle",
				balancing_executes(s, g, &g->vcpus[v]) ? "" : ", which is gone");
	}
	for (uint16_t c = 0; s->cfg.trace && c < s->cfg.cells; c++) {
		const struct cell *cell = &s->cells[c];
		const struct membership *m = cell->m;
		const struct loan *line;

		sim_trace(s, "cell %u:%s%s%s%s life %u of %u claimed, boot %u, failed %u", c,
			cell->dead ? " dead" : "", cell->hung ? " hung" : "",
			cell->running ? " running" : "", cell->stopped ? " stopped" : "",
			cell->life, cell->claimed, cell->boot, cell->failed_boot);
		if (!m)
			continue;
		sim_trace(s, "   loan book: %s, %s",
			lending_known(s, c) ? "known" : "not known yet",
			loans_due(cell->loans) == UINT64_MAX ? "quiet" : "has something to say");
		for (uint32_t k = 0; s->wide && k < s->visits[c].end; k++)
			sim_trace(s, "   visit of vCPU %u of %s to cell %u: state %u",
				s->visits[c].rows[k].vcpu, s->visits[c].rows[k].name,
				s->visits[c].rows[k].host, s->visits[c].rows[k].state);
		for (uint32_t k = 0; s->wide && k < s->visitors[c].count; k++)
			sim_trace(s, "   visitor: vCPU %u of %s of cell %u",
				s->visitors[c].rows[k].vcpu, s->visitors[c].rows[k].name,
				s->visitors[c].rows[k].home);
		for (uint16_t k = 0; k < s->cfg.cells && !lending_known(s, c); k++)
			if (k != c && !loans_agreed(cell->loans, k))
				sim_trace(s, "   not compared with cell %u", k);
		for (uint32_t at = 0; (line = loans_line(cell->loans, &at));)
			sim_trace(s,
				"   loan %llx of cell %u to guest %u of cell %u, %u units, state "
				"%u",
				(unsigned long long)line->id, line->lender, line->guest,
				line->borrower, (unsigned)line->units, line->state);
		sim_trace(s, "   view %u of %u, seen %u of %u,%s %s, waits for %u",
			ballot_count(m->epoch), ballot_cell(m->epoch), ballot_count(m->promised),
			ballot_cell(m->promised), leads[m->lead], steps[m->step],
			cellset_count(&m->waiting));
		for (uint16_t k = 0; k < s->cfg.cells && k < 64; k++)
			sim_trace(s, "   cell %u: born %u life %u%s%s, watch %u flags %#x", k,
				word_born(m->known[k]), word_life(m->known[k]),
				word_dead(m->known[k]) ? " dead" : "",
				m->known[k] == m->view[k] ? "" : " (not agreed)", m->peers[k].watch,
				m->peers[k].flags);
	}
}
