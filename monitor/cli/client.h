/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CLI_CLIENT_H
#define CELLVISOR_MONITOR_CLI_CLIENT_H

/*
 * Requests to a cell monitor over its monitor.sock: one JSON object per line in
 * each direction (docs/operations.md). Any monitor answers for all cells.
 */

#include <jansson.h>
#include <stdint.h>

#include "monitor/err.h"

struct client;

#define CLIENT_ANY_CELL 0xffffffffu

/*
 * Connects to the first monitor that answers a ping; a stopped or dead one is
 * passed over. 0, or -errno with *e filled: EXIT_NOT_RUNNING when no cell is up
 * (the text says how to start), EXIT_NO_ANSWER when monitors exist but none
 * answers, EXIT_ENVIRONMENT without permission. `except` is a cell that is not
 * asked, or CLIENT_ANY_CELL. *out is freed by client_close().
 */
int client_open(struct client **out, uint32_t except, struct err *e);

/* Connects to this cell's monitor, or none. EXIT_NO_ANSWER if it does not answer now. */
int client_open_cell(struct client **out, uint32_t cell, struct err *e);

/* Which cell answers. */
uint32_t client_cell(const struct client *c);

/* Called with each line of progress; `line` is borrowed for the call. */
typedef void client_progress(void *ctx, const json_t *line);

/*
 * Sends `request` (stolen) and waits for its reply, at most `timeout_ms`. 0
 * with *reply owned by the caller (an object, "ok" is true), or -errno with *e
 * filled as the monitor said. `progress` may be NULL.
 */
int client_request(struct client *c, json_t *request, int timeout_ms, client_progress *progress,
	void *ctx, json_t **reply, struct err *e);

void client_close(struct client *c);

/*
 * client_open, one request, client_close: what most subcommands need.
 * `cellvisor topo --live` asks json_pack("{s:s}", "op", "ls"); the reply has
 * "cells" and "guests" as `cellvisor ls --json` prints them.
 */
int client_ask(json_t *request, int timeout_ms, json_t **reply, struct err *e);

#endif
