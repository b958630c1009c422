/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/device/uart.h"

#include <string.h>

/* Registers by offset; which one it is may depend on direction and on LCR.DLAB. */
enum {
	UART_DATA = 0,
	UART_IER = 1,
	UART_IIR_FCR = 2,
	UART_LCR = 3,
	UART_MCR = 4,
	UART_LSR = 5,
	UART_MSR = 6,
	UART_SCRATCH = 7
};

#define IER_RX 0x01
#define IER_THRE 0x02
#define IER_LINE 0x04
#define IER_MASK 0x0f
#define IIR_NONE 0x01
#define IIR_THRE 0x02
#define IIR_RX 0x04
#define IIR_LINE 0x06
#define IIR_FIFO 0xc0
#define FCR_ENABLE 0x01
#define FCR_CLEAR_RX 0x02
#define LCR_DLAB 0x80
#define MCR_LOOP 0x10
#define LSR_DATA 0x01
#define LSR_OVERRUN 0x02
#define LSR_THRE 0x20
#define LSR_IDLE 0x40
#define MSR_CTS 0x10
#define MSR_DSR 0x20
#define MSR_DCD 0x80

/* Pending interrupt by priority (PC16550D, table IV), as IIR shows it. */
static uint8_t pending(const struct uart *u)
{
	if ((u->ier & IER_LINE) && u->overrun)
		return IIR_LINE;
	if ((u->ier & IER_RX) && u->count > 0)
		return IIR_RX;
	if ((u->ier & IER_THRE) && u->thr_pending)
		return IIR_THRE;
	return IIR_NONE;
}

static void update_irq(struct uart *u)
{
	bool level = pending(u) != IIR_NONE;

	if (level == u->level)
		return;
	u->level = level;
	u->env.irq(u->env.ctx, level);
}

void uart_init(struct uart *u, const struct uart_env *env)
{
	memset(u, 0, sizeof(*u));
	u->env = *env;
	u->divisor[0] = 12; /* 9600 baud, as firmware leaves it */
}

void uart_reset(struct uart *u)
{
	struct uart_env env = u->env;
	bool level = u->level;

	uart_init(u, &env);
	u->level = level;
	update_irq(u);
}

uint32_t uart_receive(struct uart *u, const uint8_t *bytes, uint32_t count)
{
	uint32_t taken = 0;

	if (u->mcr & MCR_LOOP)
		return 0;
	for (; taken < count && u->count < UART_FIFO_BYTES; taken++, u->count++)
		u->fifo[(u->head + u->count) % UART_FIFO_BYTES] = bytes[taken];
	update_irq(u);
	return taken;
}

static uint8_t take_byte(struct uart *u)
{
	uint8_t byte = 0;

	if (u->count > 0) {
		byte = u->fifo[u->head];
		u->head = (u->head + 1) % UART_FIFO_BYTES;
		u->count--;
		u->env.room(u->env.ctx);
	}
	return byte;
}

static void send_byte(struct uart *u, uint8_t byte)
{
	if (!(u->mcr & MCR_LOOP)) {
		u->env.transmit(u->env.ctx, byte);
	} else if (u->count < UART_FIFO_BYTES) {
		u->fifo[(u->head + u->count) % UART_FIFO_BYTES] = byte;
		u->count++;
	} else {
		u->overrun = true;
	}
	u->thr_pending = true;
}

/* In loopback the modem inputs are the modem outputs (PC16550D, 8.6.7). */
static uint8_t modem_status(const struct uart *u)
{
	if (!(u->mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (uint8_t)((u->mcr & 0x0c) << 4 | (u->mcr & 0x02) << 3 | (u->mcr & 0x01) << 5);
}

static uint8_t load(struct uart *u, uint64_t off)
{
	uint8_t value;

	switch (off) {
	case UART_DATA:
		return u->lcr & LCR_DLAB ? u->divisor[0] : take_byte(u);
	case UART_IER:
		return u->lcr & LCR_DLAB ? u->divisor[1] : u->ier;
	case UART_IIR_FCR:
		value = pending(u);
		if (value == IIR_THRE)
			u->thr_pending = false;
		return (uint8_t)(value | (u->fcr & FCR_ENABLE ? IIR_FIFO : 0));
	case UART_LCR:
		return u->lcr;
	case UART_MCR:
		return u->mcr;
	case UART_LSR:
		value = (uint8_t)(LSR_THRE | LSR_IDLE | (u->count > 0 ? LSR_DATA : 0) |
				  (u->overrun ? LSR_OVERRUN : 0));
		u->overrun = false;
		return value;
	case UART_MSR:
		return modem_status(u);
	default:
		return u->scratch;
	}
}

static void store(struct uart *u, uint64_t off, uint8_t value)
{
	switch (off) {
	case UART_DATA:
		if (u->lcr & LCR_DLAB)
			u->divisor[0] = value;
		else
			send_byte(u, value);
		break;
	case UART_IER:
		if (u->lcr & LCR_DLAB) {
			u->divisor[1] = value;
			break;
		}
		/* Enabling THRE while the holding register is empty interrupts at once. */
		if ((value & IER_THRE) && !(u->ier & IER_THRE))
			u->thr_pending = true;
		u->ier = value & IER_MASK;
		break;
	case UART_IIR_FCR:
		if ((value ^ u->fcr) & FCR_ENABLE || value & FCR_CLEAR_RX)
			u->count = 0;
		u->fcr = value & FCR_ENABLE;
		u->env.room(u->env.ctx);
		break;
	case UART_LCR:
		u->lcr = value;
		break;
	case UART_MCR:
		u->mcr = value & 0x1f;
		if (!(value & MCR_LOOP))
			u->env.room(u->env.ctx);
		break;
	case UART_SCRATCH:
		u->scratch = value;
		break;
	default: /* LSR and MSR are read-only */
		break;
	}
}

enum dev_outcome uart_bus(void *dev, struct bus_req *r)
{
	struct uart *u = dev;

	if (r->len != 1 || r->off > UART_SCRATCH)
		return DEV_GUEST_FAULT;
	if (r->store)
		store(u, r->off, (uint8_t)r->val);
	else
		r->val = load(u, r->off);
	update_irq(u);
	return DEV_OK;
}
