/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_DRAINING_H
#define CELLVISOR_MONITOR_CELL_DRAINING_H

/*
 * A cell that is not to be used any more: takes no guests, lends nothing, has no visitors; its
 * guests move to other cells. A file in the cell's folder tells later lives of the monitor.
 */

#include <stdbool.h>
#include <stdint.h>

#include "monitor/cell/gather.h"

struct monitor;

void draining_open(struct monitor *m);
void draining_close(struct monitor *m);

/* Is it closed for guests, loans and visitors of others? */
bool draining_closed(const struct monitor *m);
/* "draining" (something is left) or "drained"; NULL: it is neither. */
const char *draining_name(const struct monitor *m);

/* Closes the cell and begins to empty it, as `cell-drain` does; nothing, if that is under way. */
void draining_begin(struct monitor *m, const char *why);

/* `cell-drain`: closes the cell and begins to empty it; answers with the number of a job. */
void draining_serve(struct monitor *m, const struct asker *who);
/* `cell-undrain`: opens it again. */
void draining_serve_undo(struct monitor *m, const struct asker *who);

void draining_turn(struct monitor *m, uint64_t now_ns);
uint64_t draining_due(const struct monitor *m, uint64_t now_ns);

#endif
