/* SPDX-License-Identifier: BSD-2-Clause */
/* Whatever an initrd holds: the check ends, stays in the file, and gives a verdict in words. */
#include "monitor/boot/initrd.h"
#include "numa/check.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct file {
	const uint8_t *bytes;
	size_t n;
};

static int file_read(void *ctx, uint64_t off, void *buf, size_t bytes)
{
	const struct file *f = ctx;

	CHECK(off <= f->n && bytes <= f->n - off);
	memcpy(buf, f->bytes + off, bytes);
	return 0;
}

/* The first byte of the input chooses a magic to begin with, so that none has to be guessed. */
static const struct {
	const char *bytes;
	size_t n;
} begins[] = {
	{ "", 0 },
	{ "070701", 6 },
	{ "\x1f\x8b\x08\0\0\0\0\0\0\3", 10 },
	{ "\x28\xb5\x2f\xfd", 4 },
	{ "\xfd"
	  "7zXZ\0\0\1\x69\x22\xde\x36\2\0\x21\1\x1c\0\0\0\x10\xcf\x58\xcc",
		24 },
	{ "\x5d\0\0\1\0\xff\xff\xff\xff\xff\xff\xff\xff", 13 },
	{ "\x02\x21\x4c\x18", 4 },
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t begin = size ? data[0] % (sizeof(begins) / sizeof(begins[0])) : 0;
	struct file f = { 0 };
	struct initrd_source s = { .read = file_read, .ctx = &f, .name = "file" };
	struct err e = { 0 };
	uint8_t *all;
	int rc;

	if (size == 0)
		return 0;
	all = malloc(begins[begin].n + size);
	if (!all)
		abort();
	memcpy(all, begins[begin].bytes, begins[begin].n);
	memcpy(all + begins[begin].n, data + 1, size - 1);
	f.bytes = all;
	s.bytes = f.n = begins[begin].n + size - 1;
	rc = initrd_check(&s, &e);
	CHECK(rc == 0 || (e.code == EXIT_INVALID && e.text[0]));
	free(all);
	return 0;
}
