/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_DEVICE_BLK_REQ_H
#define CELLVISOR_MONITOR_DEVICE_BLK_REQ_H

#include "monitor/device/virtio.h"

/*
 * Block requests (virtio 1.2, 5.2.6): from a chain to what has to be done, without
 * doing it. Pure, but for reads of guest RAM.
 */

#define BLK_IOV_MAX (VIRTQ_SEGS_MAX + RAM_REGIONS_MAX)
#define BLK_ZERO_SECTORS_MAX 8192u	 /* of one write-zeroes request: 4 MiB */
#define BLK_DISCARD_SECTORS_MAX 2097152u /* of one discard request: 1 GiB */

/* What the requests are judged against. */
struct blk_limits {
	uint64_t sectors; /* capacity, 512 bytes each */
	bool read_only;
	bool discard; /* discard and write-zeroes were negotiated */
	char id[20];
};

enum blk_op {
	BLK_READ,    /* file to iov */
	BLK_WRITE,   /* iov to file */
	BLK_FLUSH,   /* make what was written durable */
	BLK_DISCARD, /* [off, off + bytes) may read anything after */
	BLK_UNMAP,   /* it reads zeroes after; storage may be released */
	BLK_ZERO,    /* it reads zeroes after; storage stays allocated */
	BLK_DONE,    /* nothing to do: `status` is the answer */
};

/* One request, in private memory; iov points into guest RAM. */
struct blk_req {
	enum blk_op op;
	uint8_t status;	     /* VIRTIO_BLK_S_* */
	uint64_t off, bytes; /* of the file; within capacity */
	uint32_t in_bytes;   /* of data that a success writes into the chain's in segments */
	uint32_t iov_count;
	struct iovec iov[BLK_IOV_MAX];
	uint16_t head;
	struct gpa status_gpa; /* where the status byte goes; RAM */
};

/*
 * Judges a chain. False if it is no block request at all (no room for header or status,
 * data in the wrong direction): the device is broken then. Everything else that is wrong becomes
 * BLK_DONE with the status that says so. A get-id request is answered here.
 */
bool blk_req_parse(const struct virtq *q, const struct virtq_chain *c, const struct blk_limits *l,
	struct blk_req *r);

#endif
