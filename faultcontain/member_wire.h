/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_MEMBER_WIRE_H
#define CELLVISOR_FAULTCONTAIN_MEMBER_WIRE_H

/*
 * The bodies of membership messages. Pure; little-endian, fixed layout, a length
 * per operation and machine size. All that can be judged without the receiver's
 * state is judged here.
 *
 *   HEARTBEAT  u32 born, u32 flags, u64 epoch, u64 leading ballot or 0
 *   REPORT     u64 highest ballot seen, u64 word[cells]
 *   PROPOSE    u64 ballot, u64 word[cells]
 *   COMMIT     u64 ballot, u64 word[cells]
 *   ANSWER     u64 ballot, u64 highest ballot seen, u32 verdict, u32 0, and
 *              u64 word[cells] if the verdict is ANSWER_MORE
 *   READY, RESUME  u64 ballot
 *   STALE      u64 word of the receiver's cell
 *   ACCUSE     u64 number, u64 set[ceil(cells / 64)]
 *   WITNESS    the same number, and the subset that the witness does not hear
 */

#include "faultcontain/member.h"

enum member_beat_flag {
	BEAT_WATCHES = 1u << 0, /* the sender expects heartbeats of the receiver */
	BEAT_KNOWN = BEAT_WATCHES,
};

enum member_answer {
	ANSWER_SAME = 1, /* the proposal is all that I know */
	ANSWER_MORE,	 /* I know more: here */
	ANSWER_LATER,	 /* I have seen a higher ballot */
	ANSWER_END,
};

/* A decoded message, or one to be encoded. Unused fields are 0. */
struct member_msg {
	uint16_t op;
	uint32_t born;
	uint64_t ballot;    /* HEARTBEAT: epoch; STALE: word; ACCUSE, WITNESS: number */
	uint64_t seen;	    /* ANSWER: highest ballot seen; HEARTBEAT: leading */
	uint32_t verdict;   /* enum member_answer; HEARTBEAT: enum member_beat_flag */
	const void *words;  /* encoded words, 8 * cells bytes, maybe unaligned; else NULL */
	struct cellset set; /* ACCUSE, WITNESS */
};

/* The i-th word of msg->words. */
uint64_t member_msg_word(const struct member_msg *msg, uint16_t cell);

/*
 * Encodes into `out` (member_body_max(cells) bytes) and returns the length. For
 * operations with a table `table` holds `cells` words; msg->words is not used.
 */
size_t member_encode(
	uint8_t *out, const struct member_msg *msg, const uint64_t *table, uint16_t cells);

/*
 * Judges and decodes a body; MEMBER_RECV_OK, _BAD_OP, _BAD_SIZE or _BAD_VALUE.
 * msg->words points into `body`.
 */
enum member_recv member_decode(
	struct member_msg *msg, uint16_t op, const void *body, size_t body_bytes, uint16_t cells);

#endif
