/* SPDX-License-Identifier: BSD-2-Clause */
#include "numa/balance_round.h"

#include <string.h>

#include "numa/check.h"

#define EIGHT(bytes) (((bytes) + 7) & ~(size_t)7)

/* What a round works on; lies in memory of the caller. */
struct round {
	const struct round_input *in;
	struct balance *b;
	struct balance_cpu *cpus; /* in order of cell and node */
	uint32_t cpu_count;
	uint32_t *os_cpu; /* of each of cpus[] */
	uint32_t *index;  /* [CPU_SET_CPUS]: the reverse, CPU_NONE for no CPU of the machine */
	uint32_t *place;  /* [vcpu_count]: index of the CPU that it counts on */
	uint32_t *was;	  /* the same, when the round began */
	struct balance_vcpu *vcpus;   /* ours, and then those of others */
	struct balance_guest *guests; /* ours, and one that nothing of may move */
	uint8_t *distance;
	struct round_move *moves;
	uint32_t move_count, move_max;
};

uint32_t round_node_of(const struct machine *machine, uint32_t cpu)
{
	for (uint32_t n = 0; n < machine->node_count; n++)
		if (cpu_set_has(&machine->nodes[n].cpus, cpu))
			return n;
	return NODE_NONE;
}

const char *round_reason_name(enum round_reason reason)
{
	static const char *const names[ROUND_REASON_COUNT] = {
		[ROUND_LOST] = "lost-cpu",
		[ROUND_GANG] = "gang",
		[ROUND_HOME] = "home",
		[ROUND_IDLE] = "idle",
		[ROUND_SPREAD] = "spread",
	};

	return reason < ROUND_REASON_COUNT ? names[reason] : "unknown";
}

void round_cpus(const struct machine *machine, uint32_t cpu, bool gang, struct cpu_set *cpus)
{
	uint32_t node = round_node_of(machine, cpu);

	if (gang || node == NODE_NONE) {
		memset(cpus, 0, sizeof(*cpus));
		cpu_set_add(cpus, cpu);
	} else {
		*cpus = machine->nodes[node].cpus;
	}
}

static uint32_t cell_of(const struct round_input *in, uint32_t cpu)
{
	uint32_t node = round_node_of(in->machine, cpu);

	return node == NODE_NONE ? CELL_NONE : cells_of_node(in->cells, node);
}

/* --- where vCPUs count as running --- */

/* CPUs that the vCPU may use, that are there, and in cells that its guest needs. */
static bool may_use(const struct round_input *in, const struct round_vcpu *v, uint32_t cpu)
{
	uint32_t cell = cell_of(in, cpu);

	return cpu_set_has(&v->allowed, cpu) && cpu_set_has(&in->usable, cpu) &&
	       cell != CELL_NONE && balance_needs(&in->guests[v->guest].needs, cell);
}

/* The least busy CPU that it may use, the lowest on ties. */
static uint32_t least_busy(
	const struct round_input *in, const struct round_vcpu *v, const uint16_t load[CPU_SET_CPUS])
{
	uint32_t best = CPU_NONE;

	for (uint32_t cpu = cpu_set_next(&v->allowed, 0); cpu != CPU_NONE;
		cpu = cpu_set_next(&v->allowed, cpu + 1))
		if (may_use(in, v, cpu) && (best == CPU_NONE || load[cpu] < load[best]))
			best = cpu;
	return best;
}

static bool is_one(const struct cpu_set *s)
{
	uint32_t first = cpu_set_next(s, 0);

	return first != CPU_NONE && cpu_set_next(s, first + 1) == CPU_NONE;
}

static bool stays(const struct round_input *in, const struct round_vcpu *v)
{
	return v->held || (v->moved_ns && in->now_ns - v->moved_ns < in->stay_ns);
}

/* In which order they are placed: whoever comes later gets the CPUs that have to be shared. */
enum turn { PINNED, BOUND, FREE };

/*
 * Those that may go to another cell come last: of a crowd in which the kernel lets
 * all share all CPUs, the one too many is one that can be moved.
 */
static enum turn turn_of(const struct round_input *in, const struct round_vcpu *v)
{
	if (is_one(&v->allowed))
		return PINNED;
	return stays(in, v) || in->guests[v->guest].needs_max <= 1 ? BOUND : FREE;
}

static void place_in_turn(const struct round_input *in, uint16_t load[CPU_SET_CPUS], uint32_t *cpus,
	enum turn turn, bool runnable)
{
	for (uint32_t v = 0; v < in->vcpu_count; v++) {
		const struct round_vcpu *vcpu = &in->vcpus[v];

		if (vcpu->runnable != runnable || turn_of(in, vcpu) != turn)
			continue;
		cpus[v] = least_busy(in, vcpu, load);
		if (cpus[v] != CPU_NONE && runnable)
			load[cpus[v]]++;
	}
}

void round_places(const struct round_input *in, uint32_t *cpus)
{
	uint16_t load[CPU_SET_CPUS];

	memcpy(load, in->foreign, sizeof(load));
	for (enum turn turn = PINNED; turn <= FREE; turn++)
		place_in_turn(in, load, cpus, turn, true);
	for (enum turn turn = PINNED; turn <= FREE; turn++)
		place_in_turn(in, load, cpus, turn, false);
}

/* --- setting up --- */

static uint32_t machine_cpus(const struct machine *machine)
{
	uint32_t count = 0;

	for (uint32_t n = 0; n < machine->node_count; n++)
		count += cpu_set_count(&machine->nodes[n].cpus);
	return count;
}

size_t round_bytes(const struct machine *machine, uint32_t vcpus, uint32_t guests, uint32_t foreign)
{
	uint32_t cpus = machine_cpus(machine);

	return EIGHT(sizeof(struct round)) + EIGHT(cpus * sizeof(struct balance_cpu)) +
	       EIGHT(cpus * sizeof(uint32_t)) + EIGHT(CPU_SET_CPUS * sizeof(uint32_t)) +
	       2 * EIGHT((vcpus + 1) * sizeof(uint32_t)) +
	       EIGHT(((size_t)vcpus + foreign) * sizeof(struct balance_vcpu)) +
	       EIGHT(((size_t)guests + 1) * sizeof(struct balance_guest)) +
	       EIGHT((size_t)machine->node_count * machine->node_count) +
	       EIGHT(balance_bytes(cpus, machine->node_count));
}

static void *carve(uint8_t **at, size_t bytes)
{
	uint8_t *part = *at;

	*at += EIGHT(bytes);
	return part;
}

static void list_cpus(struct round *r)
{
	const struct round_input *in = r->in;

	for (uint32_t cpu = 0; cpu < CPU_SET_CPUS; cpu++)
		r->index[cpu] = CPU_NONE;
	for (uint32_t c = 0; c < in->cells->cell_count; c++) {
		const struct cell_plan *cell = &in->cells->cells[c];

		for (uint32_t i = 0; i < cell->node_count; i++) {
			const struct cpu_set *set = &in->machine->nodes[cell->nodes[i]].cpus;

			for (uint32_t cpu = cpu_set_next(set, 0); cpu != CPU_NONE;
				cpu = cpu_set_next(set, cpu + 1)) {
				r->cpus[r->cpu_count] = (struct balance_cpu){ .cell = c,
					.node = cell->nodes[i],
					.usable = cpu_set_has(&in->usable, cpu) };
				r->index[cpu] = r->cpu_count;
				r->os_cpu[r->cpu_count++] = cpu;
			}
		}
	}
}

/* Returns how many there are with those of other cells. */
static uint32_t list_vcpus(struct round *r)
{
	const struct round_input *in = r->in;
	uint32_t count = in->vcpu_count;

	round_places(in, r->place);
	for (uint32_t v = 0; v < in->vcpu_count; v++) {
		const struct round_vcpu *vcpu = &in->vcpus[v];
		r->place[v] = r->place[v] == CPU_NONE ? BALANCE_NONE : r->index[r->place[v]];
		r->was[v] = r->place[v];
		r->vcpus[v] = (struct balance_vcpu){ .cpu = r->place[v],
			.guest = stays(in, vcpu) ? in->guest_count : vcpu->guest,
			.runnable = vcpu->runnable,
			.moved_ns = vcpu->moved_ns };
	}
	for (uint32_t c = 0; c < r->cpu_count; c++)
		for (uint32_t i = 0; i < in->foreign[r->os_cpu[c]]; i++)
			r->vcpus[count++] = (struct balance_vcpu){
				.cpu = c, .guest = in->guest_count, .runnable = true
			};
	return count;
}

static void begin(struct round *r, uint8_t *at, uint32_t foreign)
{
	const struct round_input *in = r->in;
	const uint32_t cpus = machine_cpus(in->machine), nodes = in->machine->node_count;
	struct balance_input input = { .node_count = nodes, .guest_count = in->guest_count + 1 };

	r->cpus = carve(&at, cpus * sizeof(*r->cpus));
	r->os_cpu = carve(&at, cpus * sizeof(uint32_t));
	r->index = carve(&at, CPU_SET_CPUS * sizeof(uint32_t));
	r->place = carve(&at, (in->vcpu_count + 1) * sizeof(uint32_t));
	r->was = carve(&at, (in->vcpu_count + 1) * sizeof(uint32_t));
	r->vcpus = carve(&at, ((size_t)in->vcpu_count + foreign) * sizeof(*r->vcpus));
	r->guests = carve(&at, ((size_t)in->guest_count + 1) * sizeof(*r->guests));
	r->distance = carve(&at, (size_t)nodes * nodes);
	list_cpus(r);
	for (uint32_t a = 0; a < nodes; a++)
		memcpy(r->distance + (size_t)a * nodes, in->machine->distance[a], nodes);
	for (uint32_t g = 0; g < in->guest_count; g++) {
		r->guests[g] = (struct balance_guest){ .needs = in->guests[g].needs,
			.needs_max = in->guests[g].needs_max,
			.gang = in->guests[g].gang };
	}
	/* Needs nothing and may need nothing: so nothing of it may go anywhere. */
	memset(&r->guests[in->guest_count], 0, sizeof(r->guests[0]));
	input.vcpu_count = list_vcpus(r);
	input.cpu_count = r->cpu_count;
	input.cpus = r->cpus;
	input.vcpus = r->vcpus;
	input.guests = r->guests;
	input.distance = r->distance;
	r->b = balance_start(at, &input);
	CHECK(r->b != NULL); /* a machine and cells that were checked */
}

/* --- moves --- */

/* Is there another vCPU of the same gang on that CPU (index)? */
static bool gang_shares(const struct round *r, const uint32_t *place, uint32_t vcpu, uint32_t cpu)
{
	const struct round_input *in = r->in;
	uint32_t guest = in->vcpus[vcpu].guest;

	if (!in->guests[guest].gang)
		return false;
	for (uint32_t v = 0; v < in->vcpu_count; v++)
		if (v != vcpu && in->vcpus[v].guest == guest && place[v] == cpu)
			return true;
	return false;
}

/* Or was there when the round began? To leave a CPU may take a host's consent. */
static bool gang_clash(const struct round *r, uint32_t vcpu, uint32_t cpu)
{
	return gang_shares(r, r->place, vcpu, cpu) || gang_shares(r, r->was, vcpu, cpu);
}

/* Writes it down, over what was decided of this vCPU before. false: no room. */
static bool note(struct round *r, uint32_t vcpu, uint32_t to, enum round_reason reason)
{
	uint32_t i = 0, from = r->place[vcpu];

	while (i < r->move_count && r->moves[i].vcpu != vcpu)
		i++;
	if (i == r->move_max)
		return false;
	if (i == r->move_count) {
		r->moves[r->move_count++] = (struct round_move){ .vcpu = vcpu,
			.from = from == BALANCE_NONE ? CPU_NONE : r->os_cpu[from],
			.reason = reason };
	}
	r->moves[i].to = r->os_cpu[to];
	r->place[vcpu] = to;
	return true;
}

/* The same, also in the balancer's books, whose decision it is not. */
static void put(struct round *r, uint32_t vcpu, uint32_t to, enum round_reason reason)
{
	if (note(r, vcpu, to, reason))
		balance_set(r->b, vcpu, to, r->vcpus[vcpu].runnable);
}

/* What the CPU (index) has to run besides this vCPU. */
static uint32_t others_on(const struct round *r, uint32_t cpu, uint32_t vcpu)
{
	return balance_load(r->b, cpu) - (r->place[vcpu] == cpu && r->vcpus[vcpu].runnable);
}

/* Where a CPU is looked for: near the memory, in the home cell, in all cells that are needed. */
enum where { NEAR, AT_HOME, NEEDED };

/*
 * The least busy CPU (index) of the cells that the guest needs, as far as `where`
 * allows, and none that it shares with its gang; the lowest on ties.
 */
static uint32_t find_cpu(const struct round *r, uint32_t vcpu, enum where where, bool alone)
{
	const struct round_guest *g = &r->in->guests[r->in->vcpus[vcpu].guest];
	uint32_t best = CPU_NONE;

	for (uint32_t c = 0; c < r->cpu_count; c++) {
		if (!r->cpus[c].usable || !balance_needs(&g->needs, r->cpus[c].cell) ||
			(where == NEAR && !cpu_set_has(&g->near, r->os_cpu[c])) ||
			(where == AT_HOME && r->cpus[c].cell != g->home) ||
			(alone && gang_clash(r, vcpu, c)))
			continue;
		if (best == CPU_NONE || others_on(r, c, vcpu) < others_on(r, best, vcpu))
			best = c;
	}
	return best;
}

/*
 * One that is lost goes where nobody has to be asked, even if two of a gang share a
 * CPU then: a host may refuse it, again and again. The gang is sorted out afterwards.
 */
static uint32_t find_any(const struct round *r, uint32_t vcpu, bool lost)
{
	static const struct {
		enum where where;
		bool alone, lost;
	} order[] = {
		{ NEAR, true, true },
		{ AT_HOME, true, true },
		{ NEEDED, true, false },
		{ NEAR, false, true },
		{ AT_HOME, false, true },
		{ NEEDED, false, true },
	};
	uint32_t cpu = CPU_NONE;

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]) && cpu == CPU_NONE; i++)
		if (!lost || order[i].lost)
			cpu = find_cpu(r, vcpu, order[i].where, order[i].alone);
	return cpu;
}

/* May it run on CPUs of cells that its guest does not need? */
static bool leaks(const struct round_input *in, const struct round_vcpu *v)
{
	for (uint32_t cpu = cpu_set_next(&v->allowed, 0); cpu != CPU_NONE;
		cpu = cpu_set_next(&v->allowed, cpu + 1)) {
		uint32_t cell = cell_of(in, cpu);

		if (cell == CELL_NONE || !balance_needs(&in->guests[v->guest].needs, cell))
			return true;
	}
	return false;
}

/* What must not stay as it is, whatever the loads. */
static void put_in_order(struct round *r)
{
	const struct round_input *in = r->in;

	for (uint32_t v = 0; v < in->vcpu_count; v++) {
		const struct round_vcpu *vcpu = &in->vcpus[v];
		bool lost = r->place[v] == BALANCE_NONE || leaks(in, vcpu);
		bool gang = in->guests[vcpu->guest].gang;
		uint32_t cpu;

		if (!lost && (!gang || vcpu->held ||
				     (is_one(&vcpu->allowed) &&
					     !gang_shares(r, r->place, v, r->place[v]))))
			continue;
		cpu = find_any(r, v, lost);
		/* Two that share one CPU of a gang for want of another stay as they are. */
		if (cpu == CPU_NONE || (!lost && cpu == r->place[v] && is_one(&vcpu->allowed)))
			continue;
		put(r, v, cpu, lost ? ROUND_LOST : ROUND_GANG);
	}
}

/* Back to the memory: those that do nothing, and those that run no better where they are. */
static void send_home(struct round *r)
{
	const struct round_input *in = r->in;

	for (uint32_t v = 0; v < in->vcpu_count; v++) {
		const struct round_vcpu *vcpu = &in->vcpus[v];
		const struct round_guest *g = &in->guests[vcpu->guest];
		uint32_t at = r->place[v], to;
		bool idle = !vcpu->runnable && vcpu->idle_ns >= ROUND_IDLE_HOME_NS;

		if (at == BALANCE_NONE || cpu_set_has(&g->near, r->os_cpu[at]) ||
			r->vcpus[v].guest == in->guest_count || (!idle && !vcpu->runnable))
			continue;
		to = find_cpu(r, v, NEAR, true);
		if (to == CPU_NONE ||
			(!idle && balance_load(r->b, to) + 1 > balance_load(r->b, at)))
			continue;
		put(r, v, to, ROUND_HOME);
	}
}

static bool was_lost(const struct round *r, uint32_t vcpu)
{
	for (uint32_t i = 0; i < r->move_count; i++)
		if (r->moves[i].vcpu == vcpu && r->moves[i].reason == ROUND_LOST)
			return true;
	return false;
}

/*
 * The balancer's moves, which are in its books already. One that has just been found
 * a CPU gets there first.
 */
static void take(
	struct round *r, const struct balance_move *moves, uint32_t count, enum round_reason reason)
{
	for (uint32_t i = 0; i < count; i++)
		if (!was_lost(r, moves[i].vcpu) && !gang_clash(r, moves[i].vcpu, moves[i].to))
			note(r, moves[i].vcpu, moves[i].to, reason);
}

static void balance_cell(struct round *r)
{
	const struct round_input *in = r->in;
	struct balance_move moves[16];
	uint32_t first = CPU_NONE, node = NODE_NONE;

	for (uint32_t c = 0; c < r->cpu_count; c++) {
		if (r->cpus[c].cell != in->self)
			continue;
		first = first == CPU_NONE ? c : first;
		if (r->cpus[c].usable &&
			balance_idle(r->b, in->now_ns, c, in->cpu_idle_ns[r->os_cpu[c]], moves))
			take(r, moves, 1, ROUND_IDLE);
	}
	for (uint32_t c = 0; c < r->cpu_count; c++) {
		if (r->cpus[c].cell != in->self || r->cpus[c].node == node)
			continue;
		node = r->cpus[c].node;
		take(r, moves, balance_periodic(r->b, in->now_ns, c, BALANCE_NODE, moves, 16),
			ROUND_SPREAD);
	}
	if (first != CPU_NONE)
		take(r, moves, balance_periodic(r->b, in->now_ns, first, BALANCE_CELL, moves, 16),
			ROUND_SPREAD);
}

/* What the kernel's scheduler does by itself, or what has come back to where it was. */
static void drop_idle_moves(struct round *r)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < r->move_count; i++) {
		const struct round_move *m = &r->moves[i];
		const struct round_vcpu *v = &r->in->vcpus[m->vcpu];

		if (m->reason > ROUND_GANG && !r->in->guests[v->guest].gang &&
			cpu_set_has(&v->allowed, m->to))
			continue;
		if (m->reason > ROUND_GANG && m->to == m->from)
			continue;
		r->moves[kept++] = *m;
	}
	r->move_count = kept;
}

uint32_t round_decide(
	void *memory, const struct round_input *in, struct round_move *moves, uint32_t max)
{
	struct round *r = memory;
	struct balance_move found[16];
	uint32_t foreign = 0;

	for (uint32_t cpu = 0; cpu < CPU_SET_CPUS; cpu++)
		foreign += in->foreign[cpu];
	memset(memory, 0, sizeof(*r));
	r->in = in;
	r->moves = moves;
	r->move_max = max;
	begin(r, (uint8_t *)memory + EIGHT(sizeof(*r)), foreign);
	put_in_order(r);
	send_home(r);
	if (in->scopes & ROUND_IN_CELL)
		balance_cell(r);
	if (in->scopes & ROUND_MACHINE)
		take(r, found, balance_periodic(r->b, in->now_ns, 0, BALANCE_MACHINE, found, 16),
			ROUND_SPREAD);
	drop_idle_moves(r);
	return r->move_count;
}

/* --- coming back --- */

/* Is it a CPU of the vCPU's home that it may have for itself, if it is of a gang? */
static bool is_free(const struct round_input *in, uint32_t vcpu, uint32_t cpu)
{
	const struct round_guest *g = &in->guests[in->vcpus[vcpu].guest];

	if (!cpu_set_has(&in->usable, cpu) || cell_of(in, cpu) != g->home)
		return false;
	for (uint32_t v = 0; g->gang && v < in->vcpu_count; v++)
		if (v != vcpu && in->vcpus[v].guest == in->vcpus[vcpu].guest &&
			cpu_set_has(&in->vcpus[v].allowed, cpu))
			return false;
	return true;
}

uint32_t round_back(const struct round_input *in, uint32_t vcpu, uint32_t wanted)
{
	const struct round_guest *g = &in->guests[in->vcpus[vcpu].guest];
	uint32_t best = CPU_NONE;

	if (is_free(in, vcpu, wanted))
		return wanted;
	for (uint32_t cpu = cpu_set_next(&in->usable, 0); cpu != CPU_NONE;
		cpu = cpu_set_next(&in->usable, cpu + 1))
		if (is_free(in, vcpu, cpu) &&
			(best == CPU_NONE ||
				(cpu_set_has(&g->near, cpu) && !cpu_set_has(&g->near, best))))
			best = cpu;
	return best == CPU_NONE ? wanted : best;
}

/* --- a new gang --- */

bool round_gang(
	const struct round_input *in, uint32_t guest, uint32_t vcpus, uint32_t *to, uint32_t *found)
{
	const struct round_guest *g = &in->guests[guest];
	uint16_t load[CPU_SET_CPUS];
	struct cpu_set taken = { { 0 } };

	memcpy(load, in->foreign, sizeof(load));
	for (uint32_t v = 0; v < in->vcpu_count; v++) {
		uint32_t cpu =
			in->vcpus[v].runnable ? least_busy(in, &in->vcpus[v], load) : CPU_NONE;

		if (cpu != CPU_NONE)
			load[cpu]++;
	}
	for (*found = 0; *found < vcpus; (*found)++) {
		uint32_t best = CPU_NONE;

		for (uint32_t cpu = cpu_set_next(&in->usable, 0); cpu != CPU_NONE;
			cpu = cpu_set_next(&in->usable, cpu + 1)) {
			bool near = cpu_set_has(&g->near, cpu);
			bool best_near = best != CPU_NONE && cpu_set_has(&g->near, best);
			uint32_t cell = cell_of(in, cpu);

			if (cpu_set_has(&taken, cpu) || cell == CELL_NONE ||
				!balance_needs(&g->needs, cell))
				continue;
			if (best == CPU_NONE || (near && !best_near) ||
				(near == best_near && load[cpu] < load[best]))
				best = cpu;
		}
		if (best == CPU_NONE)
			return false;
		cpu_set_add(&taken, best);
		to[*found] = best;
	}
	return true;
}
