/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_GUESTS_AGENT_DISK_H
#define CELLVISOR_GUESTS_AGENT_DISK_H

/* Writes and re-reads a pattern on a disk, past the page cache (O_DIRECT). */

#include <stddef.h>
#include <stdint.h>

#define DISK_CHUNK_BYTES (1u << 20)
#define DISK_WHY_BYTES 160u

/* Fills a chunk with what `seed` has at byte `offset` (a multiple of 8). */
void disk_fill(uint64_t *chunk, size_t bytes, uint64_t seed, uint64_t offset);

/* Offset within the chunk of the first wrong byte, or `bytes`. */
size_t disk_compare(const uint64_t *chunk, size_t bytes, uint64_t seed, uint64_t offset);

/*
 * The first `mib` MiB of the device. disk_write returns after fsync. 0, or a
 * negative errno with a sentence in `why`: -EILSEQ for wrong bytes, -ENOSPC if
 * the disk is shorter.
 */
int disk_write(const char *path, uint64_t seed, uint64_t mib, char why[DISK_WHY_BYTES]);
int disk_verify(const char *path, uint64_t seed, uint64_t mib, char why[DISK_WHY_BYTES]);

#endif
