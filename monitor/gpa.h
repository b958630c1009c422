/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_GPA_H
#define CELLVISOR_MONITOR_GPA_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* A guest-physical address: a type of its own, so that it can't be dereferenced. */
struct gpa {
	uint64_t addr;
};

#define RAM_REGIONS_MAX 8
#define RAM_PAGE_BYTES 4096u

/* One run of guest RAM. `hva` is borrowed and outlives the map. */
struct ram_region {
	struct gpa gpa;
	uint64_t bytes;
	uint8_t *hva;
	uint64_t off; /* of its first byte, counted over all of RAM; a multiple of a page */
};

/*
 * All of a guest's RAM as devices and loaders see it. Regions are sorted, don't
 * overlap and don't wrap. Constant once the guest runs, so threads may share it.
 */
struct ram_map {
	uint32_t region_count;
	struct ram_region regions[RAM_REGIONS_MAX];
	/*
	 * A bit for each page of RAM, by offset, that a device has written or is about to write;
	 * borrowed. NULL: nobody wants to know.
	 */
	_Atomic uint64_t *written;
};

/*
 * Copies `bytes` bytes out of guest RAM; false unless all of it is RAM and none of it was lost to a
 * memory error; *dst is undefined then. Reads by the careful-reference rule
 * (faultcontain/host/careful.h), as ram_write() writes.
 */
bool ram_read(const struct ram_map *m, struct gpa from, void *dst, size_t bytes);

/*
 * Copies `bytes` bytes into guest RAM; false, with RAM untouched, unless all of it is RAM; false
 * also if a page of it was lost to a memory error, with anything of it written.
 */
bool ram_write(const struct ram_map *m, struct gpa to, const void *src, size_t bytes);

/*
 * To be called before `bytes` bytes at `at` are written by other means than ram_write(). What is
 * not RAM is left out. Any thread.
 */
void ram_written(const struct ram_map *m, struct gpa at, uint64_t bytes);

/*
 * Describes [at, at + bytes) as host memory for vectored I/O, in at most `max`
 * pieces. Returns the number of pieces, or 0 if any byte is not RAM, bytes is 0
 * or more pieces would be needed. The memory stays the guest's: its contents may
 * change at any time and must never be judged in place.
 */
uint32_t ram_iov(
	const struct ram_map *m, struct gpa at, uint64_t bytes, struct iovec *iov, uint32_t max);

/*
 * The host address of a naturally aligned field of 1, 2, 4 or 8 bytes, for
 * atomic access to a queue's index; NULL if it is not RAM or not aligned.
 */
void *ram_atomic(const struct ram_map *m, struct gpa at, uint32_t bytes);

#endif
