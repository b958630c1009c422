/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_GUEST_RUN_INTERNAL_H
#define CELLVISOR_MONITOR_GUEST_RUN_INTERNAL_H

/* Shared by run.c and build.c alone. */

#include "monitor/guest/process.h"
#include "monitor/guest/run.h"

struct console_env run_console_env(struct run *r);
struct board_env run_board_env(struct run *r);
struct vcpu_env run_vcpu_env(struct run *r);
struct lost_pages_env run_lost_env(struct run *r);

/* What the guest is loaded by, into `ram`. */
struct boot_args run_boot_args(const struct run *r, const struct ram_map *ram);

/* Watches event_fd and timer_fd. 0 or -errno. */
int run_watch_events(struct run *r);

/*
 * Loads kernel, initrd and tables, and sets all vCPUs to the start. No vCPU
 * runs. 0, or a negative errno with *e.
 */
int run_load(struct run *r, struct err *e);

#endif
