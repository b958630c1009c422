/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_HOST_FENCE_H
#define CELLVISOR_FAULTCONTAIN_HOST_FENCE_H

/*
 * Fencing: kills the processes of a dead cell, and no other. A recycled pid is
 * never hit: the signal goes through a pidfd, after the start time was compared.
 * Never waits for the dead: a process on a frozen CPU can't be reaped, and does
 * not have to be; once SIGKILL is pending it executes no instruction of its own.
 */

#include <stddef.h>

#include "faultcontain/host/proc.h"

struct fence_report {
	size_t killed;	 /* SIGKILL is now pending or has taken effect */
	size_t gone;	 /* was over already, or its pid belongs to another process now */
	size_t failed;	 /* could not be killed: the fence does NOT hold */
	int first_errno; /* of the failed ones, negative; 0 if none */
};

/* 1 if killed, 0 if it was gone, -errno if it may still run. */
int fence_kill(const struct proc_id *id);

/* Kills all, in order, going on after a failure. The fence holds if report->failed is 0. */
void fence_kill_all(const struct proc_id *ids, size_t count, struct fence_report *report);

/* How many of them are over by now (proc_over). Never blocks. */
size_t fence_count_over(const struct proc_id *ids, size_t count);

#endif
