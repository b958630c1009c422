/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_SERVER_H
#define CELLVISOR_MONITOR_CELL_SERVER_H

/*
 * The stream socket for the command line: JSON lines both ways. One thread;
 * nothing blocks. A client that sends too long a line, or does not read what it
 * is sent, loses its connection and costs nobody else anything.
 */

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "monitor/err.h"

#define SERVER_CONNS_MAX 64u
/* What may wait for a client that reads slowly, in bytes. */
#define SERVER_OUT_MAX (8u << 20)

struct server;

/* One connection; goes stale when the client leaves. A plain value. */
struct server_conn {
	uint32_t slot;
	uint64_t serial;
};

/*
 * A complete line came (without its newline; valid during the call). No further
 * line of this connection is delivered before server_send() with `last`.
 */
typedef void server_line(void *ctx, struct server_conn who, const char *line, size_t bytes);

/*
 * Listens on `path` (mode 0600), in place of a stale socket there. 0 or -errno
 * with *e filled. *out is freed by server_close(), which removes the socket.
 */
int server_open(struct server **out, const char *path, server_line *line, void *ctx, struct err *e);
void server_close(struct server *s);

/* For the owner's epoll: readable when server_process() has work. Borrowed. */
int server_fd(const struct server *s);
void server_process(struct server *s);

/*
 * Queues `value` (stolen) as one line; `last` ends the request. If the client
 * has left, nothing happens.
 */
void server_send(struct server *s, struct server_conn who, json_t *value, int last);

/* Are all replies out? For an orderly end. */
int server_drained(const struct server *s);

#endif
