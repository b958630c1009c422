/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/boot/cursor.h"

#include "numa/check.h"

#include <inttypes.h>
#include <string.h>

/* After a jump little is needed: the next header. */
#define READ_MIN_BYTES 4096u

void cursor_init(struct cursor *c, const struct initrd_source *s, uint64_t off, struct err *e)
{
	c->s = s;
	c->e = e;
	c->off = off;
	c->pos = c->have = 0;
}

uint64_t cursor_left(const struct cursor *c)
{
	return c->s->bytes - c->off;
}

/* Makes at least `least` bytes, at most `most`, available from buffer[pos] on. */
static int buffer_fill(struct cursor *c, size_t least, size_t most)
{
	size_t old = c->have - c->pos, more = most - old;
	int rc;

	if (old >= least)
		return 0;
	if (more > cursor_left(c) - old)
		more = (size_t)(cursor_left(c) - old);
	memmove(c->buffer, c->buffer + c->pos, old);
	c->pos = 0;
	c->have = old;
	rc = c->s->read(c->s->ctx, c->off + old, c->buffer + old, more);
	if (rc) {
		if (c->e->code == EXIT_OK)
			(void)err_set(c->e, EXIT_INVALID,
				"initrd %s: reading at offset %" PRIu64 " failed", c->s->name,
				c->off + old);
		return rc;
	}
	c->have += more;
	return 0;
}

int cursor_peek(struct cursor *c, size_t bytes, const char *what, const uint8_t **p)
{
	int rc;

	CHECK(bytes <= CURSOR_PEEK_MAX);
	if (bytes > cursor_left(c))
		return cursor_truncated(c, what);
	rc = buffer_fill(c, bytes, READ_MIN_BYTES);
	*p = c->buffer + c->pos;
	return rc;
}

int cursor_chunk(struct cursor *c, const uint8_t **p, size_t *bytes)
{
	int rc = 0;

	if (cursor_left(c) > 0)
		rc = buffer_fill(c, 1, CURSOR_BUFFER_BYTES);
	*p = c->buffer + c->pos;
	*bytes = c->have - c->pos;
	return rc;
}

int cursor_skip(struct cursor *c, uint64_t bytes, const char *what)
{
	if (bytes > cursor_left(c))
		return cursor_truncated(c, what);
	c->off += bytes;
	if (bytes < c->have - c->pos)
		c->pos += (size_t)bytes;
	else
		c->pos = c->have = 0;
	return 0;
}

int cursor_truncated(struct cursor *c, const char *what)
{
	return err_set(c->e, EXIT_INVALID,
		"initrd %s is truncated: it ends at offset %" PRIu64 " within %s", c->s->name,
		c->s->bytes, what);
}

int cursor_damaged(struct cursor *c, const char *what, const char *why)
{
	return err_set(c->e, EXIT_INVALID, "initrd %s is damaged at offset %" PRIu64 ", in %s: %s",
		c->s->name, c->off, what, why);
}
