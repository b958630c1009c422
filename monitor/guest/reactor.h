/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_GUEST_REACTOR_H
#define CELLVISOR_MONITOR_GUEST_REACTOR_H

/* The guest process's event loop: epoll, and who waits for what. One thread. */

#include <stdbool.h>
#include <stdint.h>

/* One descriptor that is waited for. Lives in its owner; at a fixed address while watched. */
struct reactor_watch {
	int fd; /* borrowed; -1: not watched */
	uint32_t events;
	void (*ready)(void *ctx, uint32_t events);
	void *ctx;
};

struct reactor {
	int epoll; /* owned */
	bool over;
};

/* 0 or -errno. */
int reactor_init(struct reactor *r);
void reactor_fini(struct reactor *r);

/* Waits for EPOLL* `events` (0: only errors and hang-up), level-triggered. 0 or -errno. */
int reactor_watch(struct reactor *r, struct reactor_watch *w, int fd, uint32_t events,
	void (*ready)(void *ctx, uint32_t events), void *ctx);

/* Changes what a watched descriptor waits for. */
void reactor_want(struct reactor *r, struct reactor_watch *w, uint32_t events);

/* Does nothing if it isn't watched. */
void reactor_unwatch(struct reactor *r, struct reactor_watch *w);

/*
 * Waits and calls until a callback calls reactor_stop(). Each callback may watch
 * and unwatch what it likes, itself too.
 */
void reactor_run(struct reactor *r);
void reactor_stop(struct reactor *r);

#endif
