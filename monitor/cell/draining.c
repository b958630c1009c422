/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cell/draining.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "monitor/cell/balancing.h"
#include "monitor/cell/jobs.h"
#include "monitor/cell/lending.h"
#include "monitor/cell/moving.h"
#include "monitor/cell/predicting.h"
#include "monitor/cell/state.h"
#include "numa/check.h"
#include "numa/drain.h"

#define MARK "drained"
#define LOOK_NS (3000ull * 1000000u)
#define AGAIN_NS (50ull * 1000000u)
/* How long lenders and visitors get to take home what they have here, once no guest is left to
 * move. */
#define LEAVE_NS (30000ull * 1000000u)

enum stage {
	STAGE_REST, /* nothing is being done */
	STAGE_PICK, /* the next guest, or nothing is left */
	STAGE_LOOK, /* which cells have room for it? */
	STAGE_MOVE,
	STAGE_LEAVE, /* guests of others have memory or vCPUs here */
};

struct draining {
	bool closed, empty;
	enum stage stage;
	uint64_t job, due_ns, until_ns;
	char name[SPEC_NAME_MAX + 1]; /* of the guest that is being moved */
	uint32_t targets[CELLS_MAX], target_count, target;
	char stay[GUESTS_LIVE_MAX][SPEC_NAME_MAX + 1]; /* those that could not */
	uint32_t stay_count, moved;
	char why[ERR_TEXT_BYTES]; /* of the last of them */
};

static const char *mark_path(const struct monitor *m, char path[RUNTIME_PATH_BYTES])
{
	return runtime_cell_path(path, m->dir, m->self, MARK);
}

static void mark(const struct monitor *m, bool closed)
{
	char path[RUNTIME_PATH_BYTES];
	int fd;

	if (!closed) {
		unlink(mark_path(m, path));
		return;
	}
	fd = open(mark_path(m, path), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		fprintf(stderr, "can't make %s: %s; a new monitor will open the cell again\n", path,
			strerror(errno));
	else
		close(fd);
}

void draining_open(struct monitor *m)
{
	char path[RUNTIME_PATH_BYTES];

	m->draining = calloc(1, sizeof(*m->draining));
	CHECK(m->draining != NULL);
	m->draining->closed = access(mark_path(m, path), F_OK) == 0;
}

void draining_close(struct monitor *m)
{
	free(m->draining);
	m->draining = NULL;
}

bool draining_closed(const struct monitor *m)
{
	return m->draining->closed;
}

/* Is nothing of anybody left here? */
static bool is_empty(const struct monitor *m)
{
	return guest_book_live(keeper_book(m->keeper), NULL) == 0 && lending_all_lent(m) == 0 &&
	       balancing_visitors(m) == 0;
}

const char *draining_name(const struct monitor *m)
{
	if (!m->draining->closed)
		return NULL;
	return is_empty(m) ? "drained" : "draining";
}

/* --- the end --- */

static void name_those_that_stay(const struct draining *d, char *text, size_t room)
{
	int used = 0;

	for (uint32_t i = 0; i < d->stay_count && used >= 0 && (size_t)used < room; i++)
		used += snprintf(
			text + used, room - (size_t)used, "%s'%s'", i ? ", " : "", d->stay[i]);
}

static void finish(struct monitor *m)
{
	struct draining *d = m->draining;
	char text[ERR_TEXT_BYTES], names[ERR_TEXT_BYTES / 3] = "";
	struct err e;

	d->stage = STAGE_REST;
	if (is_empty(m)) {
		snprintf(text, sizeof(text), "cell %u is drained: %u guest%s moved to other cells",
			m->self, d->moved, d->moved == 1 ? "" : "s");
		monitor_event(m, m->self, NULL, "cell-drained", text);
		job_end(m, d->job, NULL,
			json_pack("{s:s, s:I, s:I}", "text", text, "cell", (json_int_t)m->self,
				"moved", (json_int_t)d->moved));
		return;
	}
	name_those_that_stay(d, names, sizeof(names));
	if (d->stay_count)
		err_set(&e, EXIT_NO_ROOM,
			"cell %u is closed, but not empty: %u guest%s moved, and %s stay%s "
			"(%.200s)",
			m->self, d->moved, d->moved == 1 ? "" : "s", names,
			d->stay_count == 1 ? "s" : "", d->why);
	else
		err_set(&e, EXIT_NO_ROOM,
			"cell %u is closed, but not empty: guests of other cells use %llu MiB and "
			"%u "
			"CPUs of it, for which their homes have no room",
			m->self, (unsigned long long)(lending_all_lent(m) >> 20),
			balancing_visitors(m));
	monitor_event(m, m->self, NULL, "cell-not-drained", e.text);
	job_end(m, d->job, &e, NULL);
}

/* --- one guest after the other --- */

static bool stays(const struct draining *d, const char *name)
{
	for (uint32_t i = 0; i < d->stay_count; i++)
		if (!strcmp(d->stay[i], name))
			return true;
	return false;
}

static void give_up(struct draining *d, const char *why)
{
	if (d->stay_count < GUESTS_LIVE_MAX)
		memcpy(d->stay[d->stay_count++], d->name, sizeof(d->name));
	snprintf(d->why, sizeof(d->why), "%s", why);
	d->stage = STAGE_PICK;
}

static void try_next(struct monitor *m, const char *why);

static void moved(struct monitor *m, void *ctx, const json_t *result, const struct err *e)
{
	struct draining *d = m->draining;
	const struct guest *g;

	(void)ctx;
	(void)result;
	if (d->stage != STAGE_MOVE)
		return;
	g = guest_book_find(keeper_book(m->keeper), d->name);
	if (e && g && !guest_ended(g)) {
		try_next(m, e->text);
		return;
	}
	d->moved += e == NULL;
	d->stage = STAGE_PICK;
}

/* To the next of the cells that seemed to have room. */
static void try_next(struct monitor *m, const char *why)
{
	struct draining *d = m->draining;
	struct err e;

	err_set(&e, EXIT_NO_ROOM, "%s", why);
	while (d->target < d->target_count) {
		d->stage = STAGE_MOVE;
		if (!moving_start(m, d->name, d->targets[d->target++], d->job, moved, NULL, &e))
			return;
	}
	give_up(d, e.text);
}

static uint64_t room_in(const struct monitor *m, const json_t *reply)
{
	const json_int_t keep = (json_int_t)m->plan->lend_above_bytes;
	uint64_t sum = 0;
	size_t i;
	json_t *row;

	json_array_foreach(json_object_get(reply, "free"), i, row)
	{
		json_int_t bytes = json_integer_value(json_object_get(row, "bytes"));

		sum += bytes > keep ? (uint64_t)(bytes - keep) : 0;
	}
	return sum;
}

static void looked(struct monitor *m, void *ctx, const struct gather_reply replies[CELLS_MAX])
{
	struct draining *d = m->draining;
	const struct guest *g = guest_book_find(keeper_book(m->keeper), d->name);
	struct drain_cell cells[CELLS_MAX];
	uint8_t distance[CELLS_MAX];
	struct err e;

	(void)ctx;
	if (d->stage != STAGE_LOOK)
		return;
	if (!g || guest_ended(g)) {
		d->stage = STAGE_PICK;
		return;
	}
	lending_distances(m, distance);
	for (uint32_t c = 0; c < m->plan->cells.cell_count; c++)
		cells[c] = (struct drain_cell){
			.takes = c != m->self && replies[c].reply && reply_ok(replies[c].reply, &e),
			.distance = distance[c],
			.room_bytes = room_in(m, replies[c].reply),
		};
	d->target = 0;
	d->target_count =
		drain_order(cells, m->plan->cells.cell_count, g->memory_bytes, d->targets);
	try_next(m, "no other cell has room for it");
}

static void pick(struct monitor *m, uint64_t now_ns)
{
	struct draining *d = m->draining;
	const struct guest_book *book = keeper_book(m->keeper);
	bool cells[CELLS_MAX];

	for (size_t i = 0; i < book->count; i++) {
		const struct guest *g = book->guests[i];

		if (guest_ended(g) || stays(d, g->name))
			continue;
		memcpy(d->name, g->name, sizeof(d->name));
		d->stage = STAGE_LOOK;
		monitor_askable(m, cells);
		cells[m->self] = false;
		gather_start(m, json_pack("{s:s}", "op", "cell-room"), cells, now_ns + LOOK_NS,
			looked, NULL);
		return;
	}
	d->stage = STAGE_LEAVE;
	d->until_ns = now_ns + LEAVE_NS;
	if (!is_empty(m) && !d->stay_count)
		job_progress(m, d->job, "waiting for guests of other cells to leave");
}

void draining_turn(struct monitor *m, uint64_t now_ns)
{
	struct draining *d = m->draining;

	if (!d->closed || d->due_ns > now_ns)
		return;
	d->due_ns = now_ns + AGAIN_NS;
	lending_recall_all(m);
	if (d->stage == STAGE_PICK)
		pick(m, now_ns);
	else if (d->stage == STAGE_LEAVE && (is_empty(m) || d->stay_count || d->until_ns <= now_ns))
		finish(m);
}

uint64_t draining_due(const struct monitor *m, uint64_t now_ns)
{
	const struct draining *d = m->draining;

	if (!d->closed || (d->stage == STAGE_REST && is_empty(m)))
		return UINT64_MAX;
	return d->due_ns > now_ns ? d->due_ns : now_ns + AGAIN_NS;
}

/* --- on request --- */

void draining_begin(struct monitor *m, const char *why)
{
	struct draining *d = m->draining;

	if (d->stage != STAGE_REST)
		return;
	if (!d->closed)
		monitor_event(m, m->self, NULL, "cell-draining", why);
	d->closed = true;
	mark(m, true);
	d->stage = STAGE_PICK;
	d->stay_count = d->moved = 0;
	d->due_ns = 0;
	d->job = job_begin(m);
}

void draining_serve(struct monitor *m, const struct asker *who)
{
	struct draining *d = m->draining;
	struct err e;

	if (m->going_down) {
		err_set(&e, EXIT_CONFLICT, "the cells are going down");
		asker_refuse(m, who, &e);
		return;
	}
	draining_begin(m, "on request");
	asker_reply(m, who, json_pack("{s:b, s:I}", "ok", 1, "job", (json_int_t)d->job));
}

void draining_serve_undo(struct monitor *m, const struct asker *who)
{
	struct draining *d = m->draining;
	char text[80];
	struct err e;

	snprintf(text, sizeof(text), "cell %u is %s", m->self,
		d->closed ? "open again" : "not drained, and stays open");
	if (d->closed) {
		if (d->stage != STAGE_REST) {
			err_set(&e, EXIT_CONFLICT, "cell %u is to be used again", m->self);
			job_end(m, d->job, &e, NULL);
		}
		/* A guest that is just on its way arrives there. */
		d->stage = STAGE_REST;
		d->closed = false;
		mark(m, false);
		predicting_pardon(m);
		monitor_event(m, m->self, NULL, "cell-undrained", "on request");
	}
	asker_reply(m, who, json_pack("{s:b, s:s}", "ok", 1, "text", text));
}
