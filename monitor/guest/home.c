/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/guest/home.h"

#include "monitor/guest/fields.h"

#include <stdlib.h>
#include <string.h>

static json_t *encode_list(const uint32_t *values, uint32_t count)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < count; i++)
		json_array_append_new(list, json_integer(values[i]));
	return list;
}

static json_t *encode_memory(const struct guest_home *h)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < h->memory_count; i++)
		json_array_append_new(
			list, json_pack("{s:I,s:I}", "node", (json_int_t)h->memory[i].node, "bytes",
				      (json_int_t)h->memory[i].bytes));
	return list;
}

json_t *guest_home_encode(const struct guest_home *h)
{
	json_t *value = json_pack("{s:I,s:o,s:o}", "cell", (json_int_t)h->cell, "nodes",
		encode_list(h->nodes, h->node_count), "cpus", encode_list(h->cpus, h->cpu_count));

	if (!value)
		return NULL;
	if (h->has_cpu_nodes)
		json_object_set_new(value, "cpu_nodes", encode_list(h->cpu_nodes, h->cpu_count));
	if (h->pin_count)
		json_object_set_new(value, "pins", encode_list(h->pins, h->pin_count));
	if (h->memory_count)
		json_object_set_new(value, "memory", encode_memory(h));
	if (h->has_distances) {
		json_t *list = json_array();

		for (uint32_t i = 0; i < h->node_count * h->node_count; i++)
			json_array_append_new(list, json_integer(h->distances[i]));
		json_object_set_new(value, "distances", list);
	}
	return value;
}

static bool ascending(const uint32_t *values, uint32_t count)
{
	for (uint32_t i = 1; i < count; i++)
		if (values[i] <= values[i - 1])
			return false;
	return true;
}

static bool has_node(const struct guest_home *h, uint32_t node)
{
	for (uint32_t i = 0; i < h->node_count; i++)
		if (h->nodes[i] == node)
			return true;
	return false;
}

static void decode_cpu_nodes(struct fields *f, struct guest_home *h)
{
	uint32_t count = 0;

	h->has_cpu_nodes = fields_has(f, "cpu_nodes");
	fields_list(f, "cpu_nodes", HOME_NODE_ID_MAX, h->cpu_nodes, HOME_CPUS_MAX, &count, false);
	if (h->has_cpu_nodes && count != h->cpu_count)
		fields_wrong(f, "cpu_nodes", "has to have one element for each of 'cpus'");
}

static void decode_pins(struct fields *f, struct guest_home *h)
{
	fields_list(f, "pins", HOME_CPU_ID_MAX, h->pins, SPEC_CPUS_MAX, &h->pin_count, false);
	for (uint32_t i = 0; i < h->pin_count; i++)
		for (uint32_t k = 0; k < i; k++)
			if (h->pins[i] == h->pins[k])
				fields_wrong(f, "pins", "has to have each CPU once");
}

static void decode_memory(struct fields *f, struct guest_home *h)
{
	static const char *const known[] = { "node", "bytes", NULL };
	const json_t *list = fields_array(f, "memory", SPEC_NODES_MAX);
	struct fields range;

	h->memory_count = (uint32_t)json_array_size(list);
	for (uint32_t i = 0; i < h->memory_count && !f->rc; i++) {
		struct home_range *m = &h->memory[i];

		fields_begin(&range, json_array_get(list, i), "memory", known, f->e);
		fields_u32(&range, "node", 0, HOME_NODE_ID_MAX, &m->node, true);
		fields_number(&range, "bytes", SPEC_MEMORY_UNIT, SPEC_MEMORY_MAX, &m->bytes, true);
		f->rc = range.rc;
		if (m->bytes % SPEC_MEMORY_UNIT)
			fields_wrong(f, "memory", "has to come in units of 2 MiB");
		if (!has_node(h, m->node))
			fields_wrong(f, "memory", "is on a node that is not in 'nodes'");
	}
}

static void decode_distances(struct fields *f, struct guest_home *h)
{
	const json_t *list = fields_array(f, "distances", SPEC_NODES_MAX * SPEC_NODES_MAX);
	size_t size = json_array_size(list);

	h->has_distances = list != NULL;
	if (!list || f->rc)
		return;
	if (size != (size_t)h->node_count * h->node_count) {
		fields_wrong(f, "distances", "has to have a row and a column for each of 'nodes'");
		return;
	}
	for (size_t i = 0; i < size; i++) {
		json_int_t distance = json_integer_value(json_array_get(list, i));

		if (distance < 10 || distance > UINT8_MAX) {
			fields_wrong(f, "distances", "has to be of integers of 10 to 255");
			return;
		}
		h->distances[i] = (uint8_t)distance;
	}
}

static int decode(const json_t *value, struct guest_home *h, struct err *e)
{
	static const char *const known[] = { "cell", "nodes", "cpus", "cpu_nodes", "pins", "memory",
		"distances", NULL };
	struct fields f;

	memset(h, 0, sizeof(*h));
	fields_begin(&f, value, "home", known, e);
	fields_u32(&f, "cell", 0, SPEC_CELL_MAX, &h->cell, true);
	fields_list(&f, "nodes", HOME_NODE_ID_MAX, h->nodes, SPEC_NODES_MAX, &h->node_count, true);
	fields_list(&f, "cpus", HOME_CPU_ID_MAX, h->cpus, HOME_CPUS_MAX, &h->cpu_count, true);
	if (!h->node_count || !ascending(h->nodes, h->node_count))
		fields_wrong(&f, "nodes", "has to have at least one node, in ascending order");
	if (!h->cpu_count || !ascending(h->cpus, h->cpu_count))
		fields_wrong(&f, "cpus", "has to have at least one CPU, in ascending order");
	decode_cpu_nodes(&f, h);
	decode_pins(&f, h);
	decode_memory(&f, h);
	decode_distances(&f, h);
	return f.rc;
}

int guest_home_decode(const json_t *value, struct guest_home *h, struct err *e)
{
	struct guest_home *made = malloc(sizeof(*made));
	int rc;

	if (!made)
		return err_set(e, EXIT_FAILED, "out of memory");
	rc = decode(value, made, e);
	if (!rc)
		*h = *made;
	free(made);
	return rc;
}

int guest_home_covers(const struct guest_home *h, uint64_t memory_bytes, struct err *e)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < h->memory_count; i++)
		sum += h->memory[i].bytes;
	if (h->memory_count && sum != memory_bytes)
		return err_set(e, EXIT_INVALID,
			"home: the memory plan is for %llu MiB, the guest has %llu MiB",
			(unsigned long long)(sum >> 20), (unsigned long long)(memory_bytes >> 20));
	return 0;
}

bool guest_home_node_of(const struct guest_home *h, uint64_t off, uint32_t *node)
{
	uint64_t at = 0;

	*node = h->nodes[0];
	for (uint32_t i = 0; i < h->memory_count; i++) {
		*node = h->memory[i].node;
		if (off - at < h->memory[i].bytes)
			return true;
		at += h->memory[i].bytes;
	}
	return h->node_count == 1;
}
