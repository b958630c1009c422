/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_TESTS_UNIT_DEVICE_PCI_DRIVER_H
#define CELLVISOR_TESTS_UNIT_DEVICE_PCI_DRIVER_H

/*
 * A small virtio-pci driver that knows only what a guest can see: ECAM and
 * capabilities. It also stands in for KVM: it records routes, signals and ioeventfds.
 */
#include "driver.h"
#include "monitor/device/virtio_pci.h"

#include <criterion/criterion.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <stdatomic.h>

#define ECAM 0xe0000000ull
#define WINDOW 0xc0000000u
#define WINDOW_BYTES 0x1000000u

struct machine {
	struct bus mmio;
	struct pci_segment segment;
	struct pci_host host;
	struct test_ram ram;
	/* What the device told its owner. */
	struct {
		uint64_t addr;
		uint32_t data;
		bool live;
		atomic_uint signals;
	} vectors[MSIX_VECTORS_MAX];
	uint64_t notify_at[VIRTIO_QUEUES_MAX]; /* 0: not attached */
	uint32_t attaches, detaches;
	const char *trouble;
	uint32_t troubles;
	/* What the driver found. */
	uint32_t slot;
	uint64_t common, notify, isr, device;
	uint32_t notify_multiplier;
	uint8_t msix_cap, window_cap;
	uint64_t msix_table;
};

static inline void machine_route(
	void *ctx, uint32_t vector, uint64_t addr, uint32_t data, bool masked)
{
	struct machine *m = ctx;

	m->vectors[vector].addr = addr;
	m->vectors[vector].data = data;
	m->vectors[vector].live = !masked;
}

static inline void machine_signal(void *ctx, uint32_t vector)
{
	struct machine *m = ctx;

	cr_assert(m->vectors[vector].live);
	m->vectors[vector].signals++;
}

static inline void machine_attach(void *ctx, uint32_t queue, struct gpa at)
{
	struct machine *m = ctx;

	cr_assert_eq(m->notify_at[queue], 0, "queue %u is attached already", queue);
	m->notify_at[queue] = at.addr;
	m->attaches++;
}

static inline void machine_detach(void *ctx, uint32_t queue, struct gpa at)
{
	struct machine *m = ctx;

	cr_assert_eq(m->notify_at[queue], at.addr);
	m->notify_at[queue] = 0;
	m->detaches++;
}

static inline void machine_trouble(void *ctx, const char *why)
{
	struct machine *m = ctx;

	m->trouble = why;
	m->troubles++;
}

static inline struct virtio_pci_env machine_env(struct machine *m)
{
	return (struct virtio_pci_env){ .route = machine_route,
		.signal = machine_signal,
		.notify_attach = machine_attach,
		.notify_detach = machine_detach,
		.trouble = machine_trouble,
		.ctx = m };
}

static inline void machine_make(struct machine *m)
{
	memset(m, 0, sizeof(*m));
	bus_init(&m->mmio);
	ram_make(&m->ram);
	pci_segment_init(&m->segment, 2);
	pci_host_init(&m->host, &m->segment, &m->mmio, 0, WINDOW, WINDOW_BYTES);
	cr_assert_eq(bus_add(&m->mmio, ECAM, 2ull * PCI_ECAM_BUS_BYTES, pci_segment_bus,
			     &m->segment, NULL),
		0);
}

static inline void machine_drop(struct machine *m)
{
	pci_host_fini(&m->host);
	bus_fini(&m->mmio);
	ram_drop(&m->ram);
}

static inline uint64_t rd(struct machine *m, uint64_t at, uint32_t len)
{
	uint64_t val = 0;

	cr_assert_eq(bus_access(&m->mmio, at, &val, len, false), DEV_OK, "load of 0x%llx",
		(unsigned long long)at);
	return val;
}

static inline void wr(struct machine *m, uint64_t at, uint64_t val, uint32_t len)
{
	cr_assert_eq(bus_access(&m->mmio, at, &val, len, true), DEV_OK, "store to 0x%llx",
		(unsigned long long)at);
}

static inline enum dev_outcome try_wr(struct machine *m, uint64_t at, uint64_t val, uint32_t len)
{
	return bus_access(&m->mmio, at, &val, len, true);
}

static inline enum dev_outcome try_rd(struct machine *m, uint64_t at, uint32_t len)
{
	uint64_t val = 0;
	enum dev_outcome out = bus_access(&m->mmio, at, &val, len, false);

	if (out != DEV_OK)
		cr_assert_eq(val, UINT64_MAX >> (64 - 8 * len), "a refused load reads all-ones");
	return out;
}

static inline uint64_t cfg(const struct machine *m, uint32_t reg)
{
	return ECAM + (m->slot << 15) + reg;
}

/* Walks the capabilities of the function in `slot`, switches on memory and bus mastering. */
static inline void driver_probe(struct machine *m, uint32_t slot)
{
	uint64_t bar;
	uint32_t at, steps = 0;

	m->slot = slot;
	m->common = m->notify = m->isr = m->device = 0;
	bar = rd(m, cfg(m, PCI_BASE_ADDRESS_0), 4) & ~0xfull;
	wr(m, cfg(m, PCI_COMMAND), PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	for (at = (uint32_t)rd(m, cfg(m, PCI_CAPABILITY_LIST), 1); at != 0;
		at = (uint32_t)rd(m, cfg(m, at + 1), 1)) {
		uint64_t id = rd(m, cfg(m, at), 1);
		uint64_t where = bar + rd(m, cfg(m, at + 8), 4);

		cr_assert_lt(steps++, 48);
		if (id == PCI_CAP_ID_MSIX) {
			m->msix_cap = (uint8_t)at;
			m->msix_table = bar + (rd(m, cfg(m, at + PCI_MSIX_TABLE), 4) & ~7ull);
			continue;
		}
		cr_assert_eq(id, PCI_CAP_ID_VNDR);
		switch (rd(m, cfg(m, at + 3), 1)) {
		case VIRTIO_PCI_CAP_COMMON_CFG:
			m->common = where;
			break;
		case VIRTIO_PCI_CAP_NOTIFY_CFG:
			m->notify = where;
			m->notify_multiplier = (uint32_t)rd(m, cfg(m, at + 16), 4);
			break;
		case VIRTIO_PCI_CAP_ISR_CFG:
			m->isr = where;
			break;
		case VIRTIO_PCI_CAP_DEVICE_CFG:
			m->device = where;
			break;
		case VIRTIO_PCI_CAP_PCI_CFG:
			m->window_cap = (uint8_t)at;
			break;
		default:
			cr_assert_fail("an unknown structure");
		}
	}
	cr_assert(m->common && m->notify && m->isr && m->device && m->window_cap && m->msix_cap);
}

static inline uint8_t driver_status(struct machine *m)
{
	return (uint8_t)rd(m, m->common + VIRTIO_PCI_COMMON_STATUS, 1);
}

static inline void driver_add_status(struct machine *m, uint8_t bits)
{
	wr(m, m->common + VIRTIO_PCI_COMMON_STATUS, driver_status(m) | bits, 1);
}

static inline uint64_t driver_offered(struct machine *m)
{
	uint64_t bits;

	wr(m, m->common + VIRTIO_PCI_COMMON_DFSELECT, 0, 4);
	bits = rd(m, m->common + VIRTIO_PCI_COMMON_DF, 4);
	wr(m, m->common + VIRTIO_PCI_COMMON_DFSELECT, 1, 4);
	return bits | rd(m, m->common + VIRTIO_PCI_COMMON_DF, 4) << 32;
}

static inline void driver_accept(struct machine *m, uint64_t features)
{
	wr(m, m->common + VIRTIO_PCI_COMMON_GFSELECT, 0, 4);
	wr(m, m->common + VIRTIO_PCI_COMMON_GF, (uint32_t)features, 4);
	wr(m, m->common + VIRTIO_PCI_COMMON_GFSELECT, 1, 4);
	wr(m, m->common + VIRTIO_PCI_COMMON_GF, features >> 32, 4);
}

/* Up to FEATURES_OK; returns whether it stuck. */
static inline bool driver_negotiate(struct machine *m, uint64_t features)
{
	driver_add_status(m, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	driver_add_status(m, VIRTIO_CONFIG_S_DRIVER);
	driver_accept(m, features);
	driver_add_status(m, VIRTIO_CONFIG_S_FEATURES_OK);
	return driver_status(m) & VIRTIO_CONFIG_S_FEATURES_OK;
}

/* Enables MSI-X with every vector unmasked. */
static inline void driver_msix(struct machine *m, uint32_t vectors)
{
	wr(m, cfg(m, m->msix_cap + PCI_MSIX_FLAGS), PCI_MSIX_FLAGS_ENABLE, 2);
	for (uint32_t v = 0; v < vectors; v++) {
		wr(m, m->msix_table + 16 * v, 0xfee00000, 4);
		wr(m, m->msix_table + 16 * v + 4, 0, 4);
		wr(m, m->msix_table + 16 * v + 8, 0x40 + v, 4);
		wr(m, m->msix_table + 16 * v + 12, 0, 4);
	}
}

static inline void driver_describe_queue(
	struct machine *m, uint16_t index, const struct driver_queue *q)
{
	wr(m, m->common + VIRTIO_PCI_COMMON_Q_SELECT, index, 2);
	wr(m, m->common + VIRTIO_PCI_COMMON_Q_SIZE, q->size, 2);
	wr(m, m->common + VIRTIO_PCI_COMMON_Q_DESCLO, (uint32_t)q->desc, 4);
	wr(m, m->common + VIRTIO_PCI_COMMON_Q_DESCHI, q->desc >> 32, 4);
	wr(m, m->common + VIRTIO_PCI_COMMON_Q_AVAILLO, (uint32_t)q->avail, 4);
	wr(m, m->common + VIRTIO_PCI_COMMON_Q_AVAILHI, q->avail >> 32, 4);
	wr(m, m->common + VIRTIO_PCI_COMMON_Q_USEDLO, (uint32_t)q->used, 4);
	wr(m, m->common + VIRTIO_PCI_COMMON_Q_USEDHI, q->used >> 32, 4);
}

/* Queue `index` uses vector `index`. */
static inline void driver_enable_queue(
	struct machine *m, uint16_t index, const struct driver_queue *q)
{
	driver_describe_queue(m, index, q);
	wr(m, m->common + VIRTIO_PCI_COMMON_Q_MSIX, index, 2);
	cr_assert_eq(rd(m, m->common + VIRTIO_PCI_COMMON_Q_MSIX, 2), index);
	wr(m, m->common + VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
}

static inline uint64_t driver_notify_addr(struct machine *m, uint16_t index)
{
	wr(m, m->common + VIRTIO_PCI_COMMON_Q_SELECT, index, 2);
	return m->notify + rd(m, m->common + VIRTIO_PCI_COMMON_Q_NOFF, 2) * m->notify_multiplier;
}

#endif
