/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/device/pci.h"

#include "numa/check.h"

#include <endian.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

/* Identity of the host bridge: the one that QEMU gives its generic PCIe host (Red Hat). */
#define BRIDGE_VENDOR 0x1b36
#define BRIDGE_DEVICE 0x0008
#define BRIDGE_CLASS 0x060000u /* bridge, host */

#define COMMAND_WRITABLE (PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE)

/* ECAM: an offset is bus, device, function, register (PCI Express Base, 7.2.2). */
#define ECAM_BUS(off) ((uint32_t)((off) >> 20))
#define ECAM_SLOT(off) ((uint32_t)((off) >> 15) & 0x1fu)
#define ECAM_FUNCTION(off) ((uint32_t)((off) >> 12) & 0x7u)
#define ECAM_REGISTER(off) ((uint32_t)(off)&0xfffu)

static void put16(uint8_t *at, uint16_t val)
{
	val = htole16(val);
	memcpy(at, &val, sizeof(val));
}

static void put32(uint8_t *at, uint32_t val)
{
	val = htole32(val);
	memcpy(at, &val, sizeof(val));
}

static uint32_t get32(const uint8_t *at)
{
	uint32_t val;

	memcpy(&val, at, sizeof(val));
	return le32toh(val);
}

void pci_fn_init(struct pci_fn *f, const struct pci_id *id, pthread_mutex_t *lock,
	const struct pci_fn_ops *ops, void *ctx)
{
	*f = (struct pci_fn){
		.lock = lock, .ops = *ops, .ctx = ctx, .cap_end = PCI_STD_HEADER_SIZEOF
	};
	put16(&f->config[PCI_VENDOR_ID], id->vendor);
	put16(&f->config[PCI_DEVICE_ID], id->device);
	put32(&f->config[PCI_CLASS_REVISION], id->class_code << 8 | id->revision);
	put16(&f->config[PCI_SUBSYSTEM_VENDOR_ID], id->subsystem_vendor);
	put16(&f->config[PCI_SUBSYSTEM_ID], id->subsystem);
	put16(&f->writable[PCI_COMMAND], COMMAND_WRITABLE);
	f->writable[PCI_INTERRUPT_LINE] = 0xff;
}

void pci_fn_add_bar(struct pci_fn *f, uint32_t bar, uint32_t bytes, bus_fn *fn, void *dev)
{
	CHECK(bar < PCI_BARS && f->bars[bar].bytes == 0 && !f->host);
	CHECK(bytes >= 4096 && (bytes & (bytes - 1)) == 0);
	f->bars[bar] = (struct pci_bar){ .bytes = bytes, .fn = fn, .dev = dev };
	/* Bits 31..log2(bytes) can be written: that is how a driver learns the size. */
	put32(&f->writable[PCI_BASE_ADDRESS_0 + 4 * bar], ~(bytes - 1));
}

uint8_t pci_fn_add_cap(struct pci_fn *f, uint8_t id, const void *body, uint32_t bytes)
{
	uint32_t at = f->cap_end, end = (at + 2 + bytes + 3) & ~3u;

	CHECK(bytes <= PCI_CONFIG_BYTES && end <= PCI_CONFIG_BYTES && !f->host);
	f->config[at] = id;
	memcpy(&f->config[at + 2], body, bytes);
	f->config[f->cap_last ? f->cap_last + 1u : PCI_CAPABILITY_LIST] = (uint8_t)at;
	f->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	f->cap_last = (uint8_t)at;
	f->cap_end = end;
	return (uint8_t)at;
}

bool pci_fn_bus_master(const struct pci_fn *f)
{
	return f->config[PCI_COMMAND] & PCI_COMMAND_MASTER;
}

static bool decodes_memory(const struct pci_fn *f)
{
	return f->config[PCI_COMMAND] & PCI_COMMAND_MEMORY;
}

/* May a BAR of `bytes` bytes be decoded at `at`? Only where its host bridge forwards to. */
static bool in_window(const struct pci_host *h, uint32_t at, uint32_t bytes)
{
	return at >= h->window && bytes <= h->window_bytes &&
	       at - h->window <= h->window_bytes - bytes;
}

/* Where BAR `i` is to be decoded; false if it is not to be. */
static bool bar_wanted(const struct pci_fn *f, uint32_t i, uint32_t *at)
{
	uint32_t bytes = f->bars[i].bytes;

	*at = get32(&f->config[PCI_BASE_ADDRESS_0 + 4 * i]) & ~(bytes - 1);
	return decodes_memory(f) && bytes > 0;
}

static void unmap_bar(struct pci_fn *f, uint32_t i)
{
	struct pci_bar *bar = &f->bars[i];
	int rc = bus_remove(f->host->mmio, bar->at);

	CHECK(rc == 0);
	bar->mapped = false;
	if (f->ops.bar_moved)
		f->ops.bar_moved(f->ctx, i, bar->at, false);
}

static void map_bar(struct pci_fn *f, uint32_t i, uint32_t at)
{
	struct pci_bar *bar = &f->bars[i];

	if (!in_window(f->host, at, bar->bytes) ||
		bus_add(f->host->mmio, at, bar->bytes, bar->fn, bar->dev, f->lock) != 0) {
		f->bar_conflict = true;
		return;
	}
	bar->at = at;
	bar->mapped = true;
	if (f->ops.bar_moved)
		f->ops.bar_moved(f->ctx, i, at, true);
}

/* Brings bus and device in line with configuration space, which may have changed anywhere. */
static void update(struct pci_fn *f, bool was_master)
{
	uint32_t at;

	/* First give up, then claim: BARs may have swapped places. */
	for (uint32_t i = 0; i < PCI_BARS; i++) {
		bool wanted = bar_wanted(f, i, &at);

		if (f->bars[i].mapped && (!wanted || at != f->bars[i].at))
			unmap_bar(f, i);
	}
	f->bar_conflict = false;
	for (uint32_t i = 0; i < PCI_BARS; i++) {
		if (bar_wanted(f, i, &at) && !f->bars[i].mapped)
			map_bar(f, i, at);
	}
	if (was_master != pci_fn_bus_master(f) && f->ops.bus_master)
		f->ops.bus_master(f->ctx);
}

void pci_fn_reset(struct pci_fn *f)
{
	bool was_master = pci_fn_bus_master(f);

	CHECK(f->host);
	memcpy(f->config, f->initial, sizeof(f->config));
	update(f, was_master);
}

static enum dev_outcome config_store(struct pci_fn *f, uint32_t reg, uint32_t len, uint64_t val)
{
	bool was_master = pci_fn_bus_master(f);

	for (uint32_t i = 0; i < len; i++) {
		uint8_t byte = (uint8_t)(val >> 8 * i), mask = f->writable[reg + i];

		f->config[reg + i] = (uint8_t)((f->config[reg + i] & ~mask) | (byte & mask));
	}
	if (reg < PCI_STD_HEADER_SIZEOF)
		update(f, was_master);
	return f->ops.config_written ? f->ops.config_written(f->ctx, reg, len) : DEV_OK;
}

static enum dev_outcome config_access(struct pci_fn *f, uint32_t reg, struct bus_req *r)
{
	enum dev_outcome out = DEV_OK;

	pthread_mutex_lock(f->lock);
	if (r->store) {
		out = config_store(f, reg, r->len, r->val);
	} else {
		if (f->ops.config_read)
			f->ops.config_read(f->ctx, reg, r->len);
		r->val = 0;
		for (uint32_t i = 0; i < r->len; i++)
			r->val |= (uint64_t)f->config[reg + i] << 8 * i;
	}
	pthread_mutex_unlock(f->lock);
	return out;
}

void pci_segment_init(struct pci_segment *s, uint32_t bus_count)
{
	CHECK(bus_count >= 1 && bus_count <= PCI_BUSES_MAX);
	*s = (struct pci_segment){ .bus_count = bus_count };
}

enum dev_outcome pci_segment_bus(void *segment, struct bus_req *r)
{
	struct pci_segment *s = segment;
	uint32_t reg = ECAM_REGISTER(r->off), bus = ECAM_BUS(r->off);
	struct pci_host *h = bus < s->bus_count ? s->hosts[bus] : NULL;
	struct pci_fn *f = h ? h->slots[ECAM_SLOT(r->off)] : NULL;

	/* Only aligned accesses of up to four bytes are defined. */
	if (r->len > 4 || reg % r->len != 0)
		return DEV_GUEST_FAULT;
	if (!f || ECAM_FUNCTION(r->off) != 0 || reg >= PCI_CONFIG_BYTES) {
		r->val = UINT64_MAX;
		return DEV_OK;
	}
	return config_access(f, reg, r);
}

void pci_host_init(struct pci_host *h, struct pci_segment *s, struct bus *mmio, uint8_t bus_number,
	uint32_t window, uint32_t window_bytes)
{
	const struct pci_id id = {
		.vendor = BRIDGE_VENDOR, .device = BRIDGE_DEVICE, .class_code = BRIDGE_CLASS
	};
	int rc;

	CHECK(bus_number < s->bus_count && !s->hosts[bus_number]);
	CHECK(window_bytes > 0 && UINT32_MAX - window >= window_bytes - 1);
	*h = (struct pci_host){ .mmio = mmio,
		.bus_number = bus_number,
		.window = window,
		.window_bytes = window_bytes };
	rc = pthread_mutex_init(&h->bridge_lock, NULL);
	CHECK(rc == 0);
	pci_fn_init(&h->bridge, &id, &h->bridge_lock, &(struct pci_fn_ops){ 0 }, NULL);
	memcpy(h->bridge.initial, h->bridge.config, sizeof(h->bridge.initial));
	h->bridge.host = h;
	h->slots[0] = &h->bridge;
	s->hosts[bus_number] = h;
}

void pci_host_reset(struct pci_host *h)
{
	pthread_mutex_lock(&h->bridge_lock);
	pci_fn_reset(&h->bridge);
	pthread_mutex_unlock(&h->bridge_lock);
}

void pci_host_fini(struct pci_host *h)
{
	int rc = pthread_mutex_destroy(&h->bridge_lock);

	CHECK(rc == 0);
}

/* Assigns each BAR its place in the window, aligned to its size; false if it doesn't fit. */
static bool place_bars(struct pci_host *h, struct pci_fn *f)
{
	uint64_t used = h->window_used;

	for (uint32_t i = 0; i < PCI_BARS; i++) {
		uint64_t bytes = f->bars[i].bytes, at;

		if (bytes == 0)
			continue;
		at = (h->window + used + bytes - 1) & ~(bytes - 1);
		if (at + bytes > (uint64_t)h->window + h->window_bytes)
			return false;
		f->bars[i].first = (uint32_t)at;
		put32(&f->config[PCI_BASE_ADDRESS_0 + 4 * i], (uint32_t)at);
		used = at + bytes - h->window;
	}
	h->window_used = (uint32_t)used;
	return true;
}

int pci_host_add(struct pci_host *h, uint32_t slot, struct pci_fn *f)
{
	uint32_t was_used = h->window_used;

	CHECK(slot > 0 && slot < PCI_SLOTS && !f->host);
	if (h->slots[slot])
		return -EEXIST;
	if (!place_bars(h, f))
		return -ENOSPC;
	/* As firmware leaves it: memory decoded, bus mastering off. */
	f->config[PCI_COMMAND] |= PCI_COMMAND_MEMORY;
	memcpy(f->initial, f->config, sizeof(f->initial));
	f->host = h;
	update(f, false);
	if (!f->bar_conflict) {
		h->slots[slot] = f;
		return 0;
	}
	f->config[PCI_COMMAND] &= (uint8_t)~PCI_COMMAND_MEMORY;
	update(f, false);
	f->host = NULL;
	h->window_used = was_used;
	return -EEXIST;
}
