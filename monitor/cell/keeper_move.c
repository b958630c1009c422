/* SPDX-License-Identifier: BSD-2-Clause */
/* Guests that move between cells: their process, their folder and its door. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "monitor/cell/keeper_internal.h"
#include "monitor/cell/runtime_lock.h"
#include "monitor/guest/process.h"
#include "numa/check.h"
#include "numa/host/cgroup.h"

/* How long a process may look for its monitor before its door is looked after, and again. */
#define DOOR_NS (1000ull * 1000000u)
/* A new door, before it takes the place of the old one. */
#define DOOR_NEW "monitor.new"

void keeper_link_home(struct guest_link *l, const struct guest_home *home)
{
	if (!l->home)
		l->home = malloc(sizeof(*l->home));
	CHECK(l->home != NULL);
	*l->home = *home;
}

const struct guest_home *keeper_home(const struct keeper *k, const char *name)
{
	const struct guest_link *l = keeper_find_link(k, name);

	return l ? l->home : NULL;
}

int keeper_rehome(struct keeper *k, const char *name, const struct guest_home *home, json_t *ledger)
{
	struct guest_link *l = keeper_find_link(k, name);
	struct guest_order *o = calloc(1, sizeof(*o));
	json_t *message;
	int rc;

	CHECK(o != NULL);
	o->op = ORDER_REHOME;
	o->home = *home;
	o->ledger = ledger;
	message = guest_order_encode(o);
	guest_order_fini(o);
	free(o);
	CHECK(message != NULL);
	rc = !l || l->chan < 0 ? -ENOTCONN : report_send(l->chan, message, -1);
	json_decref(message);
	if (!rc)
		l->ledger_waits = false; /* what it was to keep here is no more */
	return rc;
}

bool keeper_attached(const struct keeper *k, const char *name)
{
	const struct guest_link *l = keeper_find_link(k, name);

	return l && l->chan >= 0;
}

void keeper_let_go(struct keeper *k, const char *name, const char *cause)
{
	struct guest_link *l = keeper_find_link(k, name), **at = &k->links;
	char group[CGROUP_PATH_BYTES];
	struct err e;

	if (!l)
		return;
	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	keeper_event(k, l->g, "guest-moved", cause);
	err_set(&e, EXIT_CONFLICT, "guest '%s' has moved meanwhile: %s; try again", name, cause);
	while (l->waiters) {
		struct waiter *w = l->waiters;

		l->waiters = w->next;
		if (w->kind == WAITER_SHOW)
			w->details(w->ctx, NULL);
		else
			w->done(w->ctx, NULL, &e);
		free(w);
	}
	/* Empty by now; what was charged to it goes to the cell's. */
	snprintf(group, sizeof(group), KEEPER_GROUP "/cell-%u/%s", k->cfg.cell, name);
	if (k->cfg.cgroups && cgroup_remove(group, &e))
		fprintf(stderr, "%s\n", e.text);
	guest_book_remove(&k->book, l->g);
	keeper_link_free(l);
	keeper_changed(k);
}

/* The folder of a guest: of this cell, else of whichever has it. false: nobody does. */
static bool find_folder(const struct keeper *k, const char *name, uint32_t *cell)
{
	char path[RUNTIME_PATH_BYTES];
	const uint32_t count = k->cfg.plan->cells.cell_count;

	for (uint32_t i = 0; i <= count; i++) {
		*cell = i == 0 ? k->cfg.cell : i - 1;
		if (!access(runtime_guest_path(path, k->dir, *cell, name, NULL), F_OK))
			return true;
	}
	return false;
}

void keeper_show_door(const struct keeper *k, const char *name, uint32_t cell)
{
	char door[RUNTIME_PATH_BYTES], fresh[RUNTIME_PATH_BYTES], sock[RUNTIME_PATH_BYTES];
	uint32_t at;

	if (!find_folder(k, name, &at))
		return;
	runtime_cell_path(sock, k->dir, cell, "guests.sock");
	runtime_guest_path(door, k->dir, at, name, GUEST_MONITOR_SOCK);
	runtime_guest_path(fresh, k->dir, at, name, DOOR_NEW);
	unlink(fresh);
	/* rename(2) does nothing if both are the same socket. */
	if (link(sock, fresh) || rename(fresh, door))
		fprintf(stderr, "guest '%s' will not find cell %u: %s: %s\n", name, cell, door,
			strerror(errno));
	unlink(fresh);
}

void keeper_take_folder(const struct keeper *k, const char *name, uint32_t from)
{
	char old[RUNTIME_PATH_BYTES], own[RUNTIME_PATH_BYTES];

	runtime_guest_path(old, k->dir, from, name, NULL);
	runtime_guest_path(own, k->dir, k->cfg.cell, name, NULL);
	if (from == k->cfg.cell || access(old, F_OK))
		return;
	/* Of an ended guest of this name. */
	runtime_remove_guest(k->dir, k->cfg.cell, name);
	if (rename(old, own))
		fprintf(stderr, "%s can't become %s: %s\n", old, own, strerror(errno));
}

void keeper_doors_tick(struct keeper *k, uint64_t now_ns)
{
	for (struct guest_link *l = k->links; l; l = l->next) {
		if (l->chan >= 0 || l->g->state != GUEST_RUNNING) {
			l->door_ns = 0;
		} else if (l->door_ns == 0) {
			l->door_ns = now_ns + DOOR_NS;
		} else if (l->door_ns <= now_ns) {
			keeper_show_door(k, l->g->name, k->cfg.cell);
			l->door_ns = now_ns + DOOR_NS;
		}
	}
}

uint64_t keeper_doors_next_ns(const struct keeper *k)
{
	uint64_t next = UINT64_MAX;

	for (const struct guest_link *l = k->links; l; l = l->next)
		if (l->chan < 0 && l->g->state == GUEST_RUNNING && l->door_ns < next)
			next = l->door_ns;
	return next;
}
