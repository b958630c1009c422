/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/boot/initrd.h"

#include "archives.h"

#include <criterion/criterion.h>
#include <errno.h>

#define FILE_BYTES 300001u

/* What was read of the file, to see what is left out. */
struct reader {
	const struct blob *b;
	uint64_t total;
	uint64_t fail_at; /* reading this byte fails; 0: none does */
};

static int reader_read(void *ctx, uint64_t off, void *buf, size_t bytes)
{
	struct reader *r = ctx;

	cr_assert_leq(off + bytes, r->b->n, "reads beyond the end");
	if (r->fail_at && off <= r->fail_at && off + bytes > r->fail_at)
		return -EIO;
	memcpy(buf, r->b->bytes + off, bytes);
	r->total += bytes;
	return 0;
}

static int check_with(struct reader *r, size_t bytes, struct err *e)
{
	struct blob cut = { .bytes = r->b->bytes, .n = bytes, .room = bytes };
	const struct initrd_source s = { reader_read, r, bytes, "initrd.img" };

	r->b = &cut;
	return initrd_check(&s, e);
}

static int check_cut(const struct blob *b, size_t bytes, struct err *e)
{
	struct reader r = { .b = b };

	return check_with(&r, bytes, e);
}

static void good(const char *what, const struct blob *b)
{
	struct err e = { 0 };

	cr_assert_eq(check_cut(b, b->n, &e), 0, "%s: %s", what, e.text);
}

static void bad(const char *what, const struct blob *b, const char *word)
{
	struct err e = { 0 };

	cr_assert_eq(check_cut(b, b->n, &e), -EINVAL, "%s is taken", what);
	cr_assert_eq(e.code, EXIT_INVALID);
	cr_assert(strstr(e.text, word), "%s: %s", what, e.text);
	cr_assert(strstr(e.text, "initrd"), "%s: %s", what, e.text);
}

/* Every cut, save those that leave `whole` bytes or more, has to be called truncated. */
static void cuts(const char *what, const struct blob *b, size_t whole)
{
	for (size_t n = 0; n < whole; n += n < 400 || whole - n < 400 ? 1 : 1997) {
		struct err e = { 0 };

		cr_assert_eq(check_cut(b, n, &e), -EINVAL, "%s: %zu of %zu bytes are taken", what,
			n, b->n);
		/* Of the first bytes nobody can say what they were to be. */
		cr_assert(n < 32 || strstr(e.text, "truncated"), "%s, %zu bytes: %s", what, n,
			e.text);
	}
}

Test(initrd, cpio)
{
	struct blob b = cpio_archive(FILE_BYTES);
	/* The trailer's padding may be missing: 110 + 11 bytes, padded by 3. */
	size_t whole = b.n - 3;

	good("an archive", &b);
	cuts("an archive", &b, whole);
	blob_zeros(&b, 513);
	good("an archive and zeros", &b);
}

Test(initrd, contents_of_a_cpio_are_not_read)
{
	struct blob b = cpio_archive(50u << 20);
	struct reader r = { .b = &b };
	struct err e;

	cr_assert_eq(check_with(&r, b.n, &e), 0);
	cr_assert_lt(r.total, 200000, "%lu bytes were read", r.total);
}

static struct blob both(const struct blob *first, size_t zeros, const struct blob *second)
{
	struct blob b = { 0 };

	blob_add(&b, first->bytes, first->n);
	blob_align(&b, 4);
	blob_zeros(&b, zeros);
	blob_add(&b, second->bytes, second->n);
	return b;
}

/* A plain archive (such as microcode) before the one in question, and a plain one behind it. */
static void format(const char *what, const struct blob *b, bool end_marked)
{
	struct blob plain = cpio_archive(100), early = both(&plain, 512, b), late, broken;

	good(what, b);
	good(what, &early);
	if (end_marked) {
		cuts(what, b, b->n);
		late = both(b, 0, &plain);
		good(what, &late);
		broken = both(b, 1, &plain);
		bad("a plain archive that is not aligned", &broken, "aligned");
		broken = both(b, 0, b);
		blob_add(&broken, "junk", 4);
		bad("junk at the end", &broken, "neither zeros nor an archive");
	}
}

Test(initrd, gzip)
{
	struct blob plain = cpio_archive(FILE_BYTES), b = gzip_of(&plain);

	format("gzip", &b, true);
	b.bytes[b.n / 2] ^= 0x10;
	bad("a flipped bit", &b, "damaged");
	b.bytes[b.n / 2] ^= 0x10;
	b.bytes[b.n - 6] ^= 1;
	bad("a wrong sum", &b, "damaged");
	plain.n -= 200;
	b = gzip_of(&plain);
	bad("half a cpio in a whole gzip", &b, "truncated");
}

Test(initrd, lzma)
{
	struct blob plain = cpio_archive(60000), b = lzma_of(&plain);

	format("lzma", &b, true);
	plain.n -= 200;
	b = lzma_of(&plain);
	bad("half a cpio in a whole lzma", &b, "truncated");
	/* A dictionary of 1 GiB. */
	memcpy(b.bytes + 1, "\0\0\0\x40", 4);
	bad("a huge dictionary", &b, "dictionary");
}

Test(initrd, zstd)
{
	struct blob plain = cpio_archive(FILE_BYTES);

	for (int flags = 0; flags < 4; flags++) {
		struct blob b = zstd_of(&plain, flags & 1, flags & 2);

		format("zstd", &b, true);
	}
}

Test(initrd, zstd_is_walked_not_decompressed)
{
	struct blob plain = cpio_archive(20u << 20), b = zstd_of(&plain, true, true);
	struct reader r = { .b = &b };
	struct err e;

	cr_assert_eq(check_with(&r, b.n, &e), 0);
	cr_assert_lt(r.total, b.n / 8, "%lu of %zu bytes were read", r.total, b.n);
}

Test(initrd, zstd_headers_across_the_borders_of_what_is_read)
{
	struct blob plain = cpio_archive(FILE_BYTES);

	for (size_t step = 97; step < 104; step++) {
		struct blob b = zstd_in_steps(&plain, step);

		good("zstd of small blocks", &b);
		b.n--;
		bad("zstd of small blocks, less its last byte", &b, "truncated");
	}
}

Test(initrd, zstd_of_small_things)
{
	/* One segment with a content size of one byte, and a frame with runs. */
	struct blob plain = { 0 }, b;

	cpio_entry(&plain, "TRAILER!!!", "", 0);
	b = zstd_of(&plain, true, true);
	format("small zstd", &b, true);
	plain = cpio_archive(100);
	blob_zeros(&plain, 1u << 20);
	b = zstd_of(&plain, false, false);
	format("zstd with runs", &b, true);
}

Test(initrd, xz)
{
	static const lzma_check checks[] = { LZMA_CHECK_NONE, LZMA_CHECK_CRC32, LZMA_CHECK_CRC64,
		LZMA_CHECK_SHA256 };
	struct blob plain = cpio_archive(FILE_BYTES), b;

	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		b = xz_of(&plain, checks[i], 0, i == 1);
		format("xz", &b, true);
		/* Three blocks of odd lengths, each with its sizes in its header. */
		b = xz_of(&plain, checks[i], FILE_BYTES / 3 + 100, i == 2);
		format("xz of several blocks", &b, true);
	}
}

Test(initrd, xz_of_every_padding)
{
	for (size_t bytes = 1000; bytes < 1040; bytes++) {
		struct blob plain = cpio_archive(bytes),
			    b = xz_of(&plain, LZMA_CHECK_CRC32, 0, false);

		good("xz", &b);
	}
}

Test(initrd, xz_with_the_end_of_another)
{
	struct blob plain = cpio_archive(FILE_BYTES), b = xz_of(&plain, LZMA_CHECK_CRC32, 0, false);
	struct blob other = xz_of(&plain, LZMA_CHECK_CRC32, 20000, false);

	/* Its sum is right, but it belongs to a longer index. */
	memcpy(b.bytes + b.n - 12, other.bytes + other.n - 12, 12);
	bad("xz", &b, "end does not agree");
}

Test(initrd, xz_damage)
{
	struct blob plain = cpio_archive(FILE_BYTES),
		    b = xz_of(&plain, LZMA_CHECK_CRC32, 90001, false);
	static const size_t from_end[] = { 1, 8, 12, 16, 20, 24 };

	/* Index and footer are covered by sums. */
	for (size_t i = 0; i < sizeof(from_end) / sizeof(from_end[0]); i++) {
		b.bytes[b.n - from_end[i]] ^= 1;
		bad("a damaged end", &b, "damaged");
		b.bytes[b.n - from_end[i]] ^= 1;
	}
	good("xz", &b);
}

Test(initrd, lz4)
{
	struct blob plain = cpio_archive(FILE_BYTES), b = lz4_of(&plain, 8u << 20), junk;

	format("lz4", &b, false);
	cuts("lz4", &b, b.n);
	b = lz4_of(&plain, 10000);
	format("lz4 of several blocks", &b, false);
	for (size_t zeros = 0; zeros < 8; zeros++) {
		struct blob two = { 0 };

		blob_add(&two, b.bytes, b.n);
		blob_zeros(&two, zeros);
		good("lz4 and zeros", &two);
		blob_add(&two, b.bytes, b.n);
		/* As for the kernel, four zeros end the blocks and fewer are part of a length. */
		if (zeros == 0 || zeros >= 4)
			good("two lz4 archives", &two);
	}
	junk = both(&b, 4, &b);
	blob_add(&junk, "junk", 4);
	bad("junk behind lz4", &junk, "damaged");
}

Test(initrd, formats_taken_by_their_magic)
{
	struct blob b = { 0 }, l = { 0 };

	blob_add(&b, "BZh91AY&SY whatever", 19);
	good("bzip2", &b);
	blob_add(&l, "\x89LZO\0\r\n\x1a\n whatever", 18);
	good("lzo", &l);
}

Test(initrd, contents_that_are_no_cpio)
{
	struct blob text = { 0 }, b;

	for (int i = 0; i < 200; i++)
		blob_add(&text, "root:x:0:0:root:/root:/bin/bash\n", 32);
	b = gzip_of(&text);
	bad("text in gzip", &b, "not a cpio archive");
	b = zstd_of(&text, true, true);
	bad("text in zstd", &b, "not a cpio archive");
	b = xz_of(&text, LZMA_CHECK_CRC32, 0, false);
	bad("text in xz", &b, "not a cpio archive");
	b = lzma_of(&text);
	bad("text in lzma", &b, "not a cpio archive");
}

Test(initrd, rejected_inputs)
{
	static const struct {
		const char *what;
		const char *bytes;
		size_t n;
		const char *word;
	} table[] = {
		{ "nothing", "", 0, "empty" },
		{ "text", "root:x:0:0:root:/root:/bin/bash\n", 32, "not an initrd" },
		{ "one letter", "r", 1, "not an initrd" },
		{ "zeros", "\0\0\0\0\0\0\0\0", 8, "nothing but zeros" },
		{ "odc cpio",
			"07070700000000000000000000000000000000000000000000000000000000000000000000"
			"00"
			"0000000000000000000000000000000000000000",
			116, "newc" },
		{ "no hexadecimal",
			"07070100000000x00000000000000000000000000000000000000000000000000000000000"
			"00"
			"0000000000000000000000000000000000000000",
			116, "hexadecimal" },
		{ "no name",
			"07070100000000000000000000000000000000000000000000000000000000000000000000"
			"00"
			"0000000000000000000000000000000000000000",
			116, "name" },
		{ "a name of 4 GiB",
			"07070100000000000000000000000000000000000000000000000000000000000000000000"
			"00"
			"000000000000000000FFFFFFFF00000000000000",
			116, "name" },
		{ "a file of 4 GiB",
			"070701000000000000000000000000000000000000000000000000FFFFFFFF000000000000"
			"00"
			"000000000000000000000000060000000061616161610000",
			120, "truncated" },
		{ "a number", "0123456789", 10, "truncated" },
		{ "lz4 frame", "\x04\x22\x4d\x18\x64\x40\xa7\x00", 8, "lz4 -l" },
		{ "a program",
			"\x7f"
			"ELF\x02\x01\x01\0",
			8, "program" },
		{ "a reserved bit in zstd", "\x28\xb5\x2f\xfd\x08\x58\x01\x00\x00", 9, "damaged" },
		{ "a reserved block in zstd", "\x28\xb5\x2f\xfd\x00\x58\x07\x00\x00", 9,
			"damaged" },
		{ "gzip of an unknown method", "\x1f\x8b\x09\0\0\0\0\0\0\x03", 10, "damaged" },
		{ "xz with a bad header",
			"\xfd"
			"7zXZ\0\0\x04\0\0\0\0",
			12, "damaged" },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct blob b = { 0 };

		blob_add(&b, table[i].bytes, table[i].n);
		bad(table[i].what, &b, table[i].word);
	}
}

Test(initrd, a_read_error_is_passed_on)
{
	struct blob b = cpio_archive(100);
	struct reader r = { .b = &b, .fail_at = 150 };
	struct err e = { 0 };

	cr_assert_eq(check_with(&r, b.n, &e), -EIO);
	cr_assert_eq(e.code, EXIT_INVALID);
	cr_assert(strstr(e.text, "initrd.img"), "%s", e.text);
}
