/* SPDX-License-Identifier: BSD-2-Clause */
/* Whatever bytes a peer sends, judging them touches nothing else and contradicts itself never. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "faultcontain/wire.h"
#include "faultcontain/wire_hello.h"
#include "numa/check.h"

static const struct wire_expect expect_message = {
	.cell_count = 9,
	.self_cell = 3,
	.peer_cell = 5,
	.self_incarnation = 20,
	.peer_incarnation = 7,
	.last_seq = 41,
};

static void message(const uint8_t *data, size_t size)
{
	/* An exact copy on the heap: reading past its end is noticed. */
	uint8_t *copy = malloc(size ? size : 1);
	struct wire_hdr h;
	const void *body;
	enum wire_outcome outcome;

	CHECK(copy);
	if (size)
		memcpy(copy, data, size);
	/* The checksum would stop almost every input: half of them are sealed. */
	if (size >= sizeof(h) && copy[sizeof(h) - 1] & 1) {
		memcpy(&h, copy, sizeof(h));
		h.body_bytes = (uint32_t)(size - sizeof(h));
		wire_seal(&h, copy + sizeof(h));
		memcpy(copy, &h, sizeof(h));
	}
	outcome = wire_judge(copy, size, &expect_message, &h, &body);
	CHECK((outcome == WIRE_OK) == (body != NULL));
	CHECK((outcome == WIRE_OK) == (wire_verdict(outcome) == WIRE_ACCEPT));
	if (outcome == WIRE_OK) {
		CHECK(h.src_cell == 5 && h.dst_cell == 3 && h.seq > 41 && h.op &&
			h.op < WIRE_OP_END);
		CHECK((const uint8_t *)body + h.body_bytes == copy + size);
	}
	free(copy);
}

static void hello(const uint8_t *data, size_t size)
{
	static const uint64_t min_incarnation[6] = { 1, 1, 4, 1, 9, 1 };
	const struct wire_hello_expect expect = {
		.cell_count = 6,
		.self_cell = 3,
		.self_incarnation = 20,
		.peer_cell = WIRE_HELLO_ANY_CELL,
		.min_incarnation = min_incarnation,
		.ring_bytes_min = 1u << 16,
		.ring_bytes_max = 1u << 20,
	};
	uint8_t *copy = malloc(size ? size : 1);
	struct wire_hello h;

	CHECK(copy);
	if (size)
		memcpy(copy, data, size);
	if (size == sizeof(h) && copy[sizeof(h) - 1] & 1) {
		memcpy(&h, copy, sizeof(h));
		wire_hello_seal(&h);
		memcpy(copy, &h, sizeof(h));
	}
	if (wire_hello_judge(copy, size, &expect, &h) == WIRE_HELLO_OK) {
		CHECK(h.src_cell < 6 && h.src_cell != 3);
		CHECK(h.incarnation >= min_incarnation[h.src_cell]);
	}
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size && data[0] & 1)
		hello(data + 1, size - 1);
	else if (size)
		message(data + 1, size - 1);
	return 0;
}
