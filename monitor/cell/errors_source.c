/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cell/errors_source.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "faultcontain/host/probe.h"
#include "faultcontain/host/tracing.h"

#define DEADLINE_MS 20000
/* A CPU that executes nothing for so long hangs. */
#define ANSWER_NS (5000ull * 1000000u)
#define CPUS_MAX 1024u

/* What the process tells. */
struct told {
	int rc;
	char path[TRACING_PATH_BYTES];
	struct err e;
};

struct work {
	bool remove;
	char name[TRACING_NAME_BYTES];
};

/* "cellvisor-run-cellvisor" for /run/cellvisor: another machine of cells has another one. */
static void name_it(struct work *w, const char *dir)
{
	(void)snprintf(w->name, sizeof(w->name), "cellvisor%s", dir);
	for (char *at = w->name; *at; at++)
		if (*at == '/')
			*at = '-';
}

_Noreturn static void child(const struct work *w, int out)
{
	struct told told = { .rc = 0 };

	if (w->remove)
		/* Whoever read it has just been killed. */
		for (int tries = 0; (told.rc = tracing_remove(w->name)) == -EBUSY && tries < 40;
			tries++)
			usleep(50000);
	else
		told.rc = tracing_make(w->name, told.path, &told.e);
	_exit(write(out, &told, sizeof(told)) == (ssize_t)sizeof(told) ? 0 : 1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Of CPUs that are online, whatever this process is held to. */
static size_t online_cpus(uint32_t cpus[CPUS_MAX])
{
	struct cpu_set set = { { 0 } };
	char text[4096];
	size_t count = 0;
	FILE *file = fopen("/sys/devices/system/cpu/online", "re");

	if (file && fgets(text, sizeof(text), file)) {
		text[strcspn(text, "\n")] = '\0';
		if (!cpu_set_parse(text, &set))
			for (uint32_t cpu = cpu_set_next(&set, 0);
				cpu != CPU_NONE && count < CPUS_MAX;
				cpu = cpu_set_next(&set, cpu + 1))
				cpus[count++] = cpu;
	}
	if (file)
		fclose(file);
	return count;
}

/* Does each CPU execute something? Those that may not be asked are taken to. */
static bool all_answer(void)
{
	const uint64_t deadline = now_ns() + ANSWER_NS;
	struct probe_leftovers left = { 0 };
	struct probe *probe;
	uint32_t cpus[CPUS_MAX];
	size_t count = online_cpus(cpus), waiting = count;

	if (probe_begin(&probe, cpus, count, deadline))
		return false;
	while (waiting > 0 && now_ns() < deadline) {
		struct pollfd ready = { .fd = probe_fd(probe), .events = POLLIN };

		poll(&ready, 1, 100);
		(void)probe_step(probe, now_ns());
		waiting = 0;
		for (size_t i = 0; i < count; i++)
			waiting += probe_cpu(probe, i) == PROBE_CPU_WAITING;
	}
	probe_end(probe, &left);
	probe_leftovers_fini(&left);
	return waiting == 0;
}

/* Does it in a process. False: it took too long, or could not even begin. */
static bool done_aside(const struct work *w, struct told *told)
{
	struct pollfd ready = { .events = POLLIN };
	int ends[2];
	pid_t pid;
	bool done;

	if (pipe2(ends, O_CLOEXEC))
		return false;
	pid = fork();
	if (pid == 0)
		child(w, ends[1]);
	close(ends[1]);
	ready.fd = ends[0];
	done = pid > 0 && poll(&ready, 1, DEADLINE_MS) == 1 &&
	       read(ends[0], told, sizeof(*told)) == (ssize_t)sizeof(*told);
	close(ends[0]);
	if (pid > 0) {
		if (!done)
			kill(pid, SIGKILL);
		waitpid(pid, NULL, done ? 0 : WNOHANG);
	}
	return done;
}

void errors_source_make(const char *dir, struct plan *p)
{
	struct work work = { .remove = false };
	struct told told;

	p->trace_dir[0] = p->trace_missing[0] = '\0';
	if (!p->retire_after && !p->drain_after)
		return;
	name_it(&work, dir);
	if (!all_answer())
		(void)snprintf(p->trace_missing, sizeof(p->trace_missing),
			"a CPU executes nothing, so that the kernel's tracer can't be set up");
	else if (!done_aside(&work, &told))
		(void)snprintf(p->trace_missing, sizeof(p->trace_missing),
			"the kernel's tracer did not get ready within %d s", DEADLINE_MS / 1000);
	else if (told.rc)
		(void)snprintf(p->trace_missing, sizeof(p->trace_missing), "%.120s", told.e.text);
	else
		(void)snprintf(p->trace_dir, sizeof(p->trace_dir), "%s", told.path);
}

void errors_source_remove(const char *dir)
{
	struct work work = { .remove = true };
	struct told told;

	name_it(&work, dir);
	if (all_answer())
		(void)done_aside(&work, &told);
}
