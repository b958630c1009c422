/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>
#include <string.h>

#include "machines.h"
#include "numa/balance_round.h"

#define MS 1000000ull
#define VCPUS 24u
#define GUESTS 6u

/*
 * Nodes 0 to 3 with CPUs 0,1 / 2,3 / 4,5 / 6,7; cell 0 is nodes 0 and 1, cell 1 nodes
 * 2 and 3. We are cell 1. Guest g is at home on node 2 (3 for odd g).
 */
struct lab {
	struct machine machine;
	struct cells cells;
	uint16_t foreign[CPU_SET_CPUS];
	uint64_t idle_ns[CPU_SET_CPUS];
	struct round_vcpu vcpus[VCPUS];
	struct round_guest guests[GUESTS];
	struct round_input in;
	struct round_move moves[16];
	void *memory;
};

static struct lab *new_lab(void)
{
	static struct lab l;
	uint32_t at;

	memset(&l, 0, sizeof(l));
	l.machine = machine_plain(4);
	cr_assert_eq(cells_parse(&l.machine, "0,1/2,3", &l.cells, &at), CELLS_OK);
	l.in = (struct round_input){ .machine = &l.machine,
		.cells = &l.cells,
		.self = 1,
		.scopes = ROUND_IN_CELL | ROUND_MACHINE,
		.now_ns = 5000 * MS,
		.stay_ns = 100 * MS,
		.foreign = l.foreign,
		.cpu_idle_ns = l.idle_ns,
		.vcpus = l.vcpus,
		.guests = l.guests,
		.guest_count = GUESTS };
	cr_assert_eq(cpu_set_parse("0-7", &l.in.usable), 0);
	for (uint32_t g = 0; g < GUESTS; g++) {
		l.guests[g] = (struct round_guest){ .home = 1, .needs_max = 1 };
		balance_need(&l.guests[g].needs, 1);
		l.guests[g].near = l.machine.nodes[2 + g % 2].cpus;
	}
	return &l;
}

/* A vCPU of that guest that may use these CPUs. */
static struct round_vcpu *add(struct lab *l, uint32_t guest, const char *cpus, bool runnable)
{
	struct round_vcpu *v = &l->vcpus[l->in.vcpu_count++];

	*v = (struct round_vcpu){ .guest = guest, .runnable = runnable };
	cr_assert_eq(cpu_set_parse(cpus, &v->allowed), 0);
	return v;
}

static uint32_t decide(struct lab *l)
{
	uint32_t foreign = 0, count;

	for (uint32_t c = 0; c < CPU_SET_CPUS; c++)
		foreign += l->foreign[c];
	l->memory = malloc(round_bytes(&l->machine, l->in.vcpu_count, GUESTS, foreign));
	count = round_decide(l->memory, &l->in, l->moves, 16);
	free(l->memory);
	for (uint32_t i = 0; i < count; i++)
		for (uint32_t k = 0; k < i; k++)
			cr_assert_neq(l->moves[i].vcpu, l->moves[k].vcpu, "each at most once");
	return count;
}

/* Guests that must stay share CPUs with one that may leave: it leaves, whoever came first. */
Test(balance_round, of_a_crowd_the_one_that_may_leave_is_too_many)
{
	for (uint32_t roamer = 0; roamer < 3; roamer++) {
		struct lab *l = new_lab();

		for (uint32_t g = 0; g < 3; g++)
			add(l, g == roamer ? 1 : 0, "4-5", true);
		l->guests[1].needs_max = 2;
		l->guests[1].near = l->machine.nodes[2].cpus;
		/* The cell's other node has nothing to give. */
		l->foreign[6] = l->foreign[7] = 2;
		l->in.scopes = ROUND_MACHINE;
		cr_assert_eq(decide(l), 1, "roamer %u", roamer);
		cr_assert_eq(l->moves[0].vcpu, roamer);
		cr_assert_lt(l->moves[0].to, 4u);
	}
}

Test(balance_round, places_as_a_scheduler_would)
{
	struct lab *l = new_lab();
	uint32_t at[VCPUS];

	add(l, 0, "4-5", true);
	add(l, 0, "4-5", true);
	add(l, 0, "4", true); /* pinned: the others make room */
	add(l, 1, "6-7", false);
	add(l, 1, "2", true); /* no CPU of a cell that it needs */
	l->foreign[6] = 3;
	add(l, 1, "6-7", true);
	round_places(&l->in, at);
	cr_assert_eq(at[2], 4);
	cr_assert_eq(at[0], 5);
	cr_assert_eq(at[1], 4);
	cr_assert_eq(at[4], CPU_NONE);
	cr_assert_eq(at[5], 7, "visitors are on 6");
	cr_assert_eq(at[3], 7, "one that does nothing is no load");
}

Test(balance_round, within_a_node_the_kernel_does_it)
{
	struct lab *l = new_lab();

	add(l, 0, "4-5", true);
	add(l, 0, "4-5", true);
	add(l, 1, "6-7", true);
	cr_assert_eq(decide(l), 0);
	add(l, 2, "4-5", true);
	add(l, 2, "6-7", true);
	cr_assert_eq(decide(l), 0, "3 on 2 and 2 on 2: a move would gain nothing");
	add(l, 2, "4-5", true);
	add(l, 2, "4-7", false)->idle_ns = 2 * ROUND_IDLE_HOME_NS;
	cr_assert_eq(decide(l), 0, "it may go home by itself");
}

Test(balance_round, pinned_badly_they_are_spread)
{
	struct lab *l = new_lab();
	struct cpu_set cpus;

	add(l, 0, "4", true);
	add(l, 2, "4", true);
	add(l, 4, "4", true);
	add(l, 4, "4", true);
	cr_assert_eq(decide(l), 3);
	for (uint32_t i = 0; i < 3; i++) {
		cr_assert_eq(l->moves[i].from, 4);
		cr_assert_eq(l->moves[i].reason, ROUND_SPREAD);
		cr_assert(l->moves[i].to >= 5 && l->moves[i].to <= 7, "CPU %u", l->moves[i].to);
	}
	round_cpus(&l->machine, 7, false, &cpus);
	cr_assert(cpu_set_count(&cpus) == 2 && cpu_set_has(&cpus, 6) && cpu_set_has(&cpus, 7));
	round_cpus(&l->machine, 7, true, &cpus);
	cr_assert(cpu_set_count(&cpus) == 1 && cpu_set_has(&cpus, 7));
}

Test(balance_round, an_idle_cpu_takes_from_its_node_first)
{
	struct lab *l = new_lab();

	l->in.scopes = ROUND_IN_CELL;
	add(l, 0, "4", true);
	add(l, 0, "4", true);
	l->idle_ns[5] = 4 * MS;
	cr_assert_eq(decide(l), 1);
	cr_assert_eq(l->moves[0].to, 5);
	cr_assert_eq(l->moves[0].reason, ROUND_IDLE);
}

Test(balance_round, held_and_lately_moved_ones_stay)
{
	struct lab *l = new_lab();
	struct round_vcpu *held, *late;

	held = add(l, 0, "4", true);
	late = add(l, 0, "4", true);
	held->held = true;
	late->moved_ns = l->in.now_ns - 50 * MS;
	cr_assert_eq(decide(l), 0);
	late->moved_ns = l->in.now_ns - 150 * MS;
	cr_assert_eq(decide(l), 1);
	cr_assert_eq(l->moves[0].vcpu, 1);
}

Test(balance_round, other_cells_only_for_those_who_may_need_them)
{
	struct lab *l = new_lab();

	for (uint32_t i = 0; i < 3; i++) {
		add(l, 0, "4-5", true);
		add(l, 1, "6-7", true);
	}
	add(l, 2, "4-5", true);
	cr_assert_eq(decide(l), 0, "nobody may");
	l->guests[0].needs_max = 2;
	l->in.scopes = ROUND_IN_CELL;
	cr_assert_eq(decide(l), 0, "that is the machine's affair");
	l->in.scopes |= ROUND_MACHINE;
	l->foreign[0] = l->foreign[1] = l->foreign[2] = 1;
	cr_assert_eq(decide(l), 1);
	cr_assert_eq(l->moves[0].to, 3, "the one that is idle");
	cr_assert_eq(l->vcpus[l->moves[0].vcpu].guest, 0);
	cpu_set_parse("0-2,4-7", &l->in.usable);
	cr_assert_eq(decide(l), 0, "1 there and 2 here: nothing to gain");
}

Test(balance_round, home_when_it_is_no_loss)
{
	struct lab *l = new_lab();
	struct round_vcpu *away;

	l->guests[0].needs_max = 2;
	balance_need(&l->guests[0].needs, 0);
	away = add(l, 0, "0-1", true);
	add(l, 0, "4-5", true);
	add(l, 2, "4-5", true);
	add(l, 1, "6-7", true);
	cr_assert_eq(decide(l), 0, "it would share a CPU at home");
	l->vcpus[2].runnable = false;
	cr_assert_eq(decide(l), 1);
	cr_assert_eq(l->moves[0].vcpu, 0);
	cr_assert_eq(l->moves[0].reason, ROUND_HOME);
	cr_assert(l->moves[0].to == 4 || l->moves[0].to == 5, "near its memory");
	l->vcpus[2].runnable = true;
	away->runnable = false;
	away->idle_ns = ROUND_IDLE_HOME_NS - 1;
	cr_assert_eq(decide(l), 0);
	away->idle_ns++;
	cr_assert_eq(decide(l), 1, "idle for long enough");
	cr_assert_eq(l->moves[0].reason, ROUND_HOME);
	away->held = true;
	cr_assert_eq(decide(l), 0);
}

Test(balance_round, lost_cpus)
{
	struct lab *l = new_lab();

	add(l, 0, "0-7", true); /* as the kernel leaves a thread whose CPUs went */
	l->vcpus[0].held = true;
	cr_assert_eq(decide(l), 1, "it may run where its guest needs nothing");
	cr_assert_eq(l->moves[0].reason, ROUND_LOST);
	cr_assert_eq(l->moves[0].to, 4);
	cpu_set_parse("4-5", &l->vcpus[0].allowed);
	cpu_set_parse("0-3,7", &l->in.usable);
	cr_assert_eq(decide(l), 1, "its node's CPUs are offline");
	cr_assert_eq(l->moves[0].from, CPU_NONE);
	cr_assert_eq(l->moves[0].to, 7, "of its own cell, not of another");
	cpu_set_parse("6-7", &l->vcpus[0].allowed);
	cpu_set_parse("0-7", &l->in.usable);
	l->vcpus[0].held = false;
	cr_assert_eq(decide(l), 1, "they are back");
	cr_assert_eq(l->moves[0].reason, ROUND_HOME);
	cr_assert_eq(l->moves[0].to, 4);
}

Test(balance_round, never_two_of_a_gang_on_one_cpu)
{
	struct lab *l = new_lab();
	uint32_t to[4], found;

	l->guests[0].gang = true;
	add(l, 0, "4-5", true);
	add(l, 0, "5", false);
	add(l, 1, "6", true);
	cr_assert_eq(decide(l), 1, "each has one CPU and no more");
	cr_assert_eq(l->moves[0].vcpu, 0);
	cr_assert_eq(l->moves[0].to, 4);
	cr_assert_eq(l->moves[0].reason, ROUND_GANG);
	cpu_set_parse("5", &l->vcpus[0].allowed);
	cr_assert_eq(decide(l), 1);
	cr_assert_eq(l->moves[0].to, 4);
	cpu_set_parse("5", &l->in.usable);
	cr_assert_eq(decide(l), 1, "of the other guest alone, whose CPUs are gone: they share");
	cr_assert_eq(l->moves[0].vcpu, 2);
	cpu_set_parse("4-7", &l->in.usable);
	cpu_set_parse("4", &l->vcpus[0].allowed);
	l->foreign[4] = 5;
	cr_assert_eq(decide(l), 1);
	cr_assert_eq(l->moves[0].vcpu, 0);
	cr_assert_eq(l->moves[0].to, 7, "busy as CPU 4 is, 5 has another of the gang");
	l->foreign[4] = 0;
	l->guests[5].gang = true;
	cr_assert(round_gang(&l->in, 5, 4, to, &found));
	cr_assert(to[0] == 7 && to[1] == 6, "near its memory, the least busy first");
	cr_assert(!round_gang(&l->in, 5, 5, to, &found));
	cr_assert_eq(found, 4, "of its own cell");
}

Test(balance_round, what_it_decides_settles)
{
	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct lab *l = new_lab();
		uint64_t s = seed;
		uint32_t rounds = 0;

		for (uint32_t i = 0; i < VCPUS; i++) {
			struct round_vcpu *v =
				add(l, (uint32_t)(draw(&s) % GUESTS), "4", draw(&s) % 3 > 0);

			round_cpus(&l->machine, 4 + (uint32_t)(draw(&s) % 4), draw(&s) % 2,
				&v->allowed);
			v->idle_ns = 2 * ROUND_IDLE_HOME_NS;
		}
		for (uint32_t g = 0; g < GUESTS; g++)
			l->guests[g].needs_max = 1 + draw(&s) % 2;
		for (; rounds < 100; rounds++) {
			uint32_t count = decide(l);

			if (count == 0)
				break;
			for (uint32_t i = 0; i < count; i++) {
				struct round_vcpu *v = &l->vcpus[l->moves[i].vcpu];

				round_cpus(&l->machine, l->moves[i].to, false, &v->allowed);
				balance_need(&l->guests[v->guest].needs, l->moves[i].to / 4);
				cr_assert(l->moves[i].to >= 4 || l->guests[v->guest].needs_max > 1);
			}
		}
		cr_assert_lt(rounds, 20, "seed %llu goes to and fro", (unsigned long long)seed);
	}
}

Test(balance_round, who_lost_its_cpu_goes_where_nobody_is_asked)
{
	struct lab *l = new_lab();

	/* Its guest needs cell 0 too, whose CPUs are free, but that cell may refuse for ever. */
	l->guests[0].gang = true;
	l->guests[0].needs_max = 2;
	balance_need(&l->guests[0].needs, 0);
	add(l, 0, "4", true);
	add(l, 0, "5", true);
	cr_assert_eq(cpu_set_parse("0-4", &l->in.usable), 0);
	l->in.scopes = ROUND_IN_CELL;
	cr_assert_eq(decide(l), 1);
	cr_assert_eq(l->moves[0].vcpu, 1);
	cr_assert_eq(l->moves[0].to, 4, "with another one of its gang, for want of a CPU here");
	cr_assert_eq(l->moves[0].reason, ROUND_LOST);
	/* Whatever the balancer says of it in the same round. */
	l->in.scopes |= ROUND_MACHINE;
	l->vcpus[0].held = true;
	cr_assert_eq(decide(l), 1);
	cr_assert_eq(l->moves[0].to, 4);
	l->vcpus[0].held = false;
	/* Then it is sorted out with the other cell. */
	cr_assert_eq(cpu_set_parse("4", &l->vcpus[1].allowed), 0);
	cr_assert_eq(decide(l), 1);
	cr_assert_leq(l->moves[0].to, 3);
	cr_assert_eq(l->moves[0].reason, ROUND_GANG);
}

Test(balance_round, no_gang_follows_itself_to_a_cpu_that_is_left_in_the_same_round)
{
	struct lab *l = new_lab();

	l->guests[0].gang = true;
	add(l, 0, "6", true); /* goes to 4, near its memory */
	add(l, 0, "5", true); /* shares its CPU with the next */
	add(l, 1, "5", true)->held = true;
	l->foreign[7] = 1;
	for (uint32_t i = decide(l); i > 0; i--)
		cr_assert_neq(l->moves[i - 1].to, 6, "that vCPU may be refused, and stay");
}

Test(balance_round, who_comes_back_gets_a_cpu_of_its_own)
{
	struct lab *l = new_lab();

	add(l, 0, "0", true);
	add(l, 0, "5", true);
	add(l, 0, "6", true);
	cr_assert_eq(round_back(&l->in, 0, 5), 5, "not of a gang");
	l->guests[0].gang = true;
	cr_assert_eq(round_back(&l->in, 0, 7), 7);
	cr_assert_eq(round_back(&l->in, 0, 5), 4, "taken meanwhile; 4 is near, 7 is not");
	cr_assert_eq(cpu_set_parse("0-3,5-7", &l->in.usable), 0);
	cr_assert_eq(round_back(&l->in, 0, 4), 7, "gone meanwhile");
	cr_assert_eq(cpu_set_parse("0-3,5,6", &l->in.usable), 0);
	cr_assert_eq(round_back(&l->in, 0, 5), 5, "there is no other");
}
