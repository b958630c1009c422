/* SPDX-License-Identifier: BSD-2-Clause */
/* A mad peer writes anything anywhere into the ring between our reads and writes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "faultcontain/host/ring.h"
#include "numa/check.h"

#define DATA RING_DATA_MIN

struct patch {
	uint32_t offset;
	uint8_t bytes, turns;
} __attribute__((packed));

/* Where interesting things lie: the two positions, and the start of the data. */
static size_t place(uint32_t offset)
{
	switch (offset & 3) {
	case 0:
		return offsetof(struct ring_layout, head) + (offset >> 2 & 7);
	case 1:
		return offsetof(struct ring_layout, tail) + (offset >> 2 & 15);
	case 2:
		return RING_HEAD_BYTES + (offset >> 2) % 64;
	default:
		return (offset >> 2) % (RING_HEAD_BYTES + DATA);
	}
}

static void turn(struct ring_reader *r, struct ring_writer *w, uint8_t *to, uint8_t turns)
{
	uint64_t tail = r->tail, head = w->head;
	enum ring_outcome outcome;
	size_t bytes;
	int bell;

	for (int i = 0; i < (turns & 7); i++) {
		outcome = ring_write(w, to, 5u * turns, to, 3, &bell);
		CHECK(outcome == RING_OK || w->head == head);
		CHECK(w->head - w->tail_seen <= DATA);
		head = w->head;
	}
	for (int i = 0; i < (turns >> 4); i++) {
		outcome = ring_read(r, to, ring_record_max(DATA), &bytes);
		CHECK(outcome != RING_LOST && bytes <= ring_record_max(DATA));
		CHECK(outcome == RING_OK ? r->tail - tail <= DATA : r->tail == tail);
		tail = r->tail;
	}
	outcome = ring_sleep(r);
	CHECK(outcome != RING_LOST && outcome != RING_FULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t to[DATA];
	static uint8_t *map;
	struct ring_reader r;
	struct ring_writer w;
	struct patch patch;

	if (!map)
		map = aligned_alloc(4096, ring_map_bytes(DATA));
	CHECK(map);
	memset(map, 0, RING_HEAD_BYTES + 4096);
	CHECK(ring_create(&r, map, DATA) == RING_OK);
	CHECK(ring_attach(&w, map, ring_map_bytes(DATA)) == RING_OK);
	while (size > sizeof(patch)) {
		size_t at, n;

		memcpy(&patch, data, sizeof(patch));
		data += sizeof(patch);
		size -= sizeof(patch);
		at = place(patch.offset);
		n = patch.bytes % 17;
		if (n > size)
			n = size;
		if (n > RING_HEAD_BYTES + DATA - at)
			n = RING_HEAD_BYTES + DATA - at;
		memcpy(map + at, data, n);
		data += n;
		size -= n;
		turn(&r, &w, to, patch.turns);
	}
	return 0;
}
