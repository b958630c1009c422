/* SPDX-License-Identifier: BSD-2-Clause */
/* The block device whole: a driver on one side, a real file and io_uring on the other. */
#include "pci_driver.h"

#include "monitor/device/virtio_blk.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define RINGS (RAM_A + 0x1000)
#define HEADERS (RAM_A + 0x10000)
#define STATUSES (RAM_A + 0x18000)
#define DATA (RAM_A + 0x20000)
#define DISK_BYTES (256 * 1024)
#define ALL_FEATURES                                                                               \
	(1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_DISCARD |  \
		1ull << VIRTIO_BLK_F_WRITE_ZEROES)

static struct machine m;
static struct virtio_blk *b;
static struct driver_queue d;
static char path[] = "/tmp/cv-blk-XXXXXX";
static int disk; /* the test's own view of the file */
static uint16_t next_req;

static void make(bool read_only, uint32_t queues)
{
	struct virtio_blk_setup s = { .index = 3, .queue_count = queues, .ram = &m.ram.map };
	struct err e;

	machine_make(&m);
	disk = mkstemp(path);
	cr_assert(disk >= 0 && ftruncate(disk, DISK_BYTES) == 0);
	cr_assert_eq(blk_file_open(&s.file, path, read_only, &e), 0, "%s", e.text);
	s.env = machine_env(&m);
	b = malloc(sizeof(*b));
	cr_assert_eq(virtio_blk_init(b, &s, &e), 0, "%s", e.text);
	cr_assert_eq(pci_host_add(&m.host, 1, &b->pci.fn), 0);
	queue_make(&d, &m.ram, RINGS, 256);
	next_req = 0;
}

static void start(void)
{
	struct err e;

	cr_assert_eq(virtio_blk_start(b, &e), 0, "%s", e.text);
}

static void up(uint64_t features)
{
	driver_probe(&m, 1);
	cr_assert(driver_negotiate(&m, features));
	driver_msix(&m, 2);
	driver_enable_queue(&m, 0, &d);
	driver_add_status(&m, VIRTIO_CONFIG_S_DRIVER_OK);
}

static void setup(void)
{
	make(false, 1);
	start();
	up(ALL_FEATURES);
}

static void drop(void)
{
	virtio_blk_fini(b);
	free(b);
	machine_drop(&m);
	close(disk);
	unlink(path);
}

TestSuite(virtio_blk, .init = setup, .fini = drop);
TestSuite(virtio_blk_plain, .fini = drop);

static void notify(void)
{
	/* As an ioeventfd would. */
	cr_assert_eq(eventfd_write(virtio_blk_kick_fd(b), 1), 0);
}

/* Offers one request; returns its number. Data, if any, lies at DATA + from. */
static uint16_t offer(uint32_t type, uint64_t sector, uint32_t from, uint32_t bytes, bool in)
{
	uint16_t n = next_req++;
	struct virtio_blk_outhdr h = { .type = type, .sector = sector };
	struct driver_desc bufs[3] = { { HEADERS + 16u * (n % 256), 16, 0, 0 } };
	uint16_t count = 1;

	memcpy(ram_at(&m.ram, bufs[0].addr), &h, sizeof(h));
	if (bytes)
		bufs[count++] = (struct driver_desc){ DATA + from, bytes, in ? WRITE : 0, 0 };
	bufs[count++] = (struct driver_desc){ STATUSES + n % 256, 1, WRITE, 0 };
	*ram_at(&m.ram, STATUSES + n % 256) = 0xaa;
	queue_chain(&d, bufs, count);
	return n;
}

static uint8_t status_of(uint16_t n)
{
	return *(volatile uint8_t *)ram_at(&m.ram, STATUSES + n % 256);
}

/* Waits until `count` more chains have come back; returns the length of the last. */
static uint32_t wait_used(uint32_t count)
{
	uint32_t id, len = 0;

	while (count > 0) {
		if (queue_take_used(&d, &id, &len))
			count--;
		else
			usleep(100);
	}
	return len;
}

static uint8_t run(uint32_t type, uint64_t sector, uint32_t from, uint32_t bytes, bool in)
{
	uint16_t n = offer(type, sector, from, bytes, in);

	notify();
	wait_used(1);
	return status_of(n);
}

Test(virtio_blk, writes_reach_the_file_and_reads_come_from_it)
{
	char back[1024];
	uint32_t len;
	uint16_t n;

	for (uint32_t i = 0; i < 1024; i++)
		ram_at(&m.ram, DATA)[i] = (uint8_t)(i * 7);
	cr_assert_eq(run(VIRTIO_BLK_T_OUT, 5, 0, 1024, false), VIRTIO_BLK_S_OK);
	cr_assert_eq(pread(disk, back, 1024, 5 * 512), 1024);
	cr_assert(!memcmp(back, ram_at(&m.ram, DATA), 1024));
	cr_assert_eq(pread(disk, back, 512, 4 * 512), 512);
	cr_assert_eq(back[511], 0);

	cr_assert_eq(pwrite(disk, "hello", 5, DISK_BYTES - 512), 5);
	n = offer(VIRTIO_BLK_T_IN, DISK_BYTES / 512 - 1, 4096, 512, true);
	notify();
	len = wait_used(1);
	cr_assert_eq(status_of(n), VIRTIO_BLK_S_OK);
	cr_assert_eq(len, 513);
	cr_assert(!memcmp(ram_at(&m.ram, DATA + 4096), "hello", 5));
	cr_assert_eq(run(VIRTIO_BLK_T_FLUSH, 0, 0, 0, false), VIRTIO_BLK_S_OK);
	cr_assert_geq(m.vectors[0].signals, 1);
	cr_assert_eq(m.vectors[1].signals, 0);
	cr_assert_eq(m.troubles, 0);
}

/* More than can be in flight, offered at once, to one sector each: all are answered, each right. */
Test(virtio_blk, a_full_queue_is_worked_off)
{
	uint8_t back[512];

	for (uint32_t round = 0; round < 10; round++) {
		for (uint32_t i = 0; i < 80; i++) {
			memset(ram_at(&m.ram, DATA + 512 * i), (int)(i + round + 1), 512);
			offer(VIRTIO_BLK_T_OUT, i, 512 * i, 512, false);
		}
		notify();
		wait_used(80);
		for (uint16_t i = 0; i < 80; i++) {
			cr_assert_eq(status_of((uint16_t)(next_req - 1 - i)), VIRTIO_BLK_S_OK);
			cr_assert_eq(pread(disk, back, 512, 512 * i), 512);
			cr_assert_eq(back[0], (uint8_t)(i + round + 1));
			cr_assert_eq(back[511], back[0]);
		}
	}
}

/* Each request only after the one before was answered, notified only if the device wants that. */
Test(virtio_blk, event_idx_asks_for_every_notification_that_is_needed)
{
	wr(&m, m.common + VIRTIO_PCI_COMMON_STATUS, 0, 1);
	queue_make(&d, &m.ram, RINGS, 256);
	up(ALL_FEATURES | 1ull << VIRTIO_RING_F_EVENT_IDX);
	for (uint32_t i = 0; i < 2000; i++) {
		uint16_t was = d.avail_idx;

		offer(VIRTIO_BLK_T_IN, i % 100, 0, 512, true);
		atomic_thread_fence(memory_order_seq_cst);
		if (vring_need_event(queue_avail_event(&d), d.avail_idx, was))
			notify();
		wait_used(1);
	}
}

/*
 * A chain that is offered just when the device has seen the queue empty but not yet asked to be
 * notified: nobody notifies it, so the device has to look again. The moment is caught by a page
 * that faults when the device writes its wish.
 */
#define EVENT_PAGE (RAM_A + 0x5000)

static void offer_in_that_moment(int signum)
{
	(void)signum;
	offer(VIRTIO_BLK_T_GET_ID, 0, 0, 20, true);
	mprotect(ram_at(&m.ram, EVENT_PAGE), 0x1000, PROT_READ | PROT_WRITE);
}

Test(virtio_blk, no_chain_is_missed_that_comes_before_the_wish_for_a_notification, .timeout = 30)
{
	const struct sigaction act = { .sa_handler = offer_in_that_moment };

	wr(&m, m.common + VIRTIO_PCI_COMMON_STATUS, 0, 1);
	queue_make(&d, &m.ram, RINGS, 256);
	d.used = EVENT_PAGE - (4 + 8 * 256); /* the event field is the first thing in its page */
	up(ALL_FEATURES | 1ull << VIRTIO_RING_F_EVENT_IDX);
	cr_assert_eq(run(VIRTIO_BLK_T_GET_ID, 0, 0, 20, true), VIRTIO_BLK_S_OK);
	while (queue_avail_event(&d) != 1)
		usleep(100);
	cr_assert_eq(sigaction(SIGSEGV, &act, NULL), 0);
	cr_assert_eq(mprotect(ram_at(&m.ram, EVENT_PAGE), 0x1000, PROT_READ), 0);
	offer(VIRTIO_BLK_T_GET_ID, 0, 0, 20, true);
	notify();
	wait_used(2);
	cr_assert_eq(d.avail_idx, 3);
}

Test(virtio_blk, bad_requests_are_answered_and_hurt_nobody)
{
	cr_assert_eq(run(VIRTIO_BLK_T_IN, DISK_BYTES / 512, 0, 512, true), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(run(99, 0, 0, 512, true), VIRTIO_BLK_S_UNSUPP);
	cr_assert_eq(run(VIRTIO_BLK_T_GET_ID, 0, 0, 20, true), VIRTIO_BLK_S_OK);
	cr_assert(!memcmp(ram_at(&m.ram, DATA), b->file.id, 20));
	cr_assert_eq(run(VIRTIO_BLK_T_IN, 0, 0, 512, true), VIRTIO_BLK_S_OK);
}

Test(virtio_blk, a_bad_chain_stops_the_device_until_reset)
{
	queue_desc(&d, 0, 0xdead0000, 16, 0, 0);
	queue_offer(&d, 0);
	notify();
	while (!(driver_status(&m) & VIRTIO_CONFIG_S_NEEDS_RESET))
		usleep(100);
	cr_assert(strstr(m.trouble, "not in RAM"));
	wr(&m, m.common + VIRTIO_PCI_COMMON_STATUS, 0, 1);
	while (driver_status(&m) != 0)
		usleep(100);
	queue_make(&d, &m.ram, RINGS, 256);
	up(ALL_FEATURES);
	cr_assert_eq(run(VIRTIO_BLK_T_IN, 0, 0, 512, true), VIRTIO_BLK_S_OK);
}

Test(virtio_blk, a_chain_that_is_no_request_stops_the_device)
{
	const struct driver_desc buf = { HEADERS, 16, 0, 0 };

	queue_chain(&d, &buf, 1);
	notify();
	while (!(driver_status(&m) & VIRTIO_CONFIG_S_NEEDS_RESET))
		usleep(100);
	cr_assert(strstr(m.trouble, "request"));
	cr_assert_eq(queue_used_idx(&d), 0);
}

Test(virtio_blk, a_file_cut_short_is_an_io_error)
{
	cr_assert_eq(ftruncate(disk, 4096 + 256), 0);
	cr_assert_eq(run(VIRTIO_BLK_T_IN, 64, 0, 512, true), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(
		run(VIRTIO_BLK_T_IN, 8, 0, 512, true), VIRTIO_BLK_S_IOERR, "half of it is there");
	cr_assert_eq(run(VIRTIO_BLK_T_IN, 7, 0, 512, true), VIRTIO_BLK_S_OK);
}

/* The kernel can't copy to or from this guest memory, as with a poisoned page. */
Test(virtio_blk, memory_that_faults_is_an_io_error)
{
	cr_assert_eq(mprotect(ram_at(&m.ram, DATA + 0x8000), 0x1000, PROT_NONE), 0);
	cr_assert_eq(run(VIRTIO_BLK_T_IN, 0, 0x8000, 512, true), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(run(VIRTIO_BLK_T_OUT, 0, 0x8000, 512, false), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(
		run(VIRTIO_BLK_T_IN, 0, 0x7000, 8192, true), VIRTIO_BLK_S_IOERR, "a part of it");
	cr_assert_eq(run(VIRTIO_BLK_T_IN, 0, 0, 512, true), VIRTIO_BLK_S_OK);
	cr_assert_eq(m.troubles, 0);
}

/* A flush whose status byte is on a page that can't be touched any more. */
static void offer_lost(void)
{
	const struct virtio_blk_outhdr h = { .type = VIRTIO_BLK_T_FLUSH };
	const struct driver_desc bufs[] = { { HEADERS, 16, 0, 0 }, { STATUSES, 1, WRITE, 0 } };

	memcpy(ram_at(&m.ram, HEADERS), &h, sizeof(h));
	queue_chain(&d, bufs, 2);
}

/* Waits for DEVICE_NEEDS_RESET. */
static void wait_trouble(void)
{
	bool troubled = false;

	while (!troubled) {
		pthread_mutex_lock(&b->lock);
		troubled = b->pci.dev.trouble != NULL;
		pthread_mutex_unlock(&b->lock);
		poll(NULL, 0, 1);
	}
	cr_assert(strstr(b->pci.dev.trouble, "memory error"), "%s", b->pci.dev.trouble);
}

Test(virtio_blk, a_lost_status_byte_stops_the_device, .timeout = 60)
{
	ram_lose(&m.ram, STATUSES);
	offer_lost();
	notify();
	wait_trouble();
}

Test(virtio_blk, a_lost_header_stops_the_device, .timeout = 60)
{
	offer(VIRTIO_BLK_T_FLUSH, 0, 0, 0, false);
	ram_lose(&m.ram, HEADERS);
	notify();
	wait_trouble();
}

Test(virtio_blk, lost_rings_stop_the_device, .timeout = 60)
{
	offer(VIRTIO_BLK_T_FLUSH, 0, 0, 0, false);
	ram_lose(&m.ram, d.used);
	notify();
	wait_trouble();
}

Test(virtio_blk, discard_and_write_zeroes_release_or_clear)
{
	struct virtio_blk_discard_write_zeroes range = { .sector = 8, .num_sectors = 16 };
	static uint8_t full[32 * 1024], back[32 * 1024];
	struct stat before, after;

	memset(full, 0x77, sizeof(full));
	cr_assert_eq(pwrite(disk, full, sizeof(full), 0), sizeof(full));
	memcpy(ram_at(&m.ram, DATA), &range, sizeof(range));
	cr_assert_eq(run(VIRTIO_BLK_T_WRITE_ZEROES, 0, 0, 16, false), VIRTIO_BLK_S_OK);
	cr_assert_eq(pread(disk, back, sizeof(back), 0), sizeof(back));
	memset(full + 8 * 512, 0, 16 * 512);
	cr_assert(!memcmp(full, back, sizeof(full)));

	if (!b->file.can_punch)
		return;
	range.sector = 24;
	range.num_sectors = 32;
	memcpy(ram_at(&m.ram, DATA), &range, sizeof(range));
	cr_assert_eq(fstat(disk, &before), 0);
	cr_assert_eq(run(VIRTIO_BLK_T_DISCARD, 0, 0, 16, false), VIRTIO_BLK_S_OK);
	cr_assert_eq(fstat(disk, &after), 0);
	cr_assert_lt(after.st_blocks, before.st_blocks);
	cr_assert_eq(after.st_size, DISK_BYTES);
}

Test(virtio_blk, the_thread_has_its_name)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *entry;
	bool found = false;

	while ((entry = readdir(tasks))) {
		char name[320], text[32] = "";
		FILE *f;

		(void)snprintf(name, sizeof(name), "/proc/self/task/%s/comm", entry->d_name);
		f = fopen(name, "r");
		if (!f)
			continue;
		if (fgets(text, sizeof(text), f) && !strcmp(text, "blk3\n"))
			found = true;
		fclose(f);
	}
	closedir(tasks);
	cr_assert(found);
}

/*
 * Requests that can't end: the file is a pipe, which only the test can fill. So the
 * device is caught in the middle, for certain.
 */
static int stuck_write_end;

static void make_stuck(void)
{
	int ends[2];

	cr_assert_eq(pipe(ends), 0);
	make(false, 1);
	close(b->file.fd);
	b->file.fd = ends[0];
	stuck_write_end = ends[1];
	start();
	up(ALL_FEATURES);
	for (int i = 0; i < 3; i++)
		offer(VIRTIO_BLK_T_IN, 0, 4096u * (unsigned)i, 512, true);
	notify();
	for (;;) {
		uint32_t in_flight;

		pthread_mutex_lock(&b->lock);
		in_flight = b->in_flight;
		pthread_mutex_unlock(&b->lock);
		if (in_flight == 3)
			break;
		usleep(100);
	}
}

static void unstick(void)
{
	static const char bytes[3 * 512];

	cr_assert_eq(write(stuck_write_end, bytes, sizeof(bytes)), sizeof(bytes));
	close(stuck_write_end);
}

Test(virtio_blk_plain, a_driver_reset_waits_for_requests_in_flight)
{
	make_stuck();
	wr(&m, m.common + VIRTIO_PCI_COMMON_STATUS, 0, 1);
	usleep(20000);
	cr_assert_neq(driver_status(&m), 0, "memory of requests in flight may still be written");
	unstick();
	while (driver_status(&m) != 0)
		usleep(100);
	cr_assert_eq(b->in_flight, 0);
	cr_assert_eq(queue_used_idx(&d), 0, "a device in reset does not touch the rings");
	cr_assert_eq(m.vectors[0].signals, 0);
}

static void *late_unstick(void *arg)
{
	usleep(50000);
	unstick();
	return arg;
}

Test(virtio_blk_plain, a_guest_reset_waits_for_requests_in_flight)
{
	pthread_t thread;

	make_stuck();
	cr_assert_eq(pthread_create(&thread, NULL, late_unstick, NULL), 0);
	virtio_blk_reset(b);
	cr_assert_eq(b->in_flight, 0);
	pthread_join(thread, NULL);
	cr_assert_eq(queue_used_idx(&d), 0);
	close(b->file.fd);
	b->file.fd = dup(disk);
	queue_make(&d, &m.ram, RINGS, 256);
	up(ALL_FEATURES);
	cr_assert_eq(run(VIRTIO_BLK_T_IN, 0, 0, 512, true), VIRTIO_BLK_S_OK, "it works again");
}

Test(virtio_blk_end, the_end_waits_for_requests_in_flight)
{
	pthread_t thread;

	make_stuck();
	cr_assert_eq(pthread_create(&thread, NULL, late_unstick, NULL), 0);
	drop(); /* the sanitizers would see a request that outlives its memory */
	pthread_join(thread, NULL);
}

Test(virtio_blk_plain, bus_mastering_off_under_requests_is_trouble)
{
	make_stuck();
	wr(&m, cfg(&m, PCI_COMMAND), PCI_COMMAND_MEMORY, 2);
	unstick();
	while (!(driver_status(&m) & VIRTIO_CONFIG_S_NEEDS_RESET))
		usleep(100);
	cr_assert_eq(queue_used_idx(&d), 0);
	cr_assert_eq(m.vectors[0].signals, 0);
}

/* A transfer that comes in pieces: the pipe is filled bit by bit. */
Test(virtio_blk_plain, short_transfers_are_continued)
{
	uint8_t bytes[512];
	int ends[2];
	uint16_t n;

	cr_assert_eq(pipe(ends), 0);
	make(false, 1);
	close(b->file.fd);
	b->file.fd = ends[0];
	start();
	up(ALL_FEATURES);
	n = offer(VIRTIO_BLK_T_IN, 0, 0, 512, true);
	notify();
	for (uint32_t i = 0; i < 512; i++)
		bytes[i] = (uint8_t)(i * 3);
	for (uint32_t i = 0; i < 512; i += 128) {
		cr_assert_eq(write(ends[1], bytes + i, 128), 128);
		for (int left = 1; left > 0; usleep(100)) { /* until it has been read */
			struct pollfd p = { .fd = ends[0], .events = POLLIN };

			left = poll(&p, 1, 0);
		}
	}
	wait_used(1);
	cr_assert_eq(status_of(n), VIRTIO_BLK_S_OK);
	cr_assert(!memcmp(ram_at(&m.ram, DATA), bytes, 512));
	close(ends[1]);
}

Test(virtio_blk_plain, configuration_tells_the_disk)
{
	make(false, 4);
	driver_probe(&m, 1);
	cr_assert_eq(rd(&m, m.device, 8), DISK_BYTES / 512);
	cr_assert_eq(rd(&m, m.device + 12, 4), 254, "seg_max");
	cr_assert_eq(rd(&m, m.device + 20, 4), 512, "blk_size");
	cr_assert_eq(rd(&m, m.device + 34, 2), 4, "num_queues");
	cr_assert_eq(rd(&m, m.device + 40, 4), 1, "max_discard_seg");
	cr_assert_eq(rd(&m, m.device + 48, 4), BLK_ZERO_SECTORS_MAX);
	cr_assert(driver_offered(&m) & 1ull << VIRTIO_BLK_F_MQ);
	cr_assert(driver_offered(&m) & 1ull << VIRTIO_BLK_F_FLUSH);
	cr_assert_not(driver_offered(&m) & 1ull << VIRTIO_BLK_F_RO);
	cr_assert_eq(rd(&m, cfg(&m, PCI_CLASS_DEVICE), 2), 0x0180);
}

Test(virtio_blk_plain, a_read_only_disk_takes_no_writes)
{
	make(true, 1);
	start();
	driver_probe(&m, 1);
	cr_assert(driver_offered(&m) & 1ull << VIRTIO_BLK_F_RO);
	cr_assert_not(driver_offered(&m) &
		      (1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES));
	/* The driver ignores RO, on purpose. */
	up(1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_BLK_F_FLUSH);
	cr_assert_eq(run(VIRTIO_BLK_T_OUT, 0, 0, 512, false), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(run(VIRTIO_BLK_T_IN, 0, 0, 512, true), VIRTIO_BLK_S_OK);
	cr_assert_eq(run(VIRTIO_BLK_T_FLUSH, 0, 0, 0, false), VIRTIO_BLK_S_OK);
}

Test(virtio_blk_plain, without_flush_writes_and_discards_still_work)
{
	struct virtio_blk_discard_write_zeroes range = { .sector = 0, .num_sectors = 8 };
	uint8_t back[4096];

	make(false, 1);
	start();
	up(ALL_FEATURES & ~(1ull << VIRTIO_BLK_F_FLUSH));
	cr_assert(b->durable_writes);
	memset(ram_at(&m.ram, DATA), 0x55, 4096);
	cr_assert_eq(run(VIRTIO_BLK_T_OUT, 0, 0, 4096, false), VIRTIO_BLK_S_OK);
	cr_assert_eq(pread(disk, back, 4096, 0), 4096);
	cr_assert_eq(back[4095], 0x55);
	if (!b->file.can_punch)
		return;
	memcpy(ram_at(&m.ram, DATA), &range, sizeof(range));
	cr_assert_eq(run(VIRTIO_BLK_T_DISCARD, 0, 0, 16, false), VIRTIO_BLK_S_OK);
}

Test(virtio_blk_plain, several_queues_are_served)
{
	struct driver_queue other;
	struct virtio_blk_outhdr h = { .type = VIRTIO_BLK_T_IN, .sector = 1 };
	const struct driver_desc bufs[] = { { HEADERS, 16, 0, 0 }, { DATA, 512, WRITE, 0 },
		{ STATUSES, 1, WRITE, 0 } };
	uint32_t id, len;

	make(false, 3);
	start();
	queue_make(&other, &m.ram, RINGS + 0x4000, 64);
	driver_probe(&m, 1);
	cr_assert(driver_negotiate(&m, ALL_FEATURES | 1ull << VIRTIO_BLK_F_MQ));
	driver_msix(&m, 4);
	driver_enable_queue(&m, 2, &other); /* the last one alone */
	driver_add_status(&m, VIRTIO_CONFIG_S_DRIVER_OK);
	cr_assert_eq(pwrite(disk, "two", 3, 512), 3);
	memcpy(ram_at(&m.ram, HEADERS), &h, sizeof(h));
	queue_chain(&other, bufs, 3);
	wr(&m, driver_notify_addr(&m, 2), 2, 2); /* by way of the bus */
	while (!queue_take_used(&other, &id, &len))
		usleep(100);
	cr_assert(!memcmp(ram_at(&m.ram, DATA), "two", 3));
	while (m.vectors[2].signals == 0)
		usleep(100);
}
