/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_LAUNCH_H
#define CELLVISOR_MONITOR_CELL_LAUNCH_H

#include <stdint.h>
#include <sys/types.h>

#include "monitor/cell/lives.h"
#include "monitor/cell/plan.h"
#include "monitor/err.h"

/*
 * Starts the monitor of a cell in a life that was claimed: a daemon that runs from a copy of this
 * executable in the cell's own memory, on its CPUs, with its memory bound to its
 * nodes. Used by `up`, and by a monitor that replaces a peer's. What takes time
 * is done by the child. `because` says why, for the new monitor's first event.
 * 0 with its pid and a pidfd (owned by the caller, who also reaps it), or -errno
 * with *e.
 */
int cell_launch(const struct plan *plan, const char *dir, uint32_t cell, const struct life *life,
	const char *because, pid_t *pid, int *pidfd, struct err *e);

#endif
