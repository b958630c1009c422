/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_LENDING_H
#define CELLVISOR_MONITOR_CELL_LENDING_H

/*
 * Memory lent to guests of other cells and borrowed for own ones: owns this cell's
 * loan book (numa/loans.h) and carries out what it and the policy decide.
 * docs/loans.md says in which order, and why.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "faultcontain/cellset.h"
#include "monitor/cell/keeper.h"
#include "monitor/err.h"
#include "numa/cells.h"

struct monitor;

/* Any lender: the policy chooses. */
#define LENDING_ANY 0xffffffffu

/* `born` as in recovery_open(). 0 or -errno with *e. */
int lending_open(struct monitor *m, uint64_t born, struct err *e);
void lending_close(struct monitor *m);

/* A CELL_OP_LOAN of this life of a peer. */
void lending_message(
	struct monitor *m, uint32_t cell, uint64_t incarnation, const void *body, size_t bytes);

/* MEMBER_DROP_LOANS: these cells are dead and fenced. */
void lending_drop(struct monitor *m, const struct cellset *dead);
/* MEMBER_RESUMED: what the view says of every cell counts from now on. */
void lending_resumed(struct monitor *m);

/* As struct keeper_events has it. */
void lending_registered(struct monitor *m, const struct guest *g, const struct guest_spec *spec,
	const struct guest_home *home, const json_t *ledger);

/* Once per turn of the loop. */
void lending_turn(struct monitor *m, uint64_t now_ns);
uint64_t lending_due(const struct monitor *m, uint64_t now_ns);

/* Bytes of a node (the operating system's number) that are lent. */
uint64_t lending_lent(const struct monitor *m, uint32_t os_node);

/*
 * keeper_start(), after the memory that `home` has on nodes of other cells was borrowed of
 * them. If one of them refuses, `done` is told so, and nothing stays borrowed.
 */
int lending_start(struct monitor *m, const struct guest_spec *spec, const struct guest_home *home,
	uint64_t deadline_ns, keeper_done *done, void *ctx, struct err *e);

/* What a loan, or its return, came to. */
struct lending_report {
	uint32_t lender, os_node;
	uint64_t bytes;
	uint64_t pages; /* of them present, and moved */
	uint64_t ask_ns, move_ns, total_ns;
};

/* *e is NULL on success. Called exactly once, never from within the call that began it. */
typedef void lending_done(void *ctx, const struct lending_report *r, const struct err *e);

/*
 * Borrows `bytes` (a multiple of 2 MiB) for a running guest and moves so much of its memory there.
 * It stays until lending_give_back() or a recall. -errno with *e: refused at once, `done` is not
 * called.
 */
int lending_borrow(struct monitor *m, const char *name, uint32_t lender, uint64_t bytes,
	lending_done *done, void *ctx, struct err *e);

/*
 * Moves what one loan of this lender (or LENDING_ANY) holds back to its home, and ends the loan.
 * -ENOENT with *e: there is none.
 */
int lending_give_back(struct monitor *m, const char *name, uint32_t lender, lending_done *done,
	void *ctx, struct err *e);

/* --- for a guest that moves to another cell: lending_whole.c --- */

/*
 * The memory of a live guest is the mover's alone until lending_whole_end(). -errno with *e: it is
 * just being moved otherwise, or on which node it lies is not known.
 */
int lending_whole_begin(struct monitor *m, const char *name, struct err *e);
void lending_whole_end(struct monitor *m, const char *name);
/* Bytes of its RAM that are not on nodes of this cell. */
uint64_t lending_whole_left(const struct monitor *m, const char *name, uint32_t cell);
/* Borrows so much of this node of the lender, and moves what is on no node of the lender there. */
int lending_whole_part(struct monitor *m, const char *name, uint32_t lender, uint32_t os_node,
	uint64_t bytes, lending_done *done, void *ctx, struct err *e);
/* As lending_give_back(): one loan of `lender`, or of any but `except`. -ENOENT: there is none. */
int lending_whole_return(struct monitor *m, const char *name, uint32_t lender, uint32_t except,
	lending_done *done, void *ctx, struct err *e);
/* Its memory, as the plan of a home; by node only if the ranges are few enough. */
void lending_whole_home(const struct monitor *m, const char *name, struct guest_home *home);
/* What its process is to keep for its new home: a new reference. */
json_t *lending_whole_ledger(const struct monitor *m, const char *name);

/* Bytes that this cell lends, and by cell how far others' memory is: from its nearest CPUs. */
uint64_t lending_all_lent(const struct monitor *m);
void lending_distances(const struct monitor *m, uint8_t distance[CELLS_MAX]);
/* Wants all that it lends back, if it did not want it a moment ago. */
void lending_recall_all(struct monitor *m);

/* Its part of the ledger, see ledger.h; an empty object if there is none. A new reference. */
json_t *lending_ledger(const struct monitor *m, const char *name);

/* "lent_bytes", "borrowed_bytes" and "loans" of this cell, for listings. Added to *row. */
void lending_describe(const struct monitor *m, json_t *row);

#endif
