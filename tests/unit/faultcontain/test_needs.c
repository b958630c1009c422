/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>

#include "faultcontain/classify.h"
#include "faultcontain/needs.h"

static struct cellset set_of(int count, const uint16_t *cells)
{
	struct cellset set = { 0 };

	for (int i = 0; i < count; i++)
		cellset_add(&set, cells[i]);
	return set;
}
#define SET(...)                                                                                   \
	set_of(sizeof((uint16_t[]){ __VA_ARGS__ }) / sizeof(uint16_t), (uint16_t[]){ __VA_ARGS__ })

#define PSET(...) ((struct cellset[]){ SET(__VA_ARGS__) })

Test(cellset, holds_every_cell_and_no_other)
{
	static const uint16_t cells[] = { 0, 63, 64, 65, 127, 511, 1023 };
	struct cellset set = { 0 };

	cr_assert(cellset_empty(&set));
	cr_assert_eq(cellset_next(&set, 0), CELLSET_NONE);
	for (size_t i = 0; i < 7; i++)
		cellset_add(&set, cells[i]);
	cr_assert_eq(cellset_count(&set), 7);
	for (uint16_t c = 0, i = 0; c < WIRE_CELLS_MAX; c++) {
		cr_assert_eq(cellset_has(&set, c), i < 7 && cells[i] == c);
		cr_assert_eq(
			cellset_next(&set, c), cells[i < 7 ? i : 6] >= c ? cells[i] : CELLSET_NONE);
		if (i < 6 && cells[i] == c)
			i++;
	}
	cr_assert_eq(cellset_next(&set, 1024), CELLSET_NONE);
	for (size_t i = 0; i < 7; i++)
		cellset_remove(&set, cells[i]);
	cr_assert(cellset_empty(&set));
}

Test(cellset, algebra)
{
	struct cellset a = SET(1, 70, 900), b = SET(70, 3), c = SET(4);

	cr_assert(cellset_intersects(&a, &b));
	cr_assert_not(cellset_intersects(&a, &c));
	cellset_unite(&b, &a);
	cr_assert(cellset_equal(&b, PSET(1, 3, 70, 900)));
	cellset_subtract(&b, &a);
	cr_assert(cellset_equal(&b, PSET(3)));
	cr_assert_not(cellset_equal(&b, &c));
}

Test(needs, stay_sorted_and_unique)
{
	struct needs needs = { 0 };
	struct cellset cells;

	cr_assert(needs_add(&needs, 9, 1));
	cr_assert(needs_add(&needs, 2, 5));
	cr_assert(needs_add(&needs, 500, 1));
	cr_assert(needs_add(&needs, 2, 7));
	cr_assert(needs_add(&needs, 2, 6));
	cr_assert_eq(needs.count, 3);
	cr_assert_eq(needs.list[0].cell, 2);
	cr_assert_eq(needs.list[0].born, 7, "the later birth counts");
	cr_assert_eq(needs.list[1].cell, 9);
	cr_assert_eq(needs.list[2].cell, 500);
	cr_assert(needs_has(&needs, 9));
	cr_assert_not(needs_has(&needs, 10));
	needs_cells(&needs, &cells);
	cr_assert(cellset_equal(&cells, PSET(2, 9, 500)));
	needs_remove(&needs, 3);
	needs_remove(&needs, 9);
	needs_cells(&needs, &cells);
	cr_assert(cellset_equal(&cells, PSET(2, 500)));
}

Test(needs, are_bounded)
{
	struct needs needs = { 0 };

	for (uint16_t c = 0; c < NEEDS_MAX; c++)
		cr_assert(needs_add(&needs, (uint16_t)(1000 - c), 1));
	cr_assert_not(needs_add(&needs, 1, 1));
	cr_assert(needs_add(&needs, 1000, 2), "one that is there still fits");
	cr_assert_eq(needs.count, NEEDS_MAX);
	cr_assert_not(needs_has(&needs, 1));
}

Test(needs, decide_a_guests_fate)
{
	struct needs needs = { 0 };
	const struct cellset none = { 0 };

	needs_add(&needs, 4, 1);
	needs_add(&needs, 6, 1);
	cr_assert_eq(needs_fate(&needs, 4, &none, &none), FATE_UNAFFECTED);
	cr_assert_eq(needs_fate(&needs, 4, PSET(5, 7), PSET(6)), FATE_UNAFFECTED);
	cr_assert_eq(needs_fate(&needs, 4, PSET(5), PSET(4, 9)), FATE_ADOPT);
	cr_assert_eq(needs_fate(&needs, 4, PSET(6), &none), FATE_ENDED);
	cr_assert_eq(needs_fate(&needs, 4, PSET(6), PSET(4)), FATE_ENDED);
	cr_assert_eq(needs_fate(&needs, 4, PSET(4), &none), FATE_LOST);
	cr_assert_eq(needs_fate(&needs, 4, PSET(4, 6), PSET(4)), FATE_LOST);
	cr_assert(needs_hurt(&needs, PSET(6)));
	cr_assert_not(needs_hurt(&needs, PSET(5, 7)));
	cr_assert_str_eq(guest_fate_name(FATE_LOST), "lost");
	cr_assert_str_eq(guest_fate_name(FATE_COUNT), "?");
}

Test(classify, ends_of_guest_processes)
{
	static const struct {
		bool by_signal;
		int code;
		enum guest_end end;
		enum fault fault;
	} cases[] = {
		{ false, 0, GUEST_END_POWERED_OFF, FAULT_COUNT },
		{ false, 9, GUEST_END_ERROR, FAULT_GUEST_GONE },
		{ true, 7, GUEST_END_MEMORY_ERROR, FAULT_GUEST_PROCESS },
		{ true, 11, GUEST_END_BUG, FAULT_GUEST_GONE },
		{ true, 6, GUEST_END_BUG, FAULT_GUEST_GONE },
		{ true, 4, GUEST_END_BUG, FAULT_GUEST_GONE },
		{ true, 31, GUEST_END_SANDBOX, FAULT_GUEST_GONE },
		{ true, 9, GUEST_END_KILLED, FAULT_GUEST_GONE },
		{ true, 15, GUEST_END_SIGNAL, FAULT_GUEST_GONE },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum guest_end end = classify_guest_end(cases[i].by_signal, cases[i].code);

		cr_assert_eq(end, cases[i].end, "%zu", i);
		cr_assert_eq(guest_end_fault(end), cases[i].fault);
		cr_assert_gt(strlen(guest_end_text(end)), 5);
	}
}

Test(classify, every_fault_has_a_rule)
{
	for (int i = 0; i < FAULT_COUNT; i++) {
		const struct fault_rule *rule = fault_rule((enum fault)i);

		cr_assert_not_null(rule->name);
		cr_assert_neq(rule->actions, 0);
		/* Software that dies costs no guest; only recovery may hurt a whole cell. */
		cr_assert_eq(rule->reach == FAULT_HURTS_CELL,
			(rule->actions & FAULT_DO_RECOVER) != 0, "%s", rule->name);
		cr_assert_eq(rule->reach == FAULT_HURTS_GUEST,
			(rule->actions & FAULT_DO_END_GUEST) != 0, "%s", rule->name);
	}
	cr_assert_eq(fault_rule(FAULT_MONITOR_HANGS)->actions, FAULT_DO_RESTART_MONITOR);
	cr_assert_eq(fault_rule(FAULT_NODE_DEAD)->actions, FAULT_DO_RECOVER);
}
