/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Agreement: a coordinator proposes all it knows, every cell that is live in the
 * proposal answers whether it knows more, and when all say no, the proposal is
 * the view. A coordinator that dies is one more thing to agree on, by the next.
 */

#include "faultcontain/member_impl.h"

void member_stop(struct membership *m)
{
	m->stopped = true;
}

void member_merge(struct membership *m, const struct member_msg *msg)
{
	for (uint16_t c = 0; c < m->cfg.cell_count; c++) {
		uint64_t old = m->known[c], word = member_msg_word(msg, c);

		if (word <= old)
			continue;
		m->known[c] = word;
		if (c == m->cfg.self) {
			member_stop(m);
			return;
		}
		if (word_dead(word)) {
			if (!word_dead(old))
				m->peers[c].evidence = MEMBER_EVIDENCE_TOLD;
		} else if (word_life(word) != word_life(old)) {
			member_new_life(m, c);
		}
	}
}

static void promise(struct membership *m, uint64_t ballot)
{
	if (ballot <= m->promised)
		return;
	m->promised = ballot;
	m->offered = false;
	m->lead = LEAD_NONE;
	m->active_ns = m->now_ns;
}

/* The lowest responsive cell with a view, or CELLSET_NONE. */
static uint16_t leader(const struct membership *m)
{
	for (uint16_t c = 0; c < m->cfg.cell_count; c++) {
		bool viewed = c == m->cfg.self ? m->epoch != 0
					       : peer_has(&m->peers[c], PEER_VIEWED) ||
							 !cellset_has(&m->watched, c);

		if (viewed && word_live(m->known[c]) && member_responsive(m, c))
			return c;
	}
	return CELLSET_NONE;
}

/*
 * When nobody has a view (the machine comes up, or every monitor died at once),
 * the lowest cell founds one as soon as every cell is accounted for: it speaks
 * and has no view either, or there is evidence that it is dead.
 */
static bool may_found(const struct membership *m)
{
	for (uint16_t c = 0; c < m->cfg.cell_count; c++) {
		if (c == m->cfg.self || word_dead(m->known[c]))
			continue;
		if (!word_live(m->known[c]) || !member_responsive(m, c) ||
			!peer_has(&m->peers[c], PEER_HEARD) ||
			peer_has(&m->peers[c], PEER_VIEWED) || c < m->cfg.self)
			return false;
	}
	return true;
}

void member_arm_retry(struct membership *m)
{
	m->retry_step_ns = m->cfg.retry_ns;
	m->retry_ns = m->now_ns + m->retry_step_ns;
}

static void set_waiting(struct membership *m, enum member_op op)
{
	table_live(m->offer, m->cfg.cell_count, &m->waiting);
	cellset_remove(&m->waiting, m->cfg.self);
	m->unreached = m->waiting;
	m->lead_ns = m->now_ns;
	member_arm_retry(m);
	member_post_all(m, &m->waiting, op);
}

static void commit(struct membership *m)
{
	m->lead = LEAD_COMMITTED;
	set_waiting(m, MEMBER_OP_COMMIT);
	member_install(m, m->promised);
}

static void try_commit(struct membership *m)
{
	if (m->lead != LEAD_PROPOSING || !cellset_empty(&m->waiting))
		return;
	if (m->cfg.evidence_mode == MEMBER_ONE_KERNEL || member_quorum(m))
		commit(m);
}

static void propose(struct membership *m)
{
	/* Only a peer that makes up ballots can bring it there. */
	if (ballot_count(m->promised) == UINT32_MAX)
		return;
	promise(m, ballot_make(ballot_count(m->promised) + 1, m->cfg.self, m->cfg.incarnation));
	for (uint16_t c = 0; c < m->cfg.cell_count; c++)
		m->offer[c] = m->known[c];
	m->offered = true;
	m->lead = LEAD_PROPOSING;
	set_waiting(m, MEMBER_OP_PROPOSE);
	try_commit(m);
}

/* Does another cell lead a round that can still come to its end? */
static bool led_by_other(const struct membership *m)
{
	uint16_t c = ballot_cell(m->promised);

	return m->promised != m->resumed && c != m->cfg.self && word_live(m->known[c]) &&
	       ballot_of(m->promised, c, word_life(m->known[c])) && member_responsive(m, c) &&
	       m->now_ns - m->active_ns < m->cfg.suspect_ns;
}

/* Is there anything that the last completed recovery does not cover? */
static bool needs_round(const struct membership *m)
{
	return m->promised != m->resumed || !table_equal(m->known, m->view, m->cfg.cell_count);
}

bool member_unsettled(const struct membership *m)
{
	return m->lead != LEAD_NONE || (m->epoch && m->step != STEP_RESUMED) ||
	       ((m->epoch || m->promised) && needs_round(m));
}

void member_consider(struct membership *m)
{
	uint16_t to;

	if (m->stopped)
		return;
	if (m->lead != LEAD_NONE) {
		if (!table_equal(m->known, m->offer, m->cfg.cell_count))
			propose(m);
		return;
	}
	if (m->epoch == 0 && !led_by_other(m)) {
		if (may_found(m))
			propose(m);
		return;
	}
	if (!needs_round(m))
		return;
	if (m->retry_ns == UINT64_MAX)
		member_arm_retry(m);
	if (led_by_other(m)) {
		to = ballot_cell(m->promised);
		if (!m->offered || table_equal(m->known, m->offer, m->cfg.cell_count))
			return;
	} else {
		to = leader(m);
	}
	if (to == m->cfg.self)
		propose(m);
	else if (to != CELLSET_NONE)
		member_post(m, to, MEMBER_OP_REPORT);
}

/*
 * A cell that is heard but does not answer for long can't be reached: its side
 * of the link is broken, and its monitor must be replaced like one that hangs.
 */
static void judge_unreached(struct membership *m)
{
	if (m->now_ns - m->lead_ns < 2 * m->cfg.suspect_ns)
		return;
	for (uint16_t c = cellset_next(&m->unreached, 0); c != CELLSET_NONE;
		c = cellset_next(&m->unreached, c + 1u)) {
		peer_set(&m->peers[c], PEER_DEAF);
		member_watch_one(m, c);
	}
}

void member_retry(struct membership *m)
{
	if (m->lead == LEAD_PROPOSING)
		member_post_all(m, &m->unreached, MEMBER_OP_PROPOSE);
	else if (m->lead == LEAD_COMMITTED)
		member_post_all(m, &m->unreached, MEMBER_OP_COMMIT);
	if (m->lead != LEAD_NONE)
		judge_unreached(m);
	member_step_retry(m);
	member_consider(m);
	try_commit(m);
}

static enum member_recv recv_propose(
	struct membership *m, uint16_t from, const struct member_msg *msg)
{
	member_merge(m, msg);
	if (m->stopped)
		return MEMBER_RECV_OK;
	if (msg->ballot < m->promised) {
		m->peers[from].refused = msg->ballot;
		member_post(m, from, MEMBER_OP_ANSWER);
		return MEMBER_RECV_OK;
	}
	if (msg->ballot == m->epoch) /* late: it has been committed since */
		return MEMBER_RECV_STALE;
	promise(m, msg->ballot);
	m->active_ns = m->now_ns;
	for (uint16_t c = 0; c < m->cfg.cell_count; c++)
		m->offer[c] = member_msg_word(msg, c);
	m->offered = true;
	member_arm_retry(m);
	m->peers[from].refused = 0;
	member_post(m, from, MEMBER_OP_ANSWER);
	return MEMBER_RECV_OK;
}

static enum member_recv recv_commit(
	struct membership *m, uint16_t from, const struct member_msg *msg)
{
	member_merge(m, msg);
	if (m->stopped)
		return MEMBER_RECV_OK;
	if (msg->ballot < m->promised)
		return MEMBER_RECV_STALE;
	peer_set(&m->peers[from], PEER_VIEWED);
	m->active_ns = m->now_ns;
	if (msg->ballot == m->epoch) {
		if (m->step >= STEP_READY)
			member_post(m, from, MEMBER_OP_READY);
		return MEMBER_RECV_OK;
	}
	promise(m, msg->ballot);
	for (uint16_t c = 0; c < m->cfg.cell_count; c++)
		m->offer[c] = member_msg_word(msg, c);
	m->offered = true;
	member_arm_retry(m);
	member_install(m, msg->ballot);
	member_consider(m);
	return MEMBER_RECV_OK;
}

static enum member_recv recv_answer(
	struct membership *m, uint16_t from, const struct member_msg *msg)
{
	if (msg->verdict == ANSWER_MORE)
		member_merge(m, msg);
	if (m->stopped)
		return MEMBER_RECV_OK;
	if (m->lead == LEAD_NONE || msg->ballot != m->promised) {
		member_consider(m);
		return MEMBER_RECV_STALE;
	}
	if (msg->verdict == ANSWER_LATER) {
		promise(m, msg->seen);
	} else if (m->lead == LEAD_PROPOSING && msg->verdict == ANSWER_SAME) {
		cellset_remove(&m->waiting, from);
		cellset_remove(&m->unreached, from);
		peer_clear(&m->peers[from], PEER_DEAF);
		try_commit(m);
	}
	member_consider(m);
	return MEMBER_RECV_OK;
}

static enum member_recv recv_ready(
	struct membership *m, uint16_t from, const struct member_msg *msg)
{
	peer_set(&m->peers[from], PEER_VIEWED);
	if (m->lead == LEAD_COMMITTED && msg->ballot == m->epoch) {
		cellset_remove(&m->waiting, from);
		cellset_remove(&m->unreached, from);
		peer_clear(&m->peers[from], PEER_DEAF);
		member_try_resume(m);
		return MEMBER_RECV_OK;
	}
	if (msg->ballot != m->resumed || m->promised != m->resumed)
		return MEMBER_RECV_STALE;
	member_post(m, from, MEMBER_OP_RESUME);
	return MEMBER_RECV_OK;
}

void member_try_resume(struct membership *m)
{
	struct cellset others;

	if (m->lead != LEAD_COMMITTED || m->step != STEP_READY || !cellset_empty(&m->waiting))
		return;
	m->lead = LEAD_NONE;
	m->step = STEP_RESUMED;
	m->resumed = m->epoch;
	m->todo |= TODO_RESUMED;
	table_live(m->view, m->cfg.cell_count, &others);
	cellset_remove(&others, m->cfg.self);
	member_post_all(m, &others, MEMBER_OP_RESUME);
}

static enum member_recv recv_resume(struct membership *m, const struct member_msg *msg)
{
	if (msg->ballot != m->epoch || m->promised != m->epoch || m->step != STEP_READY)
		return MEMBER_RECV_STALE;
	m->step = STEP_RESUMED;
	m->resumed = m->epoch;
	m->todo |= TODO_RESUMED;
	member_consider(m);
	return MEMBER_RECV_OK;
}

/* A coordinator speaks for its own ballot and is live in what it says. */
static bool speaks_for_itself(
	const struct membership *m, uint16_t from, uint32_t life, const struct member_msg *msg)
{
	uint64_t word;

	switch (msg->op) {
	case MEMBER_OP_PROPOSE:
	case MEMBER_OP_COMMIT:
		word = member_msg_word(msg, from);
		return ballot_of(msg->ballot, from, life) && word_live(word) &&
		       word_life(word) == life;
	case MEMBER_OP_RESUME:
		return ballot_of(msg->ballot, from, life);
	case MEMBER_OP_ANSWER:
	case MEMBER_OP_READY:
		return ballot_cell(msg->ballot) == m->cfg.self;
	default:
		return true;
	}
}

enum member_recv member_recv_round(
	struct membership *m, uint16_t from, uint32_t life, const struct member_msg *msg)
{
	if (!speaks_for_itself(m, from, life, msg))
		return MEMBER_RECV_BAD_VALUE;
	/* For another life of this cell; the fabric's headers normally catch it. */
	if ((msg->op == MEMBER_OP_PROPOSE || msg->op == MEMBER_OP_COMMIT) &&
		member_msg_word(msg, m->cfg.self) < member_own_word(m))
		return MEMBER_RECV_STALE;
	member_heard(m, from);
	switch (msg->op) {
	case MEMBER_OP_PROPOSE:
		return recv_propose(m, from, msg);
	case MEMBER_OP_COMMIT:
		return recv_commit(m, from, msg);
	case MEMBER_OP_ANSWER:
		return recv_answer(m, from, msg);
	case MEMBER_OP_READY:
		return recv_ready(m, from, msg);
	case MEMBER_OP_RESUME:
		return recv_resume(m, msg);
	default: /* REPORT */
		member_merge(m, msg);
		if (!m->stopped)
			promise(m, msg->ballot);
		member_consider(m);
		return MEMBER_RECV_OK;
	}
}
