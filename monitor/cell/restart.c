/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cell/restart.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faultcontain/restart.h"
#include "monitor/cell/api.h"
#include "monitor/cell/recovery.h"
#include "monitor/cell/recovery_internal.h"
#include "monitor/guest/spec.h"
#include "numa/check.h"

#define LOOK_NS (500ull * 1000000u)
/* So many starts at a time; the others wait for the next look. */
#define TRIES_MAX 16u

/* A guest that is being started again, or could not be and will be tried again. */
struct
try {
	struct monitor *m;
	char name[SPEC_NAME_MAX + 1]; /* "": free */
	double ended;		      /* of the life that it is about */
	uint32_t attempts, restarts;
	double attempted;
	bool under_way;
	char why[GUEST_CAUSE_BYTES];
	uint32_t max;
};

struct restarting {
	uint64_t look_ns;
	struct try tries[TRIES_MAX];
};

void restart_open(struct monitor *m)
{
	m->restarting = calloc(1, sizeof(*m->restarting));
	CHECK(m->restarting != NULL);
}

void restart_close(struct monitor *m)
{
	free(m->restarting);
	m->restarting = NULL;
}

/* That of this life, else a free one, else one of a life that is over; NULL: all are busy. */
static struct try *find_try(struct monitor *m, const struct guest *g)
{
	struct try *best = NULL;

	for (uint32_t i = 0; i < TRIES_MAX; i++) {
		struct try *t = &m->restarting->tries[i];
		const struct guest *of = t->name[0] ? api_find_guest(m, t->name) : NULL;
		bool over = !of || !guest_ended(of) || of->ended != t->ended;

		if (t->name[0] && !strcmp(t->name, g->name) &&
			(t->under_way || t->ended == g->ended))
			return t;
		if (!t->under_way && over && !best)
			best = t;
	}
	if (best)
		memset(best, 0, sizeof(*best));
	return best;
}

static void tried(void *ctx, const struct err *e, const char *where)
{
	struct try *t = ctx;
	char text[EVENT_CAUSE_BYTES], of[24] = "";

	t->under_way = false;
	if (t->max)
		snprintf(of, sizeof(of), " of %u", t->max);
	if (e) {
		t->attempts++;
		t->attempted = monitor_wall();
		snprintf(text, sizeof(text), "restart %u%s failed, it is tried again: %.150s",
			t->restarts, of, e->text);
		/* Not each time: they go on for as long as there is no room. */
		if ((t->attempts & (t->attempts - 1)) == 0)
			monitor_event(t->m, t->m->self, t->name, "guest-restart-failed", text);
		return;
	}
	snprintf(text, sizeof(text), "restart %u%s on %.70s; before: %.80s", t->restarts, of, where,
		t->why);
	monitor_event(t->m, t->m->self, t->name, "guest-restarted", text);
	t->name[0] = '\0';
}

static void consider(struct monitor *m, const struct guest *g, struct guest_spec *spec)
{
	struct restart_past past = { .failed = g->state == GUEST_CRASHED || g->state == GUEST_LOST,
		.started = g->started,
		.ended = g->ended };
	struct try *t;
	double due;
	struct err e;

	if (!past.failed || !guest_restarts(g) || api_find_guest(m, g->name) != g ||
		guest_spec_decode(g->spec, spec, &e))
		return;
	t = find_try(m, g);
	if (!t || t->under_way)
		return;
	past.on_failure = spec->restart;
	past.max = spec->restart_max;
	past.restarts = spec->restarts;
	past.attempts = t->name[0] ? t->attempts : 0;
	past.attempted = t->attempted;
	if (restart_decide(&past, monitor_wall(), &due) != RESTART_NOW)
		return;
	t->m = m;
	memcpy(t->name, g->name, sizeof(t->name));
	memcpy(t->why, g->cause, sizeof(t->why));
	t->ended = g->ended;
	t->max = spec->restart_max;
	t->restarts = spec->restarts = restart_count(&past);
	t->under_way = true;
	api_restart(m, spec, tried, t);
}

void restart_turn(struct monitor *m, uint64_t now_ns)
{
	struct guest_spec *spec;

	if (now_ns < m->restarting->look_ns)
		return;
	m->restarting->look_ns = now_ns + LOOK_NS;
	/* During a recovery it is not known yet who is alive; nor while peers tell what was. */
	if (m->going_down || m->settled_ns || recovery_suspended(m) ||
		!recovery_is_recorder(m, UINT32_MAX))
		return;
	spec = calloc(1, sizeof(*spec));
	CHECK(spec != NULL);
	for (uint32_t cell = 0; cell < m->plan->cells.cell_count; cell++) {
		const struct guest_book *book = monitor_book(m, cell);

		for (size_t i = 0; i < book->count; i++)
			if (guest_ended(book->guests[i]))
				consider(m, book->guests[i], spec);
	}
	free(spec);
}

uint64_t restart_due(const struct monitor *m)
{
	return m->restarting->look_ns;
}
