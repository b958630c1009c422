/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/inject/poison.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PAGE_BITS 12u
#define ENTRIES_AT_ONCE 512u
#define HARD_OFFLINE "/sys/devices/system/memory/hard_offline_page"

int poison_open(struct poison *p, struct err *e)
{
	p->kpageflags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	p->hard_offline = open(HARD_OFFLINE, O_WRONLY | O_CLOEXEC);
	if (p->kpageflags >= 0 && p->hard_offline >= 0)
		return 0;
	(void)err_set(e, EXIT_ENVIRONMENT,
		"can't open /proc/kpageflags and " HARD_OFFLINE
		": %s; it takes root and a kernel with CONFIG_MEMORY_FAILURE",
		strerrordesc_np(errno));
	poison_close(p);
	return -EPERM;
}

void poison_close(struct poison *p)
{
	if (p->kpageflags >= 0)
		(void)close(p->kpageflags);
	if (p->hard_offline >= 0)
		(void)close(p->hard_offline);
	p->kpageflags = p->hard_offline = -1;
}

static int poison_frame(const struct poison *p, uint64_t frame)
{
	char address[32];
	uint64_t flags;
	int n;

	if (pread(p->kpageflags, &flags, sizeof(flags), (off_t)(frame * sizeof(flags))) !=
		(ssize_t)sizeof(flags))
		return -ENXIO;
	if (!plan_may_poison(flags))
		return -ENXIO;
	n = snprintf(address, sizeof(address), "0x%" PRIx64, frame << PAGE_BITS);
	return pwrite(p->hard_offline, address, (size_t)n, 0) == n ? 0 : -errno;
}

static void poison_area(const struct poison *p, int pagemap, const struct plan_area *area,
	const struct plan_frames *frames, volatile struct poison_count *count)
{
	uint64_t entries[ENTRIES_AT_ONCE], frame;
	uint64_t page = area->start >> PAGE_BITS, end = area->end >> PAGE_BITS;

	while (page < end) {
		size_t want = end - page < ENTRIES_AT_ONCE ? end - page : ENTRIES_AT_ONCE;
		ssize_t n = pread(pagemap, entries, want * sizeof(entries[0]),
			(off_t)(page * sizeof(entries[0])));

		if (n < (ssize_t)sizeof(entries[0]))
			return;
		for (size_t i = 0; i < (size_t)n / sizeof(entries[0]); i++) {
			if (!plan_frame_of(entries[i], &frame) || !plan_frames_has(frames, frame))
				continue;
			if (poison_frame(p, frame) == 0)
				count->poisoned++;
			else
				count->refused++;
		}
		page += (size_t)n / sizeof(entries[0]);
	}
}

static int open_of(const struct proc_id *id, const char *name)
{
	uint64_t start_time;
	char path[64];
	int fd, rc;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)id->pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	/* The descriptor belongs to whoever has the pid now. */
	rc = proc_start_time(id->pid, &start_time);
	if (!rc && start_time != id->start_time)
		rc = -ESRCH;
	if (rc) {
		(void)close(fd);
		return rc;
	}
	return fd;
}

int poison_process(const struct poison *p, const struct proc_id *id,
	const struct plan_frames *frames, volatile struct poison_count *count)
{
	int pagemap = open_of(id, "pagemap"), maps_fd;
	char line[1024];
	FILE *maps;

	if (pagemap < 0)
		return pagemap;
	maps_fd = open_of(id, "maps");
	maps = maps_fd < 0 ? NULL : fdopen(maps_fd, "r");
	if (!maps) {
		if (maps_fd >= 0)
			(void)close(maps_fd);
		(void)close(pagemap);
		return maps_fd < 0 ? maps_fd : -ENOMEM;
	}
	while (fgets(line, sizeof(line), maps)) {
		struct plan_area area;

		if (plan_area_of(line, &area))
			poison_area(p, pagemap, &area, frames, count);
	}
	(void)fclose(maps);
	(void)close(pagemap);
	return 0;
}

int poison_page(const struct poison *p, const struct proc_id *id, uint64_t address)
{
	int pagemap = open_of(id, "pagemap");
	uint64_t entry, frame;
	ssize_t n;

	if (pagemap < 0)
		return pagemap;
	n = pread(pagemap, &entry, sizeof(entry), (off_t)((address >> PAGE_BITS) * sizeof(entry)));
	(void)close(pagemap);
	if (n != (ssize_t)sizeof(entry) || !plan_frame_of(entry, &frame))
		return -ENXIO;
	return poison_frame(p, frame);
}
