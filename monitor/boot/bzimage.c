/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/boot/bzimage.h"

#include "monitor/layout.h"

#include <asm/bootparam.h>
#include <inttypes.h>
#include <string.h>

#define SECTOR 512u
#define BOOT_FLAG 0xaa55u
#define HEADER_MAGIC 0x53726448u /* "HdrS" */
#define PROTOCOL_MIN 0x020cu
/* The byte that says how far the header reaches: the offset of the jump at 0x200. */
#define JUMP_OFFSET 0x201u
#define JUMP_END 0x202u
/* init_size is the last field that we need. */
#define HEADER_END_MIN (BZIMAGE_HEADER + offsetof(struct setup_header, init_size) + 4u)

/* What people give instead of a bzImage, to say it by its name. */
static const char *looks_like(const uint8_t *head, size_t bytes)
{
	static const struct {
		const char *magic;
		size_t bytes;
		const char *what;
	} known[] = {
		{ "\x7f"
		  "ELF",
			4, " (it is an ELF file such as vmlinux)" },
		{ "\x1f\x8b", 2, " (it is a gzip file)" },
		{ "\x28\xb5\x2f\xfd", 4, " (it is a zstd file)" },
		{ "\xfd"
		  "7zXZ",
			5, " (it is an xz file)" },
		{ "07070", 5, " (it is a cpio archive such as an initrd)" },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (bytes >= known[i].bytes && memcmp(head, known[i].magic, known[i].bytes) == 0)
			return known[i].what;
	}
	return "";
}

/* Is there a header that we understand, as far as the bytes there are tell? */
static int header_check(const struct setup_header *h, const char *name, struct err *e)
{
	if (h->version < PROTOCOL_MIN)
		return err_set(e, EXIT_INVALID,
			"kernel %s speaks boot protocol %u.%02u; at least 2.12 (Linux 3.8) is "
			"needed",
			name, h->version >> 8, h->version & 0xffu);
	if (!(h->loadflags & LOADED_HIGH))
		return err_set(e, EXIT_INVALID,
			"kernel %s is a zImage, loaded below 1 MiB; a bzImage is needed", name);
	if (!(h->xloadflags & XLF_KERNEL_64))
		return err_set(e, EXIT_INVALID,
			"kernel %s has no 64-bit entry; an x86-64 kernel is needed", name);
	return 0;
}

/* Are the addresses it asks for possible in our map? */
static int addresses_check(const struct bzimage *k, const char *name, struct err *e)
{
	if (k->relocatable && (k->align == 0 || (k->align & (k->align - 1)) != 0))
		return err_set(e, EXIT_INVALID,
			"kernel %s is damaged: its alignment 0x%" PRIx64 " is not a power of two",
			name, k->align);
	if (k->pref_addr < LAYOUT_EXT_RAM || k->pref_addr >= LAYOUT_LOW_RAM_END)
		return err_set(e, EXIT_INVALID,
			"kernel %s wants to run at 0x%" PRIx64 "; only 0x%llx to 0x%llx can be had",
			name, k->pref_addr, LAYOUT_EXT_RAM, LAYOUT_LOW_RAM_END);
	return 0;
}

int bzimage_parse(const uint8_t *head, size_t head_bytes, uint64_t file_bytes, const char *name,
	struct bzimage *k, struct err *e)
{
	struct setup_header h;
	struct bzimage out = { 0 };
	uint32_t end;
	int rc;

	if (file_bytes == 0)
		return err_set(
			e, EXIT_INVALID, "kernel %s is empty; a Linux bzImage is needed", name);
	if (head_bytes < BZIMAGE_HEADER + sizeof(h)) {
		return err_set(e, EXIT_INVALID,
			"kernel %s is not a Linux kernel (bzImage): %" PRIu64
			" bytes are too short for its header%s",
			name, file_bytes, looks_like(head, head_bytes));
	}
	memcpy(&h, head + BZIMAGE_HEADER, sizeof(h));
	if (h.boot_flag != BOOT_FLAG || h.header != HEADER_MAGIC)
		return err_set(e, EXIT_INVALID,
			"kernel %s is not a Linux kernel (bzImage): no header at 0x1f1%s", name,
			looks_like(head, head_bytes));
	rc = header_check(&h, name, e);
	if (rc)
		return rc;
	end = JUMP_END + head[JUMP_OFFSET];
	if (end < HEADER_END_MIN || end > BZIMAGE_HEADER_END_MAX)
		return err_set(e, EXIT_INVALID,
			"kernel %s is damaged: its header ends at 0x%x, not in 0x%zx to 0x%x", name,
			end, HEADER_END_MIN, BZIMAGE_HEADER_END_MAX);

	out.version = h.version;
	/* For the sake of very old kernels 0 means 4. */
	out.payload_off = ((h.setup_sects ? h.setup_sects : 4u) + 1u) * (uint64_t)SECTOR;
	out.payload_bytes = (uint64_t)h.syssize * 16u;
	out.pref_addr = h.pref_address;
	out.relocatable = h.relocatable_kernel != 0;
	out.align = out.relocatable ? h.kernel_alignment : 1u;
	out.run_bytes = h.init_size > out.payload_bytes ? h.init_size : out.payload_bytes;
	out.initrd_last_addr = h.initrd_addr_max;
	out.cmdline_max = h.cmdline_size;
	if (out.payload_bytes <= 0x200)
		return err_set(e, EXIT_INVALID,
			"kernel %s is damaged: its header says it has %" PRIu64 " bytes of code",
			name, out.payload_bytes);
	if (out.payload_off + out.payload_bytes > file_bytes)
		return err_set(e, EXIT_INVALID,
			"kernel %s is truncated: its header says %" PRIu64
			" bytes, the file has %" PRIu64,
			name, out.payload_off + out.payload_bytes, file_bytes);
	rc = addresses_check(&out, name, e);
	if (rc)
		return rc;

	/* The file holds BZIMAGE_HEAD_BYTES at least: one sector of setup, code behind it. */
	if (head_bytes < end)
		return err_set(e, EXIT_INVALID, "kernel %s is truncated in its header", name);
	out.header_bytes = end - BZIMAGE_HEADER;
	memcpy(out.header, head + BZIMAGE_HEADER, out.header_bytes);
	*k = out;
	return 0;
}
