/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What a cell does with a new view, in this order: fence the dead, abort the
 * calls to them, drop their loans, end the guests that needed them, tell the
 * coordinator. A view that comes in between starts it again, for all the dead
 * that are not dealt with yet.
 */

#include "faultcontain/member_impl.h"

/* The boots of `cell` up to life `life` are over, by the agreed view. */
static void bury(struct membership *m, uint16_t cell, uint32_t born, uint32_t life)
{
	struct peer *p = &m->peers[cell];

	p->fence_life = life;
	p->fence_born = born;
	cellset_add(&m->dead, cell);
	cellset_add(&m->unfenced, cell);
	peer_clear(p, PEER_UNFENCED);
	member_todo(m, cell, TODO_DEAD);
	member_todo(m, cell, TODO_FENCE);
}

static void compare(struct membership *m, uint16_t cell, uint64_t old, uint64_t new)
{
	if (old == new)
		return;
	if (word_dead(new))
		bury(m, cell, word_born(new), word_life(new));
	else if (word_live(old) && word_born(new) > word_born(old))
		bury(m, cell, word_born(old), word_born(new) - 1);
	if (!word_live(new) || cell == m->cfg.self || word_life(new) == word_life(old))
		return;
	if (word_born(new) == word_born(old))
		member_todo(m, cell, TODO_EVENT_RESTARTED);
	else
		member_todo(m, cell, TODO_EVENT_JOINED);
}

void member_install(struct membership *m, uint64_t ballot)
{
	for (uint16_t c = 0; c < m->cfg.cell_count; c++) {
		uint64_t old = m->view[c];

		m->view[c] = m->offer[c];
		compare(m, c, old, m->view[c]);
	}
	m->epoch = ballot;
	m->step = STEP_FENCE;
	m->todo &= ~(uint32_t)(TODO_ABORT_CALLS | TODO_DROP_LOANS | TODO_END_GUESTS | TODO_RESUMED);
	m->todo |= TODO_VIEW;
	member_choose_watched(m);
	member_step(m);
}

static void ready(struct membership *m)
{
	m->step = STEP_READY;
	m->dead = (struct cellset){ 0 };
	if (ballot_of(m->epoch, m->cfg.self, m->cfg.incarnation))
		member_try_resume(m);
	else
		member_post(m, ballot_cell(m->epoch), MEMBER_OP_READY);
}

void member_step(struct membership *m)
{
	if (m->step != STEP_FENCE || !cellset_empty(&m->unfenced))
		return;
	if (cellset_empty(&m->dead)) {
		ready(m);
		return;
	}
	m->step = STEP_END;
	m->todo |= TODO_ABORT_CALLS | TODO_DROP_LOANS | TODO_END_GUESTS;
}

void member_step_retry(struct membership *m)
{
	uint16_t coordinator = ballot_cell(m->epoch);

	if (m->step == STEP_READY && m->promised == m->epoch && coordinator != m->cfg.self)
		member_post(m, coordinator, MEMBER_OP_READY);
	if (m->step == STEP_END && m->unended)
		m->todo |= TODO_END_GUESTS;
	m->unended = false;
	for (uint16_t c = cellset_next(&m->unfenced, 0); c != CELLSET_NONE;
		c = cellset_next(&m->unfenced, c + 1u)) {
		if (!peer_has(&m->peers[c], PEER_UNFENCED))
			continue;
		peer_clear(&m->peers[c], PEER_UNFENCED);
		member_todo(m, c, TODO_FENCE);
	}
}

static void done_fence(struct membership *m, const struct member_report *r)
{
	struct peer *p = &m->peers[r->cell];

	if (!cellset_has(&m->unfenced, r->cell) || r->incarnation < p->fence_life)
		return;
	switch (r->result) {
	case MEMBER_DONE:
		cellset_remove(&m->unfenced, r->cell);
		peer_clear(p, PEER_UNFENCED);
		member_step(m);
		break;
	case MEMBER_FAILED:
		peer_set(p, PEER_UNFENCED);
		break;
	case MEMBER_REFUSED:
		member_stop(m);
		break;
	}
}

static void done_restart(struct membership *m, const struct member_report *r)
{
	struct peer *p = &m->peers[r->cell];

	if (p->watch != WATCH_RESTARTING)
		return;
	switch (r->result) {
	case MEMBER_DONE:
		p->asked_ns = m->now_ns;
		break;
	case MEMBER_FAILED:
		p->watch = WATCH_OK;
		break;
	case MEMBER_REFUSED: /* someone else starts it: wait for that life */
		if (r->incarnation > p->claimed && r->incarnation <= MEMBER_INCARNATION_MAX)
			p->claimed = r->incarnation;
		if (r->born > word_born(m->known[r->cell]) && r->born <= r->incarnation &&
			r->incarnation <= MEMBER_INCARNATION_MAX) {
			/* Started afresh: so the boot that is known here is over. */
			m->known[r->cell] = word_make(r->born, r->incarnation);
			member_new_life(m, r->cell);
			member_consider(m);
		}
		break;
	}
}

void member_done(struct membership *m, uint64_t now_ns, const struct member_report *report)
{
	if (m->stopped)
		return;
	m->now_ns = now_ns > m->now_ns ? now_ns : m->now_ns;
	switch (report->kind) {
	case MEMBER_FENCE:
		if (report->cell < m->cfg.cell_count)
			done_fence(m, report);
		break;
	case MEMBER_RESTART:
		if (report->cell < m->cfg.cell_count)
			done_restart(m, report);
		break;
	case MEMBER_END_GUESTS:
		if (m->step != STEP_END || report->epoch != m->epoch)
			break;
		if (report->result == MEMBER_DONE)
			ready(m);
		else
			m->unended = true;
		break;
	default:
		break;
	}
}
