/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/inject/guest_page.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096u
#define PAGES 64u

/* This process is the guest. */
static int make_ram(const char *name)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	cr_assert(fd >= 0 && ftruncate(fd, PAGES * PAGE) == 0);
	return fd;
}

static void touch(int fd, uint64_t page)
{
	cr_assert_eq(pwrite(fd, "x", 1, (off_t)(page * PAGE + 17)), 1);
}

Test(guest_page, the_ram_is_found_by_its_name_alone)
{
	struct guest_ram ram;
	struct proc_id self;
	struct err e;
	int other = make_ram("other"), fd;

	cr_assert_eq(proc_self(&self), 0);
	cr_assert_lt(guest_ram_open(&ram, &self, &e), 0);
	cr_assert_eq(e.code, EXIT_ENVIRONMENT);
	fd = make_ram("cv-ram");
	touch(fd, 3);
	touch(other, 5);
	cr_assert_eq(guest_ram_open(&ram, &self, &e), 0, "%s", e.text);
	cr_assert_eq(ram.bytes, PAGES * PAGE);
	cr_assert_eq(guest_ram_has(&ram, 3 * PAGE), 1);
	cr_assert_eq(guest_ram_has(&ram, 5 * PAGE), 0);
	guest_ram_close(&ram);
	self.start_time++;
	cr_assert_lt(guest_ram_open(&ram, &self, &e), 0, "another process that got the pid");
	close(fd);
	close(other);
}

Test(guest_page, pages_are_found_by_whether_they_have_a_frame)
{
	struct guest_ram ram = { .fd = make_ram("cv-ram"), .bytes = PAGES * PAGE };
	uint64_t off, frame;
	int rc;

	cr_assert_eq(guest_ram_find(&ram, 0, true, &off), -ENOENT);
	touch(ram.fd, 9);
	touch(ram.fd, 10);
	cr_assert_eq(guest_ram_find(&ram, 0, true, &off), 0);
	cr_assert_eq(off, 9 * PAGE);
	cr_assert_eq(guest_ram_find(&ram, 10 * PAGE, true, &off), 0);
	cr_assert_eq(off, 10 * PAGE);
	cr_assert_eq(guest_ram_find(&ram, 11 * PAGE, true, &off), 0);
	cr_assert_eq(off, 9 * PAGE, "around the end");
	cr_assert_eq(guest_ram_find(&ram, 9 * PAGE, false, &off), 0);
	cr_assert_eq(off, 11 * PAGE);
	rc = guest_ram_frame(&ram, 20 * PAGE, &frame);
	cr_assert(rc == 0 || rc == -ENXIO, "%d", rc); /* frames are told to root alone */
	cr_assert_eq(guest_ram_has(&ram, 20 * PAGE), 1, "it has one now");
	cr_assert_eq(guest_ram_has(&ram, 21 * PAGE), 0);
	for (uint64_t i = 0; i < PAGES; i++)
		touch(ram.fd, i);
	cr_assert_eq(guest_ram_find(&ram, 5 * PAGE, false, &off), -ENOENT);
	guest_ram_close(&ram);
}
