/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests from clients and peers. The first byte chooses whose. */
#include "monitor/cell/request.h"
#include "numa/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct request r;
	struct err e;

	if (size == 0)
		return 0;
	if (request_parse(&r, data[0] & 1 ? REQUEST_FROM_PEER : REQUEST_FROM_CLIENT,
		    (const char *)data + 1, size - 1, &e)) {
		CHECK(e.code == EXIT_USAGE);
		CHECK(r.spec == NULL && r.home == NULL);
		return 0;
	}
	CHECK(r.op < REQUEST_OP_COUNT);
	CHECK(r.name[0] == '\0' || guest_name_check(r.name, &e) == 0);
	request_fini(&r);
	return 0;
}
