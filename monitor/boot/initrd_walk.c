/* SPDX-License-Identifier: BSD-2-Clause */
/* Formats whose structure tells where they end: zstd frames, lz4's legacy format. */
#include "monitor/boot/initrd_formats.h"

#include <errno.h>
#include <string.h>
#include <zstd.h>

/* RFC 8878, 3.1.1 */
#define ZSTD_WHAT "a zstd archive"
#define FRAME_SINGLE_SEGMENT 0x20u
#define FRAME_RESERVED 0x08u
#define FRAME_CHECKSUM 0x04u
#define BLOCK_HEADER_BYTES 3u
#define BLOCK_BYTES_MAX (128u << 10)
#define CHECKSUM_BYTES 4u
/* The kernel's limit, ZSTD_WINDOWSIZE_MAX. Only what is written of it becomes memory. */
#define WINDOW_LOG_MAX 27

/* How much of the contents is decoded: enough for a first cpio header. */
#define BEGIN_BYTES 512u

enum { BLOCK_RAW, BLOCK_RLE, BLOCK_COMPRESSED, BLOCK_RESERVED };

static uint32_t le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Decodes the begin of the frame at the cursor, which is not moved. */
static int zstd_begin(struct cursor *c)
{
	struct cursor ahead;
	struct content content;
	uint8_t out[BEGIN_BYTES];
	ZSTD_outBuffer to = { .dst = out, .size = sizeof(out) };
	ZSTD_DCtx *z = ZSTD_createDCtx();
	size_t status = 1;
	int rc = 0;

	if (!z || ZSTD_isError(ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, WINDOW_LOG_MAX))) {
		(void)ZSTD_freeDCtx(z);
		return err_set(c->e, EXIT_FAILED, "out of memory for checking the initrd");
	}
	cursor_init(&ahead, c->s, c->off, c->e);
	content_init(&content, c, "zstd");
	/* Ends: each round takes input, and a frame has an end. */
	while (!rc && status != 0 && to.pos < to.size) {
		ZSTD_inBuffer from = { 0 };
		const uint8_t *p;

		rc = cursor_chunk(&ahead, &p, &from.size);
		if (!rc && from.size == 0)
			rc = cursor_truncated(&ahead, ZSTD_WHAT);
		if (rc)
			break;
		from.src = p;
		status = ZSTD_decompressStream(z, &to, &from);
		if (ZSTD_isError(status))
			rc = cursor_damaged(&ahead, ZSTD_WHAT, ZSTD_getErrorName(status));
		else
			rc = cursor_skip(&ahead, from.pos, ZSTD_WHAT);
	}
	(void)ZSTD_freeDCtx(z);
	return rc ? rc : content_feed(&content, c, out, to.pos);
}

/* Goes over the frame's header; *descriptor tells what may follow. */
static int zstd_header(struct cursor *c, uint8_t *descriptor)
{
	static const uint8_t dictionary_bytes[] = { 0, 1, 2, 4 };
	static const uint8_t size_bytes[] = { 0, 2, 4, 8 };
	const uint8_t *p;
	uint64_t bytes;
	int rc = cursor_peek(c, 5, ZSTD_WHAT, &p);

	if (rc)
		return rc;
	*descriptor = p[4];
	if (*descriptor & FRAME_RESERVED)
		return cursor_damaged(c, ZSTD_WHAT, "a reserved bit of the frame's header is set");
	bytes = 5u + dictionary_bytes[*descriptor & 3] + size_bytes[*descriptor >> 6];
	if (!(*descriptor & FRAME_SINGLE_SEGMENT))
		bytes++; /* window descriptor */
	else if (*descriptor >> 6 == 0)
		bytes++; /* content size of one byte */
	return cursor_skip(c, bytes, ZSTD_WHAT);
}

int initrd_zstd(struct cursor *c)
{
	uint8_t descriptor = 0;
	bool last = false;
	int rc = zstd_begin(c);

	if (!rc)
		rc = zstd_header(c, &descriptor);
	while (!rc && !last) {
		uint32_t header, type, bytes;
		const uint8_t *p;

		rc = cursor_peek(c, BLOCK_HEADER_BYTES, ZSTD_WHAT, &p);
		if (rc)
			return rc;
		header = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;
		last = header & 1;
		type = header >> 1 & 3;
		bytes = header >> 3;
		if (type == BLOCK_RESERVED || bytes > BLOCK_BYTES_MAX)
			return cursor_damaged(c, ZSTD_WHAT, "a block that can't be");
		rc = cursor_skip(
			c, BLOCK_HEADER_BYTES + (type == BLOCK_RLE ? 1 : bytes), ZSTD_WHAT);
	}
	if (!rc && descriptor & FRAME_CHECKSUM)
		rc = cursor_skip(c, CHECKSUM_BYTES, ZSTD_WHAT);
	return rc;
}

/* Are all the (at most three) bytes that are left zeros? */
static bool only_zeros_left(struct cursor *c)
{
	size_t left = (size_t)cursor_left(c);
	const uint8_t *p;

	if (cursor_peek(c, left, "an archive", &p))
		return false;
	while (left > 0 && p[left - 1] == 0)
		left--;
	return left == 0;
}

/* lz4's legacy format: a magic, then blocks of 8 MiB, each with its compressed length. */
#define LZ4_WHAT "an lz4 archive"
#define LZ4_MAGIC 0x184c2102u
#define LZ4_BLOCK_BYTES (8u << 20)
#define LZ4_BLOCK_MAX (LZ4_BLOCK_BYTES + LZ4_BLOCK_BYTES / 255 + 16)

int initrd_lz4(struct cursor *c)
{
	int rc = cursor_skip(c, 4, LZ4_WHAT);

	/* At least one block follows the magic. */
	while (!rc) {
		const uint8_t *p;
		uint32_t bytes;

		rc = cursor_peek(c, 4, LZ4_WHAT, &p);
		if (rc)
			break;
		bytes = le32(p);
		if (bytes == 0)
			break; /* padding: the kernel stops here as well */
		if (bytes == LZ4_MAGIC)
			bytes = 0;
		if (bytes > LZ4_BLOCK_MAX)
			return cursor_damaged(c, LZ4_WHAT, "a block longer than there are");
		rc = cursor_skip(c, 4ull + bytes, LZ4_WHAT);
		if (!rc && cursor_left(c) < 4 && only_zeros_left(c))
			break;
	}
	return rc;
}

int initrd_unchecked(struct cursor *c)
{
	return cursor_skip(c, cursor_left(c), "an archive");
}
