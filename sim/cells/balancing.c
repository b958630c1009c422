/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Where vCPUs run: each cell tells those within its reach how busy its CPUs are,
 * which of its guests' vCPUs run on theirs and how much memory it has free; and
 * each decides for its own guests, by the real balancers over what it was told.
 */

#include <string.h>

#include "faultcontain/member_impl.h"
#include "numa/balance.h"
#include "numa/check.h"
#include "sim/cells/machine.h"

#define MOVES_MAX 32u
#define GUESTS_MAX 257u /* of a cell, and one for the load of all others */
#define LOAD_MAX 255u
#define FAR_TURN 2u /* each so many times it looks beyond its own CPUs, not all cells at once */

/* Cells by their place in the window around the one that decides; it is at REACH. */
struct table {
	uint32_t cpu_count, vcpu_count, guest_count;
	struct balance_cpu cpus[WINDOW * CPUS_MAX];
	uint32_t number[WINDOW * CPUS_MAX]; /* of the machine */
	uint32_t first[WINDOW];		    /* CPU of each cell */
	struct balance_vcpu vcpus[WINDOW * CPUS_MAX * 16u + (GUESTS_MAX - 1) * VCPUS_MAX];
	struct balance_guest guests[GUESTS_MAX];
	uint32_t guest[GUESTS_MAX]; /* index among all */
	uint32_t own_vcpus;	    /* the first ones */
	uint8_t *distance;
};

struct load_message {
	uint32_t born, free_units;
	uint16_t usable, reserved;
	uint8_t load[CPUS_MAX], yours[CPUS_MAX], visits[CPUS_MAX];
};

static uint32_t cpus_per_cell(const struct sim *s)
{
	return s->cfg.nodes * CPUS_PER_NODE;
}

/* The cell at this place of the window, or CELLSET_NONE. */
static uint16_t at_place(const struct sim *s, uint16_t cell, uint32_t place)
{
	uint32_t p = cell + place - REACH;

	return p < s->cfg.cells ? (uint16_t)p : CELLSET_NONE;
}

static bool heard_of(const struct cell *c, uint16_t cell, uint32_t place)
{
	return c->told[place].born && member_holds(c->m, cell, c->told[place].born);
}

/* Adds to load[] what this cell's guests run on the CPUs of `on`. */
static void count_own(const struct sim *s, uint16_t cell, uint16_t on, uint8_t load[CPUS_MAX])
{
	for (uint32_t i = 0; i < s->cfg.guests; i++) {
		const struct guest *g = &s->guests[(size_t)cell * s->cfg.guests + i];

		for (uint16_t v = 0; v < g->vcpu_count && guest_managed(s, g, cell); v++)
			if (g->vcpus[v].runnable && cell_of_cpu(s, g->vcpus[v].cpu) == on)
				load[g->vcpus[v].cpu % cpus_per_cell(s)]++;
	}
}

/* ... and on its own CPUs, what others said that they run there. */
static void count_visits(const struct sim *s, uint16_t cell, uint8_t load[CPUS_MAX])
{
	const struct cell *c = &s->cells[cell];

	for (uint32_t place = 0; place < WINDOW; place++) {
		uint16_t p = at_place(s, cell, place);

		if (p == CELLSET_NONE || p == cell || !heard_of(c, p, place))
			continue;
		for (uint32_t k = 0; k < cpus_per_cell(s); k++)
			load[k] = (uint8_t)(load[k] + c->told[place].visits[k] < LOAD_MAX
						    ? load[k] + c->told[place].visits[k]
						    : LOAD_MAX);
	}
}

static uint16_t usable_cpus(const struct sim *s, uint16_t cell)
{
	uint16_t usable = 0;

	for (uint32_t k = 0; k < cpus_per_cell(s); k++)
		usable |= (uint16_t)((unsigned)cpu_usable(s, cell, k) << k);
	return usable;
}

static void tell(struct sim *s, uint16_t cell)
{
	struct cell *c = &s->cells[cell];
	struct load_message msg = { .born = c->born, .usable = usable_cpus(s, cell) };

	count_own(s, cell, cell, msg.load);
	count_visits(s, cell, msg.load);
	msg.free_units = LEND_ABOVE_UNITS;
	for (uint16_t node = 0; node < s->cfg.nodes && lending_known(s, cell); node++) {
		uint32_t units = lending_free(s, cell, node);

		/* That much each node keeps; what is told is what can be lent, and it once. */
		msg.free_units += units > LEND_ABOVE_UNITS ? units - LEND_ABOVE_UNITS : 0;
	}
	for (uint32_t place = 0; place < WINDOW; place++) {
		uint16_t p = at_place(s, cell, place);

		if (p == CELLSET_NONE || p == cell || !word_live(c->m->view[p]))
			continue;
		memset(msg.visits, 0, sizeof(msg.visits));
		count_own(s, cell, p, msg.visits);
		memcpy(msg.yours, c->told[place].visits, sizeof(msg.yours));
		net_send(s, cell, p, SIM_OP_LOAD, &msg, sizeof(msg));
	}
}

void balancing_message(struct sim *s, uint16_t cell, uint16_t from, const void *body, size_t bytes)
{
	struct cell *c = &s->cells[cell];
	uint32_t place = from + REACH - cell;
	struct load_message msg;
	struct told *told;

	if (bytes != sizeof(msg) || place >= WINDOW) {
		sim_violate(s, "cell %u got a load of %u bytes of cell %u", cell, (unsigned)bytes,
			from);
		return;
	}
	memcpy(&msg, body, sizeof(msg));
	told = &c->told[place];
	told->born = msg.born;
	told->free_units = msg.free_units;
	told->usable = msg.usable;
	memcpy(told->load, msg.load, sizeof(told->load));
	memcpy(told->yours, msg.yours, sizeof(told->yours));
	memcpy(told->visits, msg.visits, sizeof(told->visits));
	c->refused &= (uint16_t) ~(1u << place);
}

/* vCPUs that stand for what others run on this CPU; they can't be moved. */
static void add_others(struct table *t, uint32_t cpu, uint32_t load)
{
	for (uint32_t i = 0; i < load && i < 16; i++)
		t->vcpus[t->vcpu_count++] = (struct balance_vcpu){
			.guest = t->guest_count - 1, .cpu = cpu, .runnable = true
		};
}

static void add_cpus(const struct sim *s, uint16_t cell, struct table *t)
{
	const struct cell *c = &s->cells[cell];

	for (uint32_t place = 0; place < WINDOW; place++) {
		uint16_t p = at_place(s, cell, place), usable = 0;

		t->first[place] = t->cpu_count;
		if (p == CELLSET_NONE)
			continue;
		if (p == cell)
			usable = usable_cpus(s, cell);
		else if (heard_of(c, p, place))
			usable = c->told[place].usable;
		if (s->cfg.plant == PLANT_CPU_OFF_IGNORED && (p == cell || heard_of(c, p, place)))
			usable = UINT16_MAX;
		for (uint32_t k = 0; k < cpus_per_cell(s); k++) {
			t->number[t->cpu_count] = cpu_number(s, p, k);
			t->cpus[t->cpu_count++] = (struct balance_cpu){ .cell = place,
				.node = place * s->cfg.nodes + k / CPUS_PER_NODE,
				.usable = usable >> k & 1 };
		}
	}
}

/* Nothing has been heard yet of the cell of a CPU where a vCPU runs: let it run. */
static void trust_unheard(const struct sim *s, uint16_t cell, struct table *t, uint32_t place)
{
	uint16_t p = at_place(s, cell, place);

	if (p == cell || heard_of(&s->cells[cell], p, place))
		return;
	for (uint32_t k = 0; k < cpus_per_cell(s); k++)
		t->cpus[t->first[place] + k].usable = true;
}

static void add_guest(struct sim *s, uint16_t cell, uint32_t guest, bool placed, struct table *t)
{
	const struct guest *g = &s->guests[guest];
	struct balance_guest *out = &t->guests[t->guest_count];

	*out = (struct balance_guest){ .needs_max = g->cells_max, .gang = g->gang };
	if (s->cfg.plant == PLANT_LIMIT_IGNORED)
		out->needs_max = WINDOW;
	if (s->cfg.plant == PLANT_GANG_IGNORED)
		out->gang = false;
	for (uint16_t i = 0; i < g->needs.count; i++)
		if (g->needs.list[i].cell + REACH - cell < WINDOW)
			balance_need(&out->needs, g->needs.list[i].cell + REACH - cell);
	for (uint16_t v = 0; v < g->vcpu_count; v++) {
		struct balance_vcpu *vcpu = &t->vcpus[t->vcpu_count++];
		uint32_t place = cell_of_cpu(s, g->vcpus[v].cpu) + REACH - cell;

		*vcpu = (struct balance_vcpu){ .guest = t->guest_count,
			.cpu = BALANCE_NONE,
			.runnable = g->vcpus[v].runnable,
			.moved_ns = g->vcpus[v].moved_ns };
		if (!placed)
			continue;
		trust_unheard(s, cell, t, place);
		vcpu->cpu = t->first[place] + g->vcpus[v].cpu % cpus_per_cell(s);
		vcpu->runnable |= !t->cpus[vcpu->cpu].usable; /* it has to go anyway */
	}
	t->guest[t->guest_count++] = guest;
}

/* All that the cell knows, as the balancer wants it; NULL if it takes it for nonsense. */
static struct balance *build(struct sim *s, uint16_t cell, uint32_t newcomer, struct table *t)
{
	const struct cell *c = &s->cells[cell];
	struct balance_input in;
	uint8_t visits[CPUS_MAX] = { 0 };

	t->cpu_count = t->vcpu_count = t->guest_count = 0;
	add_cpus(s, cell, t);
	for (uint32_t i = 0; i < s->cfg.guests; i++) {
		uint32_t guest = (uint32_t)cell * s->cfg.guests + i;

		if (guest_managed(s, &s->guests[guest], cell))
			add_guest(s, cell, guest, guest != newcomer, t);
	}
	t->own_vcpus = t->vcpu_count;
	t->guests[t->guest_count++] = (struct balance_guest){ 0 };
	count_visits(s, cell, visits);
	for (uint32_t place = 0; place < WINDOW; place++) {
		uint16_t p = at_place(s, cell, place);

		for (uint32_t k = 0; k < cpus_per_cell(s) && p != CELLSET_NONE; k++) {
			const struct told *told = &c->told[place];

			if (p == cell)
				add_others(t, t->first[place] + k, visits[k]);
			else if (heard_of(c, p, place) && told->load[k] > told->yours[k])
				add_others(t, t->first[place] + k,
					(uint32_t)(told->load[k] - told->yours[k]));
		}
	}
	in = (struct balance_input){ .cpu_count = t->cpu_count,
		.vcpu_count = t->vcpu_count,
		.guest_count = t->guest_count,
		.node_count = WINDOW * s->cfg.nodes,
		.cpus = t->cpus,
		.vcpus = t->vcpus,
		.guests = t->guests,
		.distance = s->distance };
	return balance_start(s->balance, &in);
}

/* The need first, then the affinity, then what is not needed any more. */
static void put(struct sim *s, uint16_t cell, struct guest *g, struct vcpu *v, uint32_t cpu)
{
	struct cell *c = &s->cells[cell];
	uint16_t to = cell_of_cpu(s, cpu), from = cell_of_cpu(s, v->cpu);
	uint32_t born = word_born(c->m->view[to]);

	if (s->cfg.plant != PLANT_VISIT_WITHOUT_NEED)
		needs_add(&g->needs, to, born);
	if (to != from && sim_hit(s, SITE_ACTION_CRASH)) {
		monitor_kill(s, cell, "crash between a need and its CPU");
		return;
	}
	*v = (struct vcpu){
		.cpu = cpu, .born = born, .runnable = v->runnable, .moved_ns = s->now_ns
	};
	if (to != from)
		guest_unneed(s, g, from);
}

static void perform(struct sim *s, uint16_t cell, const struct table *t,
	const struct balance_move *moves, uint32_t count)
{
	for (uint32_t i = 0; i < count && monitor_acts(s, cell); i++) {
		uint32_t first = moves[i].vcpu;
		struct guest *g = &s->guests[t->guest[t->vcpus[moves[i].vcpu].guest]];

		CHECK(moves[i].vcpu < t->own_vcpus);
		while (first > 0 && t->vcpus[first - 1].guest == t->vcpus[moves[i].vcpu].guest)
			first--;
		put(s, cell, g, &g->vcpus[moves[i].vcpu - first], t->number[moves[i].to]);
		s->result->vcpu_moves++;
		s->result->vcpu_visits += cell_of_cpu(s, t->number[moves[i].to]) !=
					  cell_of_cpu(s, t->number[moves[i].from]);
		sim_trace(s, "guest %u of cell %u: vCPU %u moves from CPU %u to %u",
			t->guest[t->vcpus[moves[i].vcpu].guest], cell, moves[i].vcpu - first,
			t->number[moves[i].from], t->number[moves[i].to]);
	}
	s->books_changed |= count > 0;
}

/* What could not leave a CPU that is gone can't go on. */
static void end_stranded(struct sim *s, uint16_t cell, const struct table *t)
{
	for (uint32_t v = 0; v < t->own_vcpus && monitor_acts(s, cell); v++) {
		uint32_t guest = t->guest[t->vcpus[v].guest];
		uint16_t on = cell_of_cpu(s, t->number[t->vcpus[v].cpu]);

		if (t->cpus[t->vcpus[v].cpu].usable || !s->guests[guest].running)
			continue;
		if (cpu_usable(s, on, t->number[t->vcpus[v].cpu] % cpus_per_cell(s)) &&
			s->cells[on].boot == word_born(s->cells[cell].m->view[on]))
			sim_violate(s, "containment: guest %u ends for want of a CPU that executes",
				guest);
		guest_die(s, guest, "no CPU is left that it may have");
	}
}

/* `far`: beyond its own CPUs. */
static void decide(struct sim *s, uint16_t cell, bool far)
{
	static _Thread_local struct table t;
	struct balance_move moves[MOVES_MAX];
	struct balance *b = build(s, cell, UINT32_MAX, &t);
	const char *wrong;
	uint32_t count = 0, own = t.first[REACH];

	CHECK(b != NULL);
	if (t.own_vcpus == 0)
		return;
	for (uint32_t i = 0; i < t.cpu_count && far && count < MOVES_MAX; i++)
		if (t.cpus[i].usable && balance_load(b, i) == 0)
			count += balance_idle(b, s->now_ns, i, BALANCE_IDLE_FAR_NS, &moves[count]);
	count +=
		balance_periodic(b, s->now_ns, own, BALANCE_CELL, moves + count, MOVES_MAX - count);
	if (far)
		count += balance_periodic(
			b, s->now_ns, own, BALANCE_MACHINE, moves + count, MOVES_MAX - count);
	wrong = balance_check(b);
	if (wrong)
		sim_violate(s, "conservation: the balancer of cell %u has %s", cell, wrong);
	perform(s, cell, &t, moves, count);
	if (far && count < MOVES_MAX)
		end_stranded(s, cell, &t);
}

void balancing_start(struct sim *s, uint16_t cell)
{
	memset(s->cells[cell].told, 0, sizeof(s->cells[cell].told));
	sim_push(s,
		&(struct event){
			.what = EV_BALANCE, .cell = cell, .cell_life = s->cells[cell].life },
		sim_draw(s, s->pace * BALANCE_NS));
}

void balancing_event(struct sim *s, const struct event *e)
{
	sim_push(s, e, s->pace * BALANCE_NS);
	if (member_epoch(s->cells[e->cell].m) == 0)
		return;
	tell(s, e->cell);
	if (monitor_serves(s, e->cell))
		decide(s, e->cell, (e->due_ns / (s->pace * BALANCE_NS) + e->cell) % FAR_TURN == 0);
}

static bool place_gang(struct sim *s, uint32_t guest)
{
	static _Thread_local struct table t;
	struct guest *g = &s->guests[guest];
	struct balance_move moves[VCPUS_MAX];
	struct balance *b = build(s, g->home, guest, &t);
	uint32_t count, index = 0;

	CHECK(b != NULL);
	while (t.guest[index] != guest)
		index++;
	if (!balance_gang(b, s->now_ns, index, moves, &count))
		return false;
	for (uint32_t i = 0; i < count; i++)
		g->vcpus[i].cpu = t.number[moves[i].to];
	return true;
}

bool balancing_place(struct sim *s, uint32_t guest)
{
	struct guest *g = &s->guests[guest];
	uint8_t load[CPUS_MAX] = { 0 };
	uint32_t cpus = cpus_per_cell(s);

	count_own(s, g->home, g->home, load);
	count_visits(s, g->home, load);
	for (uint16_t v = 0; v < g->vcpu_count; v++) {
		uint32_t best = cpus;

		for (uint32_t k = 0; k < cpus; k++)
			if (cpu_usable(s, g->home, k) && (best == cpus || load[k] < load[best]))
				best = k;
		if (best == cpus)
			return false;
		g->vcpus[v] = (struct vcpu){ .cpu = cpu_number(s, g->home, best),
			.born = g->home_born,
			.runnable = true,
			.moved_ns = s->now_ns };
		load[best]++;
	}
	return !g->gang || place_gang(s, guest);
}
