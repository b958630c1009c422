/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_NUMA_LOANS_H
#define CELLVISOR_NUMA_LOANS_H

/*
 * The loan book of one cell: memory that it lent to guests of other cells, and
 * that it borrowed for its own. Pure: times, peers and messages come in, actions
 * go out. docs/loans.md is the specification.
 *
 * Every loan is one line in two books, the lender's and the borrower's, under one
 * id. The lender enters it before the borrower hears of it, and strikes it after
 * the borrower has stopped using it; so at every moment what a borrower holds is
 * in its lender's book, and when no message is on its way both books agree. A
 * message that is lost is repeated, one that comes twice or late changes nothing.
 *
 * Feed it (all functions that take now_ns), and after every such call take out
 * what is to be done with loans_next() until that returns false. One thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One unit is VNUMA_UNIT_BYTES of memory. */
#define LOANS_CELLS_MAX 1024u
#define LOANS_UNITS_MAX (1ull << 40)
#define LOANS_NODES_MAX 64u

/* One line. Equal in both books but for `state`. */
struct loan {
	uint64_t id; /* of the borrower: its life in the upper half, a count in the lower */
	uint64_t units;
	uint32_t lender_born, borrower_born; /* see struct member_cfg */
	uint32_t guest;			     /* the borrower's number for it */
	uint32_t os_node;		     /* the lender's node */
	uint16_t lender, borrower;
	uint8_t state; /* enum loan_state */
};

enum loan_state {
	LOAN_FREE,	/* no line: only inside the book */
	LOAN_ASKED,	/* borrower: not granted yet */
	LOAN_HELD,	/* borrower: the guest may use it */
	LOAN_RETURNING, /* borrower: not used any more, the lender may not know yet */
	LOAN_LENT,	/* lender */
	LOAN_OVER,	/* no line any more, but not reported yet: only inside the book */
};

struct loans_cfg {
	uint16_t self, cell_count;
	/*
	 * As in struct member_cfg. With born < incarnation this monitor replaces
	 * another: the book is unknown, and is put together from what guests and peers
	 * say (loans_claim(), loans_claimed()). Until then nothing is asked or granted.
	 */
	uint32_t incarnation, born;
	uint32_t line_max;	   /* more lines are refused */
	uint32_t peer_line_max;	   /* the same, for lines with one cell */
	uint64_t retry_ns;	   /* what is not answered is repeated after this */
	uint64_t patience_ns;	   /* an unanswered request is given up after this */
	uint64_t lend_above_units; /* so much of a node stays free when lending */
};

struct loans; /* lies in memory of the caller */

/* Bytes needed: about 64 per line and 32 per cell. */
size_t loans_bytes(uint16_t cell_count, uint32_t line_max);

/*
 * Begins an empty book in `memory` (loans_bytes() of it, aligned for uint64_t,
 * borrowed; there is nothing to free). NULL if *cfg contradicts itself.
 */
struct loans *loans_start(void *memory, const struct loans_cfg *cfg, uint64_t now_ns);

/*
 * A guest that a replacing monitor adopts says that it holds this loan; so whoever
 * records loans for guests strikes them there before loans_return(). False if it
 * can't be true, if all claims are in already, or if the book is full.
 */
bool loans_claim(struct loans *l, const struct loan *line);
/* All guests have said what they hold; a loan that none claimed is returned. */
void loans_claimed(struct loans *l, uint64_t now_ns);

/*
 * What of its own node this cell doesn't need for guests of its own, loans not
 * subtracted. False beyond LOANS_NODES_MAX nodes.
 */
bool loans_offer(struct loans *l, uint32_t os_node, uint64_t units);

/*
 * What the agreed view says of a cell; a monitor that replaces another lends and
 * borrows nothing before it has been told of every cell. A new life of a live one: its book has to
 * be compared. Dead, or born anew: all lines with it are struck; to be called only
 * after it is fenced (MEMBER_DROP_LOANS), since its guests may write until then.
 */
void loans_peer(struct loans *l, uint64_t now_ns, uint16_t cell, uint32_t incarnation,
	uint32_t born, bool live);

/* While a recovery goes on nothing is asked for or granted; returns go on. */
void loans_suspend(struct loans *l, uint64_t now_ns, bool suspended);

/*
 * Asks `lender` for memory of its node, or of any if os_node is NODE_NONE. The
 * answer is an action, LOANS_GRANTED or LOANS_REFUSED, with the id that this
 * returns; 0 if it can't be asked (dead, suspended, not compared yet, book full).
 */
uint64_t loans_ask(struct loans *l, uint64_t now_ns, uint32_t guest, uint16_t lender,
	uint32_t os_node, uint64_t units);

/* The guest uses no more than `keep` units of a loan that is held. 0: it ends. */
void loans_return(struct loans *l, uint64_t now_ns, uint64_t id, uint64_t keep);

/* Asks the borrower for `units` of a loan back. It may take its time, or not be able to. */
void loans_recall(struct loans *l, uint64_t now_ns, uint16_t borrower, uint64_t id, uint64_t units);

enum loan_op {
	LOAN_OP_REQUEST = 1, /* borrower: os_node, units */
	LOAN_OP_GRANT,	     /* lender: os_node, units, maybe fewer than asked for */
	LOAN_OP_REFUSE,	     /* lender */
	LOAN_OP_RETURN,	     /* borrower: units are kept */
	LOAN_OP_RETURNED,    /* lender: it is in my book */
	LOAN_OP_RECALL,	     /* lender: units are wanted back */
	LOAN_OP_TELL,	     /* I replace another monitor: which lines do we share? */
	LOAN_OP_LINE,	     /* one of them */
	LOAN_OP_TOLD,	     /* that was all: `units` lines */
	LOAN_OP_END,
};

/* A message between two books. */
struct loan_msg {
	uint16_t op;
	/*
	 * `state` is 0. In TELL and TOLD id, guest and os_node are 0 too, and the
	 * sender counts as the lender.
	 */
	struct loan line;
	uint32_t serial; /* of a TELL, and of the LINEs and the TOLD that answer it; else 0 */
	uint32_t answer; /* of LINE and TOLD: counts the sender's answers; else 0 */
};

#define LOAN_MSG_BYTES 48u

/* Little-endian, fixed layout. */
void loan_encode(const struct loan_msg *msg, uint8_t body[LOAN_MSG_BYTES]);

/* False, with *msg untouched, for what no book would send. */
bool loan_decode(uint16_t op, const void *body, size_t body_bytes, struct loan_msg *msg);

enum loans_recv {
	LOANS_RECV_OK,
	LOANS_RECV_REPLY, /* send *reply back; may get lost */
	LOANS_RECV_LATE,  /* of a life, a birth or a loan that is over: nothing changed */
	LOANS_RECV_BAD,	  /* can't be true, fail the sender's link: nothing changed */
};

/* A decoded message of the present life of a live peer. */
enum loans_recv loans_recv(struct loans *l, uint64_t now_ns, uint16_t from,
	const struct loan_msg *msg, struct loan_msg *reply);

void loans_tick(struct loans *l, uint64_t now_ns);
/* When loans_tick() is needed; UINT64_MAX: never. */
uint64_t loans_due(const struct loans *l);

enum loans_action_kind {
	LOANS_SEND,	/* msg, to cell; may get lost */
	LOANS_GRANTED,	/* line: record the guest's need of the lender, then use it */
	LOANS_REFUSED,	/* line: not granted, or not in time; its units are what was asked */
	LOANS_RECALLED, /* line: the lender wants `units` of it back */
	LOANS_STRUCK,	/* line: the other cell died; if it was the lender, so does the guest */
};

struct loans_action {
	enum loans_action_kind kind;
	uint16_t cell;
	struct loan_msg msg;
	struct loan line;
	uint64_t units;
};

/* Takes out the next thing to do; false: nothing now. */
bool loans_next(struct loans *l, struct loans_action *out);

/* Units of a node that are lent; of all nodes if os_node is NODE_NONE. */
uint64_t loans_lent(const struct loans *l, uint32_t os_node);

/* Units borrowed of `lender` (0xffff: of all), for `guest` (UINT32_MAX: for all). */
uint64_t loans_borrowed(const struct loans *l, uint16_t lender, uint32_t guest);

/* The lines one after the other: the first at or after `from`, which is set to the one behind it.
 */
const struct loan *loans_line(const struct loans *l, uint32_t *from);

/* Has the book been compared with this live peer's? */
bool loans_agreed(const struct loans *l, uint16_t cell);

/* Checks what must hold in every state; NULL, or in words what does not. */
const char *loans_check(const struct loans *l);

#endif
