/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_BOOT_CURSOR_H
#define CELLVISOR_MONITOR_BOOT_CURSOR_H

#include "monitor/boot/initrd.h"

/*
 * Reads an initrd from front to back through one buffer, jumping over what need
 * not be read. Every function returns 0, or a negative errno with *e filled: the
 * file ends too early ("truncated"), or reading failed.
 */

#define CURSOR_BUFFER_BYTES 65536u
#define CURSOR_PEEK_MAX 4096u

struct cursor {
	const struct initrd_source *s; /* borrowed */
	struct err *e;		       /* borrowed */
	uint64_t off;		       /* of the next byte */
	size_t pos, have;	       /* buffer[pos] is that byte, if pos < have */
	uint8_t buffer[CURSOR_BUFFER_BYTES];
};

void cursor_init(struct cursor *c, const struct initrd_source *s, uint64_t off, struct err *e);

/* Bytes from here to the end of the file. */
uint64_t cursor_left(const struct cursor *c);

/*
 * Shows the next `bytes` bytes (at most CURSOR_PEEK_MAX) without going on. *p is
 * valid until the next call. `what` names the part they belong to, for the error
 * text.
 */
int cursor_peek(struct cursor *c, size_t bytes, const char *what, const uint8_t **p);

/* Shows all that is buffered, at least one byte; *bytes is 0 at the end of the file. */
int cursor_chunk(struct cursor *c, const uint8_t **p, size_t *bytes);

/* Goes on by `bytes`, read or not. */
int cursor_skip(struct cursor *c, uint64_t bytes, const char *what);

/* Fills *e: the file ends inside `what`. Returns -EINVAL. */
int cursor_truncated(struct cursor *c, const char *what);

/* Fills *e: the bytes at the cursor can't be part of `what`, because of `why`. Returns -EINVAL. */
int cursor_damaged(struct cursor *c, const char *what, const char *why);

#endif
