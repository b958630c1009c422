/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_DEVICE_BUS_H
#define CELLVISOR_MONITOR_DEVICE_BUS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * An address space in which devices claim ranges: one value for I/O ports, one
 * for memory-mapped I/O. A device doesn't know where on which bus it sits: its
 * handler sees offsets into its range.
 */

/* What an access means for the guest. */
enum dev_outcome {
	DEV_OK = 0,
	/*
	 * The access makes no sense to the device. Nothing changed, a load reads
	 * all-ones, the guest goes on. Worth counting, not worth stopping for.
	 */
	DEV_GUEST_FAULT,
	DEV_RESET,     /* the guest asked for a reset of the machine */
	DEV_POWER_OFF, /* the guest asked to be switched off */
};

/* One access: `val` is read by the device if `store`, else written by it. */
struct bus_req {
	uint64_t off; /* from the start of the range */
	uint64_t val; /* little-endian; bits above len are zero on a store, ignored on a load */
	uint8_t len;  /* bytes: 1, 2, 4 or 8; [off, off + len) is within the range */
	bool store;
};

/* The one signature of all handlers. Called with the lock of the range held. */
typedef enum dev_outcome bus_fn(void *dev, struct bus_req *r);

#define BUS_RANGES_MAX 256u

struct bus_range {
	uint64_t base, bytes;
	bus_fn *fn;
	void *dev;
	pthread_mutex_t *lock;
};

/*
 * `map_lock` guards the table alone and is never held while a handler runs: a
 * handler may therefore add and remove ranges, its own too. An access that
 * another thread has begun before a removal may still reach the handler after
 * it, so a device outlives every thread that accesses the bus.
 */
struct bus {
	pthread_rwlock_t map_lock;
	uint32_t range_count;
	struct bus_range ranges[BUS_RANGES_MAX]; /* sorted by base, disjoint */
};

void bus_init(struct bus *b);

/* No thread may use the bus any more. */
void bus_fini(struct bus *b);

/*
 * Claims [base, base + bytes) for `fn(dev, ...)`. `dev` and `lock` are borrowed
 * until bus_fini. Handlers whose ranges share a lock never run at the same time;
 * with a NULL lock the handler does its own locking. Any thread.
 * Returns 0; -EINVAL if bytes is 0 or the range wraps; -EEXIST if any byte of it
 * is claimed; -ENOSPC if the table is full.
 */
int bus_add(
	struct bus *b, uint64_t base, uint64_t bytes, bus_fn *fn, void *dev, pthread_mutex_t *lock);

/* Releases the range that starts at `base`. Returns 0, or -ENOENT if none does. Any thread. */
int bus_remove(struct bus *b, uint64_t base);

/*
 * Performs the guest's access of `len` bytes (1, 2, 4 or 8) at `addr`; the bytes
 * are in `data`, in the guest's order, as KVM_RUN hands them over. Any thread.
 * What nobody claims, or what is only partly in a range, reads all-ones and
 * swallows stores with DEV_OK, as on a PC.
 */
enum dev_outcome bus_access(struct bus *b, uint64_t addr, void *data, uint32_t len, bool store);

#endif
