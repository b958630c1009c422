/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_DEVICE_UART_H
#define CELLVISOR_MONITOR_DEVICE_UART_H

#include <stdint.h>

#include "monitor/device/bus.h"

#define UART_FIFO_BYTES 64u /* more than the 16550A's 16: fewer refusals for the host side */

/* ctx is borrowed and outlives the device. */
struct uart_env {
	void (*transmit)(void *ctx, uint8_t byte); /* never blocks */
	void (*irq)(void *ctx, bool level);
	void (*room)(void *ctx); /* the guest read: there is room to receive again */
	void *ctx;
};

/*
 * A 16550A (National Semiconductor PC16550D): eight one-byte registers, output
 * sent at once, input through a FIFO that refuses what it can't hold. Holds no
 * fds or heap. One thread at a time.
 */
struct uart {
	struct uart_env env;
	uint8_t ier, fcr, lcr, mcr, scratch, divisor[2];
	bool overrun, thr_pending; /* THRE interrupt not yet acknowledged */
	bool level;		   /* what env.irq was told last */
	uint32_t head, count;
	uint8_t fifo[UART_FIFO_BYTES];
};

void uart_init(struct uart *u, const struct uart_env *env);

/* As after power-on; env stays. */
void uart_reset(struct uart *u);

/* A bus_fn; `dev` is a struct uart. Accesses of other lengths than 1 are guest faults. */
enum dev_outcome uart_bus(void *dev, struct bus_req *r);

/* Offers input; returns how many of the bytes were taken, which may be none. */
uint32_t uart_receive(struct uart *u, const uint8_t *bytes, uint32_t count);

#endif
