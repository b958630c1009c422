/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_DEVICE_VIRTIO_BLK_H
#define CELLVISOR_MONITOR_DEVICE_VIRTIO_BLK_H

#include "monitor/device/blk_file.h"
#include "monitor/device/blk_req.h"
#include "monitor/device/virtio_pci.h"

#include <liburing.h>
#include <linux/virtio_blk.h>
#include <stdatomic.h>

/*
 * A virtio block device (virtio 1.2, 5.2) over an image file. A thread of its own
 * named "blk<index>" takes requests, does them by io_uring straight between guest RAM and
 * the file (no copy of ours), and answers. At most BLK_IN_FLIGHT are under way.
 *
 * I/O goes through the host's page cache: guests' buffers need not be aligned as
 * O_DIRECT wants, and flush is fdatasync. A driver that does not negotiate flush
 * gets write-through (RWF_DSYNC). The cache's pages are allocated by the thread, so
 * near its CPUs.
 *
 * What goes wrong with the file (EIO, ENOSPC, EFAULT from poisoned memory, a file cut
 * short) becomes VIRTIO_BLK_S_IOERR of that request.
 */

#define BLK_IN_FLIGHT 64u
#define BLK_QUEUES_MAX VIRTIO_QUEUES_MAX

struct virtio_blk_setup {
	uint32_t index;		   /* 0 for the guest's first disk */
	uint32_t queue_count;	   /* 1 .. BLK_QUEUES_MAX */
	struct blk_file file;	   /* given away if virtio_blk_init succeeds */
	const struct ram_map *ram; /* borrowed */
	struct virtio_pci_env env; /* how the owner attaches it to KVM */
};

/* One request in flight. */
struct blk_slot {
	struct blk_req req;
	uint32_t queue;
	uint32_t iov_done; /* pieces done after short transfers; the next one may be shortened */
	uint64_t bytes_done;
	struct blk_slot *next_free;
};

/* Big (about 300 KiB): allocate it. `pci` may be touched under `lock` only. */
struct virtio_blk {
	struct virtio_pci pci; /* plug pci.fn into a host bridge */
	pthread_mutex_t lock;  /* guards all of it but ring, thread, kick_fd and file */
	pthread_cond_t idle;   /* in_flight became 0 */

	struct blk_file file;
	struct blk_limits limits;
	struct virtio_type type;
	struct virtio_blk_config config;
	uint32_t index;
	int kick_fd; /* eventfd, nonblocking; owned */

	struct io_uring ring; /* the thread's alone once it runs */
	pthread_t thread;
	bool thread_runs, quit;
	atomic_bool moved;   /* the thread's CPUs are others; not guarded */
	bool draining;	     /* takes and answers nothing until in_flight is 0 */
	bool durable_writes; /* no flush negotiated */
	uint32_t in_flight;
	uint32_t used_queues; /* bit per queue: pushed to, driver not told yet */
	struct blk_slot *free_slots;
	struct blk_slot slots[BLK_IN_FLIGHT];
	struct virtq_chain chain; /* scratch of the thread */
};

/*
 * Prepares the device; no thread runs yet. Returns 0, or a negative errno with *e
 * (EXIT_ENVIRONMENT: io_uring or eventfd refused); setup->file stays the caller's then.
 */
int virtio_blk_init(struct virtio_blk *b, const struct virtio_blk_setup *setup, struct err *e);

/*
 * Starts the I/O thread. It and the kernel's workers for it inherit the caller's CPU
 * affinity and memory policy: call this from a thread that has the guest's. All
 * signals are blocked in it save SIGBUS and SIGSEGV. Returns 0, or a negative errno
 * with *e (EXIT_ENVIRONMENT).
 */
int virtio_blk_start(struct virtio_blk *b, struct err *e);

/* The eventfd (borrowed until virtio_blk_fini) to attach as ioeventfd for any of its queues. */
int virtio_blk_kick_fd(const struct virtio_blk *b);

/* The thread has been bound to other CPUs: the kernel's workers for it follow. Any thread. */
void virtio_blk_moved(struct virtio_blk *b);

/*
 * For a reboot of the guest: waits for requests in flight, then everything as
 * after virtio_blk_init; the thread stays. No vCPU runs.
 */
void virtio_blk_reset(struct virtio_blk *b);

/*
 * Waits for requests in flight, ends the thread, syncs nothing, closes the file.
 * No vCPU runs, and the bus is not used any more.
 */
void virtio_blk_fini(struct virtio_blk *b);

#endif
