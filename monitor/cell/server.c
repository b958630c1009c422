/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cell/server.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "monitor/cell/request.h"
#include "numa/check.h"

struct conn {
	int fd; /* -1: free */
	uint64_t serial;
	bool busy;	 /* a request is being answered */
	bool ending;	 /* close when all is sent */
	uint32_t events; /* asked of epoll */
	size_t in_bytes;
	char *in; /* REQUEST_BYTES_MAX */
	size_t out_bytes, out_sent, out_room;
	char *out;
};

struct server {
	int listen_fd, epoll_fd;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	server_line *line;
	void *ctx;
	uint64_t next_serial;
	struct conn conns[SERVER_CONNS_MAX];
};

#define LISTEN_TAG UINT32_MAX

static int watch(int epoll_fd, int op, int fd, uint32_t events, uint32_t tag)
{
	struct epoll_event ev = { .events = events, .data.u32 = tag };

	return epoll_ctl(epoll_fd, op, fd, &ev) ? -errno : 0;
}

static int listen_on(struct server *s, const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, strlen(path) + 1);
	memcpy(s->path, path, strlen(path) + 1);
	s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->listen_fd < 0)
		return -errno;
	/* The cell's lock is held: whoever made this socket is gone. */
	unlink(path);
	if (bind(s->listen_fd, (struct sockaddr *)&addr, sizeof(addr)) || chmod(path, 0600) ||
		listen(s->listen_fd, 64))
		return -errno;
	return 0;
}

int server_open(struct server **out, const char *path, server_line *line, void *ctx, struct err *e)
{
	struct server *s = calloc(1, sizeof(*s));
	int rc;

	CHECK(s != NULL);
	for (size_t i = 0; i < SERVER_CONNS_MAX; i++)
		s->conns[i].fd = -1;
	s->line = line;
	s->ctx = ctx;
	s->next_serial = 1;
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	s->listen_fd = -1;
	rc = s->epoll_fd < 0 ? -errno : listen_on(s, path);
	if (!rc)
		rc = watch(s->epoll_fd, EPOLL_CTL_ADD, s->listen_fd, EPOLLIN, LISTEN_TAG);
	if (rc) {
		err_set(e, EXIT_ENVIRONMENT, "can't listen on %s: %s", path, strerror(-rc));
		server_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

static void conn_close(struct server *s, struct conn *c)
{
	if (c->fd < 0)
		return;
	epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
	close(c->fd);
	free(c->in);
	free(c->out);
	memset(c, 0, sizeof(*c));
	c->fd = -1;
}

void server_close(struct server *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < SERVER_CONNS_MAX; i++)
		conn_close(s, &s->conns[i]);
	if (s->listen_fd >= 0) {
		close(s->listen_fd);
		unlink(s->path);
	}
	if (s->epoll_fd >= 0)
		close(s->epoll_fd);
	free(s);
}

int server_fd(const struct server *s)
{
	return s->epoll_fd;
}

/* Asks epoll for what this connection can make use of now. */
static void rearm(struct server *s, struct conn *c)
{
	/* The end of the client (EPOLLHUP) is always told; a half-closed one still gets its answer.
	 */
	uint32_t events = 0;

	if (!c->busy && !c->ending)
		events |= EPOLLIN;
	if (c->out_bytes > c->out_sent)
		events |= EPOLLOUT;
	if (events == c->events)
		return;
	c->events = events;
	watch(s->epoll_fd, EPOLL_CTL_MOD, c->fd, events, (uint32_t)(c - s->conns));
}

/* Sends what the socket takes. false: the connection is gone. */
static bool flush(struct server *s, struct conn *c)
{
	while (c->out_sent < c->out_bytes) {
		ssize_t n = send(c->fd, c->out + c->out_sent, c->out_bytes - c->out_sent,
			MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n < 0) {
			conn_close(s, c);
			return false;
		}
		c->out_sent += (size_t)n;
	}
	if (c->out_sent == c->out_bytes) {
		c->out_sent = c->out_bytes = 0;
		if (c->ending) {
			conn_close(s, c);
			return false;
		}
	}
	rearm(s, c);
	return true;
}

static bool queue(struct conn *c, const json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(16));
	size_t bytes;

	CHECK(text != NULL);
	bytes = strlen(text);
	text[bytes++] = '\n'; /* in place of the NUL */
	if (c->out_bytes + bytes > SERVER_OUT_MAX) {
		free(text);
		return false;
	}
	if (c->out_bytes + bytes > c->out_room) {
		c->out_room = 2 * (c->out_bytes + bytes);
		c->out = realloc(c->out, c->out_room);
		CHECK(c->out != NULL);
	}
	memcpy(c->out + c->out_bytes, text, bytes);
	c->out_bytes += bytes;
	free(text);
	return true;
}

/* Delivers the next complete line, if none is being answered. false: connection gone. */
static bool deliver(struct server *s, struct conn *c)
{
	while (!c->busy && !c->ending) {
		struct server_conn who = { (uint32_t)(c - s->conns), c->serial };
		char *end = memchr(c->in, '\n', c->in_bytes);
		size_t bytes;

		if (!end && c->in_bytes == REQUEST_BYTES_MAX) {
			json_t *no = json_pack("{s:b, s:i, s:s}", "ok", 0, "code", (int)EXIT_USAGE,
				"text", "a request has at most 65536 bytes");

			c->ending = true;
			queue(c, no);
			json_decref(no);
			return flush(s, c);
		}
		if (!end)
			break;
		bytes = (size_t)(end - c->in);
		c->busy = true;
		s->line(s->ctx, who, c->in, bytes);
		if (c->serial != who.serial)
			return false;
		c->in_bytes -= bytes + 1;
		memmove(c->in, c->in + bytes + 1, c->in_bytes);
	}
	rearm(s, c);
	return true;
}

void server_send(struct server *s, struct server_conn who, json_t *value, int last)
{
	struct conn *c = &s->conns[who.slot % SERVER_CONNS_MAX];

	if (c->fd >= 0 && c->serial == who.serial) {
		if (last)
			c->busy = false;
		if (!queue(c, value))
			conn_close(s, c);
		else
			flush(s, c);
	}
	json_decref(value);
}

int server_drained(const struct server *s)
{
	for (size_t i = 0; i < SERVER_CONNS_MAX; i++)
		if (s->conns[i].fd >= 0 && s->conns[i].out_bytes > s->conns[i].out_sent)
			return 0;
	return 1;
}

static struct conn *free_conn(struct server *s)
{
	struct conn *idle = NULL;

	for (size_t i = 0; i < SERVER_CONNS_MAX; i++) {
		struct conn *c = &s->conns[i];

		if (c->fd < 0)
			return c;
		if (!c->busy && (!idle || c->serial < idle->serial))
			idle = c;
	}
	/* Full: the oldest that asks for nothing has to go. */
	if (idle)
		conn_close(s, idle);
	return idle;
}

static void accept_all(struct server *s)
{
	int fd;

	while ((fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct conn *c = free_conn(s);

		if (!c) {
			close(fd);
			continue;
		}
		c->fd = fd;
		c->serial = s->next_serial++;
		c->in = malloc(REQUEST_BYTES_MAX);
		CHECK(c->in != NULL);
		c->events = EPOLLIN;
		if (watch(s->epoll_fd, EPOLL_CTL_ADD, fd, c->events, (uint32_t)(c - s->conns)))
			conn_close(s, c);
	}
}

static void conn_ready(struct server *s, struct conn *c, uint32_t events)
{
	if (events & EPOLLOUT && !flush(s, c))
		return;
	if (events & EPOLLIN && !c->busy && !c->ending) {
		ssize_t n = recv(
			c->fd, c->in + c->in_bytes, REQUEST_BYTES_MAX - c->in_bytes, MSG_DONTWAIT);

		if (n > 0) {
			c->in_bytes += (size_t)n;
			deliver(s, c);
			return;
		}
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		conn_close(s, c);
		return;
	}
	if (events & (EPOLLHUP | EPOLLERR))
		conn_close(s, c);
}

void server_process(struct server *s)
{
	struct epoll_event ready[16];
	int n = epoll_wait(s->epoll_fd, ready, 16, 0);

	for (int i = 0; i < n; i++) {
		uint32_t tag = ready[i].data.u32;

		if (tag == LISTEN_TAG)
			accept_all(s);
		else if (s->conns[tag].fd >= 0)
			conn_ready(s, &s->conns[tag], ready[i].events);
	}
	/* Lines that waited behind a request that has been answered since. */
	for (size_t i = 0; i < SERVER_CONNS_MAX; i++)
		if (s->conns[i].fd >= 0 && s->conns[i].in_bytes)
			deliver(s, &s->conns[i]);
}
