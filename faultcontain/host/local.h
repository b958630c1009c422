/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_HOST_LOCAL_H
#define CELLVISOR_FAULTCONTAIN_HOST_LOCAL_H

/*
 * The transport inside one Linux kernel. Each cell listens on
 * RUNTIME_DIR/cell-N/fabric.sock; the higher cell of a pair connects and tries
 * again by itself, with a bounded back-off. Over the socket each side passes the
 * memfd of the ring in its own memory, and the eventfd that wakes it. The socket
 * then stays open: its end tells that the peer's process ended.
 */

#include <stdint.h>

#include "faultcontain/host/transport.h"
#include "monitor/err.h"

struct local_cfg {
	const char *runtime_dir; /* exists; cell-N is created in it if need be (0700) */
	uint16_t self_cell, cell_count;
	uint64_t incarnation;
	uint32_t ring_bytes; /* data bytes of each ring of this cell; see ring.h */
	struct transport_events events;
};

/*
 * Takes over the socket file of an earlier life. The caller's memory policy
 * decides on which node the rings lie. 0 or -errno with *e filled.
 */
int local_transport_init(struct transport *out, const struct local_cfg *cfg, struct err *e);

#endif
