/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_KEEPER_H
#define CELLVISOR_MONITOR_CELL_KEEPER_H

/*
 * Keeps the guest processes of one cell: starts them, hears from them, notices
 * their end by pidfd, adopts those that an earlier life of the monitor started.
 * Owns the cell's guest book. One thread; never blocks; what a guest process
 * sends is judged before it is believed.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "monitor/cell/guests.h"
#include "monitor/cell/loop.h"
#include "monitor/cell/plan.h"
#include "monitor/err.h"
#include "monitor/guest/home.h"
#include "monitor/guest/spec.h"

struct keeper;

/* The control group of a cell's guest is KEEPER_GROUP/cell-N/NAME. */
#define KEEPER_GROUP "cellvisor"

/* What the control group of a guest with so much memory may take: also for all that is not RAM. */
uint64_t keeper_memory_max(uint64_t memory_bytes);

struct keeper_events {
	/* Something worth an entry in the log; `name` is kebab-case. */
	void (*event)(void *ctx, const struct guest *g, const char *name, const char *cause);
	/* The book differs from what peers were told. */
	void (*changed)(void *ctx);
	/*
	 * The guest's process has introduced itself to this monitor, its record is filled in.
	 * `ledger` is what it keeps, NULL if there is nothing. May be NULL.
	 */
	void (*registered)(void *ctx, const struct guest *g, const struct guest_spec *spec,
		const struct guest_home *home, const json_t *ledger);
	void *ctx;
};

struct keeper_cfg {
	struct loop *loop; /* borrowed */
	const char *dir;   /* runtime directory, borrowed */
	uint32_t cell;
	const struct plan *plan; /* borrowed */
	int exe_fd;		 /* the cell's copy of the executable, borrowed */
	bool cgroups;		 /* hold each guest by a control group as well */
	bool newborn;		 /* no guest of an earlier life of this cell goes on */
	struct keeper_events events;
};

/* Listens on guests.sock. 0 or -errno with *e. *out is freed by keeper_close(). */
int keeper_open(struct keeper **out, const struct keeper_cfg *cfg, struct err *e);
/* Guest processes go on and will look for a new monitor. */
void keeper_close(struct keeper *k);

/* The cell's own guests; borrowed, changed only by the keeper. */
const struct guest_book *keeper_book(const struct keeper *k);

/*
 * The end of something that took time: *g is NULL if there is no record, *e NULL
 * on success. Called exactly once, never from within the call that began it.
 */
typedef void keeper_done(void *ctx, const struct guest *g, const struct err *e);

/*
 * Starts a guest. `done` tells of success when the guest's vCPUs may run, or of
 * the error that the guest process found (then nothing of it is left). -errno
 * with *e: refused at once, `done` is not called.
 */
int keeper_start(struct keeper *k, const struct guest_spec *spec, const struct guest_home *home,
	uint64_t deadline_ns, keeper_done *done, void *ctx, struct err *e);

/* Presses the power button; done when the guest has ended, or at the deadline. */
int keeper_stop(struct keeper *k, const char *name, uint64_t deadline_ns, keeper_done *done,
	void *ctx, struct err *e);

/* Ends the guest process; done when it has ended, or at the deadline. */
int keeper_kill(struct keeper *k, const char *name, const char *cause, uint64_t deadline_ns,
	keeper_done *done, void *ctx, struct err *e);

/* Kills a guest because a cell that it needed is dead; nobody waits. */
void keeper_lose(struct keeper *k, const char *name, const char *cause);

/* Why a guest needs a cell other than its home. */
enum keeper_need {
	KEEPER_NEED_MEMORY, /* it uses memory of that cell */
	KEEPER_NEED_CPU,    /* a vCPU of it runs on a CPU of that cell */
	KEEPER_NEED_MOVE,   /* it came from there, and that cell may still have it in its book */
	KEEPER_NEED_COUNT,
};

/*
 * The cells that a live guest needs for this reason, in place of those before; its
 * home may be among them. What the record says it needs is the home and the
 * union over all reasons. To be called before what is needed is used, and again
 * only after it is not used any more. Nothing happens if there is no such guest.
 */
void keeper_need(struct keeper *k, const char *name, enum keeper_need why, const uint32_t *cells,
	uint32_t count);

/* Where the memory of a live guest lies now, or may: nodes ascending, at most GUEST_NODES_MAX. */
void keeper_place(struct keeper *k, const char *name, const uint32_t *nodes, const uint64_t *bytes,
	uint32_t count);

/*
 * Has the guest process keep a ledger (stolen) for later lives of this monitor, in
 * place of the one before; sent again until it has been taken. keeper_kept():
 * a later life will see it.
 */
void keeper_keep(struct keeper *k, const char *name, json_t *ledger);
bool keeper_kept(const struct keeper *k, const char *name);

/* The RAM of a live guest: a descriptor of the caller's own, or -ENOENT or another -errno. */
int keeper_ram(const struct keeper *k, const char *name);

/*
 * How a live guest was placed when it started or came here; borrowed. NULL: there is no such guest,
 * or it has not registered.
 */
const struct guest_home *keeper_home(const struct keeper *k, const char *name);

/* --- moving to another cell: docs/moving.md --- */

/*
 * Tells the guest process its new home, and what it keeps from then on (stolen). 0; -errno: it has
 * not been told.
 */
int keeper_rehome(
	struct keeper *k, const char *name, const struct guest_home *home, json_t *ledger);

/* Is the process of this live guest connected to this monitor? */
bool keeper_attached(const struct keeper *k, const char *name);

/* Drops the record of a live guest that has another home now; its process goes on. */
void keeper_let_go(struct keeper *k, const char *name, const char *cause);

/* Has the guest's process find the monitor of `cell`, wherever the guest's folder is. */
void keeper_show_door(const struct keeper *k, const char *name, uint32_t cell);

/* Takes the folder of a guest that came from cell `from`, if it is still there. */
void keeper_take_folder(const struct keeper *k, const char *name, uint32_t from);

/* Is there a live guest that needs other cells and has not registered with this life yet? */
bool keeper_awaits(const struct keeper *k);

/*
 * Asks the guest process for its details; done with them in `details` (borrowed),
 * NULL if it does not tell before the deadline. May be called at once.
 */
typedef void keeper_details(void *ctx, const json_t *details);
void keeper_ask(
	struct keeper *k, const char *name, uint64_t deadline_ns, keeper_details *done, void *ctx);

/*
 * What a peer remembers of this cell's guests from the time of an earlier life:
 * records of ended ones are taken up; live ones are watched until they register,
 * and reported if they are gone. `row` is borrowed.
 */
void keeper_remember(struct keeper *k, const struct guest *row);

/* Drops the record of an ended guest, if there is one. */
void keeper_forget(struct keeper *k, const char *name);

/* Deadlines. The next one, UINT64_MAX if there is none. */
void keeper_tick(struct keeper *k, uint64_t now_ns);
uint64_t keeper_next_ns(const struct keeper *k);

#endif
