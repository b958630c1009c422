/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/device/virtio.h"

#include "faultcontain/host/careful.h"
#include "numa/check.h"

#include <endian.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>

/* Layout of the rings (virtio 1.2, 2.7.6 and 2.7.8); the events come with EVENT_IDX. */
#define AVAIL_FLAGS 0u
#define AVAIL_IDX 2u
#define AVAIL_RING 4u
#define USED_FLAGS 0u
#define USED_IDX 2u
#define USED_RING 4u

static const char lost[] = "a ring of the queue was lost to a memory error";

static struct gpa gpa_at(struct gpa base, uint64_t off)
{
	return (struct gpa){ base.addr + off };
}

void virtq_init(struct virtq *q, const struct ram_map *ram, uint32_t size)
{
	CHECK(size >= 1 && size <= VIRTQ_SIZE_MAX && (size & (size - 1)) == 0);
	*q = (struct virtq){ .ram = ram, .size = size };
}

static bool is_ram(const struct ram_map *ram, struct gpa at, uint64_t bytes)
{
	struct iovec iov[RAM_REGIONS_MAX];

	return ram_iov(ram, at, bytes, iov, RAM_REGIONS_MAX) > 0;
}

static enum virtq_result broken(struct virtq *q, const char *how)
{
	q->bad = how;
	return VIRTQ_BAD;
}

bool virtq_enable(struct virtq *q, bool indirect, bool event_idx)
{
	uint64_t event_bytes = event_idx ? 2 : 0;

	CHECK(!q->enabled);
	q->bad = NULL;
	if (q->desc.addr % 16 || q->avail.addr % 2 || q->used.addr % 4)
		q->bad = "a ring of the queue is misaligned";
	else if (!is_ram(q->ram, q->desc, 16ull * q->size) ||
		 !is_ram(q->ram, q->avail, AVAIL_RING + 2ull * q->size + event_bytes) ||
		 !is_ram(q->ram, q->used, USED_RING + 8ull * q->size + event_bytes))
		q->bad = "a ring of the queue is not in RAM";
	if (q->bad)
		return false;
	q->indirect = indirect;
	q->event_idx = event_idx;
	q->avail_next = q->used_next = q->signalled = 0;
	q->avail_idx = ram_atomic(q->ram, gpa_at(q->avail, AVAIL_IDX), 2);
	q->avail_flags = ram_atomic(q->ram, gpa_at(q->avail, AVAIL_FLAGS), 2);
	q->used_idx = ram_atomic(q->ram, gpa_at(q->used, USED_IDX), 2);
	q->used_flags = ram_atomic(q->ram, gpa_at(q->used, USED_FLAGS), 2);
	q->used_event = q->avail_event = NULL;
	if (event_idx) {
		q->used_event = ram_atomic(q->ram, gpa_at(q->avail, AVAIL_RING + 2 * q->size), 2);
		q->avail_event = ram_atomic(q->ram, gpa_at(q->used, USED_RING + 8 * q->size), 2);
	}
	ram_written(q->ram, q->used, USED_RING + 8ull * q->size + event_bytes);
	q->enabled = true;
	return true;
}

/* False, with q->bad set, if the field's page was lost. */
static bool load16(struct virtq *q, const uint16_t *field, uint16_t *val)
{
	if (careful_load16(val, field)) {
		q->bad = lost;
		return false;
	}
	*val = le16toh(*val);
	return true;
}

static void store16(struct virtq *q, uint16_t *field, uint16_t val)
{
	if (careful_store16(field, htole16(val)))
		q->bad = lost;
}

/* A descriptor in private memory, in host order. */
struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

static bool read_desc(const struct virtq *q, struct gpa table, uint32_t index, struct desc *d)
{
	struct vring_desc raw;

	if (!ram_read(q->ram, gpa_at(table, 16ull * index), &raw, sizeof(raw)))
		return false;
	d->addr = le64toh(raw.addr);
	d->len = le32toh(raw.len);
	d->flags = le16toh(raw.flags);
	d->next = le16toh(raw.next);
	return true;
}

/* Appends one buffer. Returns what is wrong with it, or NULL. */
static const char *add_seg(const struct virtq *q, struct virtq_chain *c, const struct desc *d)
{
	bool in = d->flags & VRING_DESC_F_WRITE;
	uint32_t count = c->out_count + c->in_count;
	uint32_t *sum = in ? &c->in_bytes : &c->out_bytes;

	if (count == VIRTQ_SEGS_MAX)
		return "a chain has too many buffers, or loops";
	if (d->len == 0)
		return "a buffer has no bytes";
	if (!in && c->in_count > 0)
		return "a buffer to read follows one to write";
	if (d->len > UINT32_MAX - c->out_bytes - c->in_bytes)
		return "a chain has more than 2^32 bytes";
	if (!is_ram(q->ram, (struct gpa){ d->addr }, d->len))
		return "a buffer is not in RAM";
	c->segs[count] = (struct virtq_seg){ { d->addr }, d->len };
	*sum += d->len;
	if (in)
		c->in_count++;
	else
		c->out_count++;
	return NULL;
}

/* Appends the buffers of an indirect table. Returns what is wrong, or NULL. */
static const char *add_indirect(
	const struct virtq *q, struct virtq_chain *c, const struct desc *table)
{
	uint32_t count = table->len / 16, index = 0;
	struct desc d;

	if (!q->indirect)
		return "an indirect table was not negotiated";
	if (table->flags & VRING_DESC_F_NEXT)
		return "a chain goes on after an indirect table";
	if (table->len == 0 || table->len % 16 != 0)
		return "an indirect table has no valid size";
	if (!is_ram(q->ram, (struct gpa){ table->addr }, table->len))
		return "an indirect table is not in RAM";
	/* add_seg ends this at VIRTQ_SEGS_MAX buffers. */
	do {
		const char *wrong;

		if (index >= count)
			return "a next field points outside its table";
		if (!read_desc(q, (struct gpa){ table->addr }, index, &d))
			return "an indirect table was lost to a memory error";
		if (d.flags & VRING_DESC_F_INDIRECT)
			return "an indirect table within an indirect table";
		wrong = add_seg(q, c, &d);
		if (wrong)
			return wrong;
		index = d.next;
	} while (d.flags & VRING_DESC_F_NEXT);
	return NULL;
}

static const char *read_chain(const struct virtq *q, struct virtq_chain *c)
{
	uint32_t index = c->head;
	struct desc d;

	/* A chain without a loop visits each descriptor once at most. */
	for (uint32_t n = 0; n < q->size; n++) {
		const char *wrong;

		if (index >= q->size)
			return "a descriptor index is not below the queue's size";
		if (!read_desc(q, q->desc, index, &d))
			return "the descriptor table was lost to a memory error";
		if (d.flags & VRING_DESC_F_INDIRECT)
			return add_indirect(q, c, &d);
		wrong = add_seg(q, c, &d);
		if (wrong || !(d.flags & VRING_DESC_F_NEXT))
			return wrong;
		index = d.next;
	}
	return "a chain loops";
}

enum virtq_result virtq_pop(struct virtq *q, struct virtq_chain *c)
{
	uint16_t idx, ahead, head;
	const char *wrong;

	CHECK(q->enabled);
	if (q->bad || !load16(q, q->avail_idx, &idx))
		return VIRTQ_BAD;
	ahead = (uint16_t)(idx - q->avail_next);
	if (ahead == 0)
		return VIRTQ_EMPTY;
	if (ahead > q->size)
		return broken(q, "more chains are available than the queue has entries");
	if (!ram_read(q->ram, gpa_at(q->avail, AVAIL_RING + 2ull * (q->avail_next % q->size)),
		    &head, sizeof(head)))
		return broken(q, lost);
	c->head = le16toh(head);
	c->out_count = c->in_count = 0;
	c->out_bytes = c->in_bytes = 0;
	wrong = read_chain(q, c);
	if (wrong)
		return broken(q, wrong);
	q->avail_next++;
	return VIRTQ_CHAIN;
}

void virtq_push(struct virtq *q, uint16_t head, uint32_t bytes)
{
	struct vring_used_elem elem = { .id = htole32(head), .len = htole32(bytes) };

	CHECK(q->enabled);
	/* virtq_enable saw that the ring is RAM, so a page of it must have been lost. */
	if (!ram_write(q->ram, gpa_at(q->used, USED_RING + 8ull * (q->used_next % q->size)), &elem,
		    sizeof(elem))) {
		q->bad = lost;
		return;
	}
	q->used_next++;
	store16(q, q->used_idx, q->used_next);
}

bool virtq_wants_signal(struct virtq *q)
{
	uint16_t old = q->signalled, wish;

	CHECK(q->enabled);
	/* The new index must be visible before the driver's wish is read (2.7.7.2). */
	atomic_thread_fence(memory_order_seq_cst);
	q->signalled = q->used_next;
	/* A driver whose wish is lost is signalled: once too often is no harm. */
	if (!load16(q, q->event_idx ? q->used_event : q->avail_flags, &wish))
		return true;
	if (!q->event_idx)
		return !(wish & VRING_AVAIL_F_NO_INTERRUPT);
	return vring_need_event(wish, q->used_next, old);
}

bool virtq_want_notify(struct virtq *q, bool want)
{
	uint16_t idx;

	CHECK(q->enabled);
	if (q->event_idx) {
		/* Not moving the event index means that no notification is asked for. */
		if (want)
			store16(q, q->avail_event, q->avail_next);
	} else {
		store16(q, q->used_flags, want ? 0 : VRING_USED_F_NO_NOTIFY);
	}
	if (!want)
		return false;
	/* The wish must be visible before the last look (2.7.10.1). */
	atomic_thread_fence(memory_order_seq_cst);
	return !load16(q, q->avail_idx, &idx) || idx != q->avail_next;
}

uint32_t virtq_iov(const struct virtq *q, const struct virtq_chain *c, bool in, uint32_t from,
	uint32_t bytes, struct iovec *iov, uint32_t max)
{
	const struct virtq_seg *seg = &c->segs[in ? c->out_count : 0];
	uint32_t count = in ? c->in_count : c->out_count, n = 0;

	for (uint32_t i = 0; i < count && bytes > 0; i++, seg++) {
		uint32_t part = seg->bytes, pieces;

		if (from >= part) {
			from -= part;
			continue;
		}
		part -= from;
		if (part > bytes)
			part = bytes;
		if (in)
			ram_written(q->ram, gpa_at(seg->gpa, from), part);
		pieces = ram_iov(q->ram, gpa_at(seg->gpa, from), part, &iov[n], max - n);
		if (pieces == 0)
			return 0;
		n += pieces;
		bytes -= part;
		from = 0;
	}
	return bytes == 0 ? n : 0;
}

/* Copies between `buf` and the chain's bytes [off, off + bytes) in one direction. */
static bool copy(const struct virtq *q, const struct virtq_chain *c, bool in, uint32_t off,
	uint8_t *buf, uint32_t bytes)
{
	const struct virtq_seg *seg = &c->segs[in ? c->out_count : 0];
	uint32_t sum = in ? c->in_bytes : c->out_bytes;

	if (off > sum || bytes > sum - off)
		return false;
	for (; bytes > 0; seg++) {
		uint32_t part = seg->bytes;
		bool done;

		if (off >= part) {
			off -= part;
			continue;
		}
		part = part - off < bytes ? part - off : bytes;
		done = in ? ram_write(q->ram, gpa_at(seg->gpa, off), buf, part)
			  : ram_read(q->ram, gpa_at(seg->gpa, off), buf, part);
		if (!done) /* virtq_pop saw that it is RAM: a page of it was lost */
			return false;
		buf += part;
		bytes -= part;
		off = 0;
	}
	return true;
}

bool virtq_read(const struct virtq *q, const struct virtq_chain *c, uint32_t from, void *dst,
	uint32_t bytes)
{
	return copy(q, c, false, from, dst, bytes);
}

bool virtq_write(const struct virtq *q, const struct virtq_chain *c, uint32_t to, const void *src,
	uint32_t bytes)
{
	/* copy() only reads `buf` in this direction. */
	return copy(q, c, true, to, (uint8_t *)(uintptr_t)src, bytes);
}
