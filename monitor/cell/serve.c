/* SPDX-License-Identifier: BSD-2-Clause */
/* What a cell answers for itself, to peers and to its own gathers. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "monitor/cell/balancing.h"
#include "monitor/cell/draining.h"
#include "monitor/cell/jobs.h"
#include "monitor/cell/lending.h"
#include "monitor/cell/moving.h"
#include "monitor/cell/predicting.h"
#include "monitor/cell/room.h"
#include "monitor/cell/state.h"
#include "numa/check.h"

#define START_NS (120ull * 1000000000u)
#define KILL_NS (15ull * 1000000000u)
#define DETAILS_NS (2ull * 1000000000u)
/* Longer than any start takes: only a coordinator that died leaves one behind. */
#define RESERVATION_NS (180ull * 1000000000u)
#define EVENTS_PER_PAGE 100u

/* A request whose answer takes time. */
struct pending {
	struct monitor *m;
	struct asker who;
	char name[SPEC_NAME_MAX + 1];
};

static struct pending *pend(struct monitor *m, const struct asker *who, const char *name)
{
	struct pending *p = calloc(1, sizeof(*p));

	CHECK(p != NULL);
	p->m = m;
	p->who = *who;
	snprintf(p->name, sizeof(p->name), "%s", name);
	return p;
}

static json_t *guest_rows(const struct monitor *m)
{
	const struct guest_book *book = keeper_book(m->keeper);
	json_t *rows = json_array();

	for (size_t i = 0; i < book->count; i++) {
		json_t *row = guest_row(book->guests[i], guest_restarts(book->guests[i]));

		if (moving_left(m, book->guests[i]->name))
			json_object_set_new(row, "left", json_true());
		json_array_append_new(rows, row);
	}
	return rows;
}

static void serve_rows(struct monitor *m, const struct asker *who)
{
	uint64_t sum;
	json_t *nodes = room_by_node(m, &sum), *reply;

	reply = json_pack("{s:b, s:I, s:I, s:I, s:o, s:b, s:o}", "ok", 1, "pid",
		(json_int_t)getpid(), "incarnation", (json_int_t)m->incarnation, "free_bytes",
		(json_int_t)sum, "free", nodes, "settling", m->settled_ns != 0, "guests",
		guest_rows(m));
	CHECK(reply != NULL);
	if (draining_name(m))
		json_object_set_new(reply, "closed", json_string(draining_name(m)));
	lending_describe(m, reply);
	predicting_describe(m, reply);
	asker_reply(m, who, reply);
}

static void serve_room(struct monitor *m, const struct asker *who)
{
	uint64_t sum;

	asker_reply(m, who, json_pack("{s:b, s:o}", "ok", 1, "free", room_by_node(m, &sum)));
}

static void refuse_unknown(struct monitor *m, const struct asker *who, const char *name)
{
	struct err e;

	err_set(&e, EXIT_NOT_FOUND, "no guest '%s'; `cellvisor ls` lists them", name);
	asker_refuse(m, who, &e);
}

static void show_done(void *ctx, const json_t *details)
{
	struct pending *p = ctx;
	const struct guest *g = guest_book_find(keeper_book(p->m->keeper), p->name);
	json_t *row;

	if (!g) {
		refuse_unknown(p->m, &p->who, p->name);
	} else {
		row = guest_row(g, true);
		/* What the process says adds to the book, but never overrules it. */
		if (details)
			json_object_update_missing(row, (json_t *)details);
		asker_reply(p->m, &p->who, json_pack("{s:b, s:o}", "ok", 1, "guest", row));
	}
	free(p);
}

static void serve_show(struct monitor *m, const struct asker *who, const struct request *r)
{
	if (!guest_book_find(keeper_book(m->keeper), r->name))
		refuse_unknown(m, who, r->name);
	else
		keeper_ask(m->keeper, r->name, monitor_now_ns() + DETAILS_NS, show_done,
			pend(m, who, r->name));
}

static struct reservation *find_reservation(struct monitor *m, const char *name)
{
	const uint64_t now_ns = monitor_now_ns();

	for (size_t i = 0; i < RESERVATIONS_MAX; i++) {
		struct reservation *r = &m->reservations[i];

		if (r->name[0] && r->until_ns <= now_ns)
			r->name[0] = '\0';
		if (!strcmp(r->name, name))
			return r;
	}
	return NULL;
}

static uint32_t asking_cell(const struct monitor *m, const struct asker *who)
{
	return who->gather ? m->self : who->peer.cell;
}

static void serve_reserve(struct monitor *m, const struct asker *who, const struct request *r)
{
	const struct guest *g = guest_book_find(keeper_book(m->keeper), r->name);
	struct reservation *taken = find_reservation(m, r->name), *slot;
	uint64_t sum;
	struct err e;

	if (g && !guest_ended(g))
		err_set(&e, EXIT_CONFLICT,
			"guest '%s' is already there, on cell %u; choose another name, or end it "
			"first",
			r->name, m->self);
	else if (taken)
		err_set(&e, EXIT_CONFLICT, "guest '%s' is just being started by someone else",
			r->name);
	else if (m->going_down)
		err_set(&e, EXIT_CONFLICT, "the cells are going down");
	else if (!(slot = find_reservation(m, "")))
		err_set(&e, EXIT_NO_ROOM, "%u guests are being started at this moment; try again",
			RESERVATIONS_MAX);
	else {
		memcpy(slot->name, r->name, sizeof(slot->name));
		slot->cell = asking_cell(m, who);
		slot->token = r->token;
		slot->until_ns = monitor_now_ns() + RESERVATION_NS;
		asker_reply(m, who,
			json_pack("{s:b, s:o, s:b}", "ok", 1, "free", room_by_node(m, &sum),
				"closed", (int)draining_closed(m)));
		return;
	}
	asker_refuse(m, who, &e);
}

static void serve_release(struct monitor *m, const struct asker *who, const struct request *r)
{
	struct reservation *taken = find_reservation(m, r->name);

	if (taken && taken->cell == asking_cell(m, who) && taken->token == r->token)
		taken->name[0] = '\0';
	/* A new guest of that name takes the place of the records of ended ones. */
	if (r->started)
		monitor_forget_ended(m, r->name);
	asker_reply(m, who, json_pack("{s:b}", "ok", 1));
}

static void started(void *ctx, const struct guest *g, const struct err *e)
{
	struct pending *p = ctx;

	if (e)
		asker_refuse(p->m, &p->who, e);
	else
		asker_reply(p->m, &p->who,
			json_pack("{s:b, s:o}", "ok", 1, "guest", guest_row(g, false)));
	free(p);
}

static int start(struct monitor *m, const struct asker *who, const struct request *r,
	struct guest_spec *spec, struct guest_home *home, struct err *e)
{
	struct pending *p;
	int rc = guest_spec_decode(r->spec, spec, e);

	if (!rc)
		rc = guest_home_decode(r->home, home, e);
	if (!rc && m->going_down)
		rc = err_set(e, EXIT_CONFLICT, "the cells are going down");
	if (!rc && draining_closed(m))
		rc = err_set(e, EXIT_CONFLICT,
			"cell %u takes no guests: it is %s; `cellvisor undrain %u` changes that",
			m->self, draining_name(m), m->self);
	if (!rc)
		rc = guest_home_covers(home, spec->memory_bytes, e);
	if (!rc)
		rc = room_check_home(m, spec, home, e);
	if (!rc)
		rc = room_check(m, home, e);
	if (rc)
		return rc;
	p = pend(m, who, spec->name);
	rc = lending_start(m, spec, home, monitor_now_ns() + START_NS, started, p, e);
	if (rc)
		free(p);
	return rc;
}

static void serve_start(struct monitor *m, const struct asker *who, const struct request *r)
{
	struct guest_spec *spec = calloc(1, sizeof(*spec));
	struct guest_home *home = calloc(1, sizeof(*home));
	struct err e;

	CHECK(spec && home);
	if (start(m, who, r, spec, home, &e))
		asker_refuse(m, who, &e);
	free(spec);
	free(home);
}

static void ended(void *ctx, const struct guest *g, const struct err *e)
{
	struct pending *p = ctx;
	struct err crashed;

	if (e) {
		asker_refuse(p->m, &p->who, e);
	} else if (g && g->state != GUEST_STOPPED) {
		err_set(&crashed, EXIT_FAILED, "guest '%s' %s: %s", g->name,
			guest_state_name(g->state), g->cause);
		asker_refuse(p->m, &p->who, &crashed);
	} else {
		char text[ERR_TEXT_BYTES];

		snprintf(text, sizeof(text), "guest '%s' has ended: %s", p->name,
			g ? g->cause : "it had not started yet");
		asker_reply(p->m, &p->who, json_pack("{s:b, s:s}", "ok", 1, "text", text));
	}
	free(p);
}

static void serve_end(struct monitor *m, const struct asker *who, const struct request *r)
{
	struct pending *p = pend(m, who, r->name);
	struct err e;
	int rc;

	if (r->op == REQUEST_CELL_STOP)
		rc = keeper_stop(m->keeper, r->name, monitor_now_ns() + r->timeout_ms * 1000000u,
			ended, p, &e);
	else
		rc = keeper_kill(m->keeper, r->name, "killed on request",
			monitor_now_ns() + KILL_NS, ended, p, &e);
	if (rc) {
		free(p);
		asker_refuse(m, who, &e);
	}
}

static void serve_events(struct monitor *m, const struct asker *who, const struct request *r)
{
	json_t *page = event_log_page(m->events, r->since, r->after, EVENTS_PER_PAGE);

	json_object_set_new(page, "ok", json_true());
	asker_reply(m, who, page);
}

/* One guest fewer to wait for; the last one answers. */
struct leaving {
	struct monitor *m;
	struct asker who;
	size_t left;
};

static void leave(struct leaving *l)
{
	if (--l->left > 0)
		return;
	asker_reply(l->m, &l->who, json_pack("{s:b}", "ok", 1));
	l->m->exit_ns = monitor_now_ns() + MONITOR_LINGER_NS;
	free(l);
}

static void guest_left(void *ctx, const struct guest *g, const struct err *e)
{
	(void)g;
	(void)e; /* one that hangs is left to `down`, which looks for processes itself */
	leave(ctx);
}

static void serve_down(struct monitor *m, const struct asker *who)
{
	const struct guest_book *book = keeper_book(m->keeper);
	struct leaving *l = calloc(1, sizeof(*l));
	struct err e;

	CHECK(l != NULL);
	l->m = m;
	l->who = *who;
	l->left = 1;
	m->going_down = true;
	for (size_t i = 0; i < book->count; i++)
		if (!guest_ended(book->guests[i]) &&
			!keeper_kill(m->keeper, book->guests[i]->name, "the cells went down",
				monitor_now_ns() + KILL_NS, guest_left, l, &e))
			l->left++;
	leave(l);
}

void serve_request(struct monitor *m, const struct asker *who, const json_t *request)
{
	struct request r;
	struct err e;

	if (request_from_json(&r, REQUEST_FROM_PEER, request, &e)) {
		asker_refuse(m, who, &e);
		return;
	}
	switch (r.op) {
	case REQUEST_CELL_ROWS:
		serve_rows(m, who);
		break;
	case REQUEST_CELL_ROOM:
		serve_room(m, who);
		break;
	case REQUEST_CELL_BORROW:
	case REQUEST_CELL_GIVE_BACK:
		serve_loan(m, who, &r);
		break;
	case REQUEST_CELL_SHOW:
		serve_show(m, who, &r);
		break;
	case REQUEST_CELL_RESERVE:
		serve_reserve(m, who, &r);
		break;
	case REQUEST_CELL_RELEASE:
		serve_release(m, who, &r);
		break;
	case REQUEST_CELL_START:
		serve_start(m, who, &r);
		break;
	case REQUEST_CELL_STOP:
	case REQUEST_CELL_KILL:
		serve_end(m, who, &r);
		break;
	case REQUEST_CELL_VCPUS:
		balancing_serve_vcpus(m, who, &r);
		break;
	case REQUEST_CELL_MOVE_VCPU:
		balancing_serve_move(m, who, &r);
		break;
	case REQUEST_CELL_MOVE:
		moving_serve(m, who, &r);
		break;
	case REQUEST_CELL_EXPECT:
		moving_serve_expect(m, who, &r);
		break;
	case REQUEST_CELL_DRAIN:
		draining_serve(m, who);
		break;
	case REQUEST_CELL_UNDRAIN:
		draining_serve_undo(m, who);
		break;
	case REQUEST_CELL_JOB:
		jobs_serve(m, who, &r);
		break;
	case REQUEST_CELL_EVENTS:
		serve_events(m, who, &r);
		break;
	case REQUEST_CELL_DOWN:
		serve_down(m, who);
		break;
	default:
		CHECK(false); /* the parser lets no other pass from a peer */
	}
	request_fini(&r);
}
