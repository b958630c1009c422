/* SPDX-License-Identifier: BSD-2-Clause */
#include "numa/cells.h"

#include <errno.h>
#include <string.h>

#include "numa/check.h"
#include "numa/text.h"

/* Far beyond what an operating system numbers; keeps ranges short. */
#define OS_NODE_MAX 99999u

/* Adds a node to a cell and keeps its list in ascending order. */
static void add_node(const struct machine *m, struct cell_plan *cell, uint32_t node)
{
	uint32_t at = cell->node_count++;

	CHECK(cell->node_count <= MACHINE_NODES_MAX);
	for (; at > 0 && cell->nodes[at - 1] > node; at--)
		cell->nodes[at] = cell->nodes[at - 1];
	cell->nodes[at] = node;
	cpu_set_merge(&cell->cpus, &m->nodes[node].cpus);
	cell->memory_bytes += m->nodes[node].memory_bytes;
}

/*
 * The nearest node that is the seed of a cell, the lowest on ties. A node without
 * CPUs is reached from the seed's, one without memory reaches the seed's: SLIT may
 * be asymmetric, and the way from CPU to memory is the one that counts.
 */
static uint32_t nearest_seed(const struct machine *m, const bool *seed, uint32_t node)
{
	bool wants_memory = m->nodes[node].memory_bytes == 0;
	uint32_t best = NODE_NONE;
	uint8_t best_distance = 0;

	for (uint32_t n = 0; n < m->node_count; n++) {
		uint8_t d = wants_memory ? m->distance[node][n] : m->distance[n][node];

		if (!seed[n])
			continue;
		if (best == NODE_NONE || d < best_distance) {
			best = n;
			best_distance = d;
		}
	}
	return best;
}

/* No node has both CPUs and memory: only all together have. */
static void one_cell(const struct machine *m, struct cells *c)
{
	c->cell_count = 1;
	for (uint32_t n = 0; n < m->node_count; n++)
		add_node(m, &c->cells[0], n);
}

void cells_default(const struct machine *m, struct cells *c)
{
	bool seed[MACHINE_NODES_MAX] = { false };
	uint32_t cell_of[MACHINE_NODES_MAX] = { 0 };

	CHECK(machine_check(m) == MACHINE_OK);
	memset(c, 0, sizeof(*c));
	for (uint32_t n = 0; n < m->node_count; n++) {
		if (cpu_set_empty(&m->nodes[n].cpus) || m->nodes[n].memory_bytes == 0)
			continue;
		seed[n] = true;
		cell_of[n] = c->cell_count++;
		add_node(m, &c->cells[cell_of[n]], n);
	}
	if (c->cell_count == 0) {
		one_cell(m, c);
		return;
	}
	for (uint32_t n = 0; n < m->node_count; n++) {
		uint32_t near = seed[n] ? n : nearest_seed(m, seed, n);

		CHECK(near < m->node_count && seed[near]);
		if (near != n)
			add_node(m, &c->cells[cell_of[near]], n);
	}
}

/* Checks the nodes of one cell and marks them in seen[]. */
static enum cells_fault check_nodes(
	const struct machine *m, const struct cell_plan *cell, bool *seen, uint32_t *at)
{
	for (uint32_t k = 0; k < cell->node_count; k++) {
		uint32_t n = cell->nodes[k];

		*at = n;
		if (n >= m->node_count)
			return CELLS_UNKNOWN_NODE;
		*at = m->nodes[n].os_node;
		if (seen[n])
			return CELLS_NODE_TWICE;
		seen[n] = true;
	}
	return CELLS_OK;
}

enum cells_fault cells_check(const struct machine *m, const struct cells *c, uint32_t *at)
{
	bool seen[MACHINE_NODES_MAX] = { false };
	uint32_t ignored = 0;

	at = at ? at : &ignored;
	*at = 0;
	if (c->cell_count == 0 || c->cell_count > CELLS_MAX)
		return CELLS_TOO_MANY;
	for (uint32_t i = 0; i < c->cell_count; i++) {
		const struct cell_plan *cell = &c->cells[i];
		enum cells_fault fault;

		CHECK(cell->node_count <= MACHINE_NODES_MAX);
		fault = check_nodes(m, cell, seen, at);
		if (fault != CELLS_OK)
			return fault;
		*at = i;
		if (cpu_set_empty(&cell->cpus))
			return CELLS_NO_CPU;
		if (cell->memory_bytes == 0)
			return CELLS_NO_MEMORY;
	}
	for (uint32_t n = 0; n < m->node_count; n++) {
		*at = m->nodes[n].os_node;
		if (!seen[n])
			return CELLS_NODE_MISSING;
	}
	*at = 0;
	return CELLS_OK;
}

enum cells_fault cells_add(
	const struct machine *m, struct cells *c, uint32_t cell, uint32_t os_node)
{
	uint32_t node = machine_node_of(m, os_node);

	if (node == NODE_NONE)
		return CELLS_UNKNOWN_NODE;
	if (cells_of_node(c, node) != CELL_NONE)
		return CELLS_NODE_TWICE;
	if (cell > c->cell_count || cell >= CELLS_MAX)
		return CELLS_TOO_MANY;
	if (cell == c->cell_count)
		c->cell_count++;
	add_node(m, &c->cells[cell], node);
	return CELLS_OK;
}

/* Adds the nodes called first..last to a cell. */
static enum cells_fault add_range(const struct machine *m, struct cells *c, uint32_t cell,
	uint32_t first, uint32_t last, uint32_t *at)
{
	for (uint32_t os_node = first; os_node <= last; os_node++) {
		enum cells_fault fault = cells_add(m, c, cell, os_node);

		if (fault != CELLS_OK) {
			*at = os_node;
			return fault;
		}
	}
	return CELLS_OK;
}

enum cells_fault cells_parse(
	const struct machine *m, const char *text, struct cells *c, uint32_t *at)
{
	const char *p = text;
	uint32_t ignored = 0, cell = 0;

	at = at ? at : &ignored;
	*at = 0;
	memset(c, 0, sizeof(*c));
	for (;;) {
		enum cells_fault fault;
		uint32_t first, last;

		if (!text_take_range(&p, OS_NODE_MAX, &first, &last))
			return CELLS_SYNTAX;
		fault = add_range(m, c, cell, first, last, at);
		if (fault != CELLS_OK)
			return fault;
		if (*p == '\0')
			return cells_check(m, c, at);
		if (*p == '/')
			cell++;
		else if (*p != ',')
			return CELLS_SYNTAX;
		p++;
	}
}

int cells_format(const struct machine *m, const struct cells *c, char *text, size_t bytes)
{
	struct text_out out = text_to(text, bytes);

	for (uint32_t i = 0; i < c->cell_count; i++) {
		const struct cell_plan *cell = &c->cells[i];

		if (i > 0 && !text_char(&out, '/'))
			return -ENOSPC;
		for (uint32_t k = 0; k < cell->node_count; k++) {
			if ((k > 0 && !text_char(&out, ',')) ||
				!text_number(&out, m->nodes[cell->nodes[k]].os_node))
				return -ENOSPC;
		}
	}
	return (int)out.used;
}

const char *cells_fault_text(enum cells_fault fault)
{
	switch (fault) {
	case CELLS_OK:
		return "nothing is wrong";
	case CELLS_SYNTAX:
		return "not a list of cells such as 0,1/2,3 (nodes of a cell joined by ',', cells "
		       "by '/')";
	case CELLS_UNKNOWN_NODE:
		return "there is no such node";
	case CELLS_NODE_TWICE:
		return "a node is in two cells";
	case CELLS_NODE_MISSING:
		return "a node is in no cell";
	case CELLS_NO_CPU:
		return "a cell has no CPU";
	case CELLS_NO_MEMORY:
		return "a cell has no memory";
	case CELLS_TOO_MANY:
		return "there have to be between 1 and 64 cells";
	}
	return "unknown fault";
}

uint32_t cells_of_node(const struct cells *c, uint32_t node)
{
	for (uint32_t i = 0; i < c->cell_count; i++) {
		for (uint32_t k = 0; k < c->cells[i].node_count; k++) {
			if (c->cells[i].nodes[k] == node)
				return i;
		}
	}
	return CELL_NONE;
}
