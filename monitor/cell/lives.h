/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_LIVES_H
#define CELLVISOR_MONITOR_CELL_LIVES_H

/*
 * The lives of a cell's monitor, on record: DIR/cell-N/life-K is made exclusively
 * by whoever starts life K, so that no two monitors ever have one incarnation. It
 * holds the first life since the cell started afresh, and the process.
 */

#include <stdbool.h>
#include <stdint.h>

#include "faultcontain/host/proc.h"

/* Earlier lives of which a record is kept. */
#define LIVES_KEPT 4u

struct life {
	uint64_t incarnation, born; /* born 0: the record can't be read */
	struct proc_id proc;	    /* pid 0: not known (yet) */
};

/*
 * Claims a life. 0; -EEXIST if it or a later one is claimed already, then
 * *highest is the latest one; or another -errno. Records of lives long past are removed.
 */
int lives_claim(const char *dir, uint32_t cell, const struct life *life, uint64_t *highest);

/* Adds the process to the record of a claimed life. 0 or -errno. */
int lives_set_process(const char *dir, uint32_t cell, const struct life *life);

/* The latest `room` lives on record, latest first; returns how many there are of them. */
uint32_t lives_list(const char *dir, uint32_t cell, struct life *lives, uint32_t room);

#endif
