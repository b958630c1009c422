/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>
#include <string.h>

#include "machines.h"
#include "numa/balance.h"

#define CPUS 24u
#define NODES 6u
#define VCPUS 64u
#define GUESTS 8u
#define MS 1000000ull

/*
 * Cells 0, 2, 3, of two nodes each, four CPUs a node; nodes are 0, 1, 2, 3, 4, 5 in
 * that order. Seen from node 2 the nearest are 3, then 5, 0, 4, 1.
 */
struct world {
	struct balance_cpu cpus[CPUS];
	struct balance_vcpu vcpus[VCPUS];
	struct balance_guest guests[GUESTS];
	uint8_t distance[NODES * NODES];
	struct balance_input in;
	uint64_t memory[2048];
	struct balance *b;
};

static void init_world(struct world *w)
{
	static const uint8_t from_two[NODES] = { 22, 40, 10, 12, 31, 17 };
	static const uint32_t cell_of_node[NODES] = { 0, 0, 2, 2, 3, 3 };

	memset(w, 0, sizeof(*w));
	for (uint32_t c = 0; c < CPUS; c++)
		w->cpus[c] = (struct balance_cpu){ cell_of_node[c / 4], c / 4, true };
	for (uint32_t a = 0; a < NODES; a++) {
		for (uint32_t k = 0; k < NODES; k++)
			w->distance[a * NODES + k] = a == 2 ? from_two[k] : a == k ? 10 : 20;
	}
	for (uint32_t g = 0; g < GUESTS; g++)
		w->guests[g].needs_max = 8;
	for (uint32_t v = 0; v < VCPUS; v++)
		w->vcpus[v] = (struct balance_vcpu){ .cpu = BALANCE_NONE, .guest = v / 8 };
	w->in = (struct balance_input){ CPUS, VCPUS, GUESTS, NODES, w->cpus, w->vcpus, w->guests,
		w->distance };
}

static void start(struct world *w)
{
	cr_assert_leq(balance_bytes(CPUS, NODES), sizeof(w->memory));
	w->b = balance_start(w->memory, &w->in);
	cr_assert_not_null(w->b);
}

/* Puts a runnable vCPU there, whose guest needs that cell. */
static void put(struct world *w, uint32_t vcpu, uint32_t cpu)
{
	w->vcpus[vcpu].cpu = cpu;
	w->vcpus[vcpu].runnable = true;
	balance_need(&w->guests[w->vcpus[vcpu].guest].needs, w->cpus[cpu].cell);
}

static uint32_t needs_of(const struct world *w, uint32_t guest)
{
	uint32_t count = 0;

	for (uint32_t c = 0; c < BALANCE_CELLS_MAX; c++)
		count += balance_needs(&w->guests[guest].needs, c);
	return count;
}

Test(balance, periodic_moves_from_the_busiest_to_the_least_busy)
{
	struct balance_move m[8];
	struct world w;

	init_world(&w);
	put(&w, 0, 0);
	put(&w, 1, 1);
	put(&w, 8, 1);
	put(&w, 16, 1);
	put(&w, 2, 2);
	put(&w, 9, 2);
	start(&w);
	cr_assert_eq(balance_periodic(w.b, 5, 3, BALANCE_NODE, m, 8), 1);
	cr_assert_eq(m[0].from, 1);
	cr_assert_eq(m[0].to, 3);
	cr_assert_eq(m[0].vcpu, 1, "the lowest of those that never moved");
	cr_assert(!m[0].new_need);
	cr_assert_eq(w.vcpus[1].moved_ns, 5);
	cr_assert_eq(balance_load(w.b, 1), 2, "2 and 1 are near enough");
	cr_assert_eq(balance_periodic(w.b, 6, 0, BALANCE_NODE, m, 8), 0);
	cr_assert_null(balance_check(w.b));
}

Test(balance, a_scope_is_not_left)
{
	struct balance_move m[8];
	struct world w;

	init_world(&w);
	for (uint32_t v = 0; v < 6; v++)
		put(&w, v, 8); /* node 2 of cell 2 */
	start(&w);
	cr_assert_eq(balance_periodic(w.b, 1, 12, BALANCE_NODE, m, 8), 0, "node 3 is idle");
	cr_assert_eq(balance_periodic(w.b, 1, 11, BALANCE_NODE, m, 8), 4);
	cr_assert_eq(balance_load(w.b, 8), 2);
	cr_assert_eq(balance_periodic(w.b, 1, 12, BALANCE_CELL, m, 8), 2, "from node 2 to 3");
	cr_assert_eq(m[1].to, 13);
	cr_assert_eq(balance_periodic(w.b, 1, 0, BALANCE_CELL, m, 8), 0);
	cr_assert_eq(balance_periodic(w.b, 1, 0, BALANCE_MACHINE, m, 8), 0);
	balance_set(w.b, 40, 9, true);
	balance_set(w.b, 41, 9, true);
	cr_assert_eq(balance_periodic(w.b, 1, 0, BALANCE_MACHINE, m, 8), 2);
	cr_assert_eq(m[0].to, 0, "another cell");
	cr_assert(m[0].new_need);
}

Test(balance, who_needs_the_cell_already_goes_first)
{
	struct balance_move m[8];
	struct world w;

	init_world(&w);
	put(&w, 0, 8);
	put(&w, 8, 8);
	put(&w, 16, 8);
	balance_need(&w.guests[1].needs, 0);
	w.vcpus[8].moved_ns = 99;
	for (uint32_t c = 9; c < CPUS; c++)
		put(&w, c + 20, c);
	for (uint32_t c = 1; c < 8; c++)
		put(&w, 48 + c, c);
	start(&w);
	cr_assert_eq(balance_periodic(w.b, 100, 0, BALANCE_MACHINE, m, 1), 1);
	cr_assert_eq(m[0].vcpu, 8, "though it moved last");
	cr_assert_eq(m[0].to, 0);
	cr_assert(!m[0].new_need);
}

Test(balance, then_who_has_not_moved_for_longest)
{
	struct balance_move m[8];
	struct world w;

	init_world(&w);
	for (uint32_t v = 0; v < 3; v++) {
		put(&w, v, 2);
		put(&w, 8 + v, 1);
		w.vcpus[v].moved_ns = w.vcpus[8 + v].moved_ns = v == 1 ? 3 : 9;
	}
	put(&w, 16, 0);
	start(&w);
	cr_assert_eq(balance_periodic(w.b, 10, 0, BALANCE_NODE, m, 1), 1);
	cr_assert_eq(m[0].from, 1, "of two that are as busy the lower");
	cr_assert_eq(m[0].vcpu, 9);
	cr_assert_eq(m[0].to, 3);
}

Test(balance, a_gang_never_meets_on_a_cpu_nor_goes_to_one_that_is_gone)
{
	struct balance_move m[8];
	struct world w;

	init_world(&w);
	w.guests[3].gang = true;
	w.guests[3].needs_max = 1;
	for (uint32_t v = 24; v < 28; v++)
		put(&w, v, 2);
	put(&w, 28, 0);
	put(&w, 29, 4);
	put(&w, 30, 5);
	put(&w, 31, 6);
	put(&w, 1, 7);
	w.cpus[3].usable = false;
	start(&w);
	balance_cpu_changed(w.b, 3);
	/* Free for one of the gang are CPU 1, idle, and 7, with one; 3 is gone. */
	cr_assert_eq(balance_periodic(w.b, 1, 2, BALANCE_CELL, m, 8), 2);
	cr_assert_eq(m[0].to, 1);
	cr_assert_eq(m[1].to, 7, "CPUs 0 and 4 to 6 are as busy, but have one of it each");
}

Test(balance, a_guest_at_its_limit_of_needs_stays_in_its_cells)
{
	struct balance_move m[8];
	struct world w;

	init_world(&w);
	for (uint32_t v = 0; v < 4; v++)
		put(&w, v, 8);
	w.guests[0].needs_max = 1;
	for (uint32_t c = 9; c < 16; c++)
		put(&w, c, c);
	put(&w, 48, 9);
	w.vcpus[10].runnable = false; /* CPU 10 is idle, and so are cells 0 and 3 */
	start(&w);
	cr_assert_eq(balance_periodic(w.b, 1, 0, BALANCE_MACHINE, m, 8), 3);
	cr_assert_eq(m[0].from, 8);
	cr_assert_eq(m[0].to, 10, "within its cell, though others are as idle");
	for (uint32_t v = 0; v < 4; v++)
		cr_assert_eq(w.cpus[w.vcpus[v].cpu].cell, 2);
	cr_assert_eq(needs_of(&w, 0), 1);
	cr_assert_null(balance_check(w.b));
}

Test(balance, a_cpu_that_is_gone_is_emptied_and_never_filled)
{
	struct balance_move m[8];
	struct world w;

	init_world(&w);
	put(&w, 0, 5);
	for (uint32_t c = 0; c < CPUS; c++) {
		if (c != 5 && c != 6)
			put(&w, c + 1, c);
	}
	start(&w);
	w.cpus[5].usable = w.cpus[6].usable = false;
	balance_cpu_changed(w.b, 5);
	balance_cpu_changed(w.b, 6);
	cr_assert_eq(balance_periodic(w.b, 1, 0, BALANCE_MACHINE, m, 8), 1);
	cr_assert_eq(m[0].from, 5);
	cr_assert_eq(m[0].to, 0, "CPU 6 is idle, but gone");
	cr_assert_eq(balance_load(w.b, 5), 0);
}

Test(balance, vcpus_that_do_not_run_do_not_count_and_do_not_move)
{
	struct balance_move m[8];
	struct world w;

	init_world(&w);
	for (uint32_t v = 0; v < 6; v++) {
		put(&w, v, 8);
		w.vcpus[v].runnable = v == 4 || v == 2;
	}
	start(&w);
	cr_assert_eq(balance_load(w.b, 8), 2);
	cr_assert_eq(balance_periodic(w.b, 1, 8, BALANCE_NODE, m, 8), 1);
	cr_assert_eq(m[0].vcpu, 2);
	balance_set(w.b, 4, 8, false);
	cr_assert_eq(balance_load(w.b, 8), 0);
	cr_assert_null(balance_check(w.b));
}

Test(balance, an_idle_cpu_takes_from_the_nearest_with_patience)
{
	static const uint32_t loaded[] = { 0, 4, 16, 20, 12 }; /* a CPU of nodes 0, 1, 4, 5, 3 */
	static const uint32_t order[] = { 12, 20, 0, 16, 4 };
	struct balance_move m;
	struct world w;

	init_world(&w);
	for (uint32_t i = 0; i < 5; i++) {
		put(&w, 8 * i, loaded[i]);
		put(&w, 8 * i + 1, loaded[i]);
	}
	start(&w);
	cr_assert(!balance_idle(w.b, 1, 9, 3 * MS, &m));
	cr_assert(!balance_idle(w.b, 1, 9, 5 * MS, &m), "its node has nothing, others not yet");
	for (uint32_t i = 0; i < 5; i++) {
		cr_assert(balance_idle(w.b, 1, 9, 6 * MS, &m));
		cr_assert_eq(m.from, order[i], "%u", i);
		cr_assert_eq(m.to, 9);
		balance_set(w.b, m.vcpu, BALANCE_NONE, true);
	}
	cr_assert(!balance_idle(w.b, 1, 9, 6 * MS, &m), "one on each CPU: nobody waits");
	balance_set(w.b, 60, 10, true);
	balance_set(w.b, 61, 10, true);
	cr_assert(!balance_idle(w.b, 1, 9, 3 * MS, &m));
	cr_assert(balance_idle(w.b, 1, 9, 4 * MS, &m), "of its own node it takes earlier");
	cr_assert_eq(m.from, 10);
	balance_set(w.b, 62, 10, true);
	for (uint32_t v = 50; v < 56; v++)
		balance_set(w.b, v, 20, true);
	cr_assert(!balance_idle(w.b, 1, 9, 6 * MS, &m), "it is busy now");
}

Test(balance, an_idle_cpu_takes_from_the_lowest_of_equally_near_nodes)
{
	struct balance_move m;
	struct world w;

	init_world(&w);
	put(&w, 0, 16);
	put(&w, 1, 16);
	put(&w, 8, 7);
	put(&w, 9, 7);
	put(&w, 16, 13);
	put(&w, 17, 13);
	start(&w);
	cr_assert(balance_idle(w.b, 1, 0, 9 * MS, &m));
	cr_assert_eq(m.from, 7);
}

Test(balance, a_gang_gets_a_cpu_for_each)
{
	struct balance_move m[VCPUS];
	struct world w;
	uint32_t count;

	init_world(&w);
	w.guests[3].gang = true;
	for (uint32_t c = 0; c < CPUS; c++)
		put(&w, c < 8 ? c : c < 16 ? 32 + c - 8 : 40 + c - 16, c);
	put(&w, 48, 3);	 /* cell 0 is busy on one CPU */
	put(&w, 49, 17); /* and so is cell 3 */
	w.guests[3].needs = (struct balance_needs){ 0 };
	start(&w);
	cr_assert(balance_gang(w.b, 1, 3, m, &count));
	cr_assert_eq(count, 8);
	for (uint32_t i = 0; i < 8; i++)
		cr_assert_eq(w.cpus[m[i].to].cell, 2, "the only one without a CPU of load 2");
	cr_assert_eq(needs_of(&w, 3), 1);
	for (uint32_t v = 24; v < 32; v++)
		balance_set(w.b, v, w.vcpus[v].cpu, true);
	for (uint32_t c = 8; c < 16; c++)
		cr_assert_eq(balance_load(w.b, c), 2, "one of the gang on each");
	/* None of them may join another one. */
	for (uint32_t v = 32; v < 40; v++)
		balance_set(w.b, v, v == 32 ? 8 : BALANCE_NONE, true);
	balance_set(w.b, 31, 8, true);
	cr_assert_eq(balance_load(w.b, 8), 3);
	cr_assert_eq(balance_periodic(w.b, 2, 8, BALANCE_CELL, m, 8), 1);
	cr_assert_neq(m[0].to, 9);
	cr_assert_eq(m[0].to, 15, "where none of the gang is");
	cr_assert_null(balance_check(w.b));
}

Test(balance, a_small_gang_gets_the_least_busy_cpus_of_the_lowest_of_equal_cells)
{
	struct balance_move m[VCPUS];
	struct world w;
	uint32_t count;

	init_world(&w);
	for (uint32_t v = 26; v < 32; v++)
		w.vcpus[v].guest = 4;
	for (uint32_t c = 0; c < CPUS; c++)
		put(&w, 32 + c, c);
	for (uint32_t c = 0; c < CPUS; c++) {
		if (c != 5 && c != 2 && c != 9 && c != 11 && c < 18)
			w.vcpus[c].cpu = c;
		w.vcpus[c].runnable = true;
	}
	start(&w);
	cr_assert(balance_gang(w.b, 1, 3, m, &count));
	cr_assert_eq(count, 2);
	cr_assert_eq(m[0].to, 2);
	cr_assert_eq(m[1].to, 5);
}

Test(balance, a_gang_that_has_no_room_is_not_placed)
{
	struct balance_move m[VCPUS];
	struct world w;
	uint32_t count = 77;

	init_world(&w);
	for (uint32_t v = 0; v < 12; v++)
		w.vcpus[v].guest = 3;
	start(&w);
	cr_assert(!balance_gang(w.b, 1, 3, m, &count), "20 vCPUs, 8 CPUs in a cell");
	cr_assert_eq(count, 77);
	balance_need(&w.guests[3].needs, 0);
	balance_need(&w.guests[3].needs, 2);
	cr_assert(!balance_gang(w.b, 1, 3, m, &count));
	balance_need(&w.guests[3].needs, 3);
	cr_assert(balance_gang(w.b, 1, 3, m, &count));
	cr_assert_eq(count, 20);
	cr_assert_null(balance_check(w.b));
}

Test(balance, inputs_out_of_order_are_refused)
{
	struct world w;

	init_world(&w);
	w.cpus[3].cell = 4;
	cr_assert_null(balance_start(w.memory, &w.in));
	init_world(&w);
	w.cpus[4].node = 0;
	w.cpus[3].node = 1;
	cr_assert_null(balance_start(w.memory, &w.in));
	init_world(&w);
	w.cpus[23].node = NODES;
	cr_assert_null(balance_start(w.memory, &w.in));
	init_world(&w);
	w.vcpus[5].guest = GUESTS;
	cr_assert_null(balance_start(w.memory, &w.in));
	init_world(&w);
	w.vcpus[5].cpu = CPUS;
	cr_assert_null(balance_start(w.memory, &w.in));
}

/* Without limits it ends even, and what it does along the way is always allowed. */
Test(balance, many)
{
	struct balance_move m[VCPUS];
	uint64_t seed = 5;
	uint32_t moved = 0, stolen = 0;

	for (int run = 0; run < 400; run++) {
		bool limited = run % 2;
		struct world w;

		init_world(&w);
		for (uint32_t v = 0; v < VCPUS; v++) {
			if (draw(&seed) % 6)
				put(&w, v, (uint32_t)(draw(&seed) % (limited ? CPUS : 9)));
			w.vcpus[v].runnable &= draw(&seed) % 5 != 0;
		}
		for (uint32_t g = 0; g < GUESTS; g++) {
			w.guests[g].needs_max = limited ? needs_of(&w, g) + g % 2 : 8;
			w.guests[g].gang = limited && g % 3 == 0;
		}
		start(&w);
		for (int i = 0; i < 30; i++) {
			uint32_t cpu = (uint32_t)(draw(&seed) % CPUS), n;

			n = balance_periodic(w.b, (uint64_t)i, cpu,
				(enum balance_scope)(draw(&seed) % 3), m,
				1 + (uint32_t)(draw(&seed) % 5));
			moved += n;
			stolen += balance_idle(w.b, (uint64_t)i, cpu, 7 * MS, m);
			cr_assert_null(balance_check(w.b), "%s", balance_check(w.b));
			for (uint32_t g = 0; g < GUESTS; g++)
				cr_assert_leq(needs_of(&w, g), w.guests[g].needs_max);
			for (uint32_t v = 0; v < VCPUS; v++)
				cr_assert(w.vcpus[v].cpu == BALANCE_NONE ||
					  balance_needs(&w.guests[v / 8].needs,
						  w.cpus[w.vcpus[v].cpu].cell));
		}
		if (!limited) {
			uint32_t low = UINT32_MAX, high = 0;

			(void)balance_periodic(w.b, 99, 0, BALANCE_MACHINE, m, VCPUS);
			for (uint32_t c = 0; c < CPUS; c++) {
				uint32_t load = balance_load(w.b, c);

				low = load < low ? load : low;
				high = load > high ? load : high;
			}
			cr_assert_leq(high - low, 1);
		}
	}
	cr_assert_gt(moved, 1000);
	cr_assert_gt(stolen, 100);
}
