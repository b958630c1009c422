/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cell/replica.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "numa/check.h"

#define ROWS_MAX (GUESTS_LIVE_MAX + GUESTS_ENDED_MAX + 1)

static void drop_staged(struct replica *r)
{
	for (size_t i = 0; i < r->staged_count; i++)
		json_decref(r->staged[i].spec);
	free(r->staged);
	r->staged = NULL;
	r->staged_count = 0;
}

void replica_fini(struct replica *r)
{
	drop_staged(r);
	guest_book_fini(&r->book);
}

/* Adds the rows of one part to the staged ones. false: the book is not to be believed. */
static bool stage(struct replica *r, uint32_t cell, const json_t *rows)
{
	size_t count = json_array_size(rows);

	if (!json_is_array(rows) || count > REPLICA_PART_ROWS || r->staged_count + count > ROWS_MAX)
		return false;
	for (size_t i = 0; i < count; i++) {
		struct guest g;

		if (!guest_from_row(json_array_get(rows, i), &g))
			return false;
		r->staged[r->staged_count++] = g;
		if (g.home != cell)
			return false;
	}
	return true;
}

static bool take(struct replica *r, uint32_t cell, const json_t *part)
{
	const json_t *first = json_object_get(part, "first"), *last = json_object_get(part, "last");

	if (!json_is_boolean(first) || !json_is_boolean(last))
		return false;
	if (json_is_true(first)) {
		drop_staged(r);
		r->staged = calloc(ROWS_MAX, sizeof(*r->staged));
		CHECK(r->staged != NULL);
	}
	return r->staged && stage(r, cell, json_object_get(part, "guests"));
}

int replica_take(struct replica *r, uint32_t cell, const void *body, size_t bytes)
{
	json_t *part = json_loadb(body, bytes, JSON_REJECT_DUPLICATES, NULL);
	bool last = json_is_true(json_object_get(part, "last"));
	bool good = part && take(r, cell, part);

	json_decref(part);
	if (!good) {
		drop_staged(r);
		return -EBADMSG;
	}
	if (!last)
		return 0;
	guest_book_replace(&r->book, r->staged, r->staged_count);
	r->known = true;
	r->staged_count = 0; /* the book has them now */
	drop_staged(r);
	return 1;
}

char *replica_part(const struct guest_book *book, size_t i)
{
	size_t at = i * REPLICA_PART_ROWS, end = at + REPLICA_PART_ROWS;
	json_t *rows, *part;
	char *text;

	if (at >= book->count && i > 0)
		return NULL;
	if (end > book->count)
		end = book->count;
	rows = json_array();
	for (; at < end; at++)
		json_array_append_new(
			rows, guest_row(book->guests[at], guest_restarts(book->guests[at])));
	part = json_pack(
		"{s:b, s:b, s:o}", "first", i == 0, "last", end == book->count, "guests", rows);
	text = json_dumps(part, JSON_COMPACT | JSON_REAL_PRECISION(16));
	json_decref(part);
	CHECK(text != NULL);
	return text;
}
