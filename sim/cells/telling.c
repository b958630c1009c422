/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What cells tell each other of their guests: who needs whom. A need is told to all
 * peers that are linked before what is needed is used, so that whoever is left knows
 * it. What was put into each peer's ring is kept apart from what the home believes to
 * have told. Only in machines that monitors can describe (`wide`).
 */

#include <string.h>

#include "numa/check.h"
#include "sim/cells/machine.h"

/* A guest in a book as it is sent: place, number and count, then cell and born of each need. */
#define ROW_WORDS 3u

static struct link *link_of(const struct sim *s, uint16_t from, uint16_t to)
{
	return &s->links[(size_t)from * s->cfg.cells + to];
}

/* Rows of the guests of `home`, as `peer` has them. */
static struct told_guest *rows_of(
	const struct sim *s, struct told_guest *all, uint16_t peer, uint16_t home)
{
	return &all[((size_t)peer * s->cfg.cells + home) * s->cfg.guests];
}

static void clear(const struct sim *s, struct told_guest *rows)
{
	memset(rows, 0, s->cfg.guests * sizeof(*rows));
}

void telling_start(struct sim *s, uint16_t cell)
{
	for (uint16_t p = 0; s->wide && p < s->cfg.cells; p++)
		clear(s, rows_of(s, s->heard, cell, p));
}

void telling_link_up(struct sim *s, uint16_t cell, uint16_t peer)
{
	link_of(s, cell, peer)->told = false;
	if (s->wide)
		clear(s, rows_of(s, s->sent, peer, cell));
}

void telling_changed(struct sim *s, uint16_t cell)
{
	for (uint16_t p = 0; p < s->cfg.cells; p++)
		link_of(s, cell, p)->told = false;
}

static size_t encode(const struct sim *s, uint16_t cell, uint8_t *body)
{
	size_t at = 0;

	for (uint32_t i = 0; i < s->cfg.guests; i++) {
		const struct guest *g = &s->guests[(size_t)cell * s->cfg.guests + i];
		const uint32_t words[ROW_WORDS] = { i, g->number, g->needs.count };

		if (!guest_managed(s, g, cell))
			continue;
		CHECK(g->needs.count <= TRUTH_MAX);
		memcpy(body + at, words, sizeof(words));
		at += sizeof(words);
		for (uint16_t k = 0; k < g->needs.count; k++) {
			const uint32_t need[2] = { g->needs.list[k].cell, g->needs.list[k].born };

			memcpy(body + at, need, sizeof(need));
			at += sizeof(need);
		}
	}
	return at;
}

/* false: not a book; what was known is lost then. */
static bool decode(const struct sim *s, struct told_guest *rows, const uint8_t *body, size_t bytes)
{
	uint32_t words[ROW_WORDS], need[2];

	clear(s, rows);
	while (bytes >= sizeof(words)) {
		struct told_guest *row;

		memcpy(words, body, sizeof(words));
		body += sizeof(words);
		bytes -= sizeof(words);
		if (words[0] >= s->cfg.guests || words[2] > TRUTH_MAX ||
			bytes < words[2] * sizeof(need))
			return false;
		row = &rows[words[0]];
		row->number = words[1];
		row->count = (uint16_t)words[2];
		for (uint16_t k = 0; k < row->count; k++) {
			memcpy(need, body, sizeof(need));
			body += sizeof(need);
			bytes -= sizeof(need);
			row->needs[k] = (struct need){ .cell = (uint16_t)need[0], .born = need[1] };
		}
	}
	return bytes == 0;
}

void telling_sent(struct sim *s, uint16_t from, uint16_t to, const void *body, size_t bytes)
{
	CHECK(decode(s, rows_of(s, s->sent, to, from), body, bytes));
}

bool telling_peers(struct sim *s, uint16_t cell)
{
	static _Thread_local uint8_t body[VISITS_LIST_BYTES_MAX];
	size_t bytes = 0;
	bool all = true, made = false;

	for (uint16_t p = 0; s->wide && s->cfg.guests > 0 && p < s->cfg.cells; p++) {
		struct link *l = link_of(s, cell, p);

		/* Without a link it is told when there is one. */
		if (p == cell || l->told || !l->peer_life)
			continue;
		if (sim_hit(s, SITE_RING_FULL)) {
			all = false;
			continue;
		}
		if (!made)
			bytes = encode(s, cell, body);
		made = true;
		net_send(s, cell, p, SIM_OP_GUESTS, body, bytes);
		l->told = true;
	}
	return all;
}

void telling_message(struct sim *s, uint16_t cell, uint16_t from, const void *body, size_t bytes)
{
	if (!s->wide || !decode(s, rows_of(s, s->heard, cell, from), body, bytes))
		sim_violate(s, "cell %u can't read the book of an honest cell %u", cell, from);
}

static bool has(const struct told_guest *row, const struct guest *g, uint16_t cell)
{
	for (uint16_t k = 0; k < row->count && row->number == g->number; k++)
		if (row->needs[k].cell == cell)
			return true;
	return false;
}

void telling_use_begins(struct sim *s, const struct guest *g, uint16_t cell)
{
	uint32_t place = (uint32_t)(g - s->guests) - (uint32_t)g->home * s->cfg.guests;

	for (uint16_t p = 0; s->wide && p < s->cfg.cells; p++)
		if (p != g->home && link_of(s, g->home, p)->peer_life &&
			!has(&rows_of(s, s->sent, p, g->home)[place], g, cell))
			sim_violate(s,
				"needs: guest %u of cell %u begins to use cell %u, and cell %u has "
				"not been told",
				g->number, g->home, cell, p);
}

static bool equal(const struct told_guest *row, const struct needs *needs)
{
	if (row->count != needs->count)
		return false;
	for (uint16_t k = 0; k < row->count; k++)
		if (row->needs[k].cell != needs->list[k].cell ||
			row->needs[k].born != needs->list[k].born)
			return false;
	return true;
}

bool telling_settled(const struct sim *s, uint16_t cell)
{
	for (uint16_t h = 0; s->wide && h < s->cfg.cells; h++) {
		const struct told_guest *rows = rows_of(s, s->heard, cell, h);

		for (uint32_t i = 0; i < s->cfg.guests && h != cell && monitor_acts(s, h); i++) {
			const struct guest *g = &s->guests[(size_t)h * s->cfg.guests + i];
			bool runs = guest_managed(s, g, h);

			if (runs ? rows[i].number != g->number || !equal(&rows[i], &g->needs)
				 : rows[i].count > 0)
				return false;
		}
	}
	return true;
}
