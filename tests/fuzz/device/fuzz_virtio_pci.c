/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whatever a guest does to a virtio function by configuration space, BAR and RAM: the device's
 * owner is told consistent things, and the bus stays whole. The input is a list of accesses.
 */
#include "monitor/device/blk_req.h"
#include "monitor/device/virtio_pci.h"
#include "numa/check.h"
#include "tests/unit/device/driver.h"

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ECAM 0xe0000000ull
#define WINDOW 0xc0000000u
#define WINDOW_BYTES 0x40000u
#define QUEUES 2u
#define SLOT 3u

static struct {
	struct bus mmio;
	struct pci_segment segment;
	struct pci_host host;
	struct test_ram ram;
	struct virtio_pci v;
	pthread_mutex_t lock;
	bool live[QUEUES + 1];
	uint64_t notify_at[QUEUES];
	bool in_flight; /* a request that ends only when the input says so */
	struct virtq_chain chain;
	struct blk_req req;
} m = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void route(void *ctx, uint32_t vector, uint64_t addr, uint32_t data, bool masked)
{
	(void)ctx;
	(void)addr;
	(void)data;
	CHECK(vector <= QUEUES);
	CHECK(m.live[vector] || !masked);
	m.live[vector] = !masked;
}

static void signal_vector(void *ctx, uint32_t vector)
{
	(void)ctx;
	CHECK(vector <= QUEUES && m.live[vector]);
}

static void attach(void *ctx, uint32_t queue, struct gpa at)
{
	(void)ctx;
	CHECK(queue < QUEUES && m.notify_at[queue] == 0);
	CHECK(at.addr >= WINDOW && at.addr < WINDOW + WINDOW_BYTES);
	m.notify_at[queue] = at.addr;
}

static void detach(void *ctx, uint32_t queue, struct gpa at)
{
	(void)ctx;
	CHECK(queue < QUEUES && m.notify_at[queue] == at.addr);
	m.notify_at[queue] = 0;
}

static void trouble(void *ctx, const char *why)
{
	(void)ctx;
	CHECK(why && why[0]);
}

/* A block device without a file: answers at once, but keeps one request in flight now and then. */
static void serve(uint32_t queue)
{
	static const struct blk_limits limits = { .sectors = 100, .discard = true };
	struct virtq *q = &m.v.dev.queues[queue];

	for (uint32_t i = 0; i < VIRTQ_SIZE_MAX && q->enabled && virtio_pci_running(&m.v); i++) {
		enum virtq_result got = virtq_pop(q, &m.chain);

		if (got == VIRTQ_EMPTY)
			return;
		if (got == VIRTQ_BAD || !blk_req_parse(q, &m.chain, &limits, &m.req)) {
			virtio_pci_trouble(&m.v, q->bad ? q->bad : "no request");
			return;
		}
		if (m.req.op == BLK_FLUSH)
			m.in_flight = true;
		virtq_push(q, m.req.head, m.req.in_bytes);
		virtio_pci_used(&m.v, queue);
	}
}

static void type_config_read(void *ctx, uint32_t off, void *dst, uint32_t len)
{
	(void)ctx;
	CHECK(off < 20 && len <= 20 - off);
	memset(dst, (int)off, len);
}

static void type_start(void *ctx)
{
	(void)ctx;
	for (uint32_t i = 0; i < QUEUES; i++)
		serve(i);
}

static void type_kick(void *ctx, uint32_t queue)
{
	(void)ctx;
	CHECK(queue < QUEUES && m.v.dev.queues[queue].enabled);
	serve(queue);
}

static bool type_stop(void *ctx)
{
	(void)ctx;
	return !m.in_flight;
}

static const struct virtio_type type = { .id = 2,
	.features = 1ull << 9,
	.queue_count = QUEUES,
	.queue_size = 32,
	.config_bytes = 20,
	.config_read = type_config_read,
	.start = type_start,
	.kick = type_kick,
	.stop = type_stop };

static void build(void)
{
	const struct virtio_pci_env env = { route, signal_vector, attach, detach, trouble, NULL };

	if (m.ram.map.region_count == 0)
		ram_make(&m.ram);
	memset(m.live, 0, sizeof(m.live));
	memset(m.notify_at, 0, sizeof(m.notify_at));
	m.in_flight = false;
	bus_init(&m.mmio);
	pci_segment_init(&m.segment, 2);
	pci_host_init(&m.host, &m.segment, &m.mmio, 0, WINDOW, WINDOW_BYTES);
	virtio_pci_init(&m.v, &type, NULL, &m.ram.map, &env, 0x018000, &m.lock);
	CHECK(bus_add(&m.mmio, ECAM, 2ull * PCI_ECAM_BUS_BYTES, pci_segment_bus, &m.segment,
		      NULL) == 0);
	CHECK(pci_host_add(&m.host, SLOT, &m.v.fn) == 0);
}

static void store(uint64_t at, uint64_t val, uint32_t len)
{
	(void)bus_access(&m.mmio, at, &val, len, true);
}

/* What a good driver does, so that the input starts from a device that works. */
static void bring_up(void)
{
	const uint64_t common = WINDOW;
	struct driver_queue d;

	store(ECAM + (SLOT << 15) + PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	store(common + VIRTIO_PCI_COMMON_STATUS, 3, 1);
	store(common + VIRTIO_PCI_COMMON_GF, 3u << 28, 4);
	store(common + VIRTIO_PCI_COMMON_GFSELECT, 1, 4);
	store(common + VIRTIO_PCI_COMMON_GF, 1, 4);
	store(common + VIRTIO_PCI_COMMON_STATUS, 0xb, 1);
	for (uint16_t i = 0; i < QUEUES; i++) {
		queue_make(&d, &m.ram, RAM_A + 0x1000u * i, 16);
		store(common + VIRTIO_PCI_COMMON_Q_SELECT, i, 2);
		store(common + VIRTIO_PCI_COMMON_Q_SIZE, 16, 2);
		store(common + VIRTIO_PCI_COMMON_Q_DESCLO, d.desc, 8);
		store(common + VIRTIO_PCI_COMMON_Q_AVAILLO, d.avail, 8);
		store(common + VIRTIO_PCI_COMMON_Q_USEDLO, d.used, 8);
		store(common + VIRTIO_PCI_COMMON_Q_MSIX, i, 2);
		store(common + VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	}
	store(common + VIRTIO_PCI_COMMON_STATUS, 0xf, 1);
	CHECK(virtio_pci_running(&m.v));
}

static void check_all(void)
{
	const struct bus *b = &m.mmio;
	struct gpa at;

	for (uint32_t i = 1; i < b->range_count; i++)
		CHECK(b->ranges[i - 1].base + b->ranges[i - 1].bytes <= b->ranges[i].base);
	for (uint32_t i = 0; i < QUEUES; i++) {
		bool decoded = virtio_pci_notify_at(&m.v, i, &at);

		CHECK(m.notify_at[i] == 0 || (decoded && m.notify_at[i] == at.addr));
		CHECK((m.notify_at[i] != 0) ==
			(decoded && virtio_dev_running(&m.v.dev) && m.v.dev.queues[i].enabled));
	}
	CHECK(!virtio_pci_running(&m.v) || !m.v.dev.trouble);
}

/* One step: what, where, value. */
struct step {
	uint8_t what, where_high;
	uint16_t where;
	uint32_t val;
};

static void do_step(const struct step *s)
{
	static const uint32_t lens[] = { 1, 2, 4, 8 };
	uint32_t len = lens[s->what >> 3 & 3];
	uint64_t val = s->val | (uint64_t)s->val << 32, at = WINDOW;

	switch (s->what & 7) {
	case 0: /* the function's configuration space */
		at = ECAM + (SLOT << 15) + s->where % PCI_CONFIG_BYTES;
		break;
	case 1: /* anywhere in ECAM */
		at = ECAM + ((uint64_t)s->where_high << 13) + s->where;
		break;
	case 2: /* the BAR where it is now */
		at = m.v.bar_at + s->where % VIRTIO_BAR_BYTES;
		break;
	case 3: /* the common registers */
		at = m.v.bar_at + s->where % 64;
		break;
	case 4: /* a notification */
		at = m.v.bar_at + VIRTIO_BAR_NOTIFY + s->where % 16;
		break;
	case 5: /* RAM around the rings */
		if (s->val & 0x80000000u)
			val = RAM_A + (val & 0xffff);
		memcpy(ram_at(&m.ram, RAM_A + s->where % 0x2000), &val, len);
		return;
	case 6: /* the request in flight ends, or the guest is reset */
		if (m.in_flight) {
			m.in_flight = false;
			if (m.v.dev.resetting)
				virtio_pci_stopped(&m.v);
		} else if (s->val % 16 == 0) {
			virtio_pci_reset(&m.v);
			bring_up();
		}
		return;
	default: /* MSI-X */
		at = m.v.bar_at + VIRTIO_BAR_MSIX_TABLE + s->where % 64;
		break;
	}
	(void)bus_access(&m.mmio, at, &val, len, s->what & 0x80);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct step s;

	build();
	bring_up();
	for (; size >= sizeof(s); data += sizeof(s), size -= sizeof(s)) {
		memcpy(&s, data, sizeof(s));
		do_step(&s);
		check_all();
	}
	pci_host_fini(&m.host);
	bus_fini(&m.mmio);
	return 0;
}
