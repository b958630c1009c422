/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_EVENTS_H
#define CELLVISOR_MONITOR_CELL_EVENTS_H

/*
 * What happened: every cell keeps the events that it recorded, the newest
 * EVENTS_KEPT in memory, and as JSON lines in a file of bounded size that
 * outlives the monitor. Each fact has one recorder, so merging the cells'
 * events gives each fact once. Times are seconds since 1970.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "monitor/cell/runtime.h"

#define EVENTS_KEPT 1024u
/* The file is begun anew at this size; the one before is kept as FILE.old. */
#define EVENTS_FILE_BYTES (1u << 20)
#define EVENT_NAME_BYTES 32
#define EVENT_CAUSE_BYTES 240
/* Longest line of the file, with its newline. */
#define EVENT_LINE_BYTES 1024

struct event {
	double time;
	uint64_t seq;		       /* of its recorder, from 1 */
	uint32_t cell;		       /* that it is about */
	uint32_t by;		       /* cell that recorded it */
	char guest[SPEC_NAME_MAX + 1]; /* "" if it is about no guest */
	char name[EVENT_NAME_BYTES];   /* kebab-case */
	char cause[EVENT_CAUSE_BYTES];
};

struct event_log {
	struct event ring[EVENTS_KEPT];
	uint64_t next_seq; /* seq of the next event; those kept are the last ones before it */
	size_t count;
	uint32_t self;
	int fd; /* owned; -1: not kept in a file */
	size_t file_bytes;
	char path[RUNTIME_PATH_BYTES];
};

/*
 * `path` NULL: in memory only. Else takes up what an earlier life of the monitor
 * left in the file, and appends to it. 0 or -errno (the log then works in memory
 * only).
 */
int event_log_init(struct event_log *log, uint32_t self, const char *path);
void event_log_fini(struct event_log *log);

/* Records one event, at `time`; `guest` may be NULL. Texts are cut, never overrun. */
void event_record(struct event_log *log, double time, uint32_t cell, const char *guest,
	const char *name, const char *cause);

/*
 * {"events":[...]} of the events after `since` and with a seq above `after`,
 * oldest first, at most `max`; "more": true with "next": SEQ if some are left.
 */
json_t *event_log_page(const struct event_log *log, double since, uint64_t after, size_t max);

/* One event as the listing prints it. A new reference. */
json_t *event_json(const struct event *ev);

/* Reads an event of a peer or a file; nothing in it is trusted. */
bool event_from_json(const json_t *value, struct event *ev);

/* Reads one line of an event file. */
bool event_from_line(const char *line, size_t bytes, struct event *ev);

/* Sorts events (array of event_json()) by time, then recorder, then seq. In place. */
void events_sort(json_t *events);

#endif
