/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cell/predicting.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/cell/draining.h"
#include "monitor/cell/predicting_internal.h"
#include "monitor/cell/recovery.h"
#include "monitor/cell/state.h"
#include "numa/check.h"

#define LOOK_NS (500ull * 1000000u)
/* So many pages are listed, and DIMMs. */
#define LISTED 16u

_Static_assert(CORRECTED_NODES == MACHINE_NODES_MAX, "nodes are counted by their index");

void predicting_open(struct monitor *m)
{
	const struct corrected_cfg cfg = { .retire_after = m->plan->retire_after,
		.drain_after = m->plan->drain_after,
		.half_life_ns = (uint64_t)m->plan->half_life_s * 1000000000u };
	struct predicting *p = calloc(1, sizeof(*p));

	CHECK(p != NULL);
	p->counts = malloc(sizeof(*p->counts));
	p->reader.text = malloc(ERROR_TEXT_BYTES);
	CHECK(p->counts && p->reader.text);
	corrected_init(p->counts, &cfg);
	p->reader.pipe = p->reader.process.pidfd = p->retirement.process.pidfd = -1;
	m->predicting = p;
}

void predicting_close(struct monitor *m)
{
	struct predicting *p = m->predicting;

	if (!p)
		return;
	errors_reader_stop(m);
	retirement_close(m);
	free(p->reader.text);
	free(p->counts);
	free(p);
	m->predicting = NULL;
}

static uint32_t os_node(const struct monitor *m, uint32_t node)
{
	return m->plan->machine.nodes[node].os_node;
}

static void node_fails(struct monitor *m, uint32_t node, uint64_t now_ns)
{
	const struct corrected *c = m->predicting->counts;
	const struct corrected_dimm *d = corrected_worst_dimm(c, node, now_ns);
	char text[EVENT_CAUSE_BYTES], most[CORRECTED_LABEL_BYTES + 40] = "";

	if (d)
		snprintf(most, sizeof(most), ", %u of them in %s",
			corrected_now(c, &d->count, now_ns), d->label);
	snprintf(text, sizeof(text), "node %u: %u corrected memory errors lately%s; %s",
		os_node(m, node), corrected_now(c, &c->nodes[node].count, now_ns), most,
		draining_closed(m) ? "its cell is closed already" : "its cell is drained");
	monitor_event(m, m->self, NULL, "node-failing", text);
	m->predicting->drains = true;
}

/* In memory of this cell, or of nobody's in particular. */
static void take(struct monitor *m, const struct corrected_error *e)
{
	const uint64_t now_ns = monitor_now_ns();

	if (corrected_take(m->predicting->counts, now_ns, e))
		node_fails(m, e->node, now_ns);
}

void predicting_heard(struct monitor *m, const struct corrected_error *e)
{
	uint8_t body[CORRECTED_MSG_BYTES];
	uint32_t cell = m->self;

	if (e->node != CORRECTED_NO_NODE)
		cell = cells_of_node(&m->plan->cells, e->node);
	if (cell == m->self) {
		take(m, e);
		return;
	}
	/* A cell that can't be told now misses one error of many. */
	corrected_encode(e, body);
	(void)fabric_send(m->fabric, (uint16_t)cell, CELL_OP_CORRECTED, body, sizeof(body));
}

void predicting_message(struct monitor *m, const void *body, size_t bytes)
{
	struct corrected_error e;

	if (corrected_decode(body, bytes, &e) && e.node < m->plan->machine.node_count &&
		cells_of_node(&m->plan->cells, e.node) == m->self)
		take(m, &e);
}

void predicting_turn(struct monitor *m, uint64_t now_ns)
{
	if (m->predicting->look_ns > now_ns)
		return;
	m->predicting->look_ns = now_ns + LOOK_NS;
	errors_reader_turn(m, now_ns);
	retirement_turn(m, now_ns);
	/* Guests can't be moved during one. */
	if (!m->predicting->drains || recovery_suspended(m))
		return;
	m->predicting->drains = false;
	if (!draining_closed(m) && !m->going_down)
		draining_begin(m, "a node of it has too many corrected memory errors");
}

uint64_t predicting_due(const struct monitor *m)
{
	/* Without a trace there is nothing to look for; a peer may have one to tell of all the
	 * same. */
	return m->plan->trace_dir[0] || m->predicting->drains || m->predicting->counts->wanted ||
			       m->predicting->retirement.process.pidfd >= 0
		       ? m->predicting->look_ns
		       : UINT64_MAX;
}

void predicting_pardon(struct monitor *m)
{
	const struct cell_plan *c = &m->plan->cells.cells[m->self];

	for (uint32_t i = 0; i < c->node_count; i++)
		corrected_pardon(m->predicting->counts, c->nodes[i]);
}

/* --- for listings --- */

static json_t *describe_nodes(const struct monitor *m, uint64_t now_ns)
{
	const struct corrected *c = m->predicting->counts;
	const struct cell_plan *cell = &m->plan->cells.cells[m->self];
	json_t *rows = json_array();

	for (uint32_t i = 0; i < cell->node_count; i++) {
		const struct corrected_node *n = &c->nodes[cell->nodes[i]];
		const struct corrected_dimm *d = corrected_worst_dimm(c, cell->nodes[i], now_ns);
		json_t *row;

		if (!n->count.value && !n->failing && !n->retired && !n->stuck)
			continue;
		row = json_pack("{s:I, s:I, s:b, s:I, s:I}", "node",
			(json_int_t)os_node(m, cell->nodes[i]), "errors",
			(json_int_t)corrected_now(c, &n->count, now_ns), "failing", (int)n->failing,
			"retired", (json_int_t)n->retired, "not_retired", (json_int_t)n->stuck);
		if (d)
			json_object_set_new(row, "worst_dimm", json_string(d->label));
		json_array_append_new(rows, row);
	}
	return rows;
}

static json_t *describe_pages(const struct monitor *m, uint64_t now_ns)
{
	const struct corrected *c = m->predicting->counts;
	const struct corrected_page *pages[LISTED];
	uint32_t count = corrected_worst_pages(c, now_ns, pages, LISTED);
	json_t *rows = json_array();

	for (uint32_t i = 0; i < count; i++)
		json_array_append_new(rows,
			json_pack("{s:I, s:I, s:I, s:s}", "frame", (json_int_t)pages[i]->frame,
				"node", (json_int_t)os_node(m, pages[i]->node), "errors",
				(json_int_t)corrected_now(c, &pages[i]->count, now_ns), "state",
				corrected_state_name(pages[i]->state)));
	return rows;
}

static json_t *describe_dimms(const struct monitor *m, uint64_t now_ns)
{
	const struct corrected *c = m->predicting->counts;
	json_t *rows = json_array();

	for (uint32_t i = 0; i < CORRECTED_DIMMS; i++) {
		const struct corrected_dimm *d = &c->dimms[i];
		uint32_t errors = corrected_now(c, &d->count, now_ns);

		if (!d->label[0] || !errors)
			continue;
		json_array_append_new(
			rows, json_pack("{s:s, s:o, s:I}", "dimm", d->label, "node",
				      d->node == CORRECTED_NO_NODE
					      ? json_null()
					      : json_integer((json_int_t)os_node(m, d->node)),
				      "errors", (json_int_t)errors));
	}
	return rows;
}

void predicting_describe(const struct monitor *m, json_t *reply)
{
	const uint64_t now_ns = monitor_now_ns();
	json_t *nodes = describe_nodes(m, now_ns), *dimms = describe_dimms(m, now_ns);

	if (json_array_size(nodes) + json_array_size(dimms) == 0) {
		json_decref(nodes);
		json_decref(dimms);
		return;
	}
	json_object_set_new(reply, "corrected_errors",
		json_pack("{s:o, s:o, s:o}", "nodes", nodes, "dimms", dimms, "pages",
			describe_pages(m, now_ns)));
}

/* Numbers, truth values and texts that can be shown. */
static bool is_plain(json_t *row)
{
	const char *key, *at;
	json_t *value;

	json_object_foreach(row, key, value)
	{
		if (json_is_integer(value) ? json_integer_value(value) < 0
					   : !json_is_string(value) && !json_is_boolean(value) &&
						     !json_is_null(value))
			return false;
		for (at = json_string_value(value); at && *at; at++)
			if (*at < ' ' || *at > '~')
				return false;
	}
	return true;
}

/* Rows that have what they should have. */
static json_t *copy_rows(const json_t *rows, const char *const wanted[], size_t max)
{
	json_t *list = json_array(), *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		bool good = json_is_object(row) && is_plain(row);

		for (size_t k = 0; wanted[k]; k++)
			good = good && json_object_get(row, wanted[k]);
		if (good && json_array_size(list) < max)
			json_array_append(list, row);
	}
	return list;
}

void predicting_copy(json_t *row, const json_t *reply)
{
	static const char *const of_node[] = { "node", "errors", "failing", "retired",
		"not_retired", NULL };
	static const char *const of_dimm[] = { "dimm", "node", "errors", NULL };
	static const char *const of_page[] = { "frame", "node", "errors", "state", NULL };
	const json_t *told = json_object_get(reply, "corrected_errors");

	if (!json_is_object(told))
		return;
	json_object_set_new(row, "corrected_errors",
		json_pack("{s:o, s:o, s:o}", "nodes",
			copy_rows(json_object_get(told, "nodes"), of_node, MACHINE_NODES_MAX),
			"dimms",
			copy_rows(json_object_get(told, "dimms"), of_dimm, CORRECTED_DIMMS),
			"pages", copy_rows(json_object_get(told, "pages"), of_page, LISTED)));
}
