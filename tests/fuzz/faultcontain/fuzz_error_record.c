/* SPDX-License-Identifier: BSD-2-Clause */
/* Lines of the kernel's trace, and what a mad peer says of errors: judged, and the books hold. */
#include <stdlib.h>
#include <string.h>

#include "faultcontain/corrected.h"
#include "faultcontain/error_record.h"
#include "numa/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(const struct corrected_error *e)
{
	CHECK(e->count >= 1 && e->count <= CORRECTED_COUNT_MAX);
	CHECK(memchr(e->dimm, '\0', sizeof(e->dimm)));
	for (const char *at = e->dimm; *at; at++)
		CHECK(*at >= ' ' && *at <= '~');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct corrected book;
	const struct corrected_cfg cfg = {
		.retire_after = 2, .drain_after = 9, .half_life_ns = CORRECTED_HALF_LIFE_MIN_NS
	};
	struct corrected_error e;
	uint64_t frame, now_ns = 0;
	uint32_t node;

	corrected_init(&book, &cfg);
	switch (error_record_read((const char *)data, size, &e)) {
	case ERROR_RECORD_CORRECTED:
		CHECK(e.frame <= CORRECTED_FRAME_MAX);
		judge(&e);
		break;
	case ERROR_RECORD_NOWHERE:
		judge(&e);
		break;
	default:
		break;
	}
	for (; size >= CORRECTED_MSG_BYTES;
		data += CORRECTED_MSG_BYTES, size -= CORRECTED_MSG_BYTES) {
		now_ns += (uint64_t)data[0] << 24;
		if (!corrected_decode(data, CORRECTED_MSG_BYTES, &e))
			continue;
		judge(&e);
		(void)corrected_take(&book, now_ns, &e);
		if (data[0] & 1 && corrected_next(&book, now_ns, &frame, &node))
			CHECK(corrected_left(&book, now_ns, frame, data[0] & 2));
	}
	CHECK(corrected_check(&book) == NULL);
	return 0;
}
