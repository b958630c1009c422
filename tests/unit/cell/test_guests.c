/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "monitor/cell/guests.h"

static struct guest *add(struct guest_book *book, const char *name)
{
	struct guest *g = NULL;

	cr_assert_eq(guest_book_add(book, name, 3, &g), GUEST_ADDED, "%s", name);
	return g;
}

Test(guests, every_transition_is_judged)
{
	/* from: starting, running, stopped, crashed, lost; to: the same. */
	static const bool allowed[GUEST_STATE_COUNT][GUEST_STATE_COUNT] = {
		[GUEST_STARTING] = { false, true, true, true, true },
		[GUEST_RUNNING] = { false, false, true, true, true },
	};

	for (int from = 0; from < GUEST_STATE_COUNT; from++) {
		for (int to = 0; to < GUEST_STATE_COUNT; to++) {
			struct guest g = { .state = (enum guest_state)from, .cause = "before" };
			bool moved = guest_move(&g, (enum guest_state)to, "after", 5.0);

			cr_assert_eq(moved, allowed[from][to], "%d to %d", from, to);
			cr_assert_eq(g.state, (enum guest_state)(moved ? to : from));
			cr_assert_str_eq(g.cause, moved ? "after" : "before");
		}
	}
}

Test(guests, start_and_end_are_dated)
{
	struct guest g = { .state = GUEST_STARTING };

	guest_move(&g, GUEST_RUNNING, "", 10.0);
	guest_move(&g, GUEST_STOPPED, "powered off", 20.0);
	cr_assert_float_eq(g.started, 10.0, 1e-9);
	cr_assert_float_eq(g.ended, 20.0, 1e-9);
}

Test(guests, what_a_process_says_is_made_printable_and_cut)
{
	struct guest g = { .state = GUEST_RUNNING };
	char loud[1000];

	memset(loud, '\x1b', sizeof(loud) - 1);
	loud[sizeof(loud) - 1] = '\0';
	guest_move(&g, GUEST_CRASHED, loud, 1.0);
	cr_assert_eq(strlen(g.cause), sizeof(g.cause) - 1);
	cr_assert_eq(g.cause[0], '?');
}

Test(guests, a_live_name_is_taken_and_an_ended_one_is_replaced)
{
	struct guest_book book = { .count = 0 };
	struct guest *a = add(&book, "a"), *b = add(&book, "b"), *again = NULL;

	cr_assert_eq(guest_book_add(&book, "a", 3, &again), GUEST_NAME_TAKEN);
	guest_move(a, GUEST_RUNNING, "", 1);
	cr_assert_eq(guest_book_add(&book, "a", 3, &again), GUEST_NAME_TAKEN);
	guest_move(a, GUEST_CRASHED, "x", 2);
	again = add(&book, "a");
	cr_assert_eq(again->state, GUEST_STARTING);
	cr_assert_eq(book.count, 2);
	cr_assert_eq(guest_book_find(&book, "a"), again);
	cr_assert_eq(guest_book_find(&book, "b"), b);
	cr_assert_null(guest_book_find(&book, "c"));
	cr_assert_eq(again->need_count, 1);
	cr_assert_eq(again->needs[0], 3);
	guest_book_fini(&book);
}

Test(guests, the_book_is_bounded)
{
	struct guest_book book = { .count = 0 };
	struct guest *g = NULL;
	char name[SPEC_NAME_MAX + 1];

	for (unsigned int i = 0; i < GUESTS_LIVE_MAX; i++) {
		snprintf(name, sizeof(name), "g%u", i);
		add(&book, name)->memory_bytes = 10;
	}
	cr_assert_eq(guest_book_add(&book, "more", 3, &g), GUEST_BOOK_FULL);
	guest_move(guest_book_find(&book, "g7"), GUEST_STOPPED, "", 1);
	add(&book, "more");
	uint64_t bytes = 0;
	cr_assert_eq(guest_book_live(&book, &bytes), GUESTS_LIVE_MAX);
	cr_assert_eq(bytes, 10u * (GUESTS_LIVE_MAX - 1));
	guest_book_fini(&book);
}

Test(guests, the_longest_ended_are_forgotten_first)
{
	struct guest_book book = { .count = 0 };
	char name[SPEC_NAME_MAX + 1];

	/* They end in an order that is neither that of entry nor its reverse. */
	for (unsigned int i = 0; i < GUESTS_ENDED_MAX + 10; i++) {
		snprintf(name, sizeof(name), "g%u", i);
		add(&book, name);
	}
	for (unsigned int i = 0; i < GUESTS_ENDED_MAX + 10; i++)
		guest_move(book.guests[i], GUEST_STOPPED, "", 1000 + (i * 31) % 74);
	add(&book, "last");
	cr_assert_eq(book.count, GUESTS_ENDED_MAX + 1);
	for (size_t i = 0; i < book.count - 1; i++)
		cr_assert_geq(book.guests[i]->ended, 1010, "%f", book.guests[i]->ended);
	guest_book_fini(&book);
}

static struct guest full_guest(void)
{
	struct guest g = { .name = "web-1",
		.home = 2,
		.state = GUEST_RUNNING,
		.proc = { .pid = 4711, .start_time = 123456 },
		.cause = "started",
		.cpus = 2,
		.reboots = 3,
		.memory_errors = 8,
		.memory_bytes = 1ull << 33,
		.nodes = { 2, 5 },
		.node_count = 2,
		.node_bytes = { 1ull << 32, 1ull << 32 },
		.needs = { 1, 2 },
		.need_count = 2,
		.started = 1.5,
		.ended = 0 };
	return g;
}

Test(rows, survive_the_way_to_a_peer)
{
	struct guest g = full_guest(), copy;
	json_t *row;

	g.spec = json_pack("{s:s}", "kernel", "/boot/vmlinuz");
	row = guest_row(&g, true);
	cr_assert(guest_from_row(row, &copy));
	cr_assert_str_eq(copy.name, "web-1");
	cr_assert_eq(copy.home, 2);
	cr_assert_eq(copy.state, GUEST_RUNNING);
	cr_assert_eq(copy.proc.pid, 4711);
	cr_assert_eq(copy.proc.start_time, 123456);
	cr_assert_str_eq(copy.cause, "started");
	cr_assert_eq(copy.cpus, 2);
	cr_assert_eq(copy.reboots, 3);
	cr_assert_eq(copy.memory_errors, 8);
	cr_assert_eq(copy.memory_bytes, 1ull << 33);
	cr_assert_eq(copy.node_count, 2);
	cr_assert_eq(copy.nodes[1], 5);
	cr_assert_eq(copy.node_bytes[1], 1ull << 32);
	cr_assert_eq(copy.need_count, 2);
	cr_assert_eq(copy.needs[0], 1);
	cr_assert_float_eq(copy.started, 1.5, 1e-9);
	cr_assert(json_equal(copy.spec, g.spec));
	json_decref(copy.spec);
	json_decref(g.spec);
	json_decref(row);
	row = guest_row(&g, false);
	cr_assert_null(json_object_get(row, "spec"));
	json_decref(row);
}

Test(rows, of_a_lying_peer_are_refused)
{
	static const struct {
		const char *key, *value; /* NULL: the field is missing */
	} table[] = {
		{ "name", NULL },
		{ "name", "7" },
		{ "name", "\"\"" },
		{ "name", "\"../x\"" },
		{ "name", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"" },
		{ "cell", "-1" },
		{ "cell", "1024" },
		{ "cell", "\"2\"" },
		{ "state", "\"happy\"" },
		{ "state", "1" },
		{ "pid", "-1" },
		{ "pid", "1" },
		{ "pid", "4294967296" },
		{ "pid", NULL },
		{ "start_time", "-5" },
		{ "start_time", "1.5" },
		{ "cause", "null" },
		{ "cause", NULL },
		{ "cpus", "65536" },
		{ "reboots", "-1" },
		{ "memory_error_count", "-1" },
		{ "memory_bytes", "-1" },
		{ "nodes", "[2,1]" },
		{ "nodes", "[1,1]" },
		{ "nodes", "[1024]" },
		{ "nodes", "{}" },
		{ "nodes", "[\"1\"]" },
		{ "node_bytes", "[1]" },
		{ "node_bytes", "[1,-1]" },
		{ "needs", "[-1]" },
		{ "needs", NULL },
		{ "started", "\"x\"" },
		{ "started", "-1.0" },
		{ "ended", NULL },
		{ "spec", "[]" },
	};
	struct guest g = full_guest(), out;
	json_t *many = json_array();

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		json_t *row = guest_row(&g, false);

		if (table[i].value)
			json_object_set_new(row, table[i].key,
				json_loads(table[i].value, JSON_DECODE_ANY, NULL));
		else
			json_object_del(row, table[i].key);
		cr_assert_not(guest_from_row(row, &out), "%s %s", table[i].key, table[i].value);
		cr_assert_eq(out.proc.pid, 0);
		cr_assert_null(out.spec);
		json_decref(row);
	}
	json_t *row = guest_row(&g, false);
	for (int i = 0; i <= (int)GUEST_NODES_MAX; i++)
		json_array_append_new(many, json_integer(i));
	json_object_set_new(row, "nodes", many);
	cr_assert_not(guest_from_row(row, &out), "too many nodes");
	json_decref(row);
	cr_assert_not(guest_from_row(NULL, &out));
}

Test(rows, replace_a_replica)
{
	struct guest_book book = { .count = 0 };
	struct guest two[2] = { full_guest(), full_guest() };

	add(&book, "old");
	strcpy(two[1].name, "db");
	two[1].spec = json_object();
	guest_book_replace(&book, two, 2);
	cr_assert_eq(book.count, 2);
	cr_assert_null(guest_book_find(&book, "old"));
	cr_assert_not_null(guest_book_find(&book, "db"));
	guest_book_replace(&book, NULL, 0);
	cr_assert_eq(book.count, 0);
}
