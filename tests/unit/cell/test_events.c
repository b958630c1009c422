/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "monitor/cell/events.h"

static struct event_log *new_log(uint32_t self, const char *path)
{
	struct event_log *log = malloc(sizeof(*log));

	cr_assert_eq(event_log_init(log, self, path), 0);
	return log;
}

static void free_log(struct event_log *log)
{
	event_log_fini(log);
	free(log);
}

static json_t *events_of(json_t *page)
{
	return json_object_get(page, "events");
}

static const char *cause_at(json_t *events, size_t i)
{
	return json_string_value(json_object_get(json_array_get(events, i), "cause"));
}

Test(events, pages_follow_each_other_without_gap_or_repetition)
{
	struct event_log *log = new_log(1, NULL);
	uint64_t after = 0;
	size_t seen = 0, pages = 0;
	bool more = true;

	for (int i = 0; i < 10; i++) {
		char cause[16];

		snprintf(cause, sizeof(cause), "%d", i);
		event_record(log, 100 + i, 1, "g", "guest-started", cause);
	}
	while (more) {
		json_t *page = event_log_page(log, 103, after, 3);

		for (size_t i = 0; i < json_array_size(events_of(page)); i++)
			cr_assert_eq(atoi(cause_at(events_of(page), i)), (int)(3 + seen++));
		after = json_integer_value(json_object_get(page, "next"));
		more = json_is_true(json_object_get(page, "more"));
		json_decref(page);
		pages++;
	}
	cr_assert_eq(seen, 7);
	cr_assert_eq(pages, 3);
	free_log(log);
}

Test(events, the_newest_are_kept)
{
	struct event_log *log = new_log(1, NULL);
	json_t *page;
	char cause[16];

	for (unsigned int i = 0; i < EVENTS_KEPT + 5; i++) {
		snprintf(cause, sizeof(cause), "%u", i);
		event_record(log, i, 1, NULL, "x", cause);
	}
	page = event_log_page(log, 0, 0, 100000);
	cr_assert_eq(json_array_size(events_of(page)), EVENTS_KEPT);
	cr_assert_str_eq(cause_at(events_of(page), 0), "5");
	json_decref(page);
	free_log(log);
}

Test(events, outlive_the_monitor_in_their_file)
{
	char dir[] = "/tmp/cv-events-XXXXXX", path[64];
	struct event_log *log;
	json_t *page;
	FILE *file;

	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/e", dir);
	log = new_log(2, path);
	event_record(log, 10, 2, NULL, "cell-up", "one");
	event_record(log, 11, 2, "web", "guest-started", "two");
	free_log(log);
	/* The monitor was killed while it wrote a line. */
	file = fopen(path, "a");
	fputs("{\"time\":12.0,\"cell\":2,\"ca\n", file);
	fclose(file);
	log = new_log(2, path);
	event_record(log, 13, 2, NULL, "cell-up", "three");
	page = event_log_page(log, 0, 0, 10);
	cr_assert_eq(json_array_size(events_of(page)), 3);
	cr_assert_str_eq(cause_at(events_of(page), 1), "two");
	cr_assert_str_eq(cause_at(events_of(page), 2), "three");
	cr_assert_eq(
		json_integer_value(json_object_get(json_array_get(events_of(page), 2), "seq")), 3);
	json_decref(page);
	free_log(log);
	unlink(path);
	rmdir(dir);
}

Test(events, the_file_is_bounded_and_the_one_before_is_kept)
{
	char dir[] = "/tmp/cv-events-XXXXXX", path[64], old[72], cause[220];
	struct event_log *log;
	struct stat st;
	json_t *page;

	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/e", dir);
	snprintf(old, sizeof(old), "%s.old", path);
	log = new_log(2, path);
	memset(cause, 'c', sizeof(cause) - 1);
	cause[sizeof(cause) - 1] = '\0';
	for (int i = 0; i < 8000; i++)
		event_record(log, i, 2, "g", "guest-started", cause);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_leq(st.st_size, EVENTS_FILE_BYTES);
	cr_assert_gt(st.st_size, 0);
	cr_assert_eq(stat(old, &st), 0);
	cr_assert_leq(st.st_size, EVENTS_FILE_BYTES);
	free_log(log);
	log = new_log(2, path);
	page = event_log_page(log, 7999, 0, 10);
	cr_assert_eq(json_array_size(events_of(page)), 1);
	cr_assert_eq(json_integer_value(json_object_get(json_array_get(events_of(page), 0), "seq")),
		8000);
	json_decref(page);
	free_log(log);
	unlink(path);
	unlink(old);
	rmdir(dir);
}

Test(events, are_merged_by_time_then_recorder_then_sequence)
{
	static const struct event table[] = {
		{ .time = 5, .by = 2, .seq = 9, .name = "x", .cause = "d" },
		{ .time = 1, .by = 3, .seq = 1, .name = "x", .cause = "a" },
		{ .time = 5, .by = 1, .seq = 20, .name = "x", .cause = "c" },
		{ .time = 9, .by = 0, .seq = 3, .name = "x", .cause = "e" },
		{ .time = 5, .by = 1, .seq = 4, .name = "x", .cause = "b" },
	};
	json_t *events = json_array();

	for (size_t i = 0; i < 5; i++)
		json_array_append_new(events, event_json(&table[i]));
	json_array_append_new(events, json_string("from a peer gone mad"));
	events_sort(events);
	cr_assert_eq(json_array_size(events), 5);
	for (size_t i = 0; i < 5; i++)
		cr_assert_eq(cause_at(events, i)[0], (char)('a' + i));
	json_decref(events);
}

Test(events, of_a_lying_peer_are_refused)
{
	static const char *const bad[] = { "", "{}", "7", "{\"time\":1}",
		"{\"time\":-1.0,\"seq\":1,\"cell\":1,\"by\":1,\"guest\":null,\"event\":\"x\","
		"\"cause\":\"\"}",
		"{\"time\":1.0,\"seq\":-1,\"cell\":1,\"by\":1,\"guest\":null,\"event\":\"x\","
		"\"cause\":\"\"}",
		"{\"time\":1.0,\"seq\":1,\"cell\":1024,\"by\":1,\"guest\":null,\"event\":\"x\","
		"\"cause\":\"\"}",
		"{\"time\":1.0,\"seq\":1,\"cell\":1,\"by\":-1,\"guest\":null,\"event\":\"x\","
		"\"cause\":\"\"}",
		"{\"time\":1.0,\"seq\":1,\"cell\":1,\"by\":1,\"guest\":5,\"event\":\"x\",\"cause\":"
		"\"\"}",
		"{\"time\":1.0,\"seq\":1,\"cell\":1,\"by\":1,\"guest\":null,\"event\":5,\"cause\":"
		"\"\"}",
		"{\"time\":1.0,\"seq\":1,\"cell\":1,\"by\":1,\"guest\":null,\"event\":\"x\"}" };
	static const char good[] =
		"{\"time\":1.0,\"seq\":1,\"cell\":1,\"by\":1,\"guest\":\"\\u001b[2J\","
		"\"event\":\"x\",\"cause\":\"c\"}";
	struct event ev;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_not(event_from_line(bad[i], strlen(bad[i]), &ev), "%s", bad[i]);
	cr_assert(event_from_line(good, strlen(good), &ev));
	cr_assert_str_eq(ev.guest, "?[2J");
}
