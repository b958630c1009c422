/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Guests: processes with memory and vCPUs that outlive their monitor. What
 * monitors believe of them is kept apart from what is so, so that the two can be
 * compared.
 */

#include <string.h>

#include "faultcontain/member_impl.h"
#include "sim/cells/machine.h"

static bool home_is(const struct guest *g, uint16_t cell)
{
	return g->used && g->home == cell;
}

bool guest_managed(const struct sim *s, const struct guest *g, uint16_t cell)
{
	return home_is(g, cell) && g->running && g->in_book && g->home_born == s->cells[cell].boot;
}

uint32_t guests_units(const struct sim *s, uint16_t cell, uint16_t node)
{
	const struct guest *g = &s->guests[(size_t)cell * s->cfg.guests];
	uint32_t units = 0;

	for (uint32_t i = 0; i < s->cfg.guests; i++)
		if (g[i].in_book && g[i].node == node && g[i].home_born == s->cells[cell].boot)
			units += GUEST_UNITS;
	return units;
}

uint16_t guest_truth(const struct sim *s, const struct guest *g, struct need truth[TRUTH_MAX])
{
	uint16_t count = 0;

	truth[count++] = (struct need){ .cell = g->home, .born = g->home_born };
	for (uint16_t i = 0; i < g->hold_count; i++)
		truth[count++] = (struct need){ .cell = g->holds[i].line.lender,
			.born = g->holds[i].line.lender_born };
	for (uint16_t i = 0; i < g->vcpu_count; i++)
		truth[count++] = (struct need){ .cell = cell_of_cpu(s, g->vcpus[i].cpu),
			.born = g->vcpus[i].born };
	return count;
}

/* The home monitor forgets a guest whose process is gone. */
static void forget(struct sim *s, uint32_t guest)
{
	struct guest *g = &s->guests[guest];

	g->in_book = false;
	g->hold_count = 0;
	visiting_guest_gone(s, g);
	telling_changed(s, g->home);
	lending_guest_gone(s, guest);
}

/* Its process is gone, and with it every use of memory and CPUs. */
static void stop(struct sim *s, uint32_t guest, const char *why)
{
	struct guest *g = &s->guests[guest];

	sim_trace(s, "guest %u of cell %u ends: %s", guest, g->home, why);
	g->running = false;
	if (monitor_acts(s, g->home) && s->cells[g->home].boot == g->home_born)
		forget(s, guest);
	s->books_changed = true;
}

void guest_die(struct sim *s, uint32_t guest, const char *why)
{
	stop(s, guest, why);
}

void guest_end(struct sim *s, uint32_t guest, const char *why)
{
	const struct guest *g = &s->guests[guest];
	struct need truth[TRUTH_MAX];
	uint16_t count = guest_truth(s, g, truth);
	bool justified = false;

	for (uint16_t i = 0; i < count; i++)
		justified |= truth[i].born <= s->cells[truth[i].cell].failed_boot;
	if (!justified)
		sim_violate(s,
			"containment: guest %u of cell %u needs no failed cell and was ended: %s",
			guest, g->home, why);
	s->result->guests_hurt++;
	stop(s, guest, why);
}

void guests_of_boot_end(struct sim *s, uint16_t cell, uint32_t boot, const char *why)
{
	for (uint32_t i = 0; i < s->guest_room; i++) {
		const struct guest *g = &s->guests[i];

		if (home_is(g, cell) && g->running && g->home_born <= boot)
			guest_end(s, i, why);
	}
}

/* Does it use memory that this node has lent? */
static bool uses_node(const struct sim *s, const struct guest *g, uint16_t cell, uint16_t node)
{
	for (uint16_t i = 0; i < g->hold_count; i++)
		if (g->holds[i].used && g->holds[i].line.lender_born == s->cells[cell].boot &&
			g->holds[i].line.os_node == (uint32_t)cell * s->cfg.nodes + node)
			return true;
	return false;
}

/* Whatever has memory on this node can't go on. */
void guests_node_dead(struct sim *s, uint16_t cell, uint16_t node)
{
	const struct cell *c = &s->cells[cell];

	if (c->dead)
		return; /* nothing there executes, and the others find out by the recovery */
	for (uint32_t i = 0; i < s->guest_room; i++) {
		const struct guest *g = &s->guests[i];

		if (g->used && g->running && !s->cells[g->home].dead &&
			((g->home == cell && g->node == node) || uses_node(s, g, cell, node)))
			guest_die(s, i, "its memory is lost");
	}
	if (monitor_acts(s, cell))
		lending_offer(s, cell);
}

/* By its recorded needs. */
static bool hurt(const struct sim *s, const struct guest *g, const struct cellset *dead)
{
	struct needs memory = { 0 };

	if (s->cfg.plant != PLANT_VISIT_KEPT)
		return needs_hurt(&g->needs, dead);
	needs_add(&memory, g->home, g->home_born);
	for (uint16_t i = 0; i < g->hold_count; i++)
		needs_add(&memory, g->holds[i].line.lender, g->holds[i].line.lender_born);
	return needs_hurt(&memory, dead);
}

void guests_end_needing(struct sim *s, uint16_t cell, const struct cellset *dead)
{
	if (s->cfg.plant == PLANT_GUESTS_NOT_ENDED)
		return;
	for (uint32_t i = 0; i < s->guest_room; i++)
		if (guest_managed(s, &s->guests[i], cell) && hurt(s, &s->guests[i], dead))
			guest_end(s, i, "it needs a cell that died");
}

void guests_sweep(struct sim *s, uint16_t cell)
{
	for (uint32_t i = 0; i < s->guest_room; i++)
		if (home_is(&s->guests[i], cell) && s->guests[i].in_book && !s->guests[i].running &&
			s->guests[i].home_born == s->cells[cell].boot)
			forget(s, i);
	s->books_changed = true;
}

/* What a guest says when it registers, and the kernel of its affinities, make up its needs. */
static void adopt(struct sim *s, struct guest *g)
{
	struct need truth[TRUTH_MAX];
	uint16_t count = guest_truth(s, g, truth);

	if (s->cfg.plant == PLANT_AFFINITY_NOT_READ)
		count = (uint16_t)(count - g->vcpu_count); /* they come last */
	g->needs.count = 0;
	for (uint16_t i = 0; i < count; i++)
		needs_add(&g->needs, truth[i].cell, truth[i].born);
}

void guests_adopt(struct sim *s, uint16_t cell)
{
	const struct cell *c = &s->cells[cell];
	bool overlook = s->cfg.plant == PLANT_ADOPTION_FORGETS;

	for (uint32_t i = 0; i < s->guest_room; i++) {
		struct guest *g = &s->guests[i];

		if (!home_is(g, cell))
			continue;
		g->in_book = g->running && g->home_born == c->boot && !overlook;
		overlook &= !g->running;
		if (g->in_book)
			adopt(s, g);
		else if (!g->running)
			g->hold_count = 0;
	}
	s->books_changed = true;
}

void guests_check_adopted(struct sim *s, uint16_t cell)
{
	const struct membership *m = s->cells[cell].m;

	if (s->cfg.plant == PLANT_ADOPTION_UNCHECKED)
		return;
	for (uint32_t i = 0; i < s->guest_room; i++) {
		struct guest *g = &s->guests[i];
		bool holds = true;

		if (!guest_managed(s, g, cell))
			continue;
		for (uint16_t k = 0; k < g->needs.count; k++)
			holds &= member_holds(m, g->needs.list[k].cell, g->needs.list[k].born);
		if (!holds)
			guest_end(s, i, "what it needs is gone, says the first view");
	}
}

/* A node for its memory, or cfg.nodes. */
static uint16_t node_for(struct sim *s, uint16_t cell)
{
	uint16_t first = (uint16_t)sim_draw(s, s->cfg.nodes);

	for (uint16_t i = 0; i < s->cfg.nodes; i++) {
		uint16_t node = (uint16_t)((first + i) % s->cfg.nodes);

		if (lending_free(s, cell, node) >= GUEST_UNITS)
			return node;
	}
	return s->cfg.nodes;
}

/* Returns the guest's index, or guest_room. */
static uint32_t start(struct sim *s, uint16_t cell)
{
	struct cell *c = &s->cells[cell];
	uint32_t first = (uint32_t)cell * s->cfg.guests, i = first;
	uint16_t node;
	struct guest *g;

	if (!monitor_serves(s, cell) || !lending_known(s, cell))
		return s->guest_room;
	while (i < first + s->cfg.guests && (s->guests[i].running || s->guests[i].in_book))
		i++;
	if (i == first + s->cfg.guests)
		return s->guest_room;
	node = node_for(s, cell);
	if (node == s->cfg.nodes) {
		lending_recall(s, cell, (uint16_t)sim_draw(s, s->cfg.nodes), GUEST_UNITS);
		return s->guest_room;
	}
	g = &s->guests[i];
	*g = (struct guest){ .used = true,
		.running = true,
		.in_book = true,
		.home = cell,
		.home_born = c->boot,
		.node = node,
		.number = s->guest_number++,
		.cells_max = (uint16_t)(1 + sim_draw(s, 4)),
		.vcpu_count = (uint16_t)(1 + sim_draw(s, VCPUS_MAX)),
		.gang = sim_draw(s, 4) == 0 };
	needs_add(&g->needs, cell, c->boot);
	if (!balancing_place(s, i)) {
		*g = (struct guest){ 0 };
		return s->guest_room;
	}
	lending_offer(s, cell);
	telling_changed(s, cell);
	s->result->guests_started++;
	sim_trace(s, "guest %u starts in cell %u: %u vCPUs%s, needs %u cells at most", i, cell,
		g->vcpu_count, g->gang ? " (gang)" : "", g->cells_max);
	s->books_changed = true;
	return i;
}

static void run_or_wait(struct sim *s, struct guest *g)
{
	struct vcpu *v = &g->vcpus[sim_draw(s, g->vcpu_count)];

	v->runnable = !v->runnable;
	v->idle_since_ns = s->now_ns;
}

void guests_event(struct sim *s, const struct event *e)
{
	uint16_t cell = (uint16_t)sim_draw(s, s->cfg.cells);
	uint32_t guest = s->cfg.guests ? (uint32_t)cell * s->cfg.guests +
						 (uint32_t)sim_draw(s, s->cfg.guests)
				       : s->guest_room;
	uint64_t kind = sim_draw(s, 12);
	struct guest *g = &s->guests[guest];

	(void)e;
	if (guest == s->guest_room)
		return;
	if (!g->running || kind > 9) {
		if (kind > 4)
			(void)start(s, cell);
	} else if (kind == 0 && monitor_acts(s, cell)) {
		guest_die(s, guest, "powered off");
	} else if (kind == 1 && s->rate[SITE_GUEST_CRASH] && s->faults) {
		guest_die(s, guest, "crash");
	} else if (kind == 2 && monitor_serves(s, cell)) {
		lending_return_some(s, cell, 1 + sim_draw(s, BORROW_UNITS_MAX));
	} else if (kind < 6) {
		(void)lending_borrow(s, guest, 1 + sim_draw(s, BORROW_UNITS_MAX));
	} else {
		run_or_wait(s, g);
	}
	if (s->busy)
		sim_push(s, &(struct event){ .what = EV_GUEST }, sim_draw(s, 80 * MS));
}

uint32_t guests_serve(struct sim *s, uint16_t cell)
{
	uint32_t first = (uint32_t)cell * s->cfg.guests, guest = s->guest_room;

	for (uint32_t i = 0; i < s->cfg.guests && guest == s->guest_room; i++) {
		guest = start(s, cell);
		if (guest == s->guest_room && monitor_serves(s, cell) &&
			s->guests[first + i].running)
			guest_die(s, first + i, "powered off");
	}
	/* A gang may find too few CPUs; another guest then does not. */
	for (int i = 0; i < 16 && guest == s->guest_room; i++)
		guest = start(s, cell);
	if (guest != s->guest_room && s->guests[guest].cells_max < 2)
		s->guests[guest].cells_max = 2;
	return guest;
}
