/* SPDX-License-Identifier: BSD-2-Clause */
#include "guests/agent/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Every word differs from its neighbours and from any other seed's. */
static uint64_t word_at(uint64_t seed, uint64_t offset)
{
	uint64_t x = (seed + 1) * 0x9e3779b97f4a7c15ull + offset;

	x = (x ^ (x >> 29)) * 0xbf58476d1ce4e5b9ull;
	return x ^ (x >> 32);
}

void disk_fill(uint64_t *chunk, size_t bytes, uint64_t seed, uint64_t offset)
{
	for (size_t i = 0; i < bytes / sizeof(*chunk); i++)
		chunk[i] = word_at(seed, offset + i * sizeof(*chunk));
}

size_t disk_compare(const uint64_t *chunk, size_t bytes, uint64_t seed, uint64_t offset)
{
	for (size_t i = 0; i < bytes / sizeof(*chunk); i++) {
		uint64_t difference = chunk[i] ^ word_at(seed, offset + i * sizeof(*chunk));

		if (difference)
			return i * sizeof(*chunk) + (size_t)__builtin_ctzll(difference) / 8;
	}
	return bytes;
}

static int complain(char *why, int rc, const char *what, uint64_t offset)
{
	snprintf(why, DISK_WHY_BYTES, "%s at byte %" PRIu64 ": %s", what, offset,
		strerrordesc_np(-rc));
	return rc;
}

/* A whole chunk, at once or in parts. 0 or -errno; -ENOSPC at the end of the device. */
static int transfer(int fd, char *chunk, uint64_t offset, bool store)
{
	size_t done = 0;

	while (done < DISK_CHUNK_BYTES) {
		size_t left = DISK_CHUNK_BYTES - done;
		off_t at = (off_t)(offset + done);
		ssize_t n = store ? pwrite(fd, chunk + done, left, at)
				  : pread(fd, chunk + done, left, at);

		if (n == 0)
			return -ENOSPC;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			done += (size_t)n;
	}
	return 0;
}

static int write_chunks(int fd, uint64_t *chunk, uint64_t seed, uint64_t mib, char *why)
{
	for (uint64_t offset = 0; offset < mib << 20; offset += DISK_CHUNK_BYTES) {
		disk_fill(chunk, DISK_CHUNK_BYTES, seed, offset);

		int rc = transfer(fd, (char *)chunk, offset, true);

		if (rc)
			return complain(why, rc, "write", offset);
	}
	if (fsync(fd) != 0)
		return complain(why, -errno, "fsync", mib << 20);
	return 0;
}

static int verify_chunks(int fd, uint64_t *chunk, uint64_t seed, uint64_t mib, char *why)
{
	for (uint64_t offset = 0; offset < mib << 20; offset += DISK_CHUNK_BYTES) {
		int rc = transfer(fd, (char *)chunk, offset, false);
		size_t at;

		if (rc)
			return complain(why, rc, "read", offset);
		at = disk_compare(chunk, DISK_CHUNK_BYTES, seed, offset);
		if (at < DISK_CHUNK_BYTES) {
			snprintf(why, DISK_WHY_BYTES, "wrong byte at %" PRIu64, offset + at);
			return -EILSEQ;
		}
	}
	return 0;
}

static int on_disk(const char *path, uint64_t seed, uint64_t mib, bool store, char *why)
{
	uint64_t *chunk = NULL;
	int fd = open(path, (store ? O_RDWR : O_RDONLY) | O_DIRECT | O_CLOEXEC);
	int rc;

	if (fd < 0) {
		rc = -errno;
		snprintf(why, DISK_WHY_BYTES, "%s: %s", path, strerrordesc_np(-rc));
		return rc;
	}
	if (posix_memalign((void **)&chunk, 4096, DISK_CHUNK_BYTES) != 0) {
		rc = complain(why, -ENOMEM, "memory", 0);
		goto close_disk;
	}
	rc = store ? write_chunks(fd, chunk, seed, mib, why)
		   : verify_chunks(fd, chunk, seed, mib, why);
	free(chunk);
close_disk:
	close(fd);
	return rc;
}

int disk_write(const char *path, uint64_t seed, uint64_t mib, char why[DISK_WHY_BYTES])
{
	return on_disk(path, seed, mib, true, why);
}

int disk_verify(const char *path, uint64_t seed, uint64_t mib, char why[DISK_WHY_BYTES])
{
	return on_disk(path, seed, mib, false, why);
}
