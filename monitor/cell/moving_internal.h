/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_MOVING_INTERNAL_H
#define CELLVISOR_MONITOR_CELL_MOVING_INTERNAL_H

/* Shared by the files of moving alone. */

#include "faultcontain/handover.h"
#include "monitor/cell/mover.h"
#include "monitor/cell/moving.h"
#include "monitor/cell/state.h"

/* A guest of this cell that is on its way to another. */
struct move {
	struct monitor *m;
	char name[SPEC_NAME_MAX + 1];
	struct proc_id proc;
	uint32_t to, cells_max, tries;
	enum move_step step, said;
	bool busy;    /* something will be reported */
	bool entered; /* the step has begun */
	bool own_job;
	uint64_t job, memory_bytes, look_ns;
	uint64_t room[MACHINE_NODES_MAX]; /* what the new home has, by node */
	struct err e;			  /* why it fails; code EXIT_OK: it does not */
	uint64_t began_ns, ordered_ns, memory_ns, process_ns, pages, process_pages;
	moving_done *done; /* NULL: nobody */
	void *ctx;
	struct move *next;
};

/* A guest that came from another cell, which may have it in its book still. */
struct arrival {
	char name[SPEC_NAME_MAX + 1];
	struct proc_id proc;
	uint32_t from;
	struct arrival *next;
};

struct moving {
	struct move *moves;	  /* owned */
	struct arrival *arrivals; /* owned */
	struct mover *mover;	  /* owned; NULL: not needed yet */
};

/* --- moving.c --- */
void moving_steps(struct monitor *m, uint64_t now_ns);
void moving_taken(struct monitor *m, const char *name);

#endif
