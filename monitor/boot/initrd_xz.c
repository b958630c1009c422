/* SPDX-License-Identifier: BSD-2-Clause */
/* The .xz format (xz-file-format.txt 1.1.0), walked without decompressing it. */
#include "monitor/boot/initrd_formats.h"

#include <lzma.h>
#include <stdlib.h>
#include <string.h>

#define WHAT "an xz archive"
/* For a first look at the contents; xz -9 needs 65 MiB, of which little is touched. */
#define BEGIN_MEMORY_MAX (96ull << 20)
#define BEGIN_BYTES 512u

/* One stream on its way. */
struct walk {
	struct cursor *c;
	lzma_stream_flags flags;
	lzma_index_hash *hash; /* what the blocks were, to compare with the index */
};

static int out_of_memory(struct cursor *c)
{
	return err_set(c->e, EXIT_FAILED, "out of memory for checking the initrd");
}

/* Decodes the begin of the stream at the cursor, which is not moved. */
static int begin_check(struct cursor *c)
{
	struct cursor ahead;
	struct content content;
	uint8_t out[BEGIN_BYTES];
	lzma_stream z = LZMA_STREAM_INIT;
	lzma_ret status = lzma_stream_decoder(&z, BEGIN_MEMORY_MAX, 0);
	int rc = 0;

	if (status != LZMA_OK)
		return out_of_memory(c);
	cursor_init(&ahead, c->s, c->off, c->e);
	content_init(&content, c, "xz");
	z.next_out = out;
	z.avail_out = sizeof(out);
	while (status == LZMA_OK && z.avail_out > 0) {
		const uint8_t *p;
		size_t bytes;

		rc = cursor_chunk(&ahead, &p, &bytes);
		if (!rc && bytes == 0)
			rc = cursor_truncated(&ahead, WHAT);
		if (rc)
			break;
		z.next_in = p;
		z.avail_in = bytes;
		status = lzma_code(&z, LZMA_RUN);
		rc = cursor_skip(&ahead, bytes - z.avail_in, WHAT);
	}
	lzma_end(&z);
	if (rc)
		return rc;
	/* A huge dictionary may be the kernel's to refuse; we don't spend so much on a look. */
	if (status == LZMA_MEMLIMIT_ERROR)
		return 0;
	if (status == LZMA_MEM_ERROR)
		return out_of_memory(c);
	if (status != LZMA_OK && status != LZMA_STREAM_END)
		return cursor_damaged(&ahead, WHAT, "bad data");
	return content_feed(&content, c, out, sizeof(out) - z.avail_out);
}

/*
 * Goes over the LZMA2 chunks of a block, counting its bytes. A filter before
 * LZMA2 (x86) doesn't change the chunks.
 */
static int chunks_walk(struct cursor *c, uint64_t *compressed, uint64_t *uncompressed)
{
	*compressed = *uncompressed = 0;
	for (;;) {
		const uint8_t *p;
		uint32_t bytes, header;
		int rc = cursor_peek(c, 1, WHAT, &p);

		if (rc)
			return rc;
		if (*p == 0)
			break;
		if (*p > 2 && *p < 0x80)
			return cursor_damaged(c, WHAT, "an LZMA2 chunk that can't be");
		header = *p <= 2 ? 3 : *p < 0xc0 ? 5 : 6;
		rc = cursor_peek(c, header, WHAT, &p);
		if (rc)
			return rc;
		bytes = ((uint32_t)p[1] << 8 | p[2]) + 1;
		if (*p > 2) {
			*uncompressed += ((uint64_t)(*p & 0x1f) << 16) + bytes;
			bytes = ((uint32_t)p[3] << 8 | p[4]) + 1;
		} else {
			*uncompressed += bytes;
		}
		*compressed += header + bytes;
		rc = cursor_skip(c, header + bytes, WHAT);
		if (rc)
			return rc;
	}
	(*compressed)++;
	return cursor_skip(c, 1, WHAT);
}

/* Reads a block's header into *b; its filters are judged and let go. */
static int block_header(struct walk *w, lzma_block *b)
{
	lzma_filter filters[LZMA_FILTERS_MAX + 1];
	const uint8_t *p;
	lzma_vli last = LZMA_VLI_UNKNOWN;
	lzma_ret status;
	int rc = cursor_peek(w->c, 1, WHAT, &p);

	if (rc)
		return rc;
	*b = (lzma_block){ .version = 1,
		.header_size = lzma_block_header_size_decode(*p),
		.check = w->flags.check };
	rc = cursor_peek(w->c, b->header_size, WHAT, &p);
	if (rc)
		return rc;
	b->filters = filters;
	status = lzma_block_header_decode(b, NULL, p);
	b->filters = NULL;
	if (status == LZMA_MEM_ERROR)
		return out_of_memory(w->c);
	if (status != LZMA_OK)
		return cursor_damaged(
			w->c, WHAT, "a block's header does not match its CRC or is not known");
	for (size_t i = 0; filters[i].id != LZMA_VLI_UNKNOWN; i++) {
		last = filters[i].id;
		free(filters[i].options);
	}
	if (last != LZMA_FILTER_LZMA2)
		return cursor_damaged(w->c, WHAT, "a block is not compressed with LZMA2");
	return cursor_skip(w->c, b->header_size, WHAT);
}

static int block_walk(struct walk *w)
{
	uint64_t compressed, uncompressed;
	uint32_t check_bytes = lzma_check_size(w->flags.check);
	lzma_block b;
	int rc = block_header(w, &b);

	if (!rc)
		rc = chunks_walk(w->c, &compressed, &uncompressed);
	if (rc)
		return rc;
	if ((b.compressed_size != LZMA_VLI_UNKNOWN && b.compressed_size != compressed) ||
		(b.uncompressed_size != LZMA_VLI_UNKNOWN && b.uncompressed_size != uncompressed))
		return cursor_damaged(
			w->c, WHAT, "a block has another length than its header says");
	if (lzma_index_hash_append(
		    w->hash, b.header_size + compressed + check_bytes, uncompressed) != LZMA_OK)
		return cursor_damaged(w->c, WHAT, "a block too many or too long");
	return cursor_skip(w->c, (4 - compressed % 4) % 4 + check_bytes, WHAT);
}

static int index_check(struct walk *w)
{
	lzma_ret status = LZMA_OK;

	while (status == LZMA_OK) {
		const uint8_t *p;
		size_t bytes, used = 0;
		int rc = cursor_chunk(w->c, &p, &bytes);

		if (!rc && bytes == 0)
			rc = cursor_truncated(w->c, WHAT);
		if (rc)
			return rc;
		status = lzma_index_hash_decode(w->hash, p, &used, bytes);
		if (status != LZMA_OK && status != LZMA_STREAM_END)
			return cursor_damaged(
				w->c, WHAT, "its index does not agree with its blocks");
		rc = cursor_skip(w->c, used, WHAT);
		if (rc)
			return rc;
	}
	return 0;
}

static int footer_check(struct walk *w)
{
	lzma_stream_flags footer;
	const uint8_t *p;
	int rc = cursor_peek(w->c, LZMA_STREAM_HEADER_SIZE, WHAT, &p);

	if (rc)
		return rc;
	if (lzma_stream_footer_decode(&footer, p) != LZMA_OK ||
		lzma_stream_flags_compare(&w->flags, &footer) != LZMA_OK ||
		footer.backward_size != lzma_index_hash_size(w->hash))
		return cursor_damaged(w->c, WHAT, "its end does not agree with its begin");
	return cursor_skip(w->c, LZMA_STREAM_HEADER_SIZE, WHAT);
}

static int stream_walk(struct walk *w)
{
	const uint8_t *p;
	int rc;

	for (;;) {
		rc = cursor_peek(w->c, 1, WHAT, &p);
		if (rc)
			return rc;
		if (*p == 0)
			break;
		rc = block_walk(w);
		if (rc)
			return rc;
	}
	rc = index_check(w);
	return rc ? rc : footer_check(w);
}

int initrd_xz(struct cursor *c)
{
	struct walk w = { .c = c };
	const uint8_t *p;
	int rc = begin_check(c);

	if (!rc)
		rc = cursor_peek(c, LZMA_STREAM_HEADER_SIZE, WHAT, &p);
	if (rc)
		return rc;
	if (lzma_stream_header_decode(&w.flags, p) != LZMA_OK)
		return cursor_damaged(c, WHAT, "its header does not match its CRC or is not known");
	rc = cursor_skip(c, LZMA_STREAM_HEADER_SIZE, WHAT);
	if (rc)
		return rc;
	w.hash = lzma_index_hash_init(NULL, NULL);
	if (!w.hash)
		return out_of_memory(c);
	rc = stream_walk(&w);
	lzma_index_hash_end(w.hash, NULL);
	return rc;
}
