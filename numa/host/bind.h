/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_NUMA_HOST_BIND_H
#define CELLVISOR_NUMA_HOST_BIND_H

/*
 * Thin effects on memory and CPUs. Nodes here are the operating system's
 * numbers (os_node), 0..1023.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "numa/cpu_set.h"

#define BIND_NODES 1024u

struct node_set {
	uint64_t words[BIND_NODES / 64];
};

void node_set_add(struct node_set *s, uint32_t os_node);
bool node_set_has(const struct node_set *s, uint32_t os_node);

/*
 * Pages of [addr, addr + bytes) that are allocated from now on come from these
 * nodes only; with prefer_only, from elsewhere when these are full. addr is page
 * aligned. 0 or -errno (mbind(2)).
 */
int bind_memory(void *addr, size_t bytes, const struct node_set *nodes, bool prefer_only);

/* The same for all memory that this thread, and what it starts, allocates. 0 or -errno. */
int bind_process_memory(const struct node_set *nodes);

/*
 * The same, but only those of `nodes` that the present binding of this thread has, if it has one
 * and they are any: a part of a cell, never more than it.
 */
int bind_process_memory_within(const struct node_set *nodes);

/*
 * Moves the present pages of [addr, addr + bytes) that the policy of bind_memory()
 * does not fit to where it does. 0; -EIO when some could not be moved; or -errno.
 */
int bind_move(void *addr, size_t bytes, const struct node_set *nodes);

/* Names the calling thread, as ps(1) and /proc/PID/task/TID/comm show; cut to 15 characters. */
void bind_name_thread(const char *name);

/* Restricts a thread (0: the caller) to these CPUs. 0 or -errno; -EINVAL if all are offline. */
int bind_thread(pid_t tid, const struct cpu_set *cpus);

/* The CPUs that a thread (0: the caller) may run on. 0 or -errno. */
int bind_thread_read(pid_t tid, struct cpu_set *cpus);

/*
 * Counts the present pages of [addr, addr + bytes) in process `pid` (0: own) by
 * node into counts[BIND_NODES]; a page never touched counts nowhere. 0 or -errno.
 */
int bind_count_pages(pid_t pid, const void *addr, size_t bytes, uint64_t *counts);

/*
 * Moves pages of process `pid` to a node, also such that others map: up to BIND_MOVE_PAGES
 * addresses. status[i] is the node where it is then, or -errno (-ENOENT: there is no page). 0 or
 * -errno.
 */
#define BIND_MOVE_PAGES 2048u
int bind_move_pages(pid_t pid, void *const *pages, uint32_t count, uint32_t os_node, int *status);

/*
 * Moves the pages of process `pid` that are on `from`, also such that others map, to `to`. The
 * number of those that did not move, or -errno.
 */
int bind_migrate(pid_t pid, const struct node_set *from, const struct node_set *to);

/* Memory of a node as the kernel accounts it, in bytes. */
struct node_memory {
	uint64_t total_bytes, free_bytes;
	/* Free, or page cache and slab that the kernel gives up when asked for memory. */
	uint64_t available_bytes;
};

/* From sysfs. 0 or -errno; -ENOENT if there is no such node. */
int bind_node_memory(uint32_t os_node, struct node_memory *memory);

#endif
