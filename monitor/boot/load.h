/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_BOOT_LOAD_H
#define CELLVISOR_MONITOR_BOOT_LOAD_H

#include "monitor/boot/acpi.h"
#include "monitor/boot/bzimage.h"
#include "monitor/err.h"
#include "monitor/gpa.h"

#include <stdint.h>

/*
 * Loads a Linux kernel, an initrd and all that the 64-bit boot protocol wants
 * into guest RAM. The files are opened and judged once; a reboot loads them
 * again from the same descriptors, so it needs no path and finds the same
 * bytes even if a package upgrade replaced the files meanwhile.
 */

struct boot_image {
	int kernel_fd;
	int initrd_fd; /* -1: no initrd */
	uint64_t initrd_bytes;
	struct bzimage kernel;
	const char *kernel_path; /* borrowed, for error texts */
	const char *initrd_path;
};

/*
 * Opens both files and judges them. The paths are borrowed until
 * boot_image_fini; initrd_path may be NULL. Returns 0, or a negative errno with
 * *e filled (EXIT_INVALID for whatever is wrong with a file) and nothing open.
 */
int boot_image_init(
	struct boot_image *i, const char *kernel_path, const char *initrd_path, struct err *e);

/* Closes the files. */
void boot_image_fini(struct boot_image *i);

/*
 * Would it fit into a guest with `ram_bytes` of RAM, and is the command line
 * short enough? To be asked before RAM is created; boot_load would give the same
 * answer. Returns 0 or -EINVAL (EXIT_INVALID, "at least N MiB").
 */
int boot_image_fits(
	const struct boot_image *i, uint64_t ram_bytes, const char *cmdline, struct err *e);

/* A segment register as the guest's first instruction finds it; base 0, limit 4 GiB - 1. */
struct boot_segment {
	uint16_t selector;
	uint8_t type; /* of the descriptor: 0xb code, 0x3 data */
	uint8_t l;    /* 64-bit code */
	uint8_t db;
};

/*
 * State of the boot CPU at the kernel's 64-bit entry. Segments are present, DPL
 * 0, S and G set. Whatever is not here stays as after reset (IDT, TR, LDT, the
 * other general registers 0). The other CPUs wait for their SIPI.
 */
struct boot_cpu {
	uint64_t rip, rsp, rsi, rflags;
	uint64_t cr0, cr3, cr4, efer;
	uint64_t gdt_base;
	uint16_t gdt_limit;
	struct boot_segment cs;
	struct boot_segment ds; /* also es, fs, gs, ss */
};

struct boot_args {
	const struct ram_map *ram; /* first region at 0; no vCPU runs */
	const char *cmdline;
	const struct acpi_machine *machine; /* for the ACPI tables */
};

/*
 * Fills guest RAM and says how to enter. Kernel and initrd are read straight
 * into it. Returns 0; -EINVAL (EXIT_INVALID) as boot_image_fits and acpi_build
 * do, or if a file shrank since it was opened; -EIO (EXIT_ENVIRONMENT) if RAM to
 * be filled was lost to a memory error; another negative errno
 * (EXIT_INVALID) if reading failed. After a failure RAM holds anything.
 */
int boot_load(
	const struct boot_image *i, const struct boot_args *a, struct boot_cpu *cpu, struct err *e);

#endif
