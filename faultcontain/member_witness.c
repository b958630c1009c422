/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Cells on separate kernels: nobody can look at another cell's processes or
 * CPUs, so that a cell is silent may mean that it is dead, or that only the link
 * to it is. The others are asked; and a view needs a majority of the one before.
 */

#include "faultcontain/member_impl.h"

/* Is `count` of `of` cells enough; of exactly half, with the lowest among them? */
static bool majority(unsigned count, unsigned of, bool with_lowest)
{
	return 2 * count > of || (2 * count == of && with_lowest);
}

/* Of the view; while joining, of all cells. */
static uint16_t lowest_live(const struct membership *m)
{
	if (!m->epoch)
		return 0;
	for (uint16_t c = 0; c < m->cfg.cell_count; c++)
		if (word_live(m->view[c]))
			return c;
	return m->cfg.self;
}

bool member_quorum(const struct membership *m)
{
	unsigned of = 0, kept = 0, lost = 0;
	bool with_lowest = false;
	uint16_t lowest = lowest_live(m);

	for (uint16_t c = 0; c < m->cfg.cell_count; c++) {
		bool counts = m->epoch ? word_live(m->view[c]) : true;
		bool stays = word_live(m->offer[c]) &&
			     (!m->epoch || word_born(m->offer[c]) == word_born(m->view[c]));

		if (!counts || peer_has(&m->peers[c], PEER_PROVEN))
			continue;
		of++;
		lost += !stays;
		/* A monitor that was restarted has forgotten what it agreed to. */
		if (!stays || (m->epoch && m->offer[c] != m->view[c]))
			continue;
		kept++;
		with_lowest |= c == lowest;
	}
	return lost == 0 || majority(kept, of, with_lowest);
}

bool member_cut_off(const struct membership *m)
{
	unsigned of = 0, heard = 0;
	bool with_lowest = false;
	uint16_t lowest = lowest_live(m);

	if (m->cfg.evidence_mode == MEMBER_ONE_KERNEL || !m->epoch)
		return false;
	for (uint16_t c = 0; c < m->cfg.cell_count; c++) {
		if (!word_live(m->view[c]) || peer_has(&m->peers[c], PEER_PROVEN))
			continue;
		of++;
		if (c != m->cfg.self && member_silent(m, c))
			continue;
		heard++;
		with_lowest |= c == lowest;
	}
	return !majority(heard, of, with_lowest);
}

static void judge(struct membership *m, uint16_t cell)
{
	struct peer *p = &m->peers[cell];
	struct cellset live;

	member_live(m, &live);
	if (!majority(p->confirms, m->epoch ? cellset_count(&live) : m->cfg.cell_count,
		    p->confirmed_by_lowest))
		return;
	cellset_remove(&m->accused, cell);
	member_condemn(m, cell, MEMBER_EVIDENCE_NO_CPU);
}

void member_accuse(struct membership *m, uint16_t cell)
{
	struct peer *p = &m->peers[cell];

	if (p->watch == WATCH_ACCUSED)
		return;
	p->watch = WATCH_ACCUSED;
	p->asked_ns = m->now_ns;
	/* One more accused: everyone is asked anew, about all of them. */
	cellset_add(&m->accused, cell);
	m->accuse_number++;
	m->accuse_ns = m->now_ns;
	m->witnesses = (struct cellset){ 0 };
	for (uint16_t c = cellset_next(&m->accused, 0); c != CELLSET_NONE;
		c = cellset_next(&m->accused, c + 1u)) {
		m->peers[c].confirms = 1;
		m->peers[c].confirmed_by_lowest = lowest_live(m) == m->cfg.self;
	}
	for (uint16_t c = 0; c < m->cfg.cell_count; c++)
		if (c != m->cfg.self && word_live(m->known[c]) && !cellset_has(&m->accused, c))
			member_post(m, c, MEMBER_OP_ACCUSE);
	judge(m, cell);
}

/* Those that most others hear after all are believed alive: only the link is bad. */
void member_accuse_tick(struct membership *m)
{
	if (cellset_empty(&m->accused))
		return;
	for (uint16_t c = cellset_next(&m->accused, 0); c != CELLSET_NONE;
		c = cellset_next(&m->accused, c + 1u)) {
		struct peer *p = &m->peers[c];

		if (p->watch == WATCH_ACCUSED && m->now_ns - m->accuse_ns < m->cfg.evidence_ns)
			continue;
		if (p->watch == WATCH_ACCUSED)
			p->watch = WATCH_OK;
		cellset_remove(&m->accused, c);
	}
}

void member_recv_accuse(struct membership *m, uint16_t from, const struct member_msg *msg)
{
	struct peer *p = &m->peers[from];

	p->witness_number = msg->ballot;
	member_post(m, from, MEMBER_OP_WITNESS);
}

void member_testimony(const struct membership *m, struct cellset *silent)
{
	*silent = (struct cellset){ 0 };
	for (uint16_t c = cellset_next(&m->watched, 0); c != CELLSET_NONE;
		c = cellset_next(&m->watched, c + 1u))
		if (member_silent(m, c))
			cellset_add(silent, c);
}

void member_recv_witness(struct membership *m, uint16_t from, const struct member_msg *msg)
{
	if (msg->ballot != m->accuse_number || cellset_has(&m->witnesses, from))
		return;
	cellset_add(&m->witnesses, from);
	for (uint16_t c = cellset_next(&msg->set, 0); c != CELLSET_NONE;
		c = cellset_next(&msg->set, c + 1u)) {
		if (!cellset_has(&m->accused, c) || c == from)
			continue;
		m->peers[c].confirms++;
		m->peers[c].confirmed_by_lowest |= from == lowest_live(m);
		judge(m, c);
	}
}
