/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_INJECT_NODE_DEATH_H
#define CELLVISOR_FAULTCONTAIN_INJECT_NODE_DEATH_H

/*
 * Injects the death of a cell's nodes. In the box (docs/box.md): its CPUs stop,
 * the memory that its processes own there is poisoned, and after some seconds
 * the firmware takes the CPUs offline. On a real server only the cell's
 * processes are killed, and the report says so.
 *
 * Runs as a process of its own, on CPUs of another cell, as root. Blocks for as
 * long as the injection takes (in the box about 10 to 20 seconds).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "faultcontain/host/proc.h"
#include "monitor/err.h"

struct node_death {
	const uint32_t *nodes; /* NUMA nodes of the cell that die */
	size_t node_count;
	const struct proc_id *members; /* every process of the cell: monitor and guests */
	size_t member_count;
	/* One line in words per step, without newline; may be NULL. */
	void (*progress)(void *ctx, const char *text);
	void *ctx;
};

struct node_death_report {
	bool in_box;		 /* false: only processes were killed */
	size_t members_stopped;	 /* in the box; on a server: killed */
	size_t bystanders_moved; /* tasks of others that were moved off the CPUs */
	size_t cpus_frozen, cpus_offline;
	uint64_t pages_poisoned, pages_refused; /* refused: the kernel would not poison them */
};

/*
 * 0, or -errno with *e saying what would be right: -EINVAL for CPU 0's node in
 * the box (it can't go offline), -EPERM without privileges. After an error
 * before the freeze everything goes on as before.
 */
int node_death_inject(
	const struct node_death *what, struct node_death_report *report, struct err *e);

#endif
