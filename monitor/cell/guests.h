/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_GUESTS_H
#define CELLVISOR_MONITOR_CELL_GUESTS_H

/*
 * The guest book: what a cell monitor knows about guests. It holds one book of
 * its own guests and a replica of every peer's, so that survivors can fence and
 * list what a dead cell had. No system calls; times are seconds since 1970.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "faultcontain/host/proc.h"
#include "monitor/cell/runtime.h"

#define GUESTS_LIVE_MAX 256u /* guests of one cell that have not ended */
#define GUESTS_ENDED_MAX 64u /* records kept of ended ones */
#define GUEST_NODES_MAX 64u
#define GUEST_NEEDS_MAX 64u
#define GUEST_CAUSE_BYTES 200

enum guest_state {
	GUEST_STARTING, /* its process was asked to start */
	GUEST_RUNNING,
	GUEST_STOPPED, /* powered off, stopped or killed on request */
	GUEST_CRASHED, /* its process ended otherwise */
	GUEST_LOST,    /* a cell that it needed died */
	GUEST_STATE_COUNT,
};

struct guest {
	char name[SPEC_NAME_MAX + 1];
	uint32_t home;
	enum guest_state state;
	struct proc_id proc;	       /* pid 0 before the process exists */
	char cause[GUEST_CAUSE_BYTES]; /* why it is in this state, in words */
	bool silent;		       /* it runs, but its process does not answer */
	uint32_t cpus, reboots;
	uint64_t memory_bytes;
	uint32_t nodes[GUEST_NODES_MAX], node_count; /* where it is placed, ascending */
	uint64_t node_bytes[GUEST_NODES_MAX];	     /* how much of its memory on each */
	uint32_t needs[GUEST_NEEDS_MAX], need_count; /* cells, ascending */
	uint64_t memory_errors;			     /* pages lost to them, since its start */
	double started, ended;			     /* 0: not yet */
	json_t *spec;				     /* owned; what was asked for; may be NULL */
};

struct guest_book {
	struct guest *guests[GUESTS_LIVE_MAX + GUESTS_ENDED_MAX + 1]; /* owned, in order of entry */
	size_t count;
};

enum guest_add {
	GUEST_ADDED,
	GUEST_NAME_TAKEN, /* by a guest that has not ended */
	GUEST_BOOK_FULL,
};

void guest_book_fini(struct guest_book *book);

/* NULL if there is none of this name. */
struct guest *guest_book_find(const struct guest_book *book, const char *name);

/*
 * Enters a guest in state GUEST_STARTING; *out is owned by the book. The record
 * of an ended guest of the same name is replaced; beyond GUESTS_ENDED_MAX the
 * longest ended are forgotten. `name` is valid (guest_name_check()).
 */
enum guest_add guest_book_add(
	struct guest_book *book, const char *name, uint32_t home, struct guest **out);

/* Removes and frees it: it never came to life, or lives elsewhere. */
void guest_book_remove(struct guest_book *book, struct guest *g);

/* Number of guests that have not ended, and the memory they take. */
size_t guest_book_live(const struct guest_book *book, uint64_t *memory_bytes);

bool guest_ended(const struct guest *g);

/* Whether it is to be started again after a fault: by its spec, if that is known. */
bool guest_restarts(const struct guest *g);

/* Memory of a node (the operating system's number) that live guests were promised. */
uint64_t guest_book_promised(const struct guest_book *book, uint32_t os_node);

/*
 * Moves *g to `to`; `cause` is kept in words. An ended guest stays what it is, a
 * running one never starts again: then false, and nothing changes. Also false
 * when it is in that state already.
 */
bool guest_move(struct guest *g, enum guest_state to, const char *cause, double now);

/* "running", ...; never NULL. */
const char *guest_state_name(enum guest_state state);

/*
 * The row that peers and `ls` get: everything but the spec, which `with_spec`
 * adds. A new reference.
 */
json_t *guest_row(const struct guest *g, bool with_spec);

/*
 * Reads a row that a peer sent; nothing in it is trusted. false, and *g zeroed,
 * unless every field is there, of its type and within bounds. g->spec is a new
 * reference or NULL.
 */
bool guest_from_row(const json_t *row, struct guest *g);

/* Replaces the content of a replica by `count` guests, whose specs it takes over. */
void guest_book_replace(struct guest_book *book, const struct guest *guests, size_t count);

#endif
