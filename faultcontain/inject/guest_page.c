/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/inject/guest_page.h"

#include "faultcontain/inject/node_plan.h"
#include "numa/host/kernel_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096u
#define TRIES 50
#define RAM_LINK "/memfd:cv-ram"

/* Opens the memfd among the descriptors of a process; -ENOENT if there is none. */
static int open_ram(pid_t pid)
{
	char folder[64], path[sizeof(folder) + 280], target[64];
	const struct dirent *entry;
	int fd = -ENOENT;
	DIR *fds;

	snprintf(folder, sizeof(folder), "/proc/%d/fd", (int)pid);
	fds = opendir(folder);
	if (!fds)
		return errno == ENOENT ? -ESRCH : -errno;
	/* The stream is this function's own. NOLINTNEXTLINE(concurrency-mt-unsafe) */
	while (fd == -ENOENT && (entry = readdir(fds))) {
		ssize_t n;

		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		n = readlink(path, target, sizeof(target) - 1);
		target[n > 0 ? n : 0] = '\0';
		if (strncmp(target, RAM_LINK, sizeof(RAM_LINK) - 1) != 0)
			continue;
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			fd = -errno;
	}
	closedir(fds);
	return fd;
}

int guest_ram_open(struct guest_ram *ram, const struct proc_id *guest, struct err *e)
{
	uint64_t start_time;
	struct stat st;
	int rc;

	ram->fd = open_ram(guest->pid);
	rc = ram->fd < 0 ? ram->fd : proc_start_time(guest->pid, &start_time);
	if (!rc && start_time != guest->start_time)
		rc = -ESRCH;
	if (!rc && fstat(ram->fd, &st) < 0)
		rc = -errno;
	if (!rc) {
		ram->bytes = (uint64_t)st.st_size;
		return 0;
	}
	if (ram->fd >= 0)
		close(ram->fd);
	return err_set(e, EXIT_ENVIRONMENT, "the RAM of process %d can't be opened: %s",
		(int)guest->pid, strerrordesc_np(-rc));
}

void guest_ram_close(struct guest_ram *ram)
{
	close(ram->fd);
	ram->fd = -1;
}

int guest_ram_find(const struct guest_ram *ram, uint64_t from, bool used, uint64_t *off)
{
	for (int pass = 0; pass < 2; pass++) {
		off_t at = lseek(ram->fd, (off_t)(pass ? 0 : from), used ? SEEK_DATA : SEEK_HOLE);

		/* The end of the file counts as a hole. */
		if (at >= 0 && (uint64_t)at < ram->bytes) {
			*off = (uint64_t)at & ~(uint64_t)(PAGE - 1);
			return 0;
		}
	}
	return -ENOENT;
}

int guest_ram_has(const struct guest_ram *ram, uint64_t off)
{
	off_t at = lseek(ram->fd, (off_t)off, SEEK_DATA);

	if (at < 0)
		return errno == ENXIO ? 0 : -errno;
	return (uint64_t)at < off + PAGE;
}

static int read_entry(const char *path, uint64_t index, uint64_t *entry)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = pread(fd, entry, sizeof(*entry), (off_t)(index * sizeof(*entry)));
	close(fd);
	return n == (ssize_t)sizeof(*entry) ? 0 : -ENXIO;
}

int guest_ram_frame(const struct guest_ram *ram, uint64_t off, uint64_t *frame)
{
	const volatile uint8_t *page =
		mmap(NULL, PAGE, PROT_READ, MAP_SHARED | MAP_POPULATE, ram->fd, (off_t)off);
	uint64_t entry = 0, flags = 0;
	int rc;

	if (page == MAP_FAILED)
		return -errno;
	rc = read_entry("/proc/self/pagemap", (uintptr_t)page / PAGE, &entry);
	munmap((void *)(uintptr_t)page, PAGE);
	if (!rc && !plan_frame_of(entry, frame))
		rc = -ENXIO;
	if (!rc)
		rc = read_entry("/proc/kpageflags", *frame, &flags);
	if (!rc && !plan_may_poison(flags))
		rc = -EBUSY;
	return rc;
}

int guest_ram_poison(uint64_t frame)
{
	const struct timespec pause = { .tv_nsec = 20000000 };
	char address[32];
	int rc = -EBUSY;

	snprintf(address, sizeof(address), "0x%" PRIx64, frame * PAGE);
	/* A page that was just allocated may be on its way to the kernel's lists. */
	for (int i = 0; i < TRIES && rc == -EBUSY; i++) {
		rc = kernel_file_write(
			AT_FDCWD, "/sys/devices/system/memory/hard_offline_page", address);
		if (rc == -EBUSY)
			(void)nanosleep(&pause, NULL);
	}
	return rc == -EHWPOISON ? 0 : rc;
}
