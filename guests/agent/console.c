/* SPDX-License-Identifier: BSD-2-Clause */
#include "guests/agent/console.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

int console_open(struct console *c, const char *path)
{
	struct termios t;

	pthread_mutex_init(&c->writer, NULL);
	c->fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (c->fd < 0)
		return -errno;
	if (tcgetattr(c->fd, &t) == 0) {
		cfmakeraw(&t);
		t.c_oflag |= OPOST | ONLCR; /* for people */
		tcsetattr(c->fd, TCSANOW, &t);
	}
	return 0;
}

void console_say(struct console *c, const char *fmt, ...)
{
	char line[CONSOLE_LINE_BYTES];
	size_t bytes, done = 0;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(line, sizeof(line) - 1, fmt, args);
	va_end(args);
	if (n < 0)
		return;
	bytes = (size_t)n < sizeof(line) - 2 ? (size_t)n : sizeof(line) - 2;
	line[bytes++] = '\n';
	pthread_mutex_lock(&c->writer);
	while (done < bytes) {
		ssize_t wrote = write(c->fd, line + done, bytes - done);

		if (wrote > 0)
			done += (size_t)wrote;
		else if (errno != EINTR)
			break;
	}
	pthread_mutex_unlock(&c->writer);
}

void console_drain(struct console *c)
{
	tcdrain(c->fd);
}

static void cut(struct command *out)
{
	char *rest = NULL;
	char *word = strtok_r(out->line, " \t", &rest);

	for (; word; word = strtok_r(NULL, " \t", &rest)) {
		if (out->count == COMMAND_WORDS) {
			out->bad = true;
			return;
		}
		out->words[out->count++] = word;
	}
}

bool command_feed(struct command_input *in, char byte, struct command *out)
{
	if (byte == '\0')
		return false;
	if (byte != '\n' && byte != '\r') {
		if (in->used < sizeof(in->buf) - 1)
			in->buf[in->used++] = byte;
		else
			in->too_long = true;
		return false;
	}
	*out = (struct command){ .bad = in->too_long };
	memcpy(out->line, in->buf, in->used);
	cut(out);
	*in = (struct command_input){ 0 };
	return true;
}
