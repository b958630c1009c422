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

struct plan {
	struct machine machine;
	struct cells cells;
	uint64_t start_bytes[MACHINE_NODES_MAX]; /* by node: available before any guest */
	uint32_t suspect_ms;			 /* silence of a monitor before it is examined */
	uint32_t balance_ms;			 /* how often vCPUs are balanced; 0: never */
	/* Free memory of a node: below the one its cell borrows, it lends only above the other. */
	uint64_t borrow_below_bytes, lend_above_bytes;
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
