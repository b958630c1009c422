/* SPDX-License-Identifier: BSD-2-Clause */
/* What peers say of their guests and events. */
#include "monitor/cell/events.h"
#include "monitor/cell/guests.h"
#include "numa/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *value = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
	struct guest g;
	struct event ev;

	if (!value)
		return 0;
	if (guest_from_row(value, &g)) {
		json_t *row = guest_row(&g, true);
		struct guest again;

		CHECK(guest_from_row(row, &again));
		json_decref(again.spec);
		json_decref(g.spec);
		json_decref(row);
	}
	if (event_from_json(value, &ev))
		json_decref(event_json(&ev));
	json_decref(value);
	return 0;
}
