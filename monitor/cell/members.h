/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_MEMBERS_H
#define CELLVISOR_MONITOR_CELL_MEMBERS_H

/*
 * The processes of a machine's cells, found by their command lines in /proc: for
 * `up` and `down`, which can't rely on any monitor. Monitors don't use this: to
 * read a command line may block while a CPU hangs.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "faultcontain/host/proc.h"

struct member {
	struct proc_id id;
	uint32_t cell;
	bool monitor; /* else a guest process */
};

/*
 * Lists the live members of the machine whose runtime directory is `dir`, zombies
 * left out. 0 with *members (to be freed) or -errno.
 */
int members_list(const char *dir, struct member **members, size_t *count);

/*
 * Is this command line (NUL-separated words, as in /proc/PID/cmdline) that of a
 * member? Fills in *m but its id.
 */
bool members_match(const char *words, size_t bytes, const char *dir, struct member *m);

#endif
