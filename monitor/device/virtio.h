/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_DEVICE_VIRTIO_H
#define CELLVISOR_MONITOR_DEVICE_VIRTIO_H

#include "monitor/gpa.h"

/*
 * Split virtqueues (virtio 1.2, 2.7) as the device sees them. The rings lie in
 * guest RAM and may change at any time: every field is read once, and only the
 * copy is judged. Guest RAM is touched through monitor/gpa.h alone. One thread
 * at a time per queue.
 */

#define VIRTQ_SIZE_MAX 256u
#define VIRTQ_SEGS_MAX 256u /* buffers in a chain, indirect ones counted */

/* One buffer of a chain; all of it is RAM. */
struct virtq_seg {
	struct gpa gpa;
	uint32_t bytes; /* never 0 */
};

/* A chain of buffers, judged: segs[0 .. out_count) for the device to read, then in_count to write.
 */
struct virtq_chain {
	uint16_t head; /* what virtq_push wants back */
	uint32_t out_count, in_count;
	uint32_t out_bytes, in_bytes; /* sums; don't overflow */
	struct virtq_seg segs[VIRTQ_SEGS_MAX];
};

enum virtq_result {
	VIRTQ_EMPTY, /* nothing to take */
	VIRTQ_CHAIN, /* a chain was taken */
	VIRTQ_BAD,   /* the driver broke the queue's rules, or a ring was lost to a memory error;
			q->bad says which. Nothing can be taken any more */
};

struct virtq {
	const struct ram_map *ram; /* borrowed */
	/* Set by the transport while not enabled. */
	uint32_t size; /* power of two, 1 .. VIRTQ_SIZE_MAX */
	struct gpa desc, avail, used;

	bool enabled;
	bool indirect, event_idx; /* negotiated */
	const char *bad;	  /* static text, NULL while all is well */
	uint16_t avail_next;	  /* next avail entry to take */
	uint16_t used_next;	  /* next used entry to write */
	uint16_t signalled;	  /* used_next at the last virtq_wants_signal */
	uint16_t *avail_idx, *avail_flags, *used_event; /* fields in guest RAM */
	uint16_t *used_idx, *used_flags, *avail_event;
};

/* A queue that is not enabled, at its largest size (power of two, at most VIRTQ_SIZE_MAX). */
void virtq_init(struct virtq *q, const struct ram_map *ram, uint32_t size);

/*
 * Checks size, alignment and place of the rings and starts at index 0. Returns
 * false, with q->bad set, if they are not wholly in RAM or misaligned.
 */
bool virtq_enable(struct virtq *q, bool indirect, bool event_idx);

/* Takes the next chain into private memory. */
enum virtq_result virtq_pop(struct virtq *q, struct virtq_chain *c);

/*
 * Gives a chain back, with `bytes` bytes written into its in segments. Any order. This and the two
 * functions below set q->bad if they find that a ring was lost to a memory error.
 */
void virtq_push(struct virtq *q, uint16_t head, uint32_t bytes);

/* After pushes: does the driver want an interrupt for them? (2.7.7, 2.7.10) */
bool virtq_wants_signal(struct virtq *q);

/*
 * Asks the driver to notify (or no longer to) about new chains; a hint. After
 * asking for it returns true if chains are there already, for which no notification may come.
 */
bool virtq_want_notify(struct virtq *q, bool want);

/* Copies out bytes [from, from + bytes) of the chain's out segments; false if there are not as
 * many, or a page of them was lost to a memory error. */
bool virtq_read(const struct virtq *q, const struct virtq_chain *c, uint32_t from, void *dst,
	uint32_t bytes);

/* The same into its in segments. */
bool virtq_write(const struct virtq *q, const struct virtq_chain *c, uint32_t to, const void *src,
	uint32_t bytes);

/*
 * Describes bytes [from, from + bytes) of the out segments (or, if `in`, the in segments) as host
 * memory in at most `max` pieces, in segments being about to be written (ram_written()); 0 if there
 * are not as many bytes, bytes is 0, or more pieces would be needed.
 */
uint32_t virtq_iov(const struct virtq *q, const struct virtq_chain *c, bool in, uint32_t from,
	uint32_t bytes, struct iovec *iov, uint32_t max);

#endif
