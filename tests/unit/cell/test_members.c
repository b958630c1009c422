/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <string.h>

#include "monitor/cell/members.h"
#include "monitor/cell/runtime.h"

#define MATCH(words, m) members_match(words, sizeof(words), "/run/cellvisor", m)

Test(members, are_known_by_their_words)
{
	struct member m;

	cr_assert(MATCH(
		"cellvisor\0monitor\0--cell=2\0--incarnation=1\0--runtime=/run/cellvisor", &m));
	cr_assert(m.monitor);
	cr_assert_eq(m.cell, 2);
	cr_assert(MATCH(
		"/usr/bin/cellvisor\0guest\0--runtime=/run/cellvisor\0--cell=13\0--name=x", &m));
	cr_assert_not(m.monitor);
	cr_assert_eq(m.cell, 13);
}

Test(members, of_others_are_left_alone)
{
	struct member m;

	cr_assert_not(MATCH("cellvisor\0monitor\0--cell=2\0--runtime=/run/other", &m));
	cr_assert_not(MATCH("cellvisor\0monitor\0--cell=2", &m));
	cr_assert_not(MATCH("cellvisor\0monitor\0--cell=2x\0--runtime=/run/cellvisor", &m));
	cr_assert_not(MATCH("cellvisor\0run\0--cell=2\0--runtime=/run/cellvisor", &m));
	cr_assert_not(MATCH("vim\0monitor\0--cell=2\0--runtime=/run/cellvisor", &m));
	cr_assert_not(MATCH("cellvisor", &m));
	cr_assert_not(members_match("", 0, "/run/cellvisor", &m));
}

Test(runtime, every_path_fits_a_socket_address)
{
	char buf[RUNTIME_PATH_BYTES], dir[RUNTIME_DIR_MAX + 1];
	const char *path;

	memset(dir, 'd', sizeof(dir));
	dir[0] = '/';
	dir[RUNTIME_DIR_MAX] = '\0';
	path = runtime_guest_path(
		buf, dir, 1023, "abcdefghijklmnopqrstuvwxyz012345", "console.sock");
	cr_assert_eq(strcmp(path + strlen(path) - 13, "/console.sock"), 0, "%s", path);
	path = runtime_cell_path(buf, "/run/cellvisor", 7, "monitor.sock");
	cr_assert_str_eq(path, "/run/cellvisor/cell-7/monitor.sock");
	cr_assert_str_eq(
		runtime_cell_path(buf, "/run/cellvisor", 7, NULL), "/run/cellvisor/cell-7");
	cr_assert_str_eq(runtime_guest_path(buf, "/r", 7, "web", NULL), "/r/cell-7/guests/web");
}

Test(runtime, the_folder_is_checked)
{
	char dir[RUNTIME_DIR_MAX + 1];
	struct err e;

	setenv("CELLVISOR_RUNTIME_DIR", "/tmp/x//", 1);
	cr_assert_eq(runtime_dir(dir, &e), 0);
	cr_assert_str_eq(dir, "/tmp/x");
	setenv("CELLVISOR_RUNTIME_DIR", "relative", 1);
	cr_assert_lt(runtime_dir(dir, &e), 0);
	setenv("CELLVISOR_RUNTIME_DIR", "/", 1);
	cr_assert_lt(runtime_dir(dir, &e), 0);
	setenv("CELLVISOR_RUNTIME_DIR", "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 1);
	cr_assert_lt(runtime_dir(dir, &e), 0);
	cr_assert_eq(e.code, EXIT_USAGE);
	unsetenv("CELLVISOR_RUNTIME_DIR");
	cr_assert_eq(runtime_dir(dir, &e), 0);
	cr_assert_str_eq(dir, "/run/cellvisor");
}
