/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_TESTS_MEMBER_WORLD_H
#define CELLVISOR_TESTS_MEMBER_WORLD_H

/*
 * A machine for the tests of membership: cells with a monitor and guests, a
 * fabric that delays, reorders, repeats and loses messages, and whoever gathers
 * evidence, fences and restarts. Everything is drawn from one seed. After each
 * event it checks what must never happen; world_settled() says whether all is
 * well again.
 */

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faultcontain/member.h"
#include "faultcontain/member_impl.h"
#include "faultcontain/needs.h"

#define MS UINT64_C(1000000)
#define US UINT64_C(1000)
#define WORLD_CELLS 128
#define WORLD_GUESTS (2 * WORLD_CELLS)
#define WORLD_EPOCHS 4096

enum happening { H_MESSAGE, H_EVIDENCE, H_RESTART, H_FENCE, H_ENDED, H_LINK };

struct happening_at {
	uint64_t due_ns, order;
	enum happening what;
	uint16_t to, about;
	uint32_t to_life, life, born;
	uint64_t epoch;
	struct cellset cells;
	uint16_t op;
	size_t bytes;
	uint8_t *body;
};

struct world_cell {
	bool node_dead; /* its CPUs execute nothing, for good */
	bool running;	/* a monitor process exists */
	bool stopped;	/* ... and is stopped by a signal */
	uint32_t life, born, claimed;
	uint32_t recorded_born; /* what the machine has on record */
	struct membership *m;
	unsigned restarts; /* monitors started by peers */
	uint64_t last_epoch;
	uint64_t due_ns; /* of its next tick, while it acts */
};

struct world_guest {
	bool runs, was_ended, was_lost;
	uint16_t home;
	struct needs needs;
};

struct world {
	uint16_t n;
	uint64_t seed, now_ns, order;
	unsigned loss, repeat; /* in 1000 */
	enum member_evidence_mode mode;
	struct world_cell cells[WORLD_CELLS];
	bool cut[WORLD_CELLS][WORLD_CELLS]; /* [from][to]: nothing gets through */
	struct world_guest guests[WORLD_GUESTS];
	uint16_t guest_count;
	struct happening_at *queue; /* binary heap */
	size_t queued, room;
	/* What was agreed, by epoch, to compare. */
	struct {
		uint64_t epoch;
		struct cellset live;
	} agreed[WORLD_EPOCHS];
	size_t agreed_count;
	unsigned gathers, sends, stops, fences, rounds;
	bool fence_fails, trace;
	uint32_t mutes; /* bit op - MEMBER_OP_HEARTBEAT: such messages get lost */
};

static inline uint64_t world_draw(struct world *w, uint64_t below)
{
	w->seed ^= w->seed << 13;
	w->seed ^= w->seed >> 7;
	w->seed ^= w->seed << 17;
	return below ? (w->seed * UINT64_C(0x2545f4914f6cdd1d) >> 16) % below : 0;
}

static inline bool earlier(const struct happening_at *a, const struct happening_at *b)
{
	return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static inline void world_push(struct world *w, struct happening_at h, uint64_t after_ns)
{
	size_t i = w->queued++;

	h.due_ns = w->now_ns + after_ns;
	h.order = w->order++;
	if (w->queued > w->room) {
		w->room = w->room ? 2 * w->room : 256;
		w->queue = realloc(w->queue, w->room * sizeof(*w->queue));
	}
	for (; i && earlier(&h, &w->queue[(i - 1) / 2]); i = (i - 1) / 2)
		w->queue[i] = w->queue[(i - 1) / 2];
	w->queue[i] = h;
}

static inline struct happening_at world_pop(struct world *w)
{
	struct happening_at top = w->queue[0], last = w->queue[--w->queued];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < w->queued) {
		if (child + 1 < w->queued && earlier(&w->queue[child + 1], &w->queue[child]))
			child++;
		if (!earlier(&w->queue[child], &last))
			break;
		w->queue[i] = w->queue[child];
		i = child;
	}
	w->queue[i] = last;
	return top;
}

/* Is there a monitor that executes? */
static inline bool world_acts(const struct world *w, uint16_t c)
{
	return w->cells[c].running && !w->cells[c].stopped && !w->cells[c].node_dead;
}

static inline void world_kill_monitor(struct world *w, uint16_t c)
{
	struct world_cell *cell = &w->cells[c];

	if (!cell->running)
		return;
	cell->running = cell->stopped = false;
	free(cell->m);
	cell->m = NULL;
	for (uint16_t peer = 0; peer < w->n; peer++)
		if (peer != c && world_acts(w, peer))
			world_push(w,
				(struct happening_at){ .what = H_LINK,
					.to = peer,
					.to_life = w->cells[peer].life,
					.about = c,
					.life = cell->life },
				50 * US);
}

static inline void world_start_monitor(struct world *w, uint16_t c, uint32_t life, uint32_t born)
{
	struct world_cell *cell = &w->cells[c];
	struct member_cfg cfg = {
		.self = c,
		.cell_count = w->n,
		.incarnation = life,
		.born = born,
		.evidence_mode = w->mode,
		.heartbeat_ns = 10 * MS,
		.suspect_ns = 50 * MS,
		.evidence_ns = 20 * MS,
		.restart_ns = 50 * MS,
		.retry_ns = 2 * MS,
	};

	cr_assert_not(cell->running, "two monitors of cell %u at once", c);
	cr_assert(life > cell->life, "life %u of cell %u was used before", life, c);
	*cell = (struct world_cell){ .running = true,
		.life = life,
		.born = born,
		.claimed = life,
		.recorded_born = born,
		.restarts = cell->restarts,
		.node_dead = cell->node_dead,
		.m = member_start(malloc(member_bytes(w->n)), &cfg, w->now_ns) };
	cr_assert_not_null(cell->m);
	/* A new life sets up its links with fresh rings. */
	for (uint16_t peer = 0; peer < w->n && w->mode == MEMBER_ONE_KERNEL; peer++)
		w->cut[c][peer] = w->cut[peer][c] = false;
}

/* `up`, or a repaired cell: no guest of an earlier life may go on. */
static inline void world_start_afresh(struct world *w, uint16_t c)
{
	uint32_t life = w->cells[c].claimed + 1;

	for (uint16_t g = 0; g < w->guest_count; g++)
		if (w->guests[g].home == c && w->guests[g].runs)
			w->guests[g].runs = false, w->guests[g].was_lost = true;
	world_kill_monitor(w, c);
	w->cells[c].node_dead = false;
	world_start_monitor(w, c, life, life);
}

/* What the init system does, and only it can: start monitors when none is left to do it. */
static inline void world_init_system(struct world *w)
{
	for (uint16_t c = 0; c < w->n; c++)
		if (world_acts(w, c))
			return;
	for (uint16_t c = 0; c < w->n; c++) {
		if (w->cells[c].node_dead)
			continue;
		world_kill_monitor(w, c);
		world_start_monitor(w, c, w->cells[c].claimed + 1, w->cells[c].recorded_born);
	}
}

static inline void world_init_as(
	struct world *w, uint16_t n, uint64_t seed, enum member_evidence_mode mode)
{
	memset(w, 0, sizeof(*w));
	w->n = n;
	w->mode = mode;
	w->seed = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	w->now_ns = 5 * MS;
	for (uint16_t c = 0; c < n; c++)
		world_start_monitor(w, c, 1, 1);
}

static inline void world_init(struct world *w, uint16_t n, uint64_t seed)
{
	world_init_as(w, n, seed, MEMBER_ONE_KERNEL);
}

static inline void world_fini(struct world *w)
{
	for (uint16_t c = 0; c < w->n; c++)
		free(w->cells[c].m);
	while (w->queued)
		free(w->queue[--w->queued].body);
	free(w->queue);
}

static inline struct world_guest *world_guest(struct world *w, uint16_t home, uint16_t other)
{
	struct world_guest *g = &w->guests[w->guest_count++];

	*g = (struct world_guest){ .runs = true, .home = home };
	needs_add(&g->needs, home, w->cells[home].born);
	needs_add(&g->needs, other, w->cells[other].born);
	return g;
}

/* One epoch, one live set: the first promise. */
static inline void world_agree(struct world *w, uint16_t c, const struct member_action *a)
{
	cr_assert_gt(a->epoch, w->cells[c].last_epoch, "cell %u went back", c);
	w->cells[c].last_epoch = a->epoch;
	for (size_t i = 0; i < w->agreed_count; i++)
		if (w->agreed[i].epoch == a->epoch) {
			cr_assert(cellset_equal(&w->agreed[i].live, &a->cells),
				"cell %u has another live set", c);
			return;
		}
	cr_assert_lt(w->agreed_count, (size_t)WORLD_EPOCHS);
	w->agreed[w->agreed_count].epoch = a->epoch;
	w->agreed[w->agreed_count++].live = a->cells;
}

static inline void world_end(struct world *w, struct world_guest *g, const char *why)
{
	bool needed_dead = w->mode == MEMBER_SEPARATE_KERNELS; /* or cut off */

	for (uint16_t i = 0; i < g->needs.count; i++) {
		const struct world_cell *cell = &w->cells[g->needs.list[i].cell];

		needed_dead |= cell->node_dead || cell->recorded_born > g->needs.list[i].born;
	}
	cr_assert(needed_dead, "a guest of cell %u that needs no dead cell was ended: %s", g->home,
		why);
	g->runs = false;
}

static inline void world_send(struct world *w, uint16_t from, const struct member_action *a)
{
	unsigned copies = 1 + (world_draw(w, 1000) < w->repeat);

	w->sends++;
	if (!world_acts(w, a->cell) && !w->cells[a->cell].running)
		return;
	if (w->mutes & 1u << (a->op - MEMBER_OP_HEARTBEAT))
		return;
	for (; copies; copies--) {
		struct happening_at h = { .what = H_MESSAGE,
			.to = a->cell,
			.to_life = w->cells[a->cell].life,
			.about = from,
			.life = w->cells[from].life,
			.op = a->op,
			.bytes = a->body_bytes };

		if (w->cut[from][a->cell] || world_draw(w, 1000) < w->loss)
			continue;
		h.body = malloc(a->body_bytes);
		memcpy(h.body, a->body, a->body_bytes);
		world_push(w, h, 20 * US + world_draw(w, 60 * US));
	}
}

static inline void world_perform(struct world *w, uint16_t c, const struct member_action *a)
{
	struct happening_at h = { .to = c,
		.to_life = w->cells[c].life,
		.about = a->cell,
		.life = a->incarnation,
		.born = a->born,
		.epoch = a->epoch,
		.cells = a->cells };

	if (w->trace && a->kind != MEMBER_SEND)
		fprintf(stderr, "%8.3f ms cell %u.%u: action %d cell %u life %u epoch %llx\n",
			(double)w->now_ns / 1e6, c, w->cells[c].life, a->kind, a->cell,
			a->incarnation, (unsigned long long)a->epoch);
	switch (a->kind) {
	case MEMBER_SEND:
		if (w->trace && a->op != MEMBER_OP_HEARTBEAT)
			fprintf(stderr, "%8.3f ms cell %u.%u: sends %x to %u\n",
				(double)w->now_ns / 1e6, c, w->cells[c].life, a->op, a->cell);
		w->rounds += a->op == MEMBER_OP_PROPOSE;
		world_send(w, c, a);
		break;
	case MEMBER_GATHER:
		w->gathers++;
		h.what = H_EVIDENCE;
		world_push(w, h, 2 * MS + world_draw(w, 8 * MS));
		break;
	case MEMBER_RESTART:
		h.what = H_RESTART;
		world_push(w, h, MS + world_draw(w, 10 * MS));
		break;
	case MEMBER_FENCE:
		w->fences++;
		h.what = H_FENCE;
		world_push(w, h, world_draw(w, MS));
		break;
	case MEMBER_END_GUESTS:
		for (uint16_t g = 0; g < w->guest_count; g++) {
			struct world_guest *guest = &w->guests[g];

			if (guest->runs && guest->home == c &&
				needs_hurt(&guest->needs, &a->cells)) {
				world_end(w, guest, "END_GUESTS");
				guest->was_ended = true;
			}
		}
		h.what = H_ENDED;
		world_push(w, h, world_draw(w, MS));
		break;
	case MEMBER_STOP_SELF:
		w->stops++;
		world_kill_monitor(w, c);
		break;
	case MEMBER_VIEW:
		world_agree(w, c, a);
		/* A new monitor looks through what it adopts. */
		for (uint16_t g = 0; g < w->guest_count; g++) {
			struct world_guest *guest = &w->guests[g];

			for (uint16_t i = 0; i < guest->needs.count && guest->home == c; i++)
				if (guest->runs &&
					!member_holds(w->cells[c].m, guest->needs.list[i].cell,
						guest->needs.list[i].born)) {
					world_end(w, guest, "view");
					guest->was_ended = true;
				}
		}
		break;
	default:
		break;
	}
}

static inline void world_drain(struct world *w, uint16_t c)
{
	struct member_action a;

	while (world_acts(w, c) && member_next(w->cells[c].m, &a)) {
		cr_assert(a.kind != MEMBER_SEND || a.body_bytes <= member_body_max(w->n));
		world_perform(w, c, &a);
	}
	if (world_acts(w, c)) {
		const char *wrong = member_check(w->cells[c].m);

		w->cells[c].due_ns = member_due(w->cells[c].m);

		cr_assert_null(wrong, "cell %u: %s", c, wrong ? wrong : "");
	}
}

static inline enum member_evidence world_look(const struct world *w, const struct happening_at *h)
{
	const struct world_cell *cell = &w->cells[h->about];

	if (cell->node_dead)
		return MEMBER_EVIDENCE_NO_CPU;
	if (w->mode == MEMBER_SEPARATE_KERNELS)
		return w->cut[h->about][h->to] || !cell->running || cell->stopped
			       ? MEMBER_EVIDENCE_NO_CPU
			       : MEMBER_EVIDENCE_CPU_ANSWERS;
	if (!cell->running || (h->life && cell->life != h->life))
		return MEMBER_EVIDENCE_PROCESS_GONE;
	return MEMBER_EVIDENCE_CPU_ANSWERS;
}

/* Kills what is left of the lives up to h->life. */
static inline void world_fence(struct world *w, const struct happening_at *h)
{
	struct world_cell *cell = &w->cells[h->about];

	if (cell->life <= h->life)
		world_kill_monitor(w, h->about);
	for (uint16_t g = 0; g < w->guest_count; g++) {
		struct world_guest *guest = &w->guests[g];

		if (guest->runs && guest->home == h->about &&
			guest->needs.list[guest->needs.list[0].cell == guest->home ? 0 : 1].born <=
				h->life) {
			world_end(w, guest, "fence");
			guest->was_lost = true;
		}
	}
}

static inline struct member_report world_restart(struct world *w, const struct happening_at *h)
{
	struct world_cell *cell = &w->cells[h->about];
	struct member_report r = {
		.kind = MEMBER_RESTART, .cell = h->about, .incarnation = h->life
	};
	uint32_t born = h->born ? h->born : cell->recorded_born;

	if (h->life <= cell->claimed) {
		r.result = MEMBER_REFUSED;
		r.incarnation = cell->claimed;
		return r;
	}
	cell->claimed = h->life;
	if (cell->node_dead)
		return r; /* it is started, and never executes */
	world_kill_monitor(w, h->about);
	world_start_monitor(w, h->about, h->life, born);
	cell->restarts++;
	world_drain(w, h->about);
	return r;
}

/* False if it waits for a stopped monitor: then h->body is still needed. */
static inline bool world_happen(struct world *w, const struct happening_at *h)
{
	struct world_cell *cell = &w->cells[h->to];
	struct member_report r = {
		.kind = MEMBER_FENCE, .cell = h->about, .incarnation = h->life, .epoch = h->epoch
	};
	enum member_recv how;

	if (cell->stopped && !cell->node_dead && cell->life == h->to_life) {
		world_push(w, *h, MS);
		return false;
	}
	if (!world_acts(w, h->to) || cell->life != h->to_life)
		return true;
	switch (h->what) {
	case H_MESSAGE:
		how = member_recv(cell->m, w->now_ns, h->about, h->life, h->op, h->body, h->bytes);
		cr_assert(how < MEMBER_RECV_BAD_OP, "op %x from %u to %u: %s", h->op, h->about,
			h->to, member_recv_name(how));
		break;
	case H_EVIDENCE:
		member_evidence(cell->m, w->now_ns, h->about,
			h->life ? h->life : w->cells[h->about].claimed, world_look(w, h));
		break;
	case H_RESTART:
		r = world_restart(w, h);
		member_done(cell->m, w->now_ns, &r);
		break;
	case H_FENCE:
		if (w->fence_fails)
			r.result = MEMBER_FAILED;
		else
			world_fence(w, h);
		member_done(cell->m, w->now_ns, &r);
		break;
	case H_ENDED:
		r.kind = MEMBER_END_GUESTS;
		member_done(cell->m, w->now_ns, &r);
		break;
	case H_LINK:
		member_link(cell->m, w->now_ns, h->about, h->life, false);
		break;
	}
	world_drain(w, h->to);
	return true;
}

/* Runs for `ns` of simulated time. */
static inline void world_run(struct world *w, uint64_t ns)
{
	uint64_t end_ns = w->now_ns + ns;

	for (;;) {
		uint64_t due_ns = UINT64_MAX;
		uint16_t who = CELLSET_NONE;

		for (uint16_t c = 0; c < w->n; c++)
			if (w->cells[c].due_ns < due_ns && world_acts(w, c)) {
				due_ns = w->cells[c].due_ns;
				who = c;
			}
		if (w->queued && w->queue[0].due_ns <= due_ns) {
			struct happening_at h;

			if (w->queue[0].due_ns > end_ns)
				break;
			h = world_pop(w);
			w->now_ns = h.due_ns;
			if (world_happen(w, &h))
				free(h.body);
			continue;
		}
		if (who == CELLSET_NONE || due_ns > end_ns)
			break;
		w->now_ns = due_ns > w->now_ns ? due_ns : w->now_ns;
		member_tick(w->cells[who].m, w->now_ns);
		world_drain(w, who);
	}
	w->now_ns = end_ns;
}

/* NULL if the machine is whole again, else what is not. */
static inline const char *world_unsettled(struct world *w)
{
	static char text[128];
	uint64_t epoch = 0;

	for (uint16_t c = 0; c < w->n; c++) {
		struct cellset live;

		if (w->cells[c].node_dead) {
			if (w->cells[c].running)
				return "a dead cell is not fenced";
			continue;
		}
		snprintf(text, sizeof(text), "cell %u has no working monitor", c);
		if (!world_acts(w, c))
			return text;
		snprintf(text, sizeof(text), "cell %u is suspended", c);
		if (member_suspended(w->cells[c].m))
			return text;
		if (epoch && member_epoch(w->cells[c].m) != epoch)
			return "epochs differ";
		epoch = member_epoch(w->cells[c].m);
		member_live(w->cells[c].m, &live);
		for (uint16_t peer = 0; peer < w->n; peer++) {
			snprintf(text, sizeof(text), "cell %u is wrong about cell %u", c, peer);
			if (cellset_has(&live, peer) == w->cells[peer].node_dead)
				return text;
		}
	}
	for (uint16_t g = 0; g < w->guest_count; g++)
		for (uint16_t i = 0; i < w->guests[g].needs.count; i++)
			if (w->guests[g].runs &&
				w->cells[w->guests[g].needs.list[i].cell].node_dead)
				return "a guest that needs a dead cell runs on";
	return NULL;
}

static inline void world_dump(const struct world *w)
{
	for (uint16_t c = 0; c < w->n; c++) {
		const struct world_cell *cell = &w->cells[c];
		const struct membership *m = cell->m;

		fprintf(stderr, "cell %u: %s%s%s life %u born %u claimed %u", c,
			cell->node_dead ? "dead " : "", cell->running ? "running " : "",
			cell->stopped ? "stopped" : "", cell->life, cell->born, cell->claimed);
		if (m) {
			fprintf(stderr, " epoch %llx promised %llx lead %d step %d waiting %llx:",
				(unsigned long long)m->epoch, (unsigned long long)m->promised,
				m->lead, m->step, (unsigned long long)m->waiting.words[0]);
			for (uint16_t k = 0; k < w->n; k++)
				fprintf(stderr, " %u%c%u/%u", word_born(m->known[k]),
					word_dead(m->known[k]) ? 'D' : '.', word_life(m->known[k]),
					m->peers[k].watch);
		}
		fprintf(stderr, "\n");
	}
	for (uint16_t g = 0; g < w->guest_count; g++)
		fprintf(stderr, "guest %u home %u runs %d needs %u(%u) %u(%u)\n", g,
			w->guests[g].home, w->guests[g].runs, w->guests[g].needs.list[0].cell,
			w->guests[g].needs.list[0].born, w->guests[g].needs.list[1].cell,
			w->guests[g].needs.list[1].born);
}

static inline void world_expect_settled(struct world *w, uint64_t within_ns)
{
	uint64_t end_ns = w->now_ns + within_ns;
	const char *why;

	while ((why = world_unsettled(w)) && w->now_ns < end_ns)
		world_run(w, 5 * MS);
	if (why)
		world_dump(w);
	cr_assert_null(why, "not settled: %s", why ? why : "");
}

#endif
