/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_RECOVERY_INTERNAL_H
#define CELLVISOR_MONITOR_CELL_RECOVERY_INTERNAL_H

/*
 * Shared by the files that carry out what the membership decides: recovery.c
 * (feeding it, dispatch), recovery_evidence.c, recovery_restart.c, recovery_dead.c.
 */

#include "faultcontain/host/fence.h"
#include "faultcontain/host/probe.h"
#include "faultcontain/member.h"
#include "monitor/cell/lives.h"
#include "monitor/cell/recovery.h"
#include "monitor/cell/state.h"

/* Probes that could not end yet are looked at this often. */
#define RECOVERY_REAP_NS (1000ull * 1000000u)

#define MONITORS_KNOWN LIVES_KEPT

/* What is known of a peer beyond what the state machine keeps. */
struct examined {
	struct monitor *m;
	uint32_t cell;
	struct life monitors[MONITORS_KNOWN]; /* that were linked, or started from here */
	uint32_t next;
	struct probe *probe; /* owned; NULL: none runs */
	struct watch probe_watch;
	uint64_t probe_deadline_ns;
	uint32_t probed_life;
	enum member_evidence evidence; /* why it is dead */
	uint32_t dead_life;	       /* the highest life that is over with it */
};

/* A monitor started from here is our child until it ends. */
struct launched {
	struct monitor *m;
	uint32_t cell, life;
	int pidfd; /* owned */
	struct watch watch;
	struct launched *next;
};

struct recovery {
	struct membership *ms;
	void *memory; /* owned */
	struct examined peers[CELLS_MAX];
	struct probe_leftovers leftovers;
	uint64_t reap_ns, opened_ns;
	uint64_t dead_ns; /* a cell was found dead then, and not all go on yet; 0: not so */
	struct launched *children; /* owned */
};

/* --- recovery_evidence.c: is it the monitor, or the cell? --- */

/* How long a CPU may take to run a probe. */
uint64_t recovery_probe_ns(const struct monitor *m);

/* A monitor of that cell was seen alive: what is needed to look for it, or to kill it. */
void recovery_know(struct examined *x, const struct life *life);

void recovery_give_evidence(
	struct monitor *m, uint32_t cell, uint32_t life, enum member_evidence kind);

/* MEMBER_GATHER. The evidence comes at once or later; MEMBER_EVIDENCE_NONE if there is none to be
 * had. */
void recovery_gather(struct monitor *m, uint32_t cell, uint32_t life);

/* Looks at a probe whose deadline may be over. */
void recovery_probe_look(struct examined *x, uint64_t now_ns);
void recovery_probe_stop(struct monitor *m, struct examined *x);

/* --- recovery_restart.c: a new monitor for a peer --- */

/* MEMBER_RESTART; its report is given. */
void recovery_restart(struct monitor *m, const struct member_action *a);

/* Lets go of the monitors started from here, which go on. */
void recovery_forget_children(struct recovery *r, struct loop *loop);

/*
 * Kills the monitors of lives below `below`, and later ones of the boot `born` (0: none) or an
 * earlier one, as far as known: they must not act beside a new one, or at all.
 */
void recovery_kill_monitors(struct monitor *m, uint32_t cell, uint64_t below, uint64_t born,
	struct fence_report *report);

/* Kills the guests of a cell that may still run. */
void recovery_kill_guests(struct monitor *m, uint32_t cell, struct fence_report *report);

/* --- recovery_dead.c: a cell is dead, and what follows; the actions of these names --- */

void recovery_cell_dead(struct monitor *m, const struct member_action *a);
void recovery_fence(struct monitor *m, const struct member_action *a);
void recovery_end_guests(struct monitor *m, const struct member_action *a);
void recovery_resumed(struct monitor *m, const struct member_action *a);

/* Facts that all survivors see are recorded by the lowest of them; nobody records its own death. */
bool recovery_is_recorder(const struct monitor *m, uint32_t about);

#endif
