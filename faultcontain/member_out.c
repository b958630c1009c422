/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What is to be done, kept as marks in the state and turned into actions when
 * they are taken out: a mark set twice is done once, with what is true by then.
 */

#include <string.h>

#include "faultcontain/member_impl.h"

static uint16_t op_bit(enum member_op op)
{
	return (uint16_t)(1u << ((unsigned)op - MEMBER_OP_HEARTBEAT));
}

void member_post(struct membership *m, uint16_t cell, enum member_op op)
{
	m->peers[cell].outbox |= op_bit(op);
	cellset_add(&m->outbox_cells, cell);
}

void member_post_all(struct membership *m, const struct cellset *cells, enum member_op op)
{
	for (uint16_t c = cellset_next(cells, 0); c != CELLSET_NONE;
		c = cellset_next(cells, c + 1u))
		member_post(m, c, op);
}

void member_todo(struct membership *m, uint16_t cell, enum todo what)
{
	m->peers[cell].todo |= (uint8_t)what;
	cellset_add(&m->todo_cells, cell);
}

void member_undo(struct membership *m, uint16_t cell, unsigned what)
{
	m->peers[cell].todo &= (uint8_t)~what;
}

static bool take_todo(struct membership *m, uint16_t cell, struct member_action *out)
{
	struct peer *p = &m->peers[cell];
	unsigned what = p->todo & (0u - p->todo); /* lowest bit */

	if (!what) {
		cellset_remove(&m->todo_cells, cell);
		return false;
	}
	p->todo &= (uint8_t)~what;
	out->cell = cell;
	out->evidence = p->evidence;
	out->incarnation = word_life(m->known[cell]);
	out->born = word_born(m->known[cell]);
	out->epoch = m->epoch;
	out->kind = MEMBER_EVENT;
	switch ((enum todo)what) {
	case TODO_EVENT_SUSPECT:
		out->event = MEMBER_EVENT_SUSPECT;
		break;
	case TODO_EVENT_HEARD:
		out->event = MEMBER_EVENT_HEARD;
		break;
	case TODO_EVENT_JOINED:
	case TODO_EVENT_RESTARTED:
		out->event =
			what == TODO_EVENT_JOINED ? MEMBER_EVENT_JOINED : MEMBER_EVENT_RESTARTED;
		p->evidence = MEMBER_EVIDENCE_NONE;
		break;
	case TODO_DEAD:
	case TODO_FENCE:
		out->kind = what == TODO_DEAD ? MEMBER_CELL_DEAD : MEMBER_FENCE;
		out->incarnation = p->fence_life;
		out->born = p->fence_born;
		break;
	case TODO_GATHER:
		out->kind = MEMBER_GATHER;
		if (p->claimed > out->incarnation)
			out->incarnation = p->claimed;
		break;
	case TODO_RESTART:
		out->kind = MEMBER_RESTART;
		out->incarnation = p->claimed;
		break;
	}
	return true;
}

static bool take_own(struct membership *m, struct member_action *out)
{
	uint32_t what = m->todo & (0u - m->todo);

	if (!what)
		return false;
	m->todo &= ~what;
	out->epoch = m->epoch;
	out->cell = m->cfg.self;
	switch ((enum todo_self)what) {
	case TODO_VIEW:
		out->kind = MEMBER_VIEW;
		table_live(m->view, m->cfg.cell_count, &out->cells);
		break;
	case TODO_RESUMED:
		out->kind = MEMBER_RESUMED;
		table_live(m->view, m->cfg.cell_count, &out->cells);
		break;
	case TODO_ABORT_CALLS:
		out->kind = MEMBER_ABORT_CALLS;
		out->cells = m->dead;
		break;
	case TODO_DROP_LOANS:
		out->kind = MEMBER_DROP_LOANS;
		out->cells = m->dead;
		break;
	case TODO_END_GUESTS:
		out->kind = MEMBER_END_GUESTS;
		out->cells = m->dead;
		break;
	}
	return true;
}

/*
 * Fills in what the message says now; false if it has become pointless.
 * *table: the words that go with it.
 */
static bool compose(
	struct membership *m, uint16_t to, struct member_msg *msg, const uint64_t **table)
{
	struct peer *p = &m->peers[to];
	bool own_round = m->lead != LEAD_NONE;

	*table = m->known;
	msg->ballot = m->promised;
	switch (msg->op) {
	case MEMBER_OP_HEARTBEAT:
		msg->born = m->cfg.born;
		msg->verdict = cellset_has(&m->watched, to) ? BEAT_WATCHES : 0;
		msg->ballot = m->epoch;
		msg->seen = own_round ? m->promised : 0;
		return true;
	case MEMBER_OP_REPORT:
		return m->promised != 0;
	case MEMBER_OP_PROPOSE:
		*table = m->offer;
		return m->lead == LEAD_PROPOSING;
	case MEMBER_OP_COMMIT:
		*table = m->offer;
		return m->lead == LEAD_COMMITTED;
	case MEMBER_OP_ANSWER:
		msg->seen = m->promised;
		if (p->refused && p->refused < m->promised) {
			msg->ballot = p->refused;
			msg->verdict = ANSWER_LATER;
			p->refused = 0;
			return true;
		}
		msg->verdict = table_equal(m->known, m->offer, m->cfg.cell_count) ? ANSWER_SAME
										  : ANSWER_MORE;
		return m->offered && ballot_cell(m->promised) == to;
	case MEMBER_OP_READY:
		msg->ballot = m->epoch;
		return m->step == STEP_READY && m->promised == m->epoch;
	case MEMBER_OP_RESUME:
		msg->ballot = m->resumed;
		return m->resumed != 0 && ballot_of(m->resumed, m->cfg.self, m->cfg.incarnation);
	case MEMBER_OP_STALE:
		msg->ballot = m->known[to];
		return true;
	case MEMBER_OP_ACCUSE:
		msg->ballot = m->accuse_number;
		msg->set = m->accused;
		return !cellset_empty(&m->accused);
	default: /* WITNESS */
		msg->ballot = p->witness_number;
		member_testimony(m, &msg->set);
		return msg->ballot != 0;
	}
}

static bool take_send(struct membership *m, uint16_t cell, struct member_action *out)
{
	struct peer *p = &m->peers[cell];

	while (p->outbox) {
		unsigned bit = p->outbox & (0u - (unsigned)p->outbox);
		struct member_msg msg = {
			.op = (uint16_t)(MEMBER_OP_HEARTBEAT + (unsigned)__builtin_ctz(bit)),
		};
		const uint64_t *table;

		p->outbox &= (uint16_t)~bit;
		if (word_dead(m->known[cell]) && msg.op != MEMBER_OP_STALE)
			continue;
		if (!compose(m, cell, &msg, &table))
			continue;
		out->kind = MEMBER_SEND;
		out->cell = cell;
		out->op = msg.op;
		out->body = m->scratch;
		out->body_bytes = member_encode(m->scratch, &msg, table, m->cfg.cell_count);
		return true;
	}
	cellset_remove(&m->outbox_cells, cell);
	return false;
}

bool member_next(struct membership *m, struct member_action *out)
{
	uint16_t c;

	memset(out, 0, sizeof(*out));
	if (m->stopped) {
		if (m->stop_told)
			return false;
		m->stop_told = true;
		out->kind = MEMBER_STOP_SELF;
		out->cell = m->cfg.self;
		out->incarnation = m->cfg.incarnation;
		return true;
	}
	if (m->todo & TODO_VIEW)
		return take_own(m, out);
	while ((c = cellset_next(&m->todo_cells, 0)) != CELLSET_NONE)
		if (take_todo(m, c, out))
			return true;
	if (take_own(m, out))
		return true;
	while ((c = cellset_next(&m->outbox_cells, 0)) != CELLSET_NONE)
		if (take_send(m, c, out))
			return true;
	return false;
}
