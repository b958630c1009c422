/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_HOST_TRACING_H
#define CELLVISOR_FAULTCONTAIN_HOST_TRACING_H

/*
 * An instance of the kernel's tracer (tracefs, instances/NAME) of our own, in which memory errors
 * are recorded and nothing else, so that nobody else's tracing is disturbed. It belongs to no
 * process and stays until it is removed; what was recorded waits there for a reader.
 *
 * To make or remove one waits for RCU grace periods and for all CPUs, and so does not end while one
 * hangs: neither is for a monitor.
 */

#include "monitor/err.h"

#define TRACING_NAME_BYTES 64u
#define TRACING_PATH_BYTES 128u

/*
 * Makes the instance, or takes up an existing one, empties it, and switches on: ras:mc_event where
 * an EDAC driver knows a memory controller, else mce:mce_record. (Both would tell each error
 * twice.) 0 with its folder in `path`; or -errno with *e saying what the kernel lacks.
 */
int tracing_make(const char *name, char path[TRACING_PATH_BYTES], struct err *e);

/* Removes the instance, if there is one. 0 or -errno. */
int tracing_remove(const char *name);

#endif
