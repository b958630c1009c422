/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_ROOM_H
#define CELLVISOR_MONITOR_CELL_ROOM_H

/* What this cell has to give: memory that nobody was promised, and its own nodes and CPUs. */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "monitor/err.h"
#include "monitor/guest/home.h"

struct monitor;

/* Bytes of a node (index) of this cell that neither guests nor other cells were promised; none if
 * it is closed. */
uint64_t room_of(const struct monitor *m, uint32_t n);

/* [{"node","bytes"}] of this cell's nodes, a new reference; *sum of them. */
json_t *room_by_node(const struct monitor *m, uint64_t *sum);

/* Is this node (the operating system's number) one of this cell's? */
bool room_owns(const struct monitor *m, uint32_t os_node);

/*
 * Is a guest that was placed like this this cell's to start: its CPUs are, and its nodes, or, if it
 * may need other cells, those of no more other cells than it may? 0 or -errno with *e.
 */
int room_check_home(const struct monitor *m, const struct guest_spec *spec,
	const struct guest_home *home, struct err *e);

/* Is there still room on this cell's nodes for what the home has there? 0 or -errno with *e. */
int room_check(const struct monitor *m, const struct guest_home *home, struct err *e);

#endif
