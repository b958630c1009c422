/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_INJECT_BYSTANDERS_H
#define CELLVISOR_FAULTCONTAIN_INJECT_BYSTANDERS_H

/*
 * In one kernel, CPUs that stop take along whatever else depends on them. On
 * separate kernels nothing would; so before the box freezes CPUs, all that is
 * not of the dying cell is moved away: tasks, interrupts, the kernel's own
 * work, and the last traces of address spaces.
 */

#include <stddef.h>

#include "faultcontain/host/proc.h"
#include "faultcontain/inject/setting.h"
#include "monitor/err.h"
#include "numa/cpu_set.h"

struct moved_task {
	pid_t tid;
	struct cpu_set before;
};

/* A value; zero-initialized is "nothing moved". */
struct bystanders {
	struct moved_task *tasks; /* owned */
	size_t task_count, room;
	struct settings settings;
};

/*
 * Moves everything off `dying` to `others` (online CPUs, none of them dying),
 * but the processes of `members`. 0 or -errno with *e filled; then the caller
 * still has to call bystanders_back().
 */
int bystanders_away(struct bystanders *b, const struct cpu_set *dying, const struct cpu_set *others,
	const struct proc_id *members, size_t member_count, struct err *e);

/*
 * Undoes it and frees. With `tasks_too` false the tasks stay where they are, for
 * their CPUs are gone.
 */
void bystanders_back(struct bystanders *b, bool tasks_too);

/*
 * An idle CPU keeps the address space of its last task loaded, and who changes
 * that one waits for the CPU. So a child runs last on each: what stays loaded is
 * the child's, which nobody uses any more. To be called when the members are
 * stopped, for theirs are changed by poisoning. 0 or -errno with *e filled.
 */
int bystanders_scrub(const struct cpu_set *dying, struct err *e);

/*
 * Empties the per-CPU lists of pages that wait to be put on the kernel's LRU
 * lists: who takes a page from there (poisoning does) would wait for the CPU.
 * 0 or -errno with *e filled.
 */
int bystanders_drain_pages(struct err *e);

#endif
