/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_GUEST_CONTROL_H
#define CELLVISOR_MONITOR_GUEST_CONTROL_H

/*
 * The guest's line to its cell monitor (report.h): survives the monitor. In the
 * event loop's thread; never waits, except for last words.
 */

#include "monitor/guest/reactor.h"
#include "monitor/guest/report.h"

#include <stdbool.h>

struct control_env {
	/* ORDER_STOP, _KILL or _SHOW came. */
	void (*order)(void *ctx, enum guest_order_op op);
	/*
	 * ORDER_REHOME came: take this home on. false: it is not one for this guest, and nothing
	 * changes.
	 */
	bool (*rehome)(void *ctx, const struct guest_home *home);
	/* Fill in a register message, all but `op`. */
	void (*describe)(void *ctx, struct guest_report *r);
	/* Fill in REPORT_MEMORY_ERROR with the next one to be told; false if there is none. */
	bool (*next_error)(void *ctx, struct guest_report *r);
	/* The monitor has got it. */
	void (*error_told)(void *ctx, const struct guest_report *r);
	void *ctx;  /* borrowed */
	int ram_fd; /* borrowed; sent along */
};

struct control {
	struct reactor *reactor; /* borrowed */
	struct control_env env;
	char path[108]; /* of guests.sock */
	int sock;	/* owned; -1 while there is no monitor */
	struct reactor_watch watch;
	int timer_fd; /* owned */
	struct reactor_watch timer_watch;
	/* The monitor has not taken it yet; later states replace it. */
	bool state_waits;
	struct guest_report *state; /* owned */
	json_t *ledger;		    /* owned; of the last ORDER_KEEP, for the next monitor */
	bool errors_wait;
};

/*
 * Talks over `sock` (given away, but closed only by a monitor that ends, or by
 * control_fini(); on failure the caller's). `path` is where to find a later
 * monitor. 0, or a negative errno with *e.
 */
int control_init(struct control *c, struct reactor *r, int sock, const char *path,
	const struct control_env *env, struct err *e);
void control_fini(struct control *c);

/* Tells the monitor, now or when it listens again. */
void control_state(struct control *c, enum report_state state, const char *cause, uint64_t reboots);

/* There is news for next_error(): tells the monitor, now or when it listens again. */
void control_errors(struct control *c);

/* Sends REPORT_STARTED. */
void control_started(struct control *c, const struct guest_report *r);

/* Answers ORDER_SHOW; `shown` is borrowed. Lost if the monitor doesn't read. */
void control_shown(struct control *c, json_t *shown);

/* Before the end: up to `ms` milliseconds to get the last state across. */
void control_last_words(struct control *c, int ms);

#endif
