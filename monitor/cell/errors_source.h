/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_ERRORS_SOURCE_H
#define CELLVISOR_MONITOR_CELL_ERRORS_SOURCE_H

/*
 * Where corrected memory errors are heard of: a tracer instance for the machine of this runtime
 * directory, made by `up` and removed by `down`. Both can hang in the kernel while a CPU does, so
 * a process of its own does it, and is left alone if it takes too long.
 */

#include "monitor/cell/plan.h"

/* Fills p->trace_dir, or p->trace_missing with the reason. */
void errors_source_make(const char *dir, struct plan *p);

/* Removes what `up` made, if it can be done within a few seconds. */
void errors_source_remove(const char *dir);

#endif
