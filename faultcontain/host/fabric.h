/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_HOST_FABRIC_H
#define CELLVISOR_FAULTCONTAIN_HOST_FABRIC_H

/*
 * What a cell monitor uses to talk to the others: messages, calls with
 * deadlines, links that come and go. One thread. All times are nanoseconds of
 * CLOCK_MONOTONIC and come in as arguments. docs/fabric.md explains.
 *
 * Nothing here blocks or waits for a peer. A message may be lost with its link;
 * it is never delivered twice, changed, or from an earlier life of its sender.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "faultcontain/host/transport.h"
#include "faultcontain/wire.h"
#include "monitor/err.h"

/* Up to this many cells every pair is linked from the start; above, see fabric_want(). */
#define FABRIC_MESH_CELLS_MAX 64u
/* Calls that may be open at once. */
#define FABRIC_CALLS_MAX 1024u

struct fabric;

/* A call of a peer that awaits fabric_reply(); a plain value, may be kept for later. */
struct fabric_request {
	uint64_t incarnation, req_id;
	uint16_t cell, op;
};

enum call_outcome {
	CALL_ANSWERED,	/* body is the reply */
	CALL_REFUSED,	/* the peer does not know this operation, or its handler refused */
	CALL_TIMED_OUT, /* no reply before the deadline; it may or may not have been done */
	CALL_ABORTED,	/* the link went down or the cell was declared dead; likewise */
};

/* Called exactly once per successful fabric_call(). `body` is valid during the call. */
typedef void fabric_call_done(
	void *ctx, uint16_t cell, enum call_outcome outcome, const void *body, size_t body_bytes);

/*
 * Called from fabric_process() (link_down also from fabric_dead()). They may
 * call any function here but fabric_close(). Bodies are private copies, valid
 * during the call. Any may be NULL.
 */
struct fabric_events {
	void (*link_up)(void *ctx, const struct transport_peer *peer);
	/* All open calls to the cell have been aborted before. */
	void (*link_down)(void *ctx, uint16_t cell, uint64_t incarnation, enum link_down why);
	void (*message)(void *ctx, uint16_t cell, uint64_t incarnation, uint16_t op,
		const void *body, size_t body_bytes);
	/*
	 * A peer calls. true: the handler has replied or will, by fabric_reply();
	 * false: it does not know the operation, the fabric refuses politely.
	 */
	bool (*call)(
		void *ctx, const struct fabric_request *req, const void *body, size_t body_bytes);
	void *ctx;
};

struct fabric_cfg {
	const char *runtime_dir; /* borrowed during fabric_open() */
	uint16_t self_cell, cell_count;
	uint64_t incarnation; /* from 1; higher than any earlier life of this cell */
	struct fabric_events events;
};

struct fabric_link_stats {
	uint64_t sent, sent_bytes, received, received_bytes;
	uint64_t full; /* sends that met a full ring */
	uint64_t lost; /* gaps in the peer's sequence numbers */
	uint64_t ups, downs[LINK_DOWN_COUNT];
	uint64_t outcomes[WIRE_OUTCOME_COUNT]; /* judgements of received messages */
};

struct fabric_stats {
	uint64_t calls, answered, refused, timed_out, aborted, late_replies;
	uint64_t requests, replies, unknown_ops, revision_refusals;
};

/*
 * Sets up this cell's end over memory shared inside one kernel; links follow
 * with fabric_process(). Calls careful_install(). The calling process has to be
 * the one that stays: peers compare its pid and start time with what the kernel
 * says of its socket. 0 or -errno with *e filled. *out is freed by
 * fabric_close(), which sends nothing and calls no callback.
 */
int fabric_open(struct fabric **out, const struct fabric_cfg *cfg, struct err *e);

/*
 * The same over a transport that the caller made: `make` gets the events that
 * the transport has to report to. For other kinds of shared memory, and tests.
 */
typedef int fabric_make_transport(
	void *ctx, const struct transport_events *events, struct transport *out, struct err *e);
int fabric_open_over(struct fabric **out, const struct fabric_cfg *cfg, fabric_make_transport *make,
	void *make_ctx, struct err *e);

void fabric_close(struct fabric *f);

/*
 * One descriptor for the owner's poll or epoll: readable (level-triggered)
 * whenever fabric_process() has work, timers included. Borrowed.
 */
int fabric_fd(const struct fabric *f);

/* Delivers what arrived, expires calls, sets up links. `now_ns` never goes back. */
void fabric_process(struct fabric *f, uint64_t now_ns);

/* Largest body for fabric_send/call/reply: at least 64 KiB, 256 KiB up to 16 cells. */
size_t fabric_body_max(const struct fabric *f);

/*
 * Sends a message (op within WIRE_OP_MEMBER .. WIRE_OP_END) that needs no
 * answer. 0; -ENOTCONN (no link now), -EAGAIN (the peer's ring is full: it
 * does not read), -EMSGSIZE, -EIO (the link just failed).
 */
int fabric_send(struct fabric *f, uint16_t cell, uint16_t op, const void *body, size_t body_bytes);

/*
 * The same, with an answer: `done` is called by a later fabric_process(), or by
 * what aborts the call, never from within. Errors as fabric_send(), and -EBUSY
 * if FABRIC_CALLS_MAX are open; then `done` is not called.
 */
int fabric_call(struct fabric *f, uint16_t cell, uint16_t op, const void *body, size_t body_bytes,
	uint64_t deadline_ns, fabric_call_done *done, void *ctx);

/*
 * Answers a call, at once or later. Errors as fabric_send(); -ESTALE if the
 * asking life of the cell is no longer linked (nobody waits).
 */
int fabric_reply(
	struct fabric *f, const struct fabric_request *req, const void *body, size_t body_bytes);
/* Answers with CALL_REFUSED. */
int fabric_refuse(struct fabric *f, const struct fabric_request *req);

/*
 * Above FABRIC_MESH_CELLS_MAX cells links are sparse: only to wanted cells, and
 * from cells that want this one. Below, all are wanted from the start.
 */
void fabric_want(struct fabric *f, uint16_t cell, bool wanted);

/*
 * The cell was declared dead in this life: its link is taken down, calls to it
 * are aborted, and nothing of this life or an earlier one is accepted again.
 */
void fabric_dead(struct fabric *f, uint16_t cell, uint64_t incarnation);

/*
 * The owner judged what the peer sent: it can't be trusted. Its link, if it is
 * up, goes down with LINK_LIED and is set up anew.
 */
void fabric_fail(struct fabric *f, uint16_t cell);

/* The peer at the other end, or false when there is no link now. */
bool fabric_peer(const struct fabric *f, uint16_t cell, struct transport_peer *peer);

void fabric_stats(const struct fabric *f, struct fabric_stats *stats);
/* Counted over all lives of the cell. */
void fabric_link_stats(const struct fabric *f, uint16_t cell, struct fabric_link_stats *stats);

#endif
