/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_TESTS_ARCHIVES_H
#define CELLVISOR_TESTS_ARCHIVES_H

#include <lzma.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

/* Memory that lives as long as the test's process: on a list, so that it counts as in use. */
struct pool_piece {
	struct pool_piece *next;
	uint8_t bytes[];
};

static inline uint8_t *pool_get(size_t n)
{
	static struct pool_piece *pieces;
	struct pool_piece *p = malloc(sizeof(*p) + n);

	if (!p)
		abort();
	p->next = pieces;
	pieces = p;
	return p->bytes;
}

/* Bytes that grow. */
struct blob {
	uint8_t *bytes;
	size_t n, room;
};

static inline void blob_add(struct blob *b, const void *src, size_t n)
{
	if (b->n + n > b->room) {
		uint8_t *old = b->bytes;

		b->room = 2 * (b->n + n) + 64;
		b->bytes = pool_get(b->room);
		if (b->n > 0)
			memcpy(b->bytes, old, b->n);
	}
	if (n > 0)
		memcpy(b->bytes + b->n, src, n);
	b->n += n;
}

static inline void blob_zeros(struct blob *b, size_t n)
{
	static const uint8_t zeros[4096];

	for (; n > sizeof(zeros); n -= sizeof(zeros))
		blob_add(b, zeros, sizeof(zeros));
	blob_add(b, zeros, n);
}

static inline void blob_align(struct blob *b, size_t align)
{
	while (b->n % align != 0)
		blob_zeros(b, 1);
}

/* An entry of a newc archive. The caller's blob has to be at a multiple of 4. */
static inline void cpio_entry(struct blob *b, const char *name, const void *data, size_t n)
{
	char header[111];

	snprintf(header, sizeof(header),
		"070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", 721, 0100644, 0, 0, 1,
		0, (unsigned)n, 8, 1, 0, 0, (unsigned)strlen(name) + 1, 0);
	blob_add(b, header, 110);
	blob_add(b, name, strlen(name) + 1);
	blob_align(b, 4);
	blob_add(b, data, n);
	blob_align(b, 4);
}

/* Contents that don't compress to nothing: sixteen values at random. */
static inline void noise(uint8_t *to, size_t n, uint32_t seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525u + 1013904223u;
		to[i] = (uint8_t)(seed >> 28) + 'A';
	}
}

/* A whole archive: a long file, a short one, an empty one, names of all paddings, a trailer. */
static inline struct blob cpio_archive(size_t file_bytes)
{
	struct blob b = { 0 };
	uint8_t *data = pool_get(file_bytes);

	noise(data, file_bytes, 42);
	cpio_entry(&b, "init", data, file_bytes);
	cpio_entry(&b, "a", "0123456789", 10);
	cpio_entry(&b, "ab", "", 0);
	cpio_entry(&b, "abc", "0707", 4);
	cpio_entry(&b, "a/longer/name", "x", 1);
	cpio_entry(&b, "TRAILER!!!", "", 0);
	return b;
}

static inline struct blob gzip_of(const struct blob *in)
{
	struct blob b = { .bytes = pool_get(in->n + 1000), .room = in->n + 1000 };
	z_stream z = { .next_in = in->bytes,
		.avail_in = (uInt)in->n,
		.next_out = b.bytes,
		.avail_out = (uInt)in->n + 1000 };

	deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
	deflate(&z, Z_FINISH);
	b.n = z.total_out;
	deflateEnd(&z);
	return b;
}

static inline struct blob zstd_of(const struct blob *in, bool checksum, bool content_size)
{
	size_t room = ZSTD_compressBound(in->n);
	struct blob b = { .bytes = pool_get(room), .room = room };
	ZSTD_CCtx *z = ZSTD_createCCtx();

	ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, checksum);
	ZSTD_CCtx_setParameter(z, ZSTD_c_contentSizeFlag, content_size);
	b.n = ZSTD_compress2(z, b.bytes, room, in->bytes, in->n);
	ZSTD_freeCCtx(z);
	return b;
}

/* A frame of many small blocks: the encoder is flushed after every `step` bytes. */
static inline struct blob zstd_in_steps(const struct blob *in, size_t step)
{
	size_t room = in->n + (in->n / step + 1) * 64;
	struct blob b = { .bytes = pool_get(room), .room = room };
	ZSTD_outBuffer to = { b.bytes, room, 0 };
	ZSTD_CCtx *z = ZSTD_createCCtx();

	for (size_t at = 0; at < in->n; at += step) {
		size_t n = in->n - at < step ? in->n - at : step;
		ZSTD_inBuffer from = { in->bytes + at, n, 0 };

		while (ZSTD_compressStream2(
			       z, &to, &from, at + n == in->n ? ZSTD_e_end : ZSTD_e_flush) != 0)
			;
	}
	ZSTD_freeCCtx(z);
	b.n = to.pos;
	return b;
}

static inline struct blob lzma_run_all(lzma_stream *z, const struct blob *in)
{
	size_t room = in->n * 2 + 4096;
	struct blob b = { .bytes = pool_get(room), .room = room };

	z->next_in = in->bytes;
	z->avail_in = in->n;
	z->next_out = b.bytes;
	z->avail_out = room;
	while (lzma_code(z, LZMA_FINISH) == LZMA_OK)
		;
	b.n = z->total_out;
	lzma_end(z);
	return b;
}

/* block_bytes 0: one block without its sizes in its header. Otherwise blocks with sizes, as xz -T.
 */
static inline struct blob xz_of(
	const struct blob *in, lzma_check check, size_t block_bytes, bool x86)
{
	lzma_stream z = LZMA_STREAM_INIT;
	lzma_options_lzma o;
	lzma_filter filters[3];
	lzma_ret made;
	int n = 0;

	lzma_lzma_preset(&o, 1);
	if (x86)
		filters[n++] = (lzma_filter){ .id = LZMA_FILTER_X86 };
	filters[n++] = (lzma_filter){ .id = LZMA_FILTER_LZMA2, .options = &o };
	filters[n] = (lzma_filter){ .id = LZMA_VLI_UNKNOWN };
	if (block_bytes == 0) {
		made = lzma_stream_encoder(&z, filters, check);
	} else {
		lzma_mt mt = {
			.threads = 1, .block_size = block_bytes, .filters = filters, .check = check
		};

		made = lzma_stream_encoder_mt(&z, &mt);
	}
	if (made != LZMA_OK)
		abort();
	return lzma_run_all(&z, in);
}

static inline struct blob lzma_of(const struct blob *in)
{
	lzma_stream z = LZMA_STREAM_INIT;
	lzma_options_lzma o;

	lzma_lzma_preset(&o, 1);
	if (lzma_alone_encoder(&z, &o) != LZMA_OK)
		abort();
	return lzma_run_all(&z, in);
}

/* lz4's legacy format with blocks of literals only. */
static inline struct blob lz4_of(const struct blob *in, size_t block_bytes)
{
	struct blob b = { 0 };

	blob_add(&b, "\x02\x21\x4c\x18", 4);
	for (size_t at = 0; at < in->n; at += block_bytes) {
		size_t n = in->n - at < block_bytes ? in->n - at : block_bytes;
		size_t head = b.n, more;

		blob_zeros(&b, 4);
		blob_add(&b, "\xf0", 1);
		for (more = n - 15; more >= 255; more -= 255)
			blob_add(&b, "\xff", 1);
		blob_add(&b, &(uint8_t){ (uint8_t)more }, 1);
		blob_add(&b, in->bytes + at, n);
		for (int i = 0; i < 4; i++)
			b.bytes[head + i] = (uint8_t)((b.n - head - 4) >> 8 * i);
	}
	return b;
}

#endif
