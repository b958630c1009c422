/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_NUMA_LOANS_IMPL_H
#define CELLVISOR_NUMA_LOANS_IMPL_H

/* Inside of the loan book; for loans*.c. */

#include "numa/check.h"
#include "numa/loans.h"

enum line_todo {
	TODO_SEND = 1u << 0,	/* ASKED: REQUEST; RETURNING and HELD: RETURN; at due_ns */
	TODO_RECALL = 1u << 1,	/* lender: RECALL, once */
	TODO_GRANTED = 1u << 2, /* actions for the owner of the book */
	TODO_REFUSED = 1u << 3,
	TODO_RECALLED = 1u << 4,
	TODO_STRUCK = 1u << 5,
};

struct line {
	struct loan loan;
	uint64_t due_ns, give_up_ns;
	uint64_t wanted; /* units of a recall */
	uint32_t todo;
	uint32_t confirmed; /* the number of the other side's answer that had it, too */
};

struct peer {
	uint32_t incarnation, born; /* 0: not heard of */
	bool known;		    /* the view has said whether it lives */
	bool live;
	bool agreed;  /* it has told all lines that it shares with this book */
	bool telling; /* it wants to know our lines: from line `tell_at` on */
	uint32_t tell_at, told, tell_serial;
	uint32_t answers; /* of ours so far */
	uint32_t serial;  /* of our TELL */
	uint64_t due_ns;  /* TELL, while not agreed */
	uint64_t highest; /* id that it asked for */
};

struct offer {
	uint32_t os_node;
	uint64_t units;
};

struct loans {
	struct loans_cfg cfg;
	uint64_t now_ns;
	uint32_t last_id;
	uint32_t cursor; /* where loans_next() goes on */
	bool suspended, claimed;
	uint32_t offer_count;
	struct offer offers[LOANS_NODES_MAX];
	struct peer *peers; /* [cfg.cell_count] */
	struct line *lines; /* [cfg.line_max] */
};

static inline bool line_counts(const struct line *line)
{
	return line->loan.state != LOAN_FREE && line->loan.state != LOAN_OVER;
}

static inline uint16_t other_side(const struct loans *l, const struct loan *loan)
{
	return loan->lender == l->cfg.self ? loan->borrower : loan->lender;
}

/* Has it something to say that may be said now? */
static inline bool line_speaks(const struct loans *l, const struct line *line)
{
	return line->todo & TODO_SEND && l->peers[other_side(l, &line->loan)].agreed &&
	       !(l->suspended && line->loan.state == LOAN_ASKED);
}

/* The line of this borrower and id; NULL if there is none. */
struct line *loans_find(struct loans *l, uint16_t borrower, uint64_t id);

/* A free line, filled with *loan; NULL if the book is full, or has enough lines with that cell. */
struct line *loans_enter(struct loans *l, const struct loan *loan);

/* May something be asked or granted now? Not before the book is known. */
bool loans_settled(const struct loans *l);

/* Units of this node that may be lent now. */
uint64_t loans_room(const struct loans *l, uint32_t os_node);

/* Says again what has to be said of this line, from now on. */
void loans_say(struct loans *l, struct line *line);

#endif
