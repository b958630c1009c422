/* SPDX-License-Identifier: BSD-2-Clause */
/* Work of one cell that takes long, followed for a client: a guest moves, a cell is drained. */

#include <stdlib.h>

#include "monitor/cell/api.h"
#include "numa/check.h"

/* A monitor that works answers much earlier, also when there is no news. */
#define JOB_NS (20ull * 1000000000u)

struct job_op {
	struct op *op;
	uint32_t cell;
	uint64_t job, seen;
};

static void fail(struct job_op *j, const struct err *e)
{
	op_refuse(j->op, e);
	free(j);
}

static void told(struct monitor *m, void *ctx, const struct gather_reply replies[CELLS_MAX]);

static void ask(struct job_op *j)
{
	struct monitor *m = j->op->m;
	bool cells[CELLS_MAX];

	only_cell(cells, j->cell);
	gather_start(m,
		json_pack("{s:s, s:I, s:I}", "op", "cell-job", "token", (json_int_t)j->job, "after",
			(json_int_t)j->seen),
		cells, monitor_now_ns() + JOB_NS, told, j);
}

/* The reply, if there is one that says ok; else the op is over. */
static const json_t *good(struct job_op *j, const struct gather_reply *r)
{
	struct err e;

	if (r->reply && reply_ok(r->reply, &e))
		return r->reply;
	if (!r->reply)
		err_set(&e, EXIT_NO_ANSWER,
			"cell %u, which does it, does not answer; look with `cellvisor ls`, and "
			"try "
			"again if it is not done",
			j->cell);
	fail(j, &e);
	return NULL;
}

static void told(struct monitor *m, void *ctx, const struct gather_reply replies[CELLS_MAX])
{
	struct job_op *j = ctx;
	const json_t *reply = good(j, &replies[j->cell]), *text;
	json_int_t seq;

	(void)m;
	if (!reply)
		return;
	seq = json_integer_value(json_object_get(reply, "seq"));
	text = json_object_get(reply, "text");
	if (json_is_true(json_object_get(reply, "done"))) {
		json_t *result = json_deep_copy(json_object_get(reply, "result"));

		if (!json_is_object(result)) {
			json_decref(result);
			result = json_object();
		}
		json_object_set_new(result, "ok", json_true());
		op_reply(j->op, result);
		free(j);
		return;
	}
	if (seq > (json_int_t)j->seen) {
		j->seen = (uint64_t)seq;
		if (json_is_string(text))
			op_progress(j->op, json_string_value(text));
	}
	ask(j);
}

static void began(struct monitor *m, void *ctx, const struct gather_reply replies[CELLS_MAX])
{
	struct job_op *j = ctx;
	const json_t *reply = good(j, &replies[j->cell]);

	(void)m;
	if (!reply)
		return;
	j->job = (uint64_t)json_integer_value(json_object_get(reply, "job"));
	ask(j);
}

void op_job(struct op *op, uint32_t cell, json_t *request)
{
	struct job_op *j = calloc(1, sizeof(*j));
	bool cells[CELLS_MAX];

	CHECK(j != NULL);
	j->op = op;
	j->cell = cell;
	only_cell(cells, cell);
	gather_start(op->m, request, cells, monitor_now_ns() + JOB_NS, began, j);
}

void api_move(struct op *op)
{
	const struct guest *g = api_working(op);

	if (g)
		op_job(op, g->home,
			json_pack("{s:s, s:s, s:I}", "op", "cell-move", "name", op->r.name, "cell",
				(json_int_t)op->r.cell));
}

/* One cell was asked; its answer is the client's. */
static void answered(struct monitor *m, void *ctx, const struct gather_reply replies[CELLS_MAX])
{
	struct op *op = ctx;
	json_t *reply = replies[op->r.cell].reply;
	struct err e;

	(void)m;
	if (reply && reply_ok(reply, &e)) {
		op_reply(op, json_incref(reply));
		return;
	}
	if (!reply)
		err_set(&e, EXIT_NO_ANSWER, "cell %u did not answer; try again", op->r.cell);
	op_refuse(op, &e);
}

void api_drain(struct op *op)
{
	struct monitor *m = op->m;
	const uint32_t cell = op->r.cell;
	bool cells[CELLS_MAX];
	struct err e;

	if (cell >= m->plan->cells.cell_count) {
		err_set(&e, EXIT_NOT_FOUND, "there is no cell %u; there are cells 0 to %u", cell,
			m->plan->cells.cell_count - 1);
	} else if (monitor_cell_state(m, cell) == CELL_DEAD) {
		err_set(&e, EXIT_NOT_FOUND, "cell %u is dead", cell);
	} else if (!api_askable(m, cell)) {
		err_set(&e, EXIT_NO_ANSWER, "the monitor of cell %u can't be asked now; try again",
			cell);
	} else if (op->r.op == REQUEST_DRAIN) {
		op_job(op, cell, json_pack("{s:s}", "op", "cell-drain"));
		return;
	} else {
		only_cell(cells, cell);
		gather_start(m, json_pack("{s:s}", "op", "cell-undrain"), cells,
			monitor_now_ns() + API_LIST_NS, answered, op);
		return;
	}
	op_refuse(op, &e);
}
