/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_BINDER_H
#define CELLVISOR_MONITOR_CELL_BINDER_H

/*
 * Binds threads to CPUs, from a thread of its own: to take a running thread off a CPU, the
 * kernel waits for that CPU, for ever if it hangs. The caller waits a bounded time and then
 * goes on without.
 */

#include <stdint.h>
#include <sys/types.h>

#include "numa/cpu_set.h"

struct binder;

/* 0 or -errno. */
int binder_open(struct binder **out);
/* Its thread is left behind if it hangs. */
void binder_close(struct binder *b);

/*
 * Binds and reads back: *now is what the kernel says afterwards. 0; -ETIMEDOUT if it takes
 * longer than wait_ns; -EBUSY while an earlier one still does; or another -errno.
 */
int binder_bind(struct binder *b, pid_t tid, const struct cpu_set *cpus, uint64_t wait_ns,
	struct cpu_set *now);

#endif
