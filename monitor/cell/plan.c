/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cell/plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "numa/check.h"

#define PLAN_PATH_BYTES 80
#define CPU_LIST_BYTES 8192

static json_t *node_json(const struct plan *p, uint32_t n)
{
	const struct machine_node *node = &p->machine.nodes[n];
	char cpus[CPU_LIST_BYTES];
	json_t *distances = json_array();

	CHECK(cpu_set_format(&node->cpus, cpus, sizeof(cpus)) >= 0);
	for (uint32_t to = 0; to < p->machine.node_count; to++)
		json_array_append_new(distances, json_integer(p->machine.distance[n][to]));
	return json_pack("{s:I, s:s, s:I, s:I, s:o}", "node", (json_int_t)node->os_node, "cpus",
		cpus, "memory_bytes", (json_int_t)node->memory_bytes, "start_bytes",
		(json_int_t)p->start_bytes[n], "distances", distances);
}

json_t *plan_cell_nodes(const struct plan *p, uint32_t cell)
{
	const struct cell_plan *c = &p->cells.cells[cell];
	json_t *nodes = json_array();

	for (uint32_t i = 0; i < c->node_count; i++)
		json_array_append_new(nodes, json_integer(p->machine.nodes[c->nodes[i]].os_node));
	return nodes;
}

void plan_cell_node_set(const struct plan *p, uint32_t cell, struct node_set *nodes)
{
	const struct cell_plan *c = &p->cells.cells[cell];

	memset(nodes, 0, sizeof(*nodes));
	for (uint32_t i = 0; i < c->node_count; i++)
		node_set_add(nodes, p->machine.nodes[c->nodes[i]].os_node);
}

json_t *plan_encode(const struct plan *p)
{
	json_t *nodes = json_array(), *cells = json_array();

	for (uint32_t n = 0; n < p->machine.node_count; n++)
		json_array_append_new(nodes, node_json(p, n));
	for (uint32_t c = 0; c < p->cells.cell_count; c++)
		json_array_append_new(cells, json_pack("{s:I, s:o}", "cell", (json_int_t)c, "nodes",
						     plan_cell_nodes(p, c)));
	return json_pack("{s:I, s:I, s:I, s:I, s:s, s:s, s:I, s:I, s:I, s:o, s:o}", "suspect_ms",
		(json_int_t)p->suspect_ms, "retire_after", (json_int_t)p->retire_after,
		"drain_after", (json_int_t)p->drain_after, "half_life_s",
		(json_int_t)p->half_life_s, "trace_dir", p->trace_dir, "trace_missing",
		p->trace_missing, "balance_ms", (json_int_t)p->balance_ms, "borrow_below_bytes",
		(json_int_t)p->borrow_below_bytes, "lend_above_bytes",
		(json_int_t)p->lend_above_bytes, "nodes", nodes, "cells", cells);
}

static bool number(const json_t *value, uint64_t max, uint64_t *out)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
		(uint64_t)json_integer_value(value) > max)
		return false;
	*out = (uint64_t)json_integer_value(value);
	return true;
}

static bool decode_node(const json_t *value, struct plan *p, uint32_t n, uint32_t count)
{
	struct machine_node *node = &p->machine.nodes[n];
	const char *cpus = json_string_value(json_object_get(value, "cpus"));
	const json_t *distances = json_object_get(value, "distances");
	uint64_t os_node, distance;

	if (!number(json_object_get(value, "node"), BIND_NODES - 1, &os_node) || !cpus ||
		!number(json_object_get(value, "memory_bytes"), INT64_MAX, &node->memory_bytes) ||
		!number(json_object_get(value, "start_bytes"), INT64_MAX, &p->start_bytes[n]) ||
		json_array_size(distances) != count)
		return false;
	node->os_node = (uint32_t)os_node;
	memset(&node->cpus, 0, sizeof(node->cpus));
	if (*cpus && cpu_set_parse(cpus, &node->cpus))
		return false;
	for (uint32_t to = 0; to < count; to++) {
		if (!number(json_array_get(distances, to), UINT8_MAX, &distance))
			return false;
		p->machine.distance[n][to] = (uint8_t)distance;
	}
	return true;
}

static bool decode_cell(const json_t *value, struct plan *p, uint32_t c)
{
	struct cell_plan *cell = &p->cells.cells[c];
	const json_t *nodes = json_object_get(value, "nodes");
	size_t count = json_array_size(nodes);
	uint64_t os_node;

	if (count == 0 || count > p->machine.node_count)
		return false;
	for (size_t i = 0; i < count; i++) {
		uint32_t n;

		if (!number(json_array_get(nodes, i), BIND_NODES - 1, &os_node))
			return false;
		n = machine_node_of(&p->machine, (uint32_t)os_node);
		if (n == NODE_NONE)
			return false;
		cell->nodes[cell->node_count++] = n;
		cpu_set_merge(&cell->cpus, &p->machine.nodes[n].cpus);
		cell->memory_bytes += p->machine.nodes[n].memory_bytes;
	}
	return true;
}

static bool decode_thresholds(const json_t *value, struct plan *p)
{
	return number(json_object_get(value, "borrow_below_bytes"), PLAN_THRESHOLD_MAX,
		       &p->borrow_below_bytes) &&
	       number(json_object_get(value, "lend_above_bytes"), PLAN_THRESHOLD_MAX,
		       &p->lend_above_bytes) &&
	       p->borrow_below_bytes <= p->lend_above_bytes;
}

static bool decode_text(const json_t *value, const char *key, char text[PLAN_TRACE_BYTES])
{
	const char *found = json_string_value(json_object_get(value, key));

	if (!found || strlen(found) >= PLAN_TRACE_BYTES)
		return false;
	memcpy(text, found, strlen(found) + 1);
	return true;
}

static bool decode_errors(const json_t *value, struct plan *p)
{
	uint64_t retire, drain, half_life;

	if (!number(json_object_get(value, "retire_after"), PLAN_ERRORS_MAX, &retire) ||
		!number(json_object_get(value, "drain_after"), PLAN_ERRORS_MAX, &drain) ||
		!number(json_object_get(value, "half_life_s"), PLAN_HALF_LIFE_S_MAX, &half_life) ||
		half_life < PLAN_HALF_LIFE_S_MIN ||
		!decode_text(value, "trace_dir", p->trace_dir) ||
		!decode_text(value, "trace_missing", p->trace_missing) ||
		(p->trace_dir[0] && p->trace_dir[0] != '/'))
		return false;
	p->retire_after = (uint32_t)retire;
	p->drain_after = (uint32_t)drain;
	p->half_life_s = (uint32_t)half_life;
	return true;
}

static bool decode(const json_t *value, struct plan *p)
{
	const json_t *nodes = json_object_get(value, "nodes");
	const json_t *cells = json_object_get(value, "cells");
	size_t node_count = json_array_size(nodes), cell_count = json_array_size(cells);
	uint64_t suspect_ms, balance_ms;

	if (node_count > MACHINE_NODES_MAX || cell_count > CELLS_MAX ||
		!number(json_object_get(value, "suspect_ms"), PLAN_SUSPECT_MS_MAX, &suspect_ms) ||
		suspect_ms < PLAN_SUSPECT_MS_MIN ||
		!number(json_object_get(value, "balance_ms"), PLAN_BALANCE_MS_MAX, &balance_ms) ||
		(balance_ms && balance_ms < PLAN_BALANCE_MS_MIN) || !decode_thresholds(value, p) ||
		!decode_errors(value, p))
		return false;
	p->suspect_ms = (uint32_t)suspect_ms;
	p->balance_ms = (uint32_t)balance_ms;
	p->machine.node_count = (uint32_t)node_count;
	p->cells.cell_count = (uint32_t)cell_count;
	for (uint32_t n = 0; n < node_count; n++)
		if (!decode_node(json_array_get(nodes, n), p, n, (uint32_t)node_count))
			return false;
	if (machine_check(&p->machine) != MACHINE_OK)
		return false;
	for (uint32_t c = 0; c < cell_count; c++)
		if (!decode_cell(json_array_get(cells, c), p, c))
			return false;
	return cells_check(&p->machine, &p->cells, NULL) == CELLS_OK;
}

int plan_decode(const json_t *value, struct plan *p, struct err *e)
{
	memset(p, 0, sizeof(*p));
	if (decode(value, p))
		return 0;
	return err_set(e, EXIT_INVALID, "machine.json is not what `cellvisor up` writes");
}

static void plan_path(char path[PLAN_PATH_BYTES], const char *dir, const char *name)
{
	snprintf(path, PLAN_PATH_BYTES, "%.60s/%s", dir, name);
}

int plan_save(const struct plan *p, const char *dir, struct err *e)
{
	char fresh[PLAN_PATH_BYTES], path[PLAN_PATH_BYTES];
	json_t *value = plan_encode(p);
	int rc;

	CHECK(value != NULL);
	plan_path(fresh, dir, "machine.json.new");
	plan_path(path, dir, "machine.json");
	rc = json_dump_file(value, fresh, JSON_INDENT(1));
	json_decref(value);
	if (rc || rename(fresh, path))
		return err_set(e, EXIT_ENVIRONMENT, "can't write %s: %s", path, strerror(errno));
	return 0;
}

int plan_load(struct plan *p, const char *dir, struct err *e)
{
	char path[PLAN_PATH_BYTES];
	json_error_t where;
	json_t *value;
	int rc;

	plan_path(path, dir, "machine.json");
	if (access(path, F_OK))
		return err_set(
			e, EXIT_NOT_RUNNING, "no cells are up; start them with `cellvisor up`");
	value = json_load_file(path, JSON_REJECT_DUPLICATES, &where);
	if (!value)
		return err_set(e, EXIT_INVALID, "%s:%d: %.120s", path, where.line, where.text);
	rc = plan_decode(value, p, e);
	json_decref(value);
	return rc;
}
