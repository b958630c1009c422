/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_MEMBER_IMPL_H
#define CELLVISOR_FAULTCONTAIN_MEMBER_IMPL_H

/*
 * The state behind member.h, shared by member*.c and looked at by tests and the
 * simulator. Nobody else includes this.
 */

#include "faultcontain/member.h"
#include "faultcontain/member_table.h"
#include "faultcontain/member_wire.h"

/* What is done about a cell that is silent. */
enum watch {
	WATCH_OK,
	WATCH_ASKED,	  /* evidence has been asked for */
	WATCH_ACCUSED,	  /* separate kernels: others have been asked */
	WATCH_RESTARTING, /* a new monitor has been started or is about to be */
};

enum peer_flag {
	PEER_HEARD = 1u << 0,	  /* its current life has spoken */
	PEER_VIEWED = 1u << 1,	  /* ... and has a view */
	PEER_LINK_LOST = 1u << 2, /* link went down, nothing heard since */
	PEER_GONE = 1u << 3,	  /* its process is gone */
	PEER_DEAF = 1u << 4,	  /* is heard, but does not answer in a round */
	PEER_SUSPECTED = 1u << 5, /* the silence has been announced */
	PEER_PROVEN = 1u << 6,	  /* dead by the word of hardware */
	PEER_UNFENCED = 1u << 7,  /* a fence failed and must be tried again */
	PEER_WATCHES = 1u << 8,	  /* it expects heartbeats of this cell */
};

/* Things to do about one cell, in the order in which they are taken out. */
enum todo {
	TODO_EVENT_SUSPECT = 1u << 0,
	TODO_EVENT_HEARD = 1u << 1,
	TODO_DEAD = 1u << 2,
	TODO_FENCE = 1u << 3,
	TODO_EVENT_JOINED = 1u << 4,
	TODO_EVENT_RESTARTED = 1u << 5,
	TODO_GATHER = 1u << 6,
	TODO_RESTART = 1u << 7,
};

/* Things to do that concern no single cell. */
enum todo_self {
	TODO_VIEW = 1u << 0,
	TODO_ABORT_CALLS = 1u << 1,
	TODO_DROP_LOANS = 1u << 2,
	TODO_END_GUESTS = 1u << 3,
	TODO_RESUMED = 1u << 4,
};

struct peer {
	uint64_t heard_ns;	 /* when it last spoke, or we began to watch it */
	uint64_t asked_ns;	 /* when `watch` became what it is */
	uint64_t hold_ns;	 /* no further restart before */
	uint64_t refused;	 /* its ballot that is answered with ANSWER_LATER */
	uint64_t witness_number; /* its accusation that is answered */
	uint32_t claimed;	 /* highest life known to be claimed, spoken or not */
	uint32_t fence_life;
	uint32_t fence_born; /* of the highest boot that is to be fenced */
	uint16_t outbox;     /* bit op - MEMBER_OP_HEARTBEAT: send it */
	uint16_t confirms;   /* ACCUSED: cells that do not hear it, this one included */
	uint16_t flags;	     /* enum peer_flag */
	uint8_t watch, todo, evidence;
	uint8_t backoff; /* restarts in a row */
	bool confirmed_by_lowest;
};

/* How far this cell is with the recovery of its view. */
enum step {
	STEP_FENCE, /* waits for fences */
	STEP_END,   /* waits for guests to end */
	STEP_READY, /* waits for the others */
	STEP_RESUMED,
};

enum lead {
	LEAD_NONE,
	LEAD_PROPOSING, /* waits for answers */
	LEAD_COMMITTED, /* waits for READY */
};

struct membership {
	struct member_cfg cfg;
	uint64_t now_ns, ticked_ns, beat_ns, retry_ns, retry_step_ns;
	uint64_t *known; /* merged from everyone; what this cell would propose */
	uint64_t *view;	 /* agreed as `epoch` */
	uint64_t *offer; /* the proposal of `promised`, once it is known */
	struct peer *peers;
	uint8_t *scratch; /* body of the message being sent */

	uint64_t promised;  /* highest ballot seen: lower ones are refused */
	uint64_t epoch;	    /* ballot of the view; 0: joining */
	uint64_t resumed;   /* highest epoch whose barrier was passed */
	uint64_t active_ns; /* when `promised` last made progress, as seen here */
	bool offered;	    /* `offer` is that of `promised` */

	enum lead lead;
	uint64_t lead_ns;
	struct cellset waiting;	  /* LEAD_*: cells that have not answered / are not ready */
	struct cellset unreached; /* of those, cells not known to have the message */

	enum step step;
	struct cellset dead;	 /* cells whose death this view's recovery handles */
	struct cellset unfenced; /* of those, the ones not fenced yet */
	bool unended;		 /* STEP_END: it failed, and must be tried again */

	struct cellset watched;
	bool alone;	/* above MEMBER_MESH_MAX: no hub speaks, so it watches everyone */
	uint16_t rotor; /* joining, above MEMBER_MESH_MAX: where to knock next */

	uint64_t accuse_number; /* of the accusation that is open */
	uint64_t accuse_ns;
	struct cellset accused, witnesses;

	uint32_t todo;
	struct cellset todo_cells, outbox_cells;
	bool stopped, stop_told;
};

static inline uint64_t member_own_word(const struct membership *m)
{
	return word_make(m->cfg.born, m->cfg.incarnation);
}

static inline bool peer_has(const struct peer *p, enum peer_flag flag)
{
	return (p->flags & flag) != 0;
}

static inline void peer_set(struct peer *p, enum peer_flag flag)
{
	p->flags = (uint16_t)(p->flags | flag);
}

static inline void peer_clear(struct peer *p, unsigned flags)
{
	p->flags = (uint16_t)(p->flags & ~flags);
}

/* member_out.c */
void member_post(struct membership *m, uint16_t cell, enum member_op op);
void member_post_all(struct membership *m, const struct cellset *cells, enum member_op op);
void member_unpost(struct membership *m, uint16_t cell, enum member_op op);
void member_todo(struct membership *m, uint16_t cell, enum todo what);
void member_undo(struct membership *m, uint16_t cell, unsigned what);

/* member_watch.c */
bool member_silent(const struct membership *m, uint16_t cell);
/* Is it live, as far as known, and does it speak? Cells that are not watched are believed to. */
bool member_responsive(const struct membership *m, uint16_t cell);
/*
 * Is this cell the one to act on `about`: the lowest responsive cell but that
 * one? Cells without a view leave it to those with one.
 */
bool member_in_charge(const struct membership *m, uint16_t about);
/* A message of its current life arrived. */
void member_heard(struct membership *m, uint16_t cell);
/* A later life of the cell has become known. */
void member_new_life(struct membership *m, uint16_t cell);
void member_watch_all(struct membership *m);
void member_watch_one(struct membership *m, uint16_t cell);
void member_choose_watched(struct membership *m);
void member_beat(struct membership *m);
void member_condemn(struct membership *m, uint16_t cell, enum member_evidence evidence);

/* member_witness.c: separate kernels only */
void member_accuse(struct membership *m, uint16_t cell);
void member_accuse_tick(struct membership *m);
void member_recv_accuse(struct membership *m, uint16_t from, const struct member_msg *msg);
void member_recv_witness(struct membership *m, uint16_t from, const struct member_msg *msg);
/* May `offer` be committed, given the view before it? */
bool member_quorum(const struct membership *m);
/* Does this cell hear too few of its view to be sure that the others go on with it? */
bool member_cut_off(const struct membership *m);
/* The cells that this one watches and does not hear. */
void member_testimony(const struct membership *m, struct cellset *silent);

/* member_round.c */
/* Something was learnt or time passed: starts or restarts a round, or reports. */
void member_consider(struct membership *m);
void member_arm_retry(struct membership *m);
void member_retry(struct membership *m);
/* Whether a round is due or under way. */
bool member_unsettled(const struct membership *m);
void member_merge(struct membership *m, const struct member_msg *msg);
enum member_recv member_recv_round(
	struct membership *m, uint16_t from, uint32_t life, const struct member_msg *msg);
/* The coordinator itself is ready, or a cell reported so. */
void member_try_resume(struct membership *m);
void member_stop(struct membership *m);

/* member_steps.c */
void member_install(struct membership *m, uint64_t ballot);
void member_step(struct membership *m);
void member_step_retry(struct membership *m);

#endif
