/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_DEVICE_MSIX_H
#define CELLVISOR_MONITOR_DEVICE_MSIX_H

#include "monitor/device/pci.h"

/*
 * The MSI-X capability of a PCI function (PCI Local Bus 3.0, 6.8.2): table and
 * pending bits in a BAR, masks per vector and per function. Under the function's
 * lock.
 */

#define MSIX_VECTORS_MAX 64u
#define MSIX_ENTRY_BYTES 16u

/*
 * How vectors reach the guest. Meant for irqfd: the owner gives each vector a GSI
 * and an eventfd; `route` sets the GSI's message, `signal` writes the eventfd.
 */
struct msix_env {
	/*
	 * From now on vector `vector` sends `data` to `addr`, or, if masked, nothing:
	 * its route may be released, and `signal` is not called until it is unmasked.
	 * Called at each change of the effective state only. It can't be refused:
	 * reserve a route per vector when the guest is composed. `addr` and `data` are
	 * the guest's words: a message that no interrupt controller takes reaches nobody.
	 */
	void (*route)(void *ctx, uint32_t vector, uint64_t addr, uint32_t data, bool masked);
	/* Sends the message of an unmasked vector. */
	void (*signal)(void *ctx, uint32_t vector);
	void *ctx; /* borrowed, outlives the device */
};

struct msix_entry {
	uint64_t addr;
	uint32_t data;
	uint32_t control; /* bit 0: masked */
	bool live;	  /* what env.route was told last */
};

struct msix {
	struct pci_fn *fn;
	struct msix_env env;
	uint8_t cap;
	uint32_t vector_count;
	uint64_t pending; /* bit per vector */
	struct msix_entry entries[MSIX_VECTORS_MAX];
};

/*
 * Adds the capability to `fn` (borrowed; before pci_host_add), with the table at
 * table_off and the pending bits at pba_off of BAR `bar`; both multiples of 8.
 * vector_count is 1 .. MSIX_VECTORS_MAX.
 */
void msix_init(struct msix *m, struct pci_fn *fn, const struct msix_env *env, uint32_t vector_count,
	uint32_t bar, uint32_t table_off, uint32_t pba_off);

/* All vectors masked and not pending, as after power-on; env.route is told. */
void msix_reset(struct msix *m);

/* bus_fn of the table; aligned accesses of 4 or 8 bytes. Offsets count from its start. */
enum dev_outcome msix_table_bus(void *msix, struct bus_req *r);

/* bus_fn of the pending bits; read-only. */
enum dev_outcome msix_pba_bus(void *msix, struct bus_req *r);

/* To be called from pci_fn_ops.config_written and .bus_master: enable, function mask, bus master.
 */
void msix_update(struct msix *m);

/*
 * The device has an interrupt for `vector`. Sent at once, or when it is unmasked;
 * dropped while MSI-X is disabled or the vector does not exist.
 */
void msix_signal(struct msix *m, uint32_t vector);

#endif
