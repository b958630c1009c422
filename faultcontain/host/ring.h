/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_HOST_RING_H
#define CELLVISOR_FAULTCONTAIN_HOST_RING_H

/*
 * A ring for one writer and one reader, in memory of the reader. Fixed layout,
 * no pointers: the two ends map it at different addresses, or in different
 * kernels. Each end keeps its own position privately and only publishes it; what
 * it reads of the other's is bounded, copied once, and judged. All access is
 * careful (careful.h). So the other end, whatever it writes, costs its own link
 * and nothing else.
 *
 * A record is {u32 bytes, u32 check}, the payload, and padding to 8 bytes;
 * records wrap around the end of the data area byte by byte.
 */

#include <stddef.h>
#include <stdint.h>

#define RING_MAGIC 0x474e4952u /* "RING" */
#define RING_REV 1u
#define RING_HEAD_BYTES 4096u
#define RING_HEADROOM 256u
#define RING_DATA_MIN 65536u
#define RING_DATA_MAX 16777216u

/* The first page; the data area follows. One cache line per writer of fields. */
struct ring_layout {
	uint32_t magic, rev; /* written once by the reader */
	uint64_t data_bytes; /* power of two */
	uint8_t pad0[48];
	uint64_t head; /* writer: bytes ever written */
	uint8_t pad1[56];
	uint64_t tail;	      /* reader: bytes ever read */
	uint64_t bell_wanted; /* reader: non-zero when it is about to sleep */
	uint8_t pad2[48];
};
_Static_assert(sizeof(struct ring_layout) == 192, "ring_layout has padding");

enum ring_outcome {
	RING_OK = 0,
	RING_EMPTY,   /* reader: nothing there */
	RING_FULL,    /* writer: no room now; try again after the reader went on */
	RING_TOO_BIG, /* writer: larger than this ring ever takes */
	RING_LIE,     /* the other end's position or length can't be true */
	RING_LOST,    /* the memory failed under the access */
};

struct ring_writer {
	struct ring_layout *layout; /* borrowed mapping */
	uint8_t *data;
	uint64_t data_bytes, head, tail_seen;
};

struct ring_reader {
	struct ring_layout *layout; /* borrowed mapping */
	const uint8_t *data;
	uint64_t data_bytes, tail;
};

/* Size of a mapping with `data_bytes` of data (a power of two within RING_DATA_*). */
size_t ring_map_bytes(uint64_t data_bytes);

/* Largest record of such a ring: a quarter of it, and RING_HEADROOM for headers on top. */
size_t ring_record_max(uint64_t data_bytes);

/* The reader lays out its zero-filled memory. RING_LOST if it fails. */
enum ring_outcome ring_create(struct ring_reader *r, void *map, uint64_t data_bytes);

/* The writer takes up a ring that it was given. RING_LIE if it isn't one of `map_bytes`. */
enum ring_outcome ring_attach(struct ring_writer *w, void *map, size_t map_bytes);

/*
 * Appends one record made of two parts (the second may be NULL, 0). *bell says
 * whether the reader asked to be woken. Nothing is changed unless RING_OK.
 */
enum ring_outcome ring_write(struct ring_writer *w, const void *part0, size_t bytes0,
	const void *part1, size_t bytes1, int *bell);

/*
 * Copies the next record to `to` (`room` bytes, at least ring_record_max()) and
 * frees its place. *bytes is its length.
 */
enum ring_outcome ring_read(struct ring_reader *r, void *to, size_t room, size_t *bytes);

/*
 * The reader's last step before it sleeps: asks for a bell. RING_OK: a record
 * came meanwhile, read on; RING_EMPTY: sleep. ring_awake() takes it back.
 */
enum ring_outcome ring_sleep(struct ring_reader *r);
enum ring_outcome ring_awake(struct ring_reader *r);

#endif
