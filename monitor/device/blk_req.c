/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/device/blk_req.h"

#include "numa/check.h"

#include <endian.h>
#include <linux/virtio_blk.h>

#define HEADER_BYTES ((uint32_t)sizeof(struct virtio_blk_outhdr))
#define STATUS_BYTES 1u

static const uint8_t zeroes[65536];

_Static_assert((size_t)BLK_ZERO_SECTORS_MAX *BLK_SECTOR_BYTES <= BLK_IOV_MAX * sizeof(zeroes),
	"the largest write-zeroes request does not fit");

static void answer(struct blk_req *r, uint8_t status)
{
	r->op = BLK_DONE;
	r->status = status;
	r->in_bytes = STATUS_BYTES;
}

/* Sets the byte range of [sector, sector + count); false if that is not within the disk. */
static bool set_range(
	struct blk_req *r, const struct blk_limits *l, uint64_t sector, uint64_t count)
{
	if (sector > l->sectors || count > l->sectors - sector)
		return false;
	r->off = sector * BLK_SECTOR_BYTES;
	r->bytes = count * BLK_SECTOR_BYTES;
	return true;
}

/* `bytes` bytes of data lie at `from` of the chain's in or out segments. */
static void read_or_write(const struct virtq *q, const struct virtq_chain *c,
	const struct blk_limits *l, struct blk_req *r, bool in, uint64_t sector, uint32_t from,
	uint32_t bytes)
{
	if (bytes % BLK_SECTOR_BYTES != 0 || !set_range(r, l, sector, bytes / BLK_SECTOR_BYTES)) {
		answer(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	if (bytes == 0) {
		answer(r, VIRTIO_BLK_S_OK);
		return;
	}
	r->iov_count = virtq_iov(q, c, in, from, bytes, r->iov, BLK_IOV_MAX);
	if (r->iov_count == 0) { /* so scattered that it has more pieces than buffers */
		answer(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	r->op = in ? BLK_READ : BLK_WRITE;
	r->in_bytes = STATUS_BYTES + (in ? bytes : 0);
}

static void write_zeroes(struct blk_req *r)
{
	uint64_t left = r->bytes;

	for (r->iov_count = 0; left > 0; r->iov_count++) {
		uint64_t part = left < sizeof(zeroes) ? left : sizeof(zeroes);

		CHECK(r->iov_count < BLK_IOV_MAX);
		r->iov[r->iov_count] =
			(struct iovec){ .iov_base = (void *)(uintptr_t)zeroes, .iov_len = part };
		left -= part;
	}
	r->op = BLK_WRITE;
}

/* Discard and write-zeroes: one range each, as max_discard_seg and max_write_zeroes_seg say. */
static void discard_or_zero(const struct virtq *q, const struct virtq_chain *c,
	const struct blk_limits *l, struct blk_req *r, bool zero)
{
	struct virtio_blk_discard_write_zeroes range;
	uint32_t max = zero ? BLK_ZERO_SECTORS_MAX : BLK_DISCARD_SECTORS_MAX;
	uint32_t flags, count;

	if (!(zero ? l->write_zeroes : l->discard)) {
		answer(r, VIRTIO_BLK_S_UNSUPP);
		return;
	}
	if (c->out_bytes != HEADER_BYTES + sizeof(range) ||
		!virtq_read(q, c, HEADER_BYTES, &range, sizeof(range))) {
		answer(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	flags = le32toh(range.flags);
	count = le32toh(range.num_sectors);
	if (flags & ~(zero ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0u))
		answer(r, VIRTIO_BLK_S_UNSUPP);
	else if (l->read_only || count > max || !set_range(r, l, le64toh(range.sector), count))
		answer(r, VIRTIO_BLK_S_IOERR);
	else if (count == 0)
		answer(r, VIRTIO_BLK_S_OK);
	else if (zero && !(l->can_punch && (flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP)))
		write_zeroes(r);
	else
		r->op = BLK_PUNCH;
}

static void get_id(const struct virtq *q, const struct virtq_chain *c, const struct blk_limits *l,
	struct blk_req *r)
{
	if (c->in_bytes - STATUS_BYTES < BLK_ID_BYTES ||
		!virtq_write(q, c, 0, l->id, BLK_ID_BYTES)) {
		answer(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	answer(r, VIRTIO_BLK_S_OK);
	r->in_bytes += BLK_ID_BYTES;
}

bool blk_req_parse(const struct virtq *q, const struct virtq_chain *c, const struct blk_limits *l,
	struct blk_req *r)
{
	struct virtio_blk_outhdr header;
	const struct virtq_seg *last;

	if (c->in_bytes < STATUS_BYTES || !virtq_read(q, c, 0, &header, sizeof(header)))
		return false;
	last = &c->segs[c->out_count + c->in_count - 1];
	r->head = c->head;
	r->status_gpa.addr = last->gpa.addr + last->bytes - STATUS_BYTES;
	r->status = VIRTIO_BLK_S_OK;
	r->off = r->bytes = 0;
	r->in_bytes = STATUS_BYTES;
	r->iov_count = 0;
	switch (le32toh(header.type)) {
	case VIRTIO_BLK_T_IN:
		read_or_write(
			q, c, l, r, true, le64toh(header.sector), 0, c->in_bytes - STATUS_BYTES);
		break;
	case VIRTIO_BLK_T_OUT:
		if (l->read_only)
			answer(r, VIRTIO_BLK_S_IOERR);
		else
			read_or_write(q, c, l, r, false, le64toh(header.sector), HEADER_BYTES,
				c->out_bytes - HEADER_BYTES);
		break;
	case VIRTIO_BLK_T_FLUSH:
		r->op = BLK_FLUSH;
		break;
	case VIRTIO_BLK_T_GET_ID:
		get_id(q, c, l, r);
		break;
	case VIRTIO_BLK_T_DISCARD:
		discard_or_zero(q, c, l, r, false);
		break;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		discard_or_zero(q, c, l, r, true);
		break;
	default:
		answer(r, VIRTIO_BLK_S_UNSUPP);
		break;
	}
	return true;
}
