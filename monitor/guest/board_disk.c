/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/guest/board_disk.h"

#include "numa/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void remark(struct board_disk *d, const char *what, const char *why)
{
	char text[160];

	snprintf(text, sizeof(text), "disk %u: %s: %s", d->index, what, why);
	d->board->env.remark(d->board->env.ctx, text);
}

static void route(void *ctx, uint32_t vector, uint64_t addr, uint32_t data, bool masked)
{
	struct board_disk *d = ctx;
	const struct kvm_message msi = { .address = addr, .data = data };
	int rc = kvm_routes_set(&d->board->routes, d->gsi + vector, masked ? NULL : &msi);

	if (rc)
		remark(d, "its interrupt can't be routed", strerrordesc_np(-rc));
}

static void signal_vector(void *ctx, uint32_t vector)
{
	struct board_disk *d = ctx;
	const uint64_t one = 1;

	(void)!write(d->vector_fds[vector], &one, sizeof(one));
}

/* Without an ioeventfd, notifications take the longer way over the bus. */
static void attach(struct board_disk *d, struct gpa at, bool on)
{
	int rc = views_ioeventfd(d->board->views, at, 2, virtio_blk_kick_fd(d->blk), on);

	if (rc)
		remark(d, on ? "no ioeventfd" : "its ioeventfd can't be detached",
			strerrordesc_np(-rc));
}

static void notify_attach(void *ctx, uint32_t queue, struct gpa at)
{
	(void)queue;
	attach(ctx, at, true);
}

static void notify_detach(void *ctx, uint32_t queue, struct gpa at)
{
	(void)queue;
	attach(ctx, at, false);
}

static void trouble(void *ctx, const char *why)
{
	remark(ctx, "stopped, its driver broke a rule", why);
}

static void close_vectors(struct board_disk *d)
{
	for (uint32_t i = 0; i < d->vector_count; i++)
		if (d->vector_fds[i] >= 0)
			close(d->vector_fds[i]);
}

static int open_vectors(struct board_disk *d, struct err *e)
{
	struct kvm_vm *vm = &views_main(d->board->views)->vm;
	int gsi = kvm_routes_take(&d->board->routes, d->vector_count);

	memset(d->vector_fds, -1, sizeof(d->vector_fds));
	if (gsi < 0)
		return err_set(e, EXIT_INVALID, "disk %u: no interrupt is left", d->index);
	d->gsi = (uint32_t)gsi;
	for (uint32_t i = 0; i < d->vector_count; i++) {
		int rc = 0;

		d->vector_fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (d->vector_fds[i] < 0)
			rc = -errno;
		if (!rc)
			rc = kvm_vm_irqfd(vm, d->gsi + i, d->vector_fds[i], true);
		if (rc) {
			rc = err_set(e, EXIT_ENVIRONMENT, "disk %u: no irqfd: %s", d->index,
				strerrordesc_np(-rc));
			close_vectors(d);
			(void)kvm_routes_give(&d->board->routes, d->gsi, d->vector_count);
			return rc;
		}
	}
	return 0;
}

static int make(struct board_disk *d, uint32_t queues, struct blk_file *file, struct err *e)
{
	struct virtio_blk_setup setup = {
		.index = d->index,
		.queue_count = queues,
		.file = *file,
		.ram = &views_main(d->board->views)->ram,
		.env = {
			.route = route,
			.signal = signal_vector,
			.notify_attach = notify_attach,
			.notify_detach = notify_detach,
			.trouble = trouble,
			.ctx = d,
		},
	};
	int rc;

	d->blk = calloc(1, sizeof(*d->blk));
	if (!d->blk)
		return err_set(e, EXIT_FAILED, "out of memory");
	rc = virtio_blk_init(d->blk, &setup, e);
	if (rc)
		free(d->blk);
	return rc;
}

int board_disk_init(struct board *b, struct board_disk *d, uint32_t index, uint32_t cpus,
	struct blk_file *file, struct err *e)
{
	uint32_t queues = cpus < BLK_QUEUES_MAX ? cpus : BLK_QUEUES_MAX;
	int rc;

	*d = (struct board_disk){ .board = b, .index = index, .vector_count = queues + 1 };
	rc = open_vectors(d, e);
	if (rc)
		return rc;
	rc = make(d, queues, file, e);
	if (rc)
		goto undo_vectors;
	/* There are more slots and addresses than a guest can have disks. */
	CHECK(pci_host_add(&b->host, index + 1, &d->blk->pci.fn) == 0);
	return 0;

undo_vectors:
	close_vectors(d);
	(void)kvm_routes_give(&b->routes, d->gsi, d->vector_count);
	return rc;
}

void board_disk_fini(struct board_disk *d)
{
	virtio_blk_fini(d->blk);
	free(d->blk);
	close_vectors(d);
	(void)kvm_routes_give(&d->board->routes, d->gsi, d->vector_count);
}
