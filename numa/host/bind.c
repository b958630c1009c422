/* SPDX-License-Identifier: BSD-2-Clause */
#include "numa/host/bind.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "numa/check.h"

#define PAGE_BYTES 4096u
#define QUERY_PAGES 512u

void node_set_add(struct node_set *s, uint32_t os_node)
{
	CHECK(os_node < BIND_NODES);
	s->words[os_node / 64] |= 1ull << (os_node % 64);
}

bool node_set_has(const struct node_set *s, uint32_t os_node)
{
	return os_node < BIND_NODES && (s->words[os_node / 64] >> (os_node % 64) & 1);
}

/*
 * The system calls themselves: libnuma's wrappers, linked statically, bring its
 * constructor along, which reads half of sysfs at the start of every process.
 */

/* The kernel reads one bit less than it is told: get_nodes() in mm/mempolicy.c. */
#define MAXNODE (BIND_NODES + 1ul)

int bind_memory(void *addr, size_t bytes, const struct node_set *nodes, bool prefer_only)
{
	int mode = prefer_only ? MPOL_PREFERRED_MANY : MPOL_BIND;

	return syscall(SYS_mbind, addr, bytes, mode, nodes->words, MAXNODE, 0) != 0 ? -errno : 0;
}

int bind_move(void *addr, size_t bytes, const struct node_set *nodes)
{
	unsigned int flags = MPOL_MF_MOVE | MPOL_MF_STRICT;

	if (syscall(SYS_mbind, addr, bytes, MPOL_BIND, nodes->words, MAXNODE, flags) != 0)
		return -errno;
	return 0;
}

int bind_process_memory(const struct node_set *nodes)
{
	return syscall(SYS_set_mempolicy, MPOL_BIND, nodes->words, MAXNODE) != 0 ? -errno : 0;
}

int bind_process_memory_within(const struct node_set *nodes)
{
	struct node_set now = { { 0 } };
	bool any = false;
	int mode;

	if (syscall(SYS_get_mempolicy, &mode, now.words, MAXNODE, NULL, 0) != 0)
		return -errno;
	for (size_t i = 0; i < BIND_NODES / 64; i++) {
		now.words[i] &= nodes->words[i];
		any |= now.words[i] != 0;
	}
	return bind_process_memory(mode == MPOL_BIND && any ? &now : nodes);
}

int bind_migrate(pid_t pid, const struct node_set *from, const struct node_set *to)
{
	long left = syscall(SYS_migrate_pages, pid, MAXNODE, from->words, to->words);

	return left < 0 ? -errno : (int)left;
}

void bind_name_thread(const char *name)
{
	char cut[16] = { 0 };

	(void)snprintf(cut, sizeof(cut), "%s", name);
	/* Fails for nothing but a bad pointer. */
	(void)prctl(PR_SET_NAME, cut, 0, 0, 0);
}

int bind_thread(pid_t tid, const struct cpu_set *cpus)
{
	if (sched_setaffinity(tid, sizeof(cpus->words), (const cpu_set_t *)cpus->words) != 0)
		return -errno;
	return 0;
}

int bind_thread_read(pid_t tid, struct cpu_set *cpus)
{
	memset(cpus, 0, sizeof(*cpus));
	if (sched_getaffinity(tid, sizeof(cpus->words), (cpu_set_t *)cpus->words) != 0)
		return -errno;
	return 0;
}

int bind_count_pages(pid_t pid, const void *addr, size_t bytes, uint64_t *counts)
{
	const uint8_t *at = addr;
	size_t left = bytes / PAGE_BYTES;

	memset(counts, 0, BIND_NODES * sizeof(*counts));
	while (left > 0) {
		unsigned long n = left < QUERY_PAGES ? left : QUERY_PAGES;
		const void *pages[QUERY_PAGES];
		int status[QUERY_PAGES];

		for (unsigned long i = 0; i < n; i++)
			pages[i] = at + i * PAGE_BYTES;
		if (syscall(SYS_move_pages, pid, n, pages, NULL, status, 0) != 0)
			return -errno;
		for (unsigned long i = 0; i < n; i++) {
			if (status[i] >= 0 && (uint32_t)status[i] < BIND_NODES)
				counts[status[i]]++;
		}
		at += n * PAGE_BYTES;
		left -= n;
	}
	return 0;
}

int bind_move_pages(pid_t pid, void *const *pages, uint32_t count, uint32_t os_node, int *status)
{
	int nodes[BIND_MOVE_PAGES];

	CHECK(count <= BIND_MOVE_PAGES && os_node < BIND_NODES);
	for (uint32_t i = 0; i < count; i++) {
		nodes[i] = (int)os_node;
		/* What the kernel gives up before it comes to a page, it leaves untouched. */
		status[i] = -EAGAIN;
	}
	/* Above 0: so many were not moved; status says which. */
	return syscall(SYS_move_pages, pid, (unsigned long)count, pages, nodes, status,
		       MPOL_MF_MOVE_ALL) < 0
		       ? -errno
		       : 0;
}

/*
 * What the kernel would give up: half of page cache and slab, as its own
 * estimate of MemAvailable does (mm/page_alloc.c, si_mem_available()).
 */
static uint64_t reclaimable(uint64_t file_bytes, uint64_t slab_bytes)
{
	return file_bytes / 2 + slab_bytes / 2;
}

int bind_node_memory(uint32_t os_node, struct node_memory *memory)
{
	uint64_t file_bytes = 0, slab_bytes = 0;
	bool have_free = false, have_total = false;
	char path[64], line[128];
	FILE *file;

	memset(memory, 0, sizeof(*memory));
	(void)snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/meminfo", os_node);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file)) {
		unsigned long long kib;
		char key[32];

		if (sscanf(line, "Node %*u %31[^:]: %llu kB", key, &kib) != 2)
			continue;
		if (strcmp(key, "MemFree") == 0) {
			memory->free_bytes = kib * 1024;
			have_free = true;
		} else if (strcmp(key, "MemTotal") == 0) {
			memory->total_bytes = kib * 1024;
			have_total = true;
		} else if (strcmp(key, "Active(file)") == 0 || strcmp(key, "Inactive(file)") == 0) {
			file_bytes += kib * 1024;
		} else if (strcmp(key, "SReclaimable") == 0) {
			slab_bytes = kib * 1024;
		}
	}
	(void)fclose(file);
	memory->available_bytes = memory->free_bytes + reclaimable(file_bytes, slab_bytes);
	return have_free && have_total ? 0 : -EPROTO;
}
