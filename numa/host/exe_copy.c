/* SPDX-License-Identifier: BSD-2-Clause */
#include "numa/host/exe_copy.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
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

/* Where the last part that is loaded ends in the file; 0 if it can't be told. */
static size_t loaded_bytes(int fd)
{
	Elf64_Phdr part[32];
	Elf64_Ehdr head;
	size_t end = 0;

	if (pread(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
		head.e_phentsize != sizeof(part[0]) || head.e_phnum > 32 ||
		pread(fd, part, head.e_phnum * sizeof(part[0]), (off_t)head.e_phoff) !=
			(ssize_t)(head.e_phnum * sizeof(part[0])))
		return 0;
	for (uint32_t i = 0; i < head.e_phnum; i++)
		if (part[i].p_type == PT_LOAD && part[i].p_offset + part[i].p_filesz > end)
			end = part[i].p_offset + part[i].p_filesz;
	return end;
}

int exe_copy(int from, const char *name, uint32_t os_node)
{
	size_t bytes = 0, loaded;
	struct stat st;
	uint8_t *map;
	int fd, rc;

	fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	rc = fstat(from, &st) != 0 ? -errno : 0;
	loaded = rc ? 0 : loaded_bytes(from);
	if (!rc && (loaded == 0 || loaded > (size_t)st.st_size))
		loaded = (size_t)st.st_size;
	if (!rc) {
		bytes = (loaded + 4095) & ~(size_t)4095;
		rc = ftruncate(fd, (off_t)bytes) != 0 ? -errno : 0;
	}
	if (rc)
		goto close_fd;
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		rc = -errno;
		goto close_fd;
	}
	rc = fill_on_node(from, loaded, map, bytes, os_node);
	(void)munmap(map, bytes);
	if (!rc && fcntl(fd, F_ADD_SEALS,
			   F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
		rc = -errno;
	if (!rc)
		return fd;
close_fd:
	(void)close(fd);
	return rc;
}
