/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_MOVER_H
#define CELLVISOR_MONITOR_CELL_MOVER_H

/*
 * Moves pages of guests between nodes while they run. mbind and move_pages may wait
 * for every CPU of the machine, so each job has a thread of its own: one that hangs costs its
 * guest's next move, never the monitor. Nothing here is needed in a recovery.
 */

#include <stdbool.h>
#include <stdint.h>

#include "faultcontain/host/proc.h"
#include "monitor/cell/loop.h"
#include "monitor/err.h"
#include "numa/host/bind.h"
#include "numa/host/cgroup.h"

struct mover;
struct mover_job;

#define MOVER_PIECES_MAX 128u

/* A part of guest RAM and the node that it goes to. */
struct mover_piece {
	uint64_t off, bytes; /* multiples of the page size */
	uint32_t os_node;
};

/* All of the process, with what it has beside guest RAM, goes to another cell. */
struct mover_house {
	bool wanted;
	char group[CGROUP_PATH_BYTES]; /* that it joins */
	struct cgroup_limits limits;   /* of the group; its sets are the two below */
	struct cpu_set group_cpus;
	struct node_set from, to;
	struct cpu_set cpus; /* for all its threads */
};

struct mover_order {
	int ram_fd; /* given away: closed when the job is over, or could not be begun */
	struct proc_id proc;
	struct mover_piece pieces[MOVER_PIECES_MAX];
	uint32_t piece_count;
	char group[CGROUP_PATH_BYTES]; /* "": no control group */
	/* What the group may use meanwhile, and afterwards if every page has moved. */
	struct node_set nodes_during, nodes_after;
	struct mover_house house; /* instead of pieces */
};

struct mover_result {
	int rc; /* 0: every page is where it should be; -EAGAIN: `left` are not; or -errno */
	uint64_t pages, left; /* present in the pieces; of them not on the new node */
	uint64_t took_ns;     /* policy and pages, without waiting for the control group */
	struct err e;	      /* with rc */
};

/* Called by the loop's thread, once per job. */
typedef void mover_done(void *ctx, const struct mover_result *result);

/* 0 or -errno. Jobs that still run when it is closed end by themselves, and tell nobody. */
int mover_open(struct mover **out, struct loop *loop);
void mover_close(struct mover *m);

/*
 * Begins: new pages of the pieces come from their nodes, present ones are moved
 * there, what did not move is tried again a few times. 0, or -errno, and then `done` is not called.
 */
int mover_start(struct mover *m, const struct mover_order *order, mover_done *done, void *ctx,
	struct mover_job **out);

/*
 * The job of an order with a house, in the mover's thread (mover_house.c): joins the group, which
 * binds the memory policy of its threads anew, binds them to the CPUs, moves the pages that are on
 * `from`. *pages are those that it has, *left those of them still on `from`; what the kernel
 * itself has mapped there for KVM is not counted. 0 or -errno with *e.
 */
int mover_house(const struct mover_order *o, uint64_t *pages, uint64_t *left, struct err *e);

/* It is not needed any more: ends soon, with -ECANCELED, unless it has ended already. */
void mover_cancel(struct mover_job *job);

#endif
