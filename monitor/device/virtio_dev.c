/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/device/virtio_dev.h"

#include "numa/check.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#define STATUS_STOPPED (VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED)

/* What virtio_dev itself can do, whatever the type. */
#define CORE_FEATURES                                                                              \
	(1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC |                        \
		1ull << VIRTIO_RING_F_EVENT_IDX)

static void forget_driver(struct virtio_dev *d)
{
	d->status = 0;
	d->resetting = false;
	d->features = 0;
	d->trouble = NULL;
	for (uint32_t i = 0; i < d->type->queue_count; i++)
		virtq_init(&d->queues[i], d->ram, d->type->queue_size);
}

void virtio_dev_init(
	struct virtio_dev *d, const struct virtio_type *type, void *ctx, const struct ram_map *ram)
{
	CHECK(type->queue_count >= 1 && type->queue_count <= VIRTIO_QUEUES_MAX);
	CHECK((type->features & CORE_FEATURES) == 0);
	*d = (struct virtio_dev){ .type = type, .ctx = ctx, .ram = ram };
	forget_driver(d);
}

uint64_t virtio_dev_offered(const struct virtio_dev *d)
{
	return d->type->features | CORE_FEATURES;
}

bool virtio_dev_has(const struct virtio_dev *d, uint32_t bit)
{
	return (d->status & VIRTIO_CONFIG_S_FEATURES_OK) && (d->features >> bit & 1);
}

bool virtio_dev_running(const struct virtio_dev *d)
{
	return (d->status & VIRTIO_CONFIG_S_DRIVER_OK) && !(d->status & STATUS_STOPPED) &&
	       !d->resetting;
}

bool virtio_dev_accept(struct virtio_dev *d, uint32_t half, uint32_t bits)
{
	CHECK(half < 2);
	if (d->resetting || (d->status & VIRTIO_CONFIG_S_FEATURES_OK))
		return false;
	d->features &= half ? UINT32_MAX : (uint64_t)UINT32_MAX << 32;
	d->features |= (uint64_t)bits << 32 * half;
	return true;
}

/* A choice of features that both sides can live with (2.2; 6.1: a modern device needs VERSION_1).
 */
static bool features_valid(const struct virtio_dev *d)
{
	return !(d->features & ~virtio_dev_offered(d)) && (d->features >> VIRTIO_F_VERSION_1 & 1);
}

bool virtio_dev_set_status(struct virtio_dev *d, uint8_t status)
{
	const uint8_t known = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
			      VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK |
			      VIRTIO_CONFIG_S_FAILED;
	uint8_t held = d->status & known;

	CHECK(status != 0);
	status &= known; /* NEEDS_RESET is the device's own: a driver may write back what it read */
	if (d->resetting || (held & ~status))
		return false;
	/* Each step needs the one before (3.1.1). */
	if ((status & VIRTIO_CONFIG_S_DRIVER_OK) && !(held & VIRTIO_CONFIG_S_FEATURES_OK))
		return false;
	if ((status & VIRTIO_CONFIG_S_FEATURES_OK) && !(held & VIRTIO_CONFIG_S_FEATURES_OK)) {
		if (!(status & VIRTIO_CONFIG_S_DRIVER))
			return false;
		if (!features_valid(d))
			status &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
	}
	d->status |= status;
	return true;
}

bool virtio_dev_enable_queue(struct virtio_dev *d, uint32_t queue)
{
	struct virtq *q;

	CHECK(queue < d->type->queue_count);
	q = &d->queues[queue];
	if (d->resetting || q->enabled || !(d->status & VIRTIO_CONFIG_S_FEATURES_OK))
		return false;
	if (!virtq_enable(q, virtio_dev_has(d, VIRTIO_RING_F_INDIRECT_DESC),
		    virtio_dev_has(d, VIRTIO_RING_F_EVENT_IDX)))
		virtio_dev_trouble(d, q->bad);
	return true;
}

bool virtio_dev_begin_reset(struct virtio_dev *d)
{
	if (d->resetting)
		return false;
	d->resetting = true;
	if (!d->type->stop(d->ctx))
		return false;
	forget_driver(d);
	return true;
}

void virtio_dev_stopped(struct virtio_dev *d)
{
	CHECK(d->resetting);
	forget_driver(d);
}

void virtio_dev_trouble(struct virtio_dev *d, const char *why)
{
	if (d->trouble)
		return;
	d->trouble = why;
	d->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
}
