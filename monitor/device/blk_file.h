/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_DEVICE_BLK_FILE_H
#define CELLVISOR_MONITOR_DEVICE_BLK_FILE_H

#include "monitor/err.h"

#include <stdbool.h>
#include <stdint.h>

#define BLK_SECTOR_BYTES 512u
#define BLK_ID_BYTES 20u

/* An open disk image: a file or a block device. */
struct blk_file {
	int fd; /* owned */
	uint64_t bytes;
	bool read_only;
	bool can_punch;	       /* holes can be punched: discard is offered */
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
