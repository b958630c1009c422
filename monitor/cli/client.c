/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cli/client.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "monitor/cell/runtime.h"
#include "numa/check.h"

/* A monitor that has not answered a ping by then is passed over for the next one ... */
#define PING_PATIENCE_MS 400
/* ... and nothing answers at all when the last one has been asked this long. */
#define PING_LAST_MS 8000
#define CELLS_MAX 1024u
/* Connections that await a pong at the same time. */
#define TRIES_MAX 16

struct client {
	int fd;
	uint32_t cell;
	char *buf; /* unread bytes of the next lines */
	size_t used, room;
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void client_close(struct client *c)
{
	if (!c)
		return;
	close(c->fd);
	free(c->buf);
	free(c);
}

/* Takes a complete line out of what has been read. NULL: none there. */
static json_t *take_line(struct client *c)
{
	char *end = c->used ? memchr(c->buf, '\n', c->used) : NULL;
	json_t *line;

	if (!end)
		return NULL;
	line = json_loadb(c->buf, (size_t)(end - c->buf), 0, NULL);
	c->used -= (size_t)(end - c->buf) + 1;
	memmove(c->buf, end + 1, c->used);
	return line ? line : json_object();
}

/* Reads what is there. 0, or -errno; -ECONNRESET when the monitor closed. */
static int read_more(struct client *c)
{
	ssize_t n;

	if (c->room - c->used < 65536) {
		c->room += 65536 + c->room / 2;
		c->buf = realloc(c->buf, c->room);
		CHECK(c->buf != NULL);
	}
	n = recv(c->fd, c->buf + c->used, c->room - c->used, MSG_DONTWAIT);
	if (n == 0)
		return -ECONNRESET;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	c->used += (size_t)n;
	return 0;
}

static int send_line(struct client *c, json_t *request)
{
	char *text = json_dumps(request, JSON_COMPACT | JSON_REAL_PRECISION(16));
	size_t bytes, sent = 0;

	json_decref(request);
	CHECK(text != NULL);
	bytes = strlen(text);
	text[bytes++] = '\n';
	while (sent < bytes) {
		ssize_t n = send(c->fd, text + sent, bytes - sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN) {
			struct pollfd fd = { .fd = c->fd, .events = POLLOUT };

			poll(&fd, 1, PING_LAST_MS);
		} else if (n < 0 && errno != EINTR) {
			int rc = -errno;

			free(text);
			return rc;
		}
		sent += n > 0 ? (size_t)n : 0;
	}
	free(text);
	return 0;
}

/* 0 with *out, or -errno: nobody listens there. */
static int try_cell(struct client **out, const char *dir, uint32_t cell)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct client *c = calloc(1, sizeof(*c));
	int rc;

	CHECK(c != NULL);
	c->cell = cell;
	runtime_cell_path(addr.sun_path, dir, cell, "monitor.sock");
	/* Not blocking: a stopped monitor with a full backlog must not hold us up. */
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&addr, sizeof(addr))) {
		rc = -errno;
		client_close(c);
		return rc;
	}
	rc = send_line(c, json_pack("{s:s}", "op", "ping"));
	if (rc) {
		client_close(c);
		return rc;
	}
	*out = c;
	return 0;
}

static int by_number(const void *a, const void *b)
{
	return *(const uint32_t *)a < *(const uint32_t *)b ? -1 : 1;
}

/* The cells that have a folder in the runtime directory, ascending. */
static int list_cells(const char *dir, uint32_t except, uint32_t *cells, size_t *count)
{
	DIR *d = opendir(dir);
	const struct dirent *entry;

	*count = 0;
	if (!d)
		return -errno;
	while ((entry = readdir(d)) && *count < CELLS_MAX) {
		uint32_t cell;
		char end;

		if (sscanf(entry->d_name, "cell-%u%c", &cell, &end) == 1 && cell < CELLS_MAX &&
			cell != except)
			cells[(*count)++] = cell;
	}
	closedir(d);
	qsort(cells, *count, sizeof(*cells), by_number);
	return 0;
}

struct race {
	struct client *tries[TRIES_MAX];
	size_t count;
	bool denied; /* the kernel would not let us connect */
	bool silent; /* someone listens, but has no time even to accept */
};

/* Waits for a pong of any. The winner leaves the race; NULL: none within the time. */
static struct client *await_pong(struct race *race, int64_t until)
{
	while (race->count > 0) {
		struct pollfd fds[TRIES_MAX];
		int64_t left = until - now_ms();

		for (size_t i = 0; i < race->count; i++) {
			CHECK(race->tries[i] != NULL);
			fds[i] = (struct pollfd){ .fd = race->tries[i]->fd, .events = POLLIN };
		}
		if (poll(fds, (nfds_t)race->count, left > 0 ? (int)left : 0) <= 0 && left <= 0)
			return NULL;
		for (size_t i = race->count; i-- > 0;) {
			struct client *c = race->tries[i];
			json_t *pong = NULL;
			int rc = fds[i].revents ? read_more(c) : 0;

			if (!rc && !(pong = take_line(c)))
				continue;
			race->tries[i] = race->tries[--race->count];
			if (pong) {
				json_decref(pong);
				return c;
			}
			client_close(c);
		}
	}
	return NULL;
}

static struct client *run_race(
	struct race *race, const char *dir, const uint32_t *cells, size_t count)
{
	struct client *winner = NULL;

	for (size_t i = 0; i < count && race->count < TRIES_MAX && !winner; i++) {
		int rc = try_cell(&race->tries[race->count], dir, cells[i]);

		race->denied |= rc == -EACCES || rc == -EPERM;
		race->silent |= rc == -EAGAIN;
		race->count += rc == 0;
		winner = await_pong(race, now_ms() + PING_PATIENCE_MS);
	}
	return winner ? winner : await_pong(race, now_ms() + PING_LAST_MS);
}

int client_open(struct client **out, uint32_t except, struct err *e)
{
	struct race race = { .count = 0 };
	uint32_t cells[CELLS_MAX];
	char dir[RUNTIME_DIR_MAX + 1];
	size_t count;
	int rc = runtime_dir(dir, e);

	if (rc)
		return rc;
	rc = list_cells(dir, except, cells, &count);
	race.denied = rc == -EACCES;
	*out = rc ? NULL : run_race(&race, dir, cells, count);
	race.silent |= race.count > 0;
	while (race.count > 0)
		client_close(race.tries[--race.count]);
	if (*out)
		return 0;
	if (race.denied)
		return err_set(e, EXIT_ENVIRONMENT,
			"no permission to talk to the cells in %s; run this as root", dir);
	if (race.silent)
		return err_set(e, EXIT_NO_ANSWER,
			"cell monitors are there, but none answers; `cellvisor down --force` ends "
			"what "
			"is left");
	return err_set(e, EXIT_NOT_RUNNING, "no cells are up; start them with `cellvisor up`");
}

int client_open_cell(struct client **out, uint32_t cell, struct err *e)
{
	struct race race = { .count = 0 };
	char dir[RUNTIME_DIR_MAX + 1];
	int rc = runtime_dir(dir, e);

	if (rc)
		return rc;
	race.count = try_cell(&race.tries[0], dir, cell) == 0;
	*out = await_pong(&race, now_ms() + PING_LAST_MS);
	if (race.count)
		client_close(race.tries[0]);
	return *out ? 0
		    : err_set(e, EXIT_NO_ANSWER, "the monitor of cell %u does not answer", cell);
}

uint32_t client_cell(const struct client *c)
{
	return c->cell;
}

/* Turns {"ok":false,...} into *e. */
static int refusal(const json_t *reply, struct err *e)
{
	const json_t *code = json_object_get(reply, "code");
	const char *text = json_string_value(json_object_get(reply, "text"));
	json_int_t value = json_is_integer(code) ? json_integer_value(code) : EXIT_FAILED;

	if (value <= EXIT_OK || value > EXIT_NO_ANSWER)
		value = EXIT_FAILED;
	return err_set(e, (enum exit_code)value, "%s",
		text ? text : "the cell monitor's reply is not understood");
}

int client_request(struct client *c, json_t *request, int timeout_ms, client_progress *progress,
	void *ctx, json_t **reply, struct err *e)
{
	int64_t until = now_ms() + timeout_ms;
	int rc = send_line(c, request);

	while (!rc) {
		struct pollfd fd = { .fd = c->fd, .events = POLLIN };
		json_t *line = take_line(c);
		int64_t left = until - now_ms();

		if (line && json_object_get(line, "progress")) {
			if (progress)
				progress(ctx, line);
			json_decref(line);
			continue;
		}
		if (line && json_is_true(json_object_get(line, "ok"))) {
			*reply = line;
			return 0;
		}
		if (line) {
			rc = refusal(line, e);
			json_decref(line);
			return rc;
		}
		if (left <= 0)
			return err_set(e, EXIT_NO_ANSWER,
				"the monitor of cell %u did not answer within %d s", c->cell,
				timeout_ms / 1000);
		if (poll(&fd, 1, (int)left) > 0)
			rc = read_more(c);
	}
	return err_set(e, EXIT_NO_ANSWER,
		"the monitor of cell %u ended while it worked on this; look with `cellvisor ls`",
		c->cell);
}

int client_ask(json_t *request, int timeout_ms, json_t **reply, struct err *e)
{
	struct client *c = NULL;
	int rc = client_open(&c, CLIENT_ANY_CELL, e);

	if (rc) {
		json_decref(request);
		return rc;
	}
	rc = client_request(c, request, timeout_ms, NULL, NULL, reply, e);
	client_close(c);
	return rc;
}
