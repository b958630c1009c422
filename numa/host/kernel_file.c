/* SPDX-License-Identifier: BSD-2-Clause */
#include "numa/host/kernel_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int kernel_file_write(int dir, const char *name, const char *text)
{
	/* The tracer empties its buffer when it is opened so; to the others it is nothing. */
	int fd = openat(dir, name, O_WRONLY | O_TRUNC | O_CLOEXEC), rc = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, text, strlen(text));
	if (n < 0)
		rc = -errno;
	else if ((size_t)n != strlen(text))
		rc = -EIO;
	(void)close(fd);
	return rc;
}
