/* SPDX-License-Identifier: BSD-2-Clause */
/* All memory of a guest that moves to another cell: borrowed of it, until it is at home there. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/cell/lending_internal.h"
#include "monitor/guest/spec.h"
#include "numa/check.h"
#include "numa/vnuma.h"

/* One that may need no other cell has no ledger yet. NULL with *e. */
static struct borrower *make_borrower(struct monitor *m, const struct guest *g, struct err *e)
{
	struct guest_spec *spec = calloc(1, sizeof(*spec));
	const struct guest_home *home = keeper_home(m->keeper, g->name);
	struct borrower *b = NULL;

	CHECK(spec != NULL);
	if (home && g->spec && !guest_spec_decode(g->spec, spec, e))
		b = borrower_add(m, g, spec, home);
	if (!b)
		err_set(e, EXIT_CONFLICT,
			"on which nodes the memory of guest '%s' lies is known to the kernel "
			"alone: it "
			"was started without a plan by node",
			g->name);
	free(spec);
	return b;
}

int lending_whole_begin(struct monitor *m, const char *name, struct err *e)
{
	const struct guest *g = guest_book_find(keeper_book(m->keeper), name);
	struct borrower *b = borrower_find(m, name);

	CHECK(g != NULL);
	if (!b)
		b = make_borrower(m, g, e);
	if (!b)
		return -EOPNOTSUPP;
	if (b->op || b->settle || b->moving)
		return err_set(e, EXIT_CONFLICT,
			"memory of guest '%s' is just being moved or asked for; try again", name);
	b->moving = true;
	return 0;
}

void lending_whole_end(struct monitor *m, const char *name)
{
	struct borrower *b = borrower_find(m, name);

	if (b)
		b->moving = false;
}

static bool is_of(const struct monitor *m, uint32_t os_node, uint32_t cell)
{
	uint32_t n = machine_node_of(&m->plan->machine, os_node);

	return n != NODE_NONE && cells_of_node(&m->plan->cells, n) == cell;
}

uint64_t lending_whole_left(const struct monitor *m, const char *name, uint32_t cell)
{
	const struct borrower *b = borrower_find(m, name);
	uint64_t units = 0;

	for (uint32_t i = 0; b && i < b->layout.count; i++)
		if (!is_of(m, b->layout.ranges[i].os_node, cell))
			units += b->layout.ranges[i].units;
	return units * VNUMA_UNIT_BYTES;
}

int lending_whole_part(struct monitor *m, const char *name, uint32_t lender, uint32_t os_node,
	uint64_t bytes, lending_done *done, void *ctx, struct err *e)
{
	/* Not asked for by an operator: what a move leaves behind comes home by itself. */
	const struct move_request r = { .lender = lender,
		.node = NODE_NONE,
		.lender_node = os_node,
		.units = bytes / VNUMA_UNIT_BYTES,
		.whole = true,
		.everywhere = true,
		.done = done,
		.ctx = ctx };
	struct borrower *b = borrower_find(m, name);
	int rc;

	if (!b || b->op)
		return err_set(e, EXIT_CONFLICT, "guest '%s' has ended meanwhile", name);
	rc = move_borrow(m, b, &r, e);
	lending_pump(m);
	return rc;
}

int lending_whole_return(struct monitor *m, const char *name, uint32_t lender, uint32_t except,
	lending_done *done, void *ctx, struct err *e)
{
	struct move_request r = { .node = NODE_NONE, .whole = true, .done = done, .ctx = ctx };
	struct borrower *b = borrower_find(m, name);

	for (uint32_t i = 0; b && !b->op && i < b->hold_count; i++) {
		struct hold *h = &b->holds[i];
		int rc;

		if (h->line.lender == except || (lender != LENDING_ANY && h->line.lender != lender))
			continue;
		r.units = h->line.units;
		rc = move_return(m, b, h, &r, e);
		lending_pump(m);
		return rc == -ENOENT ? -EIO : rc;
	}
	return -ENOENT;
}

void lending_whole_home(const struct monitor *m, const char *name, struct guest_home *home)
{
	const struct borrower *b = borrower_find(m, name);

	home->memory_count = home->node_count = 0;
	if (!b)
		return;
	/* The machine's nodes are in ascending order of their numbers. */
	for (uint32_t n = 0; n < m->plan->machine.node_count; n++)
		if (ram_on(&b->layout, m->plan->machine.nodes[n].os_node) > 0)
			home->nodes[home->node_count++] = m->plan->machine.nodes[n].os_node;
	for (uint32_t i = 0; i < b->layout.count && b->layout.count <= SPEC_NODES_MAX; i++)
		home->memory[home->memory_count++] =
			(struct home_range){ .node = b->layout.ranges[i].os_node,
				.bytes = b->layout.ranges[i].units * VNUMA_UNIT_BYTES };
}

json_t *lending_whole_ledger(const struct monitor *m, const char *name)
{
	struct borrower *b = borrower_find(m, name), *copy = malloc(sizeof(*copy));
	json_t *ledger;

	CHECK(b != NULL && copy != NULL);
	*copy = *b;
	/* There it has borrowed nothing, and gets a number of that cell's. */
	copy->hold_count = 0;
	copy->number = 0;
	ledger = ledger_encode(copy);
	free(copy);
	return ledger;
}

json_t *lending_ledger(const struct monitor *m, const char *name)
{
	const struct borrower *b = borrower_find(m, name);

	return b ? ledger_encode(b) : json_object();
}
