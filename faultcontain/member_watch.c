/* SPDX-License-Identifier: BSD-2-Clause */

/* Silence: who watches whom, evidence, and the restart of monitors. */

#include "faultcontain/member_impl.h"
#include "numa/check.h"

#define BACKOFF_MAX 5u

bool member_silent(const struct membership *m, uint16_t cell)
{
	return m->now_ns - m->peers[cell].heard_ns >= m->cfg.suspect_ns;
}

bool member_responsive(const struct membership *m, uint16_t cell)
{
	const struct peer *p = &m->peers[cell];

	if (cell == m->cfg.self)
		return true;
	if (!word_live(m->known[cell]) || p->flags & (PEER_LINK_LOST | PEER_GONE))
		return false;
	return !cellset_has(&m->watched, cell) || !member_silent(m, cell);
}

/* A cell that is not watched is believed to have a view. */
static bool has_view(const struct membership *m, uint16_t cell)
{
	if (cell == m->cfg.self)
		return m->epoch != 0;
	return peer_has(&m->peers[cell], PEER_VIEWED) || !cellset_has(&m->watched, cell);
}

bool member_in_charge(const struct membership *m, uint16_t about)
{
	bool lowest = true;

	for (uint16_t c = 0; c < m->cfg.cell_count; c++) {
		if (c == about || c == m->cfg.self || !member_responsive(m, c))
			continue;
		if (m->epoch == 0 && has_view(m, c))
			return false;
		if (c < m->cfg.self && (m->epoch == 0 || has_view(m, c)))
			lowest = false;
	}
	return lowest;
}

/*
 * Everyone up to MEMBER_MESH_MAX cells and while joining. Above: the lowest live
 * cells until MEMBER_HUBS of them speak and have a view, so that the window moves
 * up when hubs fall silent or start anew; a cell within the window is a hub
 * itself and watches all.
 */
static bool serves_as_hub(const struct membership *m, uint16_t cell)
{
	const struct peer *p = &m->peers[cell];

	return member_responsive(m, cell) && (!peer_has(p, PEER_HEARD) || peer_has(p, PEER_VIEWED));
}

static bool hears_a_hub(const struct membership *m)
{
	for (uint16_t c = cellset_next(&m->watched, 0); c != CELLSET_NONE;
		c = cellset_next(&m->watched, c + 1u))
		if (peer_has(&m->peers[c], PEER_VIEWED) && member_responsive(m, c) &&
			peer_has(&m->peers[c], PEER_HEARD))
			return true;
	return false;
}

static bool hears_nobody(const struct membership *m)
{
	for (uint16_t c = cellset_next(&m->watched, 0); c != CELLSET_NONE;
		c = cellset_next(&m->watched, c + 1u))
		if (member_responsive(m, c))
			return false;
	return true;
}

static void watch(struct membership *m, struct cellset *chosen, uint16_t cell)
{
	cellset_add(chosen, cell);
	if (!cellset_has(&m->watched, cell))
		m->peers[cell].heard_ns = m->now_ns;
}

void member_choose_watched(struct membership *m)
{
	struct cellset chosen = { 0 };
	unsigned hubs = 0;
	bool all;

	/* With no hub left it sees for itself: the window would pass the others too slowly. */
	m->alone = m->epoch && (m->alone ? !hears_a_hub(m) : hears_nobody(m));
	all = m->cfg.cell_count <= MEMBER_MESH_MAX || m->epoch == 0 || m->alone;
	for (uint16_t c = 0; c < m->cfg.cell_count; c++) {
		if (!all && (hubs >= MEMBER_HUBS || !word_live(m->known[c])))
			continue;
		if (c == m->cfg.self) {
			all = true; /* a hub */
			continue;
		}
		watch(m, &chosen, c);
		hubs += serves_as_hub(m, c);
	}
	for (uint16_t c = 0; all && c < m->cfg.cell_count; c++)
		if (c != m->cfg.self && !cellset_has(&chosen, c))
			watch(m, &chosen, c);
	m->watched = chosen;
}

/* Cells to knock at, of a machine above MEMBER_MESH_MAX, while this one is joining. */
#define KNOCKS 8u

static bool beats_to(const struct membership *m, uint16_t cell)
{
	const struct peer *p = &m->peers[cell];
	uint16_t n = m->cfg.cell_count;

	if (cell == m->cfg.self || word_dead(m->known[cell]))
		return false;
	if (n <= MEMBER_MESH_MAX || (peer_has(p, PEER_WATCHES) && !member_silent(m, cell)))
		return true;
	if (m->epoch)
		return cellset_has(&m->watched, cell);
	return cell < KNOCKS || (cell >= m->rotor && cell < m->rotor + KNOCKS);
}

void member_beat(struct membership *m)
{
	for (uint16_t c = 0; c < m->cfg.cell_count; c++)
		if (beats_to(m, c))
			member_post(m, c, MEMBER_OP_HEARTBEAT);
	m->rotor = (uint16_t)(m->rotor + KNOCKS < m->cfg.cell_count ? m->rotor + KNOCKS : 0);
}

bool member_wants(const struct membership *m, uint16_t cell)
{
	return beats_to(m, cell) || (m->lead != LEAD_NONE && cellset_has(&m->waiting, cell)) ||
	       cellset_has(&m->outbox_cells, cell);
}

static void watch_is(struct membership *m, uint16_t cell, enum watch watch)
{
	struct peer *p = &m->peers[cell];

	p->watch = (uint8_t)watch;
	p->asked_ns = m->now_ns;
	member_undo(m, cell, TODO_GATHER | TODO_RESTART);
}

void member_heard(struct membership *m, uint16_t cell)
{
	struct peer *p = &m->peers[cell];

	p->heard_ns = m->now_ns;
	peer_set(p, PEER_HEARD);
	peer_clear(p, PEER_LINK_LOST | PEER_GONE);
	if (peer_has(p, PEER_DEAF))
		return;
	if (p->watch != WATCH_OK)
		watch_is(m, cell, WATCH_OK);
	if (!peer_has(p, PEER_SUSPECTED))
		return;
	peer_clear(p, PEER_SUSPECTED);
	if (p->todo & TODO_EVENT_SUSPECT)
		member_undo(m, cell, TODO_EVENT_SUSPECT);
	else
		member_todo(m, cell, TODO_EVENT_HEARD);
}

void member_new_life(struct membership *m, uint16_t cell)
{
	struct peer *p = &m->peers[cell];
	uint32_t life = word_life(m->known[cell]);

	/* What was said about the silence of the earlier life ends with it. */
	peer_clear(p, PEER_HEARD | PEER_VIEWED | PEER_LINK_LOST | PEER_GONE | PEER_DEAF |
			      PEER_SUSPECTED | PEER_PROVEN | PEER_WATCHES);
	p->heard_ns = m->now_ns;
	p->refused = 0;
	if (p->claimed < life)
		p->claimed = life;
	if (p->watch != WATCH_OK)
		watch_is(m, cell, WATCH_OK);
	member_undo(m, cell, TODO_EVENT_SUSPECT);
}

static void restart(struct membership *m, uint16_t cell)
{
	struct peer *p = &m->peers[cell];
	uint32_t life = word_life(m->known[cell]);

	if (m->now_ns < p->hold_ns || p->claimed >= MEMBER_INCARNATION_MAX)
		return;
	p->claimed = (p->claimed > life ? p->claimed : life) + 1;
	p->hold_ns = m->now_ns + (m->cfg.heartbeat_ns << p->backoff);
	if (p->backoff < BACKOFF_MAX)
		p->backoff++;
	watch_is(m, cell, WATCH_RESTARTING);
	member_todo(m, cell, TODO_RESTART);
}

static bool may_restart(const struct membership *m, uint16_t cell)
{
	return m->cfg.evidence_mode == MEMBER_ONE_KERNEL && member_in_charge(m, cell);
}

static void ask(struct membership *m, uint16_t cell)
{
	watch_is(m, cell, WATCH_ASKED);
	member_todo(m, cell, TODO_GATHER);
	member_post(m, cell, MEMBER_OP_HEARTBEAT);
}

/* Nothing is known to be wrong for long: forget that it was restarted often. */
static void calm_down(struct membership *m, struct peer *p)
{
	if (p->backoff && m->now_ns - p->asked_ns > 16 * m->cfg.restart_ns)
		p->backoff = 0;
}

void member_watch_one(struct membership *m, uint16_t cell)
{
	struct peer *p = &m->peers[cell];
	bool silent = member_silent(m, cell);

	if (word_dead(m->known[cell]) || !cellset_has(&m->watched, cell))
		return;
	if (silent && !peer_has(p, PEER_SUSPECTED) && m->known[cell]) {
		peer_set(p, PEER_SUSPECTED);
		member_todo(m, cell, TODO_EVENT_SUSPECT);
	}
	switch ((enum watch)p->watch) {
	case WATCH_OK:
		if (!silent && !(p->flags & (PEER_LINK_LOST | PEER_GONE | PEER_DEAF)))
			calm_down(m, p);
		else if (!member_in_charge(m, cell))
			break;
		else if (peer_has(p, PEER_GONE) && may_restart(m, cell))
			restart(m, cell);
		else
			ask(m, cell);
		break;
	case WATCH_ASKED:
		if (m->now_ns - p->asked_ns < m->cfg.evidence_ns)
			break;
		if (member_in_charge(m, cell))
			ask(m, cell);
		else
			watch_is(m, cell, WATCH_OK);
		break;
	case WATCH_ACCUSED:
		break;
	case WATCH_RESTARTING:
		if (m->now_ns - p->asked_ns >= m->cfg.restart_ns << (p->backoff - 1u)) {
			peer_clear(p, PEER_GONE);
			ask(m, cell);
		}
		break;
	}
}

void member_watch_all(struct membership *m)
{
	for (uint16_t c = cellset_next(&m->watched, 0); c != CELLSET_NONE;
		c = cellset_next(&m->watched, c + 1u))
		member_watch_one(m, c);
}

void member_condemn(struct membership *m, uint16_t cell, enum member_evidence evidence)
{
	struct peer *p = &m->peers[cell];
	uint32_t born = word_born(m->known[cell]), life = word_life(m->known[cell]);

	/* Of a cell never heard of, all that is on record. */
	if (!born && p->claimed > life)
		life = p->claimed;
	m->known[cell] = word_make(born, life) | WORD_DEAD;
	p->evidence = (uint8_t)evidence;
	watch_is(m, cell, WATCH_OK);
	member_consider(m);
}

void member_link(
	struct membership *m, uint64_t now_ns, uint16_t cell, uint64_t incarnation, bool up)
{
	if (m->stopped || cell >= m->cfg.cell_count || cell == m->cfg.self)
		return;
	m->now_ns = now_ns > m->now_ns ? now_ns : m->now_ns;
	if (up) {
		member_post(m, cell, MEMBER_OP_HEARTBEAT);
	} else if (incarnation == word_life(m->known[cell])) {
		peer_set(&m->peers[cell], PEER_LINK_LOST);
		member_watch_one(m, cell);
	}
}

/* Process gone, or alive and hanging: the monitor is replaced. */
static void monitor_failed(
	struct membership *m, uint16_t cell, uint32_t life, enum member_evidence kind)
{
	struct peer *p = &m->peers[cell];
	bool hangs = member_silent(m, cell) || peer_has(p, PEER_DEAF);

	if (kind == MEMBER_EVIDENCE_PROCESS_GONE)
		peer_set(p, PEER_GONE);
	else if (p->watch != WATCH_ASKED)
		return;
	p->evidence = (uint8_t)kind;
	/* While a new monitor is awaited, only its own end is news. */
	if (p->watch == WATCH_RESTARTING && life < p->claimed)
		return;
	watch_is(m, cell, WATCH_OK);
	/* Merely a link that went down, and the monitor lives: wait for it or for silence. */
	if (kind == MEMBER_EVIDENCE_CPU_ANSWERS && !hangs)
		peer_clear(p, PEER_LINK_LOST);
	else if (may_restart(m, cell))
		restart(m, cell);
}

void member_evidence(struct membership *m, uint64_t now_ns, uint16_t cell, uint64_t incarnation,
	enum member_evidence kind)
{
	struct peer *p;

	if (m->stopped || cell >= m->cfg.cell_count || cell == m->cfg.self)
		return;
	p = &m->peers[cell];
	m->now_ns = now_ns > m->now_ns ? now_ns : m->now_ns;
	if (word_dead(m->known[cell]) || incarnation < word_life(m->known[cell]))
		return;
	if (incarnation > p->claimed && incarnation <= MEMBER_INCARNATION_MAX)
		p->claimed = (uint32_t)incarnation;
	switch (kind) {
	case MEMBER_EVIDENCE_PROCESS_GONE:
	case MEMBER_EVIDENCE_CPU_ANSWERS:
		monitor_failed(m, cell, (uint32_t)incarnation, kind);
		break;
	case MEMBER_EVIDENCE_NO_CPU:
		if (m->cfg.evidence_mode == MEMBER_SEPARATE_KERNELS) {
			if (member_silent(m, cell))
				member_accuse(m, cell);
		} else if (p->watch == WATCH_ASKED || member_silent(m, cell)) {
			member_condemn(m, cell, kind);
		}
		break;
	case MEMBER_EVIDENCE_HARDWARE:
		peer_set(p, PEER_PROVEN);
		member_condemn(m, cell, kind);
		break;
	default:
		break;
	}
}
