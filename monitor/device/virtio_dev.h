/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_DEVICE_VIRTIO_DEV_H
#define CELLVISOR_MONITOR_DEVICE_VIRTIO_DEV_H

#include "monitor/device/virtio.h"

/*
 * A virtio device apart from transport and type: status, features, queues
 * (virtio 1.2, 2.1, 2.2 and 3.1). One thread at a time.
 */

#define VIRTIO_QUEUES_MAX 8u

/* A device type. All callbacks with the device's lock held; those marked may be NULL. */
struct virtio_type {
	uint16_t id;	       /* virtio 1.2, 5 */
	uint64_t features;     /* offered beyond what virtio_dev offers itself */
	uint32_t queue_count;  /* 1 .. VIRTIO_QUEUES_MAX */
	uint32_t queue_size;   /* largest size of each */
	uint32_t config_bytes; /* size of its configuration, which is read-only */
	/* Copies configuration bytes [off, off + len), which exist. */
	void (*config_read)(void *ctx, uint32_t off, void *dst, uint32_t len);
	/* The driver is ready: queues that are enabled may be used. May be called again when bus
	 * mastering comes back. */
	void (*start)(void *ctx);
	/* Queue `queue` has, maybe, new chains. Only between start and stop. */
	void (*kick)(void *ctx, uint32_t queue);
	/*
	 * The driver resets the device: take no more chains. Returns true if none is in
	 * flight; else the type calls the transport's `stopped` when the last one has
	 * ended. Chains in flight must not be pushed any more.
	 */
	bool (*stop)(void *ctx);
};

struct virtio_dev {
	const struct virtio_type *type; /* borrowed */
	void *ctx;			/* of the type */
	const struct ram_map *ram;	/* borrowed */
	uint8_t status;
	bool resetting;	   /* a reset waits for requests in flight; status still reads as before */
	uint64_t features; /* what the driver accepted */
	const char *trouble; /* why DEVICE_NEEDS_RESET is set; static text */
	struct virtq queues[VIRTIO_QUEUES_MAX];
};

void virtio_dev_init(
	struct virtio_dev *d, const struct virtio_type *type, void *ctx, const struct ram_map *ram);

/* All that the device offers. */
uint64_t virtio_dev_offered(const struct virtio_dev *d);

/* Has the driver accepted feature bit `bit` for good (FEATURES_OK)? */
bool virtio_dev_has(const struct virtio_dev *d, uint32_t bit);

/* May queues be used: DRIVER_OK, and none of NEEDS_RESET, FAILED, resetting? */
bool virtio_dev_running(const struct virtio_dev *d);

/* The driver writes half `half` (0 or 1) of its features. False, without effect, after FEATURES_OK.
 */
bool virtio_dev_accept(struct virtio_dev *d, uint32_t half, uint32_t bits);

/*
 * The driver writes `status`, not 0. False, without effect, if it clears bits or comes
 * out of order. FEATURES_OK does not stick if the features are not a valid choice.
 */
bool virtio_dev_set_status(struct virtio_dev *d, uint8_t status);

/* The driver enables queue `queue`. False, without effect, if it may not now. Bad rings are
 * trouble. */
bool virtio_dev_enable_queue(struct virtio_dev *d, uint32_t queue);

/*
 * The driver writes status 0. Returns true if the device is reset already; else
 * virtio_dev_stopped has to be called when the type has stopped.
 */
bool virtio_dev_begin_reset(struct virtio_dev *d);
void virtio_dev_stopped(struct virtio_dev *d);

/* The device can't go on: DEVICE_NEEDS_RESET. `why` is static text; the first one is kept. */
void virtio_dev_trouble(struct virtio_dev *d, const char *why);

#endif
