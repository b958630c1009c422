/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What peers say of their guests, vCPUs, events and corrected errors: a good row or event in which
 * fields are replaced. Each line of the input is a field's number and a JSON value.
 */
#include <string.h>

#include "monitor/cell/balancing.h"
#include "monitor/cell/events.h"
#include "monitor/cell/guests.h"
#include "monitor/cell/predicting.h"
#include "numa/check.h"

static json_t *good_row(void)
{
	return json_pack("{s:s, s:i, s:s, s:i, s:i, s:s, s:i, s:i, s:i, s:[i,i], s:[i,i], s:[i], "
			 "s:f, s:f}",
		"name", "web", "cell", 2, "state", "running", "pid", 4711, "start_time", 99,
		"cause", "started", "cpus", 2, "reboots", 0, "memory_bytes", 1 << 30, "nodes", 1, 2,
		"node_bytes", 1 << 29, 1 << 29, "needs", 2, "started", 1.5, "ended", 0.0);
}

static json_t *good_vcpu(void)
{
	return json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:[i,i], s:i, s:b, s:b, s:b, s:i, "
			 "s:i, s:s}",
		"guest", "web", "vcpu", 1, "tid", 77, "home", 2, "cell", 3, "node", 6, "cpu", 9,
		"cpus", 8, 9, "share", 400, "runnable", 1, "held", 0, "gang", 0, "moves", 5,
		"visits", 1, "reason", "spread");
}

static json_t *good_errors(void)
{
	return json_pack("{s:[{s:i, s:i, s:b, s:i, s:i, s:s}], s:[{s:s, s:n, s:i}], "
			 "s:[{s:i, s:i, s:i, s:s}]}",
		"nodes", "node", 1, "errors", 12, "failing", 0, "retired", 1, "not_retired", 0,
		"worst_dimm", "A1", "dimms", "dimm", "A1", "node", "errors", 12, "pages", "frame",
		4711, "node", 1, "errors", 9, "state", "retired");
}

static json_t *good_event(void)
{
	return json_pack("{s:f, s:i, s:i, s:i, s:s, s:s, s:s}", "time", 1.5, "seq", 7, "cell", 2,
		"by", 1, "guest", "web", "event", "guest-started", "cause", "started");
}

/* Replaces fields of `value` as the input says; a value that is not JSON deletes the field. */
static void replace_fields(json_t *value, const uint8_t *data, size_t size)
{
	while (size > 1) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t line = end ? (size_t)(end - data) : size;
		size_t at = line > 0 ? data[0] % json_object_size(value) : 0;
		void *field = json_object_iter(value);
		json_t *with = line > 1 ? json_loadb((const char *)data + 1, line - 1,
						  JSON_DECODE_ANY, NULL)
					: NULL;

		while (at-- > 0)
			field = json_object_iter_next(value, field);
		if (with)
			json_object_iter_set_new(value, field, with);
		else if (json_object_size(value) > 1)
			json_object_del(value, json_object_iter_key(field));
		data += line + (end != NULL);
		size -= line + (end != NULL);
	}
}

static void try_row(json_t *row)
{
	struct guest g, again;
	json_t *copy;

	if (!guest_from_row(row, &g)) {
		CHECK(g.spec == NULL && g.proc.pid == 0);
		return;
	}
	CHECK(g.node_count <= GUEST_NODES_MAX && g.need_count <= GUEST_NEEDS_MAX);
	CHECK(g.proc.pid != 1 && g.proc.pid >= 0 && g.state < GUEST_STATE_COUNT);
	copy = guest_row(&g, true);
	CHECK(guest_from_row(copy, &again));
	json_decref(again.spec);
	json_decref(g.spec);
	json_decref(copy);
}

/* What is shown of a peer's corrected errors is shown whole if it is told on. */
static void try_errors(const uint8_t *data, size_t size)
{
	json_t *errors = good_errors(), *reply, *row = json_object(), *again = json_object();

	replace_fields(json_array_get(json_object_get(errors, "nodes"), 0), data, size);
	replace_fields(json_array_get(json_object_get(errors, "dimms"), 0), data, size);
	replace_fields(errors, data, size);
	reply = json_pack("{s:o}", "corrected_errors", errors);
	predicting_copy(row, reply);
	predicting_copy(again, row);
	CHECK(json_equal(row, again) && json_object_size(row) == 1);
	json_decref(reply);
	json_decref(row);
	json_decref(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *row = good_row(), *event = good_event(), *vcpu = good_vcpu(), *clean, *again;
	struct event ev;

	replace_fields(row, data, size);
	try_row(row);
	replace_fields(event, data, size);
	if (event_from_json(event, &ev)) {
		again = event_json(&ev);
		CHECK(event_from_json(again, &ev));
		json_decref(again);
	}
	replace_fields(vcpu, data, size);
	clean = balancing_clean_vcpu(vcpu);
	if (clean) {
		again = balancing_clean_vcpu(clean);
		CHECK(json_equal(clean, again));
		json_decref(again);
		json_decref(clean);
	}
	try_errors(data, size);
	json_decref(vcpu);
	json_decref(row);
	json_decref(event);
	return 0;
}
