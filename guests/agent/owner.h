/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_GUESTS_AGENT_OWNER_H
#define CELLVISOR_GUESTS_AGENT_OWNER_H

/*
 * A process that owns one page, to see what a memory error in it does: an
 * unmodified kernel kills it alone. One thread at a time.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct owner {
	pid_t pid; /* 0: there is none */
	int sock;  /* to the process */
	uint64_t gpa;
};

/* Starts it. 0 with o->gpa, the page's guest address; -EBUSY if one lives, or another -errno. */
int owner_start(struct owner *o);

struct owner_state {
	bool alive;
	bool intact; /* the page holds what was written; while alive */
	int signal;  /* that ended it; 0: it has exited */
};

/* Makes it look at its page, and waits for the answer or its end. 0 or -errno. */
int owner_touch(struct owner *o, struct owner_state *state);

/*
 * Makes it write its page to the disk, past the page cache: no CPU of the guest touches the page.
 * 0, or what went wrong there as -errno; -ESRCH if there is no process.
 */
int owner_write_disk(struct owner *o);

#endif
