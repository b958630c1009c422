/* SPDX-License-Identifier: BSD-2-Clause */
/* borrow and give-back: the guest's home does it. */

#include "monitor/cell/api.h"

/* Moving gigabytes takes its time. */
#define LOAN_NS (300ull * 1000000000u)

static void loan_done(struct monitor *m, void *ctx, const struct gather_reply replies[CELLS_MAX])
{
	struct op *op = ctx;
	struct err e;

	for (uint32_t cell = 0; cell < m->plan->cells.cell_count; cell++) {
		json_t *reply = replies[cell].reply;

		if (!replies[cell].asked)
			continue;
		if (!reply)
			err_set(&e, EXIT_NO_ANSWER,
				"cell %u did not answer; look with `cellvisor show %s`", cell,
				op->r.name);
		if (reply && reply_ok(reply, &e))
			op_reply(op, json_incref(reply));
		else
			op_refuse(op, &e);
		return;
	}
}

void api_loan(struct op *op)
{
	struct monitor *m = op->m;
	const struct guest *g = api_working(op);
	bool cells[CELLS_MAX], back = op->r.op == REQUEST_GIVE_BACK;
	json_t *request;

	if (!g)
		return;
	request = json_pack(
		"{s:s, s:s}", "op", back ? "cell-give-back" : "cell-borrow", "name", op->r.name);
	if (!back)
		json_object_set_new(request, "bytes", json_integer((json_int_t)op->r.bytes));
	if (op->r.has_cell)
		json_object_set_new(request, "cell", json_integer(op->r.cell));
	only_cell(cells, g->home);
	gather_start(m, request, cells, monitor_now_ns() + LOAN_NS, loan_done, op);
}
