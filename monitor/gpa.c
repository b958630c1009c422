/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/gpa.h"

#include "faultcontain/host/careful.h"

/* The region that holds `at`, with *left set to the bytes from there to its end; or NULL. */
static const struct ram_region *region_of(const struct ram_map *m, uint64_t at, uint64_t *left)
{
	for (uint32_t i = 0; i < m->region_count; i++) {
		const struct ram_region *r = &m->regions[i];

		if (at >= r->gpa.addr && at - r->gpa.addr < r->bytes) {
			*left = r->bytes - (at - r->gpa.addr);
			return r;
		}
	}
	return NULL;
}

uint32_t ram_iov(
	const struct ram_map *m, struct gpa at, uint64_t bytes, struct iovec *iov, uint32_t max)
{
	uint64_t addr = at.addr;
	uint32_t n = 0;

	while (bytes > 0) {
		uint64_t left;
		const struct ram_region *r = region_of(m, addr, &left);

		if (!r || n == max)
			return 0;
		if (left > bytes)
			left = bytes;
		iov[n].iov_base = r->hva + (addr - r->gpa.addr);
		iov[n].iov_len = left;
		n++;
		addr += left;
		bytes -= left;
	}
	return n;
}

bool ram_read(const struct ram_map *m, struct gpa from, void *dst, size_t bytes)
{
	struct iovec iov[RAM_REGIONS_MAX];
	uint32_t n = ram_iov(m, from, bytes, iov, RAM_REGIONS_MAX);
	uint8_t *to = dst;

	for (uint32_t i = 0; i < n; i++) {
		if (careful_copy(to, iov[i].iov_base, iov[i].iov_len))
			return false;
		to += iov[i].iov_len;
	}
	return n > 0;
}

bool ram_write(const struct ram_map *m, struct gpa to, const void *src, size_t bytes)
{
	struct iovec iov[RAM_REGIONS_MAX];
	uint32_t n = ram_iov(m, to, bytes, iov, RAM_REGIONS_MAX);
	const uint8_t *from = src;

	if (n > 0)
		ram_written(m, to, bytes);
	for (uint32_t i = 0; i < n; i++) {
		if (careful_copy(iov[i].iov_base, from, iov[i].iov_len))
			return false;
		from += iov[i].iov_len;
	}
	return n > 0;
}

void ram_written(const struct ram_map *m, struct gpa at, uint64_t bytes)
{
	uint64_t addr = at.addr, left;

	while (m->written && bytes > 0) {
		const struct ram_region *r = region_of(m, addr, &left);
		uint64_t off, end;

		if (!r)
			return;
		if (left > bytes)
			left = bytes;
		off = r->off + (addr - r->gpa.addr);
		end = off + left;
		for (uint64_t page = off / RAM_PAGE_BYTES; page * RAM_PAGE_BYTES < end; page++)
			atomic_fetch_or(&m->written[page / 64], 1ull << page % 64);
		addr += left;
		bytes -= left;
	}
}

void *ram_atomic(const struct ram_map *m, struct gpa at, uint32_t bytes)
{
	uint64_t left;
	const struct ram_region *r = region_of(m, at.addr, &left);

	if (!r || left < bytes || at.addr % bytes != 0)
		return NULL;
	return r->hva + (at.addr - r->gpa.addr);
}
