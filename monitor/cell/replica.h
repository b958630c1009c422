/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_REPLICA_H
#define CELLVISOR_MONITOR_CELL_REPLICA_H

/*
 * What every cell knows of every other one's guests: enough to kill and list
 * them when that cell dies, and to tell a new monitor what its former life had.
 * A cell sends its whole book, in parts, at each change and on each new link;
 * the receiver takes a book up when its last part has come.
 *
 * A part: {"first":bool,"last":bool,"guests":[rows of guests.h]}.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "monitor/cell/guests.h"

/* Rows of guests that are restarted carry their spec. */
#define REPLICA_PART_ROWS 4u

struct replica {
	struct guest_book book;
	bool known; /* a book has come */
	/* Parts of a book that is not complete yet. Owned; NULL: none. */
	struct guest *staged;
	size_t staged_count;
};

void replica_fini(struct replica *r);

/*
 * Takes in a part (`bytes` of JSON from a peer, not trusted): rows that claim
 * another home than `cell` and malformed ones make the whole book be refused.
 * 1: the book was replaced; 0: further parts have to come; -EBADMSG: refused.
 */
int replica_take(struct replica *r, uint32_t cell, const void *body, size_t bytes);

/*
 * The i-th part of a book as text (to be freed), or NULL when there are no more.
 * An empty book has one part.
 */
char *replica_part(const struct guest_book *book, size_t i);

#endif
