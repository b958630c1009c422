/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_GUEST_VCPU_H
#define CELLVISOR_MONITOR_GUEST_VCPU_H

/*
 * The vCPUs of a guest: a pinned thread "vcpuN" each, that runs the vCPU and
 * hands its accesses to the buses. They run and stop together, in phases that
 * one other thread, the owner, directs.
 */

#include "monitor/device/bus.h"
#include "monitor/err.h"
#include "monitor/guest/lost_pages.h"
#include "monitor/guest/plan.h"
#include "monitor/guest/trap.h"
#include "monitor/guest/view.h"
#include "monitor/kvm/vcpu.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define VCPU_CAUSE_BYTES 160u

enum vcpu_event {
	VCPU_RESET,	/* reset register, or triple fault */
	VCPU_POWER_OFF, /* S5 */
	VCPU_FAILED,	/* it can't go on */
};

struct vcpu_env {
	/*
	 * A vCPU stopped by itself and waits for vcpus_resume(). Called in its
	 * thread; must not wait for anything. `cause` is in words, borrowed.
	 */
	void (*event)(void *ctx, uint32_t index, enum vcpu_event event, const char *cause);
	void *ctx;
	struct bus *pio, *mmio;	 /* borrowed */
	struct lost_pages *lost; /* borrowed */
};

/* A machine check that waits for its vCPU's thread; KVM wants it raised from there. */
struct vcpu_mail {
	bool bystander;	       /* part of another one's broadcast */
	struct memory_error m; /* else: what to tell of; not used yet */
};

struct vcpu {
	struct vcpus *all;
	uint32_t index;
	struct view *view;   /* borrowed */
	struct cpu_set cpus; /* host CPUs */
	struct kvm_vcpu kvm;
	struct kvm_vcpu_state *initial; /* owned; before the guest ran */
	pthread_t thread;
	pid_t tid;
	struct trap trap;
	bool halted; /* stopped by itself; of its thread, under the lock while parked */
	atomic_bool has_mail;
	struct vcpu_mail mail; /* under the lock */
	_Atomic uint64_t exits;
};

enum vcpu_phase {
	VCPUS_PAUSED,
	VCPUS_RUNNING,
	VCPUS_ENDED,
};

struct vcpus {
	struct vcpu_env env;
	const struct views *views; /* borrowed */
	struct vcpu *items;	   /* owned */
	uint32_t count, threads;
	pthread_mutex_t lock;
	pthread_cond_t moved; /* phase, or number of parked threads */
	_Atomic enum vcpu_phase phase;
	uint32_t parked;
};

/* Makes the vCPUs, without threads. 0, or a negative errno with *e. */
int vcpus_init(struct vcpus *v, const struct kvm_system *system, struct views *views,
	const struct guest_plan *plan, const struct vcpu_env *env, struct err *e);

/* After vcpus_end(), or without vcpus_start(). */
void vcpus_fini(struct vcpus *v);

/* Starts the threads; they are paused. 0, or a negative errno with *e, and no thread is left. */
int vcpus_start(struct vcpus *v, struct err *e);

/*
 * Tells the guest of a lost page that nobody has used yet: by its boot CPU. Dropped if that one has
 * another to tell of, or can't be told; the page is still lost then to whoever uses it. Any
 * thread.
 */
void vcpus_tell(struct vcpus *v, const struct memory_error *m);

/* All that follows: one thread, the owner. */

void vcpus_resume(struct vcpus *v);

/*
 * Returns when no vCPU runs and what they last began at a device is complete.
 * Takes as long as the slowest device handler or page fault.
 */
void vcpus_pause(struct vcpus *v);

/*
 * Ends the threads, from any phase. Waits at most `ms` milliseconds: a thread
 * may hang in the kernel when its CPU or memory is gone. false if one does: then
 * only the end of the process is left.
 */
bool vcpus_end(struct vcpus *v, int ms);

/* While paused: all vCPUs as before the guest ran, and the boot CPU at this entry. 0 or -errno. */
int vcpus_reset(struct vcpus *v, const struct kvm_entry *entry);

#endif
