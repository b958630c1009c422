/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/device/bus.h"

#include "numa/check.h"

#include <errno.h>
#include <string.h>

void bus_init(struct bus *b)
{
	int rc = pthread_rwlock_init(&b->map_lock, NULL);

	CHECK(rc == 0);
	b->range_count = 0;
}

void bus_fini(struct bus *b)
{
	int rc = pthread_rwlock_destroy(&b->map_lock);

	CHECK(rc == 0);
}

static void map_unlock(struct bus *b)
{
	int rc = pthread_rwlock_unlock(&b->map_lock);

	CHECK(rc == 0);
}

/* The number of ranges that start at or below addr: the last of them may hold it. */
static uint32_t ranges_up_to(const struct bus *b, uint64_t addr)
{
	uint32_t low = 0, high = b->range_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (b->ranges[middle].base <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int bus_add(
	struct bus *b, uint64_t base, uint64_t bytes, bus_fn *fn, void *dev, pthread_mutex_t *lock)
{
	uint64_t last = base + bytes - 1;
	uint32_t at;
	int rc = 0;

	if (bytes == 0 || last < base)
		return -EINVAL;
	pthread_rwlock_wrlock(&b->map_lock);
	/* The last range that starts within or before the new one is the only one that can overlap.
	 */
	at = ranges_up_to(b, last);
	if (at > 0 && b->ranges[at - 1].base + (b->ranges[at - 1].bytes - 1) >= base) {
		rc = -EEXIST;
	} else if (b->range_count == BUS_RANGES_MAX) {
		rc = -ENOSPC;
	} else {
		memmove(&b->ranges[at + 1], &b->ranges[at],
			(b->range_count - at) * sizeof(b->ranges[0]));
		b->ranges[at] = (struct bus_range){ base, bytes, fn, dev, lock };
		b->range_count++;
	}
	map_unlock(b);
	return rc;
}

int bus_remove(struct bus *b, uint64_t base)
{
	uint32_t at;
	int rc = -ENOENT;

	pthread_rwlock_wrlock(&b->map_lock);
	at = ranges_up_to(b, base);
	if (at > 0 && b->ranges[at - 1].base == base) {
		memmove(&b->ranges[at - 1], &b->ranges[at],
			(b->range_count - at) * sizeof(b->ranges[0]));
		b->range_count--;
		rc = 0;
	}
	map_unlock(b);
	return rc;
}

/* Copies the range that holds all of [addr, addr + len) into *r; false if there is none. */
static bool range_of(struct bus *b, uint64_t addr, uint32_t len, struct bus_range *r)
{
	bool found = false;
	uint32_t n;

	pthread_rwlock_rdlock(&b->map_lock);
	n = ranges_up_to(b, addr);
	if (n > 0) {
		*r = b->ranges[n - 1];
		found = addr - r->base < r->bytes && r->bytes - (addr - r->base) >= len;
	}
	map_unlock(b);
	return found;
}

enum dev_outcome bus_access(struct bus *b, uint64_t addr, void *data, uint32_t len, bool store)
{
	struct bus_req req = { .val = 0, .len = (uint8_t)len, .store = store };
	enum dev_outcome out = DEV_OK;
	struct bus_range range;

	CHECK(len == 1 || len == 2 || len == 4 || len == 8);
	if (!range_of(b, addr, len, &range)) {
		if (!store)
			memset(data, 0xff, len);
		return DEV_OK;
	}
	req.off = addr - range.base;
	if (store)
		memcpy(&req.val, data, len);
	if (range.lock)
		pthread_mutex_lock(range.lock);
	out = range.fn(range.dev, &req);
	if (range.lock)
		pthread_mutex_unlock(range.lock);
	if (!store) {
		if (out == DEV_GUEST_FAULT)
			req.val = UINT64_MAX;
		memcpy(data, &req.val, len);
	}
	return out;
}
