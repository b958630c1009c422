/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_MONITOR_H
#define CELLVISOR_MONITOR_CELL_MONITOR_H

/*
 * `cellvisor monitor --cell=N --incarnation=K --runtime=DIR --suspect-ms=T`:
 * the cell monitor process. Internal: cell_launch() starts it, pinned and
 * memory-bound. Returns the exit status.
 */
int cell_monitor_main(int argc, char **argv);

#endif
