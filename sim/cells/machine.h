/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_SIM_CELLS_MACHINE_H
#define CELLVISOR_SIM_CELLS_MACHINE_H

/* The simulated machine, shared by the files of sim/cells. */

#include <stddef.h>

#include "faultcontain/member.h"
#include "faultcontain/needs.h"
#include "numa/cells.h"
#include "numa/loans.h"
#include "numa/visits.h"
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

/* What a guest takes of its home's memory, in units; a lender keeps room for one more. */
#define GUEST_UNITS 4u
#define LEND_ABOVE_UNITS GUEST_UNITS
#define BORROW_UNITS_MAX 4u
#define HOLDS_MAX 6u
#define VCPUS_MAX 3u

#define NODES_MAX 8u
#define CPUS_PER_NODE 2u
#define CPUS_MAX (NODES_MAX * CPUS_PER_NODE) /* of a cell */

/* Cells lend this far, by their numbers. */
#define REACH 4u
#define WINDOW (2u * REACH + 1u)
#define BALANCE_NS (50 * MS)

/* Operations of messages besides those of membership. */
#define SIM_OP_LOAN WIRE_OP_CELL /* plus enum loan_op */
#define SIM_OP_LOAD (WIRE_OP_CELL + 0x20u)
#define SIM_OP_VISIT (WIRE_OP_CELL + 0x21u)
#define SIM_OP_VISIT_ANSWER (WIRE_OP_CELL + 0x22u)
#define SIM_OP_VISITS (WIRE_OP_CELL + 0x23u)
#define SIM_OP_GUESTS (WIRE_OP_CELL + 0x24u)
#define CALLS_MAX 16u

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
	SITE_CPU_OFF, /* one CPU executes nothing any more */
	SITE_REPAIR,
	SITE_GUEST_CRASH,
	SITE_RING_FULL, /* a peer does not read what it is told of guests */
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
	EV_LATE,    /* PLANT_BARRIER_SKIPPED */
	EV_CLAIMED, /* the guests that a new monitor adopts have said what they hold */
	EV_LOANS,   /* the loan book's clock */
	EV_USE,	    /* a guest's monitor has made borrowed memory usable for it */
	EV_UNUSE,   /* ... has moved it out of borrowed memory */
	EV_BALANCE,
	EV_CALL_LATE, /* a visit was not answered in time */
	EV_THAW,
	EV_CONTINUE, /* a stopped monitor goes on */
	EV_FAULT,    /* the next fault is due */
	EV_GUEST,    /* a guest starts, ends, borrows, returns, has more or less to run */
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
		struct {
			uint64_t id, keep;
		} loan; /* EV_USE, EV_UNUSE; id alone: EV_CALL_LATE */
	};
};

/* A loan as the guest's process has it on record, and what it uses of it. */
struct hold {
	struct loan line;
	uint64_t used;
	bool busy; /* its monitor is about to change that */
};

struct vcpu {
	uint32_t cpu;  /* of the machine, see cpu_number(); or, but in a gang, of its node */
	uint32_t born; /* boot of that CPU's cell when it was put there */
	bool runnable;
	uint64_t moved_ns, idle_since_ns;
	uint32_t home_cpu; /* where it goes when its host lets it go */
};

/* A guest's process, which outlives its monitor, with what it keeps on record for it. */
struct guest {
	bool used, running;
	uint16_t home, node; /* node within the cell that holds its memory */
	uint32_t home_born;
	uint32_t number; /* of this guest, unlike that of any other that had this place */
	uint16_t cells_max, vcpu_count, hold_count;
	bool gang;
	struct hold holds[HOLDS_MAX];
	struct vcpu vcpus[VCPUS_MAX];
	/* What its home's monitor believes. */
	bool in_book;
	struct needs needs;
};

/* The cells that a guest really needs, some perhaps twice. */
#define TRUTH_MAX (1u + HOLDS_MAX + VCPUS_MAX)

/* What a peer was told of a guest. */
struct told_guest {
	uint32_t number;
	uint16_t count; /* 0: it does not run */
	struct need needs[TRUTH_MAX];
};

/* What a cell within reach last said of its memory. */
struct told {
	uint32_t born; /* 0: nothing */
	uint32_t free_units;
};

/* What is known of another cell's CPUs; at its own place, what a cell tells of itself. */
struct peer_cpus {
	bool known;
	bool announce; /* it is to be told which vCPUs visit it */
	struct loads_cpu cpus[CPUS_MAX];
};

/* A call to a host that is open. */
struct visit_call {
	uint64_t req, id; /* req 0: free */
	uint32_t vcpu, cpu;
	uint16_t host;
	bool end;
	char name[VISIT_NAME_BYTES];
};

struct link {
	uint32_t peer_life;  /* the life at the other end; 0: down */
	uint32_t generation; /* of this link: what was sent before is lost with it */
	uint64_t sent, seen; /* sequence numbers */
	uint64_t arrive_ns;  /* of what was sent last */
	bool connecting;
	bool told; /* this peer has been sent the present book of guests */
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
	uint32_t cpus_off; /* bit per CPU */
	/* Of the monitor: its loan book, and what others told it. */
	struct loans *loans;
	uint64_t *peers; /* [cells]: the words that the book has been told */
	uint64_t loans_ns, recalled;
	bool suspended;
	uint16_t refused; /* bit per cell within reach */
	struct told told[WINDOW];
	struct peer_cpus *peer; /* [cells] */
	struct visit_call calls[CALLS_MAX];
	uint32_t own_load[CPUS_MAX];
	uint64_t cpu_busy_ns[CPUS_MAX];
	uint64_t ticks;
};

/* Where a membership lives; what is planted finds its machine through it. */
struct slot {
	struct sim *machine;
	uint64_t membership[];
};

struct agreed {
	uint64_t epoch, hash;
};

struct sim {
	struct sim_cfg cfg;
	struct sim_result *result;
	uint64_t random, now_ns, order, pace;
	bool faults; /* still happening */
	bool busy;   /* guests still come and go */
	uint16_t
		rate[SITE_COUNT]; /* per 1000 hits, or weight among the timed ones; 0: not active */
	struct cell *cells;
	struct link *links;   /* [from * cells + to] */
	struct guest *guests; /* cfg.guests of each cell, in order */
	uint32_t guest_room, guest_number;
	uint32_t node_units; /* memory of a node */
	uint32_t line_max;
	uint8_t *books; /* the cells' loan books, book_bytes apart */
	size_t book_bytes;
	uint64_t *peer_words;
	uint32_t *node_used;	 /* scratch of check_books() */
	struct peer_cpus *peers; /* [cells * cells] */
	bool wide;		 /* vCPUs go to other cells: the layout is the whole machine */
	struct machine layout;	 /* else it is one cell */
	struct cells partition;
	struct visits *visits; /* [cells], if wide; as the next */
	struct visitors *visitors;
	/* [peer * cells + home] guests each: put into the peer's ring; received by it */
	struct told_guest *sent, *heard;
	uint16_t *foreign; /* scratch of a round, as the next two */
	uint64_t *idle_ns;
	uint8_t *round;
	size_t round_room;
	uint8_t *far; /* [2 * cells]: distance by difference of cell numbers */
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
uint64_t sim_draw(struct sim *s, uint64_t below);
/* Whether a fault happens at this site, this time. */
bool sim_hit(struct sim *s, enum site site);
void sim_push(struct sim *s, const struct event *e, uint64_t after_ns);
bool sim_pop(struct sim *s, struct event *e);
void sim_mix(struct sim *s, uint64_t value);
/* The first violation ends the run. */
void sim_violate(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_trace(const struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Grows an array of elements of `size` so that `count` fit; false: no memory. */
bool sim_room(void **array, size_t *room, size_t count, size_t size);

/* net.c */
void net_send(
	struct sim *s, uint16_t from, uint16_t to, uint16_t op, const void *body, size_t bytes);
/* The message is delivered; frees its bytes. */
void net_deliver(struct sim *s, const struct event *e);
void net_connect(struct sim *s, const struct event *e);
/* All links of a process that has ended go down; peers hear of it. */
void net_process_ended(struct sim *s, uint16_t cell);
void net_reset(struct sim *s, uint16_t a, uint16_t b);

/* monitor.c */
/* Is there a monitor that executes? */
bool monitor_acts(const struct sim *s, uint16_t cell);
/* ... and is no recovery going on, as far as it knows? */
bool monitor_serves(const struct sim *s, uint16_t cell);
void monitor_start(struct sim *s, uint16_t cell, uint32_t life, uint32_t born);
/* SIGKILL, or a crash. */
void monitor_kill(struct sim *s, uint16_t cell, const char *why);
/* Takes out and performs what is to be done; checks the state. */
void monitor_drain(struct sim *s, uint16_t cell);
/* It executes again after it was stopped or its CPUs hung. */
void monitor_goes_on(struct sim *s, uint16_t cell);
void monitor_event(struct sim *s, const struct event *e);
/* Claims the next life of a cell and starts it. For init and operators. */
void monitor_launch(struct sim *s, uint16_t cell, bool afresh, uint64_t after_ns);

/* guests.c */
void guests_event(struct sim *s, const struct event *e);
/*
 * The guest ends because the machine ended it; a violation unless a cell that it
 * really needs has failed.
 */
void guest_end(struct sim *s, uint32_t guest, const char *why);
/* It ends by itself, or by the loss of memory that it used. */
void guest_die(struct sim *s, uint32_t guest, const char *why);
void guests_of_boot_end(struct sim *s, uint16_t cell, uint32_t boot, const char *why);
void guests_node_dead(struct sim *s, uint16_t cell, uint16_t node);
/* What a monitor does with its guests in a recovery. */
void guests_end_needing(struct sim *s, uint16_t cell, const struct cellset *dead);
void guests_adopt(struct sim *s, uint16_t cell);
void guests_check_adopted(struct sim *s, uint16_t cell);
/* The monitor looks which of its guests have ended while it did not execute. */
void guests_sweep(struct sim *s, uint16_t cell);
/* Starts a guest at the cell that may need others; guest_room if there is no place for it. */
uint32_t guests_serve(struct sim *s, uint16_t cell);
/* Does it run, in the book of this boot of the cell? */
bool guest_managed(const struct sim *s, const struct guest *g, uint16_t cell);
/* Memory of a node by its cell's book. */
uint32_t guests_units(const struct sim *s, uint16_t cell, uint16_t node);
/* Returns their number. */
uint16_t guest_truth(const struct sim *s, const struct guest *g, struct need truth[TRUTH_MAX]);

/* lending.c */
void lending_start(struct sim *s, uint16_t cell);
/* The agreed view: `fenced` when all that it does not hold is fenced. */
void lending_view(struct sim *s, uint16_t cell, bool fenced);
void lending_suspend(struct sim *s, uint16_t cell);
void lending_message(
	struct sim *s, uint16_t cell, uint16_t from, uint16_t op, const void *body, size_t bytes);
void lending_event(struct sim *s, const struct event *e);
/* What is left for the cell's own guests has changed. */
void lending_offer(struct sim *s, uint16_t cell);
/* Is all known of what it has lent? */
bool lending_known(const struct sim *s, uint16_t cell);
/* Free units of a node by the cell's book. */
uint32_t lending_free(const struct sim *s, uint16_t cell, uint16_t node);
/* Whom the guest could borrow `units` of, or CELLSET_NONE. */
uint16_t lending_pick(const struct sim *s, const struct guest *g, uint64_t units);
bool lending_borrow(struct sim *s, uint32_t guest, uint64_t units);
/* The home has so many units for its guests that are elsewhere. */
void lending_return_some(struct sim *s, uint16_t cell, uint64_t units);
/* A node of the cell is short: asks for what it has lent. */
void lending_recall(struct sim *s, uint16_t cell, uint16_t node, uint64_t units);
/* The guest's process is gone, and its monitor sees it. */
void lending_guest_gone(struct sim *s, uint32_t guest);
/* After loans_*(): carries out what the book wants. */
void lending_drain(struct sim *s, uint16_t cell);

/* balancing.c */
void balancing_start(struct sim *s, uint16_t cell);
void balancing_event(struct sim *s, const struct event *e);
void balancing_message(struct sim *s, uint16_t cell, uint16_t from, const void *body, size_t bytes);
/* Gives the vCPUs of a new guest their first CPUs; false if there are too few for a gang. */
bool balancing_place(struct sim *s, uint32_t guest);
/* The home binds the vCPU to another CPU. */
void balancing_put(struct sim *s, struct guest *g, uint16_t vcpu, uint32_t cpu);
/* Where a vCPU goes whose host has let it go. */
uint32_t balancing_back(struct sim *s, struct guest *g, uint16_t vcpu);
/* Does any CPU execute that the vCPU may use? */
bool balancing_executes(const struct sim *s, const struct guest *g, const struct vcpu *v);

/* visiting.c */
void visiting_start(struct sim *s, uint16_t cell);
void visiting_announce_all(struct sim *s, uint16_t cell);
void visiting_talk(struct sim *s, uint16_t cell);
void visiting_ask(struct sim *s, struct guest *g, uint16_t vcpu, uint32_t cpu);
void visiting_leave(struct sim *s, struct guest *g, uint16_t vcpu, uint32_t cpu);
void visiting_late(struct sim *s, const struct event *e);
void visiting_message(
	struct sim *s, uint16_t cell, uint16_t from, uint16_t op, const void *body, size_t bytes);
void visiting_guest_gone(struct sim *s, const struct guest *g);
void visiting_dead(struct sim *s, uint16_t cell, uint16_t dead);
/* Records what the guest needs by its monitor's books, and no more. */
void visiting_needs(struct sim *s, struct guest *g);
/* Visitors on a CPU of this cell. */
uint32_t visiting_on(const struct sim *s, uint16_t cell, uint32_t cpu);
/* Takes this cell's own visits off what others said of their CPUs. */
void visiting_subtract_own(const struct sim *s, uint16_t cell, uint16_t *foreign);
bool visiting_under_way(const struct sim *s, const struct guest *g, uint16_t vcpu);
bool visiting_settled(struct sim *s, uint16_t cell);

/* telling.c */
void telling_start(struct sim *s, uint16_t cell);
void telling_link_up(struct sim *s, uint16_t cell, uint16_t peer);
/* The cell's guests, or their needs, are not what was told. */
void telling_changed(struct sim *s, uint16_t cell);
/* Tells all that can be told and don't know yet. false: one of them does not read just now. */
bool telling_peers(struct sim *s, uint16_t cell);
/* A book was put into the ring of a peer. */
void telling_sent(struct sim *s, uint16_t from, uint16_t to, const void *body, size_t bytes);
void telling_message(struct sim *s, uint16_t cell, uint16_t from, const void *body, size_t bytes);
/* The guest begins to use a cell: a violation unless all linked peers were told. */
void telling_use_begins(struct sim *s, const struct guest *g, uint16_t cell);
/* Does this cell know what the guests of all others need? */
bool telling_settled(const struct sim *s, uint16_t cell);

static inline uint32_t cpus_per_cell(const struct sim *s)
{
	return s->cfg.nodes * CPUS_PER_NODE;
}

static inline uint32_t cpu_number(const struct sim *s, uint16_t cell, uint32_t cpu)
{
	return (uint32_t)cell * s->cfg.nodes * CPUS_PER_NODE + cpu;
}

static inline uint16_t cell_of_cpu(const struct sim *s, uint32_t cpu)
{
	return (uint16_t)(cpu / (s->cfg.nodes * CPUS_PER_NODE));
}

/* Does this CPU of the cell execute, as far as its own cell knows? */
static inline bool cpu_usable(const struct sim *s, uint16_t cell, uint32_t cpu)
{
	const struct cell *c = &s->cells[cell];

	return !(c->cpus_off >> cpu & 1) && !(c->nodes_dead >> cpu / CPUS_PER_NODE & 1);
}

/* faults.c */
void faults_draw(struct sim *s);
void faults_event(struct sim *s);
void faults_stop(struct sim *s);
void faults_node_dies(struct sim *s, uint16_t cell, uint16_t node);
void faults_init_system(struct sim *s);

/* check.c */
void check_view(struct sim *s, uint16_t cell, const struct member_action *a);
void check_resumed(struct sim *s, uint16_t cell);
/* check_owners.c: promise 4, and what guests need. */
/* Do vCPUs of a gang share a CPU though there are enough in the cells that it needs? */
bool check_gang_shares(const struct sim *s, const struct guest *g);
void check_books(struct sim *s, bool settled);
/* NULL when the machine is whole, else in words what it waits for. */
const char *check_unsettled(struct sim *s);
void check_guests_settled(struct sim *s);
/* Every cell's state, into the trace. */
void check_dump(const struct sim *s);

#endif
