/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_BOOT_INITRD_FORMATS_H
#define CELLVISOR_MONITOR_BOOT_INITRD_FORMATS_H

#include "monitor/boot/cpio.h"
#include "monitor/boot/cursor.h"

/*
 * Checks of one compressed archive, each for initrd.c. The cursor stands at the
 * format's magic and is moved behind the archive. Returns 0 or a negative errno
 * with *c->e filled.
 */

/* Inflated as a whole: deflate can't be followed otherwise. The CRC is checked as well. */
int initrd_gzip(struct cursor *c);

/* The old .lzma format: decoded as a whole, for it has neither lengths nor sums. */
int initrd_lzma(struct cursor *c);

/*
 * Walks streams, blocks and the LZMA2 chunks in them by their lengths; checks all
 * headers' CRCs and that the index agrees with the blocks. Contents are not
 * decoded, save for their begin.
 */
int initrd_xz(struct cursor *c);

/* Walks the blocks of a frame by their lengths. Contents are not decoded, save for their begin. */
int initrd_zstd(struct cursor *c);

/*
 * Walks the blocks of the legacy format by their lengths. A file cut exactly
 * between two blocks is not noticed: the format has no end mark.
 */
int initrd_lz4(struct cursor *c);

/* bzip2 and LZO: nothing is checked behind the magic; takes the rest of the file. */
int initrd_unchecked(struct cursor *c);

/*
 * What a compressed archive holds, fed in pieces as it is decompressed: has to be
 * complete cpio archives.
 */
struct content {
	struct cpio cpio;
	const char *format;
	uint64_t at; /* offset of the compressed archive in the file */
};

void content_init(struct content *k, const struct cursor *c, const char *format);
int content_feed(struct content *k, struct cursor *c, const uint8_t *data, size_t bytes);
int content_end(const struct content *k, struct cursor *c);

#endif
