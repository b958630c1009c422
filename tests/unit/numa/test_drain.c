/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <string.h>

#include "numa/drain.h"

Test(drain, nearest_with_room_first_then_the_roomiest_then_the_lowest)
{
	const struct drain_cell cells[] = {
		{ .takes = true, .distance = 31, .room_bytes = 900 },
		{ .takes = true, .distance = 21, .room_bytes = 400 },
		{ .takes = false, .distance = 10, .room_bytes = 900 },
		{ .takes = true, .distance = 21, .room_bytes = 500 },
		{ .takes = true, .distance = 12, .room_bytes = 299 },
		{ .takes = true, .distance = 21, .room_bytes = 500 },
		{ .takes = true, .distance = 40, .room_bytes = 300 },
	};
	const uint32_t wanted[] = { 3, 5, 1, 0, 6 };
	uint32_t order[7];

	cr_assert_eq(drain_order(cells, 7, 300, order), 5u);
	cr_assert_eq(memcmp(order, wanted, sizeof(wanted)), 0, "%u %u %u %u %u", order[0], order[1],
		order[2], order[3], order[4]);
}

Test(drain, nobody_with_room)
{
	const struct drain_cell cells[] = { { .takes = true, .distance = 10, .room_bytes = 9 },
		{ .takes = false, .distance = 10, .room_bytes = 10 } };
	uint32_t order[2];

	cr_assert_eq(drain_order(cells, 2, 10, order), 0u);
	cr_assert_eq(drain_order(cells, 0, 0, order), 0u);
}
