/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_HOST_TRANSPORT_H
#define CELLVISOR_FAULTCONTAIN_HOST_TRANSPORT_H

/*
 * What lies below the fabric: finds peers, sets up a pair of rings with each,
 * rings doorbells. Exchangeable: local.h is memory shared inside one Linux
 * kernel; memory shared between kernels is another set of the same operations.
 * A transport moves records; it knows neither operations nor calls.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Who is at the other end of a link. */
struct transport_peer {
	uint16_t cell;
	uint64_t incarnation;
	pid_t pid;	     /* 0 if the peer runs under another kernel */
	uint64_t start_time; /* of its process; see proc.h */
	size_t record_max;   /* largest record that it takes */
};

enum link_down {
	LINK_CLOSED,	/* the peer closed or its process ended */
	LINK_LOST,	/* memory of a ring failed */
	LINK_LIED,	/* positions or messages that can't be true */
	LINK_REPLACED,	/* the peer set up a new link, maybe in a new life */
	LINK_DISMISSED, /* this side no longer wants it, or declared the peer dead */
	LINK_DOWN_COUNT,
};

/* Called from within process(); may call any operation but fini(). */
struct transport_events {
	void (*link_up)(void *ctx, const struct transport_peer *peer);
	void (*link_down)(void *ctx, uint16_t cell, enum link_down why);
	/* `bytes` is a private copy, valid during the call. */
	void (*record)(void *ctx, uint16_t cell, const void *bytes, size_t count);
	void *ctx;
};

struct transport_ops {
	/* Becomes readable when process() has work; borrowed. */
	int (*event_fd)(void *t);
	/* Does everything that is due; never blocks. */
	void (*process)(void *t, uint64_t now_ns);
	/* Also makes the descriptor readable at `due_ns` (UINT64_MAX: not), once. */
	void (*wake_at)(void *t, uint64_t due_ns);
	/* Whether to keep a link to this cell. */
	void (*want)(void *t, uint16_t cell, bool wanted);
	/*
	 * Appends one record of two parts to the peer's ring. 0, -ENOTCONN,
	 * -EAGAIN (full), -EMSGSIZE, -EIO (the link failed; link_down follows
	 * from the next process()).
	 */
	int (*send)(void *t, uint16_t cell, const void *part0, size_t bytes0, const void *part1,
		size_t bytes1);
	/* Takes a link down, if it is up; link_down is called at once. */
	void (*fail)(void *t, uint16_t cell, enum link_down why);
	/* From now on refuses lives of `cell` below this one. */
	void (*accept_from)(void *t, uint16_t cell, uint64_t min_incarnation);
	void (*fini)(void *t);
};

struct transport {
	const struct transport_ops *ops;
	void *t; /* owned by whoever calls ops->fini */
};

/* Name of a cause in kebab-case; never NULL. */
const char *link_down_name(enum link_down why);

#endif
