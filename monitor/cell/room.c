/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cell/room.h"

#include "monitor/cell/draining.h"
#include "monitor/cell/lending.h"
#include "monitor/cell/state.h"
#include "numa/host/bind.h"
#include "numa/place.h"

uint64_t room_of(const struct monitor *m, uint32_t n)
{
	const uint32_t os_node = m->plan->machine.nodes[n].os_node;
	struct node_memory memory = { .available_bytes = 0 };

	if (draining_closed(m) || bind_node_memory(os_node, &memory))
		return 0;
	return place_room(m->plan->start_bytes[n],
		guest_book_promised(keeper_book(m->keeper), os_node) + lending_lent(m, os_node),
		memory.available_bytes);
}

json_t *room_by_node(const struct monitor *m, uint64_t *sum)
{
	const struct cell_plan *c = &m->plan->cells.cells[m->self];
	json_t *nodes = json_array();

	*sum = 0;
	for (uint32_t i = 0; i < c->node_count; i++) {
		const uint32_t os_node = m->plan->machine.nodes[c->nodes[i]].os_node;
		uint64_t room = room_of(m, c->nodes[i]);

		*sum += room;
		json_array_append_new(nodes, json_pack("{s:I, s:I}", "node", (json_int_t)os_node,
						     "bytes", (json_int_t)room));
	}
	return nodes;
}

bool room_owns(const struct monitor *m, uint32_t os_node)
{
	uint32_t n = machine_node_of(&m->plan->machine, os_node);

	return n != NODE_NONE && cells_of_node(&m->plan->cells, n) == m->self;
}

int room_check_home(const struct monitor *m, const struct guest_spec *spec,
	const struct guest_home *home, struct err *e)
{
	const struct cell_plan *c = &m->plan->cells.cells[m->self];
	bool good = home->cell == m->self, cells[CELLS_MAX] = { false }, own = false;
	uint32_t count = 0;

	for (uint32_t i = 0; i < home->node_count; i++) {
		uint32_t n = machine_node_of(&m->plan->machine, home->nodes[i]);
		uint32_t cell = n == NODE_NONE ? CELL_NONE : cells_of_node(&m->plan->cells, n);

		if (cell == CELL_NONE) {
			good = false;
			continue;
		}
		own |= cell == m->self;
		count += !cells[cell];
		cells[cell] = true;
	}
	/* Memory of others has to be planned by node, or nobody knows how much to borrow. */
	good = good && own && count <= spec->cells_max && (count == 1 || home->memory_count > 0);
	for (uint32_t i = 0; i < home->cpu_count; i++)
		good = good && home->cpus[i] < CPU_SET_CPUS && cpu_set_has(&c->cpus, home->cpus[i]);
	if (good)
		return 0;
	return err_set(e, EXIT_INVALID, "the guest was placed on what is not cell %u's", m->self);
}

int room_check(const struct monitor *m, const struct guest_home *home, struct err *e)
{
	for (uint32_t i = 0; i < home->memory_count; i++) {
		const uint32_t os_node = home->memory[i].node;
		uint64_t wanted = 0;

		if (!room_owns(m, os_node))
			continue;
		for (uint32_t j = 0; j < home->memory_count; j++)
			wanted += home->memory[j].node == os_node ? home->memory[j].bytes : 0;
		if (room_of(m, machine_node_of(&m->plan->machine, os_node)) < wanted)
			return err_set(e, EXIT_NO_ROOM,
				"the memory of node %u was taken by another guest meanwhile; try "
				"again",
				os_node);
	}
	return 0;
}
