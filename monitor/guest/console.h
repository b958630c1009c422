/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_GUEST_CONSOLE_H
#define CELLVISOR_MONITOR_GUEST_CONSOLE_H

/*
 * The guest's console: what it prints goes to a bounded log and to every client
 * of a unix stream socket, raw; what any client types goes to the guest. Nothing
 * here ever makes the guest wait for output: where there is no room, bytes are
 * dropped, and a note in the stream says how many. Input waits until the guest
 * takes it, and then the client waits.
 */

#include "monitor/err.h"
#include "monitor/guest/reactor.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONSOLE_CLIENTS_MAX 16u
#define CONSOLE_OUT_BYTES (64u << 10)	  /* between guest and event loop */
#define CONSOLE_CLIENT_BYTES (256u << 10) /* waiting for one client */
#define CONSOLE_IN_BYTES 4096u

/* One connection. What doesn't fit its backlog is counted in `skipped` until a note can say so. */
struct console_client {
	struct console *console;
	int fd; /* owned; -1: free */
	struct reactor_watch watch;
	uint8_t *backlog; /* owned, CONSOLE_CLIENT_BYTES */
	size_t backlog_bytes;
	uint64_t skipped;
	bool input_over; /* it has shut down its side, and still listens */
};

struct console_files {
	const char *sock_path; /* borrowed during console_init */
	const char *log_path, *old_log_path;
	uint64_t log_bytes; /* the log is begun anew at this size, the one before kept */
};

struct console_env {
	/*
	 * Offers input to the guest; returns how much it took. When it refused some,
	 * console_room() is called later.
	 */
	size_t (*input)(void *ctx, const uint8_t *data, size_t bytes);
	/* The number of connected clients changed. */
	void (*clients)(void *ctx, uint32_t count);
	void *ctx; /* borrowed */
};

/* Big: allocate it. */
struct console {
	struct reactor *reactor; /* borrowed */
	struct console_env env;

	pthread_mutex_t lock; /* guards out[] */
	uint8_t out[CONSOLE_OUT_BYTES];
	size_t out_bytes;
	uint64_t out_dropped;
	int wake_fd; /* owned eventfd: output or room */
	struct reactor_watch wake_watch;

	int listen_fd; /* owned */
	struct reactor_watch listen_watch;
	struct console_client clients[CONSOLE_CLIENTS_MAX];
	uint32_t client_count;

	uint8_t in[CONSOLE_IN_BYTES];
	size_t in_bytes;

	int log_fd, old_log_fd; /* owned */
	int dir_fd;		/* owned; of the folder of both */
	char log_name[64], old_log_name[64];
	uint64_t log_written, log_max;
	uint64_t total_out, total_dropped;
};

/*
 * Opens log (emptied) and socket (in place of a stale one). Both logs and the
 * socket are in one folder. 0, or a negative errno with *e (EXIT_ENVIRONMENT).
 */
int console_init(struct console *c, struct reactor *r, const struct console_files *files,
	const struct console_env *env, struct err *e);

/* Closes all; the socket's path stays for whoever made the folder. The guest has ended. */
void console_fini(struct console *c);

/* The guest printed a byte. Any thread; never waits. */
void console_put(struct console *c, uint8_t byte);

/* The guest takes input again. Any thread. */
void console_room(struct console *c);

/* Gives clients up to `ms` milliseconds to take what they still have to get. */
void console_drain(struct console *c, int ms);

#endif
