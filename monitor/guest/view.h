/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_GUEST_VIEW_H
#define CELLVISOR_MONITOR_GUEST_VIEW_H

/*
 * The views of a guest: VM objects, each with a mapping of guest RAM and memory
 * slots of its own. Today a guest has one, with KVM's interrupt controllers;
 * whoever touches guest memory slots, ioeventfds or interrupts goes through the
 * list all the same.
 */

#include "monitor/err.h"
#include "monitor/gpa.h"
#include "monitor/guest/home.h"
#include "monitor/guest/memory.h"
#include "monitor/kvm/vm.h"

#include <stdbool.h>
#include <stdint.h>

#define VIEWS_MAX SPEC_NODES_MAX

struct view {
	struct kvm_vm vm;
	uint8_t *hva;	     /* where this view maps guest RAM */
	struct ram_map ram;  /* the same, as devices and loaders see it */
	uint32_t slot_count; /* slot i maps ram.regions[i] */
	/* Host nodes whose vCPUs this view holds. */
	uint32_t nodes[SPEC_NODES_MAX];
	uint32_t node_count;
	struct kvm_vm_state initial; /* interrupt controllers before the guest ran */
};

struct views {
	struct view *items[VIEWS_MAX];	   /* owned */
	uint32_t count;			   /* at least 1 */
	const struct guest_memory *memory; /* borrowed */
	const struct guest_home *home;	   /* borrowed */
	bool log;			   /* KVM logs what the guest writes: views_written() */
};

/*
 * Makes the views for a guest at this home; with `log` KVM logs from the start which pages the
 * guest writes: it then maps nothing larger than 4 KiB to the guest, and the first write to each
 * page costs an exit. 0, or a negative errno with *e.
 */
int views_init(struct views *v, const struct kvm_system *system, const struct guest_memory *memory,
	const struct guest_home *home, bool log, struct err *e);

/*
 * May the guest, in any view, have written the page at offset `off` of its RAM, ever? 1, also if it
 * has only read it (KVM maps for writing at once); 0, or -errno;
 * -ENODATA without `log`. Any thread.
 */
int views_written(const struct views *v, uint64_t off);

/* All vCPUs are gone. */
void views_fini(struct views *v);

/* The view through which devices and loaders reach guest RAM, and which has the interrupts. */
struct view *views_main(const struct views *v);

/* Remembers the state of the interrupt controllers, and puts it back. No vCPU runs. 0 or -errno. */
int views_save(struct views *v);
int views_restore(struct views *v);

/* In every view, or, after a failure, in none. 0 or -errno. */
int views_ioeventfd(struct views *v, struct gpa gpa, uint32_t bytes, int eventfd, bool attach);

/* A place in guest RAM. */
struct view_place {
	struct gpa gpa;
	uint64_t off; /* in RAM */
	bool node_known;
	uint32_t node; /* host node, by the placement */
};

/* Which place does a host address belong to, in any view? false: none. Async-signal-safe. */
bool views_place_of(const struct views *v, const void *hva, struct view_place *place);

#endif
