/* SPDX-License-Identifier: BSD-2-Clause */
#include "sim/box/client.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "sim/box/port.h"

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

bool box_client_here(void)
{
	char path[64];

	return box_port_find(BOX_PORT_CONTROL, path, sizeof(path)) == 0;
}

/* Another process has the port: it hands it back after a call or two. */
static int open_in_turn(const char *path, uint64_t end_ms)
{
	for (;;) {
		int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);

		if (fd >= 0)
			return fd;
		if (errno != EBUSY && errno != EINTR)
			return -errno;
		if (now_ms() >= end_ms)
			return -ETIMEDOUT;
		usleep(5000);
	}
}

int box_client_open(struct box_client *c, unsigned deadline_ms, struct err *e)
{
	char path[64];
	int fd;

	*c = (struct box_client){ .fd = -1 };
	if (box_port_find(BOX_PORT_CONTROL, path, sizeof(path)) != 0) {
		err_set(e, EXIT_ENVIRONMENT,
			"this machine is not a box (it has no port " BOX_PORT_CONTROL
			"); start one with sim/box/box");
		return -ENODEV;
	}
	fd = open_in_turn(path, now_ms() + deadline_ms);
	if (fd < 0) {
		if (fd == -ETIMEDOUT)
			err_set(e, EXIT_NO_ANSWER, "the box's control port %s was busy for %u ms",
				path, deadline_ms);
		else
			err_set(e, EXIT_ENVIRONMENT, "can't open the box's control port %s: %s",
				path, strerrordesc_np(-fd));
		return fd;
	}
	c->fd = fd;
	return 0;
}

void box_client_close(struct box_client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

/* Waits until the port can be read or written. 0, -ETIMEDOUT or -EPIPE. */
static int wait_for(struct box_client *c, short events, uint64_t end_ms)
{
	for (;;) {
		struct pollfd p = { .fd = c->fd, .events = events };
		uint64_t now = now_ms();
		int n = poll(&p, 1, now < end_ms ? (int)(end_ms - now) : 0);

		if (n > 0 && (p.revents & events))
			return 0;
		if (n > 0)
			return -EPIPE;
		if (n == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

static int send_all(struct box_client *c, const char *data, size_t bytes, uint64_t end_ms)
{
	while (bytes > 0) {
		ssize_t n = write(c->fd, data, bytes);

		if (n > 0) {
			data += n;
			bytes -= (size_t)n;
			continue;
		}
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;

		int rc = wait_for(c, POLLOUT, end_ms);

		if (rc)
			return rc;
	}
	return 0;
}

/* Reads until the reply to `id` is complete in c->lines.buf; *text points into it. */
static int await_reply(struct box_client *c, uint64_t id, uint64_t end_ms,
	enum box_reply_kind *kind, const char **text)
{
	for (;;) {
		char chunk[BOX_LINE_BYTES];
		const char *data = chunk;
		size_t bytes;
		int rc = wait_for(c, POLLIN, end_ms);
		ssize_t n;

		if (rc)
			return rc;
		n = read(c->fd, chunk, sizeof(chunk));
		if (n == 0)
			return -EPIPE;
		if (n < 0) {
			if (errno == EAGAIN || errno == EINTR)
				continue;
			return -errno;
		}
		bytes = (size_t)n;
		while (box_lines_feed(&c->lines, &data, &bytes)) {
			*kind = box_reply_parse(c->lines.buf, id, text);
			/* One call at a time, so nothing follows our reply. */
			if (*kind == BOX_REPLY_OK || *kind == BOX_REPLY_ERROR)
				return 0;
		}
	}
}

static int explain(int rc, const char *verb, unsigned deadline_ms, struct err *e)
{
	if (rc == -ETIMEDOUT)
		err_set(e, EXIT_NO_ANSWER, "the box did not answer '%s' within %u ms", verb,
			deadline_ms);
	else if (rc == -EPIPE)
		err_set(e, EXIT_ENVIRONMENT, "the outside of the box has gone ('%s')", verb);
	else
		err_set(e, EXIT_FAILED, "the box's control port failed at '%s': %s", verb,
			strerrordesc_np(-rc));
	return rc;
}

int box_client_call(struct box_client *c, const char *verb, const char *const *words,
	size_t word_count, unsigned deadline_ms, char *answer, size_t answer_bytes, struct err *e)
{
	uint64_t end_ms = now_ms() + deadline_ms;
	char line[BOX_LINE_BYTES + 2];
	enum box_reply_kind kind = BOX_REPLY_BAD;
	const char *text = "";
	uint64_t id;
	long n;
	int rc;

	if (getrandom(&id, sizeof(id), 0) != (ssize_t)sizeof(id))
		return explain(-EIO, verb, deadline_ms, e);
	n = box_request_format(line, sizeof(line), id, verb, words, word_count);
	if (n < 0) {
		err_set(e, EXIT_INVALID, "not a request that fits the box's protocol: '%s'", verb);
		return (int)n;
	}
	rc = send_all(c, line, (size_t)n, end_ms);
	if (!rc)
		rc = await_reply(c, id, end_ms, &kind, &text);
	if (rc)
		return explain(rc, verb, deadline_ms, e);
	if (kind == BOX_REPLY_ERROR) {
		err_set(e, EXIT_FAILED, "the box refused '%s': %s", verb, text);
		return -EREMOTEIO;
	}
	if (answer && answer_bytes > 0)
		snprintf(answer, answer_bytes, "%s", text);
	return 0;
}

static int call_number(
	struct box_client *c, const char *verb, uint32_t number, const char *how, struct err *e)
{
	char digits[16];
	const char *const words[] = { digits, how };

	snprintf(digits, sizeof(digits), "%" PRIu32, number);
	return box_client_call(c, verb, words, how ? 2 : 1, BOX_CLIENT_DEADLINE_MS, NULL, 0, e);
}

static const char *how_word(enum box_freeze how)
{
	return how == BOX_FREEZE_IDLE ? "idle" : "any";
}

int box_client_freeze_cpu(struct box_client *c, uint32_t cpu, enum box_freeze how, struct err *e)
{
	return call_number(c, "freeze", cpu, how_word(how), e);
}

int box_client_thaw_cpu(struct box_client *c, uint32_t cpu, struct err *e)
{
	return call_number(c, "thaw", cpu, NULL, e);
}

int box_client_freeze_node(struct box_client *c, uint32_t node, enum box_freeze how, struct err *e)
{
	return call_number(c, "freeze-node", node, how_word(how), e);
}

int box_client_thaw_node(struct box_client *c, uint32_t node, struct err *e)
{
	return call_number(c, "thaw-node", node, NULL, e);
}

int box_client_mce(struct box_client *c, const struct box_mce *mce, struct err *e)
{
	char text[6][24];
	const char *words[7];
	size_t count = 6;

	snprintf(text[0], sizeof(text[0]), "%" PRIu32, mce->cpu);
	snprintf(text[1], sizeof(text[1]), "%" PRIu32, mce->bank);
	snprintf(text[2], sizeof(text[2]), "0x%" PRIx64, mce->status);
	snprintf(text[3], sizeof(text[3]), "0x%" PRIx64, mce->mcg_status);
	snprintf(text[4], sizeof(text[4]), "0x%" PRIx64, mce->addr);
	snprintf(text[5], sizeof(text[5]), "0x%" PRIx64, mce->misc);
	for (size_t i = 0; i < count; i++)
		words[i] = text[i];
	if (mce->broadcast)
		words[count++] = "broadcast";
	return box_client_call(c, "mce", words, count, BOX_CLIENT_DEADLINE_MS, NULL, 0, e);
}

int box_client_power_off(struct box_client *c, struct err *e)
{
	return box_client_call(c, "power-off", NULL, 0, BOX_CLIENT_DEADLINE_MS, NULL, 0, e);
}
