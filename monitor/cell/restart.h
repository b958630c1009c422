/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_RESTART_H
#define CELLVISOR_MONITOR_CELL_RESTART_H

/*
 * Starts guests again that crashed or were lost, as their policy says
 * (faultcontain/restart.h). The lowest live cell does it for all: it knows every
 * cell's guests. Should two take themselves for the lowest, the reservation of
 * the name lets one of them through.
 */

#include <stdint.h>

struct monitor;
struct restarting;

void restart_open(struct monitor *m);
void restart_close(struct monitor *m);

/* Looks for guests whose time has come, twice a second at most. */
void restart_turn(struct monitor *m, uint64_t now_ns);
uint64_t restart_due(const struct monitor *m);

#endif
