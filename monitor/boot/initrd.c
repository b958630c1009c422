/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/boot/initrd.h"

#include "monitor/boot/initrd_formats.h"

#include <inttypes.h>
#include <string.h>

#define MAGIC_MAX 6u

struct format {
	uint8_t magic[MAGIC_MAX];
	uint8_t magic_bytes;
	int (*check)(struct cursor *c); /* NULL: no kernel reads it */
	const char *instead;		/* what would be right then */
};

/* Those of the kernel's lib/decompress.c, and what is taken for one of them. */
static const struct format formats[] = {
	{ { 0x1f, 0x8b }, 2, initrd_gzip, NULL },
	{ { 0x28, 0xb5, 0x2f, 0xfd }, 4, initrd_zstd, NULL },
	{ { 0xfd, '7', 'z', 'X', 'Z', 0 }, 6, initrd_xz, NULL },
	{ { 0x5d, 0, 0 }, 3, initrd_lzma, NULL },
	{ { 0x02, 0x21, 0x4c, 0x18 }, 4, initrd_lz4, NULL },
	{ { 'B', 'Z', 'h' }, 3, initrd_unchecked, NULL },
	{ { 0x89, 'L', 'Z', 'O', 0, '\r' }, 6, initrd_unchecked, NULL },
	{ { 0x04, 0x22, 0x4d, 0x18 }, 4, NULL, "lz4's legacy format (lz4 -l)" },
	{ { 0x7f, 'E', 'L', 'F' }, 4, NULL, "a cpio archive, not a program" },
	{ { 'h', 's', 'q', 's' }, 4, NULL, "a cpio archive, not a squashfs image" },
};

static int not_an_archive(struct cursor *c, uint32_t head, const struct format *f)
{
	if (f)
		return err_set(c->e, EXIT_INVALID,
			"initrd %s: no kernel reads what is at offset %" PRIu64 "; it has to be %s",
			c->s->name, c->off, f->instead);
	if (c->off == 0)
		return err_set(c->e, EXIT_INVALID,
			"%s is not an initrd: it begins with 0x%08x; a cpio archive (newc) is "
			"needed, plain "
			"or compressed with gzip, zstd, xz, lzma, lz4, bzip2 or lzo",
			c->s->name, head);
	return err_set(c->e, EXIT_INVALID,
		"initrd %s is damaged: neither zeros nor an archive follow the one that ends "
		"before "
		"offset %" PRIu64,
		c->s->name, c->off);
}

/* The cursor is at neither zero nor cpio: a compressed archive, or nothing of use. */
static int compressed_check(struct cursor *c)
{
	size_t bytes = cursor_left(c) < MAGIC_MAX ? (size_t)cursor_left(c) : MAGIC_MAX;
	uint8_t head[MAGIC_MAX] = { 0 };
	const uint8_t *p;
	int rc = cursor_peek(c, bytes, "an archive", &p);

	if (rc)
		return rc;
	memcpy(head, p, bytes);
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		if (memcmp(head, formats[i].magic, formats[i].magic_bytes) != 0)
			continue;
		if (!formats[i].check)
			return not_an_archive(c, 0, &formats[i]);
		return formats[i].check(c);
	}
	return not_an_archive(c,
		(uint32_t)head[0] << 24 | (uint32_t)head[1] << 16 | (uint32_t)head[2] << 8 |
			head[3],
		NULL);
}

/*
 * Follows cpio archives until the end of the file (*end set) or something else
 * between them. Contents of files are jumped over, not read.
 */
static int cpio_check(struct cursor *c, struct cpio *cpio, bool *end)
{
	for (;;) {
		enum cpio_outcome outcome;
		const uint8_t *p;
		size_t bytes, taken;
		int rc;

		if (cpio->state == CPIO_SKIP) {
			uint64_t skip = cpio->skip;

			rc = cursor_skip(c, skip, "a file of a cpio archive");
			if (rc)
				return rc;
			cpio_skip(cpio, skip);
		}
		rc = cursor_chunk(c, &p, &bytes);
		if (rc)
			return rc;
		if (bytes == 0) {
			*end = true;
			return cpio_complete(cpio) ? 0 : cursor_truncated(c, "a cpio archive");
		}
		outcome = cpio_feed(cpio, p, bytes, &taken);
		if (outcome == CPIO_BAD) {
			if (cpio->off == 0)
				return err_set(c->e, EXIT_INVALID, "%s is not an initrd: %s",
					c->s->name, cpio->why);
			return err_set(c->e, EXIT_INVALID,
				"initrd %s is damaged at offset %" PRIu64 ": %s", c->s->name,
				cpio->off, cpio->why);
		}
		rc = cursor_skip(c, taken, "a cpio archive");
		if (rc || outcome == CPIO_OTHER)
			return rc;
	}
}

int initrd_check(const struct initrd_source *s, struct err *e)
{
	struct cursor c;
	bool end = false;
	uint64_t archives = 0;

	e->code = EXIT_OK;
	if (s->bytes == 0)
		return err_set(e, EXIT_INVALID,
			"initrd %s is empty; leave it out to boot without one", s->name);
	cursor_init(&c, s, 0, e);
	while (!end) {
		struct cpio cpio;
		int rc;

		cpio_init(&cpio, c.off);
		rc = cpio_check(&c, &cpio, &end);
		archives += cpio.archives;
		if (!rc && !end) {
			rc = compressed_check(&c);
			archives++;
		}
		if (rc)
			return rc;
	}
	if (archives == 0)
		return err_set(e, EXIT_INVALID, "%s is not an initrd: it holds nothing but zeros",
			s->name);
	return 0;
}
