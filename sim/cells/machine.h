/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_SIM_CELLS_MACHINE_H
#define CELLVISOR_SIM_CELLS_MACHINE_H

/* The simulated machine, shared by the files of sim/cells. */

#include <stddef.h>

#include "faultcontain/member.h"
#include "faultcontain/needs.h"
#include "sim/cells/sim.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)

/* Times of membership up to 64 cells; five times as long above (`pace`). */
#define HEARTBEAT_NS (20 * MS)
#define SUSPECT_NS (100 * MS)
#define EVIDENCE_NS (40 * MS)
#define RESTART_NS (100 * MS)
#define RETRY_NS (4 * MS)
#define PACE_BIG 5u

/* Memory of a cell, and of what a guest takes at home and in a loan, in units. */
#define CELL_FRAMES 64u
#define GUEST_FRAMES 4u
#define LOAN_FRAMES 2u

/* Where something can go wrong: drawn active per machine, then happens per hit. */
enum site {
	SITE_LOSS,
	SITE_REPEAT,
	SITE_DELAY,
	SITE_DAMAGE,
	SITE_LATE, /* a message outlives the link it was sent on */
	SITE_LINK_RESET,
	SITE_MONITOR_CRASH,
	SITE_MONITOR_HANG,
	SITE_ALL_CRASH,	   /* every monitor at once; a node may be replaced meanwhile */
	SITE_ACTION_CRASH, /* a monitor crashes while it carries out an action */
	SITE_START_CRASH,  /* a new monitor crashes at once */
	SITE_RESTART_FAILS,
	SITE_FENCE_FAILS,
	SITE_END_FAILS,
	SITE_NO_EVIDENCE,
	SITE_NODE_DEATH,
	SITE_NODE_HANG, /* all CPUs of a cell execute nothing, and come back */
	SITE_NODE_SLOW,
	SITE_REPAIR,
	SITE_GUEST_CRASH,
	SITE_COUNT,
};

enum what {
	EV_MESSAGE,
	EV_TICK,
	EV_CONNECT,
	EV_LINK_DOWN,
	EV_EVIDENCE,
	EV_START, /* a claimed life of a monitor begins to run; about: who started it */
	EV_CHILD, /* the monitor that it started has ended */
	EV_DONE,  /* an action has been carried out: `report` */
	EV_FENCE,
	EV_LATE, /* PLANT_BARRIER_SKIPPED */
	EV_THAW,
	EV_CONTINUE, /* a stopped monitor goes on */
	EV_FAULT,    /* the next fault is due */
	EV_GUEST,    /* a guest starts, ends or borrows */
	EV_INIT,     /* the init system looks whether any monitor acts */
};

struct event {
	uint64_t due_ns, order;
	enum what what;
	uint16_t cell, about;	  /* whom it happens to; whom it concerns */
	uint32_t cell_life, life; /* of these; 0: any */
	union {
		struct {
			uint8_t *bytes; /* owned */
			uint32_t count, generation;
			bool admitted; /* has waited for its turn at the receiver */
		} message;
		struct {
			uint32_t born;
			uint32_t starter_life; /* 0: init or an operator started it */
		} start;
		struct member_report report;
		uint32_t born; /* EV_FENCE */
	};
};

struct loan {
	bool live;		     /* the borrowing guest uses the memory */
	bool in_lender, in_borrower; /* whether the books have it */
	uint16_t lender, borrower;
	uint32_t lender_born, borrower_born, guest;
};

struct guest {
	bool used, running, in_book;
	uint16_t home, node; /* node within the cell that holds its memory */
	uint32_t home_born;
	struct needs needs; /* what the monitors believe */
	struct needs truth; /* what really is so */
};

struct link {
	uint32_t peer_life;  /* the life at the other end; 0: down */
	uint32_t generation; /* of this link: what was sent before is lost with it */
	uint64_t sent, seen; /* sequence numbers */
	bool connecting;
};

struct cell {
	uint32_t nodes_dead; /* bit per node */
	bool dead;	     /* all its nodes: nothing executes for good */
	bool hung;	     /* nothing executes now */
	bool slow;
	/* The monitor process. */
	bool running, stopped;
	uint16_t node; /* that holds its memory */
	bool doomed;   /* killed while nothing executes: gone when that ends */
	uint32_t life, born;
	struct membership *m;
	uint64_t tick_ns, busy_ns;
	struct event *backlog; /* owned; what waits while it does not execute */
	size_t waiting, backlog_room;
	/* The machine's record of its lives. */
	uint32_t claimed, boot;
	uint32_t failed_boot; /* boots up to this one have really failed */
	uint32_t fenced_boot; /* on record: boots up to this one were fenced */
	uint32_t fenced;      /* lives up to this one have been killed, begun or not */
	bool out;	      /* has failed and is not repaired */
	struct cellset late;  /* whose guests it still has to end: PLANT_BARRIER_SKIPPED */
	bool admitted;	      /* the present boot has been in a view */
	uint64_t epoch;	      /* of its last view */
	uint32_t messages;    /* but heartbeats, since the measurement began */
	uint64_t resumed_ns;
	uint32_t frames_used, frames_booked;
};

/* Where a membership lives; what is planted finds its machine through it. */
struct slot {
	struct machine *machine;
	uint64_t membership[];
};

struct agreed {
	uint64_t epoch, hash;
};

struct machine {
	struct sim_cfg cfg;
	struct sim_result *result;
	uint64_t random, now_ns, order, pace;
	bool faults; /* still happening */
	bool busy;   /* guests still come and go */
	uint16_t
		rate[SITE_COUNT]; /* per 1000 hits, or weight among the timed ones; 0: not active */
	struct cell *cells;
	struct link *links; /* [from * cells + to] */
	struct guest *guests;
	uint32_t guest_room;
	struct loan *loans;
	uint32_t loan_count, loan_room;
	struct event *heap;
	size_t heap_count, heap_room;
	struct agreed *agreed;
	size_t agreed_count, agreed_room;
	struct slot *slots; /* of all memberships, slot_bytes apart */
	size_t slot_bytes;
	bool measuring;
	uint64_t evidence_ns; /* when the measured recovery began */
	uint64_t last_fault_ns;
	bool books_changed;
};

/* rng and events: machine.c */
uint64_t sim_draw(struct machine *s, uint64_t below);
/* Whether a fault happens at this site, this time. */
bool sim_hit(struct machine *s, enum site site);
void sim_push(struct machine *s, const struct event *e, uint64_t after_ns);
bool sim_pop(struct machine *s, struct event *e);
void sim_mix(struct machine *s, uint64_t value);
/* The first violation ends the run. */
void sim_violate(struct machine *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_trace(const struct machine *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Grows an array of elements of `size` so that `count` fit; false: no memory. */
bool sim_room(void **array, size_t *room, size_t count, size_t size);

/* net.c */
void net_send(
	struct machine *s, uint16_t from, uint16_t to, uint16_t op, const void *body, size_t bytes);
/* The message is delivered; frees its bytes. */
void net_deliver(struct machine *s, const struct event *e);
void net_connect(struct machine *s, const struct event *e);
/* All links of a process that has ended go down; peers hear of it. */
void net_process_ended(struct machine *s, uint16_t cell);
void net_reset(struct machine *s, uint16_t a, uint16_t b);

/* monitor.c */
/* Is there a monitor that executes? */
bool monitor_acts(const struct machine *s, uint16_t cell);
void monitor_start(struct machine *s, uint16_t cell, uint32_t life, uint32_t born);
/* SIGKILL, or a crash. */
void monitor_kill(struct machine *s, uint16_t cell, const char *why);
/* Takes out and performs what is to be done; checks the state. */
void monitor_drain(struct machine *s, uint16_t cell);
/* It executes again after it was stopped or its CPUs hung. */
void monitor_goes_on(struct machine *s, uint16_t cell);
void monitor_event(struct machine *s, const struct event *e);
/* Claims the next life of a cell and starts it. For init and operators. */
void monitor_launch(struct machine *s, uint16_t cell, bool afresh, uint64_t after_ns);

/* guests.c */
void guests_event(struct machine *s, const struct event *e);
/*
 * The guest ends because the machine ended it; a violation unless a cell that it
 * really needs has failed.
 */
void guest_end(struct machine *s, uint32_t guest, const char *why);
/* It ends by itself, or by the loss of memory that it used. */
void guest_die(struct machine *s, uint32_t guest, const char *why);
void guests_of_boot_end(struct machine *s, uint16_t cell, uint32_t boot, const char *why);
void guests_node_dead(struct machine *s, uint16_t cell, uint16_t node);
/* What a monitor does with its guests and books in a recovery. */
void guests_end_needing(struct machine *s, uint16_t cell, const struct cellset *dead);
void guests_drop_loans(struct machine *s, uint16_t cell, const struct cellset *dead);
void guests_adopt(struct machine *s, uint16_t cell);
void guests_check_adopted(struct machine *s, uint16_t cell);
/* After the barrier: all that is not in the view is fenced by now, by whomever. */
void guests_check_loans(struct machine *s, uint16_t cell);
/* The monitor looks which of its guests have ended while it did not execute. */
void guests_sweep(struct machine *s, uint16_t cell);
/* Sums up, for every cell's present boot, what is used and what the books say. */
void guests_count_frames(struct machine *s);
/* Starts a guest at the cell that borrows from another one, if there is one that can lend. */
bool guests_serve(struct machine *s, uint16_t cell);

/* faults.c */
void faults_draw(struct machine *s);
void faults_event(struct machine *s);
void faults_stop(struct machine *s);
void faults_node_dies(struct machine *s, uint16_t cell, uint16_t node);
void faults_init_system(struct machine *s);

/* check.c */
void check_view(struct machine *s, uint16_t cell, const struct member_action *a);
void check_resumed(struct machine *s, uint16_t cell);
void check_books(struct machine *s, bool settled);
/* NULL when the machine is whole, else in words what it waits for. */
const char *check_unsettled(struct machine *s);
void check_guests_settled(struct machine *s);
/* Every cell's state, into the trace. */
void check_dump(const struct machine *s);

#endif
