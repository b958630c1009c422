/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cell/gather.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/cell/state.h"
#include "numa/check.h"

struct gather {
	struct gather_reply replies[CELLS_MAX];
	size_t waiting; /* for so many replies */
	gather_done *done;
	void *ctx;
	struct gather *next;
};

/* One call to one peer. */
struct gather_call {
	struct monitor *m;
	struct gather *g;
};

bool reply_ok(const json_t *reply, struct err *e)
{
	json_int_t code = json_integer_value(json_object_get(reply, "code"));
	const char *text = json_string_value(json_object_get(reply, "text"));

	if (json_is_true(json_object_get(reply, "ok")))
		return true;
	if (code <= EXIT_OK || code > EXIT_NO_ANSWER)
		code = EXIT_FAILED;
	err_set(e, (enum exit_code)code, "%s", text ? text : "a cell's reply is not understood");
	return false;
}

json_t *reply_error(const struct err *e)
{
	json_t *value =
		json_pack("{s:b, s:i, s:s}", "ok", 0, "code", (int)e->code, "text", e->text);

	/* A path in the text may be cut within a character, or never have been UTF-8. */
	return value ? value
		     : json_pack("{s:b, s:i, s:s}", "ok", 0, "code", (int)e->code, "text",
			       "the error's text is not UTF-8");
}

static void take_reply(struct gather *g, uint32_t cell, json_t *reply)
{
	CHECK(g->waiting > 0 && g->replies[cell].asked && !g->replies[cell].reply);
	g->replies[cell].reply = reply;
	g->waiting--;
}

static void call_done(
	void *ctx, uint16_t cell, enum call_outcome outcome, const void *body, size_t body_bytes)
{
	struct gather_call *call = ctx;
	json_t *reply = NULL;

	if (outcome == CALL_ANSWERED)
		reply = json_loadb(body, body_bytes, JSON_REJECT_DUPLICATES, NULL);
	take_reply(call->g, cell, reply);
	free(call);
}

static void call_peer(struct monitor *m, struct gather *g, uint32_t cell, const char *body,
	size_t bytes, uint64_t deadline_ns)
{
	struct gather_call *call = malloc(sizeof(*call));

	CHECK(call != NULL);
	call->m = m;
	call->g = g;
	if (fabric_call(m->fabric, (uint16_t)cell, CELL_OP_REQUEST, body, bytes, deadline_ns,
		    call_done, call)) {
		free(call);
		take_reply(g, cell, NULL);
	}
}

void gather_start(struct monitor *m, json_t *request, const bool cells[CELLS_MAX],
	uint64_t deadline_ns, gather_done *done, void *ctx)
{
	struct gather *g = calloc(1, sizeof(*g));
	char *body = json_dumps(request, JSON_COMPACT | JSON_REAL_PRECISION(16));
	size_t bytes;

	CHECK(g != NULL && body != NULL);
	bytes = strlen(body);
	g->done = done;
	g->ctx = ctx;
	g->next = m->gathers;
	m->gathers = g;
	for (uint32_t cell = 0; cell < m->plan->cells.cell_count; cell++) {
		g->replies[cell].asked = cells[cell];
		g->waiting += cells[cell];
	}
	for (uint32_t cell = 0; cell < m->plan->cells.cell_count; cell++)
		if (cells[cell] && cell != m->self)
			call_peer(m, g, cell, body, bytes, deadline_ns);
	if (cells[m->self]) {
		const struct asker self = { .gather = g };

		serve_request(m, &self, request);
	}
	free(body);
	json_decref(request);
}

void asker_reply(struct monitor *m, const struct asker *who, json_t *value)
{
	CHECK(value != NULL);
	if (who->gather) {
		take_reply(who->gather, m->self, value);
		return;
	}
	char *body = json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(16));

	CHECK(body != NULL);
	json_decref(value);
	/* If the asker is gone, or its ring full, its call times out; it knows what that means. */
	if (fabric_reply(m->fabric, &who->peer, body, strlen(body)) == -EMSGSIZE)
		fabric_refuse(m->fabric, &who->peer);
	free(body);
}

void asker_refuse(struct monitor *m, const struct asker *who, const struct err *e)
{
	asker_reply(m, who, reply_error(e));
}

bool gather_pending(const struct monitor *m)
{
	for (const struct gather *g = m->gathers; g; g = g->next)
		if (g->waiting == 0)
			return true;
	return false;
}

static void gather_free(struct gather *g)
{
	for (size_t i = 0; i < CELLS_MAX; i++)
		json_decref(g->replies[i].reply);
	free(g);
}

void gather_turn(struct monitor *m)
{
	for (struct gather **at = &m->gathers; *at;) {
		struct gather *g = *at;

		if (g->waiting > 0) {
			at = &g->next;
			continue;
		}
		*at = g->next;
		g->done(m, g->ctx, g->replies);
		gather_free(g);
		/* done() may have begun others. */
		at = &m->gathers;
	}
}

void gather_fini(struct monitor *m)
{
	while (m->gathers) {
		struct gather *g = m->gathers;

		m->gathers = g->next;
		gather_free(g);
	}
}
