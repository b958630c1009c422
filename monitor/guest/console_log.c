/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/guest/console_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int open_log(const char *path)
{
	return open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static int open_folder(const char *path)
{
	char folder[4096];

	snprintf(folder, sizeof(folder), "%.*s", (int)(base_name(path) - path), path);
	return open(folder[0] ? folder : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

int console_log_open(struct console *c, const struct console_files *files, struct err *e)
{
	c->log_max = files->log_bytes;
	snprintf(c->log_name, sizeof(c->log_name), "%s", base_name(files->log_path));
	snprintf(c->old_log_name, sizeof(c->old_log_name), "%s", base_name(files->old_log_path));
	c->log_fd = open_log(files->log_path);
	if (c->log_fd < 0)
		return err_set(e, EXIT_ENVIRONMENT, "%s can't be made: %s", files->log_path,
			strerrordesc_np(errno));
	c->old_log_fd = open_log(files->old_log_path);
	c->dir_fd = open_folder(files->log_path);
	if (c->old_log_fd >= 0 && c->dir_fd >= 0)
		return 0;
	int rc = err_set(e, EXIT_ENVIRONMENT, "%s can't be made: %s", files->old_log_path,
		strerrordesc_np(errno));
	console_log_close(c);
	return rc;
}

void console_log_close(struct console *c)
{
	close(c->log_fd);
	if (c->old_log_fd >= 0)
		close(c->old_log_fd);
	if (c->dir_fd >= 0)
		close(c->dir_fd);
}

/* The full file becomes the old one, the old one is emptied and becomes the log. */
static void rotate(struct console *c)
{
	int full = c->log_fd;

	if (renameat2(c->dir_fd, c->log_name, c->dir_fd, c->old_log_name, RENAME_EXCHANGE) < 0 ||
		ftruncate(c->old_log_fd, 0) < 0) {
		/* No exchange here, or somebody removed a file: begin the same file anew. */
		(void)!ftruncate(c->log_fd, 0);
	} else {
		c->log_fd = c->old_log_fd;
		c->old_log_fd = full;
	}
	c->log_written = 0;
}

void console_log_write(struct console *c, const uint8_t *data, size_t bytes)
{
	if (c->log_written + bytes > c->log_max)
		rotate(c);
	while (bytes) {
		ssize_t wrote = write(c->log_fd, data, bytes);

		if (wrote <= 0)
			return;
		c->log_written += (uint64_t)wrote;
		data += wrote;
		bytes -= (size_t)wrote;
	}
}
