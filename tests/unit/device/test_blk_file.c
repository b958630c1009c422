/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/device/blk_file.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/cv-blk-file-XXXXXX";
static char path[64];

static void setup(void)
{
	cr_assert(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/disk", dir);
}

static void teardown(void)
{
	unlink(path);
	rmdir(path);
	rmdir(dir);
}

TestSuite(blk_file, .init = setup, .fini = teardown);

static void make(off_t bytes)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	cr_assert(fd >= 0 && ftruncate(fd, bytes) == 0);
	close(fd);
}

static void refuse(bool read_only, enum exit_code code, const char *says)
{
	struct blk_file f;
	struct err e = { 0 };

	cr_assert_lt(blk_file_open(&f, path, read_only, &e), 0);
	cr_assert_eq(e.code, code, "%s", e.text);
	cr_assert(strstr(e.text, says), "'%s' lacks '%s'", e.text, says);
	cr_assert(strstr(e.text, path), "'%s' does not name the file", e.text);
	cr_assert_eq(f.fd, -1);
}

Test(blk_file, a_good_image_opens)
{
	struct blk_file f;
	struct err e;

	make(512 * 7);
	cr_assert_eq(blk_file_open(&f, path, false, &e), 0, "%s", e.text);
	cr_assert_eq(f.bytes, 512 * 7);
	cr_assert_not(f.read_only);
	cr_assert_neq(f.id[0], 0);
	/* With O_NONBLOCK left on, io_uring would answer EAGAIN instead of waiting for the disk. */
	cr_assert_eq(fcntl(f.fd, F_GETFL) & O_NONBLOCK, 0);
	cr_assert(fcntl(f.fd, F_GETFD) & FD_CLOEXEC);
	blk_file_close(&f);
	cr_assert_eq(f.fd, -1);
}

Test(blk_file, unusable_files_are_refused_with_a_reason)
{
	refuse(false, EXIT_INVALID, "no such file");
	make(0);
	refuse(false, EXIT_INVALID, "empty");
	make(700);
	refuse(false, EXIT_INVALID, "512");
	make(511);
	refuse(true, EXIT_INVALID, "512");
	unlink(path);
	cr_assert_eq(mkdir(path, 0700), 0);
	refuse(false, EXIT_INVALID, "directory");
	refuse(true, EXIT_INVALID, "directory");
	rmdir(path);
	cr_assert_eq(mkfifo(path, 0600), 0);
	refuse(true, EXIT_INVALID, "neither a file nor a block device");
	unlink(path);
	(void)snprintf(path, sizeof(path), "/dev/null");
	refuse(false, EXIT_INVALID, "neither");
	(void)snprintf(path, sizeof(path), "%s/nothing/there", dir);
	refuse(false, EXIT_INVALID, "no such file");
}

Test(blk_file, one_writer_or_many_readers)
{
	struct blk_file a, b;
	struct err e;

	make(4096);
	cr_assert_eq(blk_file_open(&a, path, false, &e), 0);
	refuse(false, EXIT_CONFLICT, "in use by another guest");
	refuse(true, EXIT_CONFLICT, "in use by another guest");
	blk_file_close(&a);
	cr_assert_eq(blk_file_open(&a, path, true, &e), 0);
	cr_assert_eq(blk_file_open(&b, path, true, &e), 0, "%s", e.text);
	cr_assert_not(b.can_punch);
	refuse(false, EXIT_CONFLICT, "in use");
	blk_file_close(&b);
	blk_file_close(&a);
	cr_assert_eq(blk_file_open(&a, path, false, &e), 0);
	blk_file_close(&a);
}

Test(blk_file, opening_changes_nothing)
{
	struct blk_file f;
	struct stat before, after;
	struct err e;
	char byte = 'x', back;
	int fd;

	make(8192);
	fd = open(path, O_RDWR);
	cr_assert_eq(pwrite(fd, &byte, 1, 8191), 1);
	cr_assert_eq(fstat(fd, &before), 0);
	cr_assert_eq(blk_file_open(&f, path, false, &e), 0);
	blk_file_close(&f);
	cr_assert_eq(fstat(fd, &after), 0);
	cr_assert_eq(pread(fd, &back, 1, 8191), 1);
	cr_assert_eq(back, 'x');
	cr_assert_eq(before.st_size, after.st_size);
	cr_assert_eq(before.st_blocks, after.st_blocks);
	close(fd);
}
