/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CLI_TOPO_LIVE_H
#define CELLVISOR_MONITOR_CLI_TOPO_LIVE_H

/* The machine and what runs on it as JSON, and from JSON into a picture. */

#include <jansson.h>

#include "monitor/cli/picture.h"
#include "monitor/err.h"

/* What a picture of running cells is made of; the picture borrows from here. */
struct live {
	struct picture picture;
	struct cells cells;
	struct picture_cell states[CELLS_MAX];
	struct picture_guest *guests; /* owned */
};

/*
 * Reads the reply to {"op":"ls"} (borrowed during the call). *m is borrowed until
 * live_free(). A cell without CPUs or nodes is fine here: its node may be dead or
 * gone. 0, or -errno with *e (EXIT_FAILED) if the reply makes no sense.
 */
int live_read(struct live **out, const struct machine *m, const json_t *reply, struct err *e);

/* NULL is fine. */
void live_free(struct live *live);

/* {"nodes":[{"node","cpus","memory_bytes","distances"}],"cells":[{"cell","nodes"}]}: a new
 * reference. */
json_t *topo_json(const struct machine *m, const struct cells *c);

/* The nodes as above, with "cells" and "guests" as `ls` has them: a new reference. */
json_t *topo_live_json(const struct machine *m, const json_t *reply);

#endif
