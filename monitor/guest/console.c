/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/guest/console.h"

#include "monitor/guest/console_log.h"
#include "numa/check.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define NOTE_BYTES 80u

static void wake(struct console *c)
{
	const uint64_t one = 1;

	/* Fails only when it is signalled already. */
	(void)!write(c->wake_fd, &one, sizeof(one));
}

void console_put(struct console *c, uint8_t byte)
{
	bool first;

	pthread_mutex_lock(&c->lock);
	first = c->out_bytes == 0;
	if (c->out_bytes < CONSOLE_OUT_BYTES)
		c->out[c->out_bytes++] = byte;
	else
		c->out_dropped++;
	pthread_mutex_unlock(&c->lock);
	if (first)
		wake(c);
}

void console_room(struct console *c)
{
	wake(c);
}

/* --- output --- */

static void want_of(struct console_client *client)
{
	const struct console *c = client->console;
	uint32_t events = 0;

	if (!client->input_over && c->in_bytes < CONSOLE_IN_BYTES)
		events |= EPOLLIN;
	if (client->backlog_bytes)
		events |= EPOLLOUT;
	reactor_want(c->reactor, &client->watch, events);
}

static void client_close(struct console_client *client)
{
	struct console *c = client->console;

	reactor_unwatch(c->reactor, &client->watch);
	close(client->fd);
	free(client->backlog);
	*client = (struct console_client){ .console = c, .fd = -1, .watch.fd = -1 };
	c->client_count--;
	c->env.clients(c->env.ctx, c->client_count);
}

/* Sends what waits. false: the client is gone. */
static bool client_flush(struct console_client *client)
{
	ssize_t sent;

	if (!client->backlog_bytes)
		return true;
	sent = send(
		client->fd, client->backlog, client->backlog_bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0)
		return errno == EAGAIN || errno == EINTR;
	client->backlog_bytes -= (size_t)sent;
	memmove(client->backlog, client->backlog + sent, client->backlog_bytes);
	return true;
}

/* Appends all of `data`, or nothing. */
static bool client_append(struct console_client *client, const void *data, size_t bytes)
{
	if (bytes > CONSOLE_CLIENT_BYTES - client->backlog_bytes)
		return false;
	memcpy(client->backlog + client->backlog_bytes, data, bytes);
	client->backlog_bytes += bytes;
	return true;
}

static int note(char text[NOTE_BYTES], uint64_t dropped)
{
	return snprintf(text, NOTE_BYTES, "\r\n[cellvisor: %llu bytes of output dropped]\r\n",
		(unsigned long long)dropped);
}

/* A slow client loses what doesn't fit, and is told how much when there is room again. */
static void client_put(struct console_client *client, const uint8_t *data, size_t bytes)
{
	char text[NOTE_BYTES];

	if (client->skipped) {
		size_t length = (size_t)note(text, client->skipped);

		if (length + bytes > CONSOLE_CLIENT_BYTES - client->backlog_bytes) {
			client->skipped += bytes;
			return;
		}
		client_append(client, text, length);
		client->skipped = 0;
	}
	if (!client_append(client, data, bytes))
		client->skipped += bytes;
}

static void broadcast(struct console *c, const uint8_t *data, size_t bytes)
{
	console_log_write(c, data, bytes);
	for (size_t i = 0; i < CONSOLE_CLIENTS_MAX; i++) {
		struct console_client *client = &c->clients[i];

		if (client->fd < 0)
			continue;
		client_put(client, data, bytes);
		if (client_flush(client))
			want_of(client);
		else
			client_close(client);
	}
}

/* Takes what the guest printed, and gives it to everyone. */
static void flush_output(struct console *c)
{
	uint8_t data[CONSOLE_OUT_BYTES];
	char text[NOTE_BYTES];
	uint64_t dropped;
	size_t bytes;

	pthread_mutex_lock(&c->lock);
	bytes = c->out_bytes;
	dropped = c->out_dropped;
	memcpy(data, c->out, bytes);
	c->out_bytes = 0;
	c->out_dropped = 0;
	pthread_mutex_unlock(&c->lock);
	c->total_out += bytes + dropped;
	c->total_dropped += dropped;
	if (bytes)
		broadcast(c, data, bytes);
	if (dropped)
		broadcast(c, (const uint8_t *)text, (size_t)note(text, dropped));
}

/* --- input --- */

static void offer_input(struct console *c)
{
	size_t taken;

	if (!c->in_bytes)
		return;
	taken = c->env.input(c->env.ctx, c->in, c->in_bytes);
	CHECK(taken <= c->in_bytes);
	c->in_bytes -= taken;
	memmove(c->in, c->in + taken, c->in_bytes);
	for (size_t i = 0; i < CONSOLE_CLIENTS_MAX; i++)
		if (c->clients[i].fd >= 0)
			want_of(&c->clients[i]);
}

static void on_wake(void *ctx, uint32_t events)
{
	struct console *c = ctx;
	uint64_t count;

	(void)events;
	(void)!read(c->wake_fd, &count, sizeof(count));
	flush_output(c);
	offer_input(c);
}

/* false: the client is gone. */
static bool client_read(struct console_client *client)
{
	struct console *c = client->console;
	ssize_t got;

	if (c->in_bytes == CONSOLE_IN_BYTES)
		return true;
	got = recv(client->fd, c->in + c->in_bytes, CONSOLE_IN_BYTES - c->in_bytes, MSG_DONTWAIT);
	if (got < 0)
		return errno == EAGAIN || errno == EINTR;
	if (got == 0)
		client->input_over = true;
	c->in_bytes += (size_t)got;
	return true;
}

static void on_client(void *ctx, uint32_t events)
{
	struct console_client *client = ctx;
	struct console *c = client->console;
	bool alive = !(events & (EPOLLERR | EPOLLHUP));

	/* What it typed before it left still counts. */
	if (events & EPOLLIN)
		alive = client_read(client) && alive;
	if (alive && (events & EPOLLOUT))
		alive = client_flush(client);
	if (alive)
		want_of(client);
	else
		client_close(client);
	offer_input(c);
}

/* --- clients --- */

static struct console_client *free_client(struct console *c)
{
	for (size_t i = 0; i < CONSOLE_CLIENTS_MAX; i++)
		if (c->clients[i].fd < 0)
			return &c->clients[i];
	return NULL;
}

static void on_listen(void *ctx, uint32_t events)
{
	static const char full[] = "[cellvisor: this console has all the clients it can serve]\r\n";
	struct console *c = ctx;
	struct console_client *client = free_client(c);
	int fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0)
		return;
	if (!client) {
		(void)!send(fd, full, sizeof(full) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
		close(fd);
		return;
	}
	client->backlog = malloc(CONSOLE_CLIENT_BYTES);
	if (!client->backlog ||
		reactor_watch(c->reactor, &client->watch, fd, EPOLLIN, on_client, client)) {
		free(client->backlog);
		close(fd);
		return;
	}
	client->fd = fd;
	c->client_count++;
	want_of(client);
	c->env.clients(c->env.ctx, c->client_count);
}

static int open_socket(struct console *c, const char *path, struct err *e)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int rc;

	if (strlen(path) >= sizeof(address.sun_path))
		return err_set(e, EXIT_ENVIRONMENT, "%s is too long for a socket", path);
	memcpy(address.sun_path, path, strlen(path));
	(void)unlink(path);
	c->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->listen_fd < 0)
		return err_set(e, EXIT_ENVIRONMENT, "no socket for the console: %s",
			strerrordesc_np(errno));
	if (bind(c->listen_fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		chmod(path, 0600) < 0 || listen(c->listen_fd, CONSOLE_CLIENTS_MAX) < 0) {
		rc = err_set(e, EXIT_ENVIRONMENT, "%s can't be listened on: %s", path,
			strerrordesc_np(errno));
		close(c->listen_fd);
		return rc;
	}
	return 0;
}

static int watch_all(struct console *c, struct err *e)
{
	int rc = reactor_watch(c->reactor, &c->wake_watch, c->wake_fd, EPOLLIN, on_wake, c);

	if (!rc)
		rc = reactor_watch(
			c->reactor, &c->listen_watch, c->listen_fd, EPOLLIN, on_listen, c);
	return rc ? err_set(e, EXIT_ENVIRONMENT, "the console can't be watched: %s",
			    strerrordesc_np(-rc))
		  : 0;
}

int console_init(struct console *c, struct reactor *r, const struct console_files *files,
	const struct console_env *env, struct err *e)
{
	int rc;

	memset(c, 0, sizeof(*c));
	c->reactor = r;
	c->env = *env;
	for (size_t i = 0; i < CONSOLE_CLIENTS_MAX; i++)
		c->clients[i] = (struct console_client){ .console = c, .fd = -1, .watch.fd = -1 };
	c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->wake_fd < 0)
		return err_set(e, EXIT_ENVIRONMENT, "no eventfd for the console: %s",
			strerrordesc_np(errno));
	rc = console_log_open(c, files, e);
	if (rc)
		goto undo_wake;
	rc = open_socket(c, files->sock_path, e);
	if (rc)
		goto undo_log;
	CHECK(!pthread_mutex_init(&c->lock, NULL));
	rc = watch_all(c, e);
	if (rc)
		goto undo_socket;
	return 0;

undo_socket:
	reactor_unwatch(c->reactor, &c->wake_watch);
	(void)unlink(files->sock_path);
	close(c->listen_fd);
	pthread_mutex_destroy(&c->lock);
undo_log:
	console_log_close(c);
undo_wake:
	close(c->wake_fd);
	return rc;
}

void console_fini(struct console *c)
{
	for (size_t i = 0; i < CONSOLE_CLIENTS_MAX; i++)
		if (c->clients[i].fd >= 0)
			client_close(&c->clients[i]);
	reactor_unwatch(c->reactor, &c->listen_watch);
	reactor_unwatch(c->reactor, &c->wake_watch);
	close(c->listen_fd);
	close(c->wake_fd);
	console_log_close(c);
	pthread_mutex_destroy(&c->lock);
}

void console_drain(struct console *c, int ms)
{
	const int step_ms = 20;

	flush_output(c);
	for (; ms > 0; ms -= step_ms) {
		struct pollfd waiting[CONSOLE_CLIENTS_MAX];
		nfds_t count = 0;

		for (size_t i = 0; i < CONSOLE_CLIENTS_MAX; i++) {
			struct console_client *client = &c->clients[i];

			if (client->fd < 0 || !client->backlog_bytes)
				continue;
			if (!client_flush(client))
				client_close(client);
			else if (client->backlog_bytes)
				waiting[count++] = (struct pollfd){ client->fd, POLLOUT, 0 };
		}
		if (!count)
			return;
		(void)poll(waiting, count, step_ms);
	}
}
