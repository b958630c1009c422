/* SPDX-License-Identifier: BSD-2-Clause */
/* What the outside may send to a client: bytes in two pieces, lines, replies. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "numa/check.h"
#include "sim/box/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void feed(struct box_lines *l, const char *data, size_t bytes)
{
	while (box_lines_feed(l, &data, &bytes)) {
		const char *text = NULL;
		enum box_reply_kind kind = box_reply_parse(l->buf, 0x0123456789abcdefull, &text);

		CHECK(strlen(l->buf) < BOX_LINE_BYTES);
		if (kind == BOX_REPLY_OK || kind == BOX_REPLY_ERROR)
			CHECK(text > l->buf && text <= l->buf + strlen(l->buf));
		else
			CHECK(text == NULL);
	}
	CHECK(bytes == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct box_lines l = { 0 };
	size_t first = size ? data[0] % size : 0;

	feed(&l, (const char *)data, first);
	feed(&l, (const char *)data + first, size - first);
	return 0;
}
