/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/boot/acpi.h"

#include "dsdt_aml.h"
#include "monitor/boot/acpi_table.h"
#include "monitor/layout.h"
#include "numa/check.h"

#include <inttypes.h>

/* RSDP (ACPI 6.4, 5.2.5.3) */
#define RSDP_BYTES 36u
#define RSDP_V1_BYTES 20u
#define RSDP_CHECKSUM 8u
#define RSDP_XSDT 24u
#define RSDP_EXT_CHECKSUM 32u

#define XSDT_ENTRIES_MAX 8u

/* FADT (5.2.9): offsets of what is not 0. */
#define FADT_BYTES 276u
#define FADT_DSDT 40u
#define FADT_PROFILE 45u
#define FADT_BOOT_ARCH 109u
#define FADT_FLAGS 112u
#define FADT_RESET_REG 116u
#define FADT_RESET_VALUE 128u
#define FADT_MINOR 131u
#define FADT_X_DSDT 140u
#define FADT_SLEEP_CONTROL 244u
#define FADT_SLEEP_STATUS 256u

#define PROFILE_ENTERPRISE_SERVER 4u
/* No 8042 and no legacy devices by bits that are 0; MSI is fine likewise. */
#define BOOT_ARCH_NO_VGA 0x04u
#define BOOT_ARCH_NO_ASPM 0x10u
#define BOOT_ARCH_NO_CMOS_RTC 0x20u
#define FLAG_WBINVD 0x1u
#define FLAG_NO_FIXED_POWER_BUTTON 0x10u
#define FLAG_NO_FIXED_SLEEP_BUTTON 0x20u
#define FLAG_RESET_REG 0x400u
#define FLAG_HW_REDUCED 0x100000u

/* Generic address structure (5.2.3.2) of a byte-wide port. */
#define GAS_SYSTEM_IO 1u
#define GAS_BYTE_ACCESS 1u

/* MADT (5.2.12) */
#define MADT_LAPIC 0u
#define MADT_LAPIC_BYTES 8u
#define MADT_IOAPIC 1u
#define MADT_IOAPIC_BYTES 12u
#define MADT_LAPIC_NMI 4u
#define MADT_LAPIC_NMI_BYTES 6u
#define MADT_X2APIC 9u
#define MADT_X2APIC_BYTES 16u
#define MADT_X2APIC_NMI 10u
#define MADT_X2APIC_NMI_BYTES 12u
#define MADT_ENABLED 1u
#define MADT_NMI_LINT 1u

uint32_t acpi_apic_id(const struct acpi_machine *m, uint32_t cpu)
{
	return m->cpu_apic_id ? m->cpu_apic_id[cpu] : cpu;
}

bool acpi_is_x2apic(uint32_t apic_id)
{
	return apic_id >= 255; /* 255 is the broadcast of the short form */
}

static int machine_check(const struct acpi_machine *m, struct err *e)
{
	if (m->cpu_count == 0 || m->cpu_count > ACPI_CPUS_MAX)
		return err_set(e, EXIT_INVALID, "a guest with %u CPUs; 1 to %u can be had",
			m->cpu_count, ACPI_CPUS_MAX);
	for (uint32_t i = 0; m->cpu_apic_id && i < m->cpu_count; i++) {
		if (m->cpu_apic_id[i] == UINT32_MAX)
			return err_set(
				e, EXIT_INVALID, "CPU %u has the APIC id of the broadcast", i);
		for (uint32_t j = 0; j < i; j++) {
			if (m->cpu_apic_id[i] == m->cpu_apic_id[j])
				return err_set(e, EXIT_INVALID,
					"CPUs %u and %u have the same APIC id %u", j, i,
					m->cpu_apic_id[i]);
		}
	}
	return m->node_count > 0 ? acpi_numa_check(m, e) : 0;
}

static void put_port(struct acpi_out *o, size_t at, uint32_t port)
{
	acpi_set(o, at, GAS_SYSTEM_IO, 1);
	acpi_set(o, at + 1, 8, 1); /* bits */
	acpi_set(o, at + 3, GAS_BYTE_ACCESS, 1);
	acpi_set(o, at + 4, port, 8);
}

static size_t fadt(struct acpi_out *o, uint64_t dsdt_addr)
{
	size_t table = acpi_begin(o, "FACP", 6);

	acpi_put_zeros(o, FADT_BYTES - ACPI_HEADER_BYTES);
	acpi_set(o, table + FADT_MINOR, 3, 1);
	acpi_set(o, table + FADT_DSDT, dsdt_addr, 4);
	acpi_set(o, table + FADT_X_DSDT, dsdt_addr, 8);
	acpi_set(o, table + FADT_PROFILE, PROFILE_ENTERPRISE_SERVER, 1);
	acpi_set(o, table + FADT_BOOT_ARCH,
		BOOT_ARCH_NO_VGA | BOOT_ARCH_NO_ASPM | BOOT_ARCH_NO_CMOS_RTC, 2);
	acpi_set(o, table + FADT_FLAGS,
		FLAG_WBINVD | FLAG_NO_FIXED_POWER_BUTTON | FLAG_NO_FIXED_SLEEP_BUTTON |
			FLAG_RESET_REG | FLAG_HW_REDUCED,
		4);
	put_port(o, table + FADT_RESET_REG, LAYOUT_PORT_RESET);
	acpi_set(o, table + FADT_RESET_VALUE, LAYOUT_RESET_VALUE, 1);
	put_port(o, table + FADT_SLEEP_CONTROL, LAYOUT_PORT_SLEEP_CONTROL);
	put_port(o, table + FADT_SLEEP_STATUS, LAYOUT_PORT_SLEEP_STATUS);
	acpi_end(o, table);
	return table;
}

static bool madt_cpu(struct acpi_out *o, uint32_t uid, uint32_t apic_id)
{
	if (acpi_is_x2apic(apic_id)) {
		acpi_put8(o, MADT_X2APIC);
		acpi_put8(o, MADT_X2APIC_BYTES);
		acpi_put16(o, 0);
		acpi_put32(o, apic_id);
		acpi_put32(o, MADT_ENABLED);
		acpi_put32(o, uid);
		return true;
	}
	acpi_put8(o, MADT_LAPIC);
	acpi_put8(o, MADT_LAPIC_BYTES);
	acpi_put8(o, uid);
	acpi_put8(o, apic_id);
	acpi_put32(o, MADT_ENABLED);
	return false;
}

static size_t madt(struct acpi_out *o, const struct acpi_machine *m)
{
	size_t table = acpi_begin(o, "APIC", 5);
	bool x2apic = false;

	acpi_put32(o, (uint32_t)LAYOUT_LAPIC);
	acpi_put32(o, 0); /* flags: no 8259 */
	for (uint32_t i = 0; i < m->cpu_count; i++)
		x2apic |= madt_cpu(o, i, acpi_apic_id(m, i));
	acpi_put8(o, MADT_IOAPIC);
	acpi_put8(o, MADT_IOAPIC_BYTES);
	acpi_put8(o, 0); /* id */
	acpi_put8(o, 0);
	acpi_put32(o, (uint32_t)LAYOUT_IOAPIC);
	acpi_put32(o, 0); /* first GSI */
	/* NMIs come in at LINT1 of every CPU; no legacy interrupt is wired otherwise. */
	acpi_put8(o, MADT_LAPIC_NMI);
	acpi_put8(o, MADT_LAPIC_NMI_BYTES);
	acpi_put8(o, 0xff);
	acpi_put16(o, 0);
	acpi_put8(o, MADT_NMI_LINT);
	if (x2apic) {
		acpi_put8(o, MADT_X2APIC_NMI);
		acpi_put8(o, MADT_X2APIC_NMI_BYTES);
		acpi_put16(o, 0);
		acpi_put32(o, UINT32_MAX);
		acpi_put8(o, MADT_NMI_LINT);
		acpi_put8(o, 0);
		acpi_put16(o, 0);
	}
	acpi_end(o, table);
	return table;
}

static size_t mcfg(struct acpi_out *o)
{
	size_t table = acpi_begin(o, "MCFG", 1);

	acpi_put64(o, 0);
	acpi_put64(o, LAYOUT_ECAM);
	acpi_put16(o, 0); /* segment */
	acpi_put8(o, 0);  /* first and last bus */
	acpi_put8(o, LAYOUT_ECAM_BUSES - 1);
	acpi_put32(o, 0);
	acpi_end(o, table);
	return table;
}

static void rsdp(struct acpi_out *o)
{
	acpi_put_bytes(o, "RSD PTR ", 8);
	acpi_put8(o, 0); /* checksum */
	acpi_put_bytes(o, "CELLVR", 6);
	acpi_put8(o, 2);  /* revision */
	acpi_put32(o, 0); /* no RSDT */
	acpi_put32(o, RSDP_BYTES);
	acpi_put64(o, 0); /* XSDT */
	acpi_put32(o, 0); /* checksum of all */
}

int acpi_build(const struct acpi_machine *m, uint64_t base, uint8_t *buf, size_t buf_bytes,
	size_t *used, struct err *e)
{
	struct acpi_out o = { .buf = buf, .room = buf_bytes };
	size_t tables[XSDT_ENTRIES_MAX];
	uint32_t n = 0;
	size_t xsdt, dsdt;
	int rc = machine_check(m, e);

	CHECK(base % 16 == 0 && base < UINT32_MAX && buf_bytes <= UINT32_MAX - base);
	if (rc)
		return rc;
	rsdp(&o);
	acpi_align(&o, 16);
	dsdt = o.at;
	acpi_put_bytes(&o, dsdt_aml, sizeof(dsdt_aml));

	tables[n++] = fadt(&o, base + dsdt);
	tables[n++] = madt(&o, m);
	tables[n++] = mcfg(&o);
	if (m->node_count > 0) {
		tables[n++] = acpi_srat(&o, m);
		tables[n++] = acpi_slit(&o, m);
	}
	xsdt = acpi_begin(&o, "XSDT", 1);
	for (uint32_t i = 0; i < n; i++)
		acpi_put64(&o, base + tables[i]);
	acpi_end(&o, xsdt);

	acpi_set(&o, RSDP_XSDT, base + xsdt, 8);
	acpi_sum(&o, 0, RSDP_V1_BYTES, RSDP_CHECKSUM);
	acpi_sum(&o, 0, RSDP_BYTES, RSDP_EXT_CHECKSUM);
	if (o.full)
		return err_set(e, EXIT_INVALID,
			"ACPI tables for %u CPUs and %u vNUMA nodes don't fit into %zu bytes",
			m->cpu_count, m->node_count, buf_bytes);
	*used = o.at;
	return 0;
}
