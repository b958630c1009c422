/* SPDX-License-Identifier: BSD-2-Clause */
/* Loans that an operator asks for, and gives back. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/cell/lending.h"
#include "monitor/cell/state.h"
#include "numa/check.h"

/* A request that is answered when all of it is done. */
struct loan_pending {
	struct monitor *m;
	struct asker who;
	char name[SPEC_NAME_MAX + 1];
	uint32_t lender;
	bool back; /* gives back, one loan after the other */
	uint32_t loans;
	struct lending_report sum;
};

static json_t *report_json(const struct loan_pending *p)
{
	const struct lending_report *r = &p->sum;
	char text[300];
	json_t *loan;

	if (p->back)
		snprintf(text, sizeof(text),
			"guest '%s' gave back %u loan%s of %llu MiB together; %llu pages moved "
			"home "
			"in %.3f ms",
			p->name, p->loans, p->loans == 1 ? "" : "s",
			(unsigned long long)(r->bytes >> 20), (unsigned long long)r->pages,
			(double)r->move_ns / 1e6);
	else
		snprintf(text, sizeof(text),
			"guest '%s' borrowed %llu MiB of cell %u, node %u; %llu pages moved there "
			"in "
			"%.3f ms",
			p->name, (unsigned long long)(r->bytes >> 20), r->lender, r->os_node,
			(unsigned long long)r->pages, (double)r->move_ns / 1e6);
	loan = json_pack("{s:s, s:I, s:I, s:I, s:I, s:f, s:f, s:f}", "guest", p->name, "lender",
		(json_int_t)r->lender, "node", (json_int_t)r->os_node, "bytes",
		(json_int_t)r->bytes, "pages", (json_int_t)r->pages, "ask_us",
		(double)r->ask_ns / 1e3, "move_us", (double)r->move_ns / 1e3, "total_us",
		(double)r->total_ns / 1e3);
	return json_pack("{s:b, s:s, s:o}", "ok", 1, "text", text, "loan", loan);
}

static void done(void *ctx, const struct lending_report *r, const struct err *e)
{
	struct loan_pending *p = ctx;
	struct err next;
	int rc;

	if (e) {
		asker_refuse(p->m, &p->who, e);
		free(p);
		return;
	}
	p->loans++;
	p->sum.lender = r->lender;
	p->sum.os_node = r->os_node;
	p->sum.bytes += r->bytes;
	p->sum.pages += r->pages;
	p->sum.ask_ns += r->ask_ns;
	p->sum.move_ns += r->move_ns;
	p->sum.total_ns += r->total_ns;
	if (p->back) {
		rc = lending_give_back(p->m, p->name, p->lender, done, p, &next);
		if (!rc)
			return;
		/* None is left: that was the last. */
		if (rc != -ENOENT) {
			asker_refuse(p->m, &p->who, &next);
			free(p);
			return;
		}
	}
	asker_reply(p->m, &p->who, report_json(p));
	free(p);
}

void serve_loan(struct monitor *m, const struct asker *who, const struct request *r)
{
	struct loan_pending *p = calloc(1, sizeof(*p));
	struct err e;
	int rc;

	CHECK(p != NULL);
	p->m = m;
	p->who = *who;
	memcpy(p->name, r->name, sizeof(p->name));
	p->lender = r->has_cell ? r->cell : LENDING_ANY;
	p->back = r->op == REQUEST_CELL_GIVE_BACK;
	if (p->back)
		rc = lending_give_back(m, r->name, p->lender, done, p, &e);
	else
		rc = lending_borrow(m, r->name, p->lender, r->bytes, done, p, &e);
	if (rc) {
		asker_refuse(m, who, &e);
		free(p);
	}
}
