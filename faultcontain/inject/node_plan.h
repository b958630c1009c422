/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_INJECT_NODE_PLAN_H
#define CELLVISOR_FAULTCONTAIN_INJECT_NODE_PLAN_H

/*
 * What the death of a node strikes, decided without touching anything: which
 * mappings of a process belong to it alone, which frames lie on the node, where
 * a bystander goes.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "faultcontain/host/proc.h"
#include "numa/cpu_set.h"

#define PLAN_RANGES_MAX 1024u

/* The frames of the dying nodes: ranges of page frame numbers. */
struct plan_frames {
	struct {
		uint64_t first, end;
	} ranges[PLAN_RANGES_MAX];
	size_t count;
};

/* Adds frames first .. end - 1; joins a range that ends at `first`. -ENOSPC if there are too many.
 */
int plan_frames_add(struct plan_frames *f, uint64_t first, uint64_t end);
bool plan_frames_has(const struct plan_frames *f, uint64_t frame);

/* A mapping of a process, from /proc/PID/maps. */
struct plan_area {
	uint64_t start, end;
};

/*
 * Reads one line of /proc/PID/maps. True if the mapping's memory is the
 * process' own, or shared by memfd: then *area is filled. False for files on a
 * disk (everybody's page cache), devices, what the kernel maps, and nonsense.
 */
bool plan_area_of(const char *maps_line, struct plan_area *area);

/*
 * The frame in an entry of /proc/PID/pagemap (kernel: admin-guide/mm/pagemap),
 * if the page is present and poisoning it strikes nobody by accident: false for
 * private pages that another process maps too, as after a fork.
 */
bool plan_frame_of(uint64_t pagemap_entry, uint64_t *frame);

/* Whether a frame with these /proc/kpageflags may be poisoned: neither the kernel's nor the zero
 * page. */
bool plan_may_poison(uint64_t kpageflags);

/*
 * Where a bystander with CPUs `now` goes: away from `dying`, within its CPUs if
 * any is left, else to all of `others` (not empty). False if it can stay.
 */
bool plan_move(const struct cpu_set *now, const struct cpu_set *dying, const struct cpu_set *others,
	struct cpu_set *to);

bool plan_is_member(const struct proc_id *members, size_t count, pid_t pid);

/* The CPUs of `from` that are not in `without`. */
void plan_subtract(const struct cpu_set *from, const struct cpu_set *without, struct cpu_set *left);

/*
 * A mask as /proc/irq and sysfs take it: hexadecimal words of 32 bits, highest
 * first, separated by commas. 0 or -ENOSPC.
 */
int plan_mask_write(const struct cpu_set *s, char *text, size_t bytes);

#endif
