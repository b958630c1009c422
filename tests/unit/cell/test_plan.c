/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "monitor/cell/lives.h"
#include "monitor/cell/plan.h"
#include "monitor/cell/replica.h"
#include "monitor/cell/runtime.h"
#include "monitor/cell/runtime_lock.h"

/* Nodes 1, 4 and 7; 7 is memory only; cells {4} and {1,7}: no order is the natural one. */
static struct plan *example(void)
{
	struct plan *p = calloc(1, sizeof(*p));
	static const uint32_t os_nodes[3] = { 1, 4, 7 };
	uint32_t at;

	p->machine.node_count = 3;
	for (uint32_t n = 0; n < 3; n++) {
		p->machine.nodes[n].os_node = os_nodes[n];
		p->machine.nodes[n].memory_bytes = (n + 1ull) << 30;
		p->start_bytes[n] = (n + 1ull) << 29;
		for (uint32_t to = 0; to < 3; to++)
			p->machine.distance[n][to] = n == to ? 10 : (uint8_t)(20 + n);
	}
	cpu_set_add(&p->machine.nodes[0].cpus, 3);
	cpu_set_add(&p->machine.nodes[1].cpus, 0);
	p->suspect_ms = 1234;
	p->balance_ms = 35;
	p->borrow_below_bytes = 5u << 20;
	p->lend_above_bytes = 9u << 20;
	p->retire_after = 7;
	p->drain_after = 0;
	p->half_life_s = 61;
	strcpy(p->trace_dir, "/trace/ours");
	strcpy(p->trace_missing, "nothing");
	cr_assert_eq(cells_parse(&p->machine, "4/1,7", &p->cells, &at), CELLS_OK);
	return p;
}

Test(plan, survives_the_file)
{
	struct plan *p = example(), *q = calloc(1, sizeof(*q));
	char dir[] = "/tmp/cv-plan-XXXXXX", path[64];
	struct err e;

	cr_assert_not_null(mkdtemp(dir));
	cr_assert_lt(plan_load(q, dir, &e), 0);
	cr_assert_eq(e.code, EXIT_NOT_RUNNING);
	cr_assert_eq(plan_save(p, dir, &e), 0, "%s", e.text);
	cr_assert_eq(plan_load(q, dir, &e), 0, "%s", e.text);
	cr_assert_eq(memcmp(p, q, sizeof(*p)), 0);
	snprintf(path, sizeof(path), "%s/machine.json", dir);
	cr_assert_eq(truncate(path, 40), 0);
	cr_assert_lt(plan_load(q, dir, &e), 0);
	cr_assert_eq(e.code, EXIT_INVALID);
	unlink(path);
	cr_assert_eq(rmdir(dir), 0, "something is left behind");
	free(p);
	free(q);
}

Test(plan, a_damaged_one_is_refused)
{
	static const struct {
		const char *key, *value;
	} table[] = {
		{ "suspect_ms", "0" },
		{ "borrow_below_bytes", "9437185" },
		{ "borrow_below_bytes", "null" },
		{ "lend_above_bytes", "-1" },
		{ "lend_above_bytes", "5242879" },
		{ "suspect_ms", "\"1000\"" },
		{ "retire_after", "1000001" },
		{ "retire_after", "null" },
		{ "drain_after", "-1" },
		{ "drain_after", "1000001" },
		{ "half_life_s", "59" },
		{ "half_life_s", "31622401" },
		{ "trace_dir", "\"here\"" },
		{ "trace_dir", "7" },
		{ "trace_missing", "null" },
		{ "balance_ms", "4" },
		{ "balance_ms", "60001" },
		{ "balance_ms", "true" },
		{ "nodes", "[]" },
		{ "nodes", "7" },
		{ "cells", "[]" },
		{ "cells", "[{\"cell\":0,\"nodes\":[1,4]}]" },
		{ "cells", "[{\"cell\":0,\"nodes\":[1,4,7,7]}]" },
		{ "cells", "[{\"cell\":0,\"nodes\":[1,4,8]}]" },
		{ "cells", "[{\"cell\":0,\"nodes\":[7]},{\"cell\":1,\"nodes\":[1,4]}]" },
		{ "cells", "[{\"cell\":0}]" },
	};
	struct plan *p = example(), *q = calloc(1, sizeof(*q));
	struct err e;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		json_t *value = plan_encode(p);

		json_object_set_new(
			value, table[i].key, json_loads(table[i].value, JSON_DECODE_ANY, NULL));
		cr_assert_lt(plan_decode(value, q, &e), 0, "%s %s", table[i].key, table[i].value);
		cr_assert_eq(e.code, EXIT_INVALID);
		json_decref(value);
	}
	json_t *value = plan_encode(p);
	json_object_set_new(
		json_array_get(json_object_get(value, "nodes"), 1), "cpus", json_string("3"));
	cr_assert_lt(plan_decode(value, q, &e), 0, "a CPU on two nodes");
	json_decref(value);
	free(p);
	free(q);
}

Test(plan, nodes_of_a_cell_are_the_systems_numbers)
{
	struct plan *p = example();
	struct node_set set;
	json_t *nodes = plan_cell_nodes(p, 1);

	cr_assert_eq(json_array_size(nodes), 2);
	cr_assert_eq(json_integer_value(json_array_get(nodes, 0)), 1);
	cr_assert_eq(json_integer_value(json_array_get(nodes, 1)), 7);
	plan_cell_node_set(p, 1, &set);
	cr_assert(node_set_has(&set, 1) && node_set_has(&set, 7));
	cr_assert_not(node_set_has(&set, 4) || node_set_has(&set, 0) || node_set_has(&set, 2));
	json_decref(nodes);
	free(p);
}

static void cell_folder(char dir[32])
{
	struct err e;

	strcpy(dir, "/tmp/cv-lives-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	cr_assert_eq(runtime_make_cell(dir, 3, &e), 0, "%s", e.text);
}

Test(lives, no_number_is_given_twice)
{
	struct life life = { .incarnation = 2, .born = 1 }, list[8];
	char dir[32];
	uint64_t highest = 0;

	cell_folder(dir);
	cr_assert_eq(lives_claim(dir, 3, &life, &highest), 0);
	cr_assert_eq(lives_claim(dir, 3, &life, &highest), -EEXIST);
	cr_assert_eq(highest, 2);
	life.incarnation = 1;
	cr_assert_eq(lives_claim(dir, 3, &life, &highest), -EEXIST, "nor an earlier one");
	cr_assert_eq(highest, 2);
	life.incarnation = 10;
	cr_assert_eq(lives_claim(dir, 3, &life, &highest), 0);
	life.proc.pid = 4711;
	life.proc.start_time = 99;
	cr_assert_eq(lives_set_process(dir, 3, &life), 0);
	cr_assert_eq(lives_list(dir, 3, list, 8), 2);
	cr_assert_eq(list[0].incarnation, 10);
	cr_assert_eq(list[0].born, 1);
	cr_assert_eq(list[0].proc.pid, 4711);
	cr_assert_eq(list[0].proc.start_time, 99);
	cr_assert_eq(list[1].incarnation, 2);
	cr_assert_eq(list[1].proc.pid, 0);
	cr_assert_eq(lives_list(dir, 3, list, 1), 1);
	cr_assert_eq(list[0].incarnation, 10, "the latest, not the first found");
	cr_assert_eq(lives_list(dir, 4, list, 8), 0);
	runtime_remove(dir);
}

Test(lives, a_record_that_is_empty_counts)
{
	struct life life = { .incarnation = 5, .born = 1 };
	char dir[32], path[RUNTIME_PATH_BYTES];
	uint64_t highest = 0;

	cell_folder(dir);
	fclose(fopen(runtime_cell_path(path, dir, 3, "life-5"), "w"));
	cr_assert_eq(lives_claim(dir, 3, &life, &highest), -EEXIST);
	cr_assert_eq(lives_list(dir, 3, &life, 1), 1);
	cr_assert_eq(life.born, 0, "nobody can say");
	runtime_remove(dir);
}

Test(lives, those_long_past_are_forgotten)
{
	struct life life = { .born = 1 }, list[16];
	char dir[32];
	uint64_t highest;

	cell_folder(dir);
	for (life.incarnation = 1; life.incarnation <= 20; life.incarnation++)
		cr_assert_eq(lives_claim(dir, 3, &life, &highest), 0);
	cr_assert_leq(lives_list(dir, 3, list, 16), LIVES_KEPT + 1);
	cr_assert_eq(list[0].incarnation, 20);
	for (uint32_t i = 1; i < lives_list(dir, 3, list, 3); i++)
		cr_assert_eq(list[i].incarnation, 20 - i);
	runtime_remove(dir);
}

static int send_all(struct replica *to, uint32_t cell, const struct guest_book *book)
{
	char *part;
	int rc = 0;

	for (size_t i = 0; rc == 0 && (part = replica_part(book, i)); i++) {
		rc = replica_take(to, cell, part, strlen(part));
		free(part);
	}
	return rc;
}

static void fill(struct guest_book *book, uint32_t home, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		struct guest *g;
		char name[16];

		snprintf(name, sizeof(name), "g%u", i);
		cr_assert_eq(guest_book_add(book, name, home, &g), GUEST_ADDED);
		g->proc.pid = (pid_t)(1000 + i);
	}
}

Test(replica, a_book_arrives_in_parts_or_not_at_all)
{
	struct guest_book book = { .count = 0 };
	struct replica r = { .staged = NULL };
	char *part;

	fill(&book, 2, 70);
	part = replica_part(&book, 0);
	cr_assert_eq(replica_take(&r, 2, part, strlen(part)), 0);
	cr_assert_eq(r.book.count, 0, "not before the last part");
	free(part);
	cr_assert_eq(send_all(&r, 2, &book), 1, "begins anew");
	cr_assert_eq(r.book.count, 70);
	cr_assert_eq(guest_book_find(&r.book, "g69")->proc.pid, 1069);
	guest_book_fini(&book);
	cr_assert_eq(send_all(&r, 2, &book), 1);
	cr_assert_eq(r.book.count, 0, "an empty book is a book");
	replica_fini(&r);
}

Test(replica, a_lying_peer_changes_nothing)
{
	static const char *const bad[] = { "", "7", "{}", "{\"first\":true,\"last\":true}",
		"{\"first\":true,\"last\":true,\"guests\":[7]}",
		"{\"first\":1,\"last\":true,\"guests\":[]}",
		"{\"first\":false,\"last\":true,\"guests\":[]}" };
	struct guest_book book = { .count = 0 }, foreign = { .count = 0 };
	struct replica r = { .staged = NULL };
	char *part;

	fill(&book, 2, 3);
	fill(&foreign, 1, 2);
	cr_assert_eq(send_all(&r, 2, &book), 1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(replica_take(&r, 2, bad[i], strlen(bad[i])), -EBADMSG, "%s", bad[i]);
	part = replica_part(&foreign, 0);
	cr_assert_eq(replica_take(&r, 2, part, strlen(part)), -EBADMSG, "guests of another cell");
	free(part);
	cr_assert_eq(r.book.count, 3);
	guest_book_fini(&book);
	guest_book_fini(&foreign);
	replica_fini(&r);
}

Test(runtime, one_up_or_down_at_a_time)
{
	char dir[] = "/tmp/cv-lock-XXXXXX";
	struct err e;
	int first, second;

	cr_assert_not_null(mkdtemp(dir));
	cr_assert_eq(rmdir(dir), 0);
	first = runtime_lock(dir, &e);
	cr_assert_geq(first, 0, "makes the folder: %s", e.text);
	cr_assert_lt(runtime_lock(dir, &e), 0);
	cr_assert_eq(e.code, EXIT_CONFLICT);
	cr_assert_eq(runtime_make_cell(dir, 0, &e), 0);
	cr_assert_eq(runtime_make_guest(dir, 0, "web", &e), 0);
	runtime_remove(dir);
	cr_assert_neq(access(dir, F_OK), 0);
	/* The lock on the folder that was removed holds nobody up. */
	second = runtime_lock(dir, &e);
	cr_assert_geq(second, 0, "%s", e.text);
	close(first);
	close(second);
	runtime_remove(dir);
}
