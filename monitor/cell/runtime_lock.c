/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cell/runtime_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "monitor/cell/runtime.h"

#define LOCK_TRIES 100

static int make_dir(const char *path, struct err *e)
{
	if (mkdir(path, 0700) && errno != EEXIST)
		return err_set(e, EXIT_ENVIRONMENT, "can't make %s: %s", path, strerror(errno));
	return 0;
}

/* Is the directory behind `fd` still the one of this name? `down` may have removed it. */
static int still_there(int fd, const char *dir)
{
	struct stat mine, there;

	return !fstat(fd, &mine) && !stat(dir, &there) && mine.st_ino == there.st_ino &&
	       mine.st_dev == there.st_dev;
}

int runtime_lock(const char *dir, struct err *e)
{
	for (int i = 0; i < LOCK_TRIES; i++) {
		int fd, rc = make_dir(dir, e);

		if (rc)
			return rc;
		fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0 && errno == ENOENT)
			continue;
		if (fd < 0)
			return err_set(
				e, EXIT_ENVIRONMENT, "can't open %s: %s", dir, strerror(errno));
		if (flock(fd, LOCK_EX | LOCK_NB)) {
			close(fd);
			return err_set(e, EXIT_CONFLICT,
				"another `cellvisor up` or `down` is already at work in %s; wait "
				"for it",
				dir);
		}
		if (still_there(fd, dir))
			return fd;
		close(fd);
	}
	return err_set(e, EXIT_CONFLICT, "%s vanishes as soon as it is made", dir);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	if (at->level > 0)
		remove(path);
	return 0;
}

void runtime_clear(const char *dir)
{
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void runtime_remove(const char *dir)
{
	runtime_clear(dir);
	rmdir(dir);
}

int runtime_make_cell(const char *dir, uint32_t cell, struct err *e)
{
	char path[RUNTIME_PATH_BYTES];
	int rc = make_dir(runtime_cell_path(path, dir, cell, NULL), e);

	return rc ? rc : make_dir(runtime_cell_path(path, dir, cell, "guests"), e);
}

int runtime_make_guest(const char *dir, uint32_t cell, const char *name, struct err *e)
{
	char path[RUNTIME_PATH_BYTES];

	runtime_remove_guest(dir, cell, name);
	return make_dir(runtime_guest_path(path, dir, cell, name, NULL), e);
}

void runtime_remove_guest(const char *dir, uint32_t cell, const char *name)
{
	char path[RUNTIME_PATH_BYTES];

	runtime_guest_path(path, dir, cell, name, NULL);
	runtime_clear(path);
	rmdir(path);
}
