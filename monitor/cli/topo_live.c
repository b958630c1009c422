/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cli/topo_live.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/cli/cli.h"
#include "numa/check.h"

static json_t *nodes_json(const struct machine *m)
{
	json_t *nodes = json_array();

	for (uint32_t n = 0; n < m->node_count; n++) {
		const struct cpu_set *set = &m->nodes[n].cpus;
		json_t *cpus = json_array(), *distances = json_array();

		for (uint32_t cpu = cpu_set_next(set, 0); cpu != CPU_NONE;
			cpu = cpu_set_next(set, cpu + 1))
			json_array_append_new(cpus, json_integer(cpu));
		for (uint32_t k = 0; k < m->node_count; k++)
			json_array_append_new(distances, json_integer(m->distance[n][k]));
		json_array_append_new(nodes,
			json_pack("{s:I, s:o, s:I, s:o}", "node", (json_int_t)m->nodes[n].os_node,
				"cpus", cpus, "memory_bytes", (json_int_t)m->nodes[n].memory_bytes,
				"distances", distances));
	}
	return nodes;
}

json_t *topo_json(const struct machine *m, const struct cells *c)
{
	json_t *cells = json_array();

	for (uint32_t i = 0; i < c->cell_count; i++) {
		json_t *nodes = json_array();

		for (uint32_t k = 0; k < c->cells[i].node_count; k++)
			json_array_append_new(
				nodes, json_integer(m->nodes[c->cells[i].nodes[k]].os_node));
		json_array_append_new(
			cells, json_pack("{s:I, s:o}", "cell", (json_int_t)i, "nodes", nodes));
	}
	return json_pack("{s:o, s:o}", "nodes", nodes_json(m), "cells", cells);
}

json_t *topo_live_json(const struct machine *m, const json_t *reply)
{
	json_t *json = json_pack("{s:o}", "nodes", nodes_json(m));

	json_object_set(json, "cells", json_object_get(reply, "cells"));
	json_object_set(json, "guests", json_object_get(reply, "guests"));
	return json;
}

static int nonsense(struct err *e, const char *what)
{
	return err_set(e, EXIT_FAILED,
		"the monitor's listing of %s is not understood; are `cellvisor` and the running "
		"cells of one version?",
		what);
}

/* A whole number of a row, at most `max`; false if it is not there or no such number. */
static bool number(const json_t *row, const char *key, uint64_t max, uint64_t *value)
{
	const json_t *v = json_object_get(row, key);

	if (!json_is_integer(v) || json_integer_value(v) < 0 ||
		(uint64_t)json_integer_value(v) > max)
		return false;
	*value = (uint64_t)json_integer_value(v);
	return true;
}

static int read_cell(
	struct live *live, const struct machine *m, uint32_t cell, const json_t *row, struct err *e)
{
	struct picture_cell *now = &live->states[cell];
	size_t i;
	json_t *node;

	(void)snprintf(now->state, sizeof(now->state), "%s", cli_text(row, "state"));
	now->free_known = number(row, "free_bytes", INT64_MAX, &now->free_bytes);
	json_array_foreach(json_object_get(row, "nodes"), i, node)
	{
		json_int_t os_node = json_integer_value(node);
		enum cells_fault fault;

		if (!json_is_integer(node) || os_node < 0 || os_node > UINT32_MAX)
			return nonsense(e, "cells");
		fault = cells_add(m, &live->cells, cell, (uint32_t)os_node);
		/* A node that died may have left the machine. */
		if (fault != CELLS_OK && fault != CELLS_UNKNOWN_NODE)
			return nonsense(e, "cells");
	}
	return 0;
}

/* Cells come in any order; their numbers are 0 and up without a gap. */
static int read_cells(struct live *live, const struct machine *m, const json_t *rows, struct err *e)
{
	const json_t *by_number[CELLS_MAX] = { NULL };
	uint32_t count = (uint32_t)json_array_size(rows);
	size_t i;
	json_t *row;

	if (count == 0 || json_array_size(rows) > CELLS_MAX)
		return nonsense(e, "cells");
	json_array_foreach(rows, i, row)
	{
		uint64_t cell;

		if (!number(row, "cell", count - 1, &cell) || by_number[cell])
			return nonsense(e, "cells");
		by_number[cell] = row;
	}
	for (uint32_t cell = 0; cell < count; cell++) {
		int rc;

		/* Makes room for a cell whose nodes may all be gone. */
		live->cells.cell_count = cell + 1;
		rc = read_cell(live, m, cell, by_number[cell], e);
		if (rc)
			return rc;
	}
	return 0;
}

static bool read_guest(struct picture_guest *g, uint32_t cell_count, const json_t *row)
{
	const json_t *nodes = json_object_get(row, "nodes");
	const json_t *bytes = json_object_get(row, "node_bytes");
	uint64_t cell, vcpus;
	size_t i;
	json_t *node;

	if (!number(row, "cell", cell_count - 1, &cell) ||
		!number(row, "memory_bytes", INT64_MAX, &g->memory_bytes) ||
		!number(row, "cpus", UINT32_MAX, &vcpus) ||
		json_array_size(nodes) > MACHINE_NODES_MAX)
		return false;
	g->cell = (uint32_t)cell;
	g->vcpus = (uint32_t)vcpus;
	(void)snprintf(g->name, sizeof(g->name), "%s", cli_text(row, "name"));
	(void)snprintf(g->state, sizeof(g->state), "%s", cli_text(row, "state"));
	json_array_foreach(nodes, i, node)
	{
		json_int_t share = json_integer_value(json_array_get(bytes, i));

		if (!json_is_integer(node) || json_integer_value(node) < 0 || share < 0)
			return false;
		g->os_nodes[i] = (uint32_t)json_integer_value(node);
		g->node_bytes[i] = (uint64_t)share;
	}
	g->node_count = (uint32_t)json_array_size(nodes);
	return true;
}

int live_read(struct live **out, const struct machine *m, const json_t *reply, struct err *e)
{
	const json_t *rows = json_object_get(reply, "guests");
	struct live *live = calloc(1, sizeof(*live));
	size_t i;
	json_t *row;
	int rc;

	CHECK(live != NULL);
	rc = read_cells(live, m, json_object_get(reply, "cells"), e);
	if (rc)
		goto fail;
	live->guests = calloc(json_array_size(rows) + 1, sizeof(*live->guests));
	CHECK(live->guests != NULL);
	json_array_foreach(rows, i, row)
	{
		if (!read_guest(&live->guests[i], live->cells.cell_count, row)) {
			rc = nonsense(e, "guests");
			goto fail;
		}
	}
	live->picture = (struct picture){
		.machine = m,
		.cells = &live->cells,
		.states = live->states,
		.guests = live->guests,
		.guest_count = json_array_size(rows),
	};
	*out = live;
	return 0;

fail:
	live_free(live);
	return rc;
}

void live_free(struct live *live)
{
	if (!live)
		return;
	free(live->guests);
	free(live);
}
