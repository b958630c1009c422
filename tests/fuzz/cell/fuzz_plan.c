/* SPDX-License-Identifier: BSD-2-Clause */
/* machine.json, and what peers say of their guests in parts. The first byte chooses. */
#include <stdlib.h>

#include "monitor/cell/plan.h"
#include "monitor/cell/replica.h"
#include "numa/check.h"

static void replica(const uint8_t *data, size_t size)
{
	struct replica r = { .staged = NULL };
	int rc = replica_take(&r, 2, data, size);

	CHECK(rc == 1 || r.book.count == 0);
	CHECK(rc == 0 || r.staged == NULL);
	replica_fini(&r);
}

static void plan(const uint8_t *data, size_t size)
{
	struct plan *p = calloc(1, sizeof(*p));
	json_t *value = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
	struct err e;

	CHECK(p != NULL);
	if (value && plan_decode(value, p, &e) == 0) {
		json_t *again = plan_encode(p);

		CHECK(plan_decode(again, p, &e) == 0);
		json_decref(again);
	}
	json_decref(value);
	free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] & 1)
		plan(data + 1, size - 1);
	else
		replica(data + 1, size - 1);
	return 0;
}
