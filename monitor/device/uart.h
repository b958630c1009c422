/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_DEVICE_UART_H
#define CELLVISOR_MONITOR_DEVICE_UART_H

#include "monitor/device/bus.h"

/*
 * A 16550A (National Semiconductor PC16550D data sheet). It sends at once, at
 * any divisor. It knows only offsets. One thread at a time: give the range and
 * every call from the host's side the same lock.
 */

#define UART_BYTES 8u /* size of its range */
#define UART_FIFO_BYTES 16u

/* Called from within uart_bus and uart_receive, so with the device's lock held. */
struct uart_env {
	/* The interrupt line changed to `level`. */
	void (*irq)(void *ctx, bool level);
	/* The guest sent a byte. The UART never waits: the host buffers or drops. */
	void (*out)(void *ctx, uint8_t byte);
	/*
	 * The last uart_receive refused bytes and would now take some. Must not call
	 * back into the UART: wake the thread that holds the bytes.
	 */
	void (*room)(void *ctx);
	void *ctx; /* borrowed, outlives the device */
};

struct uart {
	struct uart_env env;
	uint8_t ier, lcr, mcr, scr, fcr;
	uint8_t lsr_errors; /* sticky LSR bits: overrun */
	uint8_t msr_delta;  /* the four delta bits of MSR */
	uint16_t divisor;
	bool thre_pending; /* transmitter became empty since IIR said so */
	bool irq_level;
	bool refused; /* bytes wait on the host's side */
	uint8_t fifo[UART_FIFO_BYTES];
	uint8_t fifo_head, fifo_count;
};

/* All callbacks of env must be set. The line starts low, without a call to env.irq. */
void uart_init(struct uart *u, const struct uart_env *env);

/* As after power-on: input that the guest has not read is dropped, the line goes low. */
void uart_reset(struct uart *u);

/* bus_fn: registers 0..7, byte accesses only. */
enum dev_outcome uart_bus(void *uart, struct bus_req *r);

/*
 * Offers input bytes to the guest. Returns how many were taken, 0 .. bytes; the
 * rest stays the caller's, who offers it again when env.room was called. None is
 * ever lost.
 */
uint32_t uart_receive(struct uart *u, const uint8_t *data, uint32_t bytes);

#endif
