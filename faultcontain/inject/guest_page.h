/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_INJECT_GUEST_PAGE_H
#define CELLVISOR_FAULTCONTAIN_INJECT_GUEST_PAGE_H

/*
 * A page of a guest's RAM as the injector reaches it: through the memfd that the guest process
 * holds. Needs root.
 */

#include <stdbool.h>
#include <stdint.h>

#include "faultcontain/host/proc.h"
#include "monitor/err.h"

struct guest_ram {
	int fd; /* owned */
	uint64_t bytes;
};

/* Finds the RAM of a guest process. 0, or -errno with *e. */
int guest_ram_open(struct guest_ram *ram, const struct proc_id *guest, struct err *e);
void guest_ram_close(struct guest_ram *ram);

/*
 * The first page at or after offset `from`, around the end, that has a frame (`used`), or has none.
 * 0 with *off, or -ENOENT.
 */
int guest_ram_find(const struct guest_ram *ram, uint64_t from, bool used, uint64_t *off);

/* Does the page have a frame? 1, 0 or -errno. */
int guest_ram_has(const struct guest_ram *ram, uint64_t off);

/*
 * The frame of the page; one that has none gets one, as if it had been prefaulted. 0 with *frame,
 * or -errno; -EBUSY if the kernel has other use for such a frame (plan_may_poison()).
 */
int guest_ram_frame(const struct guest_ram *ram, uint64_t off, uint64_t *frame);

/* Makes the kernel take the frame for one with an uncorrected error that nobody has met. 0 or
 * -errno. */
int guest_ram_poison(uint64_t frame);

#endif
