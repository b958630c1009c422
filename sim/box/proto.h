/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_SIM_BOX_PROTO_H
#define CELLVISOR_SIM_BOX_PROTO_H

/*
 * What the inside of a box and `sim/box/box` outside say to each other, over
 * two virtio-serial ports. docs/box.md has the whole protocol in words.
 *
 * Control port, in lines of text of at most BOX_LINE_BYTES with the newline:
 *
 *	request   box1 ID VERB [WORD...]
 *	reply     box1 ID ok [TEXT]
 *	          box1 ID error TEXT
 *
 * ID is 16 hexadecimal digits drawn by the caller. The kernel lets one process
 * at a time open the port; a caller that died can leave half a line or an
 * unread reply behind. So a request starts with a newline (empty lines are
 * ignored), and a reply with another ID is skipped.
 *
 * The prefix "box1 ID " is the same in every version: a version that is not
 * understood is refused with an `error` reply.
 *
 * Run port, inside to outside only: frames of a struct box_frame and its bytes.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BOX_VERSION "box1"
#define BOX_PORT_CONTROL "org.cellvisor.box.control"
#define BOX_PORT_RUN "org.cellvisor.box.run"
#define BOX_LINE_BYTES 1024u
#define BOX_REQUEST_WORDS 16u
#define BOX_FRAME_BYTES_MAX 65536u

enum box_frame_kind {
	BOX_FRAME_ALIVE = 'a',	/* no bytes: user space is up, the command starts */
	BOX_FRAME_STDOUT = 'o', /* bytes the command wrote */
	BOX_FRAME_STDERR = 'e',
	BOX_FRAME_EXIT = 'x', /* the exit status in decimal; the last frame */
	BOX_FRAME_FAIL = 'f', /* a text: the command could not be run; the last frame */
};

struct box_frame {
	uint8_t kind;
	uint8_t zero[3];
	uint32_t bytes; /* little-endian, at most BOX_FRAME_BYTES_MAX */
};
_Static_assert(sizeof(struct box_frame) == 8, "box_frame has padding");

/*
 * Cuts a stream of bytes into lines. A line longer than BOX_LINE_BYTES is
 * dropped up to its newline. All zero is the initial state.
 */
struct box_lines {
	char buf[BOX_LINE_BYTES];
	size_t used;
	bool dropping;
};

/*
 * Takes bytes from *data up to and with the first newline, and advances *data
 * and *bytes past what it took. True when a line is complete: it is then in
 * l->buf, NUL-terminated, without its newline, until the next call.
 */
bool box_lines_feed(struct box_lines *l, const char **data, size_t *bytes);

/*
 * Writes a request with its newlines into out. The length, or -EINVAL for a
 * verb or word that is empty or has other than printable non-blank characters,
 * or for more than BOX_REQUEST_WORDS words; -E2BIG if it does not fit into a
 * line or into out.
 */
long box_request_format(char *out, size_t out_bytes, uint64_t id, const char *verb,
	const char *const *words, size_t word_count);

enum box_reply_kind {
	BOX_REPLY_OK,
	BOX_REPLY_ERROR,
	BOX_REPLY_OTHER, /* a well-formed reply to somebody else */
	BOX_REPLY_BAD,	 /* not a reply at all: to be skipped */
};

/*
 * Judges one line (NUL-terminated, no newline). For OK and ERROR *text points
 * to the reply's text within the line (possibly empty).
 */
enum box_reply_kind box_reply_parse(const char *line, uint64_t id, const char **text);

#endif
