/* SPDX-License-Identifier: BSD-2-Clause */
/* vCPUs of this cell's guests on other cells' CPUs, and visitors of other cells here. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "monitor/cell/balancing_internal.h"
#include "monitor/cell/draining.h"
#include "monitor/cell/recovery.h"
#include "numa/check.h"

#define CALL_NS (1000ull * 1000000u)
#define RETRY_NS (200ull * 1000000u)
/* An operator waits so long for a host to let a vCPU go. */
#define MANUAL_NS (5000ull * 1000000u)

/* --- binding --- */

int balancing_bind(struct monitor *m, struct bal_guest *g, struct bal_vcpu *v, uint32_t cpu,
	bool one, enum round_reason reason)
{
	struct cpu_set cpus, now;
	char first;
	int rc;

	/* The number of a thread that has ended may be another's by now. */
	if (pread(v->stat_fd, &first, 1, 0) != 1)
		return -ESRCH;
	round_cpus(&m->plan->machine, cpu, one || g->gang, &cpus);
	rc = binder_bind(m->balancing->binder, v->tid, &cpus, m->balancing->bind_ns, &now);
	if (rc)
		return rc;
	v->allowed = now;
	v->wanted = cpus;
	v->known = true;
	v->moved_ns = monitor_now_ns();
	/* A control group may leave less of them, but nothing else. */
	if (!cpu_set_has(&now, cpu))
		return -EXDEV;
	v->moves++;
	v->reason = reason;
	v->held = one;
	return 0;
}

/* --- needs --- */

void balancing_need(struct monitor *m, const struct bal_guest *g)
{
	uint32_t cells[VISITS_CELLS_MAX];
	uint32_t count = visits_needs(m->balancing->visits, g->name, cells);

	keeper_need(m->keeper, g->name, KEEPER_NEED_CPU, cells, count);
}

/* Would the guest come to need more cells than it may? */
static bool needs_too_many(const struct monitor *m, const struct bal_guest *g, uint32_t host)
{
	const struct guest *row = guest_book_find(keeper_book(m->keeper), g->name);
	uint32_t count = 1;

	for (uint32_t i = 0; row && i < row->need_count; i++) {
		if (row->needs[i] == host)
			return false;
		count++;
	}
	return count > g->cells_max;
}

static void event(struct monitor *m, const char *guest, const char *name, uint32_t vcpu,
	uint32_t from, uint32_t to, const char *why)
{
	char text[EVENT_CAUSE_BYTES];

	snprintf(text, sizeof(text), "vCPU %u: from CPU %u of cell %u to CPU %u of cell %u (%s)",
		vcpu, from, balancing_cell_of(m, from), to, balancing_cell_of(m, to), why);
	monitor_event(m, m->self, guest, name, text);
}

/* --- asking a host --- */

struct bal_ask *balancing_ask_slot(struct monitor *m)
{
	for (uint32_t i = 0; i < BALANCING_ASKS_MAX; i++) {
		struct bal_ask *ask = &m->balancing->asks[i];

		if (ask->used)
			continue;
		memset(ask, 0, sizeof(*ask));
		ask->m = m;
		ask->used = true;
		ask->began_ns = monitor_now_ns();
		return ask;
	}
	return NULL;
}

/* Ends an ask; who waits for it gets the answer. `why` is NULL on success. */
static void finish(struct bal_ask *ask, enum exit_code code, const char *why)
{
	struct monitor *m = ask->m;
	struct err e;

	ask->used = false;
	if (!ask->manual)
		return;
	if (!why) {
		asker_reply(m, &ask->who,
			json_pack("{s:b, s:I, s:I, s:I}", "ok", 1, "from", (json_int_t)ask->from,
				"to", (json_int_t)ask->to, "us",
				(json_int_t)((monitor_now_ns() - ask->began_ns) / 1000)));
		return;
	}
	err_set(&e, code, "vCPU %u of guest '%s' was not moved to CPU %u: %s", ask->vcpu, ask->name,
		ask->to, why);
	asker_refuse(m, &ask->who, &e);
}

/* A need ends when the guest's process keeps the visit no more. */
static void strike(struct monitor *m, struct bal_guest *g)
{
	g->striking = !keeper_kept(m->keeper, g->name);
	if (!g->striking)
		balancing_need(m, g);
}

/* What comes before a vCPU runs elsewhere. NULL, or why it may not. */
static const char *prepare(struct monitor *m, const struct bal_guest *g)
{
	balancing_need(m, g);
	ledger_keep(m, g->name);
	if (!monitor_told(m))
		return "a peer does not read what it is told; try again";
	if (!keeper_kept(m->keeper, g->name))
		return "the guest's process does not read what it is to keep; try again";
	return NULL;
}

/* The host takes it: first the need and the ledger, then the move. */
static void go(struct bal_ask *ask, struct bal_guest *g)
{
	struct monitor *m = ask->m;
	struct balancing *b = m->balancing;
	struct bal_vcpu *v = &g->vcpus[ask->vcpu];
	const uint32_t host = balancing_cell_of(m, ask->to);
	const char *why = NULL;
	const bool held = v->held;
	uint32_t life;
	int rc = 0;

	v->held = ask->manual;
	if (needs_too_many(m, g, host))
		why = "it would need more cells than it may";
	else if (!recovery_life(m, host, &life, &v->born))
		why = "its cell is dead";
	if (!why)
		why = prepare(m, g);
	if (!why)
		rc = balancing_bind(m, g, v, ask->to, ask->manual, ask->reason);
	if (rc)
		why = strerror(-rc);
	if (why && rc != -ETIMEDOUT) {
		v->held = held;
		visits_cancel(b->visits, g->name, ask->vcpu);
		ledger_keep(m, g->name);
		strike(m, g);
		finish(ask, EXIT_ENVIRONMENT, why);
		return;
	}
	/* Late, it may yet arrive there: so it counts as there. */
	v->visits++;
	event(m, g->name, "vcpu-away", ask->vcpu, ask->from, ask->to,
		ask->manual ? "by hand" : "an idle CPU there");
	finish(ask, EXIT_NO_ANSWER, why);
}

static void asked(
	void *ctx, uint16_t cell, enum call_outcome outcome, const void *body, size_t bytes)
{
	struct bal_ask *ask = ctx;
	struct monitor *m = ask->m;
	struct bal_guest *g = balancing_find(m->balancing, ask->name);
	enum visit_answer answer = VISIT_NOT_NOW;
	bool heard = outcome == CALL_ANSWERED, good;

	if (heard && !visit_answer_decode(body, bytes, &answer)) {
		heard = false;
		fabric_fail(m->fabric, cell);
	}
	good = visits_answered(m->balancing->visits, ask->id, heard, answer);
	if (good && g && ask->vcpu < g->cpus)
		go(ask, g);
	else
		finish(ask, heard ? EXIT_CONFLICT : EXIT_NO_ANSWER,
			good	? "the guest has ended"
			: heard ? visit_answer_text(answer)
				: "its cell did not answer");
}

static int call(struct monitor *m, struct bal_ask *ask, const struct visit *row, enum visit_op op,
	bool force, fabric_call_done *done)
{
	struct visit_msg msg = {
		.op = op, .force = force, .id = row->id, .vcpu = row->vcpu, .cpu = row->cpu
	};
	uint8_t body[VISIT_MSG_BYTES];

	memcpy(msg.name, row->name, sizeof(msg.name));
	visit_encode(&msg, body);
	return fabric_call(m->fabric, (uint16_t)row->host, CELL_OP_VISIT, body, sizeof(body),
		monitor_now_ns() + CALL_NS, done, ask);
}

int balancing_ask(struct monitor *m, struct bal_ask *ask, bool force)
{
	struct balancing *b = m->balancing;
	const struct visit *row =
		visits_ask(b->visits, balancing_cell_of(m, ask->to), ask->name, ask->vcpu, ask->to);
	int rc;

	if (!row) {
		ask->used = false;
		return -EBUSY;
	}
	ask->id = row->id;
	rc = call(m, ask, row, VISIT_ASK, force, asked);
	if (rc) {
		(void)visits_answered(b->visits, ask->id, true, VISIT_NOT_NOW);
		ask->used = false;
	}
	return rc;
}

/* --- coming back --- */

bool balancing_leave(struct monitor *m, struct bal_guest *g, uint32_t vcpu, uint32_t cpu)
{
	g->vcpus[vcpu].home_cpu = cpu;
	return visits_leave(m->balancing->visits, g->name, vcpu);
}

uint32_t balancing_visitors(const struct monitor *m)
{
	return m->balancing->visitors->count;
}

bool balancing_all_home(struct monitor *m, const char *name)
{
	struct balancing *b = m->balancing;
	struct bal_guest *g = balancing_find(b, name);
	bool home = true;

	/* What a former life knew of it comes first. */
	if (!g || !g->adopted)
		return false;
	for (uint32_t v = 0; v < g->cpus; v++) {
		const struct visit *visit = visits_find(b->visits, name, v);

		if (!visit)
			continue;
		home = false;
		if (visit->state == VISIT_THERE &&
			balancing_leave(
				m, g, v, cpu_set_next(&m->plan->cells.cells[m->self].cpus, 0)))
			b->next_ns = 0;
	}
	return home;
}

/* Who waits for this vCPU to come back. */
static void finish_leave(struct monitor *m, const char *name, uint32_t vcpu, const char *why)
{
	for (uint32_t i = 0; i < BALANCING_ASKS_MAX; i++) {
		struct bal_ask *ask = &m->balancing->asks[i];

		if (ask->used && ask->end && ask->manual && ask->vcpu == vcpu &&
			!strcmp(ask->name, name))
			finish(ask, EXIT_ENVIRONMENT, why);
	}
}

static bool waited_for(const struct monitor *m, const char *name, uint32_t vcpu)
{
	for (uint32_t i = 0; i < BALANCING_ASKS_MAX; i++) {
		const struct bal_ask *ask = &m->balancing->asks[i];

		if (ask->used && ask->end && ask->manual && ask->vcpu == vcpu &&
			!strcmp(ask->name, name))
			return true;
	}
	return false;
}

/* Where it was to go may be taken by now. */
static uint32_t way_back(struct monitor *m, const struct bal_vcpu *v)
{
	uint32_t cpu = v->home_cpu;
	struct bal_input i;

	balancing_input(m, monitor_now_ns(), &i);
	for (uint32_t k = 0; k < i.in.vcpu_count; k++)
		if (i.who[k] == v)
			cpu = round_back(&i.in, k, cpu);
	balancing_input_free(&i);
	return cpu;
}

/* The host has let it go: first the move, then the ledger and the need. */
static void come_back(struct bal_ask *ask, struct bal_guest *g, uint32_t host)
{
	struct monitor *m = ask->m;
	struct bal_vcpu *v = &g->vcpus[ask->vcpu];
	bool manual = waited_for(m, g->name, ask->vcpu);
	int rc = balancing_bind(m, g, v, manual ? v->home_cpu : way_back(m, v), manual,
		manual ? ROUND_REASON_COUNT : ROUND_HOME);

	if (rc) {
		/* It is there still, and the host has to know. */
		(void)visits_adopt(m->balancing->visits, host, g->name, ask->vcpu, ask->from);
		m->balancing->peers[host].announce = true;
	} else {
		event(m, g->name, "vcpu-home", ask->vcpu, ask->from, v->home_cpu,
			manual ? "by hand" : "back to its memory");
	}
	ledger_keep(m, g->name);
	strike(m, g);
	finish_leave(m, g->name, ask->vcpu, rc ? strerror(-rc) : NULL);
}

static void ended(
	void *ctx, uint16_t cell, enum call_outcome outcome, const void *body, size_t bytes)
{
	struct bal_ask *ask = ctx;
	struct monitor *m = ask->m;
	struct bal_guest *g = balancing_find(m->balancing, ask->name);
	enum visit_answer answer;
	bool heard = outcome == CALL_ANSWERED;

	if (heard && (!visit_answer_decode(body, bytes, &answer) || answer == VISIT_GRANTED)) {
		heard = false;
		fabric_fail(m->fabric, cell);
	}
	if (visits_ended(m->balancing->visits, ask->id, heard) && g && ask->vcpu < g->cpus)
		come_back(ask, g, cell);
	ask->used = false;
}

static void send_ends(struct monitor *m, uint32_t host, uint64_t now_ns)
{
	struct balancing *b = m->balancing;
	struct visit *row;

	while ((row = visits_due(b->visits, host, now_ns, RETRY_NS)) != NULL) {
		struct bal_ask *ask = balancing_ask_slot(m);

		if (ask) {
			ask->id = row->id;
			ask->vcpu = row->vcpu;
			ask->from = row->cpu;
			memcpy(ask->name, row->name, sizeof(ask->name));
			if (!call(m, ask, row, VISIT_END, false, ended))
				continue;
			ask->used = false;
		}
		(void)visits_ended(b->visits, row->id, false);
		break;
	}
}

/* --- telling peers --- */

static void announce(struct monitor *m, uint32_t host)
{
	uint8_t body[VISITS_LIST_BYTES_MAX];
	struct balancing *b = m->balancing;

	if (visits_open(b->visits, host))
		return;
	if (fabric_send(m->fabric, (uint16_t)host, CELL_OP_VISITS, body,
		    visits_announce(b->visits, host, body)) != -EAGAIN)
		b->peers[host].announce = false;
}

static void tell_loads(struct monitor *m)
{
	struct balancing *b = m->balancing;
	uint8_t body[LOADS_BYTES_MAX];
	size_t bytes =
		loads_encode(b->told, cpu_set_count(&m->plan->cells.cells[m->self].cpus), body);

	b->tell = false;
	for (uint32_t c = 0; c < m->plan->cells.cell_count; c++)
		if (c != m->self &&
			fabric_send(m->fabric, (uint16_t)c, CELL_OP_LOAD, body, bytes) == -EAGAIN)
			b->tell = true;
}

void balancing_talk(struct monitor *m, uint64_t now_ns)
{
	struct balancing *b = m->balancing;

	for (uint32_t c = 0; c < m->plan->cells.cell_count; c++) {
		struct transport_peer peer;

		if (c == m->self || monitor_cell_state(m, c) != CELL_ALIVE ||
			!fabric_peer(m->fabric, (uint16_t)c, &peer))
			continue;
		if (b->peers[c].announce)
			announce(m, c);
		send_ends(m, c, now_ns);
	}
	for (struct bal_guest *g = b->guests; g; g = g->next)
		if (g->striking)
			strike(m, g);
	if (b->tell)
		tell_loads(m);
	for (uint32_t i = 0; i < BALANCING_ASKS_MAX; i++) {
		struct bal_ask *ask = &b->asks[i];

		if (ask->used && ask->manual && ask->end && now_ns - ask->began_ns > MANUAL_NS)
			finish(ask, EXIT_NO_ANSWER, "the cell where it is did not answer");
	}
}

/* --- the fabric's events --- */

void balancing_link_up(struct monitor *m, uint32_t cell)
{
	struct balancing *b = m->balancing;

	/* Another life of it tells its loads anew. */
	b->peers[cell].known = false;
	b->peers[cell].announce = true;
	b->tell = true;
	b->next_ns = 0;
}

void balancing_loads(struct monitor *m, uint32_t cell, const void *body, size_t bytes)
{
	struct bal_peer *peer = &m->balancing->peers[cell];

	if (loads_decode(body, bytes, peer->cpus, cpu_set_count(&m->plan->cells.cells[cell].cpus)))
		peer->known = true;
	else
		fabric_fail(m->fabric, (uint16_t)cell);
}

void balancing_announced(
	struct monitor *m, uint32_t cell, uint64_t incarnation, const void *body, size_t bytes)
{
	const struct cpu_set *set = &m->plan->cells.cells[m->self].cpus;
	uint32_t cpus[CPU_SET_CPUS], count = 0;

	for (uint32_t cpu = cpu_set_next(set, 0); cpu != CPU_NONE; cpu = cpu_set_next(set, cpu + 1))
		cpus[count++] = cpu;
	if (!visitors_announced(
		    m->balancing->visitors, cell, incarnation, body, bytes, cpus, count))
		fabric_fail(m->fabric, (uint16_t)cell);
}

void balancing_visit(
	struct monitor *m, const struct fabric_request *req, const void *body, size_t bytes)
{
	struct balancing *b = m->balancing;
	struct visit_room room = { .ours = false };
	uint8_t reply[VISIT_ANSWER_BYTES];
	struct visit_msg msg;

	if (!visit_decode(body, bytes, &msg)) {
		fabric_fail(m->fabric, req->cell);
		return;
	}
	room.ours = balancing_cell_of(m, msg.cpu) == m->self;
	room.usable = cpu_set_has(&b->online, msg.cpu) && !draining_closed(m);
	room.not_now = m->going_down || recovery_live_count(m) == 0;
	if (room.ours)
		room.runnable = b->own[msg.cpu];
	visit_answer_encode(
		visitors_take(b->visitors, req->cell, req->incarnation, &msg, &room), reply);
	fabric_reply(m->fabric, req, reply, sizeof(reply));
}

void balancing_dead(struct monitor *m, uint32_t cell)
{
	struct balancing *b = m->balancing;

	visits_dead(b->visits, cell);
	visitors_dead(b->visitors, cell);
	b->peers[cell].known = false;
	b->peers[cell].announce = false;
}
