/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_GUEST_RUN_H
#define CELLVISOR_MONITOR_GUEST_RUN_H

/*
 * One guest's life in its process: built from what was asked for, started,
 * rebooted, ended. The thread that makes it runs its event loop.
 */

#include "monitor/boot/load.h"
#include "monitor/device/blk_file.h"
#include "monitor/err.h"
#include "monitor/guest/board.h"
#include "monitor/guest/console.h"
#include "monitor/guest/control.h"
#include "monitor/guest/loaded.h"
#include "monitor/guest/lost_pages.h"
#include "monitor/guest/memory.h"
#include "monitor/guest/plan.h"
#include "monitor/guest/reactor.h"
#include "monitor/guest/vcpu.h"
#include "monitor/guest/view.h"
#include "monitor/kvm/system.h"

#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define RUN_FOLDER_BYTES 256

/* What a vCPU said last; the worst one counts. */
struct run_event {
	bool waits;
	enum vcpu_event event;
	char cause[VCPU_CAUSE_BYTES];
};

/* Big: allocate it, zeroed. */
struct run {
	struct guest_spec spec;
	struct guest_home home;
	char folder[RUN_FOLDER_BYTES]; /* the guest's own, which is the current one */
	struct guest_plan plan;
	struct acpi_machine machine; /* of `plan`, for the loader */

	/* What is wanted of the host, judged before anything is made. */
	struct boot_image image;
	struct blk_file files[SPEC_DISKS_MAX];
	uint32_t file_count;
	struct kvm_system system;

	struct guest_memory memory;
	struct views views;
	struct board *board;	 /* owned */
	struct console *console; /* owned */
	struct lost_pages lost;
	struct loaded loaded; /* if spec.heal */
	struct vcpus vcpus;
	struct reactor reactor;
	struct control control;

	int event_fd; /* owned; a vCPU event waits */
	struct reactor_watch event_watch;
	pthread_mutex_t event_lock;
	struct run_event event;
	bool memory_news; /* under event_lock: lost_pages_next() has something */

	int timer_fd; /* owned; a reset or the start waits until then */
	struct reactor_watch timer_watch;
	uint64_t last_reset_ns;
	char reset_cause[VCPU_CAUSE_BYTES];

	uint64_t start_time; /* of this process */
	enum report_state state;
	char cause[REPORT_CAUSE_BYTES];
	uint64_t reboots;
	bool killed;
	bool hangs; /* a thread didn't end: exit, don't run_unbuild() */
};

/*
 * Builds the guest of r->spec at r->home, in r->folder, and loads its kernel; no vCPU runs, no
 * thread exists. Nothing is made before all files have been judged. 0, or a
 * negative errno with *e and nothing left.
 */
int run_build(struct run *r, struct err *e);
void run_unbuild(struct run *r);

/*
 * Starts it, tells the monitor over `sock` (borrowed), and runs until the
 * guest's end, which r->state and r->cause tell. 0, or a negative errno with *e
 * if it could not be started; no vCPU has run then.
 */
int run_go(struct run *r, int sock, struct err *e);

/* Everything worth showing about the guest. A new reference or NULL. */
json_t *run_show(struct run *r);

#endif
