/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/inject/bystanders.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "faultcontain/host/probe.h"
#include "faultcontain/inject/node_plan.h"
#include "numa/host/bind.h"

/* A task that starts while we look inherits the CPUs of its parent: look until nothing is new. */
#define PASSES_MAX 8
#define SCRUB_TIMEOUT_NS 10000000000ull

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* --- tasks --------------------------------------------------------------- */

static int remember(struct bystanders *b, pid_t tid, const struct cpu_set *before)
{
	if (b->task_count == b->room) {
		size_t room = b->room ? b->room * 2 : 256;
		struct moved_task *tasks = realloc(b->tasks, room * sizeof(*tasks));

		if (!tasks)
			return -ENOMEM;
		b->tasks = tasks;
		b->room = room;
	}
	b->tasks[b->task_count].tid = tid;
	b->tasks[b->task_count++].before = *before;
	return 0;
}

/* 1 if moved, 0 if it can stay or can't be moved (a kernel thread of that CPU), or -errno. */
static int move_task(
	struct bystanders *b, pid_t tid, const struct cpu_set *dying, const struct cpu_set *others)
{
	struct cpu_set now, to;

	if (bind_thread_read(tid, &now) || !plan_move(&now, dying, others, &to))
		return 0;
	if (bind_thread(tid, &to))
		return 0;
	return remember(b, tid, &now) ? -ENOMEM : 1;
}

static int number_of(const char *name)
{
	char *end;
	long n = strtol(name, &end, 10);

	return *end || n <= 0 || n > INT32_MAX ? -1 : (int)n;
}

static int move_process(struct bystanders *b, pid_t pid, const struct cpu_set *dying,
	const struct cpu_set *others, size_t *moved)
{
	char path[64];
	struct dirent *entry;
	DIR *dir;
	int rc = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	if (!dir)
		return 0; /* it has ended */
	/* readdir() is safe: the stream is ours alone. */
	while (rc >= 0 && (entry = readdir(dir)) != NULL) { // NOLINT(concurrency-mt-unsafe)
		int tid = number_of(entry->d_name);

		if (tid < 0)
			continue;
		rc = move_task(b, tid, dying, others);
		*moved += rc > 0;
	}
	(void)closedir(dir);
	return rc < 0 ? rc : 0;
}

static int move_all(struct bystanders *b, const struct cpu_set *dying, const struct cpu_set *others,
	const struct proc_id *members, size_t member_count, size_t *moved)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	int rc = 0;

	*moved = 0;
	if (!dir)
		return -errno;
	while (!rc && (entry = readdir(dir)) != NULL) { // NOLINT(concurrency-mt-unsafe)
		int pid = number_of(entry->d_name);

		if (pid > 0 && !plan_is_member(members, member_count, pid))
			rc = move_process(b, pid, dying, others, moved);
	}
	(void)closedir(dir);
	return rc;
}

/* --- interrupts and the kernel's own work ---------------------------------- */

static void move_interrupts(
	struct bystanders *b, const struct cpu_set *dying, const struct cpu_set *others)
{
	DIR *dir = opendir("/proc/irq");
	struct dirent *entry;
	char path[SETTING_PATH_BYTES], text[SETTING_TEXT_BYTES];

	if (!dir)
		return;
	while ((entry = readdir(dir)) != NULL) { // NOLINT(concurrency-mt-unsafe)
		struct cpu_set now, to;

		if (number_of(entry->d_name) < 0)
			continue;
		(void)snprintf(
			path, sizeof(path), "/proc/irq/%.16s/smp_affinity_list", entry->d_name);
		if (setting_read_cpus(path, &now) || !plan_move(&now, dying, others, &to))
			continue;
		/* Some can't be moved (a CPU's own, or one without a handler): those don't matter.
		 */
		if (cpu_set_format(&to, text, sizeof(text)) > 0)
			(void)settings_change(&b->settings, path, text);
	}
	(void)closedir(dir);
}

static int quiet_kernel(struct bystanders *b, const struct cpu_set *others, struct err *e)
{
	char mask[SETTING_TEXT_BYTES];
	const struct {
		const char *path, *text;
	} wanted[] = {
		/* Work that may run anywhere. */
		{ "/sys/devices/virtual/workqueue/cpumask", mask },
		/* New interrupts. */
		{ "/proc/irq/default_smp_affinity", mask },
		/* Making huge pages interrupts every CPU, and waits. */
		{ "/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs",
			"3600000" },
		{ "/proc/sys/kernel/numa_balancing", "0" },
		/* Watchers of CPUs that would be right to complain. */
		{ "/proc/sys/kernel/watchdog", "0" },
		/* A line on a slow console for each poisoned page. */
		{ "/proc/sys/kernel/printk", "1" },
	};

	if (plan_mask_write(others, mask, sizeof(mask)))
		return err_set(e, EXIT_FAILED, "too many CPUs for a mask");
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		int rc = settings_change(&b->settings, wanted[i].path, wanted[i].text);

		/* What this kernel has not needs no quieting. */
		if (rc && rc != -ENOENT) {
			(void)err_set(e, EXIT_ENVIRONMENT, "can't write '%s' to %s: %s",
				wanted[i].text, wanted[i].path, strerrordesc_np(-rc));
			return rc;
		}
	}
	return 0;
}

/* --- address spaces -------------------------------------------------------- */

int bystanders_scrub(const struct cpu_set *dying, struct err *e)
{
	uint32_t cpus[CPU_SET_CPUS];
	size_t count = 0;
	struct probe_leftovers book = { 0 };
	struct pollfd fd = { .events = POLLIN };
	uint64_t end_ns = now_ns() + SCRUB_TIMEOUT_NS;
	struct probe *p;
	int rc;

	for (uint32_t cpu = cpu_set_next(dying, 0); cpu != CPU_NONE;
		cpu = cpu_set_next(dying, cpu + 1))
		cpus[count++] = cpu;
	if (!count)
		return 0;
	rc = probe_begin(&p, cpus, count, end_ns);
	if (rc)
		return rc;
	fd.fd = probe_fd(p);
	while (now_ns() < end_ns) {
		(void)probe_step(p, now_ns());
		if (probe_answered(p) == count)
			break;
		(void)poll(&fd, 1, 100);
	}
	if (probe_answered(p) != count)
		rc = err_set(e, EXIT_FAILED,
			"only %zu of the %zu CPUs answer before they are frozen; are they online?",
			probe_answered(p), count);
	probe_end(p, &book);
	(void)probe_reap(&book);
	probe_leftovers_fini(&book);
	return rc;
}

int bystanders_drain_pages(struct err *e)
{
	void *page = &(char){ 0 };
	int status = 0;
	long rc;

	/* Asking to move a page makes the kernel empty those lists of all CPUs, also if the page
	 * stays where it is. */
	rc = syscall(SYS_move_pages, 0, 1ul, &page, &(int){ 0 }, &status, 0);
	if (rc < 0)
		return err_set(e, EXIT_ENVIRONMENT, "can't empty the lists of pages: %s",
			strerrordesc_np(errno));
	return 0;
}

int bystanders_away(struct bystanders *b, const struct cpu_set *dying, const struct cpu_set *others,
	const struct proc_id *members, size_t member_count, struct err *e)
{
	size_t moved = 1;
	int rc = quiet_kernel(b, others, e);

	if (rc)
		return rc;
	move_interrupts(b, dying, others);
	for (int pass = 0; pass < PASSES_MAX && moved; pass++) {
		rc = move_all(b, dying, others, members, member_count, &moved);
		if (rc) {
			(void)err_set(e, EXIT_ENVIRONMENT, "can't move tasks off the CPUs: %s",
				strerrordesc_np(-rc));
			return rc;
		}
	}
	if (moved)
		return err_set(e, EXIT_FAILED,
			"other tasks keep starting on the CPUs of the node; stop them first");
	return 0;
}

void bystanders_back(struct bystanders *b, bool tasks_too)
{
	for (size_t i = b->task_count; tasks_too && i-- > 0;)
		(void)bind_thread(b->tasks[i].tid, &b->tasks[i].before);
	settings_restore(&b->settings);
	free(b->tasks);
	*b = (struct bystanders){ 0 };
}
