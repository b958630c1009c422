/* SPDX-License-Identifier: BSD-2-Clause */
#include "driver.h"
#include "monitor/device/blk_req.h"

#include <criterion/criterion.h>
#include <linux/virtio_blk.h>

#define RINGS (RAM_A + 0x1000)
#define HEADER (RAM_A + 0x10000)
#define STATUS (RAM_A + 0x10100)
#define RANGE (RAM_A + 0x10200)
#define DATA (RAM_A + 0x20000)
#define SECTORS 1000

static struct test_ram ram;
static struct virtq q;
static struct driver_queue d;
static struct virtq_chain chain;
static struct blk_req req;
static struct blk_limits limits;

static void setup(void)
{
	ram_make(&ram);
	queue_make(&d, &ram, RINGS, 256);
	virtq_init(&q, &ram.map, 256);
	q.desc.addr = d.desc;
	q.avail.addr = d.avail;
	q.used.addr = d.used;
	cr_assert(virtq_enable(&q, true, false));
	limits = (struct blk_limits){ .sectors = SECTORS,
		.discard = true,
		.write_zeroes = true,
		.can_punch = true,
		.id = "fourteen-bytes" };
}

TestSuite(blk_req, .init = setup);

static void header(uint32_t type, uint64_t sector)
{
	struct virtio_blk_outhdr h = { .type = type, .ioprio = 7, .sector = sector };

	memcpy(ram_at(&ram, HEADER), &h, sizeof(h));
}

static bool parse(const struct driver_desc *bufs, uint16_t count)
{
	queue_chain(&d, bufs, count);
	cr_assert_eq(virtq_pop(&q, &chain), VIRTQ_CHAIN, "%s", q.bad);
	memset(&req, 0xee, sizeof(req));
	return blk_req_parse(&q, &chain, &limits, &req);
}

/* Header, one data buffer (if it has bytes), status. */
static void request(uint32_t type, uint64_t sector, uint32_t bytes, bool in)
{
	const struct driver_desc three[] = { { HEADER, 16, 0, 0 },
		{ DATA, bytes, in ? WRITE : 0, 0 }, { STATUS, 1, WRITE, 0 } };
	const struct driver_desc two[] = { { HEADER, 16, 0, 0 }, { STATUS, 1, WRITE, 0 } };

	header(type, sector);
	cr_assert(bytes ? parse(three, 3) : parse(two, 2));
	cr_assert_eq(req.status_gpa.addr, STATUS);
}

Test(blk_req, reads_and_writes_become_file_ranges_and_guest_memory)
{
	request(VIRTIO_BLK_T_IN, 3, 1024, true);
	cr_assert_eq(req.op, BLK_READ);
	cr_assert_eq(req.off, 3 * 512);
	cr_assert_eq(req.bytes, 1024);
	cr_assert_eq(req.in_bytes, 1025);
	cr_assert_eq(req.iov_count, 1);
	cr_assert_eq(req.iov[0].iov_base, ram_at(&ram, DATA));
	cr_assert_eq(req.iov[0].iov_len, 1024);
	request(VIRTIO_BLK_T_OUT, SECTORS - 1, 512, false);
	cr_assert_eq(req.op, BLK_WRITE);
	cr_assert_eq(req.off, (SECTORS - 1) * 512);
	cr_assert_eq(req.in_bytes, 1);
	cr_assert_eq(req.iov[0].iov_len, 512);
	request(VIRTIO_BLK_T_FLUSH, 0, 0, false);
	cr_assert_eq(req.op, BLK_FLUSH);
	cr_assert_eq(req.in_bytes, 1);
}

/* 2.7.4.1: the device must not assume how bytes are spread over buffers. */
Test(blk_req, framing_does_not_matter)
{
	const struct driver_desc in[] = { { HEADER, 7, 0, 0 }, { HEADER + 7, 9, 0, 0 },
		{ DATA, 500, WRITE, 0 }, { RAM_B - 6, 13, WRITE, 0 } };
	const struct driver_desc out[] = { { HEADER, 16 + 512, 0, 0 }, { STATUS, 1, WRITE, 0 } };

	header(VIRTIO_BLK_T_IN, 1);
	cr_assert(parse(in, 4));
	cr_assert_eq(req.op, BLK_READ);
	cr_assert_eq(req.bytes, 512);
	cr_assert_eq(req.iov_count, 3, "the last buffer lies in two regions");
	cr_assert_eq(req.iov[1].iov_len + req.iov[2].iov_len, 12);
	cr_assert_eq(req.status_gpa.addr, RAM_B + 6);
	header(VIRTIO_BLK_T_OUT, 1);
	cr_assert(parse(out, 2));
	cr_assert_eq(req.op, BLK_WRITE);
	cr_assert_eq(req.iov[0].iov_base, ram_at(&ram, HEADER + 16));
}

Test(blk_req, what_is_no_request_is_refused)
{
	const struct driver_desc no_status[] = { { HEADER, 16, 0, 0 } };
	const struct driver_desc no_header[] = { { STATUS, 1, WRITE, 0 } };
	const struct driver_desc short_header[] = { { HEADER, 15, 0, 0 }, { STATUS, 1, WRITE, 0 } };
	const struct driver_desc header_in[] = { { HEADER, 17, WRITE, 0 } };

	header(VIRTIO_BLK_T_IN, 0);
	cr_assert_not(parse(no_status, 1));
	cr_assert_not(parse(no_header, 1));
	cr_assert_not(parse(short_header, 2));
	cr_assert_not(parse(header_in, 1));
}

Test(blk_req, bad_reads_and_writes_are_answered_with_an_error)
{
	static const struct {
		uint32_t type;
		uint64_t sector;
		uint32_t bytes;
		bool in, read_only;
		uint8_t status;
	} cases[] = {
		{ VIRTIO_BLK_T_IN, 0, 511, true, false, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_IN, 0, 513, true, false, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_IN, SECTORS, 512, true, false, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_IN, SECTORS - 1, 1024, true, false, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_IN, SECTORS + 1, 512, true, false, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_IN, UINT64_MAX, 512, true, false, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_IN, UINT64_MAX / 512 + 1, 512, true, false, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_IN, SECTORS, 0, true, false, VIRTIO_BLK_S_OK },
		{ VIRTIO_BLK_T_IN, SECTORS + 1, 0, true, false, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_IN, 0, 512, false, false,
			VIRTIO_BLK_S_OK }, /* nowhere to read into */
		{ VIRTIO_BLK_T_OUT, 0, 100, false, false, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_OUT, SECTORS, 512, false, false, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_OUT, 0, 512, false, true, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_OUT, UINT64_MAX - 1, 1024, false, false, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_SECURE_ERASE, 0, 16, false, false, VIRTIO_BLK_S_UNSUPP },
		{ 2, 0, 512, false, false, VIRTIO_BLK_S_UNSUPP },
		{ 0x80000000u, 0, 512, true, false, VIRTIO_BLK_S_UNSUPP },
		{ 0xffffffffu, 0, 512, true, false, VIRTIO_BLK_S_UNSUPP },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		limits.read_only = cases[i].read_only;
		request(cases[i].type, cases[i].sector, cases[i].bytes, cases[i].in);
		cr_assert_eq(req.op, BLK_DONE, "case %zu", i);
		cr_assert_eq(req.status, cases[i].status, "case %zu", i);
		cr_assert_eq(req.in_bytes, 1, "case %zu", i);
	}
}

/* As many buffers as a chain can have, each in two regions: more pieces than there is room for. */
Test(blk_req, too_scattered_a_request_is_an_error)
{
	struct driver_desc bufs[VIRTQ_SEGS_MAX];
	uint32_t n = VIRTQ_SEGS_MAX;

	for (uint32_t i = 1; i + 1 < n; i++)
		bufs[i] = (struct driver_desc){ RAM_B - 128, 256, 0, 0 };
	bufs[0] = (struct driver_desc){ HEADER, 16, 0, 0 };
	bufs[n - 1] = (struct driver_desc){ STATUS, 1, WRITE, 0 };
	header(VIRTIO_BLK_T_OUT, 0);
	cr_assert(parse(bufs, (uint16_t)n));
	cr_assert_eq(req.op, BLK_DONE);
	cr_assert_eq(req.status, VIRTIO_BLK_S_IOERR);
	/* The same bytes in one region each are fine. */
	for (uint32_t i = 1; i + 1 < n; i++)
		bufs[i].addr = DATA;
	cr_assert(parse(bufs, (uint16_t)n));
	cr_assert_eq(req.op, BLK_WRITE);
	cr_assert_eq(req.iov_count, BLK_SEGS_MAX);
}

Test(blk_req, get_id_is_answered_in_place)
{
	const struct driver_desc tight[] = { { HEADER, 16, 0, 0 }, { DATA, 20, WRITE, 0 } };

	memset(ram_at(&ram, DATA), 'x', 64);
	request(VIRTIO_BLK_T_GET_ID, 0, 20, true);
	cr_assert_eq(req.op, BLK_DONE);
	cr_assert_eq(req.status, VIRTIO_BLK_S_OK);
	cr_assert_eq(req.in_bytes, 21);
	cr_assert(!memcmp(ram_at(&ram, DATA), "fourteen-bytes\0\0\0\0\0\0x", 21));
	header(VIRTIO_BLK_T_GET_ID, 0);
	memset(ram_at(&ram, DATA), 'x', 64);
	cr_assert(parse(tight, 2));
	cr_assert_eq(req.status, VIRTIO_BLK_S_IOERR, "19 bytes are too few");
	cr_assert_eq(ram_at(&ram, DATA)[0], 'x');
}

static void range_request(uint32_t type, uint64_t sector, uint32_t count, uint32_t flags)
{
	const struct virtio_blk_discard_write_zeroes range = { sector, count, flags };
	const struct driver_desc bufs[] = { { HEADER, 16, 0, 0 }, { RANGE, 16, 0, 0 },
		{ STATUS, 1, WRITE, 0 } };

	memcpy(ram_at(&ram, RANGE), &range, sizeof(range));
	header(type, 0);
	cr_assert(parse(bufs, 3));
}

Test(blk_req, discard_and_write_zeroes)
{
	uint64_t sum = 0;

	range_request(VIRTIO_BLK_T_DISCARD, 10, 20, 0);
	cr_assert_eq(req.op, BLK_PUNCH);
	cr_assert_eq(req.off, 5120);
	cr_assert_eq(req.bytes, 10240);
	range_request(VIRTIO_BLK_T_WRITE_ZEROES, 10, 20, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
	cr_assert_eq(req.op, BLK_PUNCH);
	range_request(VIRTIO_BLK_T_WRITE_ZEROES, 1, 999, 0);
	cr_assert_eq(req.op, BLK_WRITE, "without unmap the storage stays");
	cr_assert_eq(req.off, 512);
	for (uint32_t i = 0; i < req.iov_count; i++) {
		const uint8_t *at = req.iov[i].iov_base;

		sum += req.iov[i].iov_len;
		for (size_t k = 0; k < req.iov[i].iov_len; k++)
			cr_assert_eq(at[k], 0);
	}
	cr_assert_eq(sum, 999 * 512);
	limits.can_punch = false;
	range_request(VIRTIO_BLK_T_WRITE_ZEROES, 10, 20, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
	cr_assert_eq(req.op, BLK_WRITE, "unmap is a permission, not an order");
	limits.sectors = 1u << 30;
	range_request(VIRTIO_BLK_T_WRITE_ZEROES, 0, BLK_ZERO_SECTORS_MAX, 0);
	cr_assert_eq(req.op, BLK_WRITE);
}

Test(blk_req, bad_discards_and_write_zeroes_are_answered)
{
	const struct driver_desc two_ranges[] = { { HEADER, 16, 0, 0 }, { RANGE, 32, 0, 0 },
		{ STATUS, 1, WRITE, 0 } };
	const struct driver_desc half_range[] = { { HEADER, 16, 0, 0 }, { RANGE, 8, 0, 0 },
		{ STATUS, 1, WRITE, 0 } };
	static const struct {
		uint32_t type;
		uint64_t sector;
		uint32_t count, flags;
		uint8_t status;
	} cases[] = {
		{ VIRTIO_BLK_T_DISCARD, 0, 8, 1,
			VIRTIO_BLK_S_UNSUPP }, /* unmap is not for discards */
		{ VIRTIO_BLK_T_DISCARD, 0, 8, 2, VIRTIO_BLK_S_UNSUPP },
		{ VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 3, VIRTIO_BLK_S_UNSUPP },
		{ VIRTIO_BLK_T_DISCARD, SECTORS, 1, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_DISCARD, 1, SECTORS, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_WRITE_ZEROES, UINT64_MAX, 2, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_DISCARD, SECTORS, 0, 0, VIRTIO_BLK_S_OK },
		{ VIRTIO_BLK_T_WRITE_ZEROES, 3, 0, 1, VIRTIO_BLK_S_OK },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		range_request(cases[i].type, cases[i].sector, cases[i].count, cases[i].flags);
		cr_assert_eq(req.op, BLK_DONE, "case %zu", i);
		cr_assert_eq(req.status, cases[i].status, "case %zu", i);
	}
	header(VIRTIO_BLK_T_DISCARD, 0);
	cr_assert(parse(two_ranges, 3));
	cr_assert_eq(req.status, VIRTIO_BLK_S_IOERR, "max_discard_seg is 1");
	cr_assert(parse(half_range, 3));
	cr_assert_eq(req.status, VIRTIO_BLK_S_IOERR);

	limits.sectors = 1u << 30;
	range_request(VIRTIO_BLK_T_DISCARD, 0, BLK_DISCARD_SECTORS_MAX + 1, 0);
	cr_assert_eq(req.status, VIRTIO_BLK_S_IOERR);
	range_request(VIRTIO_BLK_T_WRITE_ZEROES, 0, BLK_ZERO_SECTORS_MAX + 1, 1);
	cr_assert_eq(req.status, VIRTIO_BLK_S_IOERR);
	limits.read_only = true;
	range_request(VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0);
	cr_assert_eq(req.status, VIRTIO_BLK_S_IOERR);
	limits = (struct blk_limits){ .sectors = SECTORS };
	range_request(VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0);
	cr_assert_eq(req.status, VIRTIO_BLK_S_UNSUPP, "not negotiated");
	range_request(VIRTIO_BLK_T_DISCARD, 0, 8, 0);
	cr_assert_eq(req.status, VIRTIO_BLK_S_UNSUPP, "not negotiated");
}
