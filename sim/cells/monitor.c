/* SPDX-License-Identifier: BSD-2-Clause */

/* The simulated monitor process: feeds the real state machine and performs its actions. */

#include <stdlib.h>
#include <string.h>

#include "faultcontain/member_impl.h"
#include "numa/check.h"
#include "sim/cells/machine.h"

bool monitor_acts(const struct sim *s, uint16_t cell)
{
	const struct cell *c = &s->cells[cell];

	return c->running && !c->stopped && !c->hung && !c->dead;
}

bool monitor_serves(const struct sim *s, uint16_t cell)
{
	return monitor_acts(s, cell) && !member_suspended(s->cells[cell].m);
}

static void schedule_tick(struct sim *s, uint16_t cell)
{
	struct cell *c = &s->cells[cell];
	uint64_t due_ns = member_due(c->m);

	if (due_ns < s->now_ns)
		due_ns = s->now_ns;
	if (due_ns >= c->tick_ns)
		return;
	c->tick_ns = due_ns;
	sim_push(s, &(struct event){ .what = EV_TICK, .cell = cell, .cell_life = c->life },
		due_ns - s->now_ns);
}

void monitor_start(struct sim *s, uint16_t cell, uint32_t life, uint32_t born)
{
	struct cell *c = &s->cells[cell];
	struct slot *slot = (void *)((uint8_t *)s->slots + cell * s->slot_bytes);
	const struct member_cfg cfg = {
		.self = cell,
		.cell_count = s->cfg.cells,
		.incarnation = life,
		.born = born,
		.evidence_mode = MEMBER_ONE_KERNEL,
		.heartbeat_ns = s->pace * HEARTBEAT_NS,
		.suspect_ns = s->cfg.plant == PLANT_TIMEOUT_IGNORED ? INT64_MAX - 1
								    : s->pace * SUSPECT_NS,
		.evidence_ns = s->pace * EVIDENCE_NS,
		.restart_ns = s->pace * RESTART_NS,
		.retry_ns = s->pace * RETRY_NS,
	};

	if (c->running)
		sim_violate(s, "incarnations: life %u of cell %u starts while life %u runs", life,
			cell, c->life);
	if (life <= c->life)
		sim_violate(s, "incarnations: life %u of cell %u starts after life %u", life, cell,
			c->life);
	if (s->result->violated)
		return;
	c->running = true;
	c->life = life;
	c->born = born;
	c->epoch = 0;
	c->tick_ns = UINT64_MAX;
	c->busy_ns = s->now_ns;
	for (c->node = 0; c->nodes_dead & 1u << c->node;)
		c->node++;
	slot->machine = s;
	c->m = member_start(slot->membership, &cfg, s->now_ns);
	CHECK(c->m != NULL);
	sim_trace(s, "cell %u: life %u begins, born %u", cell, life, born);
	telling_start(s, cell);
	guests_adopt(s, cell);
	lending_start(s, cell);
	balancing_start(s, cell);
	monitor_drain(s, cell);
}

/* Its process is gone: links close, and what waited for it is lost. */
static void end_process(struct sim *s, uint16_t cell)
{
	struct cell *c = &s->cells[cell];

	for (size_t i = 0; i < c->waiting; i++) {
		if (c->backlog[i].what != EV_MESSAGE)
			continue;
		if (sim_hit(s, SITE_LATE))
			sim_push(s, &c->backlog[i], sim_draw(s, 40 * MS));
		else
			free(c->backlog[i].message.bytes);
	}
	c->waiting = 0;
	c->running = c->stopped = c->doomed = false;
	c->m = NULL;
	net_process_ended(s, cell);
}

void monitor_kill(struct sim *s, uint16_t cell, const char *why)
{
	struct cell *c = &s->cells[cell];

	if (!c->running)
		return;
	sim_trace(s, "cell %u: monitor of life %u ends: %s", cell, c->life, why);
	/* On CPUs that execute nothing it stays, but never acts again. */
	if (c->hung && !c->dead)
		c->doomed = true;
	else
		end_process(s, cell);
}

void monitor_goes_on(struct sim *s, uint16_t cell)
{
	struct cell *c = &s->cells[cell];
	size_t count = c->waiting;

	if (c->doomed) {
		end_process(s, cell);
		return;
	}
	if (!monitor_acts(s, cell))
		return;
	c->waiting = 0;
	for (size_t i = 0; i < count; i++)
		sim_push(s, &c->backlog[i], i * US);
	guests_sweep(s, cell);
	lending_offer(s, cell);
	if (c->tick_ns != UINT64_MAX)
		sim_push(s, &(struct event){ .what = EV_TICK, .cell = cell, .cell_life = c->life },
			0);
	c->tick_ns = s->now_ns;
	c->loans_ns = s->now_ns;
	sim_push(s, &(struct event){ .what = EV_LOANS, .cell = cell, .cell_life = c->life }, 0);
}

void monitor_launch(struct sim *s, uint16_t cell, bool afresh, uint64_t after_ns)
{
	struct cell *c = &s->cells[cell];
	struct event e = { .what = EV_START, .cell = cell, .life = ++c->claimed };

	e.start.born = c->boot;
	if (afresh && !(s->cfg.plant == PLANT_REJOIN_KEEPS_BOOT && c->boot))
		e.start.born = c->boot = e.life;
	if (afresh)
		c->admitted = c->out = false;
	sim_push(s, &e, after_ns);
}

static void crash_at_start(struct sim *s, const struct event *e)
{
	monitor_kill(s, e->cell, "crash at its start");
	if (e->start.starter_life)
		sim_push(s,
			&(struct event){ .what = EV_CHILD,
				.cell = e->about,
				.cell_life = e->start.starter_life,
				.about = e->cell,
				.life = e->life },
			100 * US);
}

static void started(struct sim *s, const struct event *e)
{
	struct cell *c = &s->cells[e->cell];

	if (e->life != c->claimed || e->life <= c->fenced || c->dead)
		return; /* another one was claimed since; it was killed; or it never executes */
	if (c->hung) {
		sim_push(s, e, 10 * MS);
		return;
	}
	monitor_start(s, e->cell, e->life, e->start.born);
	if (!s->result->violated && sim_hit(s, SITE_START_CRASH))
		crash_at_start(s, e);
}

static void restart(struct sim *s, uint16_t cell, const struct member_action *a)
{
	struct cell *peer = &s->cells[a->cell];
	struct event done = { .what = EV_DONE, .cell = cell, .cell_life = s->cells[cell].life };
	struct event start = {
		.what = EV_START, .cell = a->cell, .about = cell, .life = a->incarnation
	};

	done.report = (struct member_report){
		.kind = MEMBER_RESTART, .cell = a->cell, .incarnation = a->incarnation
	};
	if (sim_hit(s, SITE_RESTART_FAILS)) {
		done.report.result = MEMBER_FAILED;
	} else if ((a->incarnation <= peer->claimed || (a->born && a->born < peer->boot)) &&
		   s->cfg.plant != PLANT_LIFE_NOT_CLAIMED) {
		done.report.result = MEMBER_REFUSED;
		done.report.incarnation = peer->claimed;
		done.report.born = peer->boot;
	} else {
		start.start.born = a->born ? a->born : peer->boot;
		start.start.starter_life = s->cells[cell].life;
		if (!a->born && peer->fenced_boot == peer->boot) { /* says the record */
			start.start.born = peer->boot = a->incarnation;
			peer->admitted = peer->out = false;
		}
		peer->claimed = a->incarnation;
		s->result->restarts++;
		if (s->cfg.plant != PLANT_OLD_MONITOR_SURVIVES)
			monitor_kill(s, a->cell, "to make room for its successor");
		sim_push(s, &start, 2 * MS + sim_draw(s, 15 * MS));
	}
	sim_trace(s, "cell %u: restarts cell %u as life %u: %s", cell, a->cell, a->incarnation,
		done.report.result == MEMBER_DONE ? "done" : "not done");
	sim_push(s, &done, MS);
}

static void gather(struct sim *s, uint16_t cell, const struct member_action *a)
{
	struct event e = { .what = EV_EVIDENCE,
		.cell = cell,
		.cell_life = s->cells[cell].life,
		.about = a->cell,
		.life = a->incarnation };

	sim_trace(s, "cell %u: looks after cell %u, life %u", cell, a->cell, a->incarnation);
	sim_push(s, &e, s->cells[a->cell].running ? MS + sim_draw(s, 12 * MS) : 100 * US);
}

static enum member_evidence look(struct sim *s, uint16_t cell, uint32_t life)
{
	struct cell *c = &s->cells[cell];

	if (sim_hit(s, SITE_NO_EVIDENCE))
		return MEMBER_EVIDENCE_NONE;
	if (s->cfg.plant == PLANT_SUSPICION_KILLS)
		return MEMBER_EVIDENCE_NO_CPU;
	if (c->dead || c->hung) {
		/* From here on it has failed, whether or not it would have come back. */
		c->failed_boot = c->boot;
		c->out = true;
		return MEMBER_EVIDENCE_NO_CPU;
	}
	if (!c->running || c->life != life)
		return s->cfg.plant == PLANT_CRASH_IS_NODE_DEATH ? MEMBER_EVIDENCE_NO_CPU
								 : MEMBER_EVIDENCE_PROCESS_GONE;
	return MEMBER_EVIDENCE_CPU_ANSWERS;
}

static void evidence(struct sim *s, const struct event *e)
{
	uint32_t life = e->life ? e->life : s->cells[e->about].claimed;
	enum member_evidence kind = look(s, e->about, life);

	sim_trace(s, "cell %u: evidence about cell %u, life %u: %s", e->cell, e->about, life,
		member_evidence_name(kind));
	if (s->measuring && !s->evidence_ns && kind != MEMBER_EVIDENCE_NONE)
		s->evidence_ns = s->now_ns;
	member_evidence(s->cells[e->cell].m, s->now_ns, e->about, life, kind);
}

/* Kills what is left of a dead boot. */
static void fence(struct sim *s, const struct event *e)
{
	struct cell *c = &s->cells[e->about];
	struct member_report report = {
		.kind = MEMBER_FENCE, .cell = e->about, .incarnation = e->life
	};

	if (sim_hit(s, SITE_FENCE_FAILS)) {
		report.result = MEMBER_FAILED;
	} else if (s->cfg.plant != PLANT_NO_FENCING) {
		uint32_t boot = e->born ? e->born : e->life;

		/* Also one that was started and has not begun to execute yet. */
		if (c->boot <= boot) {
			c->fenced = c->claimed;
			c->fenced_boot = c->boot;
		}
		if (c->running && (c->life <= e->life || c->born <= boot))
			monitor_kill(s, e->about, "fence");
		guests_of_boot_end(s, e->about, boot, "fence");
	}
	sim_trace(s, "cell %u: fences cell %u up to life %u: %s", e->cell, e->about, e->life,
		report.result == MEMBER_DONE ? "done" : "failed");
	member_done(s->cells[e->cell].m, s->now_ns, &report);
}

static void later(struct sim *s, uint16_t cell, const struct member_action *a, enum what what,
	uint64_t after_ns)
{
	struct event e = { .what = what,
		.cell = cell,
		.cell_life = s->cells[cell].life,
		.about = a->cell,
		.life = a->incarnation };

	if (what == EV_FENCE)
		e.born = a->born;
	sim_push(s, &e, after_ns);
}

static void end_guests(struct sim *s, uint16_t cell, const struct member_action *a)
{
	struct event done = { .what = EV_DONE, .cell = cell, .cell_life = s->cells[cell].life };

	done.report = (struct member_report){ .kind = a->kind, .epoch = a->epoch };
	if (sim_hit(s, SITE_END_FAILS)) {
		done.report.result = MEMBER_FAILED;
	} else if (s->cfg.plant == PLANT_BARRIER_SKIPPED) {
		s->cells[cell].late = a->cells;
		later(s, cell, a, EV_LATE, 5 * MS);
	} else {
		guests_end_needing(s, cell, &a->cells);
	}
	sim_push(s, &done, 50 * US + (uint64_t)s->cfg.guests * (20 * US));
}

static void perform(struct sim *s, uint16_t cell, const struct member_action *a)
{
	switch (a->kind) {
	case MEMBER_SEND:
		if (a->op != MEMBER_OP_HEARTBEAT)
			sim_trace(s, "cell %u: sends %u to cell %u", cell, a->op, a->cell);
		net_send(s, cell, a->cell, a->op, a->body, a->body_bytes);
		break;
	case MEMBER_GATHER:
		gather(s, cell, a);
		break;
	case MEMBER_RESTART:
		restart(s, cell, a);
		break;
	case MEMBER_STOP_SELF:
		monitor_kill(s, cell, "told that its life is over");
		break;
	case MEMBER_CELL_DEAD:
		sim_trace(s, "cell %u: cell %u is dead up to life %u (%s)", cell, a->cell,
			a->incarnation, member_evidence_name(a->evidence));
		break;
	case MEMBER_FENCE:
		later(s, cell, a, EV_FENCE, 50 * US + sim_draw(s, 500 * US));
		break;
	case MEMBER_DROP_LOANS:
		lending_view(s, cell, true);
		break;
	case MEMBER_END_GUESTS:
		end_guests(s, cell, a);
		break;
	case MEMBER_VIEW:
		if (s->cells[cell].epoch == 0)
			guests_check_adopted(s, cell);
		check_view(s, cell, a);
		lending_view(s, cell, false);
		break;
	case MEMBER_RESUMED:
		s->cells[cell].resumed_ns = s->now_ns;
		check_resumed(s, cell);
		lending_view(s, cell, true);
		break;
	default:
		break;
	}
}

void monitor_drain(struct sim *s, uint16_t cell)
{
	struct member_action a;
	const char *wrong;

	while (!s->result->violated && monitor_acts(s, cell) && member_next(s->cells[cell].m, &a)) {
		sim_mix(s, (uint64_t)a.kind << 32 | (uint64_t)a.cell << 16 | a.op);
		perform(s, cell, &a);
		if (a.kind != MEMBER_SEND && sim_hit(s, SITE_ACTION_CRASH))
			monitor_kill(s, cell, "crash during an action");
	}
	if (s->result->violated || !monitor_acts(s, cell))
		return;
	wrong = member_check(s->cells[cell].m);
	if (wrong)
		sim_violate(s, "cell %u: %s", cell, wrong);
	lending_suspend(s, cell);
	if (monitor_acts(s, cell))
		schedule_tick(s, cell);
}

/* What concerns a monitor that does not execute now waits for it. */
static bool postponed(struct sim *s, const struct event *e)
{
	struct cell *c = &s->cells[e->cell];

	if (e->what == EV_TICK || e->what == EV_LOANS || !c->running || c->dead ||
		!(c->stopped || c->hung))
		return false;
	CHECK(sim_room(
		(void **)&c->backlog, &c->backlog_room, c->waiting + 1, sizeof(*c->backlog)));
	c->backlog[c->waiting++] = *e;
	return true;
}

void monitor_event(struct sim *s, const struct event *e)
{
	struct cell *c = &s->cells[e->cell];

	switch (e->what) {
	case EV_START:
		started(s, e);
		return;
	case EV_THAW:
		c->hung = c->slow = false;
		monitor_goes_on(s, e->cell);
		return;
	case EV_CONTINUE:
		if (c->life == e->cell_life && c->stopped) {
			sim_trace(s, "cell %u: monitor goes on", e->cell);
			c->stopped = false;
			monitor_goes_on(s, e->cell);
		}
		return;
	default:
		break;
	}
	if (c->life != e->cell_life || postponed(s, e) || !monitor_acts(s, e->cell))
		return;
	switch (e->what) {
	case EV_TICK:
		if (e->due_ns != c->tick_ns)
			return;
		c->tick_ns = UINT64_MAX;
		member_tick(c->m, s->now_ns);
		break;
	case EV_LINK_DOWN:
		member_link(c->m, s->now_ns, e->about, e->life, false);
		break;
	case EV_CHILD:
		member_evidence(c->m, s->now_ns, e->about, e->life, MEMBER_EVIDENCE_PROCESS_GONE);
		break;
	case EV_EVIDENCE:
		evidence(s, e);
		break;
	case EV_FENCE:
		fence(s, e);
		break;
	case EV_CLAIMED:
	case EV_LOANS:
	case EV_USE:
	case EV_UNUSE:
		lending_event(s, e);
		return;
	case EV_BALANCE:
		balancing_event(s, e);
		return;
	case EV_CALL_LATE:
		visiting_late(s, e);
		return;
	case EV_LATE:
		guests_end_needing(s, e->cell, &c->late);
		break;
	default: /* EV_DONE */
		member_done(c->m, s->now_ns, &e->report);
		break;
	}
	monitor_drain(s, e->cell);
}
