/* SPDX-License-Identifier: BSD-2-Clause */
/* Guests as JSON rows: to peers and to the command line, and back. */

#include <limits.h>
#include <string.h>

#include "monitor/cell/guests.h"
#include "numa/check.h"

static json_t *numbers(const uint32_t *values, uint32_t count)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < count; i++)
		json_array_append_new(array, json_integer(values[i]));
	return array;
}

static json_t *sizes(const uint64_t *values, uint32_t count)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < count; i++)
		json_array_append_new(array, json_integer((json_int_t)values[i]));
	return array;
}

json_t *guest_row(const struct guest *g, bool with_spec)
{
	json_t *row = json_pack(
		"{s:s, s:I, s:s, s:I, s:I, s:s, s:I, s:I, s:I, s:o, s:o, s:o, s:f, s:f, s:I}",
		"name", g->name, "cell", (json_int_t)g->home, "state", guest_state_name(g->state),
		"pid", (json_int_t)g->proc.pid, "start_time", (json_int_t)g->proc.start_time,
		"cause", g->cause, "cpus", (json_int_t)g->cpus, "reboots", (json_int_t)g->reboots,
		"memory_bytes", (json_int_t)g->memory_bytes, "nodes",
		numbers(g->nodes, g->node_count), "node_bytes", sizes(g->node_bytes, g->node_count),
		"needs", numbers(g->needs, g->need_count), "started", g->started, "ended", g->ended,
		"memory_error_count", (json_int_t)g->memory_errors);

	/* The texts are UTF-8 by construction: names are ASCII, causes are cut in guest_move(). */
	CHECK(row != NULL);
	if (g->silent)
		json_object_set_new(row, "silent", json_true());
	if (with_spec && g->spec)
		json_object_set(row, "spec", g->spec);
	return row;
}

static bool get_number(const json_t *row, const char *key, uint64_t max, uint64_t *value)
{
	const json_t *v = json_object_get(row, key);

	if (!json_is_integer(v) || json_integer_value(v) < 0 ||
		(uint64_t)json_integer_value(v) > max)
		return false;
	*value = (uint64_t)json_integer_value(v);
	return true;
}

static bool get_u32(const json_t *row, const char *key, uint32_t max, uint32_t *value)
{
	uint64_t wide;

	if (!get_number(row, key, max, &wide))
		return false;
	*value = (uint32_t)wide;
	return true;
}

static bool get_text(const json_t *row, const char *key, char *to, size_t room)
{
	const char *text = json_string_value(json_object_get(row, key));

	if (!text || strlen(text) >= room)
		return false;
	memcpy(to, text, strlen(text) + 1);
	return true;
}

static bool get_time(const json_t *row, const char *key, double *value)
{
	const json_t *v = json_object_get(row, key);

	if (!json_is_real(v) || json_real_value(v) < 0)
		return false;
	*value = json_real_value(v);
	return true;
}

/* Ascending numbers below 1024. */
static bool get_list(
	const json_t *row, const char *key, uint32_t *values, uint32_t room, uint32_t *count)
{
	const json_t *array = json_object_get(row, key);
	size_t n = json_array_size(array);

	if (!json_is_array(array) || n > room)
		return false;
	for (size_t i = 0; i < n; i++) {
		const json_t *v = json_array_get(array, i);

		if (!json_is_integer(v) || json_integer_value(v) < 0 ||
			json_integer_value(v) > 1023)
			return false;
		values[i] = (uint32_t)json_integer_value(v);
		if (i > 0 && values[i] <= values[i - 1])
			return false;
	}
	*count = (uint32_t)n;
	return true;
}

/* As many sizes as there are nodes. */
static bool get_sizes(const json_t *row, const char *key, uint64_t *values, uint32_t count)
{
	const json_t *array = json_object_get(row, key);

	if (!json_is_array(array) || json_array_size(array) != count)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		const json_t *v = json_array_get(array, i);

		if (!json_is_integer(v) || json_integer_value(v) < 0)
			return false;
		values[i] = (uint64_t)json_integer_value(v);
	}
	return true;
}

static bool get_state(const json_t *row, enum guest_state *state)
{
	const char *text = json_string_value(json_object_get(row, "state"));

	for (int s = 0; text && s < GUEST_STATE_COUNT; s++)
		if (!strcmp(text, guest_state_name((enum guest_state)s))) {
			*state = (enum guest_state)s;
			return true;
		}
	return false;
}

static bool read_row(const json_t *row, struct guest *g)
{
	uint64_t pid;
	struct err e;
	json_t *spec = json_object_get(row, "spec");

	if (!get_text(row, "name", g->name, sizeof(g->name)) || guest_name_check(g->name, &e))
		return false;
	if (!get_u32(row, "cell", 1023, &g->home) || !get_state(row, &g->state) ||
		!get_number(row, "pid", INT_MAX, &pid) ||
		!get_number(row, "start_time", INT64_MAX, &g->proc.start_time) ||
		!get_text(row, "cause", g->cause, sizeof(g->cause)) ||
		!get_u32(row, "cpus", UINT16_MAX, &g->cpus) ||
		!get_u32(row, "reboots", INT_MAX, &g->reboots) ||
		!get_number(row, "memory_bytes", INT64_MAX, &g->memory_bytes) ||
		!get_list(row, "nodes", g->nodes, GUEST_NODES_MAX, &g->node_count) ||
		!get_sizes(row, "node_bytes", g->node_bytes, g->node_count) ||
		!get_list(row, "needs", g->needs, GUEST_NEEDS_MAX, &g->need_count) ||
		!get_number(row, "memory_error_count", INT64_MAX, &g->memory_errors) ||
		!get_time(row, "started", &g->started) || !get_time(row, "ended", &g->ended))
		return false;
	/* pid 1 and below are never guests, and kill() gives them other meanings. */
	if (pid == 1 || (spec && !json_is_object(spec)))
		return false;
	g->proc.pid = (pid_t)pid;
	g->spec = json_incref(spec);
	return true;
}

bool guest_from_row(const json_t *row, struct guest *g)
{
	memset(g, 0, sizeof(*g));
	if (read_row(row, g)) {
		g->silent = json_is_true(json_object_get(row, "silent"));
		return true;
	}
	memset(g, 0, sizeof(*g));
	return false;
}
