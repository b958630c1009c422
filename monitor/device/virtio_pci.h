/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_DEVICE_VIRTIO_PCI_H
#define CELLVISOR_MONITOR_DEVICE_VIRTIO_PCI_H

#include "monitor/device/msix.h"
#include "monitor/device/virtio_dev.h"

/*
 * The modern PCI transport (virtio 1.2, 4.1): one function with one BAR that
 * holds the common, notify, ISR and device configuration and the MSI-X table.
 * Everything here is called with the function's lock held.
 */

/* BAR 0: a page for each structure. */
#define VIRTIO_BAR_NUMBER 0u
#define VIRTIO_BAR_COMMON 0x0000u
#define VIRTIO_BAR_ISR 0x1000u
#define VIRTIO_BAR_DEVICE 0x2000u
#define VIRTIO_BAR_NOTIFY 0x3000u
#define VIRTIO_BAR_MSIX_TABLE 0x4000u
#define VIRTIO_BAR_MSIX_PBA 0x5000u
#define VIRTIO_BAR_BYTES 0x8000u
/* Queue q is notified by a 2-byte store of q at VIRTIO_BAR_NOTIFY + q * this. */
#define VIRTIO_BAR_NOTIFY_STRIDE 4u

struct virtio_pci_env {
	/* Vector q is queue q's, vector queue_count the configuration's, if the driver chooses so:
	 * there are queue_count + 1. See msix_env. */
	void (*route)(void *ctx, uint32_t vector, uint64_t addr, uint32_t data, bool masked);
	void (*signal)(void *ctx, uint32_t vector);
	/*
	 * Stores to guest address `at` notify queue `queue` from now on (until `detach` with the
	 * same arguments): attach an ioeventfd of 2 bytes there, without a data match, that wakes
	 * the type. Called for enabled queues when the driver is ready and the BAR is decoded; when
	 * the BAR moves, detach and attach again. Stores of other widths, or all of them if nothing
	 * is attached, reach the bus and then the type's kick. Both may be NULL.
	 */
	void (*notify_attach)(void *ctx, uint32_t queue, struct gpa at);
	void (*notify_detach)(void *ctx, uint32_t queue, struct gpa at);
	/* The device has set DEVICE_NEEDS_RESET; `why` says in words what the driver did. May be
	 * NULL. */
	void (*trouble)(void *ctx, const char *why);
	void *ctx; /* borrowed, outlives the device */
};

struct virtio_pci {
	struct virtio_dev dev;
	struct pci_fn fn;
	struct msix msix;
	struct virtio_pci_env env;
	uint8_t isr;
	uint8_t window_cap; /* offset of the PCI configuration access capability */
	uint16_t config_vector;
	uint16_t queue_vector[VIRTIO_QUEUES_MAX];
	uint16_t queue_select;
	uint32_t device_half, driver_half; /* feature selects */
	uint32_t bar_at;
	bool bar_mapped;
	bool attached[VIRTIO_QUEUES_MAX];
};

/* `lock` guards all of it; it is pci_fn's. class_code: 24 bits. */
void virtio_pci_init(struct virtio_pci *v, const struct virtio_type *type, void *type_ctx,
	const struct ram_map *ram, const struct virtio_pci_env *env, uint32_t class_code,
	pthread_mutex_t *lock);

/* May the type take chains and push them now? As virtio_dev_running, and bus mastering is on. */
bool virtio_pci_running(const struct virtio_pci *v);

/* Chains of `queue` were pushed: interrupts the driver unless it does not want that. */
void virtio_pci_used(struct virtio_pci *v, uint32_t queue);

/* The type found that the driver broke a rule. */
void virtio_pci_trouble(struct virtio_pci *v, const char *why);

/* The type's last request in flight has ended, after stop returned false. */
void virtio_pci_stopped(struct virtio_pci *v);

/*
 * Function and device as after power-on. The type must have stopped: no request in flight.
 * No vCPU runs.
 */
void virtio_pci_reset(struct virtio_pci *v);

/* Where queue `queue` is notified now; false while the BAR is not decoded. */
bool virtio_pci_notify_at(const struct virtio_pci *v, uint32_t queue, struct gpa *at);

#endif
