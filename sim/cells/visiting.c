/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * vCPUs on CPUs of other cells, as a simulated monitor carries them out: the real
 * books of home and host, and calls between them that may be lost or late.
 */

#include <stdio.h>
#include <string.h>

#include "faultcontain/member_impl.h"
#include "numa/check.h"
#include "sim/cells/machine.h"

#define CALL_NS (40 * MS)
#define ANNOUNCE_TICKS 8u
#define TELL_TICKS 2u

static void name_of(const struct guest *g, char name[VISIT_NAME_BYTES])
{
	snprintf(name, VISIT_NAME_BYTES, "g%u", g->number);
}

static struct guest *guest_named(struct sim *s, uint16_t cell, const char *name)
{
	char own[VISIT_NAME_BYTES];

	for (uint32_t i = 0; i < s->cfg.guests; i++) {
		struct guest *g = &s->guests[(size_t)cell * s->cfg.guests + i];

		name_of(g, own);
		if (guest_managed(s, g, cell) && !strcmp(own, name))
			return g;
	}
	return NULL;
}

static struct visits *visits_of(const struct sim *s, uint16_t cell)
{
	return &s->visits[cell];
}

uint32_t visiting_on(const struct sim *s, uint16_t cell, uint32_t cpu)
{
	return s->wide ? visitors_on(&s->visitors[cell], cpu) : 0;
}

void visiting_subtract_own(const struct sim *s, uint16_t cell, uint16_t *foreign)
{
	for (uint32_t i = 0; s->wide && i < visits_of(s, cell)->end; i++) {
		const struct visit *row = &visits_of(s, cell)->rows[i];

		if ((row->state == VISIT_THERE || row->state == VISIT_LEAVING) &&
			foreign[row->cpu] > 0)
			foreign[row->cpu]--;
	}
}

bool visiting_under_way(const struct sim *s, const struct guest *g, uint16_t v)
{
	char name[VISIT_NAME_BYTES];
	const struct visit *row;

	if (!s->wide)
		return false;
	name_of(g, name);
	row = visits_find(visits_of(s, g->home), name, v);
	return row && row->state != VISIT_THERE;
}

/* What the monitor records: home, what its guest has borrowed, and where its vCPUs are. */
void visiting_needs(struct sim *s, struct guest *g)
{
	const struct membership *m = s->cells[g->home].m;
	uint32_t cells[VISITS_CELLS_MAX] = { 0 }, count = 0;
	struct needs needs = { 0 };
	char name[VISIT_NAME_BYTES];

	name_of(g, name);
	needs_add(&needs, g->home, g->home_born);
	for (uint16_t i = 0; i < g->hold_count; i++)
		needs_add(&needs, g->holds[i].line.lender, g->holds[i].line.lender_born);
	if (s->wide && s->cfg.plant != PLANT_VISIT_WITHOUT_NEED)
		count = visits_needs(visits_of(s, g->home), name, cells);
	for (uint32_t i = 0; i < count; i++) {
		uint16_t cell = (uint16_t)cells[i];
		uint32_t born = word_born(m->view[cell]);

		/* What was got of an earlier boot was got of that one. */
		for (uint16_t k = 0; k < g->needs.count; k++)
			if (g->needs.list[k].cell == cell)
				born = g->needs.list[k].born;
		needs_add(&needs, cell, born);
	}
	g->needs = needs;
	telling_changed(s, g->home);
}

void visiting_start(struct sim *s, uint16_t cell)
{
	struct cell *c = &s->cells[cell];

	memset(c->calls, 0, sizeof(c->calls));
	if (!s->wide)
		return;
	visits_init(visits_of(s, cell));
	memset(&s->visitors[cell], 0, sizeof(s->visitors[cell]));
	for (uint32_t i = 0; i < s->cfg.guests; i++) {
		struct guest *g = &s->guests[(size_t)cell * s->cfg.guests + i];
		char name[VISIT_NAME_BYTES];

		name_of(g, name);
		for (uint16_t v = 0; v < g->vcpu_count && guest_managed(s, g, cell); v++) {
			uint16_t on = cell_of_cpu(s, g->vcpus[v].cpu);

			if (on != cell && s->cfg.plant != PLANT_AFFINITY_NOT_READ)
				CHECK(visits_adopt(visits_of(s, cell), on, name, v,
					      g->vcpus[v].cpu) != NULL);
		}
	}
	visiting_announce_all(s, cell);
}

void visiting_announce_all(struct sim *s, uint16_t cell)
{
	for (uint16_t p = 0; p < s->cfg.cells; p++)
		s->cells[cell].peer[p].announce = true;
}

/* --- calls -------------------------------------------------------------------- */

static bool call(struct sim *s, uint16_t cell, const struct visit *row, enum visit_op op)
{
	struct cell *c = &s->cells[cell];
	struct visit_msg msg = { .op = op, .id = row->id, .vcpu = row->vcpu, .cpu = row->cpu };
	uint8_t body[8 + VISIT_MSG_BYTES];
	struct event late = { .what = EV_CALL_LATE, .cell = cell, .cell_life = c->life };
	uint32_t slot = 0;

	while (slot < CALLS_MAX && c->calls[slot].req)
		slot++;
	if (slot == CALLS_MAX)
		return false;
	c->calls[slot] = (struct visit_call){ .req = s->order,
		.id = row->id,
		.vcpu = row->vcpu,
		.cpu = row->cpu,
		.host = (uint16_t)row->host,
		.end = op == VISIT_END };
	memcpy(c->calls[slot].name, row->name, VISIT_NAME_BYTES);
	memcpy(msg.name, row->name, VISIT_NAME_BYTES);
	memcpy(body, &c->calls[slot].req, 8);
	visit_encode(&msg, body + 8);
	late.loan.id = c->calls[slot].req;
	sim_push(s, &late, s->pace * CALL_NS);
	net_send(s, cell, (uint16_t)row->host, SIM_OP_VISIT, body, sizeof(body));
	return true;
}

void visiting_ask(struct sim *s, struct guest *g, uint16_t v, uint32_t cpu)
{
	struct visits *visits = visits_of(s, g->home);
	char name[VISIT_NAME_BYTES];
	const struct visit *row;

	/* What the host is to be told comes first: while an ask is open it can't be. */
	if (s->cells[g->home].peer[cell_of_cpu(s, cpu)].announce)
		return;
	name_of(g, name);
	row = visits_ask(visits, cell_of_cpu(s, cpu), name, v, cpu);
	if (row && !call(s, g->home, row, VISIT_ASK))
		(void)visits_answered(visits, row->id, true, VISIT_NOT_NOW);
}

void visiting_leave(struct sim *s, struct guest *g, uint16_t v, uint32_t cpu)
{
	char name[VISIT_NAME_BYTES];

	if (cell_of_cpu(s, cpu) != g->home)
		return;
	name_of(g, name);
	g->vcpus[v].home_cpu = cpu;
	(void)visits_leave(visits_of(s, g->home), name, v);
}

/* The host takes it: the need first, recorded and told, then the affinity. */
static void go(struct sim *s, uint16_t cell, const struct visit_call *done)
{
	struct guest *g = guest_named(s, cell, done->name);
	bool more;

	if (!g)
		return;
	more = !needs_has(&g->needs, done->host);
	if (more && g->needs.count >= g->cells_max && s->cfg.plant != PLANT_LIMIT_IGNORED) {
		visits_cancel(visits_of(s, cell), done->name, done->vcpu);
		return;
	}
	visiting_needs(s, g);
	if (s->cfg.plant != PLANT_USE_BEFORE_TOLD && !telling_peers(s, cell)) {
		visits_cancel(visits_of(s, cell), done->name, done->vcpu);
		visiting_needs(s, g);
		return;
	}
	if (sim_hit(s, SITE_ACTION_CRASH))
		monitor_kill(s, cell, "crash between a need and its CPU");
	else
		balancing_put(s, g, (uint16_t)done->vcpu, done->cpu);
}

/* The host has let it go: the affinity first, then the need. */
static void come_back(struct sim *s, uint16_t cell, const struct visit_call *done)
{
	struct guest *g = guest_named(s, cell, done->name);

	if (!g)
		return;
	balancing_put(s, g, (uint16_t)done->vcpu, balancing_back(s, g, (uint16_t)done->vcpu));
	if (sim_hit(s, SITE_ACTION_CRASH))
		monitor_kill(s, cell, "crash between a CPU and its need");
	else
		visiting_needs(s, g);
}

static void finish(struct sim *s, uint16_t cell, uint64_t req, bool heard, enum visit_answer answer)
{
	struct cell *c = &s->cells[cell];
	struct visit_call done;
	uint32_t slot = 0;

	while (slot < CALLS_MAX && c->calls[slot].req != req)
		slot++;
	if (slot == CALLS_MAX)
		return; /* it was given up */
	done = c->calls[slot];
	c->calls[slot].req = 0;
	if (done.end) {
		if (visits_ended(visits_of(s, cell), done.id, heard))
			come_back(s, cell, &done);
	} else if (visits_answered(visits_of(s, cell), done.id, heard, answer)) {
		if (guest_named(s, cell, done.name))
			go(s, cell, &done);
		else
			visits_cancel(visits_of(s, cell), done.name, done.vcpu);
	}
}

void visiting_late(struct sim *s, const struct event *e)
{
	finish(s, e->cell, e->loan.id, false, VISIT_NOT_NOW);
}

/* --- messages ----------------------------------------------------------------- */

static void on_visit(struct sim *s, uint16_t cell, uint16_t from, const uint8_t *body, size_t bytes)
{
	const struct cell *c = &s->cells[cell];
	struct visit_room room = { .not_now = !monitor_serves(s, cell) };
	uint8_t reply[8 + VISIT_ANSWER_BYTES];
	struct visit_msg msg;

	if (bytes < 8 || !visit_decode(body + 8, bytes - 8, &msg)) {
		sim_violate(s, "cell %u can't read a visit of an honest cell %u", cell, from);
		return;
	}
	room.ours = cell_of_cpu(s, msg.cpu) == cell;
	if (room.ours) {
		room.usable = cpu_usable(s, cell, msg.cpu % cpus_per_cell(s));
		room.runnable = c->own_load[msg.cpu % cpus_per_cell(s)];
	}
	memcpy(reply, body, 8);
	visit_answer_encode(visitors_take(&s->visitors[cell], from, member_incarnation(c->m, from),
				    &msg, &room),
		reply + 8);
	net_send(s, cell, from, SIM_OP_VISIT_ANSWER, reply, sizeof(reply));
}

static void on_answer(
	struct sim *s, uint16_t cell, uint16_t from, const uint8_t *body, size_t bytes)
{
	enum visit_answer answer;
	uint64_t req;

	if (bytes < 8 || !visit_answer_decode(body + 8, bytes - 8, &answer)) {
		sim_violate(s, "cell %u can't read an answer of an honest cell %u", cell, from);
		return;
	}
	memcpy(&req, body, 8);
	finish(s, cell, req, true, answer);
}

void visiting_message(
	struct sim *s, uint16_t cell, uint16_t from, uint16_t op, const void *body, size_t bytes)
{
	uint32_t cpus[CPUS_MAX];

	if (op == SIM_OP_VISIT) {
		on_visit(s, cell, from, body, bytes);
		return;
	}
	if (op == SIM_OP_VISIT_ANSWER) {
		on_answer(s, cell, from, body, bytes);
		return;
	}
	for (uint32_t k = 0; k < cpus_per_cell(s); k++)
		cpus[k] = cpu_number(s, cell, k);
	if (!visitors_announced(&s->visitors[cell], from,
		    member_incarnation(s->cells[cell].m, from), body, bytes, cpus,
		    cpus_per_cell(s)))
		sim_violate(s, "cell %u can't read the visits of an honest cell %u", cell, from);
}

static void announce(struct sim *s, uint16_t cell, uint16_t host)
{
	static _Thread_local uint8_t body[VISITS_LIST_BYTES_MAX];

	if (visits_open(visits_of(s, cell), host))
		return;
	net_send(s, cell, host, SIM_OP_VISITS, body,
		visits_announce(visits_of(s, cell), host, body));
	s->cells[cell].peer[host].announce = false;
}

void visiting_talk(struct sim *s, uint16_t cell)
{
	struct cell *c = &s->cells[cell];
	struct visits *visits;
	struct visit *row;

	if (!s->wide)
		return;
	visits = visits_of(s, cell);
	/* A ring of the real fabric loses nothing without losing its link; this one does. */
	if (c->ticks % ANNOUNCE_TICKS == 0)
		visiting_announce_all(s, cell);
	if (c->ticks % TELL_TICKS == 0)
		telling_changed(s, cell);
	(void)telling_peers(s, cell);
	for (uint16_t p = 0; p < s->cfg.cells; p++) {
		if (p == cell || !word_live(c->m->view[p]))
			continue;
		if (c->peer[p].announce)
			announce(s, cell, p);
		while ((row = visits_due(visits, p, s->now_ns, s->pace * CALL_NS)) != NULL)
			if (!call(s, cell, row, VISIT_END))
				(void)visits_ended(visits, row->id, false);
	}
}

void visiting_guest_gone(struct sim *s, const struct guest *g)
{
	char name[VISIT_NAME_BYTES];

	name_of(g, name);
	if (s->wide)
		visits_forget(visits_of(s, g->home), name);
}

void visiting_dead(struct sim *s, uint16_t cell, uint16_t dead)
{
	if (!s->wide)
		return;
	visits_dead(visits_of(s, cell), dead);
	visitors_dead(&s->visitors[cell], dead);
	s->cells[cell].peer[dead].known = false;
	s->cells[cell].peer[dead].announce = false;
}

/* Home and host agree who visits, nothing is under way, and the kernel says the same. */
bool visiting_settled(struct sim *s, uint16_t cell)
{
	for (uint32_t i = 0; s->wide && i < visits_of(s, cell)->end; i++) {
		const struct visit *row = &visits_of(s, cell)->rows[i];
		const struct guest *g;

		/* Who is refused may ask again and again: a gang that is short of CPUs does. */
		if (row->state == VISIT_FREE || row->state == VISIT_ASKING ||
			!monitor_acts(s, (uint16_t)row->host))
			continue;
		g = guest_named(s, cell, row->name);
		if (row->state != VISIT_THERE || !g ||
			cell_of_cpu(s, g->vcpus[row->vcpu].cpu) != row->host)
			return false;
	}
	for (uint32_t i = 0; s->wide && i < s->visitors[cell].count; i++) {
		const struct visitor *row = &s->visitors[cell].rows[i];
		const struct visit *visit;

		if (!monitor_acts(s, (uint16_t)row->home))
			return false;
		visit = visits_find(visits_of(s, (uint16_t)row->home), row->name, row->vcpu);
		if (!visit || visit->host != cell)
			return false;
	}
	return true;
}
