/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/device/uart.h"

#include <linux/serial_reg.h>

#define IER_ALL (UART_IER_RDI | UART_IER_THRI | UART_IER_RLSI | UART_IER_MSI)
#define MCR_ALL (UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT1 | UART_MCR_OUT2 | UART_MCR_LOOP)
/* What a terminal that is always there and always ready drives. */
#define MSR_TERMINAL (UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS)
#define MSR_LINES (UART_MSR_DCD | UART_MSR_RI | UART_MSR_DSR | UART_MSR_CTS)
#define IIR_FIFOS 0xc0u
#define FCR_KEPT (UART_FCR_ENABLE_FIFO | UART_FCR_DMA_SELECT | UART_FCR_TRIGGER_MASK)
#define DIVISOR_9600 12u

static void power_on_state(struct uart *u)
{
	u->ier = u->lcr = u->mcr = u->scr = u->fcr = 0;
	u->lsr_errors = u->msr_delta = 0;
	u->divisor = DIVISOR_9600;
	u->thre_pending = false;
	u->fifo_head = u->fifo_count = 0;
}

void uart_init(struct uart *u, const struct uart_env *env)
{
	*u = (struct uart){ .env = *env };
	power_on_state(u);
}

static uint32_t fifo_size(const struct uart *u)
{
	return u->fcr & UART_FCR_ENABLE_FIFO ? UART_FIFO_BYTES : 1;
}

static uint32_t trigger_level(const struct uart *u)
{
	static const uint8_t levels[] = { 1, 4, 8, 14 };

	return u->fcr & UART_FCR_ENABLE_FIFO ? levels[u->fcr >> 6] : 1;
}

/* The modem lines as MSR shows them: in loopback they follow MCR. */
static uint8_t modem_lines(uint8_t mcr)
{
	uint8_t lines = 0;

	if (!(mcr & UART_MCR_LOOP))
		return MSR_TERMINAL;
	lines |= mcr & UART_MCR_RTS ? UART_MSR_CTS : 0;
	lines |= mcr & UART_MCR_DTR ? UART_MSR_DSR : 0;
	lines |= mcr & UART_MCR_OUT1 ? UART_MSR_RI : 0;
	lines |= mcr & UART_MCR_OUT2 ? UART_MSR_DCD : 0;
	return lines;
}

/* The cause of highest priority, as IIR shows it. */
static uint8_t interrupt_cause(const struct uart *u)
{
	if ((u->ier & UART_IER_RLSI) && u->lsr_errors)
		return UART_IIR_RLSI;
	if ((u->ier & UART_IER_RDI) && u->fifo_count >= trigger_level(u))
		return UART_IIR_RDI;
	/* Fewer bytes than the trigger level: as if four character times had gone by already. */
	if ((u->ier & UART_IER_RDI) && u->fifo_count > 0)
		return UART_IIR_RX_TIMEOUT;
	if ((u->ier & UART_IER_THRI) && u->thre_pending)
		return UART_IIR_THRI;
	if ((u->ier & UART_IER_MSI) && u->msr_delta)
		return UART_IIR_MSI;
	return UART_IIR_NO_INT;
}

static void update_irq(struct uart *u)
{
	bool level = interrupt_cause(u) != UART_IIR_NO_INT;

	if (level == u->irq_level)
		return;
	u->irq_level = level;
	u->env.irq(u->env.ctx, level);
}

/* May bytes come in from outside? Loopback disconnects the receiver. */
static bool has_room(const struct uart *u)
{
	return !(u->mcr & UART_MCR_LOOP) && u->fifo_count < fifo_size(u);
}

static void tell_room(struct uart *u)
{
	if (!u->refused || !has_room(u))
		return;
	u->refused = false;
	u->env.room(u->env.ctx);
}

void uart_reset(struct uart *u)
{
	power_on_state(u);
	update_irq(u);
	tell_room(u);
}

static void fifo_put(struct uart *u, uint8_t byte)
{
	u->fifo[(u->fifo_head + u->fifo_count) % UART_FIFO_BYTES] = byte;
	u->fifo_count++;
}

static uint8_t fifo_get(struct uart *u)
{
	uint8_t byte;

	if (u->fifo_count == 0)
		return 0;
	byte = u->fifo[u->fifo_head];
	u->fifo_head = (uint8_t)((u->fifo_head + 1) % UART_FIFO_BYTES);
	u->fifo_count--;
	return byte;
}

uint32_t uart_receive(struct uart *u, const uint8_t *data, uint32_t bytes)
{
	uint32_t taken = 0;

	while (taken < bytes && has_room(u))
		fifo_put(u, data[taken++]);
	u->refused = taken < bytes;
	update_irq(u);
	return taken;
}

static void transmit(struct uart *u, uint8_t byte)
{
	if (!(u->mcr & UART_MCR_LOOP))
		u->env.out(u->env.ctx, byte);
	else if (u->fifo_count < fifo_size(u))
		fifo_put(u, byte);
	else
		u->lsr_errors |= UART_LSR_OE;
	u->thre_pending = true; /* the byte is gone, so the transmitter is empty again */
}

static void store_fcr(struct uart *u, uint8_t val)
{
	bool toggled = (u->fcr ^ val) & UART_FCR_ENABLE_FIFO;

	if (toggled || (val & UART_FCR_CLEAR_RCVR))
		u->fifo_head = u->fifo_count = 0;
	/* The other bits count only while bit 0 is being written as 1 (data sheet, 8.5). */
	u->fcr = val & UART_FCR_ENABLE_FIFO ? val & FCR_KEPT : 0;
}

static void store_mcr(struct uart *u, uint8_t val)
{
	uint8_t was = modem_lines(u->mcr), now = modem_lines(val & MCR_ALL);
	uint8_t changed = was ^ now;

	/* Each delta bit lies four below its line; RI's tells of the trailing edge only. */
	if (!(was & UART_MSR_RI))
		changed &= (uint8_t)~UART_MSR_RI;
	u->msr_delta |= (uint8_t)((changed & MSR_LINES) >> 4);
	u->mcr = val & MCR_ALL;
}

static void store(struct uart *u, uint64_t reg, uint8_t val)
{
	bool dlab = u->lcr & UART_LCR_DLAB;

	switch (reg) {
	case UART_TX: /* and UART_DLL */
		if (dlab)
			u->divisor = (uint16_t)((u->divisor & 0xff00) | val);
		else
			transmit(u, val);
		break;
	case UART_IER: /* and UART_DLM */
		if (dlab) {
			u->divisor = (uint16_t)((u->divisor & 0x00ff) | val << 8);
			break;
		}
		/* Enabling the interrupt while the transmitter is empty raises it at once. */
		if ((val & UART_IER_THRI) && !(u->ier & UART_IER_THRI))
			u->thre_pending = true;
		u->ier = val & IER_ALL;
		break;
	case UART_FCR:
		store_fcr(u, val);
		break;
	case UART_LCR:
		u->lcr = val;
		break;
	case UART_MCR:
		store_mcr(u, val);
		break;
	case UART_SCR:
		u->scr = val;
		break;
	default: /* LSR and MSR: for factory tests only */
		break;
	}
}

static uint8_t load_iir(struct uart *u)
{
	uint8_t cause = interrupt_cause(u);

	if (cause == UART_IIR_THRI)
		u->thre_pending = false;
	return (uint8_t)(cause | (u->fcr & UART_FCR_ENABLE_FIFO ? IIR_FIFOS : 0));
}

static uint8_t load(struct uart *u, uint64_t reg)
{
	bool dlab = u->lcr & UART_LCR_DLAB;
	uint8_t val;

	switch (reg) {
	case UART_RX:
		return dlab ? (uint8_t)u->divisor : fifo_get(u);
	case UART_IER:
		return dlab ? (uint8_t)(u->divisor >> 8) : u->ier;
	case UART_IIR:
		return load_iir(u);
	case UART_LCR:
		return u->lcr;
	case UART_MCR:
		return u->mcr;
	case UART_LSR:
		val = UART_LSR_THRE | UART_LSR_TEMT | u->lsr_errors;
		u->lsr_errors = 0;
		return val | (u->fifo_count > 0 ? UART_LSR_DR : 0);
	case UART_MSR:
		val = modem_lines(u->mcr) | u->msr_delta;
		u->msr_delta = 0;
		return val;
	default:
		return u->scr;
	}
}

enum dev_outcome uart_bus(void *uart, struct bus_req *r)
{
	struct uart *u = uart;

	if (r->len != 1 || r->off >= UART_BYTES)
		return DEV_GUEST_FAULT;
	if (r->store)
		store(u, r->off, (uint8_t)r->val);
	else
		r->val = load(u, r->off);
	update_irq(u);
	tell_room(u);
	return DEV_OK;
}
