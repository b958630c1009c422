/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_JOBS_H
#define CELLVISOR_MONITOR_CELL_JOBS_H

/*
 * Work of this cell that takes long: who asked for it is told how it goes, call by call
 * (`cell-job` of request.h), and finds the result for a minute after its end.
 */

#include <jansson.h>
#include <stdint.h>

#include "monitor/cell/gather.h"
#include "monitor/err.h"

struct monitor;
struct request;
struct jobs;

void jobs_open(struct monitor *m);
void jobs_close(struct monitor *m);

/* A new job; the number by which others ask for it, never 0. */
uint64_t job_begin(struct monitor *m);
/* What is just being done, in words. */
void job_progress(struct monitor *m, uint64_t id, const char *text);
/* *e is NULL on success; `result` (stolen, may be NULL) is what to say then. */
void job_end(struct monitor *m, uint64_t id, const struct err *e, json_t *result);

/*
 * Answers when there is more progress than the asker knows of, or at the end:
 * {"ok","done":false,"seq","text"} or {"ok","done":true,"seq","result"}, or refuses as the job did.
 */
void jobs_serve(struct monitor *m, const struct asker *who, const struct request *r);

void jobs_turn(struct monitor *m, uint64_t now_ns);
uint64_t jobs_due(const struct monitor *m);

#endif
