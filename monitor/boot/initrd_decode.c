/* SPDX-License-Identifier: BSD-2-Clause */
/* Formats that have to be decompressed to know that they are complete. */
#include "monitor/boot/initrd_formats.h"

#include <errno.h>
#include <inttypes.h>
#include <lzma.h>
#include <zlib.h>

#define OUT_BYTES 65536u
#define GZIP_WINDOW (15 + 16)	      /* the largest, with gzip's header and trailer */
#define LZMA_MEMORY_MAX (96ull << 20) /* xz -9 needs 65 MiB */

void content_init(struct content *k, const struct cursor *c, const char *format)
{
	cpio_init(&k->cpio, 0);
	k->format = format;
	k->at = c->off;
}

int content_feed(struct content *k, struct cursor *c, const uint8_t *data, size_t bytes)
{
	size_t taken;
	enum cpio_outcome outcome = cpio_feed(&k->cpio, data, bytes, &taken);

	if (outcome == CPIO_ALL)
		return 0;
	return err_set(c->e, EXIT_INVALID,
		"initrd %s: what the %s archive at offset %" PRIu64
		" holds is not a cpio archive: %s, "
		"at %" PRIu64 " of its contents",
		c->s->name, k->format, k->at,
		outcome == CPIO_BAD ? k->cpio.why : "neither zeros nor a cpio entry", k->cpio.off);
}

int content_end(const struct content *k, struct cursor *c)
{
	if (cpio_complete(&k->cpio))
		return 0;
	return err_set(c->e, EXIT_INVALID,
		"initrd %s: the cpio archive in the %s archive at offset %" PRIu64
		" is truncated after %" PRIu64 " bytes",
		c->s->name, k->format, k->at, k->cpio.off);
}

/* Takes input until the stream ends. Everything in *z is the caller's. */
static int gzip_run(struct cursor *c, z_stream *z, struct content *content)
{
	uint8_t out[OUT_BYTES];
	int status = Z_OK;

	while (status != Z_STREAM_END) {
		const uint8_t *p;
		size_t bytes;
		int rc = cursor_chunk(c, &p, &bytes);

		if (!rc && bytes == 0)
			rc = cursor_truncated(c, "a gzip archive");
		if (rc)
			return rc;
		z->next_in = (z_const Bytef *)p;
		z->avail_in = (uInt)bytes;
		z->next_out = out;
		z->avail_out = sizeof(out);
		/* The trailer is taken when all is out: no output is pending when the input ends.
		 */
		status = inflate(z, Z_NO_FLUSH);
		if (status == Z_MEM_ERROR)
			return err_set(c->e, EXIT_FAILED, "out of memory for checking the initrd");
		if (status != Z_OK && status != Z_STREAM_END)
			return cursor_damaged(c, "a gzip archive", z->msg ? z->msg : "bad data");
		rc = content_feed(content, c, out, sizeof(out) - z->avail_out);
		if (rc)
			return rc;
		rc = cursor_skip(c, bytes - z->avail_in, "a gzip archive");
		if (rc)
			return rc;
	}
	return content_end(content, c);
}

int initrd_gzip(struct cursor *c)
{
	struct content content;
	z_stream z = { 0 };
	int rc;

	if (inflateInit2(&z, GZIP_WINDOW) != Z_OK)
		return err_set(c->e, EXIT_FAILED, "out of memory for checking the initrd");
	content_init(&content, c, "gzip");
	rc = gzip_run(c, &z, &content);
	(void)inflateEnd(&z);
	return rc;
}

static int lzma_run(struct cursor *c, lzma_stream *z, struct content *content)
{
	uint8_t out[OUT_BYTES];
	lzma_ret status = LZMA_OK;

	while (status != LZMA_STREAM_END) {
		const uint8_t *p;
		size_t bytes;
		int rc = cursor_chunk(c, &p, &bytes);

		if (!rc && bytes == 0)
			rc = cursor_truncated(c, "an lzma archive");
		if (rc)
			return rc;
		z->next_in = p;
		z->avail_in = bytes;
		do {
			z->next_out = out;
			z->avail_out = sizeof(out);
			status = lzma_code(z, LZMA_RUN);
			if (status == LZMA_MEM_ERROR)
				return err_set(
					c->e, EXIT_FAILED, "out of memory for checking the initrd");
			if (status == LZMA_MEMLIMIT_ERROR)
				return cursor_damaged(
					c, "an lzma archive", "its dictionary is above 64 MiB");
			if (status != LZMA_OK && status != LZMA_STREAM_END &&
				status != LZMA_BUF_ERROR)
				return cursor_damaged(c, "an lzma archive", "bad data");
			rc = content_feed(content, c, out, sizeof(out) - z->avail_out);
			if (rc)
				return rc;
		} while (status == LZMA_OK && z->avail_out == 0);
		rc = cursor_skip(c, bytes - z->avail_in, "an lzma archive");
		if (rc)
			return rc;
	}
	return content_end(content, c);
}

int initrd_lzma(struct cursor *c)
{
	struct content content;
	lzma_stream z = LZMA_STREAM_INIT;
	int rc;

	if (lzma_alone_decoder(&z, LZMA_MEMORY_MAX) != LZMA_OK)
		return err_set(c->e, EXIT_FAILED, "out of memory for checking the initrd");
	content_init(&content, c, "lzma");
	rc = lzma_run(c, &z, &content);
	lzma_end(&z);
	return rc;
}
