/* SPDX-License-Identifier: BSD-2-Clause */
#include "numa/host/exe_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "numa/host/bind.h"

static int read_all(int fd, uint8_t *to, size_t bytes)
{
	size_t done = 0;

	while (done < bytes) {
		ssize_t n = pread(fd, to + done, bytes - done, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

/* Fills [map, map + bytes) from `from` with pages of this node, and makes sure of it. */
static int fill_on_node(int from, size_t file_bytes, uint8_t *map, size_t bytes, uint32_t os_node)
{
	uint64_t counts[BIND_NODES];
	struct node_set node = { 0 };
	int rc;

	node_set_add(&node, os_node);
	rc = bind_memory(map, bytes, &node, false);
	if (!rc)
		rc = read_all(from, map, file_bytes);
	if (!rc)
		rc = bind_count_pages(0, map, bytes, counts);
	if (!rc && counts[os_node] != bytes / 4096)
		rc = -ENOMEM;
	return rc;
}

int exe_copy(uint32_t cell, uint32_t os_node)
{
	int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	size_t bytes = 0;
	struct stat st;
	char name[32];
	uint8_t *map;
	int fd, rc;

	if (from < 0)
		return -errno;
	(void)snprintf(name, sizeof(name), "cellvisor-cell-%u", cell);
	fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0) {
		rc = -errno;
		goto close_from;
	}
	rc = fstat(from, &st) != 0 ? -errno : 0;
	if (!rc) {
		bytes = ((size_t)st.st_size + 4095) & ~(size_t)4095;
		rc = ftruncate(fd, (off_t)bytes) != 0 ? -errno : 0;
	}
	if (rc)
		goto close_fd;
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		rc = -errno;
		goto close_fd;
	}
	rc = fill_on_node(from, (size_t)st.st_size, map, bytes, os_node);
	(void)munmap(map, bytes);
	if (!rc && fcntl(fd, F_ADD_SEALS,
			   F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
		rc = -errno;
	if (!rc) {
		(void)close(from);
		return fd;
	}
close_fd:
	(void)close(fd);
close_from:
	(void)close(from);
	return rc;
}
