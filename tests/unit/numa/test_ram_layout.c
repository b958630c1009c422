/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <string.h>

#include "numa/ram_layout.h"

static struct ram_layout layout(const char *text)
{
	struct ram_layout l = { .count = 0 };

	/* One letter per unit; the letter is the node. */
	for (; *text; text++)
		cr_assert(ram_append(&l, (uint32_t)*text, 1));
	return l;
}

static void assert_layout(const struct ram_layout *l, const char *text)
{
	char got[256];
	size_t n = 0;

	for (uint32_t i = 0; i < l->count; i++) {
		cr_assert_gt(l->ranges[i].units, 0);
		cr_assert(i == 0 || l->ranges[i].os_node != l->ranges[i - 1].os_node);
		for (uint64_t u = 0; u < l->ranges[i].units; u++)
			got[n++] = (char)l->ranges[i].os_node;
	}
	got[n] = 0;
	cr_assert_str_eq(got, text);
}

static void move(
	struct ram_layout *l, char from, char to, uint64_t units, bool from_below, uint64_t moved)
{
	struct ram_piece pieces[8];
	uint32_t count = ram_plan(l, (uint32_t)from, (uint32_t)to, units, from_below, pieces, 8);
	uint64_t sum = 0;

	for (uint32_t i = 0; i < count; i++) {
		sum += pieces[i].units;
		cr_assert(ram_apply(l, &pieces[i]));
	}
	cr_assert_eq(sum, moved);
}

Test(ram_layout, borrowed_memory_lies_together_and_comes_home_to_where_it_was)
{
	struct ram_layout l = layout("aaaaaaaabbbb");

	cr_assert_eq(ram_units(&l), 12);
	cr_assert_eq(ram_on(&l, 'a'), 8);
	move(&l, 'a', 'x', 2, false, 2);
	assert_layout(&l, "aaaaaaxxbbbb");
	move(&l, 'a', 'x', 3, false, 3);
	assert_layout(&l, "aaaxxxxxbbbb");
	move(&l, 'x', 'a', 4, true, 4);
	assert_layout(&l, "aaaaaaaxbbbb");
	move(&l, 'x', 'b', 1, true, 1);
	assert_layout(&l, "aaaaaaabbbbb");
}

Test(ram_layout, several_parts_are_taken_from_the_asked_end)
{
	struct ram_layout l = layout("aabaabaab");

	move(&l, 'a', 'x', 3, false, 3);
	assert_layout(&l, "aabaxbxxb");
	l = layout("aabaabaab");
	move(&l, 'a', 'x', 3, true, 3);
	assert_layout(&l, "xxbxabaab");
	move(&l, 'q', 'x', 3, true, 0);
	move(&l, 'a', 'x', 99, true, 3);
	assert_layout(&l, "xxbxxbxxb");
}

Test(ram_layout, pieces_and_ranges_are_bounded)
{
	struct ram_layout l = { .count = 0 }, before;
	struct ram_piece pieces[RAM_RANGES_MAX + 1];
	const struct ram_piece middle = { .at = 100, .units = 1, .from = 0, .to = 9 };

	for (uint32_t i = 0; i < RAM_RANGES_MAX; i++)
		cr_assert(ram_append(&l, i % 2, 100));
	cr_assert_not(ram_append(&l, 7, 1));
	cr_assert(ram_append(&l, (RAM_RANGES_MAX - 1) % 2, 1), "the last range grows");
	cr_assert_eq(ram_plan(&l, 0, 9, UINT64_MAX, false, pieces, 5), 5);
	cr_assert_eq(
		ram_plan(&l, 0, 9, UINT64_MAX, false, pieces, RAM_RANGES_MAX), RAM_RANGES_MAX / 2);
	before = l;
	cr_assert(ram_apply(&l, &(struct ram_piece){ .at = 0, .units = 100, .from = 0, .to = 9 }));
	l = before;
	cr_assert_not(ram_apply(&l, &middle));
	cr_assert_eq(memcmp(&l, &before, sizeof(l)), 0);
}
