/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/boot/load.h"

#include "archives.h"
#include "kernel_image.h"
#include "monitor/layout.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (1ull << 20)
#define PAGE 4096u
#define RAM_BYTES (96 * MIB)

static const struct acpi_machine machine = { .cpu_count = 2 };

/* The files of a test, in a folder of its own. */
struct files {
	char dir[64], kernel[96], initrd[96], other[96];
	struct image image;
	struct blob archive;
};

static void file_write(const char *path, const void *data, size_t bytes)
{
	FILE *f = fopen(path, "wb");

	cr_assert(f);
	cr_assert_eq(fwrite(data, 1, bytes, f), bytes);
	cr_assert_eq(fclose(f), 0);
}

static void files_make(struct files *f)
{
	memset(f, 0, sizeof(*f));
	strcpy(f->dir, "/tmp/cv-boot-XXXXXX");
	cr_assert(mkdtemp(f->dir));
	snprintf(f->kernel, sizeof(f->kernel), "%s/vmlinuz", f->dir);
	snprintf(f->initrd, sizeof(f->initrd), "%s/initrd.img", f->dir);
	snprintf(f->other, sizeof(f->other), "%s/other", f->dir);
	image_make(&f->image);
	f->archive = cpio_archive(100001);
	file_write(f->kernel, f->image.bytes, sizeof(f->image.bytes));
	file_write(f->initrd, f->archive.bytes, f->archive.n);
}

static void files_remove(struct files *f)
{
	(void)remove(f->kernel);
	(void)remove(f->initrd);
	(void)remove(f->other);
	(void)rmdir(f->dir);
}

/*
 * RAM in pieces, each somewhere else in our memory, with borders in the kernel
 * and in the initrd: whoever takes one host address for all of it goes wrong.
 */
static struct ram_map ram_make(void)
{
	static const uint64_t ends[] = { LAYOUT_ACPI + 4096, 16 * MIB + 8192, 16 * MIB + 12288,
		RAM_BYTES - 40960, RAM_BYTES };
	struct ram_map m = { 0 };
	uint64_t start = 0;

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		uint64_t bytes = ends[i] - start;
		uint8_t *hva = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		cr_assert_neq(hva, MAP_FAILED);
		m.regions[m.region_count++] = (struct ram_region){ { start }, bytes, hva, 0 };
		start = ends[i];
	}
	return m;
}

static int open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void assert_ram(const struct ram_map *m, uint64_t at, const uint8_t *want, size_t bytes)
{
	uint8_t *got = malloc(bytes);

	cr_assert(ram_read(m, (struct gpa){ at }, got, bytes));
	cr_assert_eq(memcmp(got, want, bytes), 0, "other bytes at 0x%lx", at);
	free(got);
}

/* Walks the page tables as a CPU does; returns the physical address, or -1. */
static uint64_t translate(const struct ram_map *m, uint64_t cr3, uint64_t va)
{
	uint64_t table = cr3;

	for (int level = 4; level > 0; level--) {
		int shift = 12 + 9 * (level - 1);
		uint64_t entry;

		cr_assert(ram_read(m, (struct gpa){ table + (va >> shift & 511) * 8 }, &entry, 8));
		if ((entry & 3) != 3)
			return UINT64_MAX;
		table = entry & 0xffffffffff000ull;
		if (level > 1 && entry & 0x80)
			return (table & ~((1ull << shift) - 1)) | (va & ((1ull << shift) - 1));
	}
	return table | (va & 4095);
}

Test(boot_load, guest_is_ready_to_be_entered)
{
	static struct files f;
	static const char cmdline[] = "console=ttyS0 quiet";
	struct ram_map m = ram_make();
	struct boot_image i;
	struct boot_params p;
	struct boot_cpu cpu;
	struct err e;
	uint64_t gdt[4], initrd;
	int fds = open_fds();

	files_make(&f);
	cr_assert_eq(boot_image_init(&i, f.kernel, f.initrd, &e), 0, "%s", e.text);
	cr_assert_eq(boot_load(&i, &(struct boot_args){ &m, cmdline, &machine }, &cpu, &e), 0, "%s",
		e.text);

	assert_ram(&m, 16 * MIB, f.image.bytes + IMAGE_PAYLOAD_OFF, IMAGE_PAYLOAD_BYTES);
	initrd = (RAM_BYTES - f.archive.n) & ~4095ull;
	assert_ram(&m, initrd, f.archive.bytes, f.archive.n);
	assert_ram(&m, LAYOUT_BOOT_CMDLINE, (const uint8_t *)cmdline, sizeof(cmdline));
	assert_ram(&m, LAYOUT_ACPI, (const uint8_t *)"RSD PTR ", 8);

	cr_assert(ram_read(&m, (struct gpa){ cpu.rsi }, &p, sizeof(p)));
	cr_assert_eq(p.hdr.header, 0x53726448);
	cr_assert_eq(p.hdr.version, 0x020f);
	cr_assert_eq(p.hdr.type_of_loader, 0xff);
	cr_assert_eq(p.hdr.cmd_line_ptr, LAYOUT_BOOT_CMDLINE);
	cr_assert_eq(p.hdr.ramdisk_image, initrd);
	cr_assert_eq(p.hdr.ramdisk_size, f.archive.n);
	cr_assert_eq(p.hdr.init_size, IMAGE_INIT_SIZE);
	cr_assert_eq(p.acpi_rsdp_addr, LAYOUT_ACPI);
	cr_assert_eq(p.sentinel, 0, "bytes outside of the header came from the file");
	cr_assert_eq(p.e820_table[0].addr, 0);
	cr_assert_eq(p.e820_table[0].size, LAYOUT_BASE_RAM_END);
	cr_assert_eq(p.e820_table[2].addr + p.e820_table[2].size, RAM_BYTES);
	cr_assert_eq(p.e820_entries, 7);

	cr_assert_eq(cpu.rip, 16 * MIB + 0x200);
	cr_assert_eq(cpu.rflags & 0x200, 0, "interrupts are on");
	cr_assert_eq(cpu.cr0 & 0x80000001, 0x80000001);
	cr_assert_eq(cpu.efer, 0x500);
	cr_assert_eq(cpu.cr4, 0x20);
	cr_assert(ram_read(&m, (struct gpa){ cpu.gdt_base }, gdt, sizeof(gdt)));
	cr_assert_eq(cpu.gdt_limit, sizeof(gdt) - 1);
	cr_assert_eq(cpu.cs.selector, 0x10);
	cr_assert_eq(cpu.ds.selector, 0x18);
	/* The registers say what the descriptors say: type, and L and D/B of the code. */
	cr_assert_eq(gdt[2] >> 40 & 0xf, cpu.cs.type);
	cr_assert_eq(gdt[2] >> 53 & 1, cpu.cs.l);
	cr_assert_eq(gdt[2] >> 54 & 1, cpu.cs.db);
	cr_assert_eq(gdt[3] >> 40 & 0xf, cpu.ds.type);
	cr_assert_eq(gdt[3] >> 54 & 1, cpu.ds.db);

	boot_image_fini(&i);
	cr_assert_eq(open_fds(), fds);
	files_remove(&f);
}

Test(boot_load, first_4_gib_are_mapped_to_themselves)
{
	static const uint64_t at[] = { 0, 0x7000, 0x1fffff, 0x200000, 16 * MIB + 0x200, 0x3fffffff,
		0x40000000, 0x80001234, 0xbffff000, 0xfee00020, 0xffffffff };
	static struct files f;
	struct ram_map m = ram_make();
	struct boot_image i;
	struct boot_cpu cpu;
	struct err e;

	files_make(&f);
	cr_assert_eq(boot_image_init(&i, f.kernel, NULL, &e), 0, "%s", e.text);
	cr_assert_eq(
		boot_load(&i, &(struct boot_args){ &m, "", &machine }, &cpu, &e), 0, "%s", e.text);
	for (size_t n = 0; n < sizeof(at) / sizeof(at[0]); n++)
		cr_assert_eq(translate(&m, cpu.cr3, at[n]), at[n], "0x%lx", at[n]);
	cr_assert_eq(translate(&m, cpu.cr3, 0x100000000), UINT64_MAX);
	cr_assert_eq(translate(&m, cpu.cr3, 0x8000000000), UINT64_MAX);
	boot_image_fini(&i);
	files_remove(&f);
}

Test(boot_load, a_reboot_loads_the_same_again_without_the_paths)
{
	static struct files f;
	struct ram_map m = ram_make();
	struct boot_image i;
	struct boot_cpu first, second;
	struct err e;
	const struct boot_args args = { &m, "x", &machine };
	struct boot_params p;

	files_make(&f);
	cr_assert_eq(boot_image_init(&i, f.kernel, f.initrd, &e), 0, "%s", e.text);
	cr_assert_eq(boot_load(&i, &args, &first, &e), 0, "%s", e.text);
	files_remove(&f);
	for (uint32_t n = 0; n < m.region_count; n++)
		memset(m.regions[n].hva, 0x5a, m.regions[n].bytes);
	cr_assert_eq(boot_load(&i, &args, &second, &e), 0, "%s", e.text);
	cr_assert_eq(memcmp(&first, &second, sizeof(first)), 0);
	assert_ram(&m, 16 * MIB, f.image.bytes + IMAGE_PAYLOAD_OFF, IMAGE_PAYLOAD_BYTES);
	assert_ram(&m, (RAM_BYTES - f.archive.n) & ~4095ull, f.archive.bytes, f.archive.n);
	cr_assert(ram_read(&m, (struct gpa){ second.rsi }, &p, sizeof(p)));
	cr_assert_eq(p.ext_ramdisk_image, 0, "what the guest left shows through");
	cr_assert_eq(translate(&m, second.cr3, 0x100000000), UINT64_MAX);
	boot_image_fini(&i);
}

Test(boot_load, a_file_that_shrank_is_noticed)
{
	static struct files f;
	struct ram_map m = ram_make();
	struct boot_image i;
	struct boot_cpu cpu;
	struct err e;
	const struct boot_args args = { &m, "", &machine };

	files_make(&f);
	cr_assert_eq(boot_image_init(&i, f.kernel, f.initrd, &e), 0, "%s", e.text);
	cr_assert_eq(truncate(f.initrd, 5000), 0);
	cr_assert_eq(boot_load(&i, &args, &cpu, &e), -EINVAL);
	cr_assert(strstr(e.text, "initrd") && strstr(e.text, "5000"), "%s", e.text);
	cr_assert_eq(truncate(f.kernel, 6000), 0);
	cr_assert_eq(boot_load(&i, &args, &cpu, &e), -EINVAL);
	cr_assert(strstr(e.text, "vmlinuz") && strstr(e.text, "6000"), "%s", e.text);
	boot_image_fini(&i);
	files_remove(&f);
}

Test(boot_load, fits_says_what_load_says)
{
	static struct files f;
	char line[IMAGE_CMDLINE_MAX + 2];
	struct ram_map m = ram_make();
	struct boot_image i;
	struct boot_cpu cpu;
	struct err e, e2;

	files_make(&f);
	cr_assert_eq(boot_image_init(&i, f.kernel, f.initrd, &e), 0, "%s", e.text);
	cr_assert_eq(boot_image_fits(&i, 16 * MIB, "", &e), -EINVAL);
	cr_assert_eq(e.code, EXIT_INVALID);
	cr_assert(strstr(e.text, "at least 57 MiB"), "%s", e.text);
	cr_assert_eq(boot_image_fits(&i, 57 * MIB, "", &e), 0, "%s", e.text);
	cr_assert_eq(boot_image_fits(&i, 1ull << 40, "", &e), 0, "%s", e.text);

	memset(line, 'a', sizeof(line));
	line[IMAGE_CMDLINE_MAX + 1] = 0;
	cr_assert_eq(boot_image_fits(&i, RAM_BYTES, line, &e), -EINVAL);
	cr_assert(strstr(e.text, "2047"), "%s", e.text);
	cr_assert_eq(boot_load(&i, &(struct boot_args){ &m, line, &machine }, &cpu, &e2), -EINVAL);
	cr_assert_str_eq(e.text, e2.text);
	line[IMAGE_CMDLINE_MAX] = 0;
	cr_assert_eq(boot_image_fits(&i, RAM_BYTES, line, &e), 0, "%s", e.text);

	m.region_count = 2; /* 16 MiB */
	cr_assert_eq(boot_load(&i, &(struct boot_args){ &m, "", &machine }, &cpu, &e), -EINVAL);
	cr_assert(strstr(e.text, "at least 57 MiB"), "%s", e.text);
	boot_image_fini(&i);
	files_remove(&f);
}

Test(boot_load, a_bad_machine_is_refused)
{
	static struct files f;
	static const struct acpi_machine none = { 0 };
	struct ram_map m = ram_make();
	struct boot_image i;
	struct boot_cpu cpu;
	struct err e;

	files_make(&f);
	cr_assert_eq(boot_image_init(&i, f.kernel, NULL, &e), 0, "%s", e.text);
	cr_assert_eq(boot_load(&i, &(struct boot_args){ &m, "", &none }, &cpu, &e), -EINVAL);
	cr_assert(strstr(e.text, "CPU"), "%s", e.text);
	boot_image_fini(&i);
	files_remove(&f);
}

Test(boot_load, rejected_files)
{
	static struct files f;
	static const char text[] = "root:x:0:0:root:/root:/bin/bash\n";
	static const struct {
		const char *what;
		bool initrd;  /* which of the two is replaced */
		int contents; /* of `other`: -1 none, -2 a folder, -3 a FIFO, else bytes of the
				 right file */
		bool text;
		int rc;
		const char *word;
	} table[] = {
		{ "no kernel", false, -1, false, -ENOENT, "No such file" },
		{ "a folder as kernel", false, -2, false, -EINVAL, "folder" },
		{ "a FIFO as kernel", false, -3, false, -EINVAL, "not a regular file" },
		{ "an empty kernel", false, 0, false, -EINVAL, "empty" },
		{ "text as kernel", false, 0, true, -EINVAL, "not a Linux kernel" },
		{ "half a kernel", false, IMAGE_BYTES / 2, false, -EINVAL, "truncated" },
		{ "no initrd", true, -1, false, -ENOENT, "No such file" },
		{ "a folder as initrd", true, -2, false, -EINVAL, "folder" },
		{ "a FIFO as initrd", true, -3, false, -EINVAL, "not a regular file" },
		{ "an empty initrd", true, 0, false, -EINVAL, "empty" },
		{ "text as initrd", true, 0, true, -EINVAL, "not an initrd" },
		{ "an initrd cut short", true, 66000, false, -EINVAL, "truncated" },
	};
	int fds = open_fds();

	files_make(&f);
	for (size_t n = 0; n < sizeof(table) / sizeof(table[0]); n++) {
		struct boot_image i;
		struct err e = { 0 };

		(void)remove(f.other);
		if (table[n].text)
			file_write(f.other, text, sizeof(text) - 1);
		else if (table[n].contents == -2)
			cr_assert_eq(mkdir(f.other, 0700), 0);
		else if (table[n].contents == -3)
			cr_assert_eq(mkfifo(f.other, 0600), 0);
		else if (table[n].contents >= 0)
			file_write(f.other, table[n].initrd ? f.archive.bytes : f.image.bytes,
				(size_t)table[n].contents);
		cr_assert_eq(boot_image_init(&i, table[n].initrd ? f.kernel : f.other,
				     table[n].initrd ? f.other : f.initrd, &e),
			table[n].rc, "%s: %s", table[n].what, e.text);
		cr_assert_eq(e.code, EXIT_INVALID, "%s", table[n].what);
		cr_assert(strstr(e.text, table[n].word), "%s: %s", table[n].what, e.text);
		cr_assert(strstr(e.text, f.other), "%s: the file is not named: %s", table[n].what,
			e.text);
		cr_assert_eq(open_fds(), fds, "%s leaves a file open", table[n].what);
	}
	files_remove(&f);
}
