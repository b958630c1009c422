/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_DEVICE_BUS_H
#define CELLVISOR_MONITOR_DEVICE_BUS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* One access to a device. A device sees the offset in its range, never the bus. */
struct bus_req {
	uint64_t off;
	uint64_t val; /* to store, or filled in by a load; only the low 8 * len bits count */
	uint8_t len;  /* 1, 2, 4 or 8 */
	bool store;
};

enum dev_outcome {
	DEV_OK,
	DEV_GUEST_FAULT, /* the guest did what no driver does; nothing happened, loads are ones */
	DEV_RESET,	 /* the guest asks for a reset of the whole machine */
	DEV_POWER_OFF,
};

typedef enum dev_outcome bus_fn(void *dev, struct bus_req *r);

#define BUS_RANGES_MAX 32

struct bus_range {
	uint64_t base, bytes;
	bus_fn *fn;
	void *dev;
	pthread_mutex_t *lock; /* borrowed; NULL: the device locks for itself */
};

/* Ports, or memory. Built before vCPUs run, constant after, so threads may share it. */
struct bus {
	uint32_t range_count;
	struct bus_range ranges[BUS_RANGES_MAX]; /* by base */
};

/*
 * Claims [base, base + bytes) for a device; `dev` and `lock` outlive the bus. 0;
 * -EEXIST when it overlaps another range, -EINVAL when it is empty or wraps,
 * -ENOSPC when the bus is full.
 */
int bus_add(
	struct bus *b, uint64_t base, uint64_t bytes, bus_fn *fn, void *dev, pthread_mutex_t *lock);

/*
 * Performs an access at `addr`; r->off is set here. What no device claims, or
 * what crosses the end of a range, reads as ones and swallows stores: DEV_OK.
 */
enum dev_outcome bus_access(const struct bus *b, uint64_t addr, struct bus_req *r);

/* All ones in the length of the access. */
uint64_t bus_ones(uint8_t len);

#endif
