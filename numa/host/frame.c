/* SPDX-License-Identifier: BSD-2-Clause */
#include "numa/host/frame.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "numa/host/kernel_file.h"

#define BLOCKS "/sys/devices/system/memory"

static int block_bytes(uint64_t *bytes)
{
	char text[32], *end;
	int fd = open(BLOCKS "/block_size_bytes", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	if (n <= 0)
		return -EIO;
	text[n] = '\0';
	*bytes = strtoull(text, &end, 16);
	return end != text && *bytes >= FRAME_BYTES ? 0 : -EINVAL;
}

int frame_node(uint64_t frame, uint32_t *os_node)
{
	char path[80];
	struct dirent *entry;
	uint64_t bytes = FRAME_BYTES;
	DIR *dir;
	int found = 0, rc = block_bytes(&bytes);

	if (rc)
		return rc;
	(void)snprintf(path, sizeof(path), BLOCKS "/memory%llu",
		(unsigned long long)(frame / (bytes / FRAME_BYTES)));
	dir = opendir(path);
	if (!dir)
		return -errno;
	/* One stream belongs to one thread. NOLINTNEXTLINE(concurrency-mt-unsafe) */
	while ((entry = readdir(dir))) {
		unsigned int node;
		char rest;

		if (sscanf(entry->d_name, "node%u%c", &node, &rest) != 1)
			continue;
		*os_node = node;
		found++;
	}
	(void)closedir(dir);
	return found == 1 ? 0 : found ? -EXDEV : -ENOENT;
}

int frame_soft_offline(uint64_t frame)
{
	char text[32];
	int rc;

	(void)snprintf(text, sizeof(text), "0x%" PRIx64, frame * FRAME_BYTES);
	rc = kernel_file_write(AT_FDCWD, BLOCKS "/soft_offline_page", text);
	return rc == -ENOENT ? -EOPNOTSUPP : rc;
}
