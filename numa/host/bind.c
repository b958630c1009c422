/* SPDX-License-Identifier: BSD-2-Clause */
#include "numa/host/bind.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
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

/* The system calls, without libnuma's own state: the kernel wants one bit more than it reads. */
int bind_memory(void *addr, size_t bytes, const struct node_set *nodes, bool prefer_only)
{
	unsigned long mode = prefer_only ? MPOL_PREFERRED_MANY : MPOL_BIND;

	if (syscall(SYS_mbind, addr, bytes, mode, nodes->words, BIND_NODES + 1, 0) != 0)
		return -errno;
	return 0;
}

int bind_process_memory(const struct node_set *nodes)
{
	if (syscall(SYS_set_mempolicy, MPOL_BIND, nodes->words, BIND_NODES + 1) != 0)
		return -errno;
	return 0;
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

int bind_node_memory(uint32_t os_node, uint64_t *free_bytes, uint64_t *total_bytes)
{
	char path[64], line[128];
	bool have_free = false, have_total = false;
	FILE *file;

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
			*free_bytes = kib * 1024;
			have_free = true;
		} else if (strcmp(key, "MemTotal") == 0) {
			*total_bytes = kib * 1024;
			have_total = true;
		}
	}
	(void)fclose(file);
	return have_free && have_total ? 0 : -EPROTO;
}
