/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_HOST_PROBE_H
#define CELLVISOR_FAULTCONTAIN_HOST_PROBE_H

/*
 * Does any of these CPUs still execute? For each, a disposable process starts on
 * a CPU of the caller, pins itself to the CPU in question, writes its index into
 * a pipe and ends. On a CPU that hangs it never runs, and can't be reaped before
 * the CPU is let go: it is killed, kept in a book of leftovers and reaped later,
 * without ever waiting. The children hold none of the caller's descriptors and
 * share no memory with it, send no SIGCHLD, and are not seen by wait(-1).
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum probe_state {
	PROBE_WAITING = 0, /* no answer yet, the deadline has not passed */
	PROBE_ALIVE,	   /* a CPU answered: it executes */
	PROBE_SILENT,	   /* each CPU is silent until the deadline, or is offline */
	PROBE_UNKNOWN,	   /* not all could be asked (e.g. a cpuset forbids it), none answered */
};

enum probe_cpu {
	PROBE_CPU_WAITING = 0,
	PROBE_CPU_ANSWERED,
	PROBE_CPU_OFFLINE,   /* the kernel says so */
	PROBE_CPU_FORBIDDEN, /* online, but this process may not run there, or fork failed */
};

struct probe;

/*
 * Starts to probe `count` CPUs (1 .. 1024 of them; the array is copied) and
 * returns at once. 0 or -errno; -EINVAL for a bad count. *out is freed by
 * probe_end().
 */
int probe_begin(struct probe **out, const uint32_t *cpus, size_t count, uint64_t deadline_ns);

/* Readable when a CPU answered: for the owner's loop. Borrowed. */
int probe_fd(const struct probe *p);

/* Takes in answers, never blocks. Call when probe_fd() is readable and at the deadline. */
enum probe_state probe_step(struct probe *p, uint64_t now_ns);

/* What is known of the i-th CPU. */
enum probe_cpu probe_cpu(const struct probe *p, size_t i);

/* How many CPUs have answered so far. */
size_t probe_answered(const struct probe *p);

/* Kills children that have not answered, leaves the unreapable to *book, frees. NULL is fine. */
struct probe_leftovers;
void probe_end(struct probe *p, struct probe_leftovers *book);

/* Children that could not be reaped yet. A value; zero-initialized is empty. */
struct probe_leftovers {
	pid_t *pids; /* owned */
	size_t count, room;
};

/* Reaps what can be reaped now; returns how many are left. Never blocks. */
size_t probe_reap(struct probe_leftovers *book);
/* Forgets the rest (they become init's children when the caller ends). */
void probe_leftovers_fini(struct probe_leftovers *book);

#endif
