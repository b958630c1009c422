/* SPDX-License-Identifier: BSD-2-Clause */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "numa/check.h"
#include "sim/box/run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size + 1);
	struct box_spec s;

	memcpy(copy, data, size);
	if (box_spec_parse(copy, size, &s) == 0) {
		CHECK(s.folder[0] != '\0' && s.argv[0][0] != '\0');
		for (char **word = s.argv; *word; word++)
			CHECK(*word + strlen(*word) < copy + size);
		for (char **word = s.env; *word; word++)
			CHECK(**word != '\0' && *word > s.folder && *word < s.argv[0]);
		box_spec_fini(&s);
	}
	free(copy);
	return 0;
}
