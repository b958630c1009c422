/* SPDX-License-Identifier: BSD-2-Clause */
/* A peer gone mad: whatever it sends, the book keeps its invariants and lends no more than it has.
 */
#include <stdlib.h>
#include <string.h>

#include "numa/check.h"
#include "numa/loans.h"
#include "numa/machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CELLS 3
#define LINES 12

static void drain(struct loans *l)
{
	struct loans_action a;

	for (uint32_t i = 0; i < 200 && loans_next(l, &a); i++) {
		uint8_t body[LOAN_MSG_BYTES];
		struct loan_msg again;

		if (a.kind != LOANS_SEND)
			continue;
		loan_encode(&a.msg, body);
		CHECK(loan_decode(a.msg.op, body, sizeof(body), &again));
	}
	CHECK(loans_check(l) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint64_t memory[4096];
	struct loans_cfg cfg = { .self = 1,
		.cell_count = CELLS,
		.incarnation = 3,
		.born = 3,
		.line_max = LINES,
		.peer_line_max = LINES / 2,
		.retry_ns = 5,
		.patience_ns = 20,
		.lend_above_units = 4 };
	struct loans *l;

	if (size == 0)
		return 0;
	CHECK(loans_bytes(CELLS, LINES) <= sizeof(memory));
	/* A monitor of its own, or one that replaces another and has to be told. */
	cfg.born = data[0] & 1 ? 2 : 3;
	l = loans_start(memory, &cfg, 0);
	CHECK(l && loans_offer(l, 7, 50));
	loans_peer(l, 0, 0, 4, 4, true);
	loans_peer(l, 0, 2, 5, 5, data[0] & 2);
	loans_claimed(l, 0);
	(void)loans_ask(l, 0, 1, 0, NODE_NONE, 9);
	for (data++, size--; size >= LOAN_MSG_BYTES + 1; data += LOAN_MSG_BYTES + 1) {
		struct loan_msg msg, reply;

		size -= LOAN_MSG_BYTES + 1;
		if (loan_decode(data[0] % 16, data + 1, LOAN_MSG_BYTES, &msg))
			(void)loans_recv(l, data[0], 0, &msg, &reply);
		loans_tick(l, data[0]);
		drain(l);
		CHECK(cfg.born != 3 || loans_lent(l, 7) <= 46);
	}
	return 0;
}
