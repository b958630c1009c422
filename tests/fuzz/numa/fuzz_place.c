/* SPDX-License-Identifier: BSD-2-Clause */
/* Placement for any state and request: no bound is broken, nothing is over-committed. */
#include <string.h>

#include "numa/check.h"
#include "numa/host/words.h"
#include "numa/place.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct source {
	const uint8_t *data;
	size_t left;
};

static uint32_t take(struct source *s, uint32_t bytes)
{
	uint32_t value = 0;

	for (; bytes > 0 && s->left > 0; bytes--, s->left--)
		value = value << 8 | *s->data++;
	return value;
}

static bool take_machine(struct source *s, struct machine *m)
{
	uint32_t cpu = 0;

	memset(m, 0, sizeof(*m));
	m->node_count = 1 + take(s, 1) % MACHINE_NODES_MAX;
	for (uint32_t n = 0; n < m->node_count; n++) {
		m->nodes[n].os_node = n ? m->nodes[n - 1].os_node + 1 + take(s, 1) % 3 : 0;
		m->nodes[n].memory_bytes = (uint64_t)take(s, 2) << 20;
		for (uint32_t c = take(s, 1) % 5; c > 0; c--)
			cpu_set_add(&m->nodes[n].cpus, cpu++);
		for (uint32_t k = 0; k < m->node_count; k++)
			m->distance[n][k] = n == k ? 10 : (uint8_t)(10 + (n * 7 + k * 3) % 40);
	}
	return machine_check(m) == MACHINE_OK;
}

static void check_result(
	const struct place_state *s, const struct place_request *q, const struct place_result *r)
{
	uint64_t on_node[MACHINE_NODES_MAX] = { 0 }, sum = 0, borrowed = 0;
	bool needs[CELLS_MAX] = { false };
	uint32_t needed = 0;

	CHECK(r->share_count <= PLACE_SHARES_MAX && s->alive[r->spot.cell]);
	for (uint32_t i = 0; i < r->share_count; i++) {
		uint32_t cell = cells_of_node(s->cells, r->shares[i].node);

		CHECK(s->alive[cell] && (cell == r->spot.cell || r->reason == PLACE_BORROWED));
		needed += !needs[cell];
		needs[cell] = true;
		borrowed += cell == r->spot.cell ? 0 : r->shares[i].bytes;
		on_node[r->shares[i].node] += r->shares[i].bytes;
		sum += r->shares[i].bytes;
		CHECK(on_node[r->shares[i].node] <= s->free_bytes[r->shares[i].node]);
	}
	CHECK(sum == q->memory_bytes && borrowed == r->borrowed_bytes);
	CHECK(needed == 1 || needed <= q->cells_max);
	/* A lender keeps its part of each node. */
	for (uint32_t n = 0; n < s->machine->node_count; n++)
		CHECK(on_node[n] == 0 || cells_of_node(s->cells, n) == r->spot.cell ||
			on_node[n] + s->lend_above_bytes <= s->free_bytes[n]);
	for (uint32_t v = 0; v < q->vcpus; v++)
		CHECK(cells_of_node(s->cells, r->vcpu_node[v]) == r->spot.cell);
	for (uint32_t v = 0; v < q->vcpus; v++)
		CHECK(!cpu_set_empty(&s->machine->nodes[r->vcpu_node[v]].cpus));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct machine m;
	static struct cells c;
	struct source in = { data, size };
	struct place_state s = { .machine = &m, .cells = &c };
	struct place_request q = { 0 };
	struct place_result r;
	char words[300];

	if (!take_machine(&in, &m))
		return 0;
	cells_default(&m, &c);
	q.memory_bytes = (uint64_t)take(&in, 2) << 20;
	q.vcpus = take(&in, 1);
	q.vnuma = take(&in, 1) % 10;
	q.cell = take(&in, 1);
	q.cell = q.cell < 128 ? CELL_NONE : q.cell - 128;
	q.node_count = take(&in, 1) % 8;
	for (uint32_t i = 0; i < q.node_count; i++)
		q.os_nodes[i] = take(&in, 1);
	for (uint32_t n = 0; n < m.node_count; n++) {
		s.alive[n] = take(&in, 1) % 4 != 0;
		s.node_vcpus[n] = take(&in, 1);
		s.free_bytes[n] = (uint64_t)take(&in, 2) << 20;
	}
	q.cells_max = take(&in, 1) % 5;
	s.lend_above_bytes = (uint64_t)take(&in, 1) << 20;
	s.borrow_below_bytes = (uint64_t)take(&in, 1) << 20;
	if (place_guest(&s, &q, &r))
		check_result(&s, &q, &r);
	words_place(&s, &q, &r, words, sizeof(words));
	CHECK(words[0] != '\0');
	return 0;
}
