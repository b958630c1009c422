/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/device/bus.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

int bus_add(
	struct bus *b, uint64_t base, uint64_t bytes, bus_fn *fn, void *dev, pthread_mutex_t *lock)
{
	uint32_t at = 0;

	if (bytes == 0 || base + (bytes - 1) < base)
		return -EINVAL;
	if (b->range_count == BUS_RANGES_MAX)
		return -ENOSPC;
	while (at < b->range_count && b->ranges[at].base < base)
		at++;
	if (at > 0 && base - b->ranges[at - 1].base < b->ranges[at - 1].bytes)
		return -EEXIST;
	if (at < b->range_count && b->ranges[at].base - base < bytes)
		return -EEXIST;
	memmove(&b->ranges[at + 1], &b->ranges[at], (b->range_count - at) * sizeof(b->ranges[0]));
	b->ranges[at] = (struct bus_range){
		.base = base, .bytes = bytes, .fn = fn, .dev = dev, .lock = lock
	};
	b->range_count++;
	return 0;
}

static const struct bus_range *find(const struct bus *b, uint64_t addr)
{
	uint32_t low = 0, high = b->range_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct bus_range *r = &b->ranges[middle];

		if (addr < r->base)
			high = middle;
		else if (addr - r->base >= r->bytes)
			low = middle + 1;
		else
			return r;
	}
	return NULL;
}

uint64_t bus_ones(uint8_t len)
{
	return len >= 8 ? UINT64_MAX : (1ull << (len * 8)) - 1;
}

enum dev_outcome bus_access(const struct bus *b, uint64_t addr, struct bus_req *r)
{
	const struct bus_range *range = find(b, addr);
	enum dev_outcome outcome;

	if (!range || range->bytes - (addr - range->base) < r->len) {
		if (!r->store)
			r->val = bus_ones(r->len);
		return DEV_OK;
	}
	r->off = addr - range->base;
	if (range->lock)
		(void)pthread_mutex_lock(range->lock);
	outcome = range->fn(range->dev, r);
	if (range->lock)
		(void)pthread_mutex_unlock(range->lock);
	if (outcome == DEV_GUEST_FAULT && !r->store)
		r->val = bus_ones(r->len);
	return outcome;
}
