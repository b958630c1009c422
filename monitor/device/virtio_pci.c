/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/device/virtio_pci.h"

#include "numa/check.h"

#include <endian.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <stddef.h>
#include <string.h>

/* PCI ids of modern devices (4.1.2). */
#define VIRTIO_VENDOR 0x1af4
#define VIRTIO_DEVICE_BASE 0x1040
#define VIRTIO_REVISION 1

#define ISR_QUEUE 1u
#define ISR_CONFIG VIRTIO_PCI_ISR_CONFIG
#define PAGE 0x1000u

#define COMMON_BYTES sizeof(struct virtio_pci_common_cfg)

static struct virtq *selected(struct virtio_pci *v)
{
	return v->queue_select < v->dev.type->queue_count ? &v->dev.queues[v->queue_select] : NULL;
}

bool virtio_pci_running(const struct virtio_pci *v)
{
	return virtio_dev_running(&v->dev) && pci_fn_bus_master(&v->fn);
}

bool virtio_pci_notify_at(const struct virtio_pci *v, uint32_t queue, struct gpa *at)
{
	at->addr = v->bar_at + VIRTIO_BAR_NOTIFY + (uint64_t)queue * VIRTIO_BAR_NOTIFY_STRIDE;
	return v->bar_mapped && queue < v->dev.type->queue_count;
}

/* Attaches or detaches each queue's notification as it should be now. */
static void update_notify(struct virtio_pci *v)
{
	bool running = virtio_dev_running(&v->dev);
	struct gpa at;

	if (!v->env.notify_attach || !v->env.notify_detach)
		return;
	for (uint32_t i = 0; i < v->dev.type->queue_count; i++) {
		bool wanted =
			virtio_pci_notify_at(v, i, &at) && running && v->dev.queues[i].enabled;

		if (wanted == v->attached[i])
			continue;
		v->attached[i] = wanted;
		if (wanted)
			v->env.notify_attach(v->env.ctx, i, at);
		else
			v->env.notify_detach(v->env.ctx, i, at);
	}
}

static void send(struct virtio_pci *v, uint8_t isr, uint16_t vector)
{
	v->isr |= isr;
	if (vector != VIRTIO_MSI_NO_VECTOR)
		msix_signal(&v->msix, vector);
}

void virtio_pci_used(struct virtio_pci *v, uint32_t queue)
{
	if (virtq_wants_signal(&v->dev.queues[queue]))
		send(v, ISR_QUEUE, v->queue_vector[queue]);
}

/* Makes known what was found: to whoever watches the guest, and to the driver. */
static void announce_trouble(struct virtio_pci *v)
{
	if (v->env.trouble)
		v->env.trouble(v->env.ctx, v->dev.trouble);
	/* 2.1.2: a driver that is up is told by a configuration change. */
	if (v->dev.status & VIRTIO_CONFIG_S_DRIVER_OK)
		send(v, ISR_CONFIG, v->config_vector);
	update_notify(v);
}

void virtio_pci_trouble(struct virtio_pci *v, const char *why)
{
	if (v->dev.trouble)
		return;
	virtio_dev_trouble(&v->dev, why);
	announce_trouble(v);
}

/* The transport's own state as after power-on. */
static void forget_driver(struct virtio_pci *v)
{
	v->isr = 0;
	v->queue_select = 0;
	v->device_half = v->driver_half = 0;
	v->config_vector = VIRTIO_MSI_NO_VECTOR;
	for (uint32_t i = 0; i < VIRTIO_QUEUES_MAX; i++)
		v->queue_vector[i] = VIRTIO_MSI_NO_VECTOR;
	update_notify(v);
}

void virtio_pci_stopped(struct virtio_pci *v)
{
	virtio_dev_stopped(&v->dev);
	forget_driver(v);
}

void virtio_pci_reset(struct virtio_pci *v)
{
	pci_fn_reset(&v->fn);
	msix_reset(&v->msix);
	if (v->dev.resetting) {
		virtio_dev_stopped(&v->dev);
	} else {
		bool done = virtio_dev_begin_reset(&v->dev);

		CHECK(done); /* the type has stopped: so says the contract */
	}
	forget_driver(v);
}

/* --- common configuration (4.1.4.3) --- */

static void start(struct virtio_pci *v)
{
	update_notify(v);
	if (virtio_pci_running(v))
		v->dev.type->start(v->dev.ctx);
}

static enum dev_outcome store_status(struct virtio_pci *v, uint8_t status)
{
	bool was_running = virtio_dev_running(&v->dev);

	if (status == 0) {
		bool done = virtio_dev_begin_reset(&v->dev);

		/* A device that is still stopping takes no notifications, but keeps its vectors. */
		if (done)
			forget_driver(v);
		else
			update_notify(v);
		return DEV_OK;
	}
	if (!virtio_dev_set_status(&v->dev, status))
		return DEV_GUEST_FAULT;
	if (!was_running && virtio_dev_running(&v->dev))
		start(v);
	else
		update_notify(v);
	return DEV_OK;
}

static enum dev_outcome enable_queue(struct virtio_pci *v)
{
	bool had_trouble = v->dev.trouble != NULL;

	if (!virtio_dev_enable_queue(&v->dev, v->queue_select))
		return DEV_GUEST_FAULT;
	if (v->dev.trouble && !had_trouble)
		announce_trouble(v);
	/* Enabled late, when the driver was ready already: chains may wait. */
	if (virtio_dev_running(&v->dev))
		start(v);
	return DEV_OK;
}

/* A vector that does not exist reads back as none (4.1.5.1.2.1). */
static uint16_t checked_vector(const struct virtio_pci *v, uint64_t vector)
{
	return vector < v->msix.vector_count ? (uint16_t)vector : VIRTIO_MSI_NO_VECTOR;
}

static enum dev_outcome set_queue_size(struct virtq *q, uint32_t max, uint64_t size)
{
	if (size == 0 || size > max || (size & (size - 1)) != 0)
		return DEV_GUEST_FAULT;
	q->size = (uint32_t)size;
	return DEV_OK;
}

/* Replaces half of a ring's address. */
static void set_half(struct gpa *at, bool high, uint64_t val)
{
	uint64_t keep = high ? UINT32_MAX : (uint64_t)UINT32_MAX << 32;

	at->addr = (at->addr & keep) | val << (high ? 32 : 0);
}

static enum dev_outcome store_queue(struct virtio_pci *v, uint64_t off, uint64_t val)
{
	struct virtq *q = selected(v);

	if (!q)
		return DEV_GUEST_FAULT;
	if (off == VIRTIO_PCI_COMMON_Q_MSIX) {
		v->queue_vector[v->queue_select] = checked_vector(v, val);
		return DEV_OK;
	}
	/* The rest of a queue can't change while the device uses it. */
	if (q->enabled || v->dev.resetting)
		return DEV_GUEST_FAULT;
	switch (off) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		return set_queue_size(q, v->dev.type->queue_size, val);
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		return val == 1 ? enable_queue(v) : DEV_GUEST_FAULT;
	case VIRTIO_PCI_COMMON_Q_DESCLO:
	case VIRTIO_PCI_COMMON_Q_DESCHI:
		set_half(&q->desc, off == VIRTIO_PCI_COMMON_Q_DESCHI, val);
		return DEV_OK;
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
	case VIRTIO_PCI_COMMON_Q_AVAILHI:
		set_half(&q->avail, off == VIRTIO_PCI_COMMON_Q_AVAILHI, val);
		return DEV_OK;
	case VIRTIO_PCI_COMMON_Q_USEDLO:
	case VIRTIO_PCI_COMMON_Q_USEDHI:
		set_half(&q->used, off == VIRTIO_PCI_COMMON_Q_USEDHI, val);
		return DEV_OK;
	default:
		return DEV_GUEST_FAULT;
	}
}

static enum dev_outcome store_common(struct virtio_pci *v, uint64_t off, uint64_t val)
{
	switch (off) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		v->device_half = (uint32_t)val;
		return DEV_OK;
	case VIRTIO_PCI_COMMON_GFSELECT:
		v->driver_half = (uint32_t)val;
		return DEV_OK;
	case VIRTIO_PCI_COMMON_GF:
		/* There are no features above bit 63: accepting none of them is fine. */
		if (v->driver_half > 1)
			return val == 0 ? DEV_OK : DEV_GUEST_FAULT;
		return virtio_dev_accept(&v->dev, v->driver_half, (uint32_t)val) ? DEV_OK
										 : DEV_GUEST_FAULT;
	case VIRTIO_PCI_COMMON_MSIX:
		v->config_vector = checked_vector(v, val);
		return DEV_OK;
	case VIRTIO_PCI_COMMON_STATUS:
		return store_status(v, (uint8_t)val);
	case VIRTIO_PCI_COMMON_Q_SELECT:
		v->queue_select = (uint16_t)val;
		return DEV_OK;
	default:
		return store_queue(v, off, val);
	}
}

static uint64_t load_queue(struct virtio_pci *v, uint64_t off)
{
	const struct virtq *q = selected(v);

	if (!q) /* a queue of size 0 is not there */
		return off == VIRTIO_PCI_COMMON_Q_MSIX ? VIRTIO_MSI_NO_VECTOR : 0;
	switch (off) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		return q->size;
	case VIRTIO_PCI_COMMON_Q_MSIX:
		return v->queue_vector[v->queue_select];
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		return q->enabled;
	case VIRTIO_PCI_COMMON_Q_NOFF:
		return v->queue_select;
	case VIRTIO_PCI_COMMON_Q_DESCLO:
		return (uint32_t)q->desc.addr;
	case VIRTIO_PCI_COMMON_Q_DESCHI:
		return q->desc.addr >> 32;
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
		return (uint32_t)q->avail.addr;
	case VIRTIO_PCI_COMMON_Q_AVAILHI:
		return q->avail.addr >> 32;
	case VIRTIO_PCI_COMMON_Q_USEDLO:
		return (uint32_t)q->used.addr;
	default: /* VIRTIO_PCI_COMMON_Q_USEDHI */
		return q->used.addr >> 32;
	}
}

static uint64_t load_common(struct virtio_pci *v, uint64_t off)
{
	switch (off) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		return v->device_half;
	case VIRTIO_PCI_COMMON_DF:
		return v->device_half > 1
			       ? 0
			       : (uint32_t)(virtio_dev_offered(&v->dev) >> 32 * v->device_half);
	case VIRTIO_PCI_COMMON_GFSELECT:
		return v->driver_half;
	case VIRTIO_PCI_COMMON_GF:
		return v->driver_half > 1 ? 0 : (uint32_t)(v->dev.features >> 32 * v->driver_half);
	case VIRTIO_PCI_COMMON_MSIX:
		return v->config_vector;
	case VIRTIO_PCI_COMMON_NUMQ:
		return v->dev.type->queue_count;
	case VIRTIO_PCI_COMMON_STATUS:
		return v->dev.status;
	case VIRTIO_PCI_COMMON_CFGGENERATION:
		return 0; /* no type's configuration ever changes */
	case VIRTIO_PCI_COMMON_Q_SELECT:
		return v->queue_select;
	default:
		return load_queue(v, off);
	}
}

/* The width of the field that starts at `off`, or 0 if none does. */
static uint32_t field_bytes(uint64_t off)
{
	if (off >= COMMON_BYTES)
		return 0;
	if (off == VIRTIO_PCI_COMMON_STATUS || off == VIRTIO_PCI_COMMON_CFGGENERATION)
		return 1;
	if (off >= VIRTIO_PCI_COMMON_MSIX && off < VIRTIO_PCI_COMMON_Q_DESCLO)
		return off % 2 == 0 ? 2 : 0;
	return off % 4 == 0 ? 4 : 0;
}

/* Fields are accessed whole; addresses of 8 bytes also in halves (4.1.3.1). */
static enum dev_outcome common_access(struct virtio_pci *v, struct bus_req *r)
{
	uint32_t bytes = field_bytes(r->off);
	enum dev_outcome out;

	if (r->len == 8 && r->off >= VIRTIO_PCI_COMMON_Q_DESCLO && r->off % 8 == 0 &&
		r->off < COMMON_BYTES) {
		if (!r->store) {
			r->val = load_common(v, r->off) | load_common(v, r->off + 4) << 32;
			return DEV_OK;
		}
		out = store_common(v, r->off, (uint32_t)r->val);
		return out == DEV_OK ? store_common(v, r->off + 4, r->val >> 32) : out;
	}
	if (bytes == 0 || r->len != bytes)
		return DEV_GUEST_FAULT;
	if (r->store)
		return store_common(v, r->off, r->val);
	r->val = load_common(v, r->off);
	return DEV_OK;
}

/* --- the other structures in the BAR --- */

static enum dev_outcome isr_access(struct virtio_pci *v, struct bus_req *r)
{
	if (r->off != 0 || r->store)
		return DEV_GUEST_FAULT;
	r->val = v->isr;
	v->isr = 0;
	return DEV_OK;
}

static enum dev_outcome device_access(struct virtio_pci *v, struct bus_req *r)
{
	const struct virtio_type *type = v->dev.type;
	uint64_t val = 0;

	if (r->store || r->off >= type->config_bytes || r->len > type->config_bytes - r->off)
		return DEV_GUEST_FAULT;
	type->config_read(v->dev.ctx, (uint32_t)r->off, &val, r->len);
	r->val = val;
	return DEV_OK;
}

static enum dev_outcome notify_access(struct virtio_pci *v, struct bus_req *r)
{
	uint64_t queue = r->off / VIRTIO_BAR_NOTIFY_STRIDE;

	if (!r->store || r->off % VIRTIO_BAR_NOTIFY_STRIDE != 0 ||
		queue >= v->dev.type->queue_count || !v->dev.queues[queue].enabled)
		return DEV_GUEST_FAULT;
	if (virtio_pci_running(v))
		v->dev.type->kick(v->dev.ctx, (uint32_t)queue);
	return DEV_OK;
}

/* bus_fn of the BAR. */
static enum dev_outcome bar_access(void *virtio_pci, struct bus_req *r)
{
	struct virtio_pci *v = virtio_pci;
	struct bus_req in_page = *r;
	enum dev_outcome out;

	in_page.off = r->off % PAGE;
	switch (r->off - in_page.off) {
	case VIRTIO_BAR_COMMON:
		out = common_access(v, &in_page);
		break;
	case VIRTIO_BAR_ISR:
		out = isr_access(v, &in_page);
		break;
	case VIRTIO_BAR_DEVICE:
		out = device_access(v, &in_page);
		break;
	case VIRTIO_BAR_NOTIFY:
		out = notify_access(v, &in_page);
		break;
	case VIRTIO_BAR_MSIX_TABLE:
		out = msix_table_bus(&v->msix, &in_page);
		break;
	case VIRTIO_BAR_MSIX_PBA:
		out = msix_pba_bus(&v->msix, &in_page);
		break;
	default:
		out = DEV_GUEST_FAULT;
		break;
	}
	r->val = in_page.val;
	return out;
}

/* --- PCI function --- */

static uint32_t config_le32(const struct virtio_pci *v, uint32_t off)
{
	uint32_t val;

	memcpy(&val, &v->fn.config[off], sizeof(val));
	return le32toh(val);
}

/*
 * The access to the BAR that the window capability describes (4.1.4.9), or false if it
 * describes none.
 */
static bool window_req(const struct virtio_pci *v, struct bus_req *r)
{
	uint32_t off = config_le32(v, v->window_cap + VIRTIO_PCI_CAP_OFFSET);
	uint32_t len = config_le32(v, v->window_cap + VIRTIO_PCI_CAP_LENGTH);

	*r = (struct bus_req){ .off = off, .len = (uint8_t)len };
	return (len == 1 || len == 2 || len == 4) && off % len == 0 && off < VIRTIO_BAR_BYTES &&
	       v->fn.config[v->window_cap + VIRTIO_PCI_CAP_BAR] == VIRTIO_BAR_NUMBER;
}

static bool touches_window(const struct virtio_pci *v, uint32_t off, uint32_t len)
{
	uint32_t data = v->window_cap + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data);

	return off < data + 4 && off + len > data;
}

static void config_read(void *ctx, uint32_t off, uint32_t len)
{
	struct virtio_pci *v = ctx;
	uint32_t data = v->window_cap + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data);
	struct bus_req r;
	uint32_t val;

	if (!touches_window(v, off, len) || !window_req(v, &r))
		return;
	if (bar_access(v, &r) != DEV_OK)
		r.val = UINT64_MAX;
	val = htole32((uint32_t)r.val);
	memcpy(&v->fn.config[data], &val, r.len);
}

static enum dev_outcome config_written(void *ctx, uint32_t off, uint32_t len)
{
	struct virtio_pci *v = ctx;
	uint32_t data = v->window_cap + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data);
	struct bus_req r;

	msix_update(&v->msix);
	if (!touches_window(v, off, len))
		return DEV_OK;
	if (!window_req(v, &r))
		return DEV_GUEST_FAULT;
	r.store = true;
	r.val = config_le32(v, data);
	if (r.len < 4)
		r.val &= (1ull << 8 * r.len) - 1;
	return bar_access(v, &r);
}

static void bar_moved(void *ctx, uint32_t bar, uint32_t addr, bool mapped)
{
	struct virtio_pci *v = ctx;

	(void)bar; /* there is one */
	v->bar_mapped = mapped;
	v->bar_at = addr;
	update_notify(v);
}

static void bus_master(void *ctx)
{
	struct virtio_pci *v = ctx;

	msix_update(&v->msix);
	if (virtio_pci_running(v))
		v->dev.type->start(v->dev.ctx);
}

static uint8_t add_structure(
	struct virtio_pci *v, uint8_t type, uint32_t off, uint32_t bytes, const uint32_t *extra)
{
	struct virtio_pci_notify_cap cap = {
		.cap = {
			.cap_len = (uint8_t)(extra ? sizeof(cap) : sizeof(cap.cap)),
			.cfg_type = type,
			.bar = VIRTIO_BAR_NUMBER,
			.offset = htole32(off),
			.length = htole32(bytes),
		},
		.notify_off_multiplier = extra ? htole32(*extra) : 0,
	};

	/* The first two bytes, id and link, are pci_fn_add_cap's. */
	return pci_fn_add_cap(
		&v->fn, PCI_CAP_ID_VNDR, (const uint8_t *)&cap + 2, cap.cap.cap_len - 2u);
}

static void add_capabilities(struct virtio_pci *v)
{
	const struct virtio_type *type = v->dev.type;
	const uint32_t stride = VIRTIO_BAR_NOTIFY_STRIDE, window_data = 0;
	uint8_t *writable = v->fn.writable;

	add_structure(v, VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_BAR_COMMON, COMMON_BYTES, NULL);
	add_structure(v, VIRTIO_PCI_CAP_NOTIFY_CFG, VIRTIO_BAR_NOTIFY,
		type->queue_count * VIRTIO_BAR_NOTIFY_STRIDE, &stride);
	add_structure(v, VIRTIO_PCI_CAP_ISR_CFG, VIRTIO_BAR_ISR, 1, NULL);
	if (type->config_bytes > 0)
		add_structure(
			v, VIRTIO_PCI_CAP_DEVICE_CFG, VIRTIO_BAR_DEVICE, type->config_bytes, NULL);
	/* Its data field lies where the notify capability has its multiplier. */
	v->window_cap = add_structure(v, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, &window_data);
	writable[v->window_cap + VIRTIO_PCI_CAP_BAR] = 0xff;
	memset(&writable[v->window_cap + VIRTIO_PCI_CAP_OFFSET], 0xff, 4);
	memset(&writable[v->window_cap + VIRTIO_PCI_CAP_LENGTH], 0xff, 4);
	memset(&writable[v->window_cap + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data)], 0xff,
		4);
}

void virtio_pci_init(struct virtio_pci *v, const struct virtio_type *type, void *type_ctx,
	const struct ram_map *ram, const struct virtio_pci_env *env, uint32_t class_code,
	pthread_mutex_t *lock)
{
	static const struct pci_fn_ops ops = {
		.config_read = config_read,
		.config_written = config_written,
		.bar_moved = bar_moved,
		.bus_master = bus_master,
	};
	const struct msix_env msix_env = {
		.route = env->route, .signal = env->signal, .ctx = env->ctx
	};
	const struct pci_id id = {
		.vendor = VIRTIO_VENDOR,
		.device = (uint16_t)(VIRTIO_DEVICE_BASE + type->id),
		.subsystem_vendor = VIRTIO_VENDOR,
		.subsystem = (uint16_t)(VIRTIO_DEVICE_BASE + type->id),
		.class_code = class_code,
		.revision = VIRTIO_REVISION,
	};

	CHECK(type->config_bytes <= PAGE);
	*v = (struct virtio_pci){ .env = *env };
	virtio_dev_init(&v->dev, type, type_ctx, ram);
	pci_fn_init(&v->fn, &id, lock, &ops, v);
	pci_fn_add_bar(&v->fn, VIRTIO_BAR_NUMBER, VIRTIO_BAR_BYTES, bar_access, v);
	msix_init(&v->msix, &v->fn, &msix_env, type->queue_count + 1, VIRTIO_BAR_NUMBER,
		VIRTIO_BAR_MSIX_TABLE, VIRTIO_BAR_MSIX_PBA);
	add_capabilities(v);
	forget_driver(v);
}
