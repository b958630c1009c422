/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_DEVICE_BLK_FILE_H
#define CELLVISOR_MONITOR_DEVICE_BLK_FILE_H

#include "monitor/device/blk_req.h"
#include "monitor/err.h"

/* An open disk image: a file or a block device. */
struct blk_file {
	int fd; /* owned */
	uint64_t bytes;
	bool read_only;
	bool can_punch;	       /* a regular file whose filesystem can punch holes */
	char id[BLK_ID_BYTES]; /* the disk's serial number, from device and inode; not terminated if
				  full */
};

/*
 * Opens the image at `path` and locks it (flock) until blk_file_close: exclusive, or
 * shared if read_only, so that no guest, of this or another cell, sees a disk
 * change that another one writes. Returns 0, or a negative errno with *e filled:
 * EXIT_INVALID (missing, neither file nor block device, empty, not a multiple of
 * 512 bytes), EXIT_CONFLICT (locked by another guest), EXIT_ENVIRONMENT (no
 * permission and the like).
 */
int blk_file_open(struct blk_file *f, const char *path, bool read_only, struct err *e);

void blk_file_close(struct blk_file *f);

#endif
