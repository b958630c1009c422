/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/wire_hello.h"

#include <stdbool.h>
#include <string.h>

#include "faultcontain/crc32c.h"

#define HELLO_REV 1u
#define PREFIX_BYTES 16u

static uint32_t hello_crc(const struct wire_hello *h)
{
	return crc32c(0, h, offsetof(struct wire_hello, crc32c));
}

void wire_hello_seal(struct wire_hello *h)
{
	h->magic = WIRE_HELLO_MAGIC;
	h->rev = HELLO_REV;
	h->hello_bytes = sizeof(*h);
	h->crc32c = hello_crc(h);
}

static bool power_of_two(uint32_t x)
{
	return x && !(x & (x - 1));
}

static bool well_formed(const struct wire_hello *h)
{
	bool offers_ring = h->kind == WIRE_HELLO_OFFER || h->kind == WIRE_HELLO_ACCEPT;

	if (h->kind < WIRE_HELLO_OFFER || h->kind > WIRE_HELLO_KNOCK || h->reserved)
		return false;
	if (h->incarnation == 0 || h->pid == 0 || h->pid > INT32_MAX)
		return false;
	if (!offers_ring && h->ring_bytes)
		return false;
	if (h->kind == WIRE_HELLO_REFUSE)
		return h->refusal > WIRE_HELLO_OK && h->refusal < WIRE_REFUSAL_COUNT;
	return h->refusal == 0 && (h->known_incarnation == 0 || h->kind == WIRE_HELLO_OFFER);
}

static bool right_direction(const struct wire_hello *h, uint16_t self)
{
	switch (h->kind) {
	case WIRE_HELLO_OFFER:
		return h->src_cell > self;
	case WIRE_HELLO_ACCEPT:
		return h->src_cell < self;
	case WIRE_HELLO_KNOCK:
		return h->src_cell < self;
	default:
		return true;
	}
}

enum wire_refusal wire_hello_judge(const void *bytes, size_t count,
	const struct wire_hello_expect *expect, struct wire_hello *h)
{
	memset(h, 0, sizeof(*h));
	if (count < PREFIX_BYTES)
		return WIRE_HELLO_MALFORMED;
	memcpy(h, bytes, PREFIX_BYTES);
	if (h->magic != WIRE_HELLO_MAGIC)
		return WIRE_HELLO_MALFORMED;
	if (h->rev != HELLO_REV)
		return WIRE_HELLO_REV;
	if (count != sizeof(*h) || h->hello_bytes != sizeof(*h))
		return WIRE_HELLO_MALFORMED;
	memcpy(h, bytes, sizeof(*h));
	if (h->crc32c != hello_crc(h) || !well_formed(h))
		return WIRE_HELLO_MALFORMED;
	if (h->src_cell >= expect->cell_count || h->src_cell == expect->self_cell)
		return WIRE_HELLO_SRC;
	if (expect->peer_cell != WIRE_HELLO_ANY_CELL && h->src_cell != expect->peer_cell)
		return WIRE_HELLO_SRC;
	if (h->dst_cell != expect->self_cell)
		return WIRE_HELLO_DST;
	if (!right_direction(h, expect->self_cell))
		return WIRE_HELLO_DIRECTION;
	if (h->incarnation < expect->min_incarnation[h->src_cell] ||
		(h->kind == WIRE_HELLO_OFFER && h->known_incarnation > expect->self_incarnation))
		return WIRE_HELLO_STALE;
	if (h->kind == WIRE_HELLO_REFUSE || h->kind == WIRE_HELLO_KNOCK)
		return WIRE_HELLO_OK;
	if (!power_of_two(h->ring_bytes) || h->ring_bytes < expect->ring_bytes_min ||
		h->ring_bytes > expect->ring_bytes_max)
		return WIRE_HELLO_RING;
	return WIRE_HELLO_OK;
}

const char *wire_refusal_text(enum wire_refusal why)
{
	static const char *const texts[WIRE_REFUSAL_COUNT] = {
		[WIRE_HELLO_OK] = "accepted",
		[WIRE_HELLO_MALFORMED] = "malformed hello",
		[WIRE_HELLO_REV] = "another revision of the protocol",
		[WIRE_HELLO_SRC] = "not from the cell expected",
		[WIRE_HELLO_DST] = "meant for another cell",
		[WIRE_HELLO_DIRECTION] = "the wrong side connects",
		[WIRE_HELLO_STALE] = "an earlier life of the cell",
		[WIRE_HELLO_RING] = "its ring is not usable",
		[WIRE_HELLO_IDENTITY] = "not the process it says it is",
	};

	return why < WIRE_REFUSAL_COUNT ? texts[why] : "unknown";
}
