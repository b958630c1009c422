/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>

#include "machines.h"
#include "numa/host/words.h"
#include "numa/place.h"

/* A state and what it points to. */
struct world {
	struct machine machine;
	struct cells cells;
	struct place_state state;
};

static void init_world(struct world *w, const struct machine *m, const char *partition)
{
	memset(w, 0, sizeof(*w));
	w->machine = *m;
	w->state.machine = &w->machine;
	w->state.cells = &w->cells;
	if (partition)
		cr_assert_eq(cells_parse(m, partition, &w->cells, NULL), CELLS_OK);
	else
		cells_default(m, &w->cells);
	for (uint32_t i = 0; i < w->cells.cell_count; i++)
		w->state.alive[i] = true;
	for (uint32_t n = 0; n < m->node_count; n++)
		w->state.free_bytes[n] = m->nodes[n].memory_bytes;
}

/* Cells 0: nodes 3, 4; 1: nodes 1, 6; 2: nodes 8, 9. See machines.h. */
static void init_six(struct world *w)
{
	struct machine m = machine_of_six();

	init_world(w, &m, NULL);
}

static struct place_request want(uint64_t bytes, uint32_t vcpus)
{
	return (struct place_request){ .memory_bytes = bytes, .vcpus = vcpus, .cell = CELL_NONE };
}

static void assert_words(const struct world *w, const struct place_request *q, const char *expected)
{
	struct place_result r;
	char text[256];

	(void)place_guest(&w->state, q, &r);
	words_place(&w->state, q, &r, text, sizeof(text));
	cr_assert_str_eq(text, expected);
}

/* Everything that holds for any place that was found. */
static void assert_sound(
	const struct world *w, const struct place_request *q, const struct place_result *r)
{
	uint64_t on_node[MACHINE_NODES_MAX] = { 0 }, sum = 0;
	uint32_t vcpus[MACHINE_NODES_MAX] = { 0 };
	struct cpu_set cpus = { 0 };

	cr_assert(w->state.alive[r->spot.cell]);
	cr_assert_eq(words_place_code(r->reason), EXIT_OK);
	for (uint32_t i = 0; i < r->share_count; i++) {
		cr_assert_gt(r->shares[i].bytes, 0);
		cr_assert_eq(r->shares[i].bytes % VNUMA_UNIT_BYTES, 0);
		cr_assert_eq(cells_of_node(&w->cells, r->shares[i].node), r->spot.cell);
		on_node[r->shares[i].node] += r->shares[i].bytes;
		sum += r->shares[i].bytes;
	}
	cr_assert_eq(sum, q->memory_bytes);
	for (uint32_t v = 0; v < q->vcpus; v++) {
		uint32_t n = r->vcpu_node[v];

		cr_assert_eq(cells_of_node(&w->cells, n), r->spot.cell);
		cr_assert(!cpu_set_empty(&w->machine.nodes[n].cpus));
		cpu_set_merge(&cpus, &w->machine.nodes[n].cpus);
		vcpus[n]++;
	}
	cr_assert(cpu_set_equal(&cpus, &r->cpus));
	for (uint32_t n = 0; n < w->machine.node_count; n++) {
		cr_assert_leq(on_node[n], w->state.free_bytes[n], "memory is never over-committed");
		if (vcpus[n] > 0)
			cr_assert_leq(w->state.node_vcpus[n] + vcpus[n],
				cpu_set_count(&w->machine.nodes[n].cpus) * PLACE_VCPUS_PER_CPU);
		if (q->node_count == 0)
			continue;
		for (uint32_t i = 0; i < q->node_count && on_node[n] > 0; i++) {
			if (q->os_nodes[i] == w->machine.nodes[n].os_node)
				on_node[n] = 0;
		}
		cr_assert_eq(on_node[n], 0, "on a node that was not asked for");
	}
}

static struct place_result place(const struct world *w, const struct place_request *q)
{
	struct place_result r;

	cr_assert(place_guest(&w->state, q, &r), "refused: %d", r.reason);
	assert_sound(w, q, &r);
	return r;
}

static struct place_result refused(const struct world *w, const struct place_request *q)
{
	struct place_result r;

	cr_assert(!place_guest(&w->state, q, &r), "placed in cell %u", r.spot.cell);
	cr_assert_eq(r.share_count, 0);
	cr_assert_neq(words_place_code(r.reason), EXIT_OK);
	return r;
}

Test(place, takes_the_least_busy_node_not_the_biggest)
{
	struct place_request q = want(1 * GIB, 2);
	struct place_result r;
	struct world w;

	init_six(&w);
	w.state.node_vcpus[1] = 2; /* of 4 CPUs */
	w.state.node_vcpus[3] = 2; /* of 5 */
	w.state.node_vcpus[4] = 3; /* of 4 */
	r = place(&w, &q);
	cr_assert_eq(r.spot.cell, 1);
	cr_assert_eq(r.spot.node, 3);
	cr_assert_eq(r.reason, PLACE_LEAST_BUSY);
	cr_assert_eq(r.runner_up.cell, 0);
	cr_assert_eq(r.vcpu_node[1], 3);
	assert_words(&w, &q,
		"cell 1, node 6: the fewest vCPUs per CPU (2 vCPUs on 5 CPUs; next is cell 0, node "
		"3 with 2 vCPUs on 4 CPUs)");
}

Test(place, takes_the_most_free_of_the_equally_busy)
{
	struct place_request q = want(1 * GIB, 1);
	struct place_result r;
	struct world w;

	init_six(&w);
	w.state.free_bytes[1] = 3 * GIB + 512 * MIB;
	w.state.free_bytes[4] = 2 * GIB;
	r = place(&w, &q);
	cr_assert_eq(r.spot.cell, 0);
	cr_assert_eq(r.reason, PLACE_MOST_FREE);
	assert_words(&w, &q,
		"cell 0, node 3: the most free memory of the least busy (3.5 GiB; next is cell 1, "
		"node 6 with 2 GiB)");
}

Test(place, takes_the_lowest_number_of_what_is_alike)
{
	struct place_request q = want(1 * GIB, 1);
	struct place_result r;
	struct world w;

	init_six(&w);
	w.state.free_bytes[1] = GIB;
	w.state.free_bytes[3] = w.state.free_bytes[4] = 2 * GIB + 1; /* not a unit more */
	r = place(&w, &q);
	cr_assert_eq(r.spot.cell, 1);
	cr_assert_eq(r.reason, PLACE_LOWEST);
	assert_words(&w, &q,
		"cell 1, node 6: as busy and as free as cell 2, node 8, and the lowest number");
}

Test(place, takes_the_lowest_node_of_a_cell_whose_nodes_are_alike)
{
	struct machine m = machine_plain(4);
	struct place_request q = want(512 * MIB, 1);
	struct place_result r;
	struct world w;

	init_world(&w, &m, "0-3");
	w.state.node_vcpus[0] = w.state.node_vcpus[3] = 1;
	r = place(&w, &q);
	cr_assert_eq(r.spot.node, 1);
	cr_assert_eq(r.reason, PLACE_LOWEST);
	cr_assert_eq(r.runner_up.node, 2);
}

Test(place, prefers_one_node_to_an_idle_cell_where_it_would_be_spread)
{
	struct place_request q = want(3 * GIB, 1);
	struct place_result r;
	struct world w;

	init_six(&w);
	w.state.free_bytes[4] = 2 * GIB + 512 * MIB;
	w.state.node_vcpus[1] = 30;
	r = place(&w, &q);
	cr_assert_eq(r.spot.cell, 0);
	cr_assert_eq(r.spot.node, 1, "on its CPU node, though node 4 has more room");
	cr_assert_eq(r.reason, PLACE_WHOLE);
	assert_words(&w, &q, "cell 0, node 3: the only cell with 3 GiB free on one node");
}

Test(place, spreads_only_when_no_node_fits_and_memory_only_nodes_get_the_rest)
{
	struct place_request q = want(9 * GIB, 3);
	struct place_result r;
	struct world w;

	init_six(&w);
	w.state.free_bytes[2] = 0; /* cell 0 has 4 GiB, cell 1 5 GiB, cell 2 exactly 9 GiB */
	r = place(&w, &q);
	cr_assert_eq(r.spot.cell, 2);
	cr_assert_eq(r.spot.node, NODE_NONE);
	cr_assert_eq(r.reason, PLACE_ONLY_FIT);
	cr_assert_eq(r.share_count, 2);
	cr_assert_eq(r.shares[0].node, 4);
	cr_assert_eq(r.shares[0].bytes, 8 * GIB);
	cr_assert_eq(r.shares[1].node, 5);
	cr_assert_eq(r.vcpu_node[2], 4);
	assert_words(&w, &q, "cell 2, nodes 8 and 9: nowhere else is room for 9 GiB and 3 vCPUs");
}

Test(place, a_guest_spread_over_cpu_nodes_gets_even_shares_of_the_nearest)
{
	struct machine m = machine_of_six();
	struct place_request q = want(10 * GIB, 9);
	struct place_result r;
	struct world w;

	/* Home is node 8 (most free); node 6 is 23 away, node 3 22. */
	init_world(&w, &m, "1,3,4,6,8,9");
	r = place(&w, &q);
	cr_assert_eq(r.share_count, 2);
	cr_assert_eq(r.shares[0].node, 4);
	cr_assert_eq(r.shares[0].bytes, 6 * GIB, "what node 3 can't take");
	cr_assert_eq(r.shares[1].node, 1);
	cr_assert_eq(r.shares[1].bytes, 4 * GIB);
	q = want(11 * GIB + 512 * MIB, 9);
	w.state.free_bytes[1] = 7 * GIB;
	w.state.node_vcpus[4] = 3;
	r = place(&w, &q);
	cr_assert_eq(r.shares[0].bytes, r.shares[1].bytes);
	cr_assert_eq(r.vcpu_node[2], 4, "three on the busier node, six on the other");
	cr_assert_eq(r.vcpu_node[3], 1);
}

Test(place, vcpus_that_one_node_does_not_take_spread_the_guest_too)
{
	struct machine m = machine_of_six();
	struct place_request q = want(GIB, 36);
	struct place_result r;
	struct world w;

	init_world(&w, &m, "1,3,4/6,8,9");
	w.state.node_vcpus[3] = 5; /* node 6 takes 35 more, node 8 32, node 3 32 */
	r = place(&w, &q);
	cr_assert_eq(r.spot.cell, 1);
	cr_assert_eq(r.share_count, 2);
	cr_assert_eq(r.shares[0].bytes, 512 * MIB);
	q.vcpus = 35;
	r = place(&w, &q);
	cr_assert_eq(r.spot.node, 3);
}

Test(place, a_wished_cell_is_taken_or_refused)
{
	struct place_request q = want(2 * GIB, 1);
	struct place_result r;
	struct world w;

	init_six(&w);
	w.state.node_vcpus[3] = 39;
	q.cell = 1;
	r = place(&w, &q);
	cr_assert_eq(r.spot.node, 3);
	cr_assert_eq(r.reason, PLACE_ASKED_CELL);
	assert_words(&w, &q, "cell 1, node 6: this cell was asked for");

	q.vcpus = 2;
	r = refused(&w, &q);
	cr_assert_eq(r.reason, PLACE_TOO_MANY_VCPUS);
	cr_assert_eq(r.most_vcpus, 1);
	assert_words(&w, &q, "no room for 2 vCPUs: at most 1 more fit, at 8 per CPU");

	q = want(5 * GIB + 2 * MIB, 1);
	q.cell = 1;
	r = refused(&w, &q);
	cr_assert_eq(r.reason, PLACE_NO_MEMORY);
	assert_words(&w, &q,
		"cell 1 has 5120 MiB free, not 5122 MiB (all live cells together: 34 GiB); give "
		"--memory less, or stop a guest, or let it borrow of other cells with --cells-max");

	w.state.alive[1] = false;
	r = refused(&w, &q);
	cr_assert_eq(r.reason, PLACE_CELL_DEAD);
	cr_assert_eq(words_place_code(r.reason), EXIT_NOT_FOUND);
	assert_words(&w, &q, "cell 1 is dead; choose one that `cellvisor ls` shows alive");

	q.cell = 3;
	r = refused(&w, &q);
	cr_assert_eq(r.reason, PLACE_NO_SUCH_CELL);
	assert_words(&w, &q, "there is no cell 3; there are cells 0 to 2");
}

Test(place, wished_nodes_are_all_used)
{
	struct place_request q = want(2 * GIB, 2);
	struct place_result r;
	struct world w;

	init_six(&w);
	q.node_count = 2;
	q.os_nodes[0] = 4;
	q.os_nodes[1] = 3;
	r = place(&w, &q);
	cr_assert_eq(r.reason, PLACE_ASKED_NODES);
	cr_assert_eq(r.share_count, 2, "though one would do");
	cr_assert_eq(r.shares[0].node, 1);
	cr_assert_eq(r.shares[0].bytes, GIB);
	cr_assert_eq(r.shares[1].node, 2);
	cr_assert_eq(r.vcpu_node[1], 1);
	assert_words(&w, &q, "cell 0, nodes 3 and 4: these nodes were asked for");
}

Test(place, a_wished_memory_only_node_borrows_the_nearest_cpus_of_its_cell)
{
	struct machine m = machine_of_six();
	struct place_request q = want(1 * GIB, 2);
	struct place_result r;
	struct world w;

	init_world(&w, &m, "1,3,6/4,8,9");
	q.node_count = 1;
	q.os_nodes[0] = 1;
	r = place(&w, &q);
	cr_assert_eq(r.share_count, 1);
	cr_assert_eq(r.shares[0].node, 0);
	cr_assert_eq(r.vcpu_node[0], 3, "14 from node 6, 25 from node 3");
	cr_assert_eq(r.vcpu_node[1], 3);
	q.vcpus = 41;
	r = place(&w, &q);
	cr_assert(cpu_set_has(&r.cpus, 8), "one more than node 6 takes");
	q.vcpus = 73;
	r = refused(&w, &q);
	cr_assert_eq(r.most_vcpus, 72);
}

Test(place, a_wished_node_with_cpus_never_borrows_others)
{
	struct place_request q = want(1 * GIB, 33);
	struct machine m = machine_of_six();
	struct place_result r;
	struct world w;

	init_world(&w, &m, "1,3,6/4,8,9");
	q.node_count = 1;
	q.os_nodes[0] = 3;
	r = refused(&w, &q);
	cr_assert_eq(r.reason, PLACE_TOO_MANY_VCPUS);
	cr_assert_eq(r.most_vcpus, 32);
}

Test(place, wished_nodes_that_do_not_go_together_are_refused)
{
	static const struct {
		uint32_t cell, count, nodes[3];
		enum place_reason reason;
		const char *words;
	} rejects[] = {
		{ CELL_NONE, 2, { 3, 7 }, PLACE_NO_SUCH_NODE,
			"there is no node 7; `cellvisor topo` shows the nodes" },
		{ CELL_NONE, 2, { 3, 3 }, PLACE_NODE_TWICE, "node 3 was named twice" },
		{ CELL_NONE, 2, { 3, 8 }, PLACE_NODES_OF_TWO_CELLS,
			"node 8 belongs to cell 2, another one to cell 0; a guest lives within one "
			"cell" },
		{ 1, 2, { 6, 9 }, PLACE_NODES_NOT_OF_CELL,
			"node 9 belongs to cell 2, not to cell 1" },
		{ 2, 1, { 1 }, PLACE_NODES_NOT_OF_CELL, "node 1 belongs to cell 1, not to cell 2" },
		{ CELL_NONE, 1, { 9 }, PLACE_NO_MEMORY,
			"node 9 of cell 2 has 1 GiB free, not 2 GiB (all live cells together: 34 "
			"GiB); give --memory less, or stop a guest" },
	};
	struct world w;

	init_six(&w);
	for (size_t i = 0; i < sizeof(rejects) / sizeof(rejects[0]); i++) {
		struct place_request q = want(2 * GIB, 1);

		q.cell = rejects[i].cell;
		q.node_count = rejects[i].count;
		memcpy(q.os_nodes, rejects[i].nodes, sizeof(rejects[i].nodes));
		cr_assert_eq(refused(&w, &q).reason, rejects[i].reason, "%zu", i);
		assert_words(&w, &q, rejects[i].words);
	}
}

Test(place, a_request_outside_its_bounds_is_refused)
{
	static const struct place_request bad[] = {
		{ .memory_bytes = 0, .vcpus = 1 },
		{ .memory_bytes = GIB + 4096, .vcpus = 1 },
		{ .memory_bytes = GIB, .vcpus = 0 },
		{ .memory_bytes = GIB, .vcpus = PLACE_VCPUS_MAX + 1 },
		{ .memory_bytes = GIB, .vcpus = 2, .vnuma = 3 },
		{ .memory_bytes = GIB, .vcpus = 16, .vnuma = VNUMA_MAX + 1 },
		{ .memory_bytes = 2 * MIB, .vcpus = 2, .vnuma = 2 },
		{ .memory_bytes = GIB, .vcpus = 1, .node_count = MACHINE_NODES_MAX + 1 },
	};
	struct world w;

	init_six(&w);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct place_request q = bad[i];

		q.cell = CELL_NONE;
		cr_assert_eq(refused(&w, &q).reason, PLACE_BAD_REQUEST, "%zu", i);
	}
}

Test(place, a_refusal_names_the_cell_with_the_most_room)
{
	struct place_request q = want(40 * GIB, 1);
	struct world w;

	init_six(&w);
	w.state.free_bytes[0] = 30 * GIB;
	assert_words(&w, &q,
		"no cell has 40 GiB free: the largest, cell 1, has 32 GiB (all live cells "
		"together: "
		"61 GiB); give --memory less, or stop a guest, or let it borrow of other cells "
		"with --cells-max");
}

Test(place, dead_cells_get_nothing_and_are_not_counted)
{
	struct place_request q = want(6 * GIB, 1);
	struct place_result r;
	struct world w;

	init_six(&w);
	w.state.alive[0] = w.state.alive[2] = false;
	r = refused(&w, &q);
	cr_assert_eq(r.reason, PLACE_NO_MEMORY);
	cr_assert_eq(r.most_free_cell, 1);
	cr_assert_eq(r.most_free_bytes, 5 * GIB);
	cr_assert_eq(r.machine_free_bytes, 5 * GIB);
	assert_words(&w, &q,
		"no cell has 6 GiB free: the largest, cell 1, has 5 GiB (all live cells together: "
		"5 GiB); give --memory less, or stop a guest");
	w.state.alive[1] = false;
	cr_assert_eq(refused(&w, &q).reason, PLACE_NO_CELL_ALIVE);
	assert_words(&w, &q, "no cell is alive");
	w.state.alive[2] = true;
	cr_assert_eq(place(&w, &q).spot.cell, 2);
}

Test(place, virtual_nodes_want_nodes_of_their_own)
{
	struct machine m = machine_of_six();
	struct place_request q = want(2 * GIB, 5);
	struct place_result r;
	struct world w;

	init_world(&w, &m, "1,3,4/6,8,9");
	q.vnuma = 2;
	w.state.node_vcpus[3] = 20;
	w.state.node_vcpus[4] = 20;
	r = place(&w, &q);
	cr_assert_eq(r.spot.cell, 1, "busy, but with a node for each");
	cr_assert_eq(r.reason, PLACE_OWN_NODES);
	cr_assert_eq(r.share_count, 2);
	cr_assert_eq(r.shares[0].node, 4, "the first on the one with most free");
	cr_assert_eq(r.shares[0].bytes, GIB);
	cr_assert_eq(r.shares[1].node, 3);
	cr_assert_eq(r.vcpu_node[2], 4, "the first virtual node has three vCPUs");
	cr_assert_eq(r.vcpu_node[3], 3);
	assert_words(&w, &q,
		"cell 1, nodes 8 and 6: the only cell with a node for each of its 2 virtual nodes");

	q.cell = 0;
	r = place(&w, &q);
	cr_assert_eq(r.share_count, 1, "both on node 3");
	cr_assert_eq(r.shares[0].bytes, 2 * GIB);

	q.memory_bytes = 5 * GIB;
	r = place(&w, &q);
	cr_assert_eq(r.share_count, 2, "neither is whole then");
	cr_assert_eq(r.shares[0].bytes, 4 * GIB);
}

Test(place, virtual_nodes_share_a_node_when_there_are_more_of_them)
{
	struct machine m = machine_of_six();
	struct place_request q = want(8 * GIB, 8);
	struct place_result r;
	struct world w;

	init_world(&w, &m, "1,3,4,6,8,9");
	q.vnuma = 4;
	r = place(&w, &q);
	cr_assert_eq(r.share_count, 4);
	cr_assert_eq(r.shares[0].node, 4);
	cr_assert_eq(r.shares[1].node, 1);
	cr_assert_eq(r.shares[2].node, 3);
	cr_assert_eq(r.shares[3].node, 4, "most is left there, node 6 is full");
}

/* Makes every two neighbouring cells one. */
static void join_cells(struct world *w)
{
	struct cells pairs = { 0 };

	for (uint32_t i = 0; i < w->cells.cell_count; i++) {
		for (uint32_t k = 0; k < w->cells.cells[i].node_count; k++)
			cr_assert_eq(cells_add(&w->machine, &pairs, i / 2,
					     w->machine.nodes[w->cells.cells[i].nodes[k]].os_node),
				CELLS_OK);
	}
	w->cells = pairs;
	cr_assert_eq(cells_check(&w->machine, &w->cells, NULL), CELLS_OK);
}

Test(place, never_takes_what_is_not_there)
{
	uint64_t seed = 7;
	uint32_t placed = 0, spread = 0, own = 0, refused_count = 0;

	for (int run = 0; run < 10000; run++) {
		struct machine m = machine_drawn(&seed);
		struct place_request q = want((1 + draw(&seed) % 2000) * VNUMA_UNIT_BYTES,
			1 + (uint32_t)(draw(&seed) % 40));
		struct place_result r;
		struct world w;
		uint64_t asked = draw(&seed);

		init_world(&w, &m, NULL);
		if (run % 2)
			join_cells(&w);
		for (uint32_t n = 0; n < m.node_count; n++) {
			w.state.free_bytes[n] = draw(&seed) % (m.nodes[n].memory_bytes + 1);
			w.state.node_vcpus[n] = (uint32_t)(draw(&seed) % 30);
		}
		for (uint32_t i = 0; i < w.cells.cell_count; i++)
			w.state.alive[i] = draw(&seed) % 4 != 0;
		if (asked % 4 == 0)
			q.vnuma = 1 + (uint32_t)(draw(&seed) % 8);
		q.vnuma = q.vnuma > q.vcpus ? q.vcpus : q.vnuma;
		if (asked % 5 == 0)
			q.cell = (uint32_t)(draw(&seed) % (w.cells.cell_count + 1));
		if (asked % 7 == 0) {
			const struct cell_plan *c =
				&w.cells.cells[draw(&seed) % w.cells.cell_count];

			q.cell = CELL_NONE;
			q.node_count = 1 + (uint32_t)(draw(&seed) % c->node_count);
			for (uint32_t i = 0; i < q.node_count; i++)
				q.os_nodes[i] = m.nodes[c->nodes[i]].os_node;
		}
		if (!place_guest(&w.state, &q, &r)) {
			refused_count++;
			continue;
		}
		placed++;
		spread += r.share_count > 1;
		own += r.reason == PLACE_OWN_NODES;
		assert_sound(&w, &q, &r);
	}
	cr_assert_gt(placed, 1000);
	cr_assert_gt(refused_count, 1000);
	cr_assert_gt(spread, 100);
	cr_assert_gt(own, 0);
}

/* What must fit is never refused: the memory of a cell, to the last unit, and its last vCPU. */
Test(place, refuses_only_what_does_not_fit)
{
	uint64_t seed = 99;

	for (int run = 0; run < 3000; run++) {
		struct machine m = machine_drawn(&seed);
		struct place_request q = want(0, 1);
		struct place_result r;
		uint32_t room = 0, cell;
		struct world w;

		init_world(&w, &m, NULL);
		if (run % 2)
			join_cells(&w);
		cell = (uint32_t)(draw(&seed) % w.cells.cell_count);
		for (uint32_t k = 0; k < w.cells.cells[cell].node_count; k++) {
			uint32_t n = w.cells.cells[cell].nodes[k];

			w.state.node_vcpus[n] = (uint32_t)(draw(&seed) % 8);
			room += cpu_set_count(&m.nodes[n].cpus) * PLACE_VCPUS_PER_CPU;
			room -= cpu_set_empty(&m.nodes[n].cpus) ? 0 : w.state.node_vcpus[n];
		}
		q.cell = cell;
		q.memory_bytes = place_cell_free(&w.state, cell);
		q.vcpus = room < PLACE_VCPUS_MAX ? room : PLACE_VCPUS_MAX;
		cr_assert(place_guest(&w.state, &q, &r), "run %d: %d", run, r.reason);
		assert_sound(&w, &q, &r);
		q.memory_bytes += VNUMA_UNIT_BYTES;
		cr_assert_eq(refused(&w, &q).reason, PLACE_NO_MEMORY);
		q.memory_bytes -= VNUMA_UNIT_BYTES;
		if (++q.vcpus <= PLACE_VCPUS_MAX)
			cr_assert_eq(refused(&w, &q).reason, PLACE_TOO_MANY_VCPUS);
	}
}

Test(place, guests_are_counted_on_the_cpus_of_their_nodes)
{
	static const uint32_t nodes[] = { 2, 3, 1, 900 };
	struct machine m = machine_of_six();
	struct world w;

	init_world(&w, &m, "1,3,4,6/8,9");
	w.state.node_vcpus[1] = 4;
	place_add_guest(&w.state, nodes, 4, 7);
	cr_assert_eq(w.state.node_vcpus[1], 4 + 1, "the busy one gets less");
	cr_assert_eq(w.state.node_vcpus[2], 0, "no CPUs there");
	cr_assert_eq(w.state.node_vcpus[3], 6);
	place_add_guest(&w.state, nodes, 1, 1);
	cr_assert_eq(w.state.node_vcpus[3], 7, "a memory-only node: its cell's CPUs");
	memset(w.state.node_vcpus, 0, sizeof(w.state.node_vcpus));
	place_add_guest(&w.state, (uint32_t[]){ 1, 3 }, 2, 1);
	cr_assert_eq(w.state.node_vcpus[3], 1, "a fifth of its CPUs, not a fourth");
	place_add_guest(&w.state, nodes + 3, 1, 5);
	place_add_guest(&w.state, nodes, 0, 5);
	cr_assert_eq(w.state.node_vcpus[4], 0);
}

Test(place, room_is_what_was_not_promised_and_is_still_there)
{
	static const struct {
		uint64_t start, promised, available, room;
	} cases[] = {
		/* nobody has touched it yet: promises count */
		{ 1024 * MIB, 512 * MIB, 1000 * MIB, (512 - 64) * MIB },
		/* others took it: the kernel counts */
		{ 1024 * MIB, 256 * MIB, 200 * MIB, (200 - 64) * MIB },
		{ 1024 * MIB, 1024 * MIB, 1024 * MIB, 0 },
		{ 1024 * MIB, 2048 * MIB, 1024 * MIB, 0 },
		{ 1024 * MIB, 0, 64 * MIB, 0 },
		{ 1024 * MIB, 0, 67 * MIB, 2 * MIB },
		/* a 128th part, where that is more */
		{ 64 * GIB, 0, 64 * GIB, 64 * GIB - 512 * MIB },
		{ 0, 0, GIB, 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cr_assert_eq(place_room(cases[i].start, cases[i].promised, cases[i].available),
			cases[i].room, "%zu", i);
}

Test(vnuma, a_guest_is_divided_without_rest)
{
	for (uint32_t count = 1; count <= VNUMA_MAX; count++) {
		for (uint64_t bytes = 40 * MIB; bytes < 80 * MIB; bytes += MIB) {
			uint64_t sum = 0;

			for (uint32_t i = 0; i < count; i++) {
				uint64_t one = vnuma_bytes(bytes, count, i);

				cr_assert(i + 1 == count || one % VNUMA_UNIT_BYTES == 0);
				cr_assert_leq(one, vnuma_bytes(bytes, count, 0) + MIB);
				sum += one;
			}
			cr_assert_eq(sum, bytes);
		}
		for (uint32_t vcpus = count; vcpus < 40; vcpus++) {
			uint32_t on[VNUMA_MAX] = { 0 };

			for (uint32_t v = 0; v < vcpus; v++) {
				uint32_t node = vnuma_of_vcpu(vcpus, count, v);

				cr_assert_lt(node, count);
				cr_assert(v == 0 || node >= vnuma_of_vcpu(vcpus, count, v - 1));
				on[node]++;
			}
			for (uint32_t i = 0; i < count; i++)
				cr_assert_eq(on[i], vcpus / count + (i < vcpus % count));
		}
	}
}

Test(words, sizes_are_rounded_down)
{
	static const struct {
		uint64_t bytes;
		const char *words;
	} cases[] = {
		{ 0, "0 B" },
		{ 1023, "1023 B" },
		{ 1024, "1 KiB" },
		{ GIB - 1, "1023 MiB" },
		{ GIB, "1 GiB" },
		{ GIB + 512 * MIB, "1.5 GiB" },
		{ 2 * GIB - 1, "1.9 GiB" },
		{ 99 * GIB + 999 * MIB, "99.9 GiB" },
		{ 100 * GIB + 999 * MIB, "100 GiB" },
		{ UINT64_MAX, "15.9 EiB" },
	};
	char text[24];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		words_bytes(cases[i].bytes, text, sizeof(text));
		cr_assert_str_eq(text, cases[i].words);
	}
}

Test(words, a_text_that_does_not_fit_is_cut)
{
	struct place_request q = want(900 * GIB, 1);
	struct place_result r;
	struct world w;
	char text[20];

	init_six(&w);
	r = refused(&w, &q);
	memset(text, '#', sizeof(text));
	words_place(&w.state, &q, &r, text, 12);
	cr_assert_str_eq(text, "no cell has");
	cr_assert_eq(text[12], '#');
	words_place(&w.state, &q, &r, text, 1);
	cr_assert_str_eq(text, "");
}

/* Cells 0: nodes 3 and 4, 20 GiB; 1: 1 and 6, 5 GiB; 2: 8 and 9, 9 GiB. */
Test(place, what_no_cell_has_is_borrowed_for_a_guest_that_may_need_more)
{
	struct place_request q = want(22 * GIB, 2);
	struct place_result r;
	struct world w;
	uint64_t own = 0, lent = 0, sum = 0;

	init_six(&w);
	w.state.borrow_below_bytes = 16 * MIB;
	w.state.lend_above_bytes = 32 * MIB;
	cr_assert_eq(refused(&w, &q).reason, PLACE_NO_MEMORY);
	q.cells_max = 2;
	cr_assert(place_guest(&w.state, &q, &r));
	cr_assert_eq(r.reason, PLACE_BORROWED);
	cr_assert_eq(r.spot.cell, 0, "the cell that lacks least");
	for (uint32_t i = 0; i < r.share_count; i++) {
		uint32_t cell = cells_of_node(&w.cells, r.shares[i].node);

		sum += r.shares[i].bytes;
		cr_assert_eq(r.shares[i].bytes % (2 * MIB), 0);
		own += cell == 0 ? r.shares[i].bytes : 0;
		/* Cell 1 is nearer to node 3, the CPUs of which it gets, than cell 2. */
		lent += cell == 1 ? r.shares[i].bytes : 0;
	}
	cr_assert_eq(sum, 22 * GIB);
	cr_assert_eq(own, 20 * GIB - 2 * 16 * MIB, "each node of the home keeps a rest");
	cr_assert_eq(lent, r.borrowed_bytes);
	cr_assert_eq(own + lent, sum);
	for (uint32_t v = 0; v < 2; v++)
		cr_assert_eq(cells_of_node(&w.cells, r.vcpu_node[v]), 0);
	assert_words(&w, &q,
		"cell 0, nodes 3, 4 and 1: no cell has 22 GiB free; 2 GiB are borrowed of cell "
		"1, "
		"which it needs then too");
}

Test(place, a_lender_keeps_its_part_and_the_number_of_cells_is_bounded)
{
	struct place_request q = want(25 * GIB, 1);
	struct place_result r;
	struct world w;

	init_six(&w);
	w.state.lend_above_bytes = 32 * MIB;
	q.cells_max = 2;
	/* Nearer cell 1 has not all of it to give, so cell 2 is asked. */
	cr_assert(place_guest(&w.state, &q, &r));
	for (uint32_t i = 0; i < r.share_count; i++)
		cr_assert_neq(cells_of_node(&w.cells, r.shares[i].node), 1);
	q.memory_bytes = 29 * GIB;
	cr_assert_not(place_guest(&w.state, &q, &r), "no single lender has that");
	cr_assert_eq(r.reason, PLACE_NO_MEMORY);
	q.cells_max = 3;
	cr_assert(place_guest(&w.state, &q, &r));
	q.memory_bytes = 34 * GIB;
	cr_assert_not(place_guest(&w.state, &q, &r), "each lender keeps something");
	w.state.lend_above_bytes = 0;
	cr_assert(place_guest(&w.state, &q, &r));
	/* A home that was asked for is the home; nodes that were asked for are all there is. */
	q.memory_bytes = 6 * GIB;
	q.cell = 1;
	cr_assert(place_guest(&w.state, &q, &r));
	cr_assert_eq(r.spot.cell, 1);
	cr_assert_eq(r.borrowed_bytes, 1 * GIB);
	w.state.alive[0] = w.state.alive[2] = false;
	cr_assert_not(place_guest(&w.state, &q, &r), "the dead don't lend");
	w.state.alive[0] = true;
	q.cell = CELL_NONE;
	q.node_count = 1;
	q.os_nodes[0] = 6;
	cr_assert_not(place_guest(&w.state, &q, &r));
}
