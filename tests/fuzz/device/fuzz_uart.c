/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whatever a guest and the host's side do to the UART, in any order: the line
 * is what IIR says, and a byte that was taken is read once, in order, unless the guest dropped it.
 */
#include "monitor/device/uart.h"
#include "numa/check.h"

#include <linux/serial_reg.h>
#include <stddef.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct host {
	bool level;
	bool may_room; /* bytes were refused */
};

static void irq(void *ctx, bool level)
{
	struct host *h = ctx;

	CHECK(h->level != level);
	h->level = level;
}

static void out(void *ctx, uint8_t byte)
{
	(void)ctx;
	(void)byte;
}

static void room(void *ctx)
{
	struct host *h = ctx;

	CHECK(h->may_room);
	h->may_room = false;
}

static void check_line(struct uart *u, const struct host *h)
{
	struct uart copy = *u; /* reading IIR has side effects */
	struct host copied = *h;
	struct bus_req r = { .off = UART_IIR, .len = 1 };

	copy.env.ctx = &copied;
	CHECK(uart_bus(&copy, &r) == DEV_OK);
	CHECK(h->level == !(r.val & UART_IIR_NO_INT));
	CHECK(u->fifo_count <= UART_FIFO_BYTES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct host h = { 0 };
	struct uart u;
	uint8_t sent = 0, expected = 0;
	bool clean = true; /* nothing but the host's bytes went through the FIFO so far */

	uart_init(&u, &(struct uart_env){ irq, out, room, &h });
	for (; size >= 3; data += 3, size -= 3) {
		struct bus_req r = { .off = data[1] & 15, .val = data[2] };
		uint8_t bytes[64];
		uint32_t n = data[2] % 64, taken;

		r.len = data[1] & 16 ? 2 : 1;
		r.store = data[0] & 1;
		if (data[0] & 2) {
			for (uint32_t i = 0; i < n; i++)
				bytes[i] = (uint8_t)(sent + i);
			h.may_room = true;
			taken = uart_receive(&u, bytes, n);
			h.may_room = taken < n;
			CHECK(taken <= n);
			sent = (uint8_t)(sent + taken);
		} else if (data[0] == 0xf0) {
			uart_reset(&u);
			clean = false;
		} else {
			bool dlab = u.lcr & UART_LCR_DLAB, had = u.fifo_count > 0;
			enum dev_outcome o = uart_bus(&u, &r);

			CHECK((o == DEV_OK) == (r.len == 1 && r.off < UART_BYTES));
			if (r.store && (r.off == UART_FCR || r.off == UART_MCR))
				clean = false;
			if (clean && o == DEV_OK && !r.store && r.off == UART_RX && !dlab && had)
				CHECK(r.val == expected++);
		}
		check_line(&u, &h);
	}
	return 0;
}
