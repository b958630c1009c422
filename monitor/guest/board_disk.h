/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_GUEST_BOARD_DISK_H
#define CELLVISOR_MONITOR_GUEST_BOARD_DISK_H

/* One disk of the board, wired to KVM: MSI-X by irqfd, notifications by ioeventfd. */

#include "monitor/guest/board.h"

/*
 * Makes the disk and plugs it into slot index + 1 of the board's host bridge.
 * The image is given away on success only. 0, or a negative errno with *e.
 */
int board_disk_init(struct board *b, struct board_disk *d, uint32_t index, uint32_t cpus,
	struct blk_file *file, struct err *e);

/* No vCPU runs; waits for requests in flight. */
void board_disk_fini(struct board_disk *d);

#endif
