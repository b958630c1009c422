/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "faultcontain/error_record.h"

#define HEAD "    kworker/0:2-235     [000] .....   597.204343: "
#define TAIL ", RIP: 00:<0000000000000000>, TSC: 0, PROCESSOR: "

static enum error_record_kind read_line(const char *line, struct corrected_error *e)
{
	return error_record_read(line, strlen(line), e);
}

/* A machine check of these words. */
static enum error_record_kind machine_check(struct corrected_error *e, uint64_t cap, uint32_t bank,
	uint64_t status, uint64_t ipid, uint64_t address, uint64_t misc, uint32_t vendor)
{
	char line[512];

	snprintf(line, sizeof(line),
		HEAD "mce_record: CPU: 3, MCGc/s: %llx/0, MC%u: %016llx, IPID: %016llx, "
		     "ADDR/MISC/SYND: %016llx/%016llx/%016llx" TAIL
		     "%u:60fb1, TIME: 1795563267, SOCKET: 6, APIC: 3",
		(unsigned long long)cap, bank, (unsigned long long)status, (unsigned long long)ipid,
		(unsigned long long)address, (unsigned long long)misc, 0ull, vendor);
	return read_line(line, e);
}

#define INTEL_STATUS 0x8c00004200800090ull
#define INTEL_MISC 0x08000a80c2982086ull
#define AMD_STATUS 0x9400400000080813ull
#define UMC 0x0000009600050f00ull

Test(error_record, intel_names_the_page)
{
	struct corrected_error e;

	cr_assert_eq(machine_check(&e, 0xf000c15, 13, INTEL_STATUS, 0, 0x123456fc0, INTEL_MISC, 0),
		ERROR_RECORD_CORRECTED);
	cr_assert_eq(e.frame, 0x123456);
	cr_assert_eq(e.count, 1);
	cr_assert_eq(e.node, CORRECTED_NO_NODE);
	cr_assert_str_eq(e.dimm, "socket 6 bank 13 channel 0");
	/* The counter of corrected errors, if the bank has one; a channel that is not told. */
	machine_check(&e, 0xf000c15, 13, INTEL_STATUS + (41ull << 38) + 0xf, 0, 0x123456fc0,
		INTEL_MISC, 0);
	cr_assert_eq(e.count, 42);
	cr_assert_str_eq(e.dimm, "socket 6 bank 13");
	machine_check(
		&e, 0xf000815, 13, INTEL_STATUS + (41ull << 38), 0, 0x123456fc0, INTEL_MISC, 10);
	cr_assert_eq(e.count, 1);
}

Test(error_record, amd_names_the_page_before_scalable_mca)
{
	struct corrected_error e;

	cr_assert_eq(machine_check(&e, 0x100010a, 4, AMD_STATUS, 0, 0x12345000, 0, 2),
		ERROR_RECORD_CORRECTED);
	cr_assert_eq(e.frame, 0x12345);
	cr_assert_eq(e.count, 1);
	cr_assert_str_eq(e.dimm, "socket 6 bank 4");
}

Test(error_record, later_kernels_write_more)
{
	struct corrected_error e;

	cr_assert_eq(
		read_line(
			"           <...>-68      [003] .....    18.350190: mce_record: CPU: 3, "
			"MCGc/s: "
			"100010a/0, MC4: 9400400000080813, IPID: 0000000000000000, ADDR/MISC/SYND: "
			"0000000012345000/0000000000000000/0000000000000000, RIP: "
			"00:<0000000000000000>, TSC: 0, PPIN: 0, vendor: 2, CPUID: 60fb1, "
			"processor: 2:60fb1, time: 1795563267, socket: 1, APIC: 3, microcode: "
			"1000065",
			&e),
		ERROR_RECORD_CORRECTED);
	cr_assert_eq(e.frame, 0x12345);
	cr_assert_str_eq(e.dimm, "socket 1 bank 4");
}

Test(error_record, machine_checks_are_told_apart)
{
	static const struct {
		const char *what;
		enum error_record_kind kind;
		uint64_t status, ipid, address, misc;
		uint32_t bank, vendor;
	} rows[] = {
		{ "Intel: uncorrected", ERROR_RECORD_SEVERE, INTEL_STATUS | 1ull << 61, 0, 0x1000,
			INTEL_MISC, 13, 0 },
		{ "Intel: not valid", ERROR_RECORD_OTHER, INTEL_STATUS & ~(1ull << 63), 0, 0x1000,
			INTEL_MISC, 13, 0 },
		{ "Intel: a cache", ERROR_RECORD_OTHER, 0x8c00004200000134ull, 0, 0x1000,
			INTEL_MISC, 1, 0 },
		{ "Intel: no address", ERROR_RECORD_NOWHERE, INTEL_STATUS & ~(1ull << 58), 0,
			0x1000, INTEL_MISC, 13, 0 },
		{ "Intel: nothing said of the address", ERROR_RECORD_NOWHERE,
			INTEL_STATUS & ~(1ull << 59), 0, 0x1000, INTEL_MISC, 13, 0 },
		{ "Intel: a linear address", ERROR_RECORD_NOWHERE, INTEL_STATUS, 0, 0x1000,
			INTEL_MISC & ~0x1c0ull, 13, 0 },
		{ "Intel: too coarse", ERROR_RECORD_NOWHERE, INTEL_STATUS, 0, 0x1000,
			(INTEL_MISC & ~0x3full) | 13, 13, 0 },
		{ "Intel: as coarse as a page", ERROR_RECORD_CORRECTED, INTEL_STATUS, 0, 0x1000,
			(INTEL_MISC & ~0x3full) | 12, 13, 0 },
		{ "Intel: beyond all memory", ERROR_RECORD_NOWHERE, INTEL_STATUS, 0, 1ull << 52,
			INTEL_MISC, 13, 0 },
		{ "AMD: deferred", ERROR_RECORD_SEVERE, AMD_STATUS | 1ull << 44, 0, 0x1000, 0, 4,
			2 },
		{ "AMD: another bank", ERROR_RECORD_OTHER, AMD_STATUS, 0, 0x1000, 0, 1, 2 },
		{ "AMD: another extended code", ERROR_RECORD_OTHER, AMD_STATUS + (1 << 16), 0,
			0x1000, 0, 4, 2 },
		{ "AMD: no address", ERROR_RECORD_NOWHERE, AMD_STATUS & ~(1ull << 58), 0, 0x1000, 0,
			4, 9 },
		{ "AMD: the controller's own address", ERROR_RECORD_NOWHERE, 0x9c2040000000011bull,
			UMC, 0x1000, 0, 17, 2 },
		{ "AMD: scalable, but no memory", ERROR_RECORD_OTHER, 0x9c2040000000011bull,
			0x000000b000000000ull, 0x1000, 0, 4, 2 },
		{ "AMD: of a memory controller, but no memory", ERROR_RECORD_OTHER,
			0x9c2040000003011bull, UMC, 0x1000, 0, 17, 2 },
		{ "AMD: another type of that unit", ERROR_RECORD_OTHER, 0x9c2040000000011bull,
			UMC | 1ull << 48, 0x1000, 0, 17, 2 },
		{ "some other vendor", ERROR_RECORD_OTHER, INTEL_STATUS, 0, 0x1000, INTEL_MISC, 13,
			5 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct corrected_error e;

		cr_assert_eq(machine_check(&e, 0xf000c15, rows[i].bank, rows[i].status,
				     rows[i].ipid, rows[i].address, rows[i].misc, rows[i].vendor),
			rows[i].kind, "%s", rows[i].what);
	}
}

#define PLACE " (mc:1 location:0:2:-1 address:0x123456fc0 grain:32 syndrome:0x0"

Test(error_record, edac_names_page_and_dimm)
{
	struct corrected_error e;

	cr_assert_eq(read_line(HEAD "mc_event: 7 Corrected errors: memory read error on "
				    "CPU_SrcID#1_MC#0_Chan#2_DIMM#0" PLACE " err_code:0x0:0x9f)",
			     &e),
		ERROR_RECORD_CORRECTED);
	cr_assert_eq(e.frame, 0x123456);
	cr_assert_eq(e.count, 7);
	cr_assert_str_eq(e.dimm, "CPU_SrcID#1_MC#0_Chan#2_DIMM#0");
	/* No message; a message and a label with words of their own. */
	cr_assert_eq(read_line(HEAD "mc_event: 1 Corrected error: on x" PLACE ")", &e),
		ERROR_RECORD_CORRECTED);
	cr_assert_str_eq(e.dimm, "x");
	cr_assert_eq(
		read_line(HEAD "mc_event: 1 Corrected error: read on bus on A (mc:9 location:0:0:0 "
			       "address:0x99000 grain:8) B\t" PLACE ")",
			&e),
		ERROR_RECORD_CORRECTED);
	cr_assert_eq(e.frame, 0x123456);
	cr_assert_eq(strlen(e.dimm), CORRECTED_LABEL_BYTES - 1);
	cr_assert_eq(strchr(e.dimm, '\t'), NULL);
}

Test(error_record, edac_events_are_told_apart)
{
	static const struct {
		const char *text;
		enum error_record_kind kind;
	} rows[] = {
		{ "1 Uncorrected error: x on D" PLACE ")", ERROR_RECORD_SEVERE },
		{ "1 Fatal error: x on D" PLACE ")", ERROR_RECORD_SEVERE },
		{ "1 Corrected error: x on D (mc:0 location:0:0:-1 address:0x00000000 grain:1 "
		  "syndrome:0x0)",
			ERROR_RECORD_NOWHERE },
		{ "1 Corrected error: x on D (mc:0 location:0:0:-1 address:0x7000 grain:8192 "
		  "syndrome:0x0)",
			ERROR_RECORD_NOWHERE },
		{ "1 Corrected error: x on D (mc:0 location:0:0:-1 address:0x7000 "
		  "grain:-2147483648 "
		  "syndrome:0x0)",
			ERROR_RECORD_NOWHERE },
		{ "1 Corrected error: x on D (mc:0 location:0:0:-1 address:0xffffffffffff7000 "
		  "grain:8 "
		  "syndrome:0x0)",
			ERROR_RECORD_NOWHERE },
		{ "0 Corrected errors: x on D" PLACE ")", ERROR_RECORD_CORRECTED },
		{ "65535 Corrected errors: x on D" PLACE ")", ERROR_RECORD_CORRECTED },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct corrected_error e;
		char line[512];

		snprintf(line, sizeof(line), HEAD "mc_event: %s", rows[i].text);
		cr_assert_eq(read_line(line, &e), rows[i].kind, "%s", rows[i].text);
		if (e.count)
			cr_assert(e.count >= 1 && e.count <= CORRECTED_COUNT_MAX);
	}
}

Test(error_record, what_the_kernel_does_not_write_is_refused)
{
	static const char *const rows[] = {
		"mce_record: ",
		"mce_record: CPU: x",
		"mce_record: CPU: 3, MCGc/s: 0/0, MC4: 94004000000808131, IPID: 0, ADDR/MISC/SYND: "
		"1/0/0" TAIL "2:6, TIME: 1, SOCKET: 1, APIC: 3",
		"mce_record: CPU: 3, MCGc/s: 0/0, MC256: 9400400000080813, IPID: 0, "
		"ADDR/MISC/SYND: 1/0/0" TAIL "2:6, TIME: 1, SOCKET: 1, APIC: 3",
		"mce_record: CPU: 3, MCGc/s: 0/0, MC4: 9400400000080813, IPID: 0, "
		"ADDR/MISC/SYND: 1/0" TAIL "2:6, TIME: 1, SOCKET: 1, APIC: 3",
		"mce_record: CPU: 3, MCGc/s: 0/0, MC4: 9400400000080813, IPID: 0, "
		"ADDR/MISC/SYND: 1/0/0, TIME: 1, SOCKET: 1, APIC: 3",
		"mce_record: CPU: 3, MCGc/s: 0/0, MC4: 9400400000080813, IPID: 0, "
		"ADDR/MISC/SYND: 1/0/0" TAIL "2:6, TIME: 1, APIC: 3",
		"mce_record: CPU: 3, MCGc/s: 0/0, MC4: , IPID: 0, ADDR/MISC/SYND: 1/0/0" TAIL
		"2:6, TIME: 1, SOCKET: 1, APIC: 3",
		"mc_event: ",
		"mc_event: Corrected error: x on D" PLACE ")",
		"mc_event: 65536 Corrected errors: x on D" PLACE ")",
		"mc_event: -1 Corrected errors: x on D" PLACE ")",
		"mc_event: 1 Corrected error: x on D",
		"mc_event: 1 Corrected error: x on D (mc:0 location:0:0 address:0x1000 grain:8)",
		"mc_event: 1 Corrected error: x on D (mc:0 location:0:0:0 address:0x grain:8)",
		"mc_event: 1 Corrected error: x on D (mc:0 location:0:0:0 "
		"address:0x11111111111111111 "
		"grain:8)",
		"mc_event: 1 good day" PLACE ")",
	};
	struct corrected_error e;
	char line[ERROR_RECORD_LINE_BYTES + 64];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(line, sizeof(line), HEAD "%s", rows[i]);
		cr_assert_eq(read_line(line, &e), ERROR_RECORD_BAD, "%s", rows[i]);
	}
	memset(line, ' ', sizeof(line));
	cr_assert_eq(error_record_read(line, ERROR_RECORD_LINE_BYTES + 1, &e), ERROR_RECORD_BAD);
	cr_assert_eq(error_record_read(line, ERROR_RECORD_LINE_BYTES, &e), ERROR_RECORD_OTHER);
	line[7] = '\0';
	cr_assert_eq(error_record_read(line, 20, &e), ERROR_RECORD_BAD);
}

Test(error_record, the_rest_is_passed_over)
{
	struct corrected_error e;

	cr_assert_eq(read_line("", &e), ERROR_RECORD_OTHER);
	cr_assert_eq(read_line(HEAD "sched_switch: prev_comm=x", &e), ERROR_RECORD_OTHER);
	cr_assert_eq(read_line("CPU:3 [LOST 12 EVENTS]", &e), ERROR_RECORD_LOST);
	cr_assert_eq(e.count, 12);
	cr_assert_eq(read_line("CPU:3 [LOST many EVENTS]", &e), ERROR_RECORD_OTHER);
}
