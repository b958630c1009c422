/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_MEMBER_H
#define CELLVISOR_FAULTCONTAIN_MEMBER_H

/*
 * Membership and recovery of one cell, as a pure state machine: who is alive,
 * what is done about silence, agreement on the live set, and the order of the
 * steps of a recovery. docs/recovery.md is its specification.
 *
 * Feed it (member_tick, member_recv, member_link, member_evidence, member_done),
 * and after EVERY such call take out what is to be done with member_next() until
 * that returns false. Actions live in the state, not in a queue: none is lost
 * if they are taken out later, and what has become pointless disappears.
 *
 * All times are nanoseconds of one monotonic clock of the caller, `now_ns` never
 * goes back. One thread.
 *
 * Bounds, for n cells of which f fail meanwhile: at most f+1 rounds without
 * message loss; a round sends at most 3 messages to and 2 from each cell but the
 * coordinator, 3(n-1) from it; heartbeats go to all cells up to
 * MEMBER_MESH_MAX, above that to MEMBER_HUBS of them (and from those to all).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "faultcontain/cellset.h"

/* Lives count from 1 to this. */
#define MEMBER_INCARNATION_MAX 0x7fffffffu
/* Up to this many cells everyone watches everyone; above, hubs watch all. */
#define MEMBER_MESH_MAX 64u
#define MEMBER_HUBS 3u

/* Operations of messages (struct wire_hdr.op); their bodies are member_wire.h. */
enum member_op {
	MEMBER_OP_HEARTBEAT = WIRE_OP_MEMBER,
	MEMBER_OP_REPORT,  /* to a coordinator: I know more than the view says */
	MEMBER_OP_PROPOSE, /* coordinator: is this all that you know? */
	MEMBER_OP_ANSWER,  /* yes; or no, there is more; or a later round has begun */
	MEMBER_OP_COMMIT,  /* coordinator: this is the view */
	MEMBER_OP_READY,   /* dead fenced, their loans dropped, guests that needed them ended */
	MEMBER_OP_RESUME,  /* coordinator: all are ready */
	MEMBER_OP_STALE,   /* to a life that is over */
	MEMBER_OP_ACCUSE,  /* separate kernels: do you hear this cell? */
	MEMBER_OP_WITNESS, /* answers it */
	MEMBER_OP_END,
};

/* What counts as proof that a cell is dead. */
enum member_evidence_mode {
	/*
	 * One kernel sees all cells: whether a process is gone and whether a CPU
	 * executes can be found out by any survivor, and counts. The last
	 * survivor goes on alone.
	 */
	MEMBER_ONE_KERNEL,
	/*
	 * Silence and link errors are all there is. A cell is dead when most of
	 * the other live cells miss it too, and a view holds only with a majority
	 * of the cells of the last one (of exactly half, the half with the lowest
	 * cell). Who can't get that, waits; who is told to be dead, stops.
	 * Monitors are restarted by their own kernel's init, not by peers.
	 */
	MEMBER_SEPARATE_KERNELS,
};

struct member_cfg {
	uint16_t self, cell_count;
	/* This life; higher than any earlier one of this cell, never used twice. */
	uint32_t incarnation;
	/*
	 * The first life since the cell was last started afresh: equal to
	 * incarnation when no guest of an earlier life may go on (`up`, repaired
	 * node); lower when this monitor replaces one that died and adopts its
	 * guests (then it comes from MEMBER_RESTART).
	 */
	uint32_t born;
	enum member_evidence_mode evidence_mode;
	uint64_t heartbeat_ns;
	uint64_t suspect_ns;  /* silence after which evidence is gathered; > 2 heartbeats */
	uint64_t evidence_ns; /* evidence not given after this long is asked for again */
	uint64_t restart_ns;  /* a restarted monitor speaks within this time, or is tried again */
	uint64_t retry_ns;    /* unanswered messages of a round are repeated */
};

struct membership; /* lies in memory of the caller */

/* Bytes needed for a machine of this size: about 1400, and 96 per cell. */
size_t member_bytes(uint16_t cell_count);

/*
 * Starts this life in `memory` (member_bytes() of it, aligned for uint64_t,
 * borrowed until it is no longer used; there is nothing to free). NULL if the
 * configuration contradicts itself. The cell is joining until member_epoch()
 * is not 0.
 */
struct membership *member_start(void *memory, const struct member_cfg *cfg, uint64_t now_ns);

/* Lets time pass. Needed at member_due() or earlier; being late is noticed and harmless. */
void member_tick(struct membership *m, uint64_t now_ns);
uint64_t member_due(const struct membership *m);

/* How a message was judged. All but MEMBER_RECV_OK changed nothing. */
enum member_recv {
	MEMBER_RECV_OK,
	MEMBER_RECV_STALE,   /* from a life that is over, or for a round that is: normal */
	MEMBER_RECV_UNKNOWN, /* from a life not introduced by a heartbeat yet: normal */
	/* From here on the sender can't be trusted: fail its link. */
	MEMBER_RECV_BAD_OP,
	MEMBER_RECV_BAD_SENDER, /* no such cell, this cell, or no life */
	MEMBER_RECV_BAD_SIZE,
	MEMBER_RECV_BAD_VALUE,
	MEMBER_RECV_COUNT,
};

/*
 * A message that the fabric accepted: op in WIRE_OP_MEMBER .. MEMBER_OP_END - 1,
 * sender and life as its header says. `body` is a private copy; nothing in it
 * is trusted.
 */
enum member_recv member_recv(struct membership *m, uint64_t now_ns, uint16_t from,
	uint64_t incarnation, uint16_t op, const void *body, size_t body_bytes);

/* Kebab-case; never NULL. */
const char *member_recv_name(enum member_recv how);

/*
 * The fabric's link to a cell came up or went down. Only a hint: up sends a
 * heartbeat at once, down asks for evidence without waiting for silence.
 */
void member_link(
	struct membership *m, uint64_t now_ns, uint16_t cell, uint64_t incarnation, bool up);

enum member_evidence {
	MEMBER_EVIDENCE_NONE,	      /* could not find out; it is asked again */
	MEMBER_EVIDENCE_PROCESS_GONE, /* the monitor of that life has ended: only software died */
	MEMBER_EVIDENCE_CPU_ANSWERS,  /* a CPU of the cell executes: the monitor hangs */
	MEMBER_EVIDENCE_NO_CPU,	      /* no CPU of the cell executes: the cell is dead */
	MEMBER_EVIDENCE_HARDWARE,     /* machine check or fatal link error says the cell is dead */
	MEMBER_EVIDENCE_TOLD,	      /* only in actions: another cell had the evidence */
	MEMBER_EVIDENCE_COUNT,
};

/*
 * Evidence about `cell` in the life `incarnation`: the one MEMBER_GATHER asked
 * about, or a higher one if the machine has that on record (so above all if it
 * asked about 0: no life is known here). PROCESS_GONE and HARDWARE may come
 * unasked; NO_CPU counts only against a cell that is silent now.
 */
void member_evidence(struct membership *m, uint64_t now_ns, uint16_t cell, uint64_t incarnation,
	enum member_evidence kind);

const char *member_evidence_name(enum member_evidence kind);

enum member_action_kind {
	/* Send `body` (valid until the next call) with `op` to `cell`. May get lost. */
	MEMBER_SEND,
	/* Find out about `cell`, life `incarnation`; answer by member_evidence(). */
	MEMBER_GATHER,
	/*
	 * Claim the life `incarnation` of `cell` for good (exclusively, so that no
	 * two lives ever have one number; refused if that life is claimed, or if the
	 * cell was started afresh since `born`), kill what is left of its earlier
	 * monitors (not its guests), start a monitor with this incarnation and
	 * `born` (0: unknown here; what the machine has on record, else the
	 * incarnation, after ending leftovers). Answer by member_done().
	 */
	MEMBER_RESTART,
	/* This life is over (killed by agreement or replaced): end this monitor. */
	MEMBER_STOP_SELF,
	/*
	 * `cell` is dead in all lives up to `incarnation`, the live set without it
	 * is agreed; `evidence` is why, as far as known here. To be logged.
	 */
	MEMBER_CELL_DEAD,
	/*
	 * Kill all that is left of `cell`'s lives up to `incarnation`, and of any
	 * later ones that belong to the boot `born` (started, but never heard of
	 * here): monitors first, so that they start nothing new, then guests.
	 * Lives that are born later are to be left alone. Answer by member_done().
	 */
	MEMBER_FENCE,
	/* The cells `cells` are dead and fenced. Abort the calls to them. */
	MEMBER_ABORT_CALLS,
	/* Drop the loans to and from `cells`. */
	MEMBER_DROP_LOANS,
	/*
	 * End the own guests whose needs include one of `cells`, mark the guests
	 * of `cells` as lost. Answer by member_done() with `epoch`.
	 */
	MEMBER_END_GUESTS,
	/* The live set `cells` is agreed as `epoch`. To be logged. */
	MEMBER_VIEW,
	/* All cells of `epoch` are ready: new calls, loans and starts may go on. */
	MEMBER_RESUMED,
	/* For the log; see enum member_event. */
	MEMBER_EVENT,
	MEMBER_ACTION_COUNT,
};

enum member_event {
	MEMBER_EVENT_SUSPECT,	/* `cell` has been silent for suspect_ns */
	MEMBER_EVENT_HEARD,	/* ... and spoke again: nothing was done */
	MEMBER_EVENT_JOINED,	/* `cell` was admitted with `incarnation`, afresh */
	MEMBER_EVENT_RESTARTED, /* `cell` was admitted with a monitor that adopts its guests */
	MEMBER_EVENT_COUNT,
};

struct member_action {
	enum member_action_kind kind;
	uint16_t cell;
	uint16_t op;
	uint32_t incarnation, born;
	enum member_event event;
	enum member_evidence evidence;
	uint64_t epoch;
	struct cellset cells;
	const void *body;
	size_t body_bytes;
};

/* Takes out the next thing to do, or returns false: nothing now. Unused fields are 0. */
bool member_next(struct membership *m, struct member_action *out);

/* Largest body that this machine's membership sends or accepts. */
size_t member_body_max(uint16_t cell_count);

enum member_result {
	MEMBER_DONE,
	MEMBER_FAILED, /* to be tried again */
	/*
	 * RESTART: the life is claimed already, or the cell was started afresh;
	 * `incarnation` and `born` are those of the highest life claimed. FENCE: the other side has
	 * fenced this cell first; stops this one.
	 */
	MEMBER_REFUSED,
};

/*
 * An action has been carried out. `kind` is MEMBER_RESTART (cell, incarnation),
 * MEMBER_FENCE (cell, incarnation) or MEMBER_END_GUESTS (epoch).
 */
struct member_report {
	enum member_action_kind kind;
	enum member_result result;
	uint16_t cell;
	uint32_t incarnation;
	uint32_t born; /* of a RESTART that was refused; 0: not on record */
	uint64_t epoch;
};
void member_done(struct membership *m, uint64_t now_ns, const struct member_report *report);

/* What this cell thinks of another one (or itself) now. */
enum member_state {
	MEMBER_UNKNOWN, /* never heard of */
	MEMBER_ALIVE,
	MEMBER_SUSPECT,	   /* silent; evidence is being gathered */
	MEMBER_RESTARTING, /* its monitor is being replaced by this cell */
	MEMBER_DEAD,
	MEMBER_STATE_COUNT,
};
enum member_state member_state(const struct membership *m, uint16_t cell);
const char *member_state_name(enum member_state state);

/* The highest life known of a cell, and the first life since it started afresh; 0: none. */
uint32_t member_incarnation(const struct membership *m, uint16_t cell);
uint32_t member_born(const struct membership *m, uint16_t cell);

/*
 * Whether what was got from `cell` when it was `born` is still there, by the
 * agreed view: for guests that a new monitor adopts, and for books.
 */
bool member_holds(const struct membership *m, uint16_t cell, uint32_t born);

/* The agreed view: its epoch (0: still joining), its live set. Higher epochs replace lower ones. */
uint64_t member_epoch(const struct membership *m);
void member_live(const struct membership *m, struct cellset *live);

/*
 * True from the start of a round until it has resumed: start no loans, moves or
 * guests that need other cells. Running guests are not concerned.
 */
bool member_suspended(const struct membership *m);

/* Whether messages between this cell and `cell` are wanted now (for sparse links). */
bool member_wants(const struct membership *m, uint16_t cell);

/*
 * Checks what must hold in every state; NULL, or in words what does not. For
 * tests and the simulator.
 */
const char *member_check(const struct membership *m);

#endif
