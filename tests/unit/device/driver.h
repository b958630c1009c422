/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_TESTS_UNIT_DEVICE_DRIVER_H
#define CELLVISOR_TESTS_UNIT_DEVICE_DRIVER_H

/*
 * Guest RAM and the driver's side of a split virtqueue, for tests: written from
 * the specification, with none of the device's code.
 */
#include "faultcontain/host/careful.h"
#include "monitor/gpa.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * Three regions: two that touch in the guest but not in the host, and one high up.
 * Nothing at guest address 0, so that a forgotten address is not RAM.
 */
#define RAM_A 0x100000ull
#define RAM_A_BYTES 0x100000ull
#define RAM_B (RAM_A + RAM_A_BYTES)
#define RAM_B_BYTES 0x10000ull
#define RAM_C 0x100000000ull
#define RAM_C_BYTES 0x10000ull

struct test_ram {
	struct ram_map map;
};

static inline void ram_make(struct test_ram *r)
{
	static const uint64_t at[] = { RAM_A, RAM_B, RAM_C };
	static const uint64_t bytes[] = { RAM_A_BYTES, RAM_B_BYTES, RAM_C_BYTES };

	uint64_t off = 0;

	r->map.region_count = 3;
	for (int i = 0; i < 3; i++) {
		void *hva = mmap(NULL, bytes[i] + 0x1000, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (hva == MAP_FAILED)
			abort();
		/* A wall behind each region: one byte too far is a crash. */
		if (mprotect((char *)hva + bytes[i], 0x1000, PROT_NONE) != 0)
			abort();
		r->map.regions[i] = (struct ram_region){ { at[i] }, bytes[i], hva, off };
		off += bytes[i];
	}
}

static inline void ram_drop(struct test_ram *r)
{
	for (int i = 0; i < 3; i++)
		munmap(r->map.regions[i].hva, r->map.regions[i].bytes + 0x1000);
}

/* Host address of a guest address, for the test itself. */
static inline uint8_t *ram_at(struct test_ram *r, uint64_t at)
{
	for (int i = 0; i < 3; i++) {
		struct ram_region *g = &r->map.regions[i];

		if (at >= g->gpa.addr && at < g->gpa.addr + g->bytes)
			return g->hva + (at - g->gpa.addr);
	}
	abort();
}

/* From now on the page at `at` is as one lost to a memory error: whoever touches it gets SIGBUS. */
static inline void ram_lose(struct test_ram *r, uint64_t at)
{
	int nothing = memfd_create("lost", 0);
	void *page = ram_at(r, at & ~0xfffull);

	if (mmap(page, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, nothing, 0) !=
			page ||
		close(nothing) != 0 || careful_install() != 0)
		abort();
}

struct driver_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

/* The driver's view of one queue. */
struct driver_queue {
	struct test_ram *ram;
	uint64_t desc, avail, used;
	uint16_t size;
	uint16_t avail_idx; /* next to fill */
	uint16_t used_seen; /* next to look at */
	uint16_t next_desc;
};

static inline void queue_make(
	struct driver_queue *q, struct test_ram *ram, uint64_t at, uint16_t size)
{
	*q = (struct driver_queue){ .ram = ram, .size = size };
	q->desc = at;
	q->avail = q->desc + 16ull * size;
	q->used = (q->avail + 6 + 2ull * size + 3) & ~3ull;
	memset(ram_at(ram, at), 0, q->used + 6 + 8ull * size - at);
}

static inline void queue_desc(struct driver_queue *q, uint16_t i, uint64_t addr, uint32_t len,
	uint16_t flags, uint16_t next)
{
	struct driver_desc d = { addr, len, flags, next };

	memcpy(ram_at(q->ram, q->desc + 16ull * i), &d, sizeof(d));
}

static inline void put16(struct test_ram *r, uint64_t at, uint16_t val)
{
	__atomic_store_n((uint16_t *)(void *)ram_at(r, at), val, __ATOMIC_SEQ_CST);
}

static inline uint16_t get16(struct test_ram *r, uint64_t at)
{
	return __atomic_load_n((uint16_t *)(void *)ram_at(r, at), __ATOMIC_SEQ_CST);
}

static inline void queue_set_avail_idx(struct driver_queue *q, uint16_t idx)
{
	q->avail_idx = idx;
	put16(q->ram, q->avail + 2, idx);
}

static inline void queue_offer(struct driver_queue *q, uint16_t head)
{
	put16(q->ram, q->avail + 4 + 2ull * (q->avail_idx % q->size), head);
	queue_set_avail_idx(q, (uint16_t)(q->avail_idx + 1));
}

static inline void queue_set_avail_flags(struct driver_queue *q, uint16_t flags)
{
	put16(q->ram, q->avail, flags);
}

static inline void queue_set_used_event(struct driver_queue *q, uint16_t event)
{
	put16(q->ram, q->avail + 4 + 2ull * q->size, event);
}

static inline uint16_t queue_avail_event(struct driver_queue *q)
{
	return get16(q->ram, q->used + 4 + 8ull * q->size);
}

static inline uint16_t queue_used_flags(struct driver_queue *q)
{
	return get16(q->ram, q->used);
}

static inline uint16_t queue_used_idx(struct driver_queue *q)
{
	return get16(q->ram, q->used + 2);
}

/* Takes one used element; returns 0 if there is none. */
static inline int queue_take_used(struct driver_queue *q, uint32_t *id, uint32_t *len)
{
	uint32_t elem[2];

	if (queue_used_idx(q) == q->used_seen)
		return 0;
	memcpy(elem, ram_at(q->ram, q->used + 4 + 8ull * (q->used_seen % q->size)), 8);
	q->used_seen++;
	*id = elem[0];
	*len = elem[1];
	return 1;
}

/* Offers the buffers as one chain of direct descriptors, in order; returns its head. */
static inline uint16_t queue_chain(
	struct driver_queue *q, const struct driver_desc *bufs, uint16_t count)
{
	uint16_t head = (uint16_t)(q->next_desc % q->size);

	for (uint16_t i = 0; i < count; i++) {
		uint16_t at = (uint16_t)((q->next_desc + i) % q->size);
		uint16_t next = (uint16_t)((at + 1) % q->size);
		uint16_t more = i + 1 < count ? NEXT : 0;

		queue_desc(
			q, at, bufs[i].addr, bufs[i].len, (uint16_t)(bufs[i].flags | more), next);
	}
	q->next_desc = (uint16_t)(q->next_desc + count);
	queue_offer(q, head);
	return head;
}

#endif
