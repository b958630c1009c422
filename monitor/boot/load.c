/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/boot/load.h"

#include "monitor/boot/initrd.h"
#include "monitor/boot/place.h"
#include "monitor/layout.h"
#include "numa/check.h"

#include <asm/bootparam.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE 4096ull
#define TABLE_ENTRIES (PAGE / sizeof(uint64_t))
/* Identity map of the first 4 GiB: PML4, PDPT and one directory per GiB, 2 MiB pages. */
#define MAP_GIB 4ull
#define MAP_TABLES (2u + MAP_GIB)
#define PTE_PRESENT_WRITE 0x3ull
#define PTE_LARGE 0x80ull
#define LARGE_PAGE_SHIFT 21u

#define ENTRY_64 0x200u /* behind the start of the protected-mode part */
#define LOADER_UNDEFINED 0xffu
#define VID_MODE_NORMAL 0xffffu

/* The boot protocol fixes these two selectors. */
#define SELECTOR_CS 0x10u
#define SELECTOR_DS 0x18u
#define SEGMENT_CODE 0xbu /* execute, read, accessed */
#define SEGMENT_DATA 0x3u /* read, write, accessed */

#define CR0_PE_ET_NE 0x31ull
#define CR0_PG 0x80000000ull
#define CR4_PAE 0x20ull
#define EFER_LME_LMA 0x500ull
#define RFLAGS_FIXED 0x2ull

#define CMDLINE_ROOM (LAYOUT_BASE_RAM_END - LAYOUT_BOOT_CMDLINE)

_Static_assert(sizeof(struct boot_params) == PAGE, "boot_params is one page");
_Static_assert(LAYOUT_BOOT_PAGE_TABLES + MAP_TABLES * PAGE <= LAYOUT_BOOT_CMDLINE,
	"the page tables reach into the command line");
_Static_assert(LAYOUT_BOOT_PARAMS + PAGE < LAYOUT_BOOT_STACK &&
		       LAYOUT_BOOT_STACK < LAYOUT_BOOT_PAGE_TABLES,
	"the stack lies between boot_params and the page tables");
_Static_assert(BOOT_E820_MAX <= E820_MAX_ENTRIES_ZEROPAGE, "the memory map fits boot_params");

/* Opens a regular file for reading; returns its descriptor and its size. */
static int file_open(const char *path, const char *what, uint64_t *bytes, struct err *e)
{
	struct stat st;
	/* Without O_NONBLOCK a FIFO would keep us waiting for its writer. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0) {
		int rc = -errno;

		(void)err_set(e, EXIT_INVALID, "%s %s: %s", what, path, strerrordesc_np(-rc));
		return rc;
	}
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		(void)close(fd);
		return err_set(e, EXIT_INVALID, "%s %s is %s; a file is needed", what, path,
			S_ISDIR(st.st_mode) ? "a folder" : "not a regular file");
	}
	*bytes = (uint64_t)st.st_size;
	return fd;
}

/* Reads all `bytes` bytes at `off`; *e is filled on failure. */
static int read_all(int fd, const char *what, const char *path, uint64_t off, void *buf,
	size_t bytes, struct err *e)
{
	uint8_t *to = buf;

	while (bytes > 0) {
		ssize_t got = pread(fd, to, bytes, (off_t)off);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			int rc = -errno;

			(void)err_set(e, EXIT_INVALID, "%s %s: reading at offset %" PRIu64 ": %s",
				what, path, off, strerrordesc_np(-rc));
			return rc;
		}
		if (got == 0)
			return err_set(e, EXIT_INVALID,
				"%s %s is truncated: it ends at offset %" PRIu64 " now", what, path,
				off);
		to += got;
		off += (uint64_t)got;
		bytes -= (size_t)got;
	}
	return 0;
}

struct initrd_file {
	int fd;
	const char *path;
	struct err *e;
};

static int initrd_read(void *ctx, uint64_t off, void *buf, size_t bytes)
{
	const struct initrd_file *f = ctx;

	return read_all(f->fd, "initrd", f->path, off, buf, bytes, f->e);
}

static int kernel_init(struct boot_image *i, struct err *e)
{
	uint8_t head[BZIMAGE_HEAD_BYTES];
	uint64_t bytes = 0;
	size_t head_bytes;
	int rc;

	rc = file_open(i->kernel_path, "kernel", &bytes, e);
	if (rc < 0)
		return rc;
	i->kernel_fd = rc;
	head_bytes = bytes < sizeof(head) ? (size_t)bytes : sizeof(head);
	rc = read_all(i->kernel_fd, "kernel", i->kernel_path, 0, head, head_bytes, e);
	if (!rc)
		rc = bzimage_parse(head, head_bytes, bytes, i->kernel_path, &i->kernel, e);
	if (rc)
		(void)close(i->kernel_fd);
	return rc;
}

static int initrd_init(struct boot_image *i, struct err *e)
{
	struct initrd_file f;
	struct initrd_source s;
	int rc;

	rc = file_open(i->initrd_path, "initrd", &i->initrd_bytes, e);
	if (rc < 0)
		return rc;
	i->initrd_fd = rc;
	f = (struct initrd_file){ .fd = i->initrd_fd, .path = i->initrd_path, .e = e };
	s = (struct initrd_source){
		.read = initrd_read, .ctx = &f, .bytes = i->initrd_bytes, .name = i->initrd_path
	};
	rc = initrd_check(&s, e);
	if (rc)
		(void)close(i->initrd_fd);
	return rc;
}

int boot_image_init(
	struct boot_image *i, const char *kernel_path, const char *initrd_path, struct err *e)
{
	int rc;

	*i = (struct boot_image){ .kernel_fd = -1,
		.initrd_fd = -1,
		.kernel_path = kernel_path,
		.initrd_path = initrd_path };
	rc = kernel_init(i, e);
	if (rc)
		return rc;
	if (!initrd_path)
		return 0;
	rc = initrd_init(i, e);
	if (rc)
		(void)close(i->kernel_fd);
	return rc;
}

void boot_image_fini(struct boot_image *i)
{
	(void)close(i->kernel_fd);
	if (i->initrd_fd >= 0)
		(void)close(i->initrd_fd);
	i->kernel_fd = i->initrd_fd = -1;
}

static int cmdline_check(const struct boot_image *i, const char *cmdline, struct err *e)
{
	size_t max =
		i->kernel.cmdline_max < CMDLINE_ROOM ? i->kernel.cmdline_max : CMDLINE_ROOM - 1;
	size_t bytes = strlen(cmdline);

	if (bytes > max)
		return err_set(e, EXIT_INVALID,
			"the kernel's command line has %zu characters; kernel %s takes %zu at most",
			bytes, i->kernel_path, max);
	return 0;
}

int boot_image_fits(
	const struct boot_image *i, uint64_t ram_bytes, const char *cmdline, struct err *e)
{
	uint64_t low = ram_bytes < LAYOUT_LOW_RAM_END ? ram_bytes : LAYOUT_LOW_RAM_END;
	struct boot_place place;
	int rc = boot_place(&i->kernel, i->initrd_bytes, low, &place, e);

	return rc ? rc : cmdline_check(i, cmdline, e);
}

/* Reads file contents straight into guest RAM, whatever its regions. */
static int ram_fill(const struct ram_map *m, struct gpa to, int fd, const char *what,
	const char *path, uint64_t off, uint64_t bytes, struct err *e)
{
	while (bytes > 0) {
		struct iovec iov[RAM_REGIONS_MAX];
		uint32_t n = ram_iov(m, to, bytes, iov, RAM_REGIONS_MAX);
		ssize_t got;

		CHECK(n > 0); /* boot_place chose RAM */
		got = preadv(fd, iov, (int)n, (off_t)off);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			int rc = -errno;

			(void)err_set(e, EXIT_INVALID, "%s %s: reading at offset %" PRIu64 ": %s",
				what, path, off, strerrordesc_np(-rc));
			return rc;
		}
		if (got == 0)
			return err_set(e, EXIT_INVALID,
				"%s %s is truncated: it ends at offset %" PRIu64 " now", what, path,
				off);
		to.addr += (uint64_t)got;
		off += (uint64_t)got;
		bytes -= (uint64_t)got;
	}
	return 0;
}

/* Low RAM below the EBDA is there: boot_place demanded more. False if a page was lost. */
static bool ram_put(const struct ram_map *m, uint64_t to, const void *src, size_t bytes)
{
	return ram_write(m, (struct gpa){ to }, src, bytes);
}

static bool put_page_tables(const struct ram_map *m)
{
	uint64_t tables[MAP_TABLES][TABLE_ENTRIES] = { 0 };

	tables[0][0] = (LAYOUT_BOOT_PAGE_TABLES + PAGE) | PTE_PRESENT_WRITE;
	for (uint64_t gib = 0; gib < MAP_GIB; gib++) {
		tables[1][gib] = (LAYOUT_BOOT_PAGE_TABLES + (2 + gib) * PAGE) | PTE_PRESENT_WRITE;
		for (uint64_t i = 0; i < TABLE_ENTRIES; i++)
			tables[2 + gib][i] = (gib * TABLE_ENTRIES + i) << LARGE_PAGE_SHIFT |
					     PTE_LARGE | PTE_PRESENT_WRITE;
	}
	return ram_put(m, LAYOUT_BOOT_PAGE_TABLES, tables, sizeof(tables));
}

static bool put_params(
	const struct boot_image *i, const struct boot_args *a, const struct boot_place *p)
{
	struct boot_params params = { 0 };
	struct boot_e820 map[BOOT_E820_MAX];

	memcpy((uint8_t *)&params + BZIMAGE_HEADER, i->kernel.header, i->kernel.header_bytes);
	params.hdr.type_of_loader = LOADER_UNDEFINED;
	params.hdr.vid_mode = VID_MODE_NORMAL;
	params.hdr.setup_data = 0;
	params.hdr.cmd_line_ptr = (uint32_t)LAYOUT_BOOT_CMDLINE;
	params.hdr.code32_start = (uint32_t)p->kernel.addr;
	params.hdr.ramdisk_image = (uint32_t)p->initrd.addr;
	params.hdr.ramdisk_size = (uint32_t)i->initrd_bytes;
	params.acpi_rsdp_addr = LAYOUT_ACPI;
	params.e820_entries = (uint8_t)boot_e820(a->ram, map);
	for (uint32_t n = 0; n < params.e820_entries; n++)
		params.e820_table[n] = (struct boot_e820_entry){
			.addr = map[n].addr, .size = map[n].bytes, .type = map[n].type
		};
	return ram_put(a->ram, LAYOUT_BOOT_PARAMS, &params, sizeof(params)) &&
	       ram_put(a->ram, LAYOUT_BOOT_CMDLINE, a->cmdline, strlen(a->cmdline) + 1);
}

static int lost(struct err *e)
{
	(void)err_set(e, EXIT_ENVIRONMENT, "a page of low guest RAM was lost to a memory error");
	return -EIO;
}

static int put_acpi(const struct boot_args *a, struct err *e)
{
	uint8_t *tables = malloc(LAYOUT_ACPI_BYTES);
	size_t used = 0;
	int rc;

	if (!tables)
		return err_set(e, EXIT_FAILED, "out of memory for the guest's ACPI tables");
	rc = acpi_build(a->machine, LAYOUT_ACPI, tables, LAYOUT_ACPI_BYTES, &used, e);
	if (!rc && !ram_put(a->ram, LAYOUT_ACPI, tables, used))
		rc = lost(e);
	free(tables);
	return rc;
}

/*
 * All of our firmware: real-mode code at the reset vector that resets the machine.
 * With hardware-reduced ACPI Linux doesn't use the reset register by itself: it
 * asks EFI, and without EFI it jumps there (native_machine_emergency_restart()).
 */
static bool put_reset_vector(const struct ram_map *m)
{
	static const uint8_t code[] = {
		0xb0, LAYOUT_RESET_VALUE,				/* mov al, imm8 */
		0xba, LAYOUT_PORT_RESET & 0xff, LAYOUT_PORT_RESET >> 8, /* mov dx, imm16 */
		0xee,							/* out dx, al */
		0xf4,							/* hlt */
		0xeb, 0xfd,						/* jmp to the hlt */
	};

	return ram_put(m, LAYOUT_RESET_VECTOR, code, sizeof(code));
}

int boot_load(
	const struct boot_image *i, const struct boot_args *a, struct boot_cpu *cpu, struct err *e)
{
	static const uint64_t gdt[] = { 0, 0, 0x00af9b000000ffffull, 0x00cf93000000ffffull };
	const struct bzimage *k = &i->kernel;
	struct boot_place place;
	int rc;

	rc = boot_place(k, i->initrd_bytes, boot_low_ram(a->ram), &place, e);
	if (!rc)
		rc = cmdline_check(i, a->cmdline, e);
	if (!rc)
		rc = put_acpi(a, e);
	if (!rc)
		rc = ram_fill(a->ram, place.kernel, i->kernel_fd, "kernel", i->kernel_path,
			k->payload_off, k->payload_bytes, e);
	if (!rc && i->initrd_bytes > 0)
		rc = ram_fill(a->ram, place.initrd, i->initrd_fd, "initrd", i->initrd_path, 0,
			i->initrd_bytes, e);
	if (rc)
		return rc;
	if (!put_reset_vector(a->ram) || !put_page_tables(a->ram) || !put_params(i, a, &place) ||
		!ram_put(a->ram, LAYOUT_BOOT_GDT, gdt, sizeof(gdt)))
		return lost(e);
	*cpu = (struct boot_cpu){
		.rip = place.kernel.addr + ENTRY_64,
		.rsp = LAYOUT_BOOT_STACK,
		.rsi = LAYOUT_BOOT_PARAMS,
		.rflags = RFLAGS_FIXED,
		.cr0 = CR0_PG | CR0_PE_ET_NE,
		.cr3 = LAYOUT_BOOT_PAGE_TABLES,
		.cr4 = CR4_PAE,
		.efer = EFER_LME_LMA,
		.gdt_base = LAYOUT_BOOT_GDT,
		.gdt_limit = sizeof(gdt) - 1,
		.cs = { .selector = SELECTOR_CS, .type = SEGMENT_CODE, .l = 1 },
		.ds = { .selector = SELECTOR_DS, .type = SEGMENT_DATA, .db = 1 },
	};
	return 0;
}
