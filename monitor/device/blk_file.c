/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/device/blk_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_failed(const char *path, bool read_only, int error, struct err *e)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
		return err_set(e, EXIT_INVALID, "disk %s: no such file", path);
	case EISDIR:
		return err_set(e, EXIT_INVALID,
			"disk %s is a directory; a disk is a file or a block device", path);
	case EACCES:
	case EPERM:
		return err_set(e, EXIT_ENVIRONMENT, "disk %s: no permission to %s it", path,
			read_only ? "read" : "write");
	case EROFS:
	case ETXTBSY:
		return err_set(e, EXIT_INVALID, "disk %s can't be written (%s); use it read-only",
			path, strerrordesc_np(error));
	default:
		return err_set(e, EXIT_INVALID, "disk %s: %s", path, strerrordesc_np(error));
	}
}

static int check_size(struct blk_file *f, const char *path, struct err *e)
{
	struct stat st;
	off_t end;

	if (fstat(f->fd, &st) != 0)
		return err_set(e, EXIT_FAILED, "disk %s: fstat: %s", path, strerrordesc_np(errno));
	if (S_ISDIR(st.st_mode))
		return open_failed(path, f->read_only, EISDIR, e);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(
			e, EXIT_INVALID, "disk %s is neither a file nor a block device", path);
	end = lseek(f->fd, 0, SEEK_END);
	if (end < 0)
		return err_set(e, EXIT_INVALID, "disk %s: %s", path, strerrordesc_np(errno));
	f->bytes = (uint64_t)end;
	if (f->bytes == 0)
		return err_set(e, EXIT_INVALID,
			"disk %s is empty; its size must be a positive multiple of 512 bytes",
			path);
	if (f->bytes % BLK_SECTOR_BYTES != 0)
		return err_set(e, EXIT_INVALID,
			"disk %s has %llu bytes; its size must be a multiple of 512", path,
			(unsigned long long)f->bytes);
	/* Beyond the end there is nothing to punch, so this only asks whether it could be done. */
	f->can_punch = S_ISREG(st.st_mode) && !f->read_only &&
		       fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, end,
			       BLK_SECTOR_BYTES) == 0;
	return 0;
}

static void make_id(struct blk_file *f)
{
	char text[64] = { 0 };
	struct stat st;

	if (fstat(f->fd, &st) == 0)
		(void)snprintf(text, sizeof(text), "%llx-%llx", (unsigned long long)st.st_dev,
			(unsigned long long)st.st_ino);
	memcpy(f->id, text, sizeof(f->id));
}

static int lock(const struct blk_file *f, const char *path, struct err *e)
{
	if (flock(f->fd, (f->read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return err_set(e, EXIT_CONFLICT, "disk %s is in use by another guest%s", path,
			f->read_only ? " that writes to it" : "");
	return err_set(
		e, EXIT_ENVIRONMENT, "disk %s can't be locked: %s", path, strerrordesc_np(errno));
}

int blk_file_open(struct blk_file *f, const char *path, bool read_only, struct err *e)
{
	int rc;

	*f = (struct blk_file){ .read_only = read_only };
	/* Nonblocking, so that a FIFO doesn't hold us up; it must not stay on, or reads fail with
	 * EAGAIN. */
	f->fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (f->fd < 0)
		return open_failed(path, read_only, errno, e);
	rc = check_size(f, path, e);
	if (rc)
		goto undo_open;
	if (fcntl(f->fd, F_SETFL, 0) != 0) {
		rc = err_set(e, EXIT_FAILED, "disk %s: fcntl: %s", path, strerrordesc_np(errno));
		goto undo_open;
	}
	rc = lock(f, path, e);
	if (rc)
		goto undo_open;
	make_id(f);
	return 0;

undo_open:
	(void)close(f->fd);
	f->fd = -1;
	return rc;
}

void blk_file_close(struct blk_file *f)
{
	/* Releases the lock too. What was written is in the host's page cache. */
	if (f->fd >= 0)
		(void)close(f->fd);
	f->fd = -1;
}
