/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_INJECT_POISON_H
#define CELLVISOR_FAULTCONTAIN_INJECT_POISON_H

/*
 * Makes frames bad as an uncorrected memory error does: the kernel takes them
 * away from whoever maps them, and the next access is a SIGBUS. There is no way
 * back before the next boot. Needs root.
 */

#include <stdint.h>

#include "faultcontain/host/proc.h"
#include "faultcontain/inject/node_plan.h"
#include "monitor/err.h"

struct poison_count {
	uint64_t poisoned;
	uint64_t refused; /* the kernel would not */
};

/* Files of the kernel that poisoning needs, opened beforehand. */
struct poison {
	int kpageflags, hard_offline;
};

/* 0, or -errno with *e saying what is missing. */
int poison_open(struct poison *p, struct err *e);
void poison_close(struct poison *p);

/*
 * Every frame within `frames` that is the process' own or shared by memfd. The
 * process should be stopped. Adds to *count, which another thread or process may
 * watch. 0 or -errno; -ESRCH if the process is gone.
 */
int poison_process(const struct poison *p, const struct proc_id *id,
	const struct plan_frames *frames, volatile struct poison_count *count);

/*
 * The one page of a process at this address. 0; -ENXIO if no page is there, or
 * it is not the process' own; or another -errno.
 */
int poison_page(const struct poison *p, const struct proc_id *id, uint64_t address);

#endif
