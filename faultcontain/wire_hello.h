/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_WIRE_HELLO_H
#define CELLVISOR_FAULTCONTAIN_WIRE_HELLO_H

/*
 * How two monitors introduce themselves before the first message. The cell
 * with the higher number connects; each side sends one hello with the ring
 * that the other may write into. Pure: bytes in, judgement out.
 */

#include <stddef.h>
#include <stdint.h>

#define WIRE_HELLO_MAGIC 0x48435643u /* "CVCH" */

enum wire_hello_kind {
	WIRE_HELLO_OFFER = 1,  /* connecting side: here is my ring, give me yours */
	WIRE_HELLO_ACCEPT = 2, /* answer: here is mine */
	WIRE_HELLO_REFUSE = 3, /* answer: no, `refusal` says why */
	WIRE_HELLO_KNOCK = 4,  /* from a lower cell: please connect to me; no answer */
};

/* Little-endian. Prefix of 16 bytes frozen as in wire.h. */
struct wire_hello {
	uint32_t magic;
	uint16_t rev, hello_bytes;
	uint16_t kind, src_cell;
	uint16_t dst_cell;
	uint16_t refusal;     /* enum wire_refusal in a REFUSE, else 0 */
	uint64_t incarnation; /* of the sender */
	uint64_t start_time;  /* of its process, clock ticks since boot (proc(5) field 22) */
	uint32_t pid;
	uint32_t ring_bytes;	    /* data bytes of the ring offered; 0 in REFUSE and KNOCK */
	uint64_t known_incarnation; /* OFFER, REFUSE: lowest life of dst_cell that is accepted */
	uint32_t reserved;	    /* must be 0 */
	uint32_t crc32c;	    /* over all before it */
};
_Static_assert(sizeof(struct wire_hello) == 56, "wire_hello has padding");

/* Why a hello is not accepted; travels in `refusal`. */
enum wire_refusal {
	WIRE_HELLO_OK = 0,
	WIRE_HELLO_MALFORMED, /* length, magic, CRC, reserved bits, kind */
	WIRE_HELLO_REV,	      /* another revision */
	WIRE_HELLO_SRC,	      /* no such cell, or the cell itself */
	WIRE_HELLO_DST,	      /* not meant for this cell */
	WIRE_HELLO_DIRECTION, /* the lower cell offers, or the higher one knocks */
	WIRE_HELLO_STALE,     /* an earlier life than the one known, or one declared dead */
	WIRE_HELLO_RING,      /* ring size out of bounds, or its memory is not as agreed */
	WIRE_HELLO_IDENTITY,  /* uid, pid or start time is not what the kernel says */
	WIRE_REFUSAL_COUNT,
};

struct wire_hello_expect {
	uint16_t cell_count, self_cell;
	uint64_t self_incarnation;
	uint16_t peer_cell; /* the cell that was connected to, or WIRE_HELLO_ANY_CELL */
	const uint64_t *min_incarnation; /* by cell: lowest life that is accepted */
	uint32_t ring_bytes_min, ring_bytes_max;
};
#define WIRE_HELLO_ANY_CELL 0xffffu

/* Fills in magic, rev, hello_bytes and crc32c. */
void wire_hello_seal(struct wire_hello *h);

/*
 * Judges the private copy of a hello. *h is filled (zeroed when too short).
 * Judges neither identity nor the ring's memory: those need the kernel's word.
 * A well-formed REFUSE from the right peer is WIRE_HELLO_OK.
 */
enum wire_refusal wire_hello_judge(const void *bytes, size_t count,
	const struct wire_hello_expect *expect, struct wire_hello *h);

/* In words, what is wrong; never NULL. */
const char *wire_refusal_text(enum wire_refusal why);

#endif
