/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/device/virtio_blk.h"

#include "numa/check.h"

#include <endian.h>
#include <errno.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/virtio_ids.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Room for all requests in flight and for the poll of kick_fd. */
#define RING_ENTRIES (2 * BLK_IN_FLIGHT)
#define CLASS_MASS_STORAGE 0x018000u /* mass storage, other */

/* --- one request in the ring; the thread, under the lock --- */

static struct io_uring_sqe *new_sqe(struct virtio_blk *b)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&b->ring);

	CHECK(sqe); /* RING_ENTRIES */
	return sqe;
}

static void submit(struct virtio_blk *b, struct blk_slot *s)
{
	struct blk_req *r = &s->req;
	const struct iovec *iov = &r->iov[s->iov_done];
	uint32_t count = r->iov_count - s->iov_done;
	struct io_uring_sqe *sqe = new_sqe(b);
	uint64_t off = r->off + s->bytes_done;

	switch (r->op) {
	case BLK_READ:
		io_uring_prep_readv(sqe, b->file.fd, iov, count, off);
		break;
	case BLK_WRITE:
		io_uring_prep_writev2(
			sqe, b->file.fd, iov, count, off, b->durable_writes ? RWF_DSYNC : 0);
		break;
	case BLK_PUNCH:
		io_uring_prep_fallocate(sqe, b->file.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			(off_t)off, (off_t)r->bytes);
		break;
	default:
		CHECK(r->op == BLK_FLUSH);
		io_uring_prep_fsync(sqe, b->file.fd, IORING_FSYNC_DATASYNC);
		break;
	}
	io_uring_sqe_set_data(sqe, s);
}

/* Skips `bytes` bytes that a short transfer has done. */
static void advance(struct blk_slot *s, uint64_t bytes)
{
	struct blk_req *r = &s->req;

	s->bytes_done += bytes;
	while (s->iov_done < r->iov_count && bytes >= r->iov[s->iov_done].iov_len)
		bytes -= r->iov[s->iov_done++].iov_len;
	if (s->iov_done < r->iov_count) {
		struct iovec *iov = &r->iov[s->iov_done];

		iov->iov_base = (uint8_t *)iov->iov_base + bytes;
		iov->iov_len -= bytes;
	}
}

/* May guest RAM be written and the driver be answered? */
static bool may_answer(struct virtio_blk *b)
{
	if (b->draining || !virtio_dev_running(&b->pci.dev))
		return false;
	if (!pci_fn_bus_master(&b->pci.fn))
		virtio_pci_trouble(
			&b->pci, "bus mastering was switched off under requests in flight");
	return virtio_pci_running(&b->pci);
}

/* Answers the driver; `written` bytes of the chain were filled, the status byte included. */
static void push(struct virtio_blk *b, uint32_t queue, const struct blk_req *r, uint8_t status,
	uint32_t written)
{
	struct virtq *q = &b->pci.dev.queues[queue];

	/* Without a status the driver would believe what the byte held before. */
	if (!ram_write(b->pci.dev.ram, r->status_gpa, &status, sizeof(status))) {
		virtio_pci_trouble(&b->pci, "a request's status byte was lost to a memory error");
		return;
	}
	virtq_push(q, r->head, written);
	if (q->bad)
		virtio_pci_trouble(&b->pci, q->bad);
	else
		b->used_queues |= 1u << queue;
}

static void finish(struct virtio_blk *b, struct blk_slot *s, uint8_t status)
{
	struct blk_req *r = &s->req;

	/* What a failed read has filled is not told: it has no use. */
	if (may_answer(b))
		push(b, s->queue, r, status, status == VIRTIO_BLK_S_OK ? r->in_bytes : 1);
	s->next_free = b->free_slots;
	b->free_slots = s;
	b->in_flight--;
	if (b->in_flight > 0)
		return;
	if (b->pci.dev.resetting)
		virtio_pci_stopped(&b->pci);
	pthread_cond_broadcast(&b->idle);
}

/* The kernel has done the slot's current step, with result `res`. */
static void complete(struct virtio_blk *b, struct blk_slot *s, int res)
{
	struct blk_req *r = &s->req;
	bool transfer = r->op == BLK_READ || r->op == BLK_WRITE;

	if (res == -EINTR || res == -EAGAIN) {
		submit(b, s);
	} else if (res < 0 || (transfer && res == 0)) { /* 0: the file has become shorter */
		finish(b, s, VIRTIO_BLK_S_IOERR);
	} else if (transfer) {
		advance(s, (uint64_t)res);
		if (s->bytes_done < r->bytes)
			submit(b, s);
		else
			finish(b, s, VIRTIO_BLK_S_OK);
	} else if (r->op == BLK_PUNCH && b->durable_writes) {
		r->op = BLK_FLUSH;
		submit(b, s);
	} else {
		finish(b, s, VIRTIO_BLK_S_OK);
	}
}

/* --- queues; the thread, under the lock --- */

/* Takes b->chain, which came from `queue`. False if the device can't go on. */
static bool take(struct virtio_blk *b, uint32_t queue)
{
	struct virtq *q = &b->pci.dev.queues[queue];
	struct blk_slot *s = b->free_slots;

	CHECK(s);
	if (!blk_req_parse(q, &b->chain, &b->limits, &s->req)) {
		virtio_pci_trouble(&b->pci,
			"a chain without room for a block request, or lost to a "
			"memory error");
		return false;
	}
	if (s->req.op == BLK_DONE) {
		push(b, queue, &s->req, s->req.status, s->req.in_bytes);
		return true;
	}
	b->free_slots = s->next_free;
	b->in_flight++;
	s->queue = queue;
	s->iov_done = 0;
	s->bytes_done = 0;
	submit(b, s);
	return true;
}

/* Takes up to `budget` chains. Returns true if more are there that could be taken. */
static bool take_some(struct virtio_blk *b, uint32_t queue, uint32_t budget)
{
	struct virtq *q = &b->pci.dev.queues[queue];

	virtq_want_notify(q, false);
	while (b->free_slots) {
		enum virtq_result got;

		if (budget-- == 0)
			return true;
		got = virtq_pop(q, &b->chain);
		if (got == VIRTQ_BAD)
			virtio_pci_trouble(&b->pci, q->bad);
		if (got == VIRTQ_BAD || (got == VIRTQ_CHAIN && !take(b, queue)))
			return false;
		if (got == VIRTQ_EMPTY && !virtq_want_notify(q, true)) {
			if (q->bad)
				virtio_pci_trouble(&b->pci, q->bad);
			return false;
		}
	}
	return false; /* the next one that finishes makes the thread look again */
}

/* Takes what the driver offers. Returns true if it should be called again without a wait. */
static bool take_all(struct virtio_blk *b)
{
	bool more = false;

	for (uint32_t i = 0; i < b->type.queue_count; i++) {
		if (b->draining || !virtio_pci_running(&b->pci))
			return false;
		/* The budget keeps a driver from holding the lock for ever. */
		if (b->pci.dev.queues[i].enabled && take_some(b, i, VIRTQ_SIZE_MAX))
			more = true;
	}
	return more;
}

static void tell_driver(struct virtio_blk *b)
{
	for (uint32_t i = 0; i < b->type.queue_count; i++) {
		struct virtq *q = &b->pci.dev.queues[i];

		if (!(b->used_queues >> i & 1) || !virtio_dev_running(&b->pci.dev))
			continue;
		virtio_pci_used(&b->pci, i);
		if (q->bad)
			virtio_pci_trouble(&b->pci, q->bad);
	}
	b->used_queues = 0;
}

/* --- the thread --- */

static void poll_kicks(struct virtio_blk *b)
{
	struct io_uring_sqe *sqe = new_sqe(b);

	io_uring_prep_poll_add(sqe, b->kick_fd, POLLIN);
	io_uring_sqe_set_data(sqe, NULL);
}

/* Works off what the kernel has done; under the lock. */
static void reap(struct virtio_blk *b)
{
	struct io_uring_cqe *cqe;

	while (io_uring_peek_cqe(&b->ring, &cqe) == 0) {
		struct blk_slot *s = io_uring_cqe_get_data(cqe);
		int res = cqe->res;
		eventfd_t kicks;

		io_uring_cqe_seen(&b->ring, cqe);
		if (s) {
			complete(b, s, res);
			continue;
		}
		(void)eventfd_read(b->kick_fd, &kicks); /* EAGAIN: an earlier read took it */
		poll_kicks(b);
	}
}

/* Keeps the kernel's workers for this thread on its CPUs. Kernels before 5.14 can't: they roam. */
static void pin_workers(struct virtio_blk *b)
{
	cpu_set_t cpus;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
		(void)io_uring_register_iowq_aff(&b->ring, sizeof(cpus), &cpus);
}

static void *blk_thread(void *blk)
{
	struct virtio_blk *b = blk;
	bool more, quit;
	int rc;

	pin_workers(b);
	poll_kicks(b);
	for (;;) {
		if (atomic_exchange(&b->moved, false))
			pin_workers(b);
		pthread_mutex_lock(&b->lock);
		reap(b);
		more = take_all(b);
		tell_driver(b);
		quit = b->quit && b->in_flight == 0;
		pthread_mutex_unlock(&b->lock);
		if (quit)
			return NULL;
		rc = io_uring_submit_and_wait(&b->ring, more ? 0 : 1);
		/* What was not submitted for lack of memory stays in the ring for the next turn. */
		CHECK(rc >= 0 || rc == -EINTR || rc == -EAGAIN || rc == -EBUSY);
	}
}

static void kick(struct virtio_blk *b)
{
	/* EAGAIN: the counter is full, so the thread is about to look anyway. */
	(void)eventfd_write(b->kick_fd, 1);
}

void virtio_blk_moved(struct virtio_blk *b)
{
	atomic_store(&b->moved, true);
	kick(b);
}

/* --- virtio_type: vCPU threads, under the lock --- */

static void type_config_read(void *ctx, uint32_t off, void *dst, uint32_t len)
{
	const struct virtio_blk *b = ctx;

	memcpy(dst, (const uint8_t *)&b->config + off, len);
}

static void type_start(void *ctx)
{
	struct virtio_blk *b = ctx;

	b->durable_writes = !virtio_dev_has(&b->pci.dev, VIRTIO_BLK_F_FLUSH);
	b->limits.discard = virtio_dev_has(&b->pci.dev, VIRTIO_BLK_F_DISCARD);
	b->limits.write_zeroes = virtio_dev_has(&b->pci.dev, VIRTIO_BLK_F_WRITE_ZEROES);
	kick(b);
}

static void type_kick(void *ctx, uint32_t queue)
{
	(void)queue; /* the thread looks at all of them */
	kick(ctx);
}

static bool type_stop(void *ctx)
{
	const struct virtio_blk *b = ctx;

	return b->in_flight == 0;
}

/* --- life cycle --- */

static uint64_t features(const struct blk_file *f, uint32_t queue_count)
{
	uint64_t bits = 1ull << VIRTIO_BLK_F_SEG_MAX | 1ull << VIRTIO_BLK_F_FLUSH |
			1ull << VIRTIO_BLK_F_BLK_SIZE;

	if (queue_count > 1)
		bits |= 1ull << VIRTIO_BLK_F_MQ;
	if (f->read_only)
		bits |= 1ull << VIRTIO_BLK_F_RO;
	else
		bits |= 1ull << VIRTIO_BLK_F_WRITE_ZEROES;
	if (f->can_punch)
		bits |= 1ull << VIRTIO_BLK_F_DISCARD;
	return bits;
}

static void describe(struct virtio_blk *b, const struct virtio_blk_setup *setup)
{
	const struct blk_file *f = &b->file;

	b->type = (struct virtio_type){
		.id = VIRTIO_ID_BLOCK,
		.features = features(f, setup->queue_count),
		.queue_count = setup->queue_count,
		.queue_size = VIRTQ_SIZE_MAX,
		.config_bytes = sizeof(b->config),
		.config_read = type_config_read,
		.start = type_start,
		.kick = type_kick,
		.stop = type_stop,
	};
	b->config = (struct virtio_blk_config){
		.capacity = htole64(f->bytes / BLK_SECTOR_BYTES),
		.seg_max = htole32(BLK_SEGS_MAX),
		.blk_size = htole32(BLK_SECTOR_BYTES),
		.num_queues = htole16((uint16_t)setup->queue_count),
		.max_discard_sectors = htole32(BLK_DISCARD_SECTORS_MAX),
		.max_discard_seg = htole32(1),
		.discard_sector_alignment = htole32(4096 / BLK_SECTOR_BYTES),
		.max_write_zeroes_sectors = htole32(BLK_ZERO_SECTORS_MAX),
		.max_write_zeroes_seg = htole32(1),
		.write_zeroes_may_unmap = f->can_punch,
	};
	b->limits = (struct blk_limits){
		.sectors = f->bytes / BLK_SECTOR_BYTES,
		.read_only = f->read_only,
		.can_punch = f->can_punch,
	};
	memcpy(b->limits.id, f->id, sizeof(b->limits.id));
}

int virtio_blk_init(struct virtio_blk *b, const struct virtio_blk_setup *setup, struct err *e)
{
	int rc;

	CHECK(setup->queue_count >= 1 && setup->queue_count <= BLK_QUEUES_MAX);
	memset(b, 0, sizeof(*b));
	b->file = setup->file;
	b->index = setup->index;
	describe(b, setup);
	for (uint32_t i = 0; i < BLK_IN_FLIGHT; i++) {
		b->slots[i].next_free = b->free_slots;
		b->free_slots = &b->slots[i];
	}
	b->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (b->kick_fd < 0)
		return err_set(e, EXIT_ENVIRONMENT, "disk %u: eventfd: %s", b->index,
			strerrordesc_np(errno));
	rc = io_uring_queue_init(RING_ENTRIES, &b->ring, 0);
	if (rc != 0) {
		(void)close(b->kick_fd);
		return err_set(e, EXIT_ENVIRONMENT,
			"disk %u: the kernel refuses io_uring (%s); see "
			"/proc/sys/kernel/io_uring_disabled",
			b->index, strerrordesc_np(-rc));
	}
	rc = pthread_mutex_init(&b->lock, NULL);
	CHECK(rc == 0);
	rc = pthread_cond_init(&b->idle, NULL);
	CHECK(rc == 0);
	virtio_pci_init(
		&b->pci, &b->type, b, setup->ram, &setup->env, CLASS_MASS_STORAGE, &b->lock);
	return 0;
}

int virtio_blk_start(struct virtio_blk *b, struct err *e)
{
	sigset_t blocked, old;
	char name[16];
	int rc;

	CHECK(!b->thread_runs);
	(void)sigfillset(&blocked);
	(void)sigdelset(&blocked, SIGBUS);
	(void)sigdelset(&blocked, SIGSEGV);
	pthread_sigmask(SIG_SETMASK, &blocked, &old);
	rc = pthread_create(&b->thread, NULL, blk_thread, b);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc != 0)
		return err_set(e, EXIT_ENVIRONMENT, "disk %u: no thread: %s", b->index,
			strerrordesc_np(rc));
	b->thread_runs = true;
	(void)snprintf(name, sizeof(name), "blk%u", b->index);
	(void)pthread_setname_np(b->thread, name);
	return 0;
}

int virtio_blk_kick_fd(const struct virtio_blk *b)
{
	return b->kick_fd;
}

void virtio_blk_reset(struct virtio_blk *b)
{
	pthread_mutex_lock(&b->lock);
	b->draining = true;
	while (b->in_flight > 0)
		pthread_cond_wait(&b->idle, &b->lock);
	virtio_pci_reset(&b->pci);
	b->draining = false;
	b->used_queues = 0;
	pthread_mutex_unlock(&b->lock);
}

void virtio_blk_fini(struct virtio_blk *b)
{
	if (b->thread_runs) {
		pthread_mutex_lock(&b->lock);
		b->draining = b->quit = true;
		pthread_mutex_unlock(&b->lock);
		kick(b);
		pthread_join(b->thread, NULL);
	}
	io_uring_queue_exit(&b->ring);
	(void)close(b->kick_fd);
	blk_file_close(&b->file);
	pthread_cond_destroy(&b->idle);
	pthread_mutex_destroy(&b->lock);
}
