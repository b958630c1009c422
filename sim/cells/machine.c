/* SPDX-License-Identifier: BSD-2-Clause */

/* One simulated machine: randomness, the order of events, the run from start to end. */

#include "sim/cells/machine.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "numa/check.h"

uint64_t sim_draw(struct sim *s, uint64_t below)
{
	uint64_t z = s->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	z ^= z >> 31;
	return below ? z % below : 0;
}

bool sim_hit(struct sim *s, enum site site)
{
	return s->faults && s->rate[site] && sim_draw(s, 1000) < s->rate[site];
}

void sim_mix(struct sim *s, uint64_t value)
{
	uint64_t d = s->result->digest ^ value;

	d *= UINT64_C(0x2127599bf4325c37);
	s->result->digest = d ^ d >> 47;
}

bool sim_room(void **array, size_t *room, size_t count, size_t size)
{
	size_t more = *room ? *room : 64;
	void *grown;

	if (count <= *room)
		return true;
	while (more < count)
		more *= 2;
	grown = reallocarray(*array, more, size);
	if (!grown)
		return false;
	*array = grown;
	*room = more;
	return true;
}

static bool before(const struct event *a, const struct event *b)
{
	return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

void sim_push(struct sim *s, const struct event *e, uint64_t after_ns)
{
	size_t i = s->heap_count;
	struct event mine = *e;

	CHECK(sim_room((void **)&s->heap, &s->heap_room, i + 1, sizeof(*s->heap)));
	mine.due_ns = s->now_ns + after_ns;
	mine.order = s->order++;
	s->heap_count++;
	for (; i && before(&mine, &s->heap[(i - 1) / 2]); i = (i - 1) / 2)
		s->heap[i] = s->heap[(i - 1) / 2];
	s->heap[i] = mine;
}

bool sim_pop(struct sim *s, struct event *e)
{
	struct event *heap = s->heap, last;
	size_t i = 0, child;

	if (!s->heap_count)
		return false;
	*e = heap[0];
	last = heap[--s->heap_count];
	while ((child = 2 * i + 1) < s->heap_count) {
		if (child + 1 < s->heap_count && before(&heap[child + 1], &heap[child]))
			child++;
		if (!before(&heap[child], &last))
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = last;
	return true;
}

void sim_violate(struct sim *s, const char *fmt, ...)
{
	va_list args;

	if (s->result->violated)
		return;
	s->result->violated = true;
	s->result->when_ns = s->now_ns;
	va_start(args, fmt);
	vsnprintf(s->result->why, sizeof(s->result->why), fmt, args);
	va_end(args);
	sim_trace(s, "VIOLATION: %s", s->result->why);
	check_dump(s);
}

void sim_trace(const struct sim *s, const char *fmt, ...)
{
	va_list args;

	if (!s->cfg.trace)
		return;
	fprintf(s->cfg.trace, "%10.3f ms  ", (double)s->now_ns / 1e6);
	va_start(args, fmt);
	vfprintf(s->cfg.trace, fmt, args);
	va_end(args);
	fputc('\n', s->cfg.trace);
}

static void step(struct sim *s, const struct event *e)
{
	s->result->events++;
	sim_mix(s, e->due_ns ^ (uint64_t)e->what << 56 ^ (uint64_t)e->cell << 40 ^
			   (uint64_t)e->about << 24 ^ e->life);
	switch (e->what) {
	case EV_MESSAGE:
		net_deliver(s, e);
		break;
	case EV_CONNECT:
		net_connect(s, e);
		break;
	case EV_FAULT:
		faults_event(s);
		break;
	case EV_GUEST:
		guests_event(s, e);
		break;
	case EV_INIT:
		faults_init_system(s);
		break;
	default:
		monitor_event(s, e);
		break;
	}
	if (s->books_changed) {
		s->books_changed = false;
		check_books(s, false);
	}
}

static void run_until(struct sim *s, uint64_t end_ns)
{
	struct event e;

	while (!s->result->violated && s->heap_count && s->heap[0].due_ns <= end_ns &&
		sim_pop(s, &e)) {
		s->now_ns = e.due_ns;
		step(s, &e);
	}
	if (!s->result->violated)
		s->now_ns = end_ns;
}

/* Runs until all is well; a violation if that takes longer than it may. */
static void settle(struct sim *s, uint64_t within_ns, const char *after)
{
	uint64_t start_ns = s->now_ns;
	const char *why = NULL;

	while (!s->result->violated && (why = check_unsettled(s)) != NULL) {
		if (s->now_ns - start_ns > within_ns)
			sim_violate(s, "termination: %u ms after %s %s", (unsigned)(within_ns / MS),
				after, why);
		else
			run_until(s, s->now_ns + s->pace * HEARTBEAT_NS / 2);
	}
	check_books(s, true);
	check_guests_settled(s);
}

/* How long anything may take once nothing fails any more. */
static uint64_t settle_limit(const struct sim *s)
{
	return s->pace * 60 * SUSPECT_NS;
}

static void measure(struct sim *s)
{
	uint16_t victim = (uint16_t)(s->cfg.cells / 2), n = s->cfg.cells;
	uint64_t end_ns = 0;

	run_until(s, s->now_ns + s->pace * 20 * HEARTBEAT_NS);
	s->busy = false;
	s->measuring = true;
	s->evidence_ns = 0;
	if (s->cfg.scenario == SIM_MONITOR_CRASH)
		monitor_kill(s, victim, "crash");
	else
		for (uint16_t node = 0; node < s->cfg.nodes; node++)
			faults_node_dies(s, victim, node);
	while (s->cfg.scenario == SIM_TWO_DEATHS && !s->evidence_ns && !s->result->violated)
		run_until(s, s->now_ns + 20 * US);
	if (s->cfg.scenario == SIM_TWO_DEATHS) {
		run_until(s, s->now_ns + 100 * US);
		for (uint16_t node = 0; node < s->cfg.nodes; node++)
			faults_node_dies(s, 0, node);
	}
	s->last_fault_ns = s->now_ns;
	settle(s, settle_limit(s), "the fault");
	for (uint16_t c = 0; c < n; c++) {
		const struct cell *cell = &s->cells[c];

		if (cell->running && cell->resumed_ns > end_ns)
			end_ns = cell->resumed_ns;
		s->result->recovery_messages += cell->messages;
		if (cell->messages > s->result->recovery_messages_max)
			s->result->recovery_messages_max = cell->messages;
	}
	s->result->recovery_ns = end_ns > s->evidence_ns ? end_ns - s->evidence_ns : 0;
}

static bool holds_any(const struct guest *g)
{
	return g->running && g->hold_count && g->holds[0].used;
}

/* After everything, the machine must still do what it is for. */
static void serve(struct sim *s)
{
	uint64_t end_ns = s->now_ns + settle_limit(s);
	uint32_t guest = s->guest_room;
	bool any = false;

	for (uint16_t c = 0; c < s->cfg.cells; c++)
		any |= monitor_acts(s, c);
	if (s->result->violated || !any || s->cfg.guests == 0)
		return;
	for (uint16_t c = 0; c < s->cfg.cells && guest == s->guest_room; c++)
		guest = guests_serve(s, c);
	if (guest == s->guest_room)
		sim_violate(s, "service: a settled machine starts no guest");
	/* Unless nobody within reach has memory to spare, it must get some. */
	while (!s->result->violated && s->guests[guest].running && !holds_any(&s->guests[guest])) {
		run_until(s, s->now_ns + s->pace * BALANCE_NS);
		if (s->now_ns > end_ns)
			sim_violate(s, "service: nobody lends to guest %u", guest);
		/* It may have been powered off, as any other. */
		if (!s->guests[guest].running || !monitor_serves(s, s->guests[guest].home))
			continue;
		if (lending_pick(s, &s->guests[guest], 1) == CELLSET_NONE &&
			s->now_ns + settle_limit(s) > end_ns + s->pace * 4 * BALANCE_NS)
			break;
		(void)lending_borrow(s, guest, 1);
	}
	settle(s, settle_limit(s), "the last guest");
}

static void live(struct sim *s)
{
	s->now_ns = MS;
	for (uint16_t c = 0; c < s->cfg.cells; c++)
		monitor_launch(s, c, true, sim_draw(s, 4 * MS));
	settle(s, settle_limit(s), "the start");
	s->busy = true;
	for (uint32_t i = 0; i < s->cfg.guests * s->cfg.cells / 2u; i++)
		sim_push(s, &(struct event){ .what = EV_GUEST }, sim_draw(s, 50 * MS));
	run_until(s, s->now_ns + 60 * MS);
	switch (s->cfg.scenario) {
	case SIM_FAULTS:
		faults_draw(s);
		run_until(s, s->now_ns + s->cfg.fault_ms * MS);
		faults_stop(s);
		settle(s, settle_limit(s), "the last fault");
		break;
	case SIM_QUIET:
		run_until(s, s->now_ns + s->cfg.fault_ms * MS);
		s->busy = false;
		settle(s, settle_limit(s), "the last guest came or went");
		break;
	default:
		measure(s);
		break;
	}
	if (!s->result->violated && s->last_fault_ns)
		s->result->settle_ns = s->now_ns - s->last_fault_ns;
	serve(s);
}

static void free_event(struct event *e)
{
	if (e->what == EV_MESSAGE)
		free(e->message.bytes);
}

static void fini(struct sim *s)
{
	for (size_t i = 0; i < s->heap_count; i++)
		free_event(&s->heap[i]);
	for (uint16_t c = 0; s->cells && c < s->cfg.cells; c++) {
		for (size_t i = 0; i < s->cells[c].waiting; i++)
			free_event(&s->cells[c].backlog[i]);
		free(s->cells[c].backlog);
	}
	free(s->heap);
	free(s->cells);
	free(s->links);
	free(s->guests);
	free(s->books);
	free(s->peer_words);
	free(s->node_used);
	free(s->peers);
	free(s->visits);
	free(s->visitors);
	free(s->sent);
	free(s->heard);
	free(s->foreign);
	free(s->idle_ns);
	free(s->round);
	free(s->far);
	free(s->agreed);
	free(s->slots);
}

/* Describes the machine, or one cell of it if it is too big for that. */
static void describe(struct sim *s)
{
	uint32_t nodes = s->cfg.nodes, cells = s->cfg.cells;

	s->wide = cells * nodes <= MACHINE_NODES_MAX;
	s->partition.cell_count = s->wide ? cells : 1;
	s->layout.node_count = s->partition.cell_count * nodes;
	for (uint32_t n = 0; n < s->layout.node_count; n++) {
		struct cell_plan *plan = &s->partition.cells[n / nodes];

		s->layout.nodes[n].os_node = n;
		s->layout.nodes[n].memory_bytes = 1;
		for (uint32_t k = 0; k < CPUS_PER_NODE; k++)
			cpu_set_add(&s->layout.nodes[n].cpus, n * CPUS_PER_NODE + k);
		cpu_set_merge(&plan->cpus, &s->layout.nodes[n].cpus);
		plan->nodes[plan->node_count++] = n;
		plan->memory_bytes++;
		for (uint32_t to = 0; to < s->layout.node_count; to++) {
			uint32_t far = n / nodes > to / nodes ? n / nodes - to / nodes
							      : to / nodes - n / nodes;

			s->layout.distance[n][to] = (uint8_t)(n == to ? 10 : 15 + 3 * far);
		}
	}
}

/* What lending and balancing need; false: no memory. */
static bool lend_and_balance(struct sim *s)
{
	size_t n = s->cfg.cells;

	describe(s);
	s->books = calloc(n, s->book_bytes);
	s->peer_words = calloc(n * n, sizeof(*s->peer_words));
	s->node_used = calloc(n * s->cfg.nodes, sizeof(*s->node_used));
	s->peers = calloc(n * n, sizeof(*s->peers));
	s->foreign = calloc(CPU_SET_CPUS, sizeof(*s->foreign));
	s->idle_ns = calloc(CPU_SET_CPUS, sizeof(*s->idle_ns));
	s->visits = s->wide ? calloc(n, sizeof(*s->visits)) : NULL;
	s->visitors = s->wide ? calloc(n, sizeof(*s->visitors)) : NULL;
	s->sent = s->wide ? calloc(n * n * s->cfg.guests + 1, sizeof(*s->sent)) : NULL;
	s->heard = s->wide ? calloc(n * n * s->cfg.guests + 1, sizeof(*s->heard)) : NULL;
	s->far = malloc(2 * n);
	if (!s->books || !s->peer_words || !s->node_used || !s->peers || !s->foreign ||
		!s->idle_ns || !s->far ||
		(s->wide && !(s->visits && s->visitors && s->sent && s->heard)))
		return false;
	for (size_t i = 0; i < 2 * n; i++) {
		size_t far = i > n ? i - n : n - i;

		s->far[i] = (uint8_t)(far < 24 ? 10 + 10 * far : 250);
	}
	return true;
}

bool sim_run(const struct sim_cfg *cfg, uint64_t seed, struct sim_result *result)
{
	size_t n = cfg->cells;
	struct sim s = { .cfg = *cfg,
		.result = result,
		.random = seed,
		.pace = cfg->cells > MEMBER_MESH_MAX ? PACE_BIG : 1 };
	bool ok;

	memset(result, 0, sizeof(*result));
	result->seed = seed;
	s.slot_bytes = sizeof(struct slot) + member_bytes(cfg->cells);
	s.guest_room = (uint32_t)(n * cfg->guests) + 1;
	s.node_units = 8 + (cfg->guests * GUEST_UNITS + cfg->nodes - 1) / cfg->nodes;
	s.line_max = 16 + 4 * cfg->guests;
	s.book_bytes = loans_bytes(cfg->cells, s.line_max);
	s.cells = calloc(n, sizeof(*s.cells));
	s.links = calloc(n * n, sizeof(*s.links));
	s.guests = calloc(s.guest_room, sizeof(*s.guests));
	ok = lend_and_balance(&s);
	s.slots = calloc(n, s.slot_bytes);
	ok = ok && s.cells && s.links && s.guests && s.slots;
	if (ok)
		live(&s);
	sim_mix(&s, s.now_ns);
	for (uint16_t c = 0; ok && c < n; c++)
		sim_mix(&s,
			s.cells[c].epoch ^ (uint64_t)s.cells[c].life << 20 ^ s.cells[c].nodes_dead);
	sim_mix(&s, result->guests_hurt + (uint64_t)result->loans * 4096);
	fini(&s);
	return ok;
}
