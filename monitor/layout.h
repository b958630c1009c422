/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_LAYOUT_H
#define CELLVISOR_MONITOR_LAYOUT_H

/*
 * The guest's physical address map, I/O ports and interrupt numbers: agreed
 * between the ACPI tables (boot), the devices and the guest process. Sizes and
 * addresses in bytes.
 */

/* RAM: [0, LAYOUT_LOW_RAM_END), the rest from 4 GiB on. */
#define LAYOUT_LOW_RAM_END 0xc0000000ull
#define LAYOUT_HIGH_RAM 0x100000000ull

/* Usable base memory ends below the EBDA; ACPI tables lie in the BIOS area. */
#define LAYOUT_BASE_RAM_END 0x9fc00ull
#define LAYOUT_ACPI 0xe0000ull
#define LAYOUT_ACPI_BYTES 0x1f000ull
/* Where a PC's CPU begins after reset, and where Linux jumps to reboot when all else fails. */
#define LAYOUT_RESET_VECTOR 0xffff0ull
#define LAYOUT_EXT_RAM 0x100000ull

/* What the boot loader puts into low memory. */
#define LAYOUT_BOOT_GDT 0x500ull
#define LAYOUT_BOOT_PARAMS 0x7000ull
#define LAYOUT_BOOT_PAGE_TABLES 0x9000ull
#define LAYOUT_BOOT_CMDLINE 0x20000ull
#define LAYOUT_BOOT_STACK 0x8ff0ull

/* PCI: 32-bit window for BARs, then ECAM of segment 0, 1 MiB per bus. */
#define LAYOUT_PCI_MMIO 0xc0000000ull
#define LAYOUT_PCI_MMIO_BYTES 0x20000000ull
#define LAYOUT_ECAM 0xe0000000ull
#define LAYOUT_ECAM_BUSES 16u
#define LAYOUT_ECAM_BYTES (LAYOUT_ECAM_BUSES * 0x100000ull)

#define LAYOUT_IOAPIC 0xfec00000ull
#define LAYOUT_LAPIC 0xfee00000ull
/* KVM on Intel wants three pages for its TSS and one for an identity map. */
#define LAYOUT_KVM_IDENTITY_MAP 0xfeffc000ull
#define LAYOUT_KVM_TSS 0xfeffd000ull

/* Ports of the ACPI hardware-reduced registers (ACPI 6.4, 4.8.3.7) and events. */
#define LAYOUT_PORT_SLEEP_CONTROL 0x600
#define LAYOUT_PORT_SLEEP_STATUS 0x601
#define LAYOUT_PORT_RESET 0x602
#define LAYOUT_RESET_VALUE 0x06
#define LAYOUT_SLEEP_TYPE_S5 5
/* Read: pending events, cleared by the read. Bit 0: power button. */
#define LAYOUT_PORT_EVENTS 0x608
#define LAYOUT_EVENT_POWER_BUTTON 0x01

#define LAYOUT_PORT_UART 0x3f8
#define LAYOUT_PORT_UART_BYTES 8

/* GSIs. 0..23 are pins of the one IOAPIC; MSI routes are numbered from 24. */
#define LAYOUT_GSI_UART 4u
#define LAYOUT_GSI_EVENTS 5u
#define LAYOUT_IOAPIC_PINS 24u
#define LAYOUT_GSI_MSI 24u
#define LAYOUT_MSI_ROUTES 1024u

#endif
