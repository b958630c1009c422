/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_STATE_H
#define CELLVISOR_MONITOR_CELL_STATE_H

/* What a cell monitor is made of; shared by the files of the monitor alone. */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "faultcontain/host/fabric.h"
#include "monitor/cell/events.h"
#include "monitor/cell/gather.h"
#include "monitor/cell/guests.h"
#include "monitor/cell/keeper.h"
#include "monitor/cell/loop.h"
#include "monitor/cell/plan.h"
#include "monitor/cell/replica.h"
#include "monitor/cell/request.h"
#include "monitor/cell/server.h"

/* Operations of cell monitors on the fabric (wire.h: from WIRE_OP_CELL on). */
enum cell_op {
	CELL_OP_REQUEST = WIRE_OP_CELL, /* call: a request of request.h, answered by a reply */
	CELL_OP_GUESTS,			/* message: the sender's guests; see replica.h */
	CELL_OP_REMEMBER,  /* message: the receiver's guests, as the sender knows them */
	CELL_OP_LOAN,	   /* message: between two loan books; see lending.c */
	CELL_OP_CORRECTED, /* message: a corrected memory error; faultcontain/corrected.h */
	CELL_OP_LOAD = WIRE_OP_CELL + 8, /* message: what its CPUs have to run; numa/visits.h */
	CELL_OP_VISIT,			 /* call: a vCPU is to visit, or leaves */
	CELL_OP_VISITS,			 /* message: all visits of the sender's vCPUs here */
};

/* A name that a peer (or this cell) has reserved until its guest started. */
struct reservation {
	char name[SPEC_NAME_MAX + 1]; /* "": free */
	uint32_t cell;
	uint64_t token, until_ns;
};
#define RESERVATIONS_MAX 64u

/* How long a monitor stays after it said that its cell is down, so that the word gets out. */
#define MONITOR_LINGER_NS (500ull * 1000000u)

struct recovery;
struct balancing;
struct lending;
struct restarting;
struct moving;
struct draining;
struct predicting;
struct jobs;

struct monitor {
	char dir[RUNTIME_DIR_MAX + 1];
	uint32_t self;
	uint64_t incarnation;
	struct plan *plan; /* owned */
	int exe_fd, lock_fd, signal_fd;
	struct loop loop;
	struct watch fabric_watch, server_watch, signal_watch;
	struct fabric *fabric;
	struct server *server;
	struct keeper *keeper;
	struct recovery *recovery;     /* membership, and what it decided */
	struct restarting *restarting; /* guests that are started again */
	struct balancing *balancing;   /* where vCPUs run */
	struct lending *lending;       /* memory lent to other cells and borrowed of them */
	struct moving *moving;	       /* guests on their way to other cells */
	struct draining *draining;     /* whether this cell is to be used */
	struct predicting *predicting; /* corrected memory errors */
	struct jobs *jobs;	       /* work that someone follows */
	struct event_log *events;
	struct replica replicas[CELLS_MAX]; /* that of `self` is unused */
	struct replica remembered;	    /* what a peer knows of our former life */
	struct reservation reservations[RESERVATIONS_MAX];
	uint64_t next_token;
	struct gather *gathers; /* questions to cells that are being answered */
	bool tell[CELLS_MAX];	/* this peer does not know the present guests yet */
	/* A later life's list is not whole until a peer said what it remembers, or this time. */
	uint64_t settled_ns;
	bool going_down;  /* guests are being ended; no cell is replaced or examined any more */
	uint64_t exit_ns; /* UINT64_MAX: not yet */
};

uint64_t monitor_now_ns(void);
double monitor_wall(void);

void monitor_event(
	struct monitor *m, uint32_t cell, const char *guest, const char *name, const char *cause);

/* What is known of a cell's guests: its own book, or the replica of a peer's. */
const struct guest_book *monitor_book(const struct monitor *m, uint32_t cell);

/* Drops records of ended guests of this name: of our own, and what is known of dead cells. */
void monitor_forget_ended(struct monitor *m, const char *name);

/*
 * Have all peers that can be told been told of this cell's guests as they are? Before that no
 * guest uses what it has come to need: whoever is left has to know it.
 */
bool monitor_told(const struct monitor *m);

/* --- recovery.c: who is alive --- */

enum cell_state {
	CELL_ALIVE,
	CELL_SUSPECT, /* silent, or without a monitor: being examined or replaced */
	CELL_DEAD,
};
enum cell_state monitor_cell_state(const struct monitor *m, uint32_t cell);
const char *cell_state_name(enum cell_state state);

/* The cells that can be asked now: alive and linked, and this one. */
void monitor_askable(const struct monitor *m, bool cells[CELLS_MAX]);

/* --- serve.c: what this cell answers for itself --- */

/* Takes a request of a peer, or of this monitor itself; `who` gets the answer, maybe later. */
void serve_request(struct monitor *m, const struct asker *who, const json_t *request);

/* --- serve_loans.c --- */

/* REQUEST_CELL_BORROW and _GIVE_BACK. */
void serve_loan(struct monitor *m, const struct asker *who, const struct request *r);

/* --- api.c: what it answers to clients, for all cells --- */

void api_line(void *ctx, struct server_conn who, const char *line, size_t bytes);

#endif
