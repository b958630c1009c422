/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/host/ring.h"

#include <stdbool.h>
#include <string.h>

#include "faultcontain/host/careful.h"
#include "numa/check.h"

#define RECORD_ALIGN 8u
/* Told apart from stale bytes by a check that depends on the position. */
#define RECORD_CHECK 0x5245434fu /* "RECO" */

struct record_head {
	uint32_t bytes;
	uint32_t check;
};
_Static_assert(sizeof(struct record_head) == RECORD_ALIGN, "record_head has padding");

static uint32_t record_check(uint32_t bytes, uint64_t position)
{
	return RECORD_CHECK ^ bytes ^ (uint32_t)position ^ (uint32_t)(position >> 32);
}

static uint64_t padded(uint64_t bytes)
{
	return (bytes + RECORD_ALIGN - 1) & ~(uint64_t)(RECORD_ALIGN - 1);
}

static bool size_allowed(uint64_t data_bytes)
{
	return data_bytes >= RING_DATA_MIN && data_bytes <= RING_DATA_MAX &&
	       !(data_bytes & (data_bytes - 1));
}

size_t ring_map_bytes(uint64_t data_bytes)
{
	CHECK(size_allowed(data_bytes));
	return RING_HEAD_BYTES + data_bytes;
}

size_t ring_record_max(uint64_t data_bytes)
{
	CHECK(size_allowed(data_bytes));
	return data_bytes / 4 + RING_HEADROOM;
}

enum ring_outcome ring_create(struct ring_reader *r, void *map, uint64_t data_bytes)
{
	struct ring_layout head = {
		.magic = RING_MAGIC,
		.rev = RING_REV,
		.data_bytes = data_bytes,
		.bell_wanted = 1,
	};

	CHECK(size_allowed(data_bytes));
	*r = (struct ring_reader){
		.layout = map,
		.data = (const uint8_t *)map + RING_HEAD_BYTES,
		.data_bytes = data_bytes,
	};
	return careful_copy(map, &head, sizeof(head)) ? RING_LOST : RING_OK;
}

enum ring_outcome ring_attach(struct ring_writer *w, void *map, size_t map_bytes)
{
	struct ring_layout head;

	CHECK(map_bytes >= RING_HEAD_BYTES);
	if (careful_copy(&head, map, sizeof(head)))
		return RING_LOST;
	if (head.magic != RING_MAGIC || head.rev != RING_REV || !size_allowed(head.data_bytes) ||
		head.data_bytes != map_bytes - RING_HEAD_BYTES || head.head || head.tail)
		return RING_LIE;
	*w = (struct ring_writer){
		.layout = map,
		.data = (uint8_t *)map + RING_HEAD_BYTES,
		.data_bytes = head.data_bytes,
	};
	return RING_OK;
}

/* Copies to position `at`, around the end of the data area if need be. */
static bool put(struct ring_writer *w, uint64_t at, const void *from, size_t bytes)
{
	uint64_t offset = at & (w->data_bytes - 1);
	size_t first = bytes < w->data_bytes - offset ? bytes : w->data_bytes - offset;

	if (careful_copy(w->data + offset, from, first))
		return false;
	return first == bytes ||
	       !careful_copy(w->data, (const uint8_t *)from + first, bytes - first);
}

static bool get(const struct ring_reader *r, uint64_t at, void *to, size_t bytes)
{
	uint64_t offset = at & (r->data_bytes - 1);
	size_t first = bytes < r->data_bytes - offset ? bytes : r->data_bytes - offset;

	if (careful_copy(to, r->data + offset, first))
		return false;
	return first == bytes || !careful_copy((uint8_t *)to + first, r->data, bytes - first);
}

/* Takes over the reader's position if it can be true. */
static enum ring_outcome look_at_tail(struct ring_writer *w)
{
	uint64_t tail;

	if (careful_load64(&tail, &w->layout->tail))
		return RING_LOST;
	/* It moves only forward, and never past what was written. */
	if (tail - w->tail_seen > w->head - w->tail_seen || tail % RECORD_ALIGN)
		return RING_LIE;
	w->tail_seen = tail;
	return RING_OK;
}

enum ring_outcome ring_write(struct ring_writer *w, const void *part0, size_t bytes0,
	const void *part1, size_t bytes1, int *bell)
{
	size_t most = ring_record_max(w->data_bytes);
	struct record_head head;
	enum ring_outcome outcome;
	uint64_t space, wanted;

	*bell = 0;
	if (bytes0 > most || bytes1 > most - bytes0)
		return RING_TOO_BIG;
	space = sizeof(head) + padded(bytes0 + bytes1);
	if (w->data_bytes - (w->head - w->tail_seen) < space) {
		outcome = look_at_tail(w);
		if (outcome != RING_OK)
			return outcome;
		if (w->data_bytes - (w->head - w->tail_seen) < space)
			return RING_FULL;
	}
	head.bytes = (uint32_t)(bytes0 + bytes1);
	head.check = record_check(head.bytes, w->head);
	if (!put(w, w->head, &head, sizeof(head)) ||
		!put(w, w->head + sizeof(head), part0, bytes0) ||
		!put(w, w->head + sizeof(head) + bytes0, part1, bytes1))
		return RING_LOST;
	if (careful_store64(&w->layout->head, w->head + space))
		return RING_LOST;
	w->head += space;
	/* Pairs with the fence of ring_sleep(): either this sees that a bell is wanted, or the
	 * reader sees the new head before it sleeps. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (careful_load64(&wanted, &w->layout->bell_wanted))
		return RING_LOST;
	*bell = wanted != 0;
	return RING_OK;
}

/* How much lies there unread: a multiple of RECORD_ALIGN, at most the whole ring. */
static enum ring_outcome look_at_head(const struct ring_reader *r, uint64_t *unread)
{
	uint64_t head;

	if (careful_load64(&head, &r->layout->head))
		return RING_LOST;
	if (head - r->tail > r->data_bytes || head % RECORD_ALIGN)
		return RING_LIE;
	*unread = head - r->tail;
	return *unread ? RING_OK : RING_EMPTY;
}

enum ring_outcome ring_read(struct ring_reader *r, void *to, size_t room, size_t *bytes)
{
	struct record_head head;
	enum ring_outcome outcome;
	uint64_t unread, space;

	CHECK(room >= ring_record_max(r->data_bytes));
	*bytes = 0;
	outcome = look_at_head(r, &unread);
	if (outcome != RING_OK)
		return outcome;
	if (!get(r, r->tail, &head, sizeof(head)))
		return RING_LOST;
	if (head.check != record_check(head.bytes, r->tail) ||
		head.bytes > ring_record_max(r->data_bytes))
		return RING_LIE;
	space = sizeof(head) + padded(head.bytes);
	if (space > unread)
		return RING_LIE;
	if (!get(r, r->tail + sizeof(head), to, head.bytes))
		return RING_LOST;
	r->tail += space;
	*bytes = head.bytes;
	return careful_store64(&r->layout->tail, r->tail) ? RING_LOST : RING_OK;
}

enum ring_outcome ring_sleep(struct ring_reader *r)
{
	uint64_t unread;

	if (careful_store64(&r->layout->bell_wanted, 1))
		return RING_LOST;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return look_at_head(r, &unread);
}

enum ring_outcome ring_awake(struct ring_reader *r)
{
	return careful_store64(&r->layout->bell_wanted, 0) ? RING_LOST : RING_OK;
}
