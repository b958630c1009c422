/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_GUEST_TRAP_H
#define CELLVISOR_MONITOR_GUEST_TRAP_H

/*
 * Memory errors (SIGBUS) in the guest process. One that a vCPU met while in the
 * guest is handed to that vCPU's loop; one that a device met in guest RAM is a
 * failed copy (careful.h); any other hits the process itself, which ends after
 * it has sent a record to its monitor. Early news of an error (BUS_MCEERR_AO) is for
 * the thread of lost_pages.h, which has the signal blocked; elsewhere it is left alone.
 */

#include "monitor/guest/view.h"
#include "monitor/kvm/vcpu.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* Of one vCPU thread; lives as long as the thread. */
struct trap {
	struct kvm_vcpu *kvm;		/* kicked when hit */
	volatile sig_atomic_t in_guest; /* between before and after kvm_vcpu_run() */
	volatile sig_atomic_t hit;
	void *volatile addr;	   /* where, when hit */
	volatile sig_atomic_t lsb; /* of the part that is lost: 2^lsb bytes */
};

/*
 * Installs the handler for this process; a signal handler has no other way to
 * its data than a global, so there can be one guest in a process. `views` is
 * borrowed until trap_fini(). 0 or -errno.
 */
int trap_init(const struct views *views);
void trap_fini(void);

/* Where records go: the monitor's socket, or -1. Any thread. */
void trap_report_to(int sock);

/* The calling thread runs this vCPU from now on (NULL: none any more). */
void trap_thread(struct trap *t);

#endif
