/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cell/events.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "numa/check.h"

/* Printable ASCII alone: what is quoted in a cause may come from a guest. */
static void put_text(char *to, size_t room, const char *from)
{
	size_t n = 0;

	for (; from && from[n] && n + 1 < room; n++)
		to[n] = from[n] >= ' ' && from[n] <= '~' ? from[n] : '?';
	to[n] = '\0';
}

json_t *event_json(const struct event *ev)
{
	json_t *value = json_pack("{s:f, s:I, s:I, s:I, s:s, s:s}", "time", ev->time, "seq",
		(json_int_t)ev->seq, "cell", (json_int_t)ev->cell, "by", (json_int_t)ev->by,
		"event", ev->name, "cause", ev->cause);

	CHECK(value != NULL);
	json_object_set_new(value, "guest", ev->guest[0] ? json_string(ev->guest) : json_null());
	return value;
}

static bool number(const json_t *value, const char *key, json_int_t max, json_int_t *out)
{
	const json_t *v = json_object_get(value, key);

	*out = json_integer_value(v);
	return json_is_integer(v) && *out >= 0 && *out <= max;
}

bool event_from_json(const json_t *value, struct event *ev)
{
	const json_t *time = json_object_get(value, "time");
	const json_t *guest = json_object_get(value, "guest");
	const char *name = json_string_value(json_object_get(value, "event"));
	const char *cause = json_string_value(json_object_get(value, "cause"));
	json_int_t seq, cell, by;

	memset(ev, 0, sizeof(*ev));
	if (!json_is_real(time) || !(json_real_value(time) >= 0) || !name || !cause ||
		!(json_is_null(guest) || json_is_string(guest)) ||
		!number(value, "seq", INT64_MAX, &seq) || !number(value, "cell", 1023, &cell) ||
		!number(value, "by", 1023, &by))
		return false;
	ev->time = json_real_value(time);
	ev->seq = (uint64_t)seq;
	ev->cell = (uint32_t)cell;
	ev->by = (uint32_t)by;
	put_text(ev->guest, sizeof(ev->guest), json_string_value(guest));
	put_text(ev->name, sizeof(ev->name), name);
	put_text(ev->cause, sizeof(ev->cause), cause);
	return true;
}

bool event_from_line(const char *line, size_t bytes, struct event *ev)
{
	json_t *value = json_loadb(line, bytes, JSON_REJECT_DUPLICATES, NULL);
	bool good = value && event_from_json(value, ev);

	json_decref(value);
	return good;
}

static void keep(struct event_log *log, const struct event *ev)
{
	log->ring[log->count % EVENTS_KEPT] = *ev;
	log->count++;
}

/* Takes up the events of a file; a line cut by a crash is passed over. */
static void take_up(struct event_log *log, const char *path)
{
	char line[EVENT_LINE_BYTES];
	FILE *file = fopen(path, "re");

	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		struct event ev;

		if (!event_from_line(line, strlen(line), &ev))
			continue;
		keep(log, &ev);
		if (ev.seq >= log->next_seq)
			log->next_seq = ev.seq + 1;
	}
	fclose(file);
}

static int open_file(struct event_log *log)
{
	struct stat st;

	log->fd = open(log->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (log->fd < 0)
		return -errno;
	log->file_bytes = fstat(log->fd, &st) ? 0 : (size_t)st.st_size;
	return 0;
}

static void old_path(char buf[RUNTIME_PATH_BYTES + 4], const struct event_log *log)
{
	snprintf(buf, RUNTIME_PATH_BYTES + 4, "%s.old", log->path);
}

int event_log_init(struct event_log *log, uint32_t self, const char *path)
{
	char old[RUNTIME_PATH_BYTES + 4];

	memset(log, 0, sizeof(*log));
	log->self = self;
	log->next_seq = 1;
	log->fd = -1;
	if (!path)
		return 0;
	snprintf(log->path, sizeof(log->path), "%s", path);
	old_path(old, log);
	take_up(log, old);
	take_up(log, log->path);
	return open_file(log);
}

void event_log_fini(struct event_log *log)
{
	if (log->fd >= 0)
		close(log->fd);
	log->fd = -1;
}

/* A line that can't be written (no space) is lost in the file alone. */
static void append(struct event_log *log, const struct event *ev)
{
	char line[EVENT_LINE_BYTES];
	json_t *value = event_json(ev);
	size_t bytes = json_dumpb(value, line, sizeof(line) - 1,
		JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(16));

	json_decref(value);
	CHECK(bytes > 0 && bytes < sizeof(line));
	line[bytes++] = '\n';
	if (log->file_bytes + bytes > EVENTS_FILE_BYTES) {
		char old[RUNTIME_PATH_BYTES + 4];

		old_path(old, log);
		rename(log->path, old);
		close(log->fd);
		if (open_file(log))
			return;
	}
	if (write(log->fd, line, bytes) == (ssize_t)bytes)
		log->file_bytes += bytes;
}

void event_record(struct event_log *log, double time, uint32_t cell, const char *guest,
	const char *name, const char *cause)
{
	struct event ev = { .time = time, .seq = log->next_seq++, .cell = cell, .by = log->self };

	put_text(ev.guest, sizeof(ev.guest), guest);
	put_text(ev.name, sizeof(ev.name), name);
	put_text(ev.cause, sizeof(ev.cause), cause);
	keep(log, &ev);
	if (log->fd >= 0)
		append(log, &ev);
}

json_t *event_log_page(const struct event_log *log, double since, uint64_t after, size_t max)
{
	json_t *events = json_array();
	size_t first = log->count > EVENTS_KEPT ? log->count - EVENTS_KEPT : 0;
	uint64_t last = after;
	bool more = false;

	for (size_t i = first; i < log->count; i++) {
		const struct event *ev = &log->ring[i % EVENTS_KEPT];

		if (ev->time < since || ev->seq <= after)
			continue;
		if (json_array_size(events) == max) {
			more = true;
			break;
		}
		json_array_append_new(events, event_json(ev));
		last = ev->seq;
	}
	return json_pack(
		"{s:o, s:b, s:I}", "events", events, "more", more, "next", (json_int_t)last);
}

static int compare(const void *a, const void *b)
{
	const struct event *x = a, *y = b;

	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	if (x->by != y->by)
		return x->by < y->by ? -1 : 1;
	return x->seq == y->seq ? 0 : x->seq < y->seq ? -1 : 1;
}

void events_sort(json_t *events)
{
	size_t size = json_array_size(events), count = 0;
	struct event *sorted = calloc(size + 1, sizeof(*sorted));

	CHECK(sorted != NULL);
	for (size_t i = 0; i < size; i++)
		count += event_from_json(json_array_get(events, i), &sorted[count]);
	qsort(sorted, count, sizeof(*sorted), compare);
	json_array_clear(events);
	for (size_t i = 0; i < count; i++)
		json_array_append_new(events, event_json(&sorted[i]));
	free(sorted);
}
