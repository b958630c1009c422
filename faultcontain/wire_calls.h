/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_WIRE_CALLS_H
#define CELLVISOR_FAULTCONTAIN_WIRE_CALLS_H

/*
 * The book of calls that await a reply: request ids, deadlines, aborts. Pure:
 * used by the fabric on real machines and by the simulator. A reply is matched
 * by id AND by the cell and life it was asked of, so late, repeated and forged
 * replies match nothing.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_CALL_NONE UINT32_MAX

struct wire_call {
	uint64_t req_id; /* 0: this slot is free */
	uint64_t deadline_ns;
	uint64_t cell_incarnation;
	uint16_t cell;
	uint16_t op;
};

struct wire_calls {
	struct wire_call *slots; /* borrowed, `slot_count` of them */
	uint32_t slot_count, open_count;
	uint64_t next_serial;
	uint64_t late; /* replies that matched no open call */
};

/* `slots` is borrowed until the book is dropped. At most 65536 slots. */
void wire_calls_init(struct wire_calls *book, struct wire_call *slots, uint32_t slot_count);

/*
 * Opens a call and returns its slot, or WIRE_CALL_NONE if all are in use. Its
 * request id (slots[slot].req_id) is never 0 and not used again in this life.
 */
uint32_t wire_calls_open(struct wire_calls *book, uint16_t cell, uint64_t cell_incarnation,
	uint16_t op, uint64_t deadline_ns);

/*
 * The slot of the open call that this reply answers, or WIRE_CALL_NONE (which
 * is counted as late). The call stays open until wire_calls_close().
 */
uint32_t wire_calls_match(
	struct wire_calls *book, uint16_t from, uint64_t incarnation, uint16_t op, uint64_t req_id);

/* Frees an open slot. */
void wire_calls_close(struct wire_calls *book, uint32_t slot);

/* Lowest slot whose deadline is at or before `now_ns`, or WIRE_CALL_NONE. */
uint32_t wire_calls_expired(const struct wire_calls *book, uint64_t now_ns);

/* Lowest slot of an open call to `cell`, or WIRE_CALL_NONE. */
uint32_t wire_calls_to(const struct wire_calls *book, uint16_t cell);

/* Earliest deadline of all open calls, UINT64_MAX if there is none. */
uint64_t wire_calls_next_ns(const struct wire_calls *book);

#endif
