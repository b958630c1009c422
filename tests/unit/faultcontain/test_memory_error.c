/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/memory_error.h"

#include <criterion/criterion.h>
#include <string.h>

Test(memory_error, the_best_that_can_be_done_is_done)
{
	static const struct {
		struct memory_error_case c;
		enum memory_error_action want;
	} table[] = {
		{ { true, true, true }, MEMORY_ERROR_HEAL },
		{ { true, true, false }, MEMORY_ERROR_HEAL },
		{ { false, true, false }, MEMORY_ERROR_HEAL },
		{ { true, false, true }, MEMORY_ERROR_TELL },
		{ { false, false, true }, MEMORY_ERROR_TELL },
		{ { true, false, false }, MEMORY_ERROR_END },
		{ { false, false, false }, MEMORY_ERROR_LEAVE },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		cr_assert_eq(memory_error_decide(&table[i].c), table[i].want, "row %zu", i);
}

#define SER_P (1ull << 24)
#define CTL_P (1ull << 8)

static struct machine_check_state ready(bool amd)
{
	return (struct machine_check_state){ .amd = amd,
		.amd_recovers = amd,
		.banks = 32,
		.cr4_mce = true,
		.mcg_cap = CTL_P | (amd ? 0 : SER_P),
		.mcg_ctl = UINT64_MAX,
		.bank_ctl = UINT64_MAX };
}

Test(machine_check, whoever_can_take_one_is_told)
{
	for (int i = 0; i < 4; i++) {
		struct machine_check_state s = ready(i & 1);

		cr_assert(machine_check_ready(&s, i & 2), "case %d", i);
	}
}

Test(machine_check, what_kvm_would_drop_or_shut_down_for_is_not_raised)
{
	for (int i = 0; i < 4; i++) {
		bool amd = i & 1, used = i & 2;
		struct machine_check_state s = ready(amd);

		s.cr4_mce = false;
		cr_assert_not(machine_check_ready(&s, used), "CR4.MCE clear: case %d", i);
		s = ready(amd);
		s.mcg_ctl = 0;
		cr_assert_not(machine_check_ready(&s, used), "MCG_CTL off: case %d", i);
		s.mcg_cap &= ~CTL_P;
		cr_assert(machine_check_ready(&s, used), "no MCG_CTL: case %d", i);
		s = ready(amd);
		s.bank_ctl = UINT64_MAX - 1;
		cr_assert_not(machine_check_ready(&s, used), "bank off: case %d", i);
		s = ready(amd);
		s.banks = machine_check_bank(amd, used);
		cr_assert_not(machine_check_ready(&s, used), "no such bank: case %d", i);
		s.banks++;
		cr_assert(machine_check_ready(&s, used), "just that bank: case %d", i);
		/* A deferred error raises no exception, so one in progress is no obstacle. */
		s = ready(amd);
		s.mcg_status = 4;
		cr_assert_eq(machine_check_ready(&s, used), amd && !used, "MCIP: case %d", i);
	}
}

Test(machine_check, a_cpu_without_recovery_is_not_told_of_used_pages)
{
	struct machine_check_state s = ready(true);

	s.amd_recovers = false;
	cr_assert_not(machine_check_ready(&s, true));
	cr_assert(machine_check_ready(&s, false), "deferred errors it knows");
	s = ready(false);
	s.mcg_cap &= ~SER_P;
	cr_assert_not(machine_check_ready(&s, true));
	cr_assert_not(machine_check_ready(&s, false));
}

/* The words of Intel's and AMD's manuals, bit by bit. */
Test(machine_check, words)
{
	static const struct {
		bool amd, used;
		uint64_t status, mcg_status;
		uint32_t bank;
		bool broadcast, silent;
	} table[] = {
		{ false, true, 0xbd80000000000134, 7, 9, true, false },
		{ false, false, 0xbd000000000000c0, 5, 9, true, false },
		{ true, true, 0xbc00080000000000, 7, 9, false, false },
		{ true, false, 0x9c00180000000000, 5, 10, false, true },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct machine_check_state s = ready(table[i].amd);
		struct machine_check mc;

		machine_check_words(&s, table[i].used, 0x1234000, 12, &mc);
		cr_assert_eq(mc.status, table[i].status, "row %zu: %llx", i,
			(unsigned long long)mc.status);
		cr_assert_eq(mc.mcg_status, table[i].mcg_status, "row %zu", i);
		cr_assert_eq(mc.bank, table[i].bank, "row %zu", i);
		cr_assert_eq(mc.broadcast, table[i].broadcast, "row %zu", i);
		cr_assert_eq(mc.silent, table[i].silent, "row %zu", i);
		cr_assert_eq(mc.addr, 0x1234000);
		cr_assert_eq(mc.misc, 0x8c, "a physical address, valid from bit 12 on");
		machine_check_words(&s, table[i].used, 0x1200000, 21, &mc);
		cr_assert_eq(mc.misc, 0x95, "from bit 21 on");
	}
}

Test(machine_check, bystanders_get_no_address)
{
	struct machine_check mc;

	machine_check_bystander(&mc);
	cr_assert_eq(mc.status, 0xa000000000000000);
	cr_assert_eq(mc.mcg_status, 5);
	cr_assert_eq(mc.addr, 0);
	cr_assert_eq(mc.bank, MACHINE_CHECK_BYSTANDER_BANK);
	cr_assert_not(mc.broadcast);
}

static struct memory_error *take(struct memory_errors *b, uint64_t off, bool *fresh)
{
	struct memory_error *m = memory_errors_take(b, off, fresh);

	if (m && *fresh)
		m->bytes = 4096;
	return m;
}

Test(memory_errors, a_page_has_one_record_until_it_is_replaced)
{
	struct memory_errors b = { 0 };
	struct memory_error *m;
	bool fresh;

	m = take(&b, 0x5000, &fresh);
	cr_assert(m && fresh);
	cr_assert_eq(m->vcpu, MEMORY_ERROR_NOBODY);
	cr_assert_eq(take(&b, 0x5000, &fresh), m);
	cr_assert_not(fresh);
	cr_assert_eq(memory_errors_find(&b, 0x5fff), m);
	cr_assert_null(memory_errors_find(&b, 0x6000));
	cr_assert_null(memory_errors_find(&b, 0x4fff));
	cr_assert_null(memory_errors_replaced(&b, 0x5000));
	m->replaced = true;
	cr_assert_null(memory_errors_find(&b, 0x5000));
	cr_assert_eq(memory_errors_replaced(&b, 0x5fff), m);
	cr_assert_null(memory_errors_replaced(&b, 0x6000));
	cr_assert_neq(take(&b, 0x5000, &fresh), m);
	cr_assert(fresh, "the fresh page was lost too");
	cr_assert_eq(b.total, 2);
	cr_assert_eq(b.count, 2);
}

Test(memory_errors, a_full_book_gives_up_what_is_whole_again)
{
	struct memory_errors b = { 0 };
	bool fresh;

	for (uint64_t i = 0; i < MEMORY_ERRORS_KEPT; i++)
		cr_assert(take(&b, i * 4096, &fresh));
	cr_assert_null(take(&b, 1 << 30, &fresh));
	cr_assert(fresh);
	cr_assert_eq(b.total, MEMORY_ERRORS_KEPT + 1, "it is counted");
	b.items[7].replaced = b.items[9].replaced = true;
	cr_assert(take(&b, 1 << 30, &fresh));
	cr_assert_null(memory_errors_find(&b, 7 * 4096));
	cr_assert_eq(memory_errors_find(&b, 8 * 4096)->off, 8 * 4096);
	cr_assert(b.items[8].replaced, "the younger one is still there");
	cr_assert_eq(b.count, MEMORY_ERRORS_KEPT);
	cr_assert_eq(memory_errors_find(&b, 1 << 30), &b.items[MEMORY_ERRORS_KEPT - 1]);
}

Test(memory_error, ends_have_names)
{
	for (unsigned i = 0; i < MEMORY_ERROR_ENDS; i++)
		cr_assert_eq(
			memory_error_end_of(memory_error_end_name((enum memory_error_end)i)), i);
	cr_assert_eq(memory_error_end_of(""), MEMORY_ERROR_ENDS);
	cr_assert_eq(memory_error_end_of("tol"), MEMORY_ERROR_ENDS);
}

Test(memory_error, in_words)
{
	struct memory_error m = { .gpa = 0x1f400000,
		.bytes = 4096,
		.node_known = true,
		.node = 10,
		.frame_known = true,
		.frame = 0xabc,
		.vcpu = 12,
		.end = MEMORY_ERROR_TOLD };
	char text[256], cut[24];

	cr_assert_str_eq(memory_error_text(&m, text, sizeof(text)),
		"uncorrected memory error at guest address 0x1f400000 on node 10, frame 0xabc, "
		"used "
		"by vCPU 12; the guest was told by a machine check");
	m = (struct memory_error){ .bytes = 2u << 20, .vcpu = MEMORY_ERROR_NOBODY };
	cr_assert_str_eq(memory_error_text(&m, text, sizeof(text)),
		"uncorrected memory error at guest address 0x0 (2048 KiB); the guest has not used "
		"it");
	m.end = MEMORY_ERROR_HEALED;
	strcpy(m.source, "what was loaded");
	cr_assert(
		strstr(memory_error_text(&m, text, sizeof(text)), "; healed from what was loaded"));
	m.end = MEMORY_ERROR_ENDED;
	cr_assert(strstr(memory_error_text(&m, text, sizeof(text)), "could not be told"));
	cr_assert_str_eq(memory_error_text(&m, cut, sizeof(cut)), "uncorrected memory erro");
}
