/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/boot/acpi.h"

#include "monitor/layout.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BASE 0xe0000u
#define ROOM LAYOUT_ACPI_BYTES

struct tables {
	size_t used;
	uint8_t bytes[ROOM];
};

static uint64_t le(const uint8_t *p, int bytes)
{
	uint64_t v = 0;

	for (int i = bytes - 1; i >= 0; i--)
		v = v << 8 | p[i];
	return v;
}

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s = (uint8_t)(s + *p++);
	return s;
}

static void build(const struct acpi_machine *m, struct tables *t)
{
	struct err e = { 0 };

	memset(t, 0xcc, sizeof(*t));
	cr_assert_eq(acpi_build(m, BASE, t->bytes, ROOM, &t->used, &e), 0, "%s", e.text);
	cr_assert_leq(t->used, ROOM);
}

/* A table at a guest address: inside what was written, sum 0. */
static const uint8_t *table_at(const struct tables *t, uint64_t addr)
{
	const uint8_t *p = t->bytes + (addr - BASE);

	cr_assert_geq(addr, BASE);
	cr_assert_leq(addr - BASE + 36, t->used);
	cr_assert_leq(addr - BASE + le(p + 4, 4), t->used);
	cr_assert_eq(addr % 8, 0, "table at 0x%lx", addr);
	cr_assert_eq(sum(p, le(p + 4, 4)), 0, "sum of %.4s", p);
	return p;
}

static const uint8_t *xsdt_of(const struct tables *t)
{
	const uint8_t *p = t->bytes;

	cr_assert_eq(memcmp(p, "RSD PTR ", 8), 0);
	cr_assert_eq(p[15], 2);
	cr_assert_eq(sum(p, 20), 0);
	cr_assert_eq(sum(p, le(p + 20, 4)), 0);
	cr_assert_eq(le(p + 20, 4), 36);
	p = table_at(t, le(p + 24, 8));
	cr_assert_eq(memcmp(p, "XSDT", 4), 0);
	return p;
}

/* The table with that name, by way of RSDP and XSDT; NULL if there is none. */
static const uint8_t *find(const struct tables *t, const char *signature)
{
	const uint8_t *xsdt = xsdt_of(t), *found = NULL;

	for (uint64_t at = 36; at < le(xsdt + 4, 4); at += 8) {
		const uint8_t *p = table_at(t, le(xsdt + at, 8));

		if (memcmp(p, signature, 4) != 0)
			continue;
		cr_assert_null(found, "two tables %s", signature);
		found = p;
	}
	return found;
}

/* The n-th entry of a type in a list of entries {type, length, ...}; NULL if there are fewer. */
static const uint8_t *entry(const uint8_t *table, size_t from, uint8_t type, unsigned n)
{
	for (size_t at = from; at < le(table + 4, 4); at += table[at + 1]) {
		cr_assert_geq(table[at + 1], 2);
		cr_assert_leq(at + table[at + 1], le(table + 4, 4));
		if (table[at] == type && n-- == 0)
			return table + at;
	}
	return NULL;
}

static unsigned entries(const uint8_t *table, size_t from, uint8_t type)
{
	unsigned n = 0;

	while (entry(table, from, type, n))
		n++;
	return n;
}

#define MADT_FROM 44u
#define SRAT_FROM 48u

static const struct acpi_machine flat = { .cpu_count = 3 };

/* Three nodes; memory in the order 2, 0, 2, 1, CPUs in the order 1, 2, 0, 2. */
static const uint32_t apic_ids[] = { 4, 254, 300, 255 };
static const uint32_t cpu_nodes[] = { 1, 2, 0, 2 };
static const struct acpi_range ranges[] = {
	{ 0, 0x40000000, 2 },
	{ 0x40000000, 0x80000000, 0 },
	{ 0x100000000, 0x10000000, 2 },
	{ 0x110000000, 0x230000000, 1 },
};
static const uint8_t distances[] = { 10, 21, 31, 22, 10, 255, 32, 11, 10 };
static const struct acpi_machine numa = {
	.cpu_count = 4,
	.cpu_apic_id = apic_ids,
	.node_count = 3,
	.cpu_node = cpu_nodes,
	.range_count = 4,
	.ranges = ranges,
	.distances = distances,
};

static struct tables t;

Test(acpi, fadt_is_hardware_reduced_and_names_the_ports)
{
	const uint8_t *p, *dsdt;
	uint32_t flags;

	build(&flat, &t);
	p = find(&t, "FACP");
	cr_assert(p);
	cr_assert_eq(le(p + 4, 4), 276);
	cr_assert_eq(p[8], 6);
	flags = (uint32_t)le(p + 112, 4);
	cr_assert(flags & 1u << 20, "not hardware-reduced");
	cr_assert(flags & 1u << 10, "no reset register");
	cr_assert(flags & 1u << 4 && flags & 1u << 5, "fixed buttons are promised");
	/* VGA, CMOS RTC: not there. 8042, legacy devices: not there. MSI: not forbidden. */
	cr_assert_eq(le(p + 109, 2) & 0x2f, 0x24);
	cr_assert_eq(memcmp(p + 116, "\1\x8\0\1\x02\x06\0\0\0\0\0\0", 12), 0, "reset register");
	cr_assert_eq(p[128], LAYOUT_RESET_VALUE);
	cr_assert_eq(memcmp(p + 244, "\1\x8\0\1\x00\x06\0\0\0\0\0\0", 12), 0, "sleep control");
	cr_assert_eq(memcmp(p + 256, "\1\x8\0\1\x01\x06\0\0\0\0\0\0", 12), 0, "sleep status");
	cr_assert_eq(le(p + 140, 8), le(p + 40, 4));
	dsdt = table_at(&t, le(p + 140, 8));
	cr_assert_eq(memcmp(dsdt, "DSDT", 4), 0);
	cr_assert_null(find(&t, "DSDT"));
}

Test(acpi, flat_machine_has_no_numa_tables)
{
	const uint8_t *p;

	build(&flat, &t);
	cr_assert_null(find(&t, "SRAT"));
	cr_assert_null(find(&t, "SLIT"));
	p = find(&t, "APIC");
	cr_assert_eq(entries(p, MADT_FROM, 0), 3);
	for (unsigned i = 0; i < 3; i++) {
		const uint8_t *cpu = entry(p, MADT_FROM, 0, i);

		cr_assert_eq(cpu[2], i);
		cr_assert_eq(cpu[3], i);
		cr_assert_eq(le(cpu + 4, 4), 1);
	}
}

Test(acpi, madt)
{
	const uint8_t *p, *cpu, *io, *nmi;

	build(&numa, &t);
	p = find(&t, "APIC");
	cr_assert_eq(le(p + 36, 4), LAYOUT_LAPIC);
	cr_assert_eq(le(p + 40, 4), 0, "an 8259 is promised");
	cr_assert_eq(entries(p, MADT_FROM, 0), 2);
	cr_assert_eq(entries(p, MADT_FROM, 9), 2, "ids from 255 on need the x2APIC form");
	cpu = entry(p, MADT_FROM, 0, 1);
	cr_assert_eq(cpu[2], 1);
	cr_assert_eq(cpu[3], 254);
	cpu = entry(p, MADT_FROM, 9, 0);
	cr_assert_eq(le(cpu + 4, 4), 300);
	cr_assert_eq(le(cpu + 8, 4), 1);
	cr_assert_eq(le(cpu + 12, 4), 2);
	cpu = entry(p, MADT_FROM, 9, 1);
	cr_assert_eq(le(cpu + 4, 4), 255);
	cr_assert_eq(le(cpu + 12, 4), 3);
	cr_assert_eq(entries(p, MADT_FROM, 1), 1);
	io = entry(p, MADT_FROM, 1, 0);
	cr_assert_eq(le(io + 4, 4), LAYOUT_IOAPIC);
	cr_assert_eq(le(io + 8, 4), 0);
	nmi = entry(p, MADT_FROM, 4, 0);
	cr_assert(nmi && nmi[2] == 0xff && nmi[5] == 1);
	nmi = entry(p, MADT_FROM, 10, 0);
	cr_assert(nmi && le(nmi + 4, 4) == UINT32_MAX && nmi[8] == 1);
	cr_assert_eq(entries(p, MADT_FROM, 2), 0);
}

Test(acpi, mcfg)
{
	const uint8_t *p;

	build(&flat, &t);
	p = find(&t, "MCFG");
	cr_assert_eq(le(p + 4, 4), 60);
	cr_assert_eq(le(p + 44, 8), LAYOUT_ECAM);
	cr_assert_eq(le(p + 52, 2), 0);
	cr_assert_eq(p[54], 0);
	cr_assert_eq(p[55], LAYOUT_ECAM_BUSES - 1);
}

Test(acpi, srat_and_slit)
{
	const uint8_t *p, *cpu;

	build(&numa, &t);
	p = find(&t, "SRAT");
	cr_assert_eq(le(p + 36, 4), 1);
	cr_assert_eq(entries(p, SRAT_FROM, 0), 2);
	cr_assert_eq(entries(p, SRAT_FROM, 2), 2);
	cpu = entry(p, SRAT_FROM, 0, 0);
	cr_assert_eq(cpu[2], 1);
	cr_assert_eq(cpu[3], 4);
	cr_assert_eq(le(cpu + 4, 4), 1);
	cr_assert_eq(le(cpu + 9, 3), 0);
	cpu = entry(p, SRAT_FROM, 2, 0);
	cr_assert_eq(le(cpu + 4, 4), 0);
	cr_assert_eq(le(cpu + 8, 4), 300);
	cr_assert_eq(le(cpu + 12, 4), 1);
	cpu = entry(p, SRAT_FROM, 2, 1);
	cr_assert_eq(le(cpu + 4, 4), 2);
	cr_assert_eq(le(cpu + 8, 4), 255);
	cr_assert_eq(entries(p, SRAT_FROM, 1), 4);
	for (unsigned i = 0; i < 4; i++) {
		const uint8_t *memory = entry(p, SRAT_FROM, 1, i);

		cr_assert_eq(memory[1], 40);
		cr_assert_eq(le(memory + 2, 4), ranges[i].node);
		cr_assert_eq(le(memory + 8, 8), ranges[i].addr);
		cr_assert_eq(le(memory + 16, 8), ranges[i].bytes);
		cr_assert_eq(le(memory + 28, 4), 1);
	}
	p = find(&t, "SLIT");
	cr_assert_eq(le(p + 4, 4), 44 + 9);
	cr_assert_eq(le(p + 36, 8), 3);
	cr_assert_arr_eq(p + 44, distances, 9);
}

Test(acpi, rejected_machines)
{
	static const uint32_t same[] = { 4, 9, 300, 9 }, broadcast[] = { 4, 5, 6, UINT32_MAX };
	static const uint32_t bad_node[] = { 1, 2, 0, 3 };
	static const uint8_t self[] = { 10, 21, 31, 22, 11, 255, 32, 11, 10 };
	static const uint8_t near[] = { 10, 21, 31, 22, 10, 10, 32, 11, 10 };
	static const struct acpi_range in_hole[] = { { 0, 0xc0001000, 0 } };
	static const struct acpi_range around_hole[] = { { 0, 0x200000000, 0 } };
	static const struct acpi_range odd[] = { { 0, 0x1800, 0 } },
				       odd_at[] = { { 0x800, 0x1000, 0 } };
	static const struct acpi_range none[] = { { 0, 0, 0 } };
	static const struct acpi_range wraps[] = { { 0xfffffffffffff000, 0x2000, 0 } };
	static const struct acpi_range twice[] = { { 0x1000, 0x3000, 0 }, { 0x8000, 0x1000, 1 },
		{ 0x3000, 0x1000, 2 } };
	static const struct acpi_range nobody[] = { { 0, 0x1000, 3 } };
	static const struct {
		const char *what, *word;
		struct acpi_machine m;
	} table[] = {
		{ "no CPU", "0 CPUs", { .cpu_count = 0 } },
		{ "too many CPUs", "1025 CPUs", { .cpu_count = 1025 } },
		{ "one APIC id twice", "CPUs 1 and 3",
			{ 4, same, 3, cpu_nodes, 4, ranges, distances } },
		{ "broadcast id", "CPU 3", { 4, broadcast, 3, cpu_nodes, 4, ranges, distances } },
		{ "too many nodes", "65 vNUMA",
			{ 4, apic_ids, 65, cpu_nodes, 4, ranges, distances } },
		{ "CPU of no node", "node 3", { 4, apic_ids, 3, bad_node, 4, ranges, distances } },
		{ "no memory", "0 ranges", { 4, apic_ids, 3, cpu_nodes, 0, ranges, distances } },
		{ "many ranges", "257", { 4, apic_ids, 3, cpu_nodes, 257, ranges, distances } },
		{ "into the hole", "hole", { 4, apic_ids, 3, cpu_nodes, 1, in_hole, distances } },
		{ "over the hole", "hole",
			{ 4, apic_ids, 3, cpu_nodes, 1, around_hole, distances } },
		{ "half a page", "pages", { 4, apic_ids, 3, cpu_nodes, 1, odd, distances } },
		{ "not at a page", "pages", { 4, apic_ids, 3, cpu_nodes, 1, odd_at, distances } },
		{ "empty range", "pages", { 4, apic_ids, 3, cpu_nodes, 1, none, distances } },
		{ "wraps", "pages", { 4, apic_ids, 3, cpu_nodes, 1, wraps, distances } },
		{ "given twice", "nodes 0 and 2",
			{ 4, apic_ids, 3, cpu_nodes, 3, twice, distances } },
		{ "memory of no node", "node 3",
			{ 4, apic_ids, 3, cpu_nodes, 1, nobody, distances } },
		{ "self not 10", "node 1 to node 1",
			{ 4, apic_ids, 3, cpu_nodes, 4, ranges, self } },
		{ "as near as itself", "node 1 to node 2",
			{ 4, apic_ids, 3, cpu_nodes, 4, ranges, near } },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct err e = { 0 };

		cr_assert_eq(acpi_build(&table[i].m, BASE, t.bytes, ROOM, &t.used, &e), -EINVAL,
			"%s", table[i].what);
		cr_assert_eq(e.code, EXIT_INVALID);
		cr_assert(strstr(e.text, table[i].word), "%s: %s", table[i].what, e.text);
	}
}

Test(acpi, every_room_that_is_too_small_is_refused_and_not_left)
{
	size_t need;

	build(&numa, &t);
	need = t.used;
	for (size_t room = 0; room < need; room++) {
		uint8_t *buf = malloc(room ? room : 1); /* the sanitizer sees a write behind it */
		size_t used = 77;
		struct err e = { 0 };

		cr_assert_eq(
			acpi_build(&numa, BASE, buf, room, &used, &e), -EINVAL, "%zu bytes", room);
		cr_assert_eq(used, 77);
		free(buf);
	}
}

Test(acpi, the_biggest_machine_fits)
{
	static uint32_t nodes[ACPI_CPUS_MAX], ids[ACPI_CPUS_MAX];
	static struct acpi_range many[ACPI_RANGES_MAX];
	static uint8_t far[ACPI_NODES_MAX * ACPI_NODES_MAX];
	const struct acpi_machine m = { ACPI_CPUS_MAX, ids, ACPI_NODES_MAX, nodes, ACPI_RANGES_MAX,
		many, far };

	for (uint32_t i = 0; i < ACPI_CPUS_MAX; i++) {
		nodes[i] = i % ACPI_NODES_MAX;
		ids[i] = 255 + i;
	}
	for (uint32_t i = 0; i < ACPI_RANGES_MAX; i++)
		many[i] = (struct acpi_range){ 0x100000000 + i * 0x100000ull, 0x100000, i % 64 };
	for (uint32_t i = 0; i < sizeof(far); i++)
		far[i] = i % 65 == 0 ? 10 : 20;
	build(&m, &t);
	cr_assert_eq(entries(find(&t, "APIC"), MADT_FROM, 9), ACPI_CPUS_MAX);
	cr_assert_eq(entries(find(&t, "SRAT"), SRAT_FROM, 2), ACPI_CPUS_MAX);
}

/* Does the DSDT hold this resource descriptor? */
static bool dsdt_has(const void *descriptor, size_t bytes)
{
	const uint8_t *p = table_at(&t, le(find(&t, "FACP") + 140, 8));

	return memmem(p, le(p + 4, 4), descriptor, bytes) != NULL;
}

static void put(uint8_t *p, uint64_t v, int bytes)
{
	for (int i = 0; i < bytes; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

/* The AML was made from layout.h by a chain of tools: look at what came out. */
Test(acpi, dsdt_agrees_with_the_layout)
{
	uint8_t io[8] = { 0x47, 1 };
	uint8_t irq[9] = { 0x89, 6, 0, 0x03, 1 }; /* consumer, edge, active high, exclusive */
	uint8_t ecam[12] = { 0x86, 9, 0, 1 };
	uint8_t window[26] = { 0x87, 23, 0, 0, 0x0c, 1 };
	uint8_t buses[16] = { 0x88, 13, 0, 2, 0x0c, 0 };
	uint8_t region[] = { 0x5b, 0x80, 'E', 'V', 'T', 'S', 1, 0x0b, 0, 0, 0x01 };

	build(&flat, &t);
	put(io + 2, LAYOUT_PORT_UART, 2);
	put(io + 4, LAYOUT_PORT_UART, 2);
	io[6] = 1;
	io[7] = LAYOUT_PORT_UART_BYTES;
	cr_assert(dsdt_has(io, sizeof(io)), "ports of the UART");
	put(irq + 5, LAYOUT_GSI_UART, 4);
	cr_assert(dsdt_has(irq, sizeof(irq)), "interrupt of the UART");
	put(irq + 5, LAYOUT_GSI_EVENTS, 4);
	cr_assert(dsdt_has(irq, sizeof(irq)), "interrupt of the events");
	put(ecam + 4, LAYOUT_ECAM, 4);
	put(ecam + 8, LAYOUT_ECAM_BYTES, 4);
	cr_assert(dsdt_has(ecam, sizeof(ecam)), "ECAM");
	put(window + 10, LAYOUT_PCI_MMIO, 4);
	put(window + 14, LAYOUT_PCI_MMIO + LAYOUT_PCI_MMIO_BYTES - 1, 4);
	put(window + 22, LAYOUT_PCI_MMIO_BYTES, 4);
	cr_assert(dsdt_has(window, sizeof(window)), "memory window");
	put(buses + 10, LAYOUT_ECAM_BUSES - 1, 2);
	put(buses + 14, LAYOUT_ECAM_BUSES, 2);
	cr_assert(dsdt_has(buses, sizeof(buses)), "buses");
	put(region + 8, LAYOUT_PORT_EVENTS, 2);
	cr_assert(dsdt_has(region, sizeof(region)), "port of the events");
}

/* Runs a command; its output goes to `text`. It has to succeed. */
static void output_of(const char *command, char *text, size_t room)
{
	FILE *f = popen(command, "r");
	size_t n = 0, got;

	cr_assert(f);
	while (n < room - 1 && (got = fread(text + n, 1, room - 1 - n, f)) > 0)
		n += got;
	text[n] = 0;
	cr_assert_eq(pclose(f), 0, "%s: %s", command, text);
}

static void dump(const uint8_t *table, const char *dir, const char *name)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.aml", dir, name);
	f = fopen(path, "wb");
	cr_assert(f);
	cr_assert_eq(fwrite(table, 1, le(table + 4, 4), f), le(table + 4, 4));
	cr_assert_eq(fclose(f), 0);
}

static void folder_remove(const char *dir)
{
	char command[64], text[64];

	snprintf(command, sizeof(command), "rm -r %s", dir);
	output_of(command, text, sizeof(text));
}

/* ACPICA's disassembler has to understand every table. */
Test(acpi, iasl_disassembles_every_table_without_complaint)
{
	static const char *const names[] = { "FACP", "APIC", "MCFG", "SRAT", "SLIT" };
	static char text[65536];
	char dir[] = "/tmp/cv-acpi-XXXXXX", command[256];

	cr_assert(mkdtemp(dir));
	build(&numa, &t);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		dump(find(&t, names[i]), dir, names[i]);
	dump(xsdt_of(&t), dir, "XSDT");
	dump(table_at(&t, le(find(&t, "FACP") + 140, 8)), dir, "DSDT");
	snprintf(command, sizeof(command),
		"cd %s && for f in *.aml; do iasl -d $f 2>&1 && test -s ${f%%.aml}.dsl || exit 1; "
		"done",
		dir);
	output_of(command, text, sizeof(text));
	cr_assert_not(strstr(text, "Warning") || strstr(text, "rror"), "%s", text);
	/* Nor did it note a field that it can't explain or a sum that it would correct. */
	snprintf(command, sizeof(command),
		"cd %s && ! grep -E 'ncorrect|nvalid|nknown (Sub|[Tt]able)|should be' *.dsl", dir);
	output_of(command, text, sizeof(text));
	folder_remove(dir);
}

/* Runs methods of the DSDT in ACPICA's interpreter. Whatever port they read gives `port`. */
static void acpiexec(const char *commands, int port, char *text, size_t room)
{
	char dir[] = "/tmp/cv-acpi-XXXXXX", command[1024];

	cr_assert(mkdtemp(dir));
	build(&flat, &t);
	dump(table_at(&t, le(find(&t, "FACP") + 140, 8)), dir, "DSDT");
	snprintf(command, sizeof(command), "acpiexec -fv %d -b '%s' %s/DSDT.aml 2>&1", port,
		commands, dir);
	output_of(command, text, room);
	cr_assert_not(strstr(text, "AE_"), "%s: %s", commands, text);
	folder_remove(dir);
}

Test(acpi, the_dsdt_runs)
{
	/*
	 * The 16 bytes name the interface, 33DB4D5B-1FF7-401C-9657-7441C03DD766 in the PCI
	 * Firmware Specification and in Linux; then revision, number of words, words.
	 */
#define OSC(last, rest)                                                                            \
	";evaluate \\_SB.PCI0._OSC (5B 4D DB 33 F7 1F 1C 40 96 57 74 41 C0 3D D7 " last ") " rest
	static const char commands[] =
		"evaluate \\_S5" OSC("66", "1 3 (00 00 00 00 00 00 00 00 FF 01 00 00)")
			OSC("66", "1 3 (00 00 00 00 00 00 00 00 1D 00 00 00)")
				OSC("66", "2 3 (00 00 00 00 00 00 00 00 1C 00 00 00)")
					OSC("66", "1 2 (00 00 00 00 00 00 00 00)") OSC(
						"67", "1 3 (00 00 00 00 00 00 00 00 1B 00 00 00)");
	static const struct {
		const char *what, *word;
	} wanted[] = {
		{ "sleep type", "[Integer] = 0000000000000005" },
		{ "more features than there are", "0000: 10 00 00 00 00 00 00 00 1F 00 00 00" },
		{ "features that there are", "0000: 00 00 00 00 00 00 00 00 1D 00 00 00" },
		{ "another revision", "0000: 08 00 00 00 00 00 00 00 1C 00 00 00" },
		{ "too short", "0000: 02 00 00 00 00 00 00 00  " },
		{ "another interface", "0000: 04 00 00 00 00 00 00 00 1B 00 00 00" },
	};
	static char text[65536];

	acpiexec(commands, 0, text, sizeof(text));
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		cr_assert(strstr(text, wanted[i].word), "%s: %s", wanted[i].what, text);
}

Test(acpi, the_power_button_is_heard_when_its_bit_is_set)
{
	static char text[65536];

	acpiexec("evaluate \\_SB.GED._EVT 5", LAYOUT_EVENT_POWER_BUTTON, text, sizeof(text));
	cr_assert(strstr(text, "Notify on [PWRB]"), "%s", text);
	acpiexec(
		"evaluate \\_SB.GED._EVT 5", 0xff & ~LAYOUT_EVENT_POWER_BUTTON, text, sizeof(text));
	cr_assert_not(strstr(text, "Notify on"), "%s", text);
}
