/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests from clients and peers. The first byte says whose, and whether the
 * rest is the text of a request, or lines of a field's number and a JSON value
 * that make up one.
 */
#include <string.h>

#include "monitor/cell/request.h"
#include "numa/check.h"

static const char *const fields[] = { "name", "kind", "home", "node", "started", "force", "since",
	"after", "timeout_ms", "token", "spec", "vcpu", "cpu", "release", "other" };
#define FIELD_COUNT (sizeof(fields) / sizeof(fields[0]))

static json_t *compose(const uint8_t *data, size_t size)
{
	json_t *value = json_object();

	if (size > 0) {
		enum request_op op = (enum request_op)(data[0] % REQUEST_OP_COUNT);

		json_object_set_new(value, "op", json_string(request_op_name(op)));
		data++;
		size--;
	}
	while (size > 1) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t line = end ? (size_t)(end - data) : size;

		if (line > 1)
			json_object_set_new(value, fields[data[0] % FIELD_COUNT],
				json_loadb(
					(const char *)data + 1, line - 1, JSON_DECODE_ANY, NULL));
		data += line + (end != NULL);
		size -= line + (end != NULL);
	}
	return value;
}

static void judge(int rc, const struct request *r, const struct err *e)
{
	struct err name_error;

	if (rc) {
		CHECK(e->code == EXIT_USAGE);
		CHECK(r->spec == NULL && r->home == NULL);
		return;
	}
	CHECK(r->op < REQUEST_OP_COUNT);
	CHECK(r->name[0] == '\0' || guest_name_check(r->name, &name_error) == 0);
	CHECK(r->timeout_ms <= 86400000);
	CHECK((r->op != REQUEST_MOVE_VCPU && r->op != REQUEST_CELL_MOVE_VCPU) ||
		r->has_cpu != r->release);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum request_origin from;
	struct request r;
	struct err e;
	int rc;

	if (size == 0)
		return 0;
	from = data[0] & 1 ? REQUEST_FROM_PEER : REQUEST_FROM_CLIENT;
	if (data[0] & 2) {
		json_t *value = compose(data + 1, size - 1);

		rc = request_from_json(&r, from, value, &e);
		json_decref(value);
	} else {
		rc = request_parse(&r, from, (const char *)data + 1, size - 1, &e);
	}
	judge(rc, &r, &e);
	if (!rc)
		request_fini(&r);
	return 0;
}
