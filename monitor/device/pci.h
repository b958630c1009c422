/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_DEVICE_PCI_H
#define CELLVISOR_MONITOR_DEVICE_PCI_H

#include "monitor/device/bus.h"

/*
 * PCI as a guest sees it (PCI Local Bus 3.0, chapter 6; ECAM: PCI Express Base,
 * 7.2.2): a segment whose configuration space is decoded from one ECAM window,
 * host bridges on it (one today; later one per vNUMA node), type 0 functions
 * behind them. Functions have memory BARs of 32 bits and no interrupt pin: MSI-X
 * is the only interrupt.
 *
 * The structure is built before the guest runs and does not change then, save
 * for what the guest writes into configuration space.
 */

#define PCI_CONFIG_BYTES 256u
#define PCI_BARS 6u
#define PCI_SLOTS 32u
#define PCI_BUSES_MAX 16u
#define PCI_ECAM_BUS_BYTES 0x100000u

struct pci_host;

/* Callbacks into the function's device, with the function's lock held. Each may be NULL. */
struct pci_fn_ops {
	/* The guest is about to read configuration bytes [off, off + len): make them true. */
	void (*config_read)(void *ctx, uint32_t off, uint32_t len);
	/* The guest wrote them; read-only bits have kept their value. */
	enum dev_outcome (*config_written)(void *ctx, uint32_t off, uint32_t len);
	/* BAR `bar` is now decoded at `addr`, or, if !mapped, no longer decoded there. */
	void (*bar_moved)(void *ctx, uint32_t bar, uint32_t addr, bool mapped);
	/* The command register's bus master bit changed; pci_fn_bus_master has the new value. */
	void (*bus_master)(void *ctx);
};

struct pci_bar {
	uint32_t bytes; /* power of two, at least 4096; 0: no such BAR */
	bus_fn *fn;
	void *dev;
	uint32_t first; /* where pci_host_add placed it */
	uint32_t at;	/* where it is decoded, if mapped */
	bool mapped;
};

struct pci_fn {
	uint8_t config[PCI_CONFIG_BYTES];
	uint8_t writable[PCI_CONFIG_BYTES]; /* mask of the bits that a guest can write */
	uint8_t initial[PCI_CONFIG_BYTES];  /* contents after reset */
	struct pci_bar bars[PCI_BARS];
	uint32_t cap_end;      /* first byte that no capability uses */
	uint8_t cap_last;      /* offset of the last capability, 0 if none */
	bool bar_conflict;     /* the guest enabled a BAR where it can't be; it is not decoded */
	struct pci_host *host; /* NULL until pci_host_add */
	pthread_mutex_t *lock;
	struct pci_fn_ops ops;
	void *ctx;
};

struct pci_id {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint32_t class_code; /* 24 bits: class, subclass, interface */
	uint8_t revision;
};

/*
 * A host bridge: it owns bus number `bus` and forwards memory accesses within
 * [window, window + window_bytes). It is itself visible as function 0 of slot 0.
 */
struct pci_host {
	struct bus *mmio; /* borrowed */
	uint8_t bus_number;
	uint32_t window, window_bytes, window_used;
	struct pci_fn *slots[PCI_SLOTS]; /* function 0 of each slot; borrowed */
	struct pci_fn bridge;
	pthread_mutex_t bridge_lock;
};

struct pci_segment {
	uint32_t bus_count;
	struct pci_host *hosts[PCI_BUSES_MAX]; /* by bus number; borrowed */
};

/* `lock` (borrowed) is held in every callback and in the handlers of the BARs. */
void pci_fn_init(struct pci_fn *f, const struct pci_id *id, pthread_mutex_t *lock,
	const struct pci_fn_ops *ops, void *ctx);

/* Declares memory BAR `bar`, handled by fn(dev, ...). Before pci_host_add. */
void pci_fn_add_bar(struct pci_fn *f, uint32_t bar, uint32_t bytes, bus_fn *fn, void *dev);

/*
 * Appends a capability: header (id and link) and `bytes` bytes of body. All of it
 * is read-only: set bits in f->writable to change that. Returns its offset. Before
 * pci_host_add.
 */
uint8_t pci_fn_add_cap(struct pci_fn *f, uint8_t id, const void *body, uint32_t bytes);

/* May the function read and write guest memory and send MSIs? Under the function's lock. */
bool pci_fn_bus_master(const struct pci_fn *f);

/*
 * Configuration space as after power-on: BARs back where pci_host_add placed
 * them, decoded; bus mastering off. Under the function's lock, no vCPU runs.
 */
void pci_fn_reset(struct pci_fn *f);

/* No bus of more than bus_count (1 .. PCI_BUSES_MAX) is decoded. */
void pci_segment_init(struct pci_segment *s, uint32_t bus_count);

/*
 * bus_fn of the ECAM window (PCI_ECAM_BUS_BYTES * bus_count bytes), to be claimed
 * with a NULL lock: each function's own lock is taken. Functions that don't exist
 * read all-ones. Bytes beyond PCI_CONFIG_BYTES read all-ones: there is no extended
 * configuration space.
 */
enum dev_outcome pci_segment_bus(void *segment, struct bus_req *r);

/*
 * A host bridge on bus `bus_number` of the segment (not taken yet) that decodes
 * BARs within the window. All pointers are borrowed until the guest has ended.
 */
void pci_host_init(struct pci_host *h, struct pci_segment *s, struct bus *mmio, uint8_t bus_number,
	uint32_t window, uint32_t window_bytes);

/*
 * Plugs `f` (borrowed) into slot 1 .. PCI_SLOTS - 1, places its BARs in the window
 * and has them decoded. Returns 0; -EEXIST if the slot, or the place of a BAR on
 * the bus, is taken; -ENOSPC if the window is full. On failure nothing is plugged in.
 */
int pci_host_add(struct pci_host *h, uint32_t slot, struct pci_fn *f);

/* The bridge's own configuration space as after power-on; functions have their own reset. */
void pci_host_reset(struct pci_host *h);

/* After the last access of a guest. */
void pci_host_fini(struct pci_host *h);

#endif
