/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What goes wrong. A machine draws which kinds of faults it has at all and how
 * often they hit; so some machines see one kind much, and others many at once.
 */

#include "sim/cells/machine.h"

#define INIT_PERIOD_NS (50 * MS)

/* Kinds that happen by the clock; the others happen where they hit. */
static const enum site timed[] = { SITE_LINK_RESET, SITE_MONITOR_CRASH, SITE_MONITOR_HANG,
	SITE_ALL_CRASH, SITE_NODE_DEATH, SITE_NODE_HANG, SITE_NODE_SLOW, SITE_CPU_OFF,
	SITE_REPAIR };
#define TIMED_COUNT (sizeof(timed) / sizeof(timed[0]))

/* The highest rate of each kind, per 1000 hits or as a weight. */
static const uint16_t highest[SITE_COUNT] = {
	[SITE_LOSS] = 100,
	[SITE_REPEAT] = 60,
	[SITE_DELAY] = 60,
	[SITE_DAMAGE] = 20,
	[SITE_LATE] = 600,
	[SITE_LINK_RESET] = 10,
	[SITE_MONITOR_CRASH] = 20,
	[SITE_MONITOR_HANG] = 20,
	[SITE_ALL_CRASH] = 6,
	[SITE_ACTION_CRASH] = 30,
	[SITE_START_CRASH] = 300,
	[SITE_RESTART_FAILS] = 300,
	[SITE_FENCE_FAILS] = 400,
	[SITE_END_FAILS] = 300,
	[SITE_NO_EVIDENCE] = 300,
	[SITE_NODE_DEATH] = 20,
	[SITE_NODE_HANG] = 20,
	[SITE_NODE_SLOW] = 10,
	[SITE_CPU_OFF] = 20,
	[SITE_REPAIR] = 40,
	[SITE_GUEST_CRASH] = 100,
	[SITE_RING_FULL] = 100,
};

static void next_fault(struct sim *s)
{
	uint64_t mean_ns = s->cfg.fault_ms * MS / 12;

	sim_push(s, &(struct event){ .what = EV_FAULT }, sim_draw(s, 2 * mean_ns) + 1);
}

void faults_draw(struct sim *s)
{
	for (int site = 0; site < SITE_COUNT; site++)
		s->rate[site] = sim_draw(s, 2) ? (uint16_t)(1 + sim_draw(s, highest[site])) : 0;
	s->faults = true;
	next_fault(s);
	sim_push(s, &(struct event){ .what = EV_INIT }, INIT_PERIOD_NS);
}

void faults_node_dies(struct sim *s, uint16_t cell, uint16_t node)
{
	struct cell *c = &s->cells[cell];

	if (c->nodes_dead & 1u << node)
		return;
	c->nodes_dead |= 1u << node;
	s->result->node_deaths++;
	sim_trace(s, "node %u of cell %u dies", node, cell);
	if (c->nodes_dead == (1u << s->cfg.nodes) - 1) {
		c->dead = c->out = true;
		c->failed_boot = c->boot;
	} else if (c->running && c->node == node) {
		monitor_kill(s, cell, "its memory is lost");
	}
	guests_node_dead(s, cell, node);
}

/* Would at least one cell still execute without this one? */
static bool others_execute(const struct sim *s, uint16_t cell)
{
	for (uint16_t c = 0; c < s->cfg.cells; c++)
		if (c != cell && !s->cells[c].out && !s->cells[c].hung)
			return true;
	return false;
}

static void node_death(struct sim *s, uint16_t cell)
{
	uint16_t node = (uint16_t)sim_draw(s, s->cfg.nodes);
	bool all = sim_draw(s, 2) == 0;

	for (uint16_t i = 0; i < s->cfg.nodes; i++) {
		bool last = (s->cells[cell].nodes_dead | 1u << i) == (1u << s->cfg.nodes) - 1;

		if ((all || i == node) && (!last || others_execute(s, cell)))
			faults_node_dies(s, cell, i);
	}
	/* Sometimes the hardware says so, and one of the others hears it. */
	if (s->cells[cell].dead && sim_draw(s, 3) == 0) {
		uint16_t witness = (uint16_t)sim_draw(s, s->cfg.cells);

		if (witness == cell || !monitor_acts(s, witness))
			return;
		member_evidence(s->cells[witness].m, s->now_ns, cell, s->cells[cell].claimed,
			MEMBER_EVIDENCE_HARDWARE);
		monitor_drain(s, witness);
	}
}

static void monitor_hang(struct sim *s, uint16_t cell)
{
	struct cell *c = &s->cells[cell];

	if (!c->running || c->stopped)
		return;
	sim_trace(s, "cell %u: monitor of life %u hangs", cell, c->life);
	c->stopped = true;
	s->result->monitor_hangs++;
	if (sim_draw(s, 2))
		sim_push(s,
			&(struct event){ .what = EV_CONTINUE, .cell = cell, .cell_life = c->life },
			sim_draw(s, 3 * s->pace * SUSPECT_NS));
}

static void node_hang(struct sim *s, uint16_t cell)
{
	struct cell *c = &s->cells[cell];

	if (c->dead || c->hung || !others_execute(s, cell))
		return;
	sim_trace(s, "cell %u: no CPU executes", cell);
	c->hung = true;
	s->result->node_hangs++;
	sim_push(s, &(struct event){ .what = EV_THAW, .cell = cell },
		sim_draw(s, 3 * s->pace * SUSPECT_NS));
}

/* One CPU goes; the last one of a node stays. */
static void cpu_off(struct sim *s, uint16_t cell)
{
	struct cell *c = &s->cells[cell];
	uint32_t cpu = (uint32_t)sim_draw(s, (uint64_t)s->cfg.nodes * CPUS_PER_NODE);
	uint32_t node_mask = ((1u << CPUS_PER_NODE) - 1) << cpu / CPUS_PER_NODE * CPUS_PER_NODE;

	if (c->dead || ((c->cpus_off | 1u << cpu) & node_mask) == node_mask)
		return;
	sim_trace(s, "CPU %u of cell %u executes nothing any more", cpu, cell);
	c->cpus_off |= 1u << cpu;
	s->result->cpus_off++;
}

/* The failed cell is repaired and started afresh, by its operator. */
static void repair_cell(struct sim *s, uint16_t cell)
{
	struct cell *c = &s->cells[cell];

	sim_trace(s, "cell %u is repaired", cell);
	c->failed_boot = c->boot;
	c->dead = c->hung = false;
	monitor_kill(s, cell, "repair");
	c->nodes_dead = c->cpus_off = 0;
	guests_of_boot_end(s, cell, c->boot, "repair");
	s->result->rejoins++;
	monitor_launch(s, cell, true, 5 * MS);
}

/* The next cell that needs it: dead, or declared dead while it hung and fenced. */
static void repair(struct sim *s, uint16_t from)
{
	for (uint16_t i = 0; i < s->cfg.cells; i++) {
		uint16_t cell = (uint16_t)((from + i) % s->cfg.cells);
		struct cell *c = &s->cells[cell];

		if (c->dead || (c->out && !c->hung && !c->running)) {
			repair_cell(s, cell);
			return;
		}
		c->nodes_dead = c->cpus_off = 0;
		if (monitor_acts(s, cell))
			lending_offer(s, cell);
	}
}

static void all_crash(struct sim *s, uint16_t replaced)
{
	bool replace = sim_draw(s, 2) && !s->cells[replaced].hung;

	for (uint16_t c = 0; c < s->cfg.cells; c++)
		monitor_kill(s, c, "crash of all");
	if (!replace || s->cells[replaced].dead)
		return;
	for (uint16_t node = 0; node < s->cfg.nodes; node++)
		faults_node_dies(s, replaced, node);
	repair_cell(s, replaced);
}

void faults_event(struct sim *s)
{
	uint32_t total = 0, at;
	uint16_t cell = (uint16_t)sim_draw(s, s->cfg.cells);
	size_t i = 0;

	if (!s->faults)
		return;
	s->last_fault_ns = s->now_ns;
	next_fault(s);
	for (i = 0; i < TIMED_COUNT; i++)
		total += s->rate[timed[i]];
	if (!total)
		return;
	at = (uint32_t)sim_draw(s, total);
	for (i = 0; at >= s->rate[timed[i]]; i++)
		at -= s->rate[timed[i]];
	/* Big machines get more of each, and the cells that watch all of them more often. */
	for (uint32_t k = 0; k < 1u + s->cfg.cells / 64u; k++) {
		switch (timed[i]) {
		case SITE_LINK_RESET:
			net_reset(s, cell, (uint16_t)sim_draw(s, s->cfg.cells));
			break;
		case SITE_MONITOR_CRASH:
			s->result->monitor_crashes += s->cells[cell].running;
			monitor_kill(s, cell, "crash");
			break;
		case SITE_MONITOR_HANG:
			monitor_hang(s, cell);
			break;
		case SITE_ALL_CRASH:
			all_crash(s, cell);
			break;
		case SITE_NODE_DEATH:
			node_death(s, cell);
			break;
		case SITE_NODE_HANG:
			node_hang(s, cell);
			break;
		case SITE_NODE_SLOW:
			s->cells[cell].slow = true;
			sim_push(s, &(struct event){ .what = EV_THAW, .cell = cell },
				sim_draw(s, 3 * s->pace * SUSPECT_NS));
			break;
		case SITE_CPU_OFF:
			cpu_off(s, cell);
			break;
		default:
			repair(s, cell);
			break;
		}
		cell = (uint16_t)sim_draw(s, s->cfg.cells);
		if (s->cfg.cells > MEMBER_MESH_MAX && sim_draw(s, 3) == 0)
			cell = (uint16_t)sim_draw(s, UINT64_C(2) * MEMBER_HUBS);
	}
}

void faults_stop(struct sim *s)
{
	sim_trace(s, "faults stop");
	s->faults = s->busy = false;
	s->last_fault_ns = s->now_ns;
	for (uint16_t c = 0; c < s->cfg.cells; c++)
		s->cells[c].slow = false;
}

/*
 * Where no monitor is left that could restart the others, the init system of the
 * machine starts them, and they adopt what still runs.
 */
static bool known_to_anyone(const struct sim *s, uint16_t cell)
{
	for (uint16_t c = 0; c < s->cfg.cells; c++)
		if (monitor_acts(s, c) &&
			member_incarnation(s->cells[c].m, cell) >= s->cells[cell].boot)
			return true;
	return false;
}

void faults_init_system(struct sim *s)
{
	sim_push(s, &(struct event){ .what = EV_INIT }, INIT_PERIOD_NS);
	/* A cell without a monitor of whose boot nobody has heard, so that no peer starts it. */
	for (uint16_t c = 0; c < s->cfg.cells; c++)
		if (!monitor_acts(s, c) && !s->cells[c].hung && !s->cells[c].out &&
			!known_to_anyone(s, c)) {
			monitor_kill(s, c, "nobody knows it: started again");
			monitor_launch(s, c, !s->cells[c].admitted, 5 * MS);
		}
	for (uint16_t c = 0; c < s->cfg.cells; c++)
		if (monitor_acts(s, c))
			return;
	for (uint16_t c = 0; c < s->cfg.cells; c++) {
		if (s->cells[c].dead || s->cells[c].hung)
			continue;
		monitor_kill(s, c, "init starts it again");
		monitor_launch(s, c,
			!s->cells[c].admitted || s->cells[c].fenced_boot == s->cells[c].boot,
			5 * MS);
	}
}
