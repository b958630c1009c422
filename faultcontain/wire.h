/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_WIRE_H
#define CELLVISOR_FAULTCONTAIN_WIRE_H

/*
 * The format of messages between cells: pure, and the same bytes over any
 * transport. docs/fabric.md has the layout as a table.
 */

#include <stddef.h>
#include <stdint.h>

#define WIRE_MAGIC 0x4c435643u /* "CVCL" */
#define WIRE_REV 1u
#define WIRE_CELLS_MAX 1024u
#define WIRE_BODY_MAX 262144u /* the format's limit; a link's may be lower */
#define WIRE_PREFIX_BYTES 16u

/* Who owns which operation numbers. 0 is never valid. */
enum wire_op_range {
	WIRE_OP_FABRIC = 0x0001, /* .. 0x00ff: the fabric itself */
	WIRE_OP_MEMBER = 0x0100, /* .. 0x01ff: membership and recovery */
	WIRE_OP_CELL = 0x0200,	 /* .. 0x0fff: cell monitors */
	WIRE_OP_END = 0x1000,	 /* first number that is not valid */
};

enum wire_flag {
	WIRE_CALL = 1u << 0,	/* the sender waits for a reply to req_id */
	WIRE_REPLY = 1u << 1,	/* answers the receiver's call req_id */
	WIRE_REFUSED = 1u << 2, /* with WIRE_REPLY: not done, body is empty */
	WIRE_FLAGS_KNOWN = WIRE_CALL | WIRE_REPLY | WIRE_REFUSED,
};

/*
 * "I don't read your revision": a message without body. The operation lies in
 * the frozen prefix, so a peer of any revision understands it.
 */
#define WIRE_OP_REV_REFUSED 0x0001u

/*
 * In front of every message, little-endian. The first WIRE_PREFIX_BYTES are
 * frozen in every revision, so that an incompatible peer can still say whose
 * message it could not read, and refuse politely.
 */
struct wire_hdr {
	uint32_t magic;
	uint16_t rev, hdr_bytes;
	uint32_t body_bytes;
	uint16_t op, src_cell;
	uint64_t src_incarnation; /* the life of the sender; lives count from 1 */
	uint64_t dst_incarnation; /* the life it is meant for */
	uint64_t seq;		  /* counts the messages of one link, from 1 */
	uint64_t req_id;	  /* of a call or reply; 0 in plain messages */
	uint16_t dst_cell;
	uint16_t flags;	 /* enum wire_flag; other bits must be 0 */
	uint32_t crc32c; /* over header (this field 0) and body */
};
_Static_assert(sizeof(struct wire_hdr) == 56, "wire_hdr has padding");
_Static_assert(offsetof(struct wire_hdr, body_bytes) == 8, "frozen prefix moved");
_Static_assert(offsetof(struct wire_hdr, src_cell) + 2 == WIRE_PREFIX_BYTES, "frozen prefix moved");

/* Every way a message can be wrong, in the order of the checks. */
enum wire_outcome {
	WIRE_OK = 0,
	WIRE_SHORT, /* shorter than its own header or body says */
	WIRE_BAD_MAGIC,
	WIRE_BAD_REV, /* another revision: refused politely, prefix is valid */
	WIRE_BAD_HDR_BYTES,
	WIRE_BAD_BODY_BYTES, /* above WIRE_BODY_MAX, or bytes follow the body */
	WIRE_BAD_CRC,
	WIRE_BAD_FLAGS, /* reserved bits, or bits that contradict each other */
	WIRE_BAD_OP,
	WIRE_BAD_REQ_ID,  /* a call or reply without, or a plain message with one */
	WIRE_BAD_SRC,	  /* not a cell of this machine, or not this link's peer */
	WIRE_BAD_DST,	  /* not for this cell */
	WIRE_SRC_STALE,	  /* from an earlier life of the peer */
	WIRE_SRC_UNKNOWN, /* from a later life than the link was set up with */
	WIRE_DST_STALE,	  /* meant for another life of this cell */
	WIRE_REPEATED,	  /* its sequence number has been seen */
	WIRE_OUTCOME_COUNT,
};

/* What to do with it. */
enum wire_verdict {
	WIRE_ACCEPT,
	WIRE_DROP,	/* late or repeated: ignore it, the link is good */
	WIRE_REFUSE,	/* drop it and say so with WIRE_OP_REV_REFUSED */
	WIRE_FAIL_LINK, /* the peer or the memory between can't be trusted */
};

/* What the receiver knows when it judges a message. */
struct wire_expect {
	uint16_t cell_count;
	uint16_t self_cell, peer_cell;
	uint64_t self_incarnation, peer_incarnation;
	uint64_t last_seq; /* highest accepted on this link, 0 at first */
};

/*
 * Fills in magic, rev, hdr_bytes and crc32c of *h for `body` (h->body_bytes
 * bytes; NULL if 0). The caller has set all other fields.
 */
void wire_seal(struct wire_hdr *h, const void *body);

/*
 * Judges `bytes` bytes at `message`: the receiver's private copy, never shared
 * memory. *h is filled as far as it could be read (zeroed before): the prefix
 * from WIRE_BAD_REV on, everything from WIRE_BAD_CRC on. On WIRE_OK *body
 * points into `message`, h->body_bytes long; else it is NULL.
 */
enum wire_outcome wire_judge(const void *message, size_t bytes, const struct wire_expect *expect,
	struct wire_hdr *h, const void **body);

enum wire_verdict wire_verdict(enum wire_outcome outcome);

/* Kebab-case name of an outcome, for statistics and events; never NULL. */
const char *wire_outcome_name(enum wire_outcome outcome);

#endif
