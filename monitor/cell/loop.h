/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_LOOP_H
#define CELLVISOR_MONITOR_CELL_LOOP_H

/* The cell monitor's event loop: descriptors with an owner each, one thread. */

#include <stdint.h>

struct loop {
	int epoll_fd; /* owned */
};

/*
 * A descriptor that is watched. Lives in its owner, who stops it before closing
 * `fd`; zero-initialized is "not watched".
 */
struct watch {
	int fd; /* borrowed */
	int active;
	void (*ready)(void *ctx, uint32_t events); /* EPOLL* bits */
	void *ctx;
};

/* 0 or -errno. */
int loop_init(struct loop *loop);
void loop_fini(struct loop *loop);

/* Starts to watch `fd` for reading (level-triggered). 0 or -errno. */
int loop_watch(struct loop *loop, struct watch *w, int fd,
	void (*ready)(void *ctx, uint32_t events), void *ctx);
/* Stops; harmless if it isn't watched. */
void loop_unwatch(struct loop *loop, struct watch *w);

/*
 * Waits until a descriptor is ready or `timeout_ms` passed (-1: for ever), and
 * calls its owner. One at a time, so that an owner may free others.
 */
void loop_turn(struct loop *loop, int timeout_ms);

#endif
