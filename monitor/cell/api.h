/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_API_H
#define CELLVISOR_MONITOR_CELL_API_H

/* Requests of clients, answered for all cells; shared by the api's files alone. */

#include "monitor/cell/state.h"

/* How long cells get to answer a listing, and what takes longer. */
#define API_LIST_NS (3ull * 1000000000u)
#define API_RESERVE_NS (10ull * 1000000000u)
#define API_START_NS (130ull * 1000000000u)
#define API_DOWN_NS (30ull * 1000000000u)
#define API_GRACE_NS (10ull * 1000000000u)

/* A request of a client that is being answered. */
struct op {
	struct monitor *m;
	struct server_conn who;
	struct request r;
};

/* Each takes the op over, and ends it with one of the op_*() below. */
void api_ls(struct op *op);
void api_events(struct op *op);
void api_inject(struct op *op);
void api_down(struct op *op);
void api_run(struct op *op);

/*
 * Places and starts a guest anew, as api_run() does for a client. `done`, never called from here:
 * *e is NULL if it runs, and `where` says on what.
 */
typedef void run_done(void *ctx, const struct err *e, const char *where);
void api_restart(struct monitor *m, const struct guest_spec *spec, run_done *done, void *ctx);
void api_vcpus(struct op *op);
void api_move_vcpu(struct op *op);
void api_loan(struct op *op);
void api_move(struct op *op);
void api_drain(struct op *op);

/* Sends {"progress":text}. */
void op_progress(struct op *op, const char *text);
/* Sends the reply (stolen) and frees the op. */
void op_reply(struct op *op, json_t *value);
void op_refuse(struct op *op, const struct err *e);

/*
 * Has one cell do long work: `request` (stolen) is answered by the number of a job, whose progress
 * and result the client gets.
 */
void op_job(struct op *op, uint32_t cell, json_t *request);

/* Can this cell be asked now? */
bool api_askable(const struct monitor *m, uint32_t cell);

/*
 * The guest that the request names, if it runs and its home can be asked now. Else
 * NULL, and the request is refused with the reason. Borrowed from a book.
 */
const struct guest *api_working(struct op *op);

/* cells[] = this one alone. */
void only_cell(bool cells[CELLS_MAX], uint32_t cell);

/*
 * The best record of a guest of this name in all books: one that lives, else the
 * one that ended last; NULL if there is none.
 */
const struct guest *api_find_guest(const struct monitor *m, const char *name);

/*
 * A guest as listings show it: with the path of its console, and "unmanaged" if
 * it lives but its cell's monitor can't be asked.
 */
json_t *api_guest_row(const struct monitor *m, const struct guest *g, bool second_hand);

/* [{"node","bytes","lender"?}]: where its memory is, and of which cell it is borrowed. */
json_t *api_guest_memory(const struct monitor *m, const struct guest *g);

#endif
