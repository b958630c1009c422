/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_BOOT_INITRD_H
#define CELLVISOR_MONITOR_BOOT_INITRD_H

#include "monitor/err.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Is this file an initrd, and is all of it there? An initrd is one or more cpio
 * archives (newc) and compressed archives one after the other, with zeros
 * between them (Documentation/driver-api/early-userspace/buffer-format.rst).
 * docs/boot.md says what is caught in which format.
 */

/*
 * Where the bytes come from. read() fills buf with exactly `bytes` bytes from
 * offset `off` and returns 0, or a negative errno; it is never asked for bytes
 * beyond `bytes` below. `ctx` is borrowed during the check.
 */
struct initrd_source {
	int (*read)(void *ctx, uint64_t off, void *buf, size_t bytes);
	void *ctx;
	uint64_t bytes;
	const char *name; /* for error texts */
};

/*
 * Checks the whole of *s. Memory is bounded (tens of MiB at the worst, of the
 * decompressors' windows); time is at most that of decompressing a gzip or lzma
 * initrd once, and near nothing for cpio, zstd, xz and lz4, whose structure is
 * walked instead. Returns 0; -EINVAL (EXIT_INVALID) with the offset of what is
 * wrong; another negative errno if reading failed (EXIT_INVALID) or memory ran
 * out (EXIT_FAILED).
 */
int initrd_check(const struct initrd_source *s, struct err *e);

#endif
