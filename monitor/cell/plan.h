/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_PLAN_H
#define CELLVISOR_MONITOR_CELL_PLAN_H

/*
 * What `up` decided and every monitor reads at its start: the machine, its
 * cells, and what memory was free before any guest. Kept as DIR/machine.json.
 */

#include <jansson.h>
#include <stdint.h>

#include "monitor/err.h"
#include "numa/cells.h"
#include "numa/host/bind.h"
#include "numa/machine.h"

#define PLAN_SUSPECT_MS_DEFAULT 1000u
#define PLAN_SUSPECT_MS_MIN 300u
#define PLAN_SUSPECT_MS_MAX 600000u
#define PLAN_BALANCE_MS_DEFAULT 20u
#define PLAN_BALANCE_MS_MIN 5u
#define PLAN_BALANCE_MS_MAX 60000u

/* As in Cellular Disco (SOSP 1999). */
#define PLAN_BORROW_BELOW_DEFAULT (16ull << 20)
#define PLAN_LEND_ABOVE_DEFAULT (32ull << 20)
#define PLAN_THRESHOLD_MAX (1ull << 40)

/*
 * Corrected memory errors (docs/fault-model.md has the reasons): a page with ten within about a day
 * is bad; a node on which fifty pages' worth of errors came together is.
 */
#define PLAN_RETIRE_AFTER_DEFAULT 10u
#define PLAN_DRAIN_AFTER_DEFAULT 500u
#define PLAN_ERRORS_MAX 1000000u
#define PLAN_HALF_LIFE_S_DEFAULT 86400u
#define PLAN_HALF_LIFE_S_MIN 60u
#define PLAN_HALF_LIFE_S_MAX 31622400u
#define PLAN_TRACE_BYTES 128u

struct plan {
	struct machine machine;
	struct cells cells;
	uint64_t start_bytes[MACHINE_NODES_MAX]; /* by node: available before any guest */
	uint32_t suspect_ms;			 /* silence of a monitor before it is examined */
	uint32_t balance_ms;			 /* how often vCPUs are balanced; 0: never */
	/* Free memory of a node: below the one its cell borrows, it lends only above the other. */
	uint64_t borrow_below_bytes, lend_above_bytes;
	uint32_t retire_after, drain_after; /* corrected errors of a page, a node; 0: never */
	uint32_t half_life_s;		    /* in which their counts halve */
	/* Folder of the kernel's trace of memory errors; "": there is none, or nobody wants it. */
	char trace_dir[PLAN_TRACE_BYTES];
	char trace_missing[PLAN_TRACE_BYTES]; /* why there is none, in words */
};

/* A new reference, and the reverse, which trusts nothing. 0 or -errno with *e. */
json_t *plan_encode(const struct plan *p);
int plan_decode(const json_t *value, struct plan *p, struct err *e);

/* DIR/machine.json. Loading: EXIT_NOT_RUNNING if there is none. 0 or -errno with *e. */
int plan_save(const struct plan *p, const char *dir, struct err *e);
int plan_load(struct plan *p, const char *dir, struct err *e);

/* The operating system's node numbers of a cell, as JSON (a new reference) and as a set. */
json_t *plan_cell_nodes(const struct plan *p, uint32_t cell);
void plan_cell_node_set(const struct plan *p, uint32_t cell, struct node_set *nodes);

#endif
