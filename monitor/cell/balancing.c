/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cell/balancing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "monitor/cell/balancing_internal.h"
#include "monitor/cell/draining.h"
#include "monitor/cell/recovery.h"
#include "numa/check.h"

/* With the default of 20 ms: 80 ms for the machine, 200 ms while there is nothing to balance. */
#define TICK_DEFAULT_NS (20ull * 1000000u)
#define MACHINE_TICKS 4u
#define SLOW_TICKS 10u
/* A vCPU that was moved stays so many ticks. */
#define STAY_TICKS 10u
#define BIND_PARTS 4u
/* So long moves are carried out, and no longer, before the loop goes on. */
#define PERFORM_NS (30ull * 1000000u)

int balancing_open(struct monitor *m, struct err *e)
{
	struct balancing *b = calloc(1, sizeof(*b));
	int rc;

	CHECK(b != NULL);
	m->balancing = b;
	b->online_fd = -1;
	b->tick_ns = m->plan->balance_ms * 1000000ull;
	/* Well below the silence for which a monitor is examined. */
	b->bind_ns = m->plan->suspect_ms * 1000000ull / BIND_PARTS;
	b->quiet_ns = m->settled_ns;
	b->visits = calloc(1, sizeof(*b->visits));
	b->visitors = calloc(1, sizeof(*b->visitors));
	CHECK(b->visits && b->visitors);
	visits_init(b->visits);
	for (uint32_t c = 0; c < m->plan->cells.cell_count; c++) {
		b->peers[c].cpus = calloc(
			cpu_set_count(&m->plan->cells.cells[c].cpus), sizeof(struct loads_cpu));
		CHECK(b->peers[c].cpus != NULL);
	}
	/* This cell's own place in the table is what it tells others. */
	b->told = b->peers[m->self].cpus;
	(void)balancing_online(b, monitor_now_ns());
	rc = binder_open(&b->binder);
	return rc ? err_set(e, EXIT_ENVIRONMENT, "can't start a thread: %s", strerror(-rc)) : 0;
}

void balancing_close(struct monitor *m)
{
	struct balancing *b = m->balancing;

	if (!b)
		return;
	while (b->guests) {
		struct bal_guest *g = b->guests;

		b->guests = g->next;
		balancing_free_guest(g);
	}
	balancing_tidy_records(b);
	for (uint32_t c = 0; c < CELLS_MAX; c++)
		free(b->peers[c].cpus);
	if (b->binder)
		binder_close(b->binder);
	if (b->online_fd >= 0)
		close(b->online_fd);
	free(b->visits);
	free(b->visitors);
	free(b->round);
	free(b);
	m->balancing = NULL;
}

/* --- what the CPUs carry --- */

/* Counts what each of this cell's CPUs has to run, and whether there is something to balance. */
static void count_loads(struct monitor *m, uint64_t now_ns, const struct bal_input *i)
{
	struct balancing *b = m->balancing;
	const struct cpu_set *set = &m->plan->cells.cells[m->self].cpus;
	uint32_t *places = calloc(i->in.vcpu_count + 1, sizeof(*places));
	uint32_t k = 0;

	CHECK(places != NULL);
	memset(b->own, 0, sizeof(b->own));
	round_places(&i->in, places);
	for (uint32_t v = 0; v < i->in.vcpu_count; v++)
		if (places[v] != CPU_NONE && i->vcpus[v].runnable)
			b->own[places[v]]++;
	free(places);
	for (uint32_t cpu = cpu_set_next(set, 0); cpu != CPU_NONE;
		cpu = cpu_set_next(set, cpu + 1), k++) {
		uint32_t load = b->own[cpu] + visitors_on(b->visitors, cpu);
		struct loads_cpu told = { .runnable =
						  (uint16_t)(load > LOADS_MAX ? LOADS_MAX : load),
			.usable = cpu_set_has(&b->online, cpu) && !draining_closed(m) };

		b->busy |= load > 1;
		if (load > 0 || !b->cpu_busy_ns[cpu])
			b->cpu_busy_ns[cpu] = now_ns;
		b->cpu_idle_ns[cpu] = now_ns - b->cpu_busy_ns[cpu];
		b->tell |= told.runnable != b->told[k].runnable || told.usable != b->told[k].usable;
		b->told[k] = told;
	}
}

static bool any_visit(const struct balancing *b)
{
	for (uint32_t i = 0; i < VISITS_MAX; i++)
		if (b->visits->rows[i].state != VISIT_FREE)
			return true;
	return false;
}

/* --- doing what was decided --- */

static void perform(struct monitor *m, const struct bal_input *i, const struct round_move *move)
{
	struct balancing *b = m->balancing;
	struct bal_guest *g = i->whose[move->vcpu];
	struct bal_vcpu *v = i->who[move->vcpu];
	const uint32_t number = i->numbers[move->vcpu];
	const struct visit *visit = visits_find(b->visits, g->name, number);
	const bool ours = balancing_cell_of(m, move->to) == m->self;
	struct bal_ask *ask;

	if ((!b->tick_ns || i->in.now_ns < b->quiet_ns) && move->reason > ROUND_GANG)
		return;
	if (visit) {
		if (ours && visit->state == VISIT_THERE)
			balancing_leave(m, g, number, move->to);
		return;
	}
	if (ours) {
		(void)balancing_bind(m, g, v, move->to, false, move->reason);
		return;
	}
	/* What the host is to be told comes first: while an ask is open it can't be. */
	if (b->peers[balancing_cell_of(m, move->to)].announce)
		return;
	ask = balancing_ask_slot(m);
	if (!ask)
		return;
	memcpy(ask->name, g->name, sizeof(ask->name));
	ask->vcpu = number;
	ask->from = move->from;
	ask->to = move->to;
	ask->reason = move->reason;
	(void)balancing_ask(m, ask, false);
}

static void decide(struct monitor *m, struct bal_input *i)
{
	struct balancing *b = m->balancing;
	struct round_move moves[BALANCING_MOVES_MAX];
	size_t bytes =
		round_bytes(&m->plan->machine, i->in.vcpu_count, i->in.guest_count, i->foreign);
	uint32_t count;

	if (bytes > b->round_bytes) {
		free(b->round);
		b->round = malloc(bytes);
		CHECK(b->round != NULL);
		b->round_bytes = bytes;
	}
	i->in.stay_ns = STAY_TICKS * b->tick_ns;
	i->in.scopes = b->tick_ns ? ROUND_IN_CELL : 0;
	if (b->tick_ns && b->ticks % MACHINE_TICKS == 0 && recovery_live_count(m) > 0)
		i->in.scopes |= ROUND_MACHINE;
	count = round_decide(b->round, &i->in, moves, BALANCING_MOVES_MAX);
	/* The monitor has peers that wait to hear from it: what is left is decided anew. */
	for (uint32_t k = 0; k < count && monitor_now_ns() - i->in.now_ns < PERFORM_NS; k++)
		perform(m, i, &moves[k]);
}

static void tick(struct monitor *m, uint64_t now_ns)
{
	struct balancing *b = m->balancing;
	bool slow = !b->busy, check = slow || b->ticks % SLOW_TICKS == 0;
	struct bal_input i;

	/* While CPUs come and go, and a while after, it is worth to look often. */
	b->busy = any_visit(b) || (b->hotplug_ns && now_ns - b->hotplug_ns < HOTPLUG_NS);
	balancing_watch(m, now_ns);
	if (check && balancing_online(b, now_ns))
		b->busy = true;
	balancing_sample(m, now_ns, check);
	balancing_input(m, now_ns, &i);
	count_loads(m, now_ns, &i);
	if (!m->going_down)
		decide(m, &i);
	balancing_input_free(&i);
	b->ticks += slow ? MACHINE_TICKS : 1;
}

void balancing_turn(struct monitor *m, uint64_t now_ns)
{
	struct balancing *b = m->balancing;
	const uint64_t tick_ns = b->tick_ns ? b->tick_ns : TICK_DEFAULT_NS;

	if (now_ns < b->next_ns)
		return;
	tick(m, now_ns);
	balancing_talk(m, now_ns);
	b->next_ns = now_ns + (b->busy ? tick_ns : SLOW_TICKS * tick_ns);
}

uint64_t balancing_due(const struct monitor *m)
{
	return m->balancing->next_ns;
}

int balancing_place_gang(
	struct monitor *m, const struct guest_spec *spec, struct guest_home *home, struct err *e)
{
	struct round_guest *gang;
	struct bal_input i;
	uint32_t found = 0;
	bool fits;

	balancing_input(m, monitor_now_ns(), &i);
	gang = &i.guests[i.in.guest_count];
	memset(gang, 0, sizeof(*gang));
	balance_need(&gang->needs, m->self);
	for (uint32_t k = 0; k < home->cpu_count; k++)
		if (home->cpus[k] < CPU_SET_CPUS)
			cpu_set_add(&gang->near, home->cpus[k]);
	fits = round_gang(&i.in, i.in.guest_count, spec->cpus, home->pins, &found);
	balancing_input_free(&i);
	home->pin_count = fits ? spec->cpus : 0;
	if (fits)
		return 0;
	return err_set(e, EXIT_NO_ROOM,
		"guest '%s' asks for a CPU for each of its %u vCPUs (--gang), and cell %u has only "
		"%u online; give --cpus %u or less, or leave --gang out",
		spec->name, spec->cpus, m->self, found, found);
}
