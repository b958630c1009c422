/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_LENDING_INTERNAL_H
#define CELLVISOR_MONITOR_CELL_LENDING_INTERNAL_H

/* Shared by the files of lending alone. */

#include "monitor/cell/lending.h"
#include "monitor/cell/mover.h"
#include "monitor/cell/state.h"
#include "numa/loans.h"
#include "numa/ram_layout.h"

#define HOLDS_MAX 32u
#define RECALLS_MAX 64u

/* A loan that a guest uses, as its ledger has it. */
struct hold {
	struct loan line;
	bool asked_for;	       /* by an operator: it stays until it is given back */
	uint64_t wanted_units; /* the lender wants so many back */
};

enum lend_kind {
	LEND_BORROW, /* to a lender's node */
	LEND_RETURN, /* home */
	LEND_SETTLE, /* to where the ledger has it: a former life may have ended in between */
};

enum lend_stage {
	LEND_LOOK, /* asks all cells what they have free */
	LEND_ASK,  /* the lender was asked */
	LEND_KEEP, /* peers are to know the need and the process the loan, before it is used */
	LEND_MOVE,
	LEND_STRIKE, /* ... to strike it, before the lender hears of it */
};

/* What is done with a guest's memory just now. */
struct lend_op {
	struct monitor *m;
	struct borrower *b;
	enum lend_kind kind;
	enum lend_stage stage;
	bool asked_for, whole; /* whole: fewer units are of no use */
	bool everywhere;       /* also what is on nodes of third cells */
	uint32_t from_node;    /* own node to relieve, NODE_NONE: any */
	uint64_t id, units, keep;
	struct ram_piece pieces[MOVER_PIECES_MAX];
	uint32_t piece_count;
	struct mover_job *job;
	uint64_t begun_ns, asked_ns;
	struct lending_report report;
	lending_done *done; /* NULL: nobody waits */
	void *ctx;
};

/* A live guest of this cell that may need others. */
struct borrower {
	char name[SPEC_NAME_MAX + 1];
	struct proc_id proc;
	uint32_t number; /* in the loan book */
	uint32_t cells_max;
	struct ram_layout layout;
	struct hold holds[HOLDS_MAX];
	uint32_t hold_count;
	struct lend_op *op; /* owned; NULL: at rest */
	bool moving;	    /* to another cell: nothing else is done with its memory */
	bool settle;	    /* its pages have to be compared with the layout */
	uint64_t retry_ns;  /* nothing is begun for it by itself before */
	uint32_t failures;  /* in a row: each makes the next attempt later */
	struct borrower *next;
};

/* A guest that waits for the memory that it starts with. */
struct lend_start {
	struct guest_spec spec;
	struct guest_home home;
	uint32_t number; /* that it will have in the loan book */
	uint64_t deadline_ns;
	struct loan asked[MACHINE_NODES_MAX]; /* state LOAN_ASKED, _HELD; LOAN_FREE: refused */
	uint32_t asked_count;
	struct err e; /* code EXIT_OK: none was refused */
	keeper_done *done;
	void *ctx;
	struct lend_start *next;
};

struct recall {
	uint64_t id, units, until_ns;
	uint16_t borrower; /* with id 0: free */
	uint32_t os_node;
};

struct lending {
	struct loans *book;
	void *memory; /* owned */
	uint32_t born;
	struct mover *mover;
	struct borrower *borrowers; /* owned */
	struct lend_start *starts;  /* owned */
	struct recall recalls[RECALLS_MAX];
	uint32_t next_number;
	uint64_t look_ns, claim_ns; /* UINT64_MAX: all claims are in */
	uint32_t lives[CELLS_MAX];  /* which the book was told of; 0: none that lives */
	bool cgroups, resumed;	    /* a view has resumed once in this life */
};

/* --- lending_guest.c --- */

struct borrower *borrower_find(const struct monitor *m, const char *name);
/* Enters a live guest; its layout is that of `home`. NULL if that is not known by node. */
struct borrower *borrower_add(struct monitor *m, const struct guest *g,
	const struct guest_spec *spec, const struct guest_home *home);
struct hold *borrower_hold(struct borrower *b, uint64_t id);
void borrower_drop_hold(struct borrower *b, uint64_t id);
/* Ended guests give everything back. */
void borrowers_tidy(struct monitor *m);
/* Writes down needs and nodes in the record, as they are now, or may be during the move. */
void borrower_record(struct monitor *m, const struct borrower *b);
/* Is nothing done with its memory, and may something be begun? */
bool borrower_rests(const struct monitor *m, const struct borrower *b, uint64_t now_ns);
/* The cells that it needs, this one among them. */
uint32_t borrower_needs(const struct monitor *m, const struct borrower *b, bool needs[CELLS_MAX]);

/* Pure: the ledger as JSON and back (in `b`: layout, holds, number). False: it can't be true. */
json_t *ledger_encode(const struct borrower *b);
bool ledger_decode(const json_t *ledger, struct borrower *b);

/* --- lending_move.c --- */

/* The book's answer to what was asked with this id. False: no move waits for it. */
bool move_granted(struct monitor *m, const struct loan *line);
bool move_refused(struct monitor *m, const struct loan *line);
/* Goes on with what waited for the guest process. */
void moves_turn(struct monitor *m);

struct move_request {
	uint32_t lender;      /* or LENDING_ANY */
	uint32_t node;	      /* own node to relieve, or to fill; NODE_NONE: any */
	uint32_t lender_node; /* NODE_NONE: any of the lender's */
	uint64_t units;
	bool asked_for, whole, everywhere;
	lending_done *done;
	void *ctx;
};
/* 0 or -errno with *e; then `done` is not called. */
int move_borrow(struct monitor *m, struct borrower *b, const struct move_request *r, struct err *e);
int move_return(struct monitor *m, struct borrower *b, struct hold *h, const struct move_request *r,
	struct err *e);
void move_settle(struct monitor *m, struct borrower *b);

/* --- lending_start.c --- */

bool start_granted(struct monitor *m, const struct loan *line);
bool start_refused(struct monitor *m, const struct loan *line);
void start_struck(struct monitor *m, const struct loan *line);

/* --- lending.c --- */

/* Does what the book wants done. After every call that feeds it. */
void lending_pump(struct monitor *m);
/* Is this loan in the book and usable? */
bool lending_held(const struct monitor *m, uint64_t id);

#endif
