/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/boot/bzimage.h"

#include "kernel_image.h"

#include <criterion/criterion.h>
#include <errno.h>

static struct image image;

static int parse(uint64_t file_bytes, struct bzimage *k, struct err *e)
{
	uint64_t head = file_bytes < BZIMAGE_HEAD_BYTES ? file_bytes : BZIMAGE_HEAD_BYTES;
	/* A copy of exactly that size, so that the sanitizer sees a read beyond. */
	uint8_t *copy = malloc(head ? head : 1);
	int rc;

	memcpy(copy, image.bytes, head);
	rc = bzimage_parse(copy, head, file_bytes, "vmlinuz", k, e);
	free(copy);
	return rc;
}

Test(bzimage, header_is_read_as_written)
{
	struct bzimage k;
	struct err e;

	image_make(&image);
	cr_assert_eq(parse(IMAGE_BYTES, &k, &e), 0, "%s", e.text);
	cr_assert_eq(k.version, 0x020f);
	cr_assert_eq(k.payload_off, IMAGE_PAYLOAD_OFF);
	cr_assert_eq(k.payload_bytes, IMAGE_PAYLOAD_BYTES);
	cr_assert_eq(k.pref_addr, IMAGE_PREF);
	cr_assert_eq(k.align, 0x200000);
	cr_assert(k.relocatable);
	cr_assert_eq(k.run_bytes, IMAGE_INIT_SIZE);
	cr_assert_eq(k.initrd_last_addr, 0x7fffffff);
	cr_assert_eq(k.cmdline_max, IMAGE_CMDLINE_MAX);
	cr_assert_eq(k.header_bytes, IMAGE_HEADER_END - 0x1f1);
	cr_assert_arr_eq(k.header, image.bytes + 0x1f1, k.header_bytes);
}

Test(bzimage, zero_setup_sectors_mean_four)
{
	struct bzimage k;
	struct err e;

	image_make(&image);
	image_header(&image)->setup_sects = 0;
	cr_assert_eq(parse(5 * 512 + IMAGE_PAYLOAD_BYTES, &k, &e), 0, "%s", e.text);
	cr_assert_eq(k.payload_off, 5 * 512);
}

Test(bzimage, payload_longer_than_init_size_needs_its_own_length)
{
	struct bzimage k;
	struct err e;

	image_make(&image);
	image_header(&image)->init_size = 4096;
	cr_assert_eq(parse(IMAGE_BYTES, &k, &e), 0, "%s", e.text);
	cr_assert_eq(k.run_bytes, IMAGE_PAYLOAD_BYTES);
}

Test(bzimage, a_signature_behind_the_kernel_is_no_harm)
{
	struct bzimage k;
	struct err e;

	image_make(&image);
	cr_assert_eq(parse(IMAGE_BYTES + 1400, &k, &e), 0, "%s", e.text);
	cr_assert_eq(k.payload_bytes, IMAGE_PAYLOAD_BYTES);
}

static void no_boot_flag(struct setup_header *h)
{
	h->boot_flag = 0;
}
static void no_magic(struct setup_header *h)
{
	h->header = 0x53726449;
}
static void old_protocol(struct setup_header *h)
{
	h->version = 0x020b;
}
static void low(struct setup_header *h)
{
	h->loadflags = 0x80;
}
static void only_32_bit(struct setup_header *h)
{
	h->xloadflags = 2;
}
static void short_header(struct setup_header *h)
{
	h->jump = 0x61eb; /* init_size cut off by one byte */
}
static void long_header(struct setup_header *h)
{
	h->jump = 0x8feb; /* ends at 0x291 */
}
static void no_code(struct setup_header *h)
{
	h->syssize = 0x20;
}
static void more_code(struct setup_header *h)
{
	h->syssize++;
}
static void most_code(struct setup_header *h)
{
	h->syssize = 0x10000000 + IMAGE_PAYLOAD_BYTES / 16; /* times 16: the same in 32 bits */
}
static void more_setup(struct setup_header *h)
{
	h->setup_sects++;
}
static void no_align(struct setup_header *h)
{
	h->kernel_alignment = 0;
}
static void odd_align(struct setup_header *h)
{
	h->kernel_alignment = 0x300000;
}
static void below_1m(struct setup_header *h)
{
	h->pref_address = 0xff000;
}
static void in_the_hole(struct setup_header *h)
{
	h->pref_address = 0xc0000000;
}
static void above_4g(struct setup_header *h)
{
	h->pref_address = 0x100001000000;
}

Test(bzimage, rejected_inputs)
{
	static const struct {
		const char *what;
		void (*spoil)(struct setup_header *h);
		const char *word;
	} table[] = {
		{ "no boot flag", no_boot_flag, "not a Linux kernel" },
		{ "no HdrS", no_magic, "not a Linux kernel" },
		{ "protocol 2.11", old_protocol, "2.11" },
		{ "zImage", low, "zImage" },
		{ "32 bit", only_32_bit, "64-bit" },
		{ "header too short", short_header, "0x263" },
		{ "header too long", long_header, "0x291" },
		{ "no code", no_code, "512 bytes of code" },
		{ "one paragraph missing", more_code, "truncated" },
		{ "size overflows 32 bits", most_code, "truncated" },
		{ "one sector missing", more_setup, "truncated" },
		{ "alignment 0", no_align, "power of two" },
		{ "alignment 3 MiB", odd_align, "power of two" },
		{ "wants low memory", below_1m, "0xff000" },
		{ "wants the hole", in_the_hole, "0xc0000000" },
		{ "wants high memory", above_4g, "0x100001000000" },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct bzimage k = { .version = 1 };
		struct err e = { 0 };

		image_make(&image);
		table[i].spoil(image_header(&image));
		cr_assert_eq(parse(IMAGE_BYTES, &k, &e), -EINVAL, "%s", table[i].what);
		cr_assert_eq(e.code, EXIT_INVALID);
		cr_assert(strstr(e.text, table[i].word), "%s: %s", table[i].what, e.text);
		cr_assert(strstr(e.text, "vmlinuz"), "the file is not named: %s", e.text);
		cr_assert_eq(k.version, 1, "%s: the result was touched", table[i].what);
	}
}

Test(bzimage, every_cut_is_noticed)
{
	image_make(&image);
	for (uint64_t bytes = 0; bytes < IMAGE_BYTES; bytes++) {
		struct bzimage k;
		struct err e;

		cr_assert_eq(parse(bytes, &k, &e), -EINVAL, "cut to %lu bytes", bytes);
	}
}

Test(bzimage, other_files_are_called_by_their_names)
{
	static const struct {
		const char *begin, *word;
	} table[] = {
		{ "\x7f"
		  "ELF",
			"ELF" },
		{ "\x1f\x8b\x08\x00", "gzip" },
		{ "\x28\xb5\x2f\xfd", "zstd" },
		{ "070701", "cpio" },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		uint64_t sizes[] = { 100, IMAGE_BYTES };

		for (size_t n = 0; n < 2; n++) {
			struct bzimage k;
			struct err e;

			memset(&image, 'x', sizeof(image));
			memcpy(image.bytes, table[i].begin, 5);
			cr_assert_eq(parse(sizes[n], &k, &e), -EINVAL);
			cr_assert(strstr(e.text, table[i].word), "%s", e.text);
		}
	}
}
