/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_BALANCING_H
#define CELLVISOR_MONITOR_CELL_BALANCING_H

/*
 * Where the vCPUs of this cell's guests run: measures which of them can run, lets
 * numa/balance_round.h decide, and binds their threads; lets them visit other cells, and
 * takes visitors of those (numa/visits.h). What the kernel says of a thread is what counts, and of
 * visits what the guest's process keeps: a new monitor finds everything as the former one left it.
 * One thread, but for a helper that binds, for that may wait for a CPU that hangs.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "monitor/cell/gather.h"
#include "monitor/cell/keeper.h"
#include "monitor/cell/ledger.h"
#include "monitor/err.h"
#include "monitor/guest/home.h"

struct monitor;
struct request;

/* 0 or -errno with *e. */
int balancing_open(struct monitor *m, struct err *e);
void balancing_close(struct monitor *m);

/* Lets time pass. */
void balancing_turn(struct monitor *m, uint64_t now_ns);
uint64_t balancing_due(const struct monitor *m);

/* The fabric's events. A message that can't be true fails the link. */
void balancing_link_up(struct monitor *m, uint32_t cell);
void balancing_loads(struct monitor *m, uint32_t cell, const void *body, size_t bytes);
void balancing_announced(
	struct monitor *m, uint32_t cell, uint64_t incarnation, const void *body, size_t bytes);
void balancing_visit(
	struct monitor *m, const struct fabric_request *req, const void *body, size_t bytes);

/* As struct keeper_events has it: which vCPUs visit other cells, as the guest's process kept it. */
void balancing_registered(struct monitor *m, const struct guest *g, const struct guest_spec *spec,
	const json_t *ledger);
/* A view was agreed: guests whose vCPUs visited a cell that it does not hold have to end. */
void balancing_view(struct monitor *m);
/* The guest's visits that its process is to keep. Returns how many. */
uint32_t balancing_visits(
	const struct monitor *m, const char *name, struct ledger_visit visits[SPEC_CPUS_MAX]);

/* A cell is dead: its visitors are dropped, and what is asked of it. */
void balancing_dead(struct monitor *m, uint32_t cell);

/*
 * Chooses a CPU for each vCPU of a gang that is to start here, into home->pins. 0, or -errno
 * with *e when there are too few.
 */
int balancing_place_gang(
	struct monitor *m, const struct guest_spec *spec, struct guest_home *home, struct err *e);

/* CPUs of this cell that vCPUs of others use. */
uint32_t balancing_visitors(const struct monitor *m);

/*
 * Has a guest's vCPUs end their visits to other cells. true: none is away, or about to be.
 */
bool balancing_all_home(struct monitor *m, const char *name);

/* `cell-vcpus` and `cell-move-vcpu` of request.h. */
void balancing_serve_vcpus(struct monitor *m, const struct asker *who, const struct request *r);
void balancing_serve_move(struct monitor *m, const struct asker *who, const struct request *r);

/* Rows of vCPUs as `cell-vcpus` answers them: judged, and written anew. NULL: not a row. */
json_t *balancing_clean_vcpu(const json_t *row);

#endif
