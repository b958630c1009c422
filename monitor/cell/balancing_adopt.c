/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guests of an earlier life of this monitor: where their vCPUs are, as the kernel says, and which
 * visits were begun, as their processes kept it.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/cell/balancing_internal.h"
#include "monitor/cell/recovery.h"
#include "numa/check.h"

static struct bal_record **find(struct balancing *b, const char *name)
{
	struct bal_record **at = &b->records;

	while (*at && strcmp((*at)->name, name) != 0)
		at = &(*at)->next;
	return at;
}

static void drop(struct bal_record **at)
{
	struct bal_record *r = *at;

	*at = r->next;
	free(r);
}

static void lose(struct monitor *m, const char *name, uint32_t cell)
{
	char cause[GUEST_CAUSE_BYTES];

	snprintf(cause, sizeof(cause),
		"a vCPU of it ran on a CPU of cell %u, which died while this cell's monitor was "
		"being replaced",
		cell);
	keeper_lose(m->keeper, name, cause);
}

static void judge(struct monitor *m, const struct bal_record *r)
{
	for (uint32_t i = 0; i < r->count; i++)
		if (recovery_gone(m, r->visits[i].cell, r->visits[i].born)) {
			lose(m, r->name, r->visits[i].cell);
			return;
		}
}

void balancing_view(struct monitor *m)
{
	for (const struct bal_record *r = m->balancing->records; r; r = r->next)
		judge(m, r);
}

void balancing_registered(struct monitor *m, const struct guest *g, const struct guest_spec *spec,
	const json_t *ledger)
{
	struct bal_record **at = find(m->balancing, g->name), *r = calloc(1, sizeof(*r));
	uint32_t cells[SPEC_CPUS_MAX];

	CHECK(r != NULL);
	if (*at)
		drop(at);
	if (!ledger_visits(
		    ledger, spec->cpus, m->self, m->plan->cells.cell_count, r->visits, &r->count))
		keeper_lose(m->keeper, g->name,
			"what its process kept for this monitor of visits can't be true");
	for (uint32_t i = 0; i < r->count; i++)
		cells[i] = r->visits[i].cell;
	/* In place of what a peer remembered: written down before a visit began. */
	keeper_need(m->keeper, g->name, KEEPER_NEED_CPU, cells, r->count);
	if (r->count == 0) {
		free(r);
		return;
	}
	memcpy(r->name, g->name, sizeof(r->name));
	r->next = m->balancing->records;
	m->balancing->records = r;
	judge(m, r);
}

void balancing_tidy_records(struct balancing *b)
{
	struct bal_record **at = &b->records;

	while (*at)
		if (balancing_find(b, (*at)->name))
			at = &(*at)->next;
		else
			drop(at);
}

uint32_t balancing_visits(
	const struct monitor *m, const char *name, struct ledger_visit visits[SPEC_CPUS_MAX])
{
	struct balancing *b = m->balancing;
	const struct bal_record *r = *find(b, name);
	const struct bal_guest *g = balancing_find(b, name);
	uint32_t count = 0;

	if (r) {
		memcpy(visits, r->visits, r->count * sizeof(visits[0]));
		return r->count;
	}
	for (uint32_t v = 0; g && v < g->cpus; v++) {
		const struct visit *row = visits_find(b->visits, name, v);

		if (row && (row->state == VISIT_THERE || row->state == VISIT_LEAVING))
			visits[count++] = (struct ledger_visit){ .vcpu = v,
				.cell = row->host,
				.born = g->vcpus[v].born,
				.held = g->vcpus[v].held };
	}
	return count;
}

/* The cell whose CPUs are all that the vCPU may use, VISITS_CELLS_MAX if there is no such one. */
static uint32_t cell_of(const struct monitor *m, const struct bal_vcpu *v)
{
	uint32_t cpu = cpu_set_next(&v->allowed, 0);
	const uint32_t cell = cpu == CPU_NONE ? CELL_NONE : balancing_cell_of(m, cpu);

	for (; cpu != CPU_NONE; cpu = cpu_set_next(&v->allowed, cpu + 1))
		if (balancing_cell_of(m, cpu) != cell)
			return VISITS_CELLS_MAX;
	return cell == CELL_NONE ? VISITS_CELLS_MAX : cell;
}

static void bind_home(struct monitor *m, struct bal_guest *g, uint32_t v)
{
	(void)balancing_bind(m, g, &g->vcpus[v],
		cpu_set_next(&m->plan->cells.cells[m->self].cpus, 0), false, ROUND_LOST);
}

static void adopt_visit(
	struct monitor *m, struct bal_guest *g, const struct ledger_visit *noted, bool there)
{
	struct balancing *b = m->balancing;
	struct bal_vcpu *v = &g->vcpus[noted->vcpu];
	const struct cpu_set *cpus = there ? &v->allowed : &m->plan->cells.cells[noted->cell].cpus;

	v->born = noted->born;
	v->held = there && noted->held;
	/* Without room for it in the book, which nobody but a lying process fills, it comes home.
	 */
	if (!visits_adopt(b->visits, noted->cell, g->name, noted->vcpu, cpu_set_next(cpus, 0))) {
		bind_home(m, g, noted->vcpu);
		return;
	}
	b->peers[noted->cell].announce = true;
	if (!there)
		(void)balancing_leave(
			m, g, noted->vcpu, cpu_set_next(&m->plan->cells.cells[m->self].cpus, 0));
}

void balancing_adopt(struct monitor *m, struct bal_guest *g)
{
	struct bal_record **at = find(m->balancing, g->name);
	const struct bal_record *r = *at;
	const struct ledger_visit none = { .cell = VISITS_CELLS_MAX };
	uint32_t next = 0;

	balancing_sample(m, monitor_now_ns(), false);
	for (uint32_t v = 0; v < g->cpus; v++) {
		const bool noted = r && next < r->count && r->visits[next].vcpu == v;
		const struct ledger_visit *visit = noted ? &r->visits[next++] : &none;
		const struct visit_finding finding = { .noted = noted,
			.gone = noted && recovery_gone(m, visit->cell, visit->born),
			.host = visit->cell,
			.home = m->self,
			.on = cell_of(m, &g->vcpus[v]) };

		switch (visits_judge(&finding)) {
		case VISIT_FOUND_HOME:
			break;
		case VISIT_FOUND_THERE:
			adopt_visit(m, g, visit, true);
			break;
		case VISIT_FOUND_UNCLEAR:
			adopt_visit(m, g, visit, false);
			break;
		case VISIT_FOUND_STRAY:
			bind_home(m, g, v);
			break;
		case VISIT_FOUND_LOST:
			lose(m, g->name, visit->cell);
			break;
		}
	}
	g->adopted = true;
	if (!r)
		return;
	drop(at);
	ledger_keep(m, g->name);
	balancing_need(m, g);
}
