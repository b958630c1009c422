/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest process with all that it has, from one cell to another. */

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "monitor/cell/mover.h"

#define PASSES 8
#define PAUSE_US 2000u
/* Threads that begin while the others are bound inherit what their maker had. */
#define THREAD_PASSES 3

static void bind_threads(pid_t pid, const struct cpu_set *cpus)
{
	char path[64];
	const struct dirent *entry;
	DIR *task;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	task = opendir(path);
	/* The stream is this thread's alone. NOLINTNEXTLINE(concurrency-mt-unsafe) */
	while (task && (entry = readdir(task)) != NULL)
		/* The kernel's workers for disks may refuse: they are bound by their threads. */
		if (entry->d_name[0] != '.')
			(void)bind_thread((pid_t)strtol(entry->d_name, NULL, 10), cpus);
	if (task)
		closedir(task);
}

/* One line of numa_maps: "ADDRESS POLICY ... N0=12 N3=4 ...". */
static void count_line(char *line, const struct node_set *from, uint64_t *pages, uint64_t *left)
{
	char *word, *rest = line;

	/* Pages of the kernel's own that it lets the process see: vCPU state, rings. */
	if (strstr(line, " file=anon_inode:"))
		return;
	while ((word = strsep(&rest, " \n")) != NULL) {
		unsigned int node;
		unsigned long long count;

		if (sscanf(word, "N%u=%llu", &node, &count) != 2)
			continue;
		*pages += count;
		if (node_set_has(from, node))
			*left += count;
	}
}

/* 0 or -errno. */
static int count(pid_t pid, const struct node_set *from, uint64_t *pages, uint64_t *left)
{
	char path[64], line[1024];
	FILE *file;

	*pages = *left = 0;
	snprintf(path, sizeof(path), "/proc/%d/numa_maps", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file))
		count_line(line, from, pages, left);
	fclose(file);
	return 0;
}

int mover_house(const struct mover_order *o, uint64_t *pages, uint64_t *left, struct err *e)
{
	const struct mover_house *h = &o->house;
	struct cgroup_limits limits = h->limits;
	const pid_t pid = o->proc.pid;
	int rc;

	limits.cpus = &h->group_cpus;
	limits.nodes = &h->to;
	rc = proc_over(&o->proc);
	if (rc)
		return err_set(e, EXIT_FAILED, "its process has ended");
	rc = cgroup_make(h->group, &limits, e);
	if (!rc)
		rc = cgroup_add(h->group, pid, e);
	if (rc)
		return rc;
	for (int pass = 0; pass < THREAD_PASSES; pass++)
		bind_threads(pid, &h->cpus);
	for (int pass = 0; pass < PASSES; pass++) {
		rc = bind_migrate(pid, &h->from, &h->to);
		if (rc >= 0)
			rc = count(pid, &h->from, pages, left);
		if (rc < 0)
			return err_set(e, EXIT_FAILED, "its process's memory can't be moved: %s",
				strerrordesc_np(-rc));
		if (*left == 0)
			return 0;
		usleep(PAUSE_US << (unsigned int)pass);
	}
	return err_set(e, EXIT_FAILED,
		"%llu pages of its process stay where they are; see /proc/%d/numa_maps",
		(unsigned long long)*left, (int)pid);
}
