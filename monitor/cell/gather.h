/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_GATHER_H
#define CELLVISOR_MONITOR_CELL_GATHER_H

/*
 * Asks one request of several cells, this one among them, and waits for all
 * replies or the deadline: how a monitor answers for the whole machine.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "faultcontain/host/fabric.h"
#include "monitor/err.h"
#include "numa/cells.h"

struct monitor;
struct gather;

struct gather_reply {
	bool asked;
	/* Owned; {"ok":true,...} or {"ok":false,"code","text"}. NULL: it did not answer. */
	json_t *reply;
};

/* `replies` by cell, borrowed for the call. Called once, never from gather_start(). */
typedef void gather_done(
	struct monitor *m, void *ctx, const struct gather_reply replies[CELLS_MAX]);

/*
 * `request` is stolen; cells[] says whom to ask. `done` is called from a later
 * turn of the loop.
 */
void gather_start(struct monitor *m, json_t *request, const bool cells[CELLS_MAX],
	uint64_t deadline_ns, gather_done *done, void *ctx);

/* Who asked: an answer goes to a peer over the fabric, or to a gather of our own. */
struct asker {
	struct gather *gather; /* NULL: a peer */
	struct fabric_request peer;
};

/* Answers (value stolen), once per request. */
void asker_reply(struct monitor *m, const struct asker *who, json_t *value);
/* {"ok":false,...} */
void asker_refuse(struct monitor *m, const struct asker *who, const struct err *e);

/* Calls `done` of what is complete. Once per turn of the loop. */
void gather_turn(struct monitor *m);
/* Is there something for gather_turn() to do? */
bool gather_pending(const struct monitor *m);
/* Frees what is still open, without calling anyone. */
void gather_fini(struct monitor *m);

/* Reads {"ok":false,"code","text"}; a reply that is neither is EXIT_FAILED. true: it is ok. */
bool reply_ok(const json_t *reply, struct err *e);
/* The reverse; a new reference. */
json_t *reply_error(const struct err *e);

#endif
