/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_NUMA_HOST_CGROUP_H
#define CELLVISOR_NUMA_HOST_CGROUP_H

/*
 * Limits by cgroup v2, where the kernel offers a hierarchy with the controllers
 * cpuset and memory that we may write; affinity and memory policy hold in any case.
 * Groups are named by paths below the mount: "cellvisor/cell-2/alder".
 *
 * Not for the path of recovery: to move a process into a group waits, in the
 * kernel, for a grace period of RCU, which does not end while a CPU hangs.
 */

#include <stdint.h>
#include <sys/types.h>

#include "monitor/err.h"
#include "numa/cpu_set.h"
#include "numa/host/bind.h"

#define CGROUP_PATH_BYTES 256u

/* What a group is held to. */
struct cgroup_limits {
	const struct cpu_set *cpus;   /* NULL: as its parent */
	const struct node_set *nodes; /* NULL: as its parent */
	uint64_t memory_max_bytes;    /* 0: no limit */
};

/*
 * May we make groups? 0, or -EOPNOTSUPP with *e saying what is missing (no
 * cgroup2 hierarchy, controllers bound to version 1, no permission): to be said once, in
 * a log, and passed over.
 */
int cgroup_offered(struct err *e);

/*
 * Makes a group, and its parents where they are missing, and sets its limits; an existing
 * one gets the new limits. 0; -EOPNOTSUPP as above; or -errno with *e, and then nothing that was
 * made is left.
 */
int cgroup_make(const char *group, const struct cgroup_limits *limits, struct err *e);

/*
 * Sets the nodes of a group that exists, and nothing else. 0; -ENOENT if there is none; or -errno
 * with *e.
 */
int cgroup_set_nodes(const char *group, const struct node_set *nodes, struct err *e);

/* Moves a process, all its threads, into a group that has no groups below. 0 or -errno with *e. */
int cgroup_add(const char *group, pid_t pid, struct err *e);

/*
 * Removes a group, and the groups below it. 0, also when there is none; -EBUSY
 * with *e when processes are left in it.
 */
int cgroup_remove(const char *group, struct err *e);

#endif
