/* SPDX-License-Identifier: BSD-2-Clause */
#include "driver.h"
#include "monitor/device/virtio.h"

#include <criterion/criterion.h>

#define RINGS (RAM_A + 0x1000)
#define DATA (RAM_A + 0x20000)
#define TABLE (RAM_A + 0x40000)
#define SIZE 8

static struct test_ram ram;
static struct virtq q;
static struct driver_queue d;
static struct virtq_chain chain;

static void make(uint16_t size, bool indirect, bool event_idx)
{
	ram_make(&ram);
	queue_make(&d, &ram, RINGS, size);
	virtq_init(&q, &ram.map, VIRTQ_SIZE_MAX);
	q.size = size;
	q.desc.addr = d.desc;
	q.avail.addr = d.avail;
	q.used.addr = d.used;
	cr_assert(virtq_enable(&q, indirect, event_idx));
}

static void setup(void)
{
	make(SIZE, true, false);
}

TestSuite(virtq, .init = setup);

static void indirect_desc(uint16_t i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	struct driver_desc desc = { addr, len, flags, next };

	memcpy(ram_at(&ram, TABLE + 16ull * i), &desc, sizeof(desc));
}

Test(virtq, a_chain_arrives_as_it_was_built)
{
	const struct driver_desc bufs[] = { { DATA, 16, 0, 0 }, { RAM_B - 8, 16, 0, 0 },
		{ RAM_C + RAM_C_BYTES - 512, 512, WRITE, 0 }, { DATA + 64, 1, WRITE, 0 } };

	cr_assert_eq(virtq_pop(&q, &chain), VIRTQ_EMPTY);
	d.next_desc = 6; /* so that the chain wraps around the table */
	cr_assert_eq(queue_chain(&d, bufs, 4), 6);
	cr_assert_eq(virtq_pop(&q, &chain), VIRTQ_CHAIN);
	cr_assert_eq(chain.head, 6);
	cr_assert_eq(chain.out_count, 2);
	cr_assert_eq(chain.in_count, 2);
	cr_assert_eq(chain.out_bytes, 32);
	cr_assert_eq(chain.in_bytes, 513);
	for (int i = 0; i < 4; i++) {
		cr_assert_eq(chain.segs[i].gpa.addr, bufs[i].addr);
		cr_assert_eq(chain.segs[i].bytes, bufs[i].len);
	}
	cr_assert_eq(virtq_pop(&q, &chain), VIRTQ_EMPTY);
}

Test(virtq, the_chain_is_private_once_taken)
{
	const struct driver_desc buf = { DATA, 16, 0, 0 };

	queue_chain(&d, &buf, 1);
	cr_assert_eq(virtq_pop(&q, &chain), VIRTQ_CHAIN);
	queue_desc(&d, 0, 0xdead0000, 0xffffffff, 0xffff, 0xffff);
	cr_assert_eq(chain.segs[0].gpa.addr, DATA);
	cr_assert_eq(chain.segs[0].bytes, 16);
}

Test(virtq, indirect_tables_may_follow_direct_buffers)
{
	queue_desc(&d, 3, DATA, 8, NEXT, 1);
	/* The write flag of the reference is to be ignored. */
	queue_desc(&d, 1, TABLE, 16 * 12, INDIRECT | WRITE, 0);
	/* Out of order in the table, and longer than the queue. */
	for (uint16_t i = 0; i < 12; i++)
		indirect_desc((uint16_t)(i * 5 % 12), DATA + 0x100u * i, 0x100,
			(uint16_t)((i >= 6 ? WRITE : 0) | (i < 11 ? NEXT : 0)),
			(uint16_t)((i + 1) * 5 % 12));
	queue_offer(&d, 3);
	cr_assert_eq(virtq_pop(&q, &chain), VIRTQ_CHAIN, "%s", q.bad);
	cr_assert_eq(chain.out_count, 7);
	cr_assert_eq(chain.in_count, 6);
	cr_assert_eq(chain.segs[12].gpa.addr, DATA + 0xb00);
	cr_assert_eq(chain.head, 3);
}

Test(virtq, the_largest_chain_is_taken)
{
	queue_desc(&d, 0, TABLE, 16 * VIRTQ_SEGS_MAX, INDIRECT, 0);
	for (uint16_t i = 0; i < VIRTQ_SEGS_MAX; i++)
		indirect_desc(
			i, DATA, 1, i + 1 < (int)VIRTQ_SEGS_MAX ? NEXT : 0, (uint16_t)(i + 1));
	queue_offer(&d, 0);
	cr_assert_eq(virtq_pop(&q, &chain), VIRTQ_CHAIN, "%s", q.bad);
	cr_assert_eq(chain.out_count, VIRTQ_SEGS_MAX);
}

/* Chains that break the rules: each ends the queue, and says why. */
struct bad_case {
	const char *says; /* part of virtq.bad */
	struct driver_desc desc[3];
	struct driver_desc table[3];
	uint16_t head;
};

#define GOOD                                                                                       \
	{                                                                                          \
		DATA, 16, 0, 0                                                                     \
	}

static const struct bad_case bad_cases[] = {
	{ "loops", { { DATA, 16, NEXT, 0 } }, { { 0 } }, 0 },
	{ "loops", { { DATA, 16, NEXT, 1 }, { DATA, 16, NEXT, 2 }, { DATA, 16, NEXT, 1 } },
		{ { 0 } }, 0 },
	{ "index", { { DATA, 16, NEXT, SIZE } }, { { 0 } }, 0 },
	{ "index", { { DATA, 16, NEXT, 0xffff } }, { { 0 } }, 0 },
	{ "index", { GOOD }, { { 0 } }, SIZE },
	{ "index", { GOOD }, { { 0 } }, 0xffff },
	{ "no bytes", { { DATA, 0, 0, 0 } }, { { 0 } }, 0 },
	{ "no bytes", { { DATA, 4, NEXT, 1 }, { DATA, 0, WRITE, 0 } }, { { 0 } }, 0 },
	{ "buffer is not in RAM", { { 0, 16, 0, 0 } }, { { 0 } }, 0 },
	{ "buffer is not in RAM", { { RAM_A - 1, 2, 0, 0 } }, { { 0 } }, 0 },
	{ "buffer is not in RAM", { { RAM_B + RAM_B_BYTES - 8, 9, WRITE, 0 } }, { { 0 } }, 0 },
	{ "buffer is not in RAM", { { RAM_C, 0xffffffff, WRITE, 0 } }, { { 0 } }, 0 },
	{ "buffer is not in RAM", { { UINT64_MAX - 7, 16, 0, 0 } }, { { 0 } }, 0 },
	{ "buffer is not in RAM", { { UINT64_MAX, 0xffffffff, WRITE, 0 } }, { { 0 } }, 0 },
	{ "follows one to write", { { DATA, 8, WRITE | NEXT, 1 }, { DATA, 8, 0, 0 } }, { { 0 } },
		0 },
	{ "table has no valid size", { { TABLE, 0, INDIRECT, 0 } }, { GOOD }, 0 },
	{ "table has no valid size", { { TABLE, 17, INDIRECT, 0 } }, { GOOD }, 0 },
	{ "table is not in RAM", { { 0x1000, 32, INDIRECT, 0 } }, { { 0 } }, 0 },
	{ "table is not in RAM", { { RAM_C + RAM_C_BYTES - 16, 32, INDIRECT, 0 } }, { { 0 } }, 0 },
	{ "table is not in RAM", { { UINT64_MAX - 15, 32, INDIRECT, 0 } }, { { 0 } }, 0 },
	{ "table is not in RAM", { { TABLE, 0xfffffff0, INDIRECT, 0 } }, { GOOD }, 0 },
	{ "goes on after", { { TABLE, 16, INDIRECT | NEXT, 1 }, GOOD }, { GOOD }, 0 },
	{ "within an indirect table", { { TABLE, 16, INDIRECT, 0 } },
		{ { TABLE, 16, INDIRECT, 0 } }, 0 },
	{ "outside its table", { { TABLE, 32, INDIRECT, 0 } }, { { DATA, 8, NEXT, 2 } }, 0 },
	{ "too many buffers", { { TABLE, 32, INDIRECT, 0 } },
		{ { DATA, 8, NEXT, 1 }, { DATA, 8, NEXT, 0 } }, 0 },
	{ "follows one to write", { { DATA, 8, WRITE | NEXT, 1 }, { TABLE, 16, INDIRECT, 0 } },
		{ GOOD }, 0 },
};

Test(virtq, bad_chains_are_refused_and_end_the_queue)
{
	for (size_t i = 0; i < sizeof(bad_cases) / sizeof(bad_cases[0]); i++) {
		const struct bad_case *c = &bad_cases[i];

		make(SIZE, true, false);
		for (uint16_t k = 0; k < 3; k++) {
			queue_desc(&d, k, c->desc[k].addr, c->desc[k].len, c->desc[k].flags,
				c->desc[k].next);
			indirect_desc(k, c->table[k].addr, c->table[k].len, c->table[k].flags,
				c->table[k].next);
		}
		queue_offer(&d, c->head);
		cr_assert_eq(virtq_pop(&q, &chain), VIRTQ_BAD, "case %zu (%s)", i, c->says);
		cr_assert(strstr(q.bad, c->says), "case %zu: '%s' lacks '%s'", i, q.bad, c->says);
		cr_assert_eq(queue_used_idx(&d), 0, "case %zu", i);
		/* Good ones later don't revive it. */
		queue_desc(&d, 0, DATA, 16, 0, 0);
		queue_offer(&d, 0);
		cr_assert_eq(virtq_pop(&q, &chain), VIRTQ_BAD, "case %zu", i);
		ram_drop(&ram);
	}
}

Test(virtq, indirect_needs_negotiation)
{
	make(SIZE, false, false);
	queue_desc(&d, 0, TABLE, 16, INDIRECT, 0);
	indirect_desc(0, DATA, 16, 0, 0);
	queue_offer(&d, 0);
	cr_assert_eq(virtq_pop(&q, &chain), VIRTQ_BAD);
	cr_assert(strstr(q.bad, "not negotiated"));
}

Test(virtq, more_than_2_to_the_32_bytes_are_refused)
{
	/* One region of 3 GiB that is never touched, so that two buffers of it are too much. */
	static struct ram_map big;
	struct driver_desc bufs[2] = { { 0x200000000ull, 0xc0000000u, 0, 0 },
		{ 0x200000000ull, 0x40000000u, WRITE, 0 } };

	big = ram.map;
	big.regions[3] = (struct ram_region){ { 0x200000000ull }, 0xc0000000u, (void *)0x1000, 0 };
	big.region_count = 4;
	q.ram = &big;
	queue_chain(&d, bufs, 2);
	cr_assert_eq(virtq_pop(&q, &chain), VIRTQ_BAD);
	cr_assert(strstr(q.bad, "2^32"));
}

Test(virtq, avail_index_may_be_ahead_by_the_queue_size_and_no_more)
{
	for (uint16_t i = 0; i < SIZE; i++) {
		queue_desc(&d, i, DATA + i, 1, 0, 0);
		queue_offer(&d, i);
	}
	for (uint16_t i = 0; i < SIZE; i++) {
		cr_assert_eq(virtq_pop(&q, &chain), VIRTQ_CHAIN);
		cr_assert_eq(chain.segs[0].gpa.addr, DATA + i);
	}
	cr_assert_eq(virtq_pop(&q, &chain), VIRTQ_EMPTY);
	queue_set_avail_idx(&d, SIZE + SIZE + 1);
	cr_assert_eq(virtq_pop(&q, &chain), VIRTQ_BAD);
	cr_assert(strstr(q.bad, "more chains"));
}

Test(virtq, an_avail_index_that_goes_back_is_refused)
{
	const struct driver_desc buf = { DATA, 16, 0, 0 };

	queue_chain(&d, &buf, 1);
	cr_assert_eq(virtq_pop(&q, &chain), VIRTQ_CHAIN);
	queue_set_avail_idx(&d, 0);
	cr_assert_eq(virtq_pop(&q, &chain), VIRTQ_BAD);
}

Test(virtq, indices_wrap_at_2_to_the_16)
{
	const struct driver_desc buf = { DATA, 16, WRITE, 0 };
	uint32_t id, len;

	for (uint32_t i = 0; i < 70000; i++) {
		uint16_t head = queue_chain(&d, &buf, 1);

		cr_assert_eq(virtq_pop(&q, &chain), VIRTQ_CHAIN, "at %u", i);
		cr_assert_eq(chain.head, head);
		virtq_push(&q, chain.head, i);
		cr_assert(queue_take_used(&d, &id, &len));
		cr_assert_eq(id, head);
		cr_assert_eq(len, i);
	}
	cr_assert_not(queue_take_used(&d, &id, &len));
}

Test(virtq, rings_must_be_aligned_and_in_ram)
{
	static const struct {
		uint64_t desc, avail, used;
		bool ok;
	} cases[] = {
		{ RAM_A, RAM_A + 0x1000, RAM_A + 0x2000, true },
		{ RAM_A + 8, RAM_A + 0x1000, RAM_A + 0x2000, false },
		{ RAM_A, RAM_A + 0x1001, RAM_A + 0x2000, false },
		{ RAM_A, RAM_A + 0x1000, RAM_A + 0x2002, false },
		{ 0, RAM_A + 0x1000, RAM_A + 0x2000, false },
		{ RAM_A, 0, RAM_A + 0x2000, false },
		{ RAM_A, RAM_A + 0x1000, 0, false },
		{ RAM_B + RAM_B_BYTES - 16 * SIZE, RAM_A, RAM_A + 0x2000, true },
		{ RAM_B + RAM_B_BYTES - 16 * SIZE + 16, RAM_A, RAM_A + 0x2000, false },
		{ RAM_A, RAM_C + RAM_C_BYTES - (4 + 2 * SIZE + 2), RAM_A + 0x2000, true },
		{ RAM_A, RAM_C + RAM_C_BYTES - (4 + 2 * SIZE), RAM_A + 0x2000, false },
		{ RAM_A, RAM_A + 0x1000, RAM_C + RAM_C_BYTES - (4 + 8 * SIZE + 4), true },
		{ RAM_A, RAM_A + 0x1000, RAM_C + RAM_C_BYTES - (4 + 8 * SIZE), false },
		{ UINT64_MAX - 15, RAM_A + 0x1000, RAM_A + 0x2000, false },
		{ RAM_A, RAM_A + 0x1000, UINT64_MAX - 3, false },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		virtq_init(&q, &ram.map, SIZE);
		q.desc.addr = cases[i].desc;
		q.avail.addr = cases[i].avail;
		q.used.addr = cases[i].used;
		cr_assert_eq(virtq_enable(&q, true, true), cases[i].ok, "case %zu", i);
		cr_assert_eq(q.enabled, cases[i].ok, "case %zu", i);
		cr_assert_eq(q.bad == NULL, cases[i].ok, "case %zu", i);
	}
}

/* Without event idx the event fields need not be there. */
Test(virtq, rings_end_before_the_event_fields_if_those_were_not_negotiated)
{
	virtq_init(&q, &ram.map, SIZE);
	q.desc.addr = RAM_A;
	q.avail.addr = RAM_B + RAM_B_BYTES - (4 + 2 * SIZE);
	q.used.addr = RAM_C + RAM_C_BYTES - (4 + 8 * SIZE);
	cr_assert(virtq_enable(&q, true, false));
	virtq_push(&q, 3, 4);
	cr_assert_not(virtq_want_notify(&q, true));
	cr_assert(virtq_wants_signal(&q));
}

Test(virtq, flags_suppress_signals_and_notifications)
{
	virtq_push(&q, 0, 0);
	cr_assert(virtq_wants_signal(&q));
	queue_set_avail_flags(&d, 1);
	virtq_push(&q, 0, 0);
	cr_assert_not(virtq_wants_signal(&q));
	cr_assert_not(virtq_want_notify(&q, false));
	cr_assert_eq(queue_used_flags(&d), 1);
	cr_assert_not(virtq_want_notify(&q, true));
	cr_assert_eq(queue_used_flags(&d), 0);
	virtq_want_notify(&q, false);
	queue_set_avail_idx(&d, 1); /* the driver saw the flag and stayed silent */
	cr_assert(virtq_want_notify(&q, true), "the chain that nobody notified is seen");
}

Test(virtq, event_idx_signals_when_the_event_is_passed)
{
	make(SIZE, true, true);
	queue_set_used_event(&d, 0);
	virtq_push(&q, 0, 0);
	cr_assert(virtq_wants_signal(&q), "entry 0 was written");
	virtq_push(&q, 0, 0);
	cr_assert_not(virtq_wants_signal(&q), "event 0 has passed");
	queue_set_used_event(&d, 4);
	virtq_push(&q, 0, 0);
	virtq_push(&q, 0, 0);
	cr_assert_not(virtq_wants_signal(&q), "entries 2 and 3");
	virtq_push(&q, 0, 0);
	virtq_push(&q, 0, 0);
	virtq_push(&q, 0, 0);
	cr_assert(virtq_wants_signal(&q), "entry 4 is among 4 to 6");
	queue_set_avail_flags(&d, 1);
	queue_set_used_event(&d, 7);
	virtq_push(&q, 0, 0);
	cr_assert(virtq_wants_signal(&q), "the flag does not count with event idx");
}

Test(virtq, event_idx_signals_across_the_wrap)
{
	make(SIZE, true, true);
	for (uint32_t i = 0; i < 65534; i++)
		virtq_push(&q, 0, 0);
	(void)virtq_wants_signal(&q);
	queue_set_used_event(&d, 65535);
	virtq_push(&q, 0, 0);
	cr_assert_not(virtq_wants_signal(&q), "entry 65534");
	virtq_push(&q, 0, 0);
	virtq_push(&q, 0, 0);
	cr_assert(virtq_wants_signal(&q), "entries 65535 and 0");
}

Test(virtq, event_idx_asks_for_the_next_notification)
{
	const struct driver_desc buf = { DATA, 16, 0, 0 };

	make(SIZE, true, true);
	queue_chain(&d, &buf, 1);
	queue_chain(&d, &buf, 1);
	virtq_want_notify(&q, false);
	cr_assert_eq(queue_used_flags(&d), 0, "the flag is not used");
	cr_assert_eq(virtq_pop(&q, &chain), VIRTQ_CHAIN);
	cr_assert(virtq_want_notify(&q, true), "one is left");
	cr_assert_eq(queue_avail_event(&d), 1);
	cr_assert_eq(virtq_pop(&q, &chain), VIRTQ_CHAIN);
	cr_assert_not(virtq_want_notify(&q, true));
	cr_assert_eq(queue_avail_event(&d), 2);
}

Test(virtq, bytes_of_a_chain_are_copied_across_buffers_and_regions)
{
	const struct driver_desc bufs[] = { { DATA, 5, 0, 0 }, { RAM_B - 3, 6, 0, 0 },
		{ DATA + 100, 2, WRITE, 0 }, { RAM_B - 2, 5, WRITE, 0 } };
	struct iovec iov[8];
	char got[12] = { 0 };

	memcpy(ram_at(&ram, DATA), "abcde", 5);
	memcpy(ram_at(&ram, RAM_B - 3), "fgh", 3);
	memcpy(ram_at(&ram, RAM_B), "ijk", 3);
	queue_chain(&d, bufs, 4);
	cr_assert_eq(virtq_pop(&q, &chain), VIRTQ_CHAIN);
	cr_assert(virtq_read(&q, &chain, 0, got, 11));
	cr_assert_str_eq(got, "abcdefghijk");
	cr_assert(virtq_read(&q, &chain, 4, got, 5));
	cr_assert(!memcmp(got, "efghi", 5));
	cr_assert(virtq_read(&q, &chain, 11, got, 0));
	cr_assert_not(virtq_read(&q, &chain, 0, got, 12));
	cr_assert_not(virtq_read(&q, &chain, 8, got, 4));
	cr_assert_not(virtq_read(&q, &chain, UINT32_MAX, got, 2));

	cr_assert_eq(virtq_iov(&q, &chain, false, 4, 5, iov, 8), 3, "e, fgh, i");
	cr_assert_eq(iov[0].iov_len, 1);
	cr_assert_eq(iov[1].iov_len, 3);
	cr_assert_eq(iov[2].iov_base, ram_at(&ram, RAM_B));
	cr_assert_eq(iov[2].iov_len, 1);
	cr_assert_eq(virtq_iov(&q, &chain, false, 4, 5, iov, 2), 0, "no room");
	cr_assert_eq(virtq_iov(&q, &chain, false, 4, 8, iov, 8), 0, "not as many bytes");
	cr_assert_eq(virtq_iov(&q, &chain, false, 0, 0, iov, 8), 0);

	cr_assert(virtq_write(&q, &chain, 1, "WXYZ", 4));
	cr_assert_eq(ram_at(&ram, DATA + 101)[0], 'W');
	cr_assert(!memcmp(ram_at(&ram, RAM_B - 2), "XY", 2));
	cr_assert_eq(ram_at(&ram, RAM_B)[0], 'Z');
	cr_assert_eq(ram_at(&ram, RAM_B)[1], 'j');
	cr_assert_not(virtq_write(&q, &chain, 4, "1234", 4));
}

/* Each ring on a page of its own, so that one can be lost. */
static void enable_apart(bool event_idx)
{
	virtq_init(&q, &ram.map, SIZE);
	d = (struct driver_queue){ .ram = &ram, .size = SIZE };
	q.desc.addr = d.desc = RAM_A;
	q.avail.addr = d.avail = RAM_A + 0x1000;
	q.used.addr = d.used = RAM_A + 0x2000;
	memset(ram_at(&ram, RAM_A), 0, 0x3000);
	cr_assert(virtq_enable(&q, true, event_idx));
}

Test(virtq, a_lost_page_of_descriptors_ends_the_queue)
{
	const struct driver_desc buf = { DATA, 16, WRITE, 0 };

	enable_apart(false);
	queue_chain(&d, &buf, 1);
	ram_lose(&ram, d.desc);
	cr_assert_eq(virtq_pop(&q, &chain), VIRTQ_BAD);
	cr_assert(strstr(q.bad, "memory error"), "%s", q.bad);
	cr_assert_eq(virtq_pop(&q, &chain), VIRTQ_BAD);
}

Test(virtq, a_lost_available_ring_ends_the_queue)
{
	for (int event_idx = 0; event_idx < 2; event_idx++) {
		enable_apart(event_idx);
		ram_lose(&ram, d.avail);
		cr_assert_eq(virtq_pop(&q, &chain), VIRTQ_BAD);
		cr_assert(strstr(q.bad, "memory error"), "%s", q.bad);
		q.bad = NULL;
		cr_assert(virtq_wants_signal(&q), "a driver whose wish is lost is signalled");
		cr_assert_not_null(q.bad);
		q.bad = NULL;
		cr_assert(virtq_want_notify(&q, true), "it has to look again");
		cr_assert_not_null(q.bad);
		ram_drop(&ram);
		ram_make(&ram);
	}
}

Test(virtq, a_lost_used_ring_ends_the_queue)
{
	enable_apart(false);
	ram_lose(&ram, d.used);
	virtq_push(&q, 0, 0);
	cr_assert(q.bad && strstr(q.bad, "memory error"));
	q.bad = NULL;
	virtq_want_notify(&q, false);
	cr_assert_not_null(q.bad);
}

Test(virtq, a_lost_buffer_is_not_read_or_written)
{
	const struct driver_desc bufs[] = { { DATA, 16, 0, 0 }, { DATA + 0x1000, 16, WRITE, 0 } };
	uint8_t bytes[16];

	enable_apart(false);
	queue_chain(&d, bufs, 2);
	cr_assert_eq(virtq_pop(&q, &chain), VIRTQ_CHAIN);
	ram_lose(&ram, DATA);
	ram_lose(&ram, DATA + 0x1000);
	cr_assert_not(virtq_read(&q, &chain, 0, bytes, 16));
	cr_assert_not(virtq_write(&q, &chain, 0, bytes, 16));
	cr_assert_null(q.bad, "the queue itself is whole");
}

/* Is exactly this set of pages marked as written? */
static bool marked(
	const _Atomic uint64_t *bits, uint64_t words, const uint64_t *pages, size_t count)
{
	uint64_t wanted[16] = { 0 };

	for (size_t i = 0; i < count; i++)
		wanted[pages[i] / 64] |= 1ull << pages[i] % 64;
	for (uint64_t i = 0; i < words; i++)
		if (bits[i] != wanted[i])
			return false;
	return true;
}

Test(virtq, what_a_device_writes_is_marked_by_its_offset_in_ram)
{
	static _Atomic uint64_t bits[16];
	const uint64_t used[] = { 2 };
	const uint64_t all[] = { 2, 5, 6, (RAM_A_BYTES + RAM_B_BYTES) >> 12 };
	const struct driver_desc bufs[] = { { DATA, 16, 0, 0 }, { RAM_A + 0x5ff0, 32, WRITE, 0 },
		{ RAM_C + 8, 4, WRITE, 0 } };
	struct iovec iov[4];

	ram.map.written = bits;
	enable_apart(true);
	cr_assert(marked(bits, 16, used, 1), "the used ring, from the start on");
	queue_chain(&d, bufs, 3);
	cr_assert_eq(virtq_pop(&q, &chain), VIRTQ_CHAIN);
	cr_assert_eq(virtq_iov(&q, &chain, false, 0, 16, iov, 4), 1);
	cr_assert(marked(bits, 16, used, 1), "what is read is not marked");
	cr_assert_eq(virtq_iov(&q, &chain, true, 0, 36, iov, 4), 2);
	cr_assert(marked(bits, 16, all, 4));
}
