/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_GUEST_LOADED_H
#define CELLVISOR_MONITOR_GUEST_LOADED_H

/*
 * The source of good copies of pages that nobody has written since the guest was loaded: they
 * hold what the loader put there - kernel, initrd, tables, zeroes - and can be loaded again. Who
 * wrote what is known from KVM's log (views_written()) for the guest, and from
 * ram_map.written for devices. Both are kept over resets: a page that was ever written
 * counts as written for good. KVM maps a page for writing at the first touch, and logs it then:
 * so what the guest has only read counts as written too.
 */

#include "monitor/boot/load.h"
#include "monitor/guest/lost_pages.h"
#include "monitor/guest/view.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* What tells that a file is still the one that was loaded. */
struct loaded_file {
	int fd; /* borrowed; -1: none */
	struct stat when_loaded;
};

struct loaded {
	const struct views *views;	/* borrowed */
	const struct boot_image *image; /* borrowed */
	struct boot_args args;		/* its pointers are borrowed */
	struct loaded_file kernel, initrd;
	_Atomic uint64_t *written; /* owned; for ram_map.written */
	bool over;		   /* a file has changed: nothing is known any more */
};

/* 0 or -ENOMEM. `args` (copied) is what the guest is loaded by; args->ram is not used. */
int loaded_init(struct loaded *l, const struct views *views, const struct boot_image *image,
	const struct boot_args *args);
void loaded_fini(struct loaded *l);

/* The guest is about to be loaded, again or for the first time. No vCPU runs. */
void loaded_begins(struct loaded *l);

/* ctx is l. */
struct good_copy_source loaded_source(struct loaded *l);

#endif
