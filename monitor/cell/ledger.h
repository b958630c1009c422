/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_LEDGER_H
#define CELLVISOR_MONITOR_CELL_LEDGER_H

/*
 * What a guest's process keeps for later lives of its cell's monitor: where its memory lies and
 * which loans it uses (lending), where it came from (moving), which of its vCPUs visit which
 * cells (balancing). One JSON object of at most REPORT_LEDGER_BYTES_MAX, written as a whole by
 * ledger_keep(). It comes back from a process that nobody vouches for.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "monitor/guest/spec.h"

struct monitor;

/* Gives the guest's process its ledger as it is now. keeper_kept() tells when it is sure. */
void ledger_keep(struct monitor *m, const char *name);

/* --- visits: [vcpu, cell, born, held, ...], ascending by vCPU --- */

#define LEDGER_VISITS "visits"

/* A vCPU on a CPU of another cell. */
struct ledger_visit {
	uint32_t vcpu, cell;
	uint32_t born; /* the first life of that cell's monitor since the cell came up */
	uint32_t held; /* 1: an operator placed it; 0 */
};

/* Pure, as the next. `count` is at most SPEC_CPUS_MAX; nothing is added if it is 0. */
void ledger_add_visits(json_t *ledger, const struct ledger_visit *visits, uint32_t count);

/*
 * Reads them from a ledger (NULL: none was kept), of a guest with `cpus` vCPUs at home in cell
 * `home` of `cells`. False: that can't be true; *count is 0 then.
 */
bool ledger_visits(const json_t *ledger, uint32_t cpus, uint32_t home, uint32_t cells,
	struct ledger_visit visits[SPEC_CPUS_MAX], uint32_t *count);

#endif
