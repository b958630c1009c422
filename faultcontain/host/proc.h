/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_HOST_PROC_H
#define CELLVISOR_FAULTCONTAIN_HOST_PROC_H

/*
 * Names a process for good: a pid is reused, a pid with its start time is not.
 * Nothing here reads what needs the address space of that process (cmdline,
 * maps): with a thread stuck on a dead CPU that could block for ever.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct proc_id {
	pid_t pid;
	uint64_t start_time; /* clock ticks since boot: field 22 of /proc/PID/stat, proc(5) */
};

/* Start time of a process. 0, -ESRCH if there is none, or another -errno. */
int proc_start_time(pid_t pid, uint64_t *start_time);

/*
 * The CPU that a thread runs on or ran on last, of its open stat file (field 39, proc(5)). 0 or
 * -errno.
 */
int proc_last_cpu(int stat_fd, uint32_t *cpu);

/* The calling process. 0 or -errno. */
int proc_self(struct proc_id *id);

/*
 * A pidfd of exactly this process, to be closed by the caller (it polls readable
 * when the process has ended), or -ESRCH if it is gone, or another -errno.
 */
int proc_open(const struct proc_id *id);

/*
 * Is it over, i.e. will no thread of it execute another instruction? A zombie is
 * over; a killed process that is stuck on a dead CPU is not.
 * 1 if over, 0 if not, or -errno if that can't be known. Never blocks.
 */
int proc_over(const struct proc_id *id);

#endif
