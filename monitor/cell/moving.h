/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_MOVING_H
#define CELLVISOR_MONITOR_CELL_MOVING_H

/*
 * Moves running guests as a whole to other cells, and takes them in: carries out the steps and
 * rules of faultcontain/handover.h. docs/moving.md says in which order, and why.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "monitor/cell/gather.h"
#include "monitor/cell/keeper.h"
#include "monitor/err.h"

struct monitor;
struct request;

/* In a ledger: the cell that a guest came from, as long as that may have it in its book. */
#define MOVING_FROM "from"

void moving_open(struct monitor *m);
void moving_close(struct monitor *m);

/* *e is NULL on success, with what to tell (borrowed). Never called from moving_start(). */
typedef void moving_done(struct monitor *m, void *ctx, const json_t *result, const struct err *e);

/* Begins to move a guest of this cell. -errno with *e: refused, and `done` is not called. */
int moving_start(struct monitor *m, const char *name, uint32_t to, uint64_t job, moving_done *done,
	void *ctx, struct err *e);

/* Is this guest of this cell on its way? Then its vCPUs are not the balancers'. */
bool moving_has(const struct monitor *m, const char *name);

/* Has its process gone to its new home already, which may not have said so yet? */
bool moving_left(const struct monitor *m, const char *name);

/* `cell-move`: begins, and answers with the number of the job. */
void moving_serve(struct monitor *m, const struct asker *who, const struct request *r);
/* `cell-expect`: will this cell have that guest? */
void moving_serve_expect(struct monitor *m, const struct asker *who, const struct request *r);

/* As struct keeper_events has it: the guest may have come from another cell. */
void moving_registered(struct monitor *m, const struct guest *g, const json_t *ledger);
/* The book of a peer has come. */
void moving_book(struct monitor *m, uint32_t cell);
/* Adds to a ledger (stolen, returned) where the guest came from, if that matters still. */
json_t *moving_mark(const struct monitor *m, const char *name, json_t *ledger);

void moving_turn(struct monitor *m, uint64_t now_ns);
uint64_t moving_due(const struct monitor *m, uint64_t now_ns);

#endif
