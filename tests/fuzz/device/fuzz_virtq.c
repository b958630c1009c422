/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whatever a driver writes into its rings: chains that are taken lie in RAM and
 * are within their bounds, and so are the block requests that they are read as.
 */
#include "monitor/device/blk_req.h"
#include "numa/check.h"
#include "tests/unit/device/driver.h"

#include <linux/virtio_blk.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SIZE 16u
#define RINGS RAM_A
#define SECTORS 64u

/* Most of a random address is not RAM; fold it so that it often is, and sometimes just not. */
static uint64_t fold(uint64_t addr)
{
	switch (addr >> 62) {
	case 0:
		return RAM_A + addr % (RAM_A_BYTES + RAM_B_BYTES + 64);
	case 1:
		return RAM_C - 32 + addr % (RAM_C_BYTES + 64);
	case 2:
		return RINGS + addr % 0x800;
	default:
		return addr;
	}
}

static void check_chain(const struct virtq *q, const struct virtq_chain *c)
{
	uint64_t out = 0, in = 0;

	CHECK(c->out_count + c->in_count >= 1 && c->out_count + c->in_count <= VIRTQ_SEGS_MAX);
	for (uint32_t i = 0; i < c->out_count + c->in_count; i++) {
		struct iovec iov[RAM_REGIONS_MAX];

		CHECK(ram_iov(q->ram, c->segs[i].gpa, c->segs[i].bytes, iov, RAM_REGIONS_MAX) > 0);
		*(i < c->out_count ? &out : &in) += c->segs[i].bytes;
	}
	CHECK(out == c->out_bytes && in == c->in_bytes && out + in <= UINT32_MAX);
}

static void check_request(const struct virtq *q, const struct blk_req *r)
{
	uint64_t sum = 0;
	uint8_t status = r->status;

	CHECK(ram_write(q->ram, r->status_gpa, &status, 1));
	if (r->op == BLK_FLUSH || r->op == BLK_DONE)
		return;
	CHECK(r->bytes > 0 && r->off + r->bytes <= SECTORS * BLK_SECTOR_BYTES);
	if (r->op == BLK_PUNCH)
		return;
	CHECK(r->iov_count > 0 && r->iov_count <= BLK_IOV_MAX);
	for (uint32_t i = 0; i < r->iov_count; i++) {
		uint8_t *at = r->iov[i].iov_base;

		sum += r->iov[i].iov_len;
		if (r->op == BLK_READ)
			memset(at, 0x5a, r->iov[i].iov_len);
		else
			CHECK(at[0] + at[r->iov[i].iov_len - 1] >= 0); /* readable */
	}
	CHECK(sum == r->bytes);
}

/* Lays `size` bytes of input over the rings, as descriptors, then the ring of available heads. */
static void write_rings(struct driver_queue *d, const uint8_t *data, size_t size)
{
	struct driver_desc desc;

	for (uint16_t i = 0; i < 4 * SIZE && size >= sizeof(desc); i++) {
		memcpy(&desc, data, sizeof(desc));
		data += sizeof(desc);
		size -= sizeof(desc);
		desc.addr = fold(desc.addr);
		if (desc.len & 0x40000000) /* mostly small buffers */
			desc.len %= 2048;
		desc.flags &= 7;
		if (desc.next & 0x8000)
			desc.next %= SIZE + 1;
		/* The first SIZE are the queue's own table, the rest lies where tables may be. */
		memcpy(ram_at(d->ram, i < SIZE ? d->desc + 16u * i : RAM_A + 0x1000 + 16u * i),
			&desc, sizeof(desc));
	}
	for (uint16_t i = 0; i < SIZE; i++)
		put16(d->ram, d->avail + 4 + 2u * i, i < size ? data[i] % (SIZE + 1) : i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct test_ram ram;
	static struct virtq_chain chain;
	static struct blk_req req;
	struct blk_limits limits = { .sectors = SECTORS };
	struct driver_queue d;
	struct virtq q;

	if (size < 4)
		return 0;
	if (ram.map.region_count == 0)
		ram_make(&ram);
	limits.read_only = data[0] & 1;
	limits.discard = data[0] & 2;
	limits.write_zeroes = data[0] & 4;
	limits.can_punch = data[0] & 8;
	queue_make(&d, &ram, RINGS, SIZE);
	virtq_init(&q, &ram.map, SIZE);
	q.desc.addr = d.desc;
	q.avail.addr = d.avail;
	q.used.addr = d.used;
	CHECK(virtq_enable(&q, data[0] & 16, data[0] & 32));
	write_rings(&d, data + 4, size - 4);
	queue_set_avail_idx(&d, data[1] % (SIZE + 2));
	for (uint32_t i = 0; i < SIZE; i++) {
		enum virtq_result got = virtq_pop(&q, &chain);

		CHECK((got == VIRTQ_BAD) == (q.bad != NULL));
		if (got != VIRTQ_CHAIN)
			break;
		check_chain(&q, &chain);
		if (!blk_req_parse(&q, &chain, &limits, &req))
			continue;
		check_request(&q, &req);
		virtq_push(&q, req.head, req.in_bytes);
		(void)virtq_wants_signal(&q);
		(void)virtq_want_notify(&q, data[2] & 1);
	}
	return 0;
}
