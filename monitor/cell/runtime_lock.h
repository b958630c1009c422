/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_RUNTIME_LOCK_H
#define CELLVISOR_MONITOR_CELL_RUNTIME_LOCK_H

/* The runtime directory as a whole: made, locked and removed by `up` and `down`. */

#include <stdint.h>

#include "monitor/err.h"

/*
 * Makes the directory if it isn't there (0700), and takes the lock that `up` and
 * `down` hold. A descriptor (close() frees the lock), or -errno with *e:
 * EXIT_CONFLICT if another one holds it, EXIT_ENVIRONMENT if it can't be made.
 */
int runtime_lock(const char *dir, struct err *e);

/* Removes everything in the directory, and it. What can't be removed is left. */
void runtime_remove(const char *dir);

/* Removes everything in it, and leaves it (and the lock on it). */
void runtime_clear(const char *dir);

/* Makes DIR/cell-N and DIR/cell-N/guests. 0 or -errno with *e. */
int runtime_make_cell(const char *dir, uint32_t cell, struct err *e);

/* Makes the folder of a guest, empty: what an earlier guest of that name left is removed. */
int runtime_make_guest(const char *dir, uint32_t cell, const char *name, struct err *e);

/* Removes the folder of a guest. */
void runtime_remove_guest(const char *dir, uint32_t cell, const char *name);

#endif
