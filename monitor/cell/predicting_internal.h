/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_PREDICTING_INTERNAL_H
#define CELLVISOR_MONITOR_CELL_PREDICTING_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "faultcontain/corrected.h"
#include "monitor/cell/loop.h"

struct monitor;

/* What is kept of the reader's output: a line and what the pipe gives at once. */
#define ERROR_TEXT_BYTES 16384u

/* A process that may hang. `pidfd` < 0: there is none. */
struct aside {
	pid_t pid;
	int pidfd;
	struct watch watch;
};

/* The reader of the trace; its output arrives at `pipe`. */
struct errors_reader {
	struct aside process;
	int pipe; /* -1: not open */
	struct watch watch;
	char *text; /* owned: what has come of a line */
	uint32_t used;
	bool skips; /* the rest of a line that was too long */
	uint64_t again_ns;
	/* Said once each. */
	bool said_missing, said_nowhere, said_bad, said_lost, said_end;
};

struct retirement {
	struct aside process;
	uint64_t frame, due_ns;
	uint32_t node;
	bool said_hanging;
};

struct predicting {
	struct corrected *counts; /* owned */
	struct errors_reader reader;
	struct retirement retirement;
	bool drains; /* the cell is to be drained, as soon as no recovery goes on */
	uint64_t look_ns;
};

/* An error of any cell's memory, from the trace. */
void predicting_heard(struct monitor *m, const struct corrected_error *e);

/* --- predicting_read.c --- */

/* Starts or stops the reader: whether this cell is the one that reads changes with the view. */
void errors_reader_turn(struct monitor *m, uint64_t now_ns);
void errors_reader_stop(struct monitor *m);

/* --- predicting_retire.c --- */

void retirement_turn(struct monitor *m, uint64_t now_ns);
void retirement_close(struct monitor *m);

#endif
