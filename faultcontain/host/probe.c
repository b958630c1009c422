/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/host/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "numa/check.h"

#define CPUS_MAX 1024u
#define CPU_NUMBERS_MAX 8192u
#define ANSWER_PINNED 0x0000u
#define ANSWER_REFUSED 0x8000u

struct probe {
	size_t count, answered;
	uint64_t deadline_ns;
	int pipe_read;
	uint32_t *cpus; /* owned, as all below */
	enum probe_cpu *state;
	pid_t *pids; /* 0: no child, or reaped */
};

/*
 * The child: system calls only, on its own copy of memory. It first lets go of
 * every descriptor but the pipe, for it may live as long as a CPU hangs, and
 * peers must see the monitor's sockets close when the monitor dies.
 */
static _Noreturn void child(uint32_t cpu, uint16_t index, int pipe_write)
{
	unsigned long mask[CPU_NUMBERS_MAX / (8 * sizeof(unsigned long))] = { 0 };
	const size_t word_bits = 8 * sizeof(mask[0]);
	uint16_t answer = index;
	int out = pipe_write == 0 ? 0 : (int)syscall(SYS_dup2, pipe_write, 0);

	syscall(SYS_close_range, 1u, ~0u, 0u);
	mask[cpu / word_bits] = 1ul << cpu % word_bits;
	/* Returns on the CPU asked for, so not at all if that one hangs. */
	if (syscall(SYS_sched_setaffinity, 0, sizeof(mask), mask) < 0)
		answer |= ANSWER_REFUSED;
	syscall(SYS_write, out, &answer, sizeof(answer));
	for (;;)
		syscall(SYS_exit_group, 0);
}

/*
 * As fork(2), but the child sends no signal at its end. Not vfork or
 * posix_spawn: they would hold the caller until the child executes.
 */
static pid_t start_child(uint32_t cpu, uint16_t index, int pipe_write)
{
	sigset_t all, before;
	pid_t pid;

	(void)sigfillset(&all);
	/* The child must not run the caller's handlers. */
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = (pid_t)syscall(SYS_clone, 0ul, NULL, NULL, NULL, 0ul);
	if (pid == 0)
		child(cpu, index, pipe_write);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return pid;
}

static int allocate(struct probe *p, const uint32_t *cpus)
{
	p->cpus = malloc(p->count * sizeof(*p->cpus));
	p->state = calloc(p->count, sizeof(*p->state));
	p->pids = calloc(p->count, sizeof(*p->pids));
	if (!p->cpus || !p->state || !p->pids)
		return -ENOMEM;
	memcpy(p->cpus, cpus, p->count * sizeof(*p->cpus));
	return 0;
}

int probe_begin(struct probe **out, const uint32_t *cpus, size_t count, uint64_t deadline_ns)
{
	struct probe_leftovers none = { 0 }; /* no child has started when it is needed */
	struct probe *p;
	int ends[2], rc;

	if (count == 0 || count > CPUS_MAX)
		return -EINVAL;
	for (size_t i = 0; i < count; i++)
		if (cpus[i] >= CPU_NUMBERS_MAX)
			return -EINVAL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->count = count;
	p->deadline_ns = deadline_ns;
	p->pipe_read = -1;
	rc = allocate(p, cpus);
	if (!rc && pipe2(ends, O_CLOEXEC | O_NONBLOCK))
		rc = -errno;
	if (rc) {
		probe_end(p, &none);
		return rc;
	}
	p->pipe_read = ends[0];
	for (size_t i = 0; i < count; i++) {
		pid_t pid = start_child(cpus[i], (uint16_t)i, ends[1]);

		if (pid > 0)
			p->pids[i] = pid;
		else
			p->state[i] = PROBE_CPU_FORBIDDEN;
	}
	(void)close(ends[1]);
	*out = p;
	return 0;
}

int probe_fd(const struct probe *p)
{
	return p->pipe_read;
}

/* Whether the kernel lists this CPU as online; when in doubt it is. */
static bool is_online(uint32_t cpu)
{
	char list[4096], *at = list;
	int fd = open("/sys/devices/system/cpu/online", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, list, sizeof(list) - 1);

	if (fd >= 0)
		(void)close(fd);
	if (n <= 0)
		return true;
	list[n] = '\0';
	while (*at >= '0' && *at <= '9') {
		unsigned long first = strtoul(at, &at, 10), last = first;

		if (*at == '-')
			last = strtoul(at + 1, &at, 10);
		if (cpu >= first && cpu <= last)
			return true;
		if (*at == ',')
			at++;
	}
	return false;
}

static void take(struct probe *p, uint16_t answer)
{
	size_t i = answer & ~ANSWER_REFUSED;

	/* Only our children hold the pipe, but one of them may be on a failing CPU. */
	if (i >= p->count || p->state[i] != PROBE_CPU_WAITING)
		return;
	if (!(answer & ANSWER_REFUSED)) {
		p->state[i] = PROBE_CPU_ANSWERED;
		p->answered++;
	} else {
		p->state[i] = is_online(p->cpus[i]) ? PROBE_CPU_FORBIDDEN : PROBE_CPU_OFFLINE;
	}
	if (waitpid(p->pids[i], NULL, WNOHANG | __WALL) != 0)
		p->pids[i] = 0;
}

static enum probe_state conclude(const struct probe *p, uint64_t now_ns)
{
	size_t waiting = 0, forbidden = 0;

	if (p->answered)
		return PROBE_ALIVE;
	for (size_t i = 0; i < p->count; i++) {
		waiting += p->state[i] == PROBE_CPU_WAITING;
		forbidden += p->state[i] == PROBE_CPU_FORBIDDEN;
	}
	if (waiting && now_ns < p->deadline_ns)
		return PROBE_WAITING;
	return forbidden ? PROBE_UNKNOWN : PROBE_SILENT;
}

enum probe_state probe_step(struct probe *p, uint64_t now_ns)
{
	uint16_t answer;

	/* Each child writes once, so this ends. */
	for (size_t n = 0; n < p->count; n++) {
		if (read(p->pipe_read, &answer, sizeof(answer)) != sizeof(answer))
			break;
		take(p, answer);
	}
	return conclude(p, now_ns);
}

enum probe_cpu probe_cpu(const struct probe *p, size_t i)
{
	CHECK(i < p->count);
	return p->state[i];
}

size_t probe_answered(const struct probe *p)
{
	return p->answered;
}

static void leave(struct probe_leftovers *book, pid_t pid)
{
	if (book->count == book->room) {
		size_t room = book->room ? book->room * 2 : 16;
		pid_t *pids = realloc(book->pids, room * sizeof(*pids));

		if (!pids)
			return; /* it stays a zombie until the caller ends */
		book->pids = pids;
		book->room = room;
	}
	book->pids[book->count++] = pid;
}

void probe_end(struct probe *p, struct probe_leftovers *book)
{
	if (!p)
		return;
	for (size_t i = 0; p->pids && i < p->count; i++) {
		if (p->pids[i] <= 0)
			continue;
		(void)kill(p->pids[i], SIGKILL);
		if (waitpid(p->pids[i], NULL, WNOHANG | __WALL) == 0)
			leave(book, p->pids[i]);
	}
	if (p->pipe_read >= 0)
		(void)close(p->pipe_read);
	free(p->cpus);
	free(p->state);
	free(p->pids);
	free(p);
}

size_t probe_reap(struct probe_leftovers *book)
{
	size_t kept = 0;

	for (size_t i = 0; i < book->count; i++)
		if (waitpid(book->pids[i], NULL, WNOHANG | __WALL) == 0)
			book->pids[kept++] = book->pids[i];
	book->count = kept;
	return kept;
}

void probe_leftovers_fini(struct probe_leftovers *book)
{
	free(book->pids);
	*book = (struct probe_leftovers){ 0 };
}
