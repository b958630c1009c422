/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_ERRORS_SOURCE_H
#define CELLVISOR_MONITOR_CELL_ERRORS_SOURCE_H

/*
 * Where corrected memory errors are heard of: a tracer instance for the machine of this runtime
 * directory, made by `up` and removed by `down`. Both patch the kernel's code, for which all CPUs
 * have to answer; while one does not, they would hang and keep it from being taken offline. So
 * first each CPU is asked whether it executes anything, and then a process of its own does it.
 */

#include "monitor/cell/plan.h"

/* Fills p->trace_dir, or p->trace_missing with the reason. */
void errors_source_make(const char *dir, struct plan *p);

/* Removes what `up` made. While a CPU hangs it stays: it does no harm, and the next `up` uses it.
 */
void errors_source_remove(const char *dir);

#endif
