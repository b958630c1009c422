/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_KEEPER_INTERNAL_H
#define CELLVISOR_MONITOR_CELL_KEEPER_INTERNAL_H

/* Shared by the keeper's files alone. */

#include "monitor/cell/keeper.h"
#include "monitor/guest/report.h"

#define NEWCOMERS_MAX 32u

enum waiter_kind {
	WAITER_START,
	WAITER_END, /* stop and kill */
	WAITER_SHOW,
};

/* Someone waits for something of a guest, until a deadline. */
struct waiter {
	enum waiter_kind kind;
	uint64_t deadline_ns;
	struct err late; /* what the deadline means */
	keeper_done *done;
	keeper_details *details;
	void *ctx;
	struct waiter *next;
};

/*
 * One guest that has not ended, and its process. The book's record is freed only
 * after the link.
 */
struct guest_link {
	struct keeper *k;
	struct guest *g;
	struct watch chan_watch, pid_watch;
	int chan, pidfd; /* owned; chan is -1 while the guest looks for us */
	int ram_fd;	 /* owned; keeps the guest's RAM over a crash of its process */
	/* How it ended, as far as it or we said so before it did. */
	bool told, killed;
	enum guest_state told_state;
	char told_cause[GUEST_CAUSE_BYTES];
	struct err start_error;
	uint32_t memory_events; /* recorded */
	struct waiter *waiters; /* owned */
	json_t *ledger;		/* owned; NULL: none */
	bool ledger_waits;	/* the process has not taken it yet */
	bool heard;		/* started by this life, or registered with it */
	/* When it is asked next whether it answers, and since when it owes an answer (0: it does
	 * not). */
	uint64_t ping_ns, asked_ns;
	struct guest_home *home; /* owned; NULL: not known */
	uint64_t door_ns; /* its process is not connected: at this time it is shown the door */
	/* What it needs besides its home, by reason: cells below SPEC_CELLS_MAX. */
	bool needs[KEEPER_NEED_COUNT][SPEC_CELLS_MAX];
	struct guest_link *next;
};

/* A connection to guests.sock that has not registered. */
struct newcomer {
	struct keeper *k;
	int fd; /* owned; -1: free */
	uint64_t deadline_ns;
	struct watch watch;
};

struct keeper {
	struct keeper_cfg cfg;
	char dir[RUNTIME_DIR_MAX + 1];
	struct guest_book book;
	struct guest_link *links; /* owned */
	int listen_fd;
	struct watch listen_watch;
	struct newcomer newcomers[NEWCOMERS_MAX];
};

double keeper_wall_clock(void);
uint64_t keeper_clock_ns(void);

struct guest_link *keeper_find_link(const struct keeper *k, const char *name);

/* A link for `g`, in the list. `pidfd` is given away. NULL: out of descriptors. */
struct guest_link *keeper_link(struct keeper *k, struct guest *g, int pidfd);

/* Takes up a socket to the guest process (given away). 0 or -errno. */
int keeper_link_chan(struct guest_link *l, int fd);

/* An order without a body. 0; -EAGAIN if the process does not read, or another -errno. */
int keeper_order(struct guest_link *l, enum guest_order_op op);

/* A report of the process, decoded and borrowed; `fd` is given away (-1: none). */
void keeper_link_report(struct guest_link *l, const struct guest_report *r, int fd);

/* Lets go of a guest: its process goes on. */
void keeper_link_free(struct guest_link *l);

/* Sends the ledger if that is still to be done and can be. */
void keeper_push_ledger(struct guest_link *l);

void keeper_changed(struct keeper *k);
void keeper_event(struct keeper *k, const struct guest *g, const char *name, const char *cause);

/* keeper_adopt.c */
int keeper_listen(struct keeper *k, struct err *e);
void keeper_unlisten(struct keeper *k);
/* Puts guests.sock into the folder of a guest, which is all that its process can see. */
void keeper_open_door(const struct keeper *k, const char *name);
void keeper_newcomers_tick(struct keeper *k, uint64_t now_ns);
uint64_t keeper_newcomers_next_ns(const struct keeper *k);

/* keeper_move.c: those that look for their monitor, once they have for long. */
void keeper_doors_tick(struct keeper *k, uint64_t now_ns);
uint64_t keeper_doors_next_ns(const struct keeper *k);
/* Keeps a copy of how it is placed. */
void keeper_link_home(struct guest_link *l, const struct guest_home *home);

/* Fills in what a record says from spec and home. */
void keeper_fill(struct guest *g, const struct guest_spec *spec, const struct guest_home *home);

#endif
