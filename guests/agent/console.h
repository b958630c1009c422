/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_GUESTS_AGENT_CONSOLE_H
#define CELLVISOR_GUESTS_AGENT_CONSOLE_H

/* The agent's console: whole lines out, from any thread; commands in. */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#define CONSOLE_LINE_BYTES 8192u
#define COMMAND_BYTES 256u
#define COMMAND_WORDS 4u

struct console {
	int fd;
	pthread_mutex_t writer;
};

/* Opens the device, without echo and line editing. 0 or -errno; then c->fd is usable or -1. */
int console_open(struct console *c, const char *path);

/* One line, which no other line interrupts. What is longer than CONSOLE_LINE_BYTES is cut. */
void console_say(struct console *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Waits until everything has left for the wire. */
void console_drain(struct console *c);

/* Bytes of the console, gathered to lines. All zero is the initial state. */
struct command_input {
	char buf[COMMAND_BYTES];
	size_t used;
	bool too_long;
};

/* A line, cut into words in place. */
struct command {
	char line[COMMAND_BYTES];
	char *words[COMMAND_WORDS];
	size_t count; /* 0 for an empty line */
	bool bad;     /* too long, or too many words; words[0] is still valid if count > 0 */
};

/* Takes a byte. True when it ends a line, which is then in *out. */
bool command_feed(struct command_input *in, char byte, struct command *out);

#endif
