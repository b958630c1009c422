/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Where vCPUs run, as a simulated monitor carries it out: the real rounds of
 * balancing over what the cell counts and what others told it, and the visits
 * (visiting.c) that come of them. A machine of more nodes than numa/machine.h
 * describes is balanced within each cell only, as on real monitors.
 */

#include <stdio.h>
#include <string.h>

#include "faultcontain/member_impl.h"
#include "numa/balance_round.h"
#include "numa/check.h"
#include "sim/cells/machine.h"

#define MOVES_MAX 16u
#define STAY_TICKS 4u

/* What a round works on. */
struct table {
	struct round_input in;
	struct round_vcpu vcpus[256u * VCPUS_MAX];
	struct round_guest guests[256u + 1u];
	uint32_t guest[256u * VCPUS_MAX]; /* of each vCPU, by its index among all */
	uint32_t foreign;
};

static uint32_t layout_cpu(const struct sim *s, uint16_t cell, uint32_t cpu)
{
	return s->wide ? cpu : cpu - cpu_number(s, cell, 0);
}

static uint32_t layout_cell(const struct sim *s, uint16_t cell)
{
	return s->wide ? cell : 0;
}

static bool heard_of(const struct cell *c, uint16_t peer)
{
	return c->peer[peer].known && word_live(c->m->view[peer]);
}

bool balancing_executes(const struct sim *s, const struct guest *g, const struct vcpu *v)
{
	uint16_t cell = cell_of_cpu(s, v->cpu);
	uint32_t first = v->cpu - cpu_number(s, cell, 0), count = 1;

	if (!g->gang) {
		first -= first % CPUS_PER_NODE;
		count = CPUS_PER_NODE;
	}
	for (uint32_t k = 0; k < count; k++)
		if (cpu_usable(s, cell, first + k))
			return true;
	return false;
}

static void add_own(struct sim *s, uint16_t cell, struct table *t)
{
	const struct cell *c = &s->cells[cell];

	for (uint32_t k = 0; k < cpus_per_cell(s); k++) {
		uint32_t cpu = layout_cpu(s, cell, cpu_number(s, cell, k));

		if (cpu_usable(s, cell, k) || s->cfg.plant == PLANT_CPU_OFF_IGNORED)
			cpu_set_add(&t->in.usable, cpu);
		s->foreign[cpu] = (uint16_t)visiting_on(s, cell, cpu);
		s->idle_ns[cpu] = s->now_ns - c->cpu_busy_ns[k];
	}
}

static void add_others(struct sim *s, uint16_t cell, struct table *t)
{
	const struct cell *c = &s->cells[cell];

	for (uint16_t p = 0; s->wide && p < s->cfg.cells; p++) {
		if (p == cell || !heard_of(c, p))
			continue;
		for (uint32_t k = 0; k < cpus_per_cell(s); k++) {
			uint32_t cpu = cpu_number(s, p, k);

			if (c->peer[p].cpus[k].usable || s->cfg.plant == PLANT_CPU_OFF_IGNORED)
				cpu_set_add(&t->in.usable, cpu);
			s->foreign[cpu] = c->peer[p].cpus[k].runnable;
		}
	}
	visiting_subtract_own(s, cell, s->foreign);
}

static void add_guest(struct sim *s, uint16_t cell, uint32_t guest, struct table *t)
{
	const struct guest *g = &s->guests[guest];
	struct round_guest *out = &t->guests[t->in.guest_count];

	*out = (struct round_guest){ .home = t->in.self,
		.needs_max = s->cfg.plant == PLANT_LIMIT_IGNORED ? NEEDS_MAX : g->cells_max,
		.gang = g->gang && s->cfg.plant != PLANT_GANG_IGNORED };
	balance_need(&out->needs, t->in.self);
	for (uint16_t i = 0; i < g->needs.count && s->wide; i++)
		balance_need(&out->needs, g->needs.list[i].cell);
	for (uint32_t k = 0; k < CPUS_PER_NODE; k++)
		cpu_set_add(&out->near,
			layout_cpu(s, cell, cpu_number(s, cell, g->node * CPUS_PER_NODE + k)));
	for (uint16_t v = 0; v < g->vcpu_count; v++) {
		const struct vcpu *from = &g->vcpus[v];
		struct round_vcpu *vcpu = &t->vcpus[t->in.vcpu_count];

		*vcpu = (struct round_vcpu){ .guest = t->in.guest_count,
			.runnable = from->runnable,
			.held = visiting_under_way(s, g, v),
			.moved_ns = from->moved_ns,
			.idle_ns = from->runnable ? 0 : s->now_ns - from->idle_since_ns };
		round_cpus(&s->layout, layout_cpu(s, cell, from->cpu), g->gang, &vcpu->allowed);
		t->guest[t->in.vcpu_count++] = guest;
	}
	t->in.guest_count++;
}

static struct table *build(struct sim *s, uint16_t cell)
{
	static _Thread_local struct table t;

	memset(&t.in, 0, sizeof(t.in));
	memset(s->foreign, 0, CPU_SET_CPUS * sizeof(*s->foreign));
	t.in = (struct round_input){ .machine = &s->layout,
		.cells = &s->partition,
		.self = layout_cell(s, cell),
		.now_ns = s->now_ns,
		.stay_ns = STAY_TICKS * s->pace * BALANCE_NS,
		.foreign = s->foreign,
		.cpu_idle_ns = s->idle_ns,
		.vcpus = t.vcpus,
		.guests = t.guests };
	add_own(s, cell, &t);
	add_others(s, cell, &t);
	for (uint32_t i = 0; i < s->cfg.guests; i++) {
		uint32_t guest = (uint32_t)cell * s->cfg.guests + i;

		if (guest_managed(s, &s->guests[guest], cell))
			add_guest(s, cell, guest, &t);
	}
	t.foreign = 0;
	for (uint32_t cpu = 0; cpu < CPU_SET_CPUS; cpu++)
		t.foreign += s->foreign[cpu];
	return &t;
}

/* What this cell's CPUs have to run now, into its own place among what is told. */
static void count(struct sim *s, uint16_t cell, const struct table *t)
{
	struct cell *c = &s->cells[cell];
	uint32_t places[256u * VCPUS_MAX];

	round_places(&t->in, places);
	for (uint32_t k = 0; k < cpus_per_cell(s); k++) {
		uint32_t cpu = layout_cpu(s, cell, cpu_number(s, cell, k));
		struct loads_cpu *told = &c->peer[cell].cpus[k];

		*told = (struct loads_cpu){ .runnable = s->foreign[cpu],
			.usable = cpu_usable(s, cell, k) };
		c->own_load[k] = 0;
		for (uint32_t v = 0; v < t->in.vcpu_count; v++)
			c->own_load[k] += places[v] == cpu && t->vcpus[v].runnable;
		told->runnable = (uint16_t)(told->runnable + c->own_load[k]);
		if (told->runnable)
			c->cpu_busy_ns[k] = s->now_ns;
	}
}

/* In front of loads_encode(). */
struct told_header {
	uint32_t born, free_units;
};

static void tell(struct sim *s, uint16_t cell)
{
	struct cell *c = &s->cells[cell];
	struct told_header header = { .born = c->born, .free_units = LEND_ABOVE_UNITS };
	uint8_t body[sizeof(header) + LOADS_BYTES_MAX];
	size_t bytes;

	for (uint16_t node = 0; node < s->cfg.nodes && lending_known(s, cell); node++) {
		uint32_t units = lending_free(s, cell, node);

		/* That much each node keeps; what is told is what can be lent, and it once. */
		header.free_units += units > LEND_ABOVE_UNITS ? units - LEND_ABOVE_UNITS : 0;
	}
	memcpy(body, &header, sizeof(header));
	bytes = sizeof(header) +
		loads_encode(c->peer[cell].cpus, cpus_per_cell(s), body + sizeof(header));
	for (uint16_t p = 0; p < s->cfg.cells; p++) {
		bool near = (uint32_t)p + REACH - cell < WINDOW;

		if (p != cell && (s->wide || near) && word_live(c->m->view[p]))
			net_send(s, cell, p, SIM_OP_LOAD, body, bytes);
	}
}

void balancing_message(struct sim *s, uint16_t cell, uint16_t from, const void *body, size_t bytes)
{
	struct cell *c = &s->cells[cell];
	uint32_t place = (uint32_t)from + REACH - cell;
	struct told_header header;

	if (bytes < sizeof(header) ||
		!loads_decode((const uint8_t *)body + sizeof(header), bytes - sizeof(header),
			c->peer[from].cpus, cpus_per_cell(s))) {
		sim_violate(s, "cell %u can't read the loads of an honest cell %u", cell, from);
		return;
	}
	c->peer[from].known = true;
	if (place >= WINDOW)
		return;
	memcpy(&header, body, sizeof(header));
	c->told[place] = (struct told){ .born = header.born, .free_units = header.free_units };
	c->refused &= (uint16_t) ~(1u << place);
}

void balancing_put(struct sim *s, struct guest *g, uint16_t v, uint32_t cpu)
{
	uint16_t to = cell_of_cpu(s, cpu), from = cell_of_cpu(s, g->vcpus[v].cpu);

	sim_trace(s, "guest %u of cell %u: vCPU %u moves from CPU %u to %u", g->number, g->home, v,
		g->vcpus[v].cpu, cpu);
	if (to != g->home)
		telling_use_begins(s, g, to);
	g->vcpus[v].cpu = cpu;
	g->vcpus[v].born = word_born(s->cells[g->home].m->view[to]);
	g->vcpus[v].moved_ns = s->now_ns;
	s->result->vcpu_moves++;
	s->result->vcpu_visits += to != from && to != g->home;
	s->books_changed = true;
}

uint32_t balancing_back(struct sim *s, struct guest *g, uint16_t v)
{
	const struct table *t = build(s, g->home);
	uint32_t i = 0, cpu;

	while (&s->guests[t->guest[i]] != g)
		i++;
	cpu = round_back(&t->in, i + v, layout_cpu(s, g->home, g->vcpus[v].home_cpu));
	return s->wide ? cpu : cpu_number(s, g->home, cpu);
}

static void perform(
	struct sim *s, uint16_t cell, const struct table *t, const struct round_move *move)
{
	struct guest *g = &s->guests[t->guest[move->vcpu]];
	uint32_t first = move->vcpu;
	uint32_t to = s->wide ? move->to : cpu_number(s, cell, move->to);
	uint16_t v;

	while (first > 0 && t->guest[first - 1] == t->guest[move->vcpu])
		first--;
	v = (uint16_t)(move->vcpu - first);
	if (cell_of_cpu(s, g->vcpus[v].cpu) != cell)
		visiting_leave(s, g, v, to);
	else if (cell_of_cpu(s, to) != cell)
		visiting_ask(s, g, v, to);
	else
		balancing_put(s, g, v, to);
}

static void decide(struct sim *s, uint16_t cell, struct table *t)
{
	struct round_move moves[MOVES_MAX];
	size_t bytes = round_bytes(&s->layout, t->in.vcpu_count, t->in.guest_count, t->foreign);
	uint32_t moved;

	CHECK(sim_room((void **)&s->round, &s->round_room, bytes, 1));
	t->in.scopes = ROUND_IN_CELL;
	if (s->cells[cell].ticks % 2 == 0 && monitor_serves(s, cell))
		t->in.scopes |= ROUND_MACHINE;
	moved = round_decide(s->round, &t->in, moves, MOVES_MAX);
	for (uint32_t i = 0; i < moved && monitor_acts(s, cell); i++)
		perform(s, cell, t, &moves[i]);
}

void balancing_start(struct sim *s, uint16_t cell)
{
	struct cell *c = &s->cells[cell];

	memset(c->told, 0, sizeof(c->told));
	c->peer = s->peers + (size_t)cell * s->cfg.cells;
	memset(c->peer, 0, s->cfg.cells * sizeof(*c->peer));
	for (uint32_t k = 0; k < CPUS_MAX; k++)
		c->cpu_busy_ns[k] = s->now_ns;
	c->ticks = cell; /* not all look at the whole machine at once */
	visiting_start(s, cell);
	sim_push(s,
		&(struct event){
			.what = EV_BALANCE, .cell = cell, .cell_life = s->cells[cell].life },
		sim_draw(s, s->pace * BALANCE_NS));
}

void balancing_event(struct sim *s, const struct event *e)
{
	struct table *t;

	sim_push(s, e, s->pace * BALANCE_NS);
	if (member_epoch(s->cells[e->cell].m) == 0)
		return;
	t = build(s, e->cell);
	count(s, e->cell, t);
	decide(s, e->cell, t);
	s->cells[e->cell].ticks++;
	if (!monitor_acts(s, e->cell))
		return;
	tell(s, e->cell);
	visiting_talk(s, e->cell);
}

static bool place_gang(struct sim *s, uint32_t guest)
{
	struct guest *g = &s->guests[guest];
	uint32_t to[VCPUS_MAX], found;
	struct table *t;

	g->in_book = false; /* none of its vCPUs counts yet */
	t = build(s, g->home);
	g->in_book = true;
	t->guests[t->in.guest_count] = (struct round_guest){ .home = t->in.self };
	balance_need(&t->guests[t->in.guest_count].needs, t->in.self);
	/* Above: only cells that it needs, so only its home. */
	if (!round_gang(&t->in, t->in.guest_count, g->vcpu_count, to, &found))
		return false;
	for (uint16_t v = 0; v < g->vcpu_count; v++)
		g->vcpus[v].cpu = s->wide ? to[v] : cpu_number(s, g->home, to[v]);
	return true;
}

bool balancing_place(struct sim *s, uint32_t guest)
{
	struct guest *g = &s->guests[guest];

	for (uint16_t v = 0; v < g->vcpu_count; v++)
		g->vcpus[v] = (struct vcpu){ .cpu = cpu_number(s, g->home,
						     g->node * CPUS_PER_NODE + v % CPUS_PER_NODE),
			.born = g->home_born,
			.runnable = true,
			.idle_since_ns = s->now_ns };
	return !g->gang || place_gang(s, guest);
}
