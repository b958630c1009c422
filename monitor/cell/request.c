/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cell/request.h"

#include <string.h>

/* Fields, as bits of what an operation needs and what it may have. */
enum field {
	F_NAME = 1u << 0,
	F_KIND = 1u << 1,
	F_HOME = 1u << 2,
	F_NODE = 1u << 3,
	F_STARTED = 1u << 4,
	F_FORCE = 1u << 5,
	F_SINCE = 1u << 6,
	F_AFTER = 1u << 7,
	F_TIMEOUT = 1u << 8,
	F_TOKEN = 1u << 9,
	F_SPEC = 1u << 10,
	F_VCPU = 1u << 11,
	F_CPU = 1u << 12,
	F_RELEASE = 1u << 13,
	F_CELL = 1u << 14,
	F_BYTES = 1u << 15,
};

static const struct {
	const char *name;
	enum request_origin from;
	unsigned int needed, allowed;
} ops[REQUEST_OP_COUNT] = {
	[REQUEST_PING] = { "ping", REQUEST_FROM_CLIENT, 0, 0 },
	[REQUEST_LS] = { "ls", REQUEST_FROM_CLIENT, 0, 0 },
	[REQUEST_SHOW] = { "show", REQUEST_FROM_CLIENT, F_NAME, 0 },
	[REQUEST_RUN] = { "run", REQUEST_FROM_CLIENT, F_SPEC, 0 },
	[REQUEST_STOP] = { "stop", REQUEST_FROM_CLIENT, F_NAME, F_TIMEOUT },
	[REQUEST_KILL] = { "kill", REQUEST_FROM_CLIENT, F_NAME, 0 },
	[REQUEST_VCPUS] = { "vcpus", REQUEST_FROM_CLIENT, 0, F_NAME },
	[REQUEST_MOVE_VCPU] = { "move-vcpu", REQUEST_FROM_CLIENT, F_NAME | F_VCPU,
		F_CPU | F_RELEASE },
	[REQUEST_BORROW] = { "borrow", REQUEST_FROM_CLIENT, F_NAME | F_BYTES, F_CELL },
	[REQUEST_GIVE_BACK] = { "give-back", REQUEST_FROM_CLIENT, F_NAME, F_CELL },
	[REQUEST_MOVE] = { "move", REQUEST_FROM_CLIENT, F_NAME | F_CELL, 0 },
	[REQUEST_DRAIN] = { "drain", REQUEST_FROM_CLIENT, F_CELL, 0 },
	[REQUEST_UNDRAIN] = { "undrain", REQUEST_FROM_CLIENT, F_CELL, 0 },
	[REQUEST_EVENTS] = { "events", REQUEST_FROM_CLIENT, 0, F_SINCE },
	[REQUEST_INJECT] = { "inject", REQUEST_FROM_CLIENT, F_KIND | F_NODE, 0 },
	[REQUEST_DOWN] = { "down", REQUEST_FROM_CLIENT, 0, F_FORCE },
	[REQUEST_CELL_ROWS] = { "cell-rows", REQUEST_FROM_PEER, 0, 0 },
	[REQUEST_CELL_ROOM] = { "cell-room", REQUEST_FROM_PEER, 0, 0 },
	[REQUEST_CELL_SHOW] = { "cell-show", REQUEST_FROM_PEER, F_NAME, 0 },
	[REQUEST_CELL_RESERVE] = { "cell-reserve", REQUEST_FROM_PEER, F_NAME | F_TOKEN, 0 },
	[REQUEST_CELL_RELEASE] = { "cell-release", REQUEST_FROM_PEER, F_NAME | F_TOKEN | F_STARTED,
		0 },
	[REQUEST_CELL_START] = { "cell-start", REQUEST_FROM_PEER, F_SPEC | F_HOME, 0 },
	[REQUEST_CELL_STOP] = { "cell-stop", REQUEST_FROM_PEER, F_NAME | F_TIMEOUT, 0 },
	[REQUEST_CELL_KILL] = { "cell-kill", REQUEST_FROM_PEER, F_NAME, 0 },
	[REQUEST_CELL_VCPUS] = { "cell-vcpus", REQUEST_FROM_PEER, 0, F_NAME },
	[REQUEST_CELL_MOVE_VCPU] = { "cell-move-vcpu", REQUEST_FROM_PEER, F_NAME | F_VCPU,
		F_CPU | F_RELEASE },
	[REQUEST_CELL_BORROW] = { "cell-borrow", REQUEST_FROM_PEER, F_NAME | F_BYTES, F_CELL },
	[REQUEST_CELL_GIVE_BACK] = { "cell-give-back", REQUEST_FROM_PEER, F_NAME, F_CELL },
	[REQUEST_CELL_MOVE] = { "cell-move", REQUEST_FROM_PEER, F_NAME | F_CELL, 0 },
	[REQUEST_CELL_EXPECT] = { "cell-expect", REQUEST_FROM_PEER, F_NAME | F_BYTES, 0 },
	[REQUEST_CELL_DRAIN] = { "cell-drain", REQUEST_FROM_PEER, 0, 0 },
	[REQUEST_CELL_UNDRAIN] = { "cell-undrain", REQUEST_FROM_PEER, 0, 0 },
	[REQUEST_CELL_JOB] = { "cell-job", REQUEST_FROM_PEER, F_TOKEN | F_AFTER, 0 },
	[REQUEST_CELL_EVENTS] = { "cell-events", REQUEST_FROM_PEER, 0, F_SINCE | F_AFTER },
	[REQUEST_CELL_DOWN] = { "cell-down", REQUEST_FROM_PEER, 0, 0 },
};

const char *request_op_name(enum request_op op)
{
	return op < REQUEST_OP_COUNT ? ops[op].name : "unknown";
}

static bool integer(const json_t *v, json_int_t max, uint64_t *out)
{
	if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > max)
		return false;
	*out = (uint64_t)json_integer_value(v);
	return true;
}

static bool small(const json_t *v, uint32_t *out)
{
	uint64_t wide;

	if (!integer(v, UINT16_MAX, &wide))
		return false;
	*out = (uint32_t)wide;
	return true;
}

static bool take_name(struct request *r, const json_t *v)
{
	struct err e;

	if (!json_is_string(v) || guest_name_check(json_string_value(v), &e))
		return false;
	memcpy(r->name, json_string_value(v), json_string_length(v) + 1);
	return true;
}

static bool take_kind(struct request *r, const json_t *v)
{
	if (!json_is_string(v) || json_string_length(v) >= sizeof(r->kind))
		return false;
	memcpy(r->kind, json_string_value(v), json_string_length(v) + 1);
	return true;
}

static bool take_node(struct request *r, const json_t *v)
{
	return small(v, &r->node);
}

static bool take_vcpu(struct request *r, const json_t *v)
{
	return small(v, &r->vcpu);
}

static bool take_cpu(struct request *r, const json_t *v)
{
	r->has_cpu = true;
	return small(v, &r->cpu);
}

static bool take_release(struct request *r, const json_t *v)
{
	r->release = json_is_true(v);
	return json_is_boolean(v);
}

static bool take_force(struct request *r, const json_t *v)
{
	r->force = json_is_true(v);
	return json_is_boolean(v);
}

static bool take_started(struct request *r, const json_t *v)
{
	r->started = json_is_true(v);
	return json_is_boolean(v);
}

static bool take_since(struct request *r, const json_t *v)
{
	r->since = json_number_value(v);
	return json_is_number(v) && r->since >= 0;
}

static bool take_after(struct request *r, const json_t *v)
{
	return integer(v, INT64_MAX, &r->after);
}

static bool take_timeout(struct request *r, const json_t *v)
{
	return integer(v, 86400000, &r->timeout_ms) && r->timeout_ms > 0;
}

static bool take_token(struct request *r, const json_t *v)
{
	return integer(v, INT64_MAX, &r->token);
}

static bool take_cell(struct request *r, const json_t *v)
{
	r->has_cell = true;
	return small(v, &r->cell);
}

static bool take_bytes(struct request *r, const json_t *v)
{
	return integer(v, INT64_MAX, &r->bytes);
}

static bool take_object(json_t **to, const json_t *v)
{
	*to = json_is_object(v) ? json_deep_copy(v) : NULL;
	return *to != NULL;
}

static bool take_spec(struct request *r, const json_t *v)
{
	return take_object(&r->spec, v);
}

static bool take_home(struct request *r, const json_t *v)
{
	return take_object(&r->home, v);
}

static const struct {
	const char *name, *wanted;
	enum field bit;
	bool (*take)(struct request *r, const json_t *v);
} fields[] = {
	{ "name", "the name of a guest: 1 to 32 letters, digits, '.', '_', '-'", F_NAME,
		take_name },
	{ "kind", "a short text", F_KIND, take_kind },
	{ "home", "an object", F_HOME, take_home },
	{ "node", "the number of a node", F_NODE, take_node },
	{ "started", "true or false", F_STARTED, take_started },
	{ "force", "true or false", F_FORCE, take_force },
	{ "since", "seconds since 1970", F_SINCE, take_since },
	{ "after", "a sequence number", F_AFTER, take_after },
	{ "timeout_ms", "1 to 86400000", F_TIMEOUT, take_timeout },
	{ "token", "a number", F_TOKEN, take_token },
	{ "spec", "an object", F_SPEC, take_spec },
	{ "vcpu", "the number of a vCPU", F_VCPU, take_vcpu },
	{ "cpu", "the number of a CPU", F_CPU, take_cpu },
	{ "release", "true or false", F_RELEASE, take_release },
	{ "cell", "the number of a cell", F_CELL, take_cell },
	{ "bytes", "a number of bytes", F_BYTES, take_bytes },
};
#define FIELD_COUNT (sizeof(fields) / sizeof(fields[0]))

static int find_op(struct request *r, enum request_origin from, const json_t *value, struct err *e)
{
	const char *name = json_string_value(json_object_get(value, "op"));

	if (!name)
		return err_set(e, EXIT_USAGE,
			"a request is a JSON object with \"op\", such as {\"op\":\"ls\"}");
	for (int op = 0; op < REQUEST_OP_COUNT; op++)
		if (ops[op].from == from && !strcmp(ops[op].name, name)) {
			r->op = (enum request_op)op;
			return 0;
		}
	return err_set(e, EXIT_USAGE, "no operation '%.40s'", name);
}

static int take_field(
	struct request *r, const char *key, const json_t *v, unsigned int *seen, struct err *e)
{
	const unsigned int allowed = ops[r->op].needed | ops[r->op].allowed;

	for (size_t i = 0; i < FIELD_COUNT; i++) {
		if (strcmp(fields[i].name, key) != 0 || !(fields[i].bit & allowed))
			continue;
		if (!fields[i].take(r, v))
			return err_set(e, EXIT_USAGE, "%s: \"%s\" has to be %s", ops[r->op].name,
				key, fields[i].wanted);
		*seen |= fields[i].bit;
		return 0;
	}
	return err_set(e, EXIT_USAGE, "%s: unknown field \"%.40s\"", ops[r->op].name, key);
}

static int take_fields(struct request *r, const json_t *value, struct err *e)
{
	unsigned int seen = 0;
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)value, key, v)
	{
		int rc = strcmp(key, "op") ? take_field(r, key, v, &seen, e) : 0;

		if (rc)
			return rc;
	}
	for (size_t i = 0; i < FIELD_COUNT; i++)
		if (fields[i].bit & ops[r->op].needed & ~seen)
			return err_set(e, EXIT_USAGE, "%s: \"%s\" is missing: %s", ops[r->op].name,
				fields[i].name, fields[i].wanted);
	return 0;
}

int request_from_json(
	struct request *r, enum request_origin from, const json_t *value, struct err *e)
{
	int rc;

	memset(r, 0, sizeof(*r));
	rc = find_op(r, from, value, e);
	if (!rc)
		rc = take_fields(r, value, e);
	if (!rc && (r->op == REQUEST_MOVE_VCPU || r->op == REQUEST_CELL_MOVE_VCPU) &&
		r->has_cpu == r->release)
		rc = err_set(e, EXIT_USAGE, "%s: either \"cpu\" or \"release\" has to be given",
			ops[r->op].name);
	if (rc)
		request_fini(r);
	return rc;
}

int request_parse(
	struct request *r, enum request_origin from, const char *text, size_t bytes, struct err *e)
{
	json_error_t where;
	json_t *value;
	int rc;

	memset(r, 0, sizeof(*r));
	if (bytes > REQUEST_BYTES_MAX)
		return err_set(e, EXIT_USAGE, "a request has at most %zu bytes", REQUEST_BYTES_MAX);
	value = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &where);
	if (!value)
		return err_set(
			e, EXIT_USAGE, "not JSON: %.120s (at byte %d)", where.text, where.position);
	rc = request_from_json(r, from, value, e);
	json_decref(value);
	return rc;
}

void request_fini(struct request *r)
{
	json_decref(r->spec);
	json_decref(r->home);
	memset(r, 0, sizeof(*r));
}
