/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_SPAWN_H
#define CELLVISOR_MONITOR_CELL_SPAWN_H

#include <sys/types.h>

struct spawn {
	int exe_fd; /* what to execute, or -1: what `prepare` returns */
	int log_fd; /* becomes 1 and 2 */
	int fd3;    /* becomes 3, or -1: none */
	char *const *argv;
	/*
	 * Runs in the child, where it may take its time; may be NULL. Returns a
	 * descriptor to execute, 0 when exe_fd is given, or -errno.
	 */
	int (*prepare)(void *ctx);
	void *ctx;
};

/* Descriptors from here on keep their numbers in the child while `prepare` runs. */
#define SPAWN_FREE_FD 10

/*
 * Starts a process in a session of its own, with the signal mask and actions of
 * a fresh one, /dev/null as fd 0 and nothing open but what is named. When
 * `prepare` or exec fails the child says why on log_fd and exits with 127. 0
 * with the pid and a pidfd (owned by the caller), or -errno. The caller has to
 * reap the child.
 */
int spawn_process(const struct spawn *s, pid_t *pid, int *pidfd);

#endif
