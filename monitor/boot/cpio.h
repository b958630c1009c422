/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_BOOT_CPIO_H
#define CELLVISOR_MONITOR_BOOT_CPIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Follows a stream of cpio archives in the newc format, as the kernel's
 * init/initramfs.c reads it: archives end with an entry TRAILER!!! and may have
 * zeros before, between and after them. Pure; a value.
 */

#define CPIO_HEADER_BYTES 110u
#define CPIO_TRAILER_BYTES 11u /* "TRAILER!!!" with its 0 */

enum cpio_state {
	CPIO_BETWEEN, /* archives: zeros, or the next one */
	CPIO_HEADER,
	CPIO_NAME,
	CPIO_SKIP, /* what is left of a name, contents, padding; maybe nothing */
};

enum cpio_outcome {
	CPIO_ALL,   /* all bytes fed were taken */
	CPIO_OTHER, /* between archives: the next byte is neither 0 nor a cpio archive's '0' */
	CPIO_BAD,   /* not a cpio archive: `why` says what, `off` is where that entry begins */
};

struct cpio {
	enum cpio_state state;
	uint64_t off;	    /* of the next byte in the stream */
	uint64_t skip;	    /* CPIO_SKIP: bytes that don't matter */
	uint64_t archives;  /* that are complete */
	uint32_t have;	    /* bytes in buf */
	uint32_t name_want; /* CPIO_NAME: how many to collect */
	uint64_t after;	    /* bytes of this entry behind those collected */
	const char *why;    /* CPIO_BAD: constant text */
	char buf[CPIO_HEADER_BYTES];
};

/* `off` is where in the stream the first byte lies: archives must be 4-aligned in it. */
void cpio_init(struct cpio *c, uint64_t off);

/* Takes bytes; *taken says how many before the outcome stopped it. */
enum cpio_outcome cpio_feed(struct cpio *c, const uint8_t *data, size_t bytes, size_t *taken);

/* Goes on by at most c->skip bytes that the caller did not look at. */
void cpio_skip(struct cpio *c, uint64_t bytes);

/* Between archives: nothing is missing if the stream ends here. */
bool cpio_complete(const struct cpio *c);

#endif
