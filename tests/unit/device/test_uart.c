/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/device/uart.h"

#include <criterion/criterion.h>
#include <linux/serial_reg.h>
#include <string.h>

struct host {
	bool level;
	int edges; /* low to high */
	uint8_t out[256];
	uint32_t out_bytes;
	int room;
};

static void irq(void *ctx, bool level)
{
	struct host *h = ctx;

	cr_assert_neq(h->level, level, "the line is told only when it changes");
	h->level = level;
	h->edges += level;
}

static void out(void *ctx, uint8_t byte)
{
	struct host *h = ctx;

	h->out[h->out_bytes++ % sizeof(h->out)] = byte;
}

static void room(void *ctx)
{
	((struct host *)ctx)->room++;
}

static struct host host;
static struct uart uart;

static void setup(void)
{
	host = (struct host){ 0 };
	uart_init(&uart, &(struct uart_env){ irq, out, room, &host });
}

TestSuite(uart, .init = setup);

static void wr(uint64_t reg, uint8_t val)
{
	struct bus_req r = { .off = reg, .val = val, .len = 1, .store = true };

	cr_assert_eq(uart_bus(&uart, &r), DEV_OK);
}

static uint8_t rd(uint64_t reg)
{
	struct bus_req r = { .off = reg, .len = 1 };

	cr_assert_eq(uart_bus(&uart, &r), DEV_OK);
	cr_assert_leq(r.val, 0xff);
	return (uint8_t)r.val;
}

/* The steps of Linux's autoconfig() in 8250_port.c that decide on 16550A. */
Test(uart, linux_autoconfig_finds_a_16550a)
{
	/* A board without a UART would keep neither IER nor scratch. */
	wr(UART_IER, 0);
	cr_assert_eq(rd(UART_IER) & 0x0f, 0);
	wr(UART_IER, 0x0f);
	cr_assert_eq(rd(UART_IER), 0x0f);
	wr(UART_IER, 0);
	/* Loopback: OUT2 and RTS come back as DCD and CTS. */
	wr(UART_MCR, UART_MCR_LOOP | UART_MCR_OUT2 | UART_MCR_RTS);
	cr_assert_eq(rd(UART_MSR) & 0xf0, UART_MSR_DCD | UART_MSR_CTS);
	wr(UART_MCR, 0);
	/* IIR says FIFO works: 16550A. */
	wr(UART_FCR, UART_FCR_ENABLE_FIFO);
	cr_assert_eq(rd(UART_IIR) >> 6, 3);
	/* EFR of a 16650 would read 0; the scratch register and IIR are seen instead. */
	wr(UART_LCR, UART_LCR_CONF_MODE_A);
	cr_assert_neq(rd(UART_EFR), 0);
	wr(UART_LCR, UART_LCR_CONF_MODE_B);
	cr_assert_neq(rd(UART_EFR), 0);
	/* 16750: bit 5 of IIR would follow FCR7_64BYTE. */
	wr(UART_LCR, UART_LCR_CONF_MODE_A);
	wr(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR7_64BYTE);
	cr_assert_eq(rd(UART_IIR) >> 5, 6);
	wr(UART_LCR, 0);
	/* XScale: IER would keep UUE. */
	wr(UART_IER, UART_IER_UUE);
	cr_assert_eq(rd(UART_IER) & UART_IER_UUE, 0);
	wr(UART_SCR, 0x5a);
	cr_assert_eq(rd(UART_SCR), 0x5a);
}

/* The test for UART_BUG_THRE and UART_BUG_TXEN in serial8250_do_startup(). */
Test(uart, linux_startup_sees_no_thre_bug)
{
	uint8_t iir1, iir;

	wr(UART_IER, UART_IER_THRI);
	iir1 = rd(UART_IIR);
	wr(UART_IER, 0);
	wr(UART_IER, UART_IER_THRI);
	iir = rd(UART_IIR);
	cr_assert_eq(iir1 & UART_IIR_NO_INT, 0);
	cr_assert_eq(iir & UART_IIR_NO_INT, 0, "enabling THRI again has to raise it again");
	cr_assert_eq(rd(UART_IIR), UART_IIR_NO_INT, "reading IIR takes THRI back");
	cr_assert_eq(rd(UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
}

Test(uart, divisor_hides_behind_dlab)
{
	wr(UART_LCR, UART_LCR_DLAB | UART_LCR_WLEN8);
	cr_assert_eq(rd(UART_DLL), 12, "9600 baud after reset");
	wr(UART_DLL, 0x34);
	wr(UART_DLM, 0x12);
	cr_assert_eq(rd(UART_DLL), 0x34);
	cr_assert_eq(rd(UART_DLM), 0x12);
	wr(UART_LCR, UART_LCR_WLEN8);
	cr_assert_eq(rd(UART_IER), 0);
	cr_assert_eq(host.out_bytes, 0, "divisor latches are not sent");
	wr(UART_TX, 'x');
	cr_assert_eq(host.out[0], 'x');
	cr_assert_eq(rd(UART_LCR), UART_LCR_WLEN8);
}

Test(uart, thre_interrupt_follows_each_byte)
{
	wr(UART_IER, UART_IER_THRI);
	cr_assert(host.level);
	cr_assert_eq(rd(UART_IIR), UART_IIR_THRI);
	cr_assert_not(host.level);
	wr(UART_TX, 'a');
	cr_assert(host.level, "sent at once, so empty again");
	cr_assert_eq(rd(UART_IIR), UART_IIR_THRI);
	wr(UART_TX, 'b');
	wr(UART_IER, 0);
	cr_assert_not(host.level);
	cr_assert_eq(host.out_bytes, 2);
	cr_assert(!memcmp(host.out, "ab", 2));
}

Test(uart, receive_without_fifo_holds_one_byte)
{
	wr(UART_IER, UART_IER_RDI);
	cr_assert_eq(uart_receive(&uart, (const uint8_t *)"xy", 2), 1);
	cr_assert(host.level);
	cr_assert_eq(rd(UART_IIR), UART_IIR_RDI);
	cr_assert_eq(host.room, 0);
	cr_assert_eq(rd(UART_RX), 'x');
	cr_assert_eq(host.room, 1, "the host is told that there is room");
	cr_assert_not(host.level);
	cr_assert_eq(rd(UART_LSR) & UART_LSR_DR, 0);
	cr_assert_eq(uart_receive(&uart, (const uint8_t *)"y", 1), 1);
	cr_assert_eq(rd(UART_RX), 'y');
	cr_assert_eq(host.room, 1, "nobody waits any more");
}

Test(uart, fifo_interrupts_at_trigger_level_and_by_timeout)
{
	wr(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_8);
	wr(UART_IER, UART_IER_RDI);
	cr_assert_eq(uart_receive(&uart, (const uint8_t *)"1234567", 7), 7);
	cr_assert_eq(rd(UART_IIR) & 0x0f, UART_IIR_RX_TIMEOUT);
	cr_assert(host.level, "IIR does not take a receive interrupt back");
	cr_assert_eq(uart_receive(&uart, (const uint8_t *)"8", 1), 1);
	cr_assert_eq(rd(UART_IIR) & 0x0f, UART_IIR_RDI);
	for (char c = '1'; c <= '8'; c++) {
		cr_assert(host.level);
		cr_assert(rd(UART_LSR) & UART_LSR_DR);
		cr_assert_eq(rd(UART_RX), c);
	}
	cr_assert_not(host.level);
	cr_assert_eq(host.edges, 1);
}

/* A fast host and a slow guest: every byte arrives, in order. */
Test(uart, no_input_is_lost_when_the_host_is_faster)
{
	uint8_t data[200], got = 0;
	uint32_t sent = 0;

	for (uint32_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)i;
	wr(UART_FCR, UART_FCR_ENABLE_FIFO);
	wr(UART_IER, UART_IER_RDI);
	sent = uart_receive(&uart, data, sizeof(data));
	cr_assert_eq(sent, UART_FIFO_BYTES);
	while (got < sizeof(data)) {
		int told = host.room;

		cr_assert(rd(UART_LSR) & UART_LSR_DR, "at byte %u", got);
		cr_assert_eq(rd(UART_RX), got);
		got++;
		if (host.room > told)
			sent += uart_receive(&uart, data + sent, (uint32_t)sizeof(data) - sent);
	}
	cr_assert_eq(sent, sizeof(data));
	cr_assert_eq(rd(UART_LSR) & (UART_LSR_DR | UART_LSR_OE), 0);
}

Test(uart, loopback_returns_bytes_and_cuts_the_world_off)
{
	wr(UART_FCR, UART_FCR_ENABLE_FIFO);
	wr(UART_MCR, UART_MCR_LOOP);
	wr(UART_TX, 'l');
	cr_assert_eq(host.out_bytes, 0);
	cr_assert_eq(rd(UART_RX), 'l');
	cr_assert_eq(uart_receive(&uart, (const uint8_t *)"z", 1), 0);
	for (int i = 0; i < 17; i++)
		wr(UART_TX, (uint8_t)i);
	cr_assert(rd(UART_LSR) & UART_LSR_OE, "the 17th byte overran the FIFO");
	cr_assert_eq(rd(UART_LSR) & UART_LSR_OE, 0, "reading LSR clears it");
	wr(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
	cr_assert_eq(rd(UART_LSR) & UART_LSR_DR, 0);
	cr_assert_eq(host.room, 0);
	wr(UART_MCR, 0);
	cr_assert_eq(host.room, 1, "the byte that was refused may come now");
}

Test(uart, modem_status_deltas_interrupt_once)
{
	cr_assert_eq(rd(UART_MSR), UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS);
	wr(UART_IER, UART_IER_MSI);
	wr(UART_MCR, UART_MCR_LOOP | UART_MCR_RTS | UART_MCR_OUT1);
	cr_assert(host.level);
	cr_assert_eq(rd(UART_IIR), UART_IIR_MSI);
	cr_assert_eq(rd(UART_MSR), UART_MSR_CTS | UART_MSR_RI | UART_MSR_DDCD | UART_MSR_DDSR);
	cr_assert_not(host.level);
	cr_assert_eq(rd(UART_MSR), UART_MSR_CTS | UART_MSR_RI);
	wr(UART_MCR, UART_MCR_LOOP | UART_MCR_RTS);
	cr_assert_eq(rd(UART_MSR), UART_MSR_CTS | UART_MSR_TERI, "RI fell");
}

Test(uart, causes_come_by_priority)
{
	wr(UART_FCR, UART_FCR_ENABLE_FIFO);
	wr(UART_MCR, UART_MCR_LOOP | UART_MCR_DTR);
	for (int i = 0; i < 17; i++)
		wr(UART_TX, 'x'); /* overrun, data, empty transmitter and modem deltas together */
	wr(UART_IER, 0x0f);
	cr_assert_eq(rd(UART_IIR) & 0x0f, UART_IIR_RLSI);
	(void)rd(UART_LSR);
	cr_assert_eq(rd(UART_IIR) & 0x0f, UART_IIR_RDI);
	wr(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
	cr_assert_eq(rd(UART_IIR) & 0x0f, UART_IIR_THRI);
	cr_assert_eq(rd(UART_IIR) & 0x0f, UART_IIR_MSI);
	(void)rd(UART_MSR);
	cr_assert_eq(rd(UART_IIR) & 0x0f, UART_IIR_NO_INT);
	cr_assert_not(host.level);
}

Test(uart, switching_fifos_empties_them)
{
	wr(UART_FCR, UART_FCR_ENABLE_FIFO);
	cr_assert_eq(uart_receive(&uart, (const uint8_t *)"abc", 3), 3);
	wr(UART_FCR, 0);
	cr_assert_eq(rd(UART_LSR) & UART_LSR_DR, 0);
	cr_assert_eq(rd(UART_IIR), UART_IIR_NO_INT, "no FIFO bits in IIR");
}

Test(uart, reset_drops_everything_and_lowers_the_line)
{
	wr(UART_IER, UART_IER_RDI);
	cr_assert_eq(uart_receive(&uart, (const uint8_t *)"ab", 2), 1);
	cr_assert(host.level);
	uart_reset(&uart);
	cr_assert_not(host.level);
	cr_assert_eq(host.room, 1, "a host that waited for room must not wait for ever");
	cr_assert_eq(rd(UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
	cr_assert_eq(rd(UART_IER), 0);
}

Test(uart, odd_accesses_are_guest_faults)
{
	struct bus_req wide = { .off = 0, .val = 0x4141, .len = 2, .store = true };
	struct bus_req far = { .off = 8, .len = 1 };

	cr_assert_eq(uart_bus(&uart, &wide), DEV_GUEST_FAULT);
	cr_assert_eq(uart_bus(&uart, &far), DEV_GUEST_FAULT);
	cr_assert_eq(host.out_bytes, 0);
}
