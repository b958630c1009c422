/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cell/guests.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "numa/check.h"

static void guest_free(struct guest *g)
{
	json_decref(g->spec);
	free(g);
}

void guest_book_fini(struct guest_book *book)
{
	for (size_t i = 0; i < book->count; i++)
		guest_free(book->guests[i]);
	book->count = 0;
}

struct guest *guest_book_find(const struct guest_book *book, const char *name)
{
	for (size_t i = 0; i < book->count; i++)
		if (!strcmp(book->guests[i]->name, name))
			return book->guests[i];
	return NULL;
}

bool guest_restarts(const struct guest *g)
{
	return json_is_true(json_object_get(g->spec, "restart"));
}

bool guest_ended(const struct guest *g)
{
	return g->state >= GUEST_STOPPED;
}

size_t guest_book_live(const struct guest_book *book, uint64_t *memory_bytes)
{
	size_t live = 0;
	uint64_t bytes = 0;

	for (size_t i = 0; i < book->count; i++) {
		if (guest_ended(book->guests[i]))
			continue;
		live++;
		bytes += book->guests[i]->memory_bytes;
	}
	if (memory_bytes)
		*memory_bytes = bytes;
	return live;
}

uint64_t guest_book_promised(const struct guest_book *book, uint32_t os_node)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < book->count; i++) {
		const struct guest *g = book->guests[i];

		for (uint32_t n = 0; n < g->node_count && !guest_ended(g); n++)
			if (g->nodes[n] == os_node)
				bytes += g->node_bytes[n];
	}
	return bytes;
}

void guest_book_remove(struct guest_book *book, struct guest *g)
{
	size_t i = 0;

	while (i < book->count && book->guests[i] != g)
		i++;
	CHECK(i < book->count);
	book->count--;
	for (; i < book->count; i++)
		book->guests[i] = book->guests[i + 1];
	guest_free(g);
}

/* Forgets the longest ended guests until there is room for one that ends. */
static void forget_ended(struct guest_book *book)
{
	for (;;) {
		struct guest *oldest = NULL;
		size_t ended = 0;

		for (size_t i = 0; i < book->count; i++) {
			struct guest *g = book->guests[i];

			if (!guest_ended(g))
				continue;
			ended++;
			if (!oldest || g->ended < oldest->ended)
				oldest = g;
		}
		if (ended <= GUESTS_ENDED_MAX)
			return;
		guest_book_remove(book, oldest);
	}
}

enum guest_add guest_book_add(
	struct guest_book *book, const char *name, uint32_t home, struct guest **out)
{
	struct guest *g = guest_book_find(book, name);

	if (g && !guest_ended(g))
		return GUEST_NAME_TAKEN;
	if (guest_book_live(book, NULL) >= GUESTS_LIVE_MAX)
		return GUEST_BOOK_FULL;
	if (g)
		guest_book_remove(book, g);
	forget_ended(book);
	g = calloc(1, sizeof(*g));
	CHECK(g != NULL);
	snprintf(g->name, sizeof(g->name), "%s", name);
	g->home = home;
	g->needs[0] = home;
	g->need_count = 1;
	CHECK(book->count < sizeof(book->guests) / sizeof(book->guests[0]));
	book->guests[book->count++] = g;
	*out = g;
	return GUEST_ADDED;
}

/* Printable ASCII alone: a cause may quote what a guest process sent. */
static void clean_text(char *to, size_t room, const char *from)
{
	size_t n = 0;

	for (; from[n] && n + 1 < room; n++)
		to[n] = from[n] >= ' ' && from[n] <= '~' ? from[n] : '?';
	to[n] = '\0';
}

bool guest_move(struct guest *g, enum guest_state to, const char *cause, double now)
{
	if (guest_ended(g) || to <= g->state)
		return false;
	g->state = to;
	clean_text(g->cause, sizeof(g->cause), cause);
	if (to == GUEST_RUNNING)
		g->started = now;
	else
		g->ended = now;
	return true;
}

static const char *const state_names[GUEST_STATE_COUNT] = {
	[GUEST_STARTING] = "starting",
	[GUEST_RUNNING] = "running",
	[GUEST_STOPPED] = "stopped",
	[GUEST_CRASHED] = "crashed",
	[GUEST_LOST] = "lost",
};

const char *guest_state_name(enum guest_state state)
{
	return state < GUEST_STATE_COUNT ? state_names[state] : "unknown";
}

void guest_book_replace(struct guest_book *book, const struct guest *guests, size_t count)
{
	const size_t room = sizeof(book->guests) / sizeof(book->guests[0]);

	guest_book_fini(book);
	CHECK(count <= room);
	for (size_t i = 0; i < count; i++) {
		struct guest *g = malloc(sizeof(*g));

		CHECK(g != NULL);
		*g = guests[i];
		book->guests[book->count++] = g;
	}
}
