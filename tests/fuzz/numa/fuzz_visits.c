/* SPDX-License-Identifier: BSD-2-Clause */
/* What a mad peer says of visits and loads: judged, and the host's book stays within bounds. */
#include <stdlib.h>
#include <string.h>

#include "numa/check.h"
#include "numa/visits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take(struct visitors *v, const uint8_t *data, size_t size)
{
	static const uint32_t cpus[] = { 4, 5, 6, 7 };
	const struct visit_room room = { .ours = true, .usable = true };
	uint32_t home = data[0] % VISITS_CELLS_MAX;
	struct visit_msg m, again;
	uint8_t body[VISIT_MSG_BYTES];

	if (visit_decode(data + 1, size - 1, &m)) {
		visit_encode(&m, body);
		CHECK(visit_decode(body, sizeof(body), &again) && again.id == m.id);
		(void)visitors_take(v, home, data[0], &m, &room);
	}
	(void)visitors_announced(v, home, data[0], data + 1, size - 1, cpus, 4);
	CHECK(v->count <= VISITORS_MAX);
	for (uint32_t i = 0; i < v->count; i++)
		CHECK(memchr(v->rows[i].name, 0, VISIT_NAME_BYTES) &&
			v->rows[i].cpu < VISITS_CPUS_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct visitors *v = calloc(1, sizeof(*v));
	struct loads_cpu cpus[8];
	enum visit_answer answer;

	CHECK(v != NULL);
	if (loads_decode(data, size, cpus, 8))
		for (uint32_t i = 0; i < 8; i++)
			CHECK(cpus[i].runnable <= LOADS_MAX);
	if (visit_answer_decode(data, size, &answer))
		CHECK(answer >= VISIT_GRANTED && answer < VISIT_ANSWER_COUNT);
	/* Several in a row: length, then that many bytes. */
	while (size > 2) {
		size_t part = data[0] | (size_t)data[1] << 8;

		data += 2;
		size -= 2;
		part = part > size ? size : part;
		if (part == 0)
			break;
		take(v, data, part);
		data += part;
		size -= part;
	}
	free(v);
	return 0;
}
