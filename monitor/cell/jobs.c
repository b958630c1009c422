/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cell/jobs.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "monitor/cell/request.h"
#include "monitor/cell/state.h"
#include "numa/check.h"

/* A result that nobody asks for is forgotten. */
#define RESULT_NS (60ull * 1000000000u)
/* Who waits gets an answer in any case, so that silence means that the monitor is gone. */
#define ANSWER_NS (5ull * 1000000000u)

struct job {
	uint64_t id, seq;
	char text[ERR_TEXT_BYTES];
	bool done, failed;
	struct err e;
	json_t *result; /* owned */
	bool waits;	/* `who` is to be answered */
	struct asker who;
	uint64_t answer_ns, forget_ns;
	struct job *next;
};

struct jobs {
	struct job *list; /* owned */
	uint64_t next_id;
};

void jobs_open(struct monitor *m)
{
	m->jobs = calloc(1, sizeof(*m->jobs));
	CHECK(m->jobs != NULL);
	/* Not one of a former life. */
	m->jobs->next_id = m->incarnation << 32 | 1;
}

void jobs_close(struct monitor *m)
{
	while (m->jobs && m->jobs->list) {
		struct job *j = m->jobs->list;

		m->jobs->list = j->next;
		json_decref(j->result);
		free(j);
	}
	free(m->jobs);
	m->jobs = NULL;
}

static struct job *find(const struct monitor *m, uint64_t id)
{
	for (struct job *j = m->jobs->list; j; j = j->next)
		if (j->id == id)
			return j;
	return NULL;
}

static void answer(struct monitor *m, struct job *j, const struct asker *who)
{
	json_t *reply;

	if (j->done && j->failed) {
		asker_refuse(m, who, &j->e);
		return;
	}
	reply = json_pack("{s:b, s:b, s:I, s:s}", "ok", 1, "done", (int)j->done, "seq",
		(json_int_t)j->seq, "text", j->text);
	CHECK(reply != NULL);
	if (j->done && j->result)
		json_object_set(reply, "result", j->result);
	asker_reply(m, who, reply);
}

static void tell(struct monitor *m, struct job *j)
{
	if (!j->waits)
		return;
	j->waits = false;
	answer(m, j, &j->who);
}

uint64_t job_begin(struct monitor *m)
{
	struct job *j = calloc(1, sizeof(*j));

	CHECK(j != NULL);
	j->id = m->jobs->next_id++;
	j->forget_ns = UINT64_MAX;
	j->next = m->jobs->list;
	m->jobs->list = j;
	return j->id;
}

void job_progress(struct monitor *m, uint64_t id, const char *text)
{
	struct job *j = find(m, id);

	if (!j || j->done)
		return;
	/* What is quoted may be anything; a reply is UTF-8. */
	for (size_t i = 0; i + 1 < sizeof(j->text); i++) {
		j->text[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : text[i] ? '?' : '\0';
		if (!text[i])
			break;
	}
	j->seq++;
	tell(m, j);
}

void job_end(struct monitor *m, uint64_t id, const struct err *e, json_t *result)
{
	struct job *j = find(m, id);

	if (!j || j->done) {
		json_decref(result);
		return;
	}
	j->done = true;
	j->failed = e != NULL;
	if (e)
		j->e = *e;
	j->result = result;
	j->seq++;
	j->forget_ns = monitor_now_ns() + RESULT_NS;
	tell(m, j);
}

void jobs_serve(struct monitor *m, const struct asker *who, const struct request *r)
{
	struct job *j = find(m, r->token);
	struct err e;

	if (!j) {
		err_set(&e, EXIT_NOT_FOUND,
			"cell %u does not know of this work any more: its monitor was replaced; "
			"look "
			"with `cellvisor ls`",
			m->self);
		asker_refuse(m, who, &e);
	} else if (j->done || j->seq > r->after) {
		answer(m, j, who);
	} else {
		tell(m, j); /* one waits at a time */
		j->waits = true;
		j->who = *who;
		j->answer_ns = monitor_now_ns() + ANSWER_NS;
	}
}

void jobs_turn(struct monitor *m, uint64_t now_ns)
{
	struct job **at = &m->jobs->list;

	while (*at) {
		struct job *j = *at;

		if (j->waits && j->answer_ns <= now_ns)
			tell(m, j);
		if (j->forget_ns > now_ns) {
			at = &j->next;
			continue;
		}
		*at = j->next;
		json_decref(j->result);
		free(j);
	}
}

uint64_t jobs_due(const struct monitor *m)
{
	uint64_t due = UINT64_MAX;

	for (const struct job *j = m->jobs->list; j; j = j->next) {
		due = j->waits && j->answer_ns < due ? j->answer_ns : due;
		due = j->forget_ns < due ? j->forget_ns : due;
	}
	return due;
}
