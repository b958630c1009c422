/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/boot/cpio.h"

#include "numa/check.h"

#include <string.h>

#define MAGIC_BYTES 6u
#define FIELD_BYTES 8u
/* Fields of eight hexadecimal digits behind the magic, by number. */
#define FIELD_COUNT 13u
#define FIELD_FILE_BYTES 6u
#define FIELD_NAME_BYTES 11u
#define NAME_MAX_BYTES 4096u /* PATH_MAX: the kernel drops entries with longer names */
#define ALIGN4(x) (((x) + 3) & ~3ull)

_Static_assert(MAGIC_BYTES + FIELD_COUNT * FIELD_BYTES == CPIO_HEADER_BYTES, "header of newc");

void cpio_init(struct cpio *c, uint64_t off)
{
	*c = (struct cpio){ .state = CPIO_BETWEEN, .off = off };
}

bool cpio_complete(const struct cpio *c)
{
	return c->state == CPIO_BETWEEN;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Reads all fields of the header in c->buf; false if one is no number. */
static bool fields_read(const struct cpio *c, uint32_t fields[FIELD_COUNT])
{
	const char *p = c->buf + MAGIC_BYTES;

	for (uint32_t i = 0; i < FIELD_COUNT; i++) {
		fields[i] = 0;
		for (uint32_t n = 0; n < FIELD_BYTES; n++) {
			int digit = hex_digit(*p++);

			if (digit < 0)
				return false;
			fields[i] = fields[i] << 4 | (uint32_t)digit;
		}
	}
	return true;
}

/* The entry is bad: say where it began. */
static enum cpio_outcome bad(struct cpio *c, const char *why)
{
	c->off -= c->have;
	c->why = why;
	return CPIO_BAD;
}

static enum cpio_outcome header_judge(struct cpio *c)
{
	uint32_t fields[FIELD_COUNT];
	uint64_t name;

	if (memcmp(c->buf, "070707", MAGIC_BYTES) == 0)
		return bad(c, "a cpio archive in the old format; the newc format is needed (cpio "
			      "-H newc)");
	if (memcmp(c->buf, "070701", MAGIC_BYTES) != 0 &&
		memcmp(c->buf, "070702", MAGIC_BYTES) != 0)
		return bad(c, "no cpio entry of the newc format begins there");
	if (!fields_read(c, fields))
		return bad(c, "a cpio entry whose header is not hexadecimal");
	name = fields[FIELD_NAME_BYTES];
	if (name == 0 || name > NAME_MAX_BYTES)
		return bad(c, "a cpio entry whose name has no length, or one above 4096");
	c->name_want = name < CPIO_TRAILER_BYTES ? (uint32_t)name : CPIO_TRAILER_BYTES;
	/* The header's 110 bytes count for the padding of the name. */
	c->after = ALIGN4(CPIO_HEADER_BYTES + name) - CPIO_HEADER_BYTES - c->name_want +
		   ALIGN4((uint64_t)fields[FIELD_FILE_BYTES]);
	c->state = CPIO_NAME;
	c->have = 0;
	return CPIO_ALL;
}

static void name_judge(struct cpio *c)
{
	if (c->name_want == CPIO_TRAILER_BYTES &&
		memcmp(c->buf, "TRAILER!!!", CPIO_TRAILER_BYTES) == 0) {
		/* Its padding is zeros, as may follow an archive anyway. */
		c->archives++;
		c->state = CPIO_BETWEEN;
		c->have = 0;
		return;
	}
	c->have = 0;
	c->skip = c->after;
	c->state = CPIO_SKIP;
}

/* Collects bytes up to `want` in c->buf; returns how many it took. */
static size_t collect(struct cpio *c, const uint8_t *data, size_t bytes, uint32_t want)
{
	size_t n = want - c->have;

	if (n > bytes)
		n = bytes;
	memcpy(c->buf + c->have, data, n);
	c->have += (uint32_t)n;
	c->off += n;
	return n;
}

void cpio_skip(struct cpio *c, uint64_t bytes)
{
	CHECK(c->state == CPIO_SKIP && bytes <= c->skip);
	c->skip -= bytes;
	c->off += bytes;
	if (c->skip == 0)
		c->state = CPIO_HEADER;
}

static enum cpio_outcome between(struct cpio *c, uint8_t next)
{
	if (next == 0) {
		c->off++;
		return CPIO_ALL;
	}
	if (next != '0')
		return CPIO_OTHER;
	if (c->off % 4 != 0)
		return bad(c, "a cpio archive that is not aligned to 4 bytes");
	c->state = CPIO_HEADER;
	c->have = 0;
	return CPIO_ALL;
}

enum cpio_outcome cpio_feed(struct cpio *c, const uint8_t *data, size_t bytes, size_t *taken)
{
	enum cpio_outcome outcome = CPIO_ALL;
	size_t i = 0;

	while (i < bytes && outcome == CPIO_ALL) {
		switch (c->state) {
		case CPIO_BETWEEN:
			outcome = between(c, data[i]);
			if (outcome == CPIO_ALL && c->state == CPIO_BETWEEN)
				i++;
			break;
		case CPIO_HEADER:
			i += collect(c, data + i, bytes - i, CPIO_HEADER_BYTES);
			if (c->have == CPIO_HEADER_BYTES)
				outcome = header_judge(c);
			break;
		case CPIO_NAME:
			i += collect(c, data + i, bytes - i, c->name_want);
			if (c->have == c->name_want)
				name_judge(c);
			break;
		case CPIO_SKIP: {
			uint64_t n = c->skip < bytes - i ? c->skip : bytes - i;

			cpio_skip(c, n);
			i += (size_t)n;
			break;
		}
		}
	}
	*taken = i;
	return outcome;
}
