/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_RECOVERY_H
#define CELLVISOR_MONITOR_CELL_RECOVERY_H

/*
 * Runs the membership's state machine (faultcontain/member.h) in a cell monitor:
 * feeds it and does what it decides. Nothing here waits: no step of a recovery
 * creates a VM, waits for a process, or needs a peer.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "faultcontain/host/transport.h"
#include "monitor/err.h"

struct monitor;

/* `born` is the first life since the cell started afresh. 0 or -errno with *e. */
int recovery_open(struct monitor *m, uint64_t born, struct err *e);
void recovery_close(struct monitor *m);

/* The fabric's events; then recovery_turn(). */
void recovery_link_up(struct monitor *m, const struct transport_peer *peer);
void recovery_link_down(struct monitor *m, uint32_t cell, uint64_t incarnation);
/* A message of the membership. */
void recovery_message(struct monitor *m, uint32_t cell, uint64_t incarnation, uint16_t op,
	const void *body, size_t bytes);

/* The hardware (or its injector) says that a cell is dead. */
void recovery_hardware(struct monitor *m, uint32_t cell);

/* Lets time pass and does what is to be done. */
void recovery_turn(struct monitor *m, uint64_t now_ns);
uint64_t recovery_due(const struct monitor *m);

/* Number of cells in the agreed view; 0 while none is agreed or a recovery is going on. */
uint32_t recovery_live_count(const struct monitor *m);

/* Is a recovery going on, or nothing agreed yet? Then nothing new begins that needs other cells. */
bool recovery_suspended(const struct monitor *m);

/*
 * Is what was got of the cell when it was `born` gone, by the agreed view? False while none is
 * agreed.
 */
bool recovery_gone(const struct monitor *m, uint32_t cell, uint32_t born);

/* The life of a cell and its birth. False: the agreed view has it dead. */
bool recovery_life(const struct monitor *m, uint32_t cell, uint32_t *incarnation, uint32_t *born);

#endif
