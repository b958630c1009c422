/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/wire.h"

#include <stdbool.h>
#include <string.h>

#include "faultcontain/crc32c.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the wire format is little-endian");

static uint32_t message_crc(const struct wire_hdr *h, const void *body)
{
	struct wire_hdr plain = *h;

	plain.crc32c = 0;
	return crc32c(crc32c(0, &plain, sizeof(plain)), body, h->body_bytes);
}

void wire_seal(struct wire_hdr *h, const void *body)
{
	h->magic = WIRE_MAGIC;
	h->rev = WIRE_REV;
	h->hdr_bytes = sizeof(*h);
	h->crc32c = message_crc(h, body);
}

static enum wire_outcome judge_kind(const struct wire_hdr *h)
{
	bool call = h->flags & WIRE_CALL, reply = h->flags & WIRE_REPLY;

	if (h->flags & ~WIRE_FLAGS_KNOWN)
		return WIRE_BAD_FLAGS;
	if (call && reply)
		return WIRE_BAD_FLAGS;
	if ((h->flags & WIRE_REFUSED) && (!reply || h->body_bytes))
		return WIRE_BAD_FLAGS;
	if (h->op == 0 || h->op >= WIRE_OP_END)
		return WIRE_BAD_OP;
	if ((call || reply) != (h->req_id != 0))
		return WIRE_BAD_REQ_ID;
	return WIRE_OK;
}

static enum wire_outcome judge_lives(const struct wire_hdr *h, const struct wire_expect *expect)
{
	if (h->src_cell >= expect->cell_count || h->src_cell != expect->peer_cell)
		return WIRE_BAD_SRC;
	if (h->dst_cell != expect->self_cell)
		return WIRE_BAD_DST;
	if (h->src_incarnation < expect->peer_incarnation)
		return WIRE_SRC_STALE;
	if (h->src_incarnation > expect->peer_incarnation)
		return WIRE_SRC_UNKNOWN;
	if (h->dst_incarnation != expect->self_incarnation)
		return WIRE_DST_STALE;
	if (h->seq <= expect->last_seq)
		return WIRE_REPEATED;
	return WIRE_OK;
}

enum wire_outcome wire_judge(const void *message, size_t bytes, const struct wire_expect *expect,
	struct wire_hdr *h, const void **body)
{
	const uint8_t *after = (const uint8_t *)message + sizeof(*h);
	enum wire_outcome outcome;

	*body = NULL;
	memset(h, 0, sizeof(*h));
	if (bytes < WIRE_PREFIX_BYTES)
		return WIRE_SHORT;
	memcpy(h, message, WIRE_PREFIX_BYTES);
	if (h->magic != WIRE_MAGIC)
		return WIRE_BAD_MAGIC;
	if (h->rev != WIRE_REV)
		return WIRE_BAD_REV;
	if (h->hdr_bytes != sizeof(*h))
		return WIRE_BAD_HDR_BYTES;
	if (h->body_bytes > WIRE_BODY_MAX)
		return WIRE_BAD_BODY_BYTES;
	if (bytes < sizeof(*h) + h->body_bytes)
		return WIRE_SHORT;
	if (bytes > sizeof(*h) + h->body_bytes)
		return WIRE_BAD_BODY_BYTES;
	memcpy(h, message, sizeof(*h));
	if (h->crc32c != message_crc(h, after))
		return WIRE_BAD_CRC;
	outcome = judge_kind(h);
	if (outcome == WIRE_OK)
		outcome = judge_lives(h, expect);
	if (outcome == WIRE_OK)
		*body = after;
	return outcome;
}

static const struct {
	const char *name;
	enum wire_verdict verdict;
} outcomes[WIRE_OUTCOME_COUNT] = {
	[WIRE_OK] = { "ok", WIRE_ACCEPT },
	[WIRE_SHORT] = { "short", WIRE_FAIL_LINK },
	[WIRE_BAD_MAGIC] = { "bad-magic", WIRE_FAIL_LINK },
	[WIRE_BAD_REV] = { "bad-revision", WIRE_REFUSE },
	[WIRE_BAD_HDR_BYTES] = { "bad-header-bytes", WIRE_FAIL_LINK },
	[WIRE_BAD_BODY_BYTES] = { "bad-body-bytes", WIRE_FAIL_LINK },
	[WIRE_BAD_CRC] = { "bad-crc", WIRE_FAIL_LINK },
	[WIRE_BAD_FLAGS] = { "bad-flags", WIRE_FAIL_LINK },
	[WIRE_BAD_OP] = { "bad-operation", WIRE_FAIL_LINK },
	[WIRE_BAD_REQ_ID] = { "bad-request-id", WIRE_FAIL_LINK },
	[WIRE_BAD_SRC] = { "bad-source", WIRE_FAIL_LINK },
	[WIRE_BAD_DST] = { "bad-destination", WIRE_FAIL_LINK },
	[WIRE_SRC_STALE] = { "source-stale", WIRE_DROP },
	[WIRE_SRC_UNKNOWN] = { "source-unknown", WIRE_FAIL_LINK },
	[WIRE_DST_STALE] = { "destination-stale", WIRE_DROP },
	[WIRE_REPEATED] = { "repeated", WIRE_DROP },
};

enum wire_verdict wire_verdict(enum wire_outcome outcome)
{
	return outcome < WIRE_OUTCOME_COUNT ? outcomes[outcome].verdict : WIRE_FAIL_LINK;
}

const char *wire_outcome_name(enum wire_outcome outcome)
{
	return outcome < WIRE_OUTCOME_COUNT ? outcomes[outcome].name : "unknown";
}
