/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_DEVICE_BLK_REQ_H
#define CELLVISOR_MONITOR_DEVICE_BLK_REQ_H

#include "monitor/device/virtio.h"

/*
 * Block requests (virtio 1.2, 5.2.6): from a chain to what has to be done to the
 * disk's file, without doing it. No effect but on guest RAM.
 */

#define BLK_IOV_MAX (VIRTQ_SEGS_MAX + RAM_REGIONS_MAX)
#define BLK_ID_BYTES 20u
#define BLK_SECTOR_BYTES 512u
#define BLK_SEGS_MAX (VIRTQ_SEGS_MAX - 2) /* buffers of data: header and status have their own */
#define BLK_DISCARD_SECTORS_MAX 2097152u  /* of one discard request: 1 GiB */
#define BLK_ZERO_SECTORS_MAX 8192u	  /* of one write-zeroes request: 4 MiB */

/* What the requests are judged against. */
struct blk_limits {
	uint64_t sectors; /* capacity, of BLK_SECTOR_BYTES each */
	bool read_only;
	bool discard, write_zeroes; /* negotiated */
	bool can_punch;		    /* the file can have holes punched */
	char id[BLK_ID_BYTES];
};

enum blk_op {
	BLK_READ,  /* file to iov */
	BLK_WRITE, /* iov to file */
	BLK_FLUSH, /* make what was written durable */
	BLK_PUNCH, /* [off, off + bytes) of the file reads zeroes after, its storage may be released
		    */
	BLK_DONE,  /* nothing to do: `status` is the answer */
};

/* One request, in private memory. */
struct blk_req {
	enum blk_op op;
	uint8_t status;	     /* VIRTIO_BLK_S_*; of BLK_DONE only */
	uint16_t head;	     /* of the chain */
	uint64_t off, bytes; /* of the file; within capacity */
	uint32_t in_bytes;   /* that success writes into the chain, the status byte included */
	uint32_t iov_count;
	struct iovec iov[BLK_IOV_MAX]; /* guest RAM, or our zeroes; sums up to `bytes` */
	struct gpa status_gpa;	       /* where the status byte goes; RAM */
};

/*
 * Judges a chain. False if there is no room for header or status, or the header was lost to a
 * memory error: then it is no request, and the device can't even answer. Whatever else is wrong
 * becomes BLK_DONE with the status that says so. A get-id request is answered here.
 */
bool blk_req_parse(const struct virtq *q, const struct virtq_chain *c, const struct blk_limits *l,
	struct blk_req *r);

#endif
