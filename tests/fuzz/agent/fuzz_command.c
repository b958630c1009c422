/* SPDX-License-Identifier: BSD-2-Clause */
/* What may be typed at the agent's console, and the kernel's texts that it reads. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "guests/agent/console.h"
#include "guests/agent/sysinfo.h"
#include "numa/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct command_input in = { 0 };
	char *text = malloc(size + 1);
	uint32_t numbers[16];

	for (size_t i = 0; i < size; i++) {
		struct command c;

		if (!command_feed(&in, (char)data[i], &c))
			continue;
		CHECK(c.count <= COMMAND_WORDS);
		for (size_t w = 0; w < c.count; w++)
			CHECK(c.words[w][0] != '\0' && strlen(c.words[w]) < COMMAND_BYTES);
	}
	memcpy(text, data, size);
	text[size] = '\0';
	CHECK(sysinfo_parse_list(text, numbers, 16) <= 16);
	CHECK(sysinfo_parse_option(text, "cv.mem", 1000, 7) <= 1000);
	sysinfo_parse_meminfo(text, "MemTotal:");
	free(text);
	return 0;
}
