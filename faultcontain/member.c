/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/member.h"

#include <string.h>

#include "faultcontain/member_impl.h"
#include "numa/check.h"

static bool cfg_valid(const struct member_cfg *cfg)
{
	return cfg->cell_count >= 1 && cfg->cell_count <= WIRE_CELLS_MAX &&
	       cfg->self < cfg->cell_count && cfg->born >= 1 && cfg->born <= cfg->incarnation &&
	       cfg->incarnation <= MEMBER_INCARNATION_MAX && cfg->heartbeat_ns > 0 &&
	       cfg->suspect_ns > 2 * cfg->heartbeat_ns && cfg->suspect_ns < INT64_MAX &&
	       cfg->evidence_ns > 0 && cfg->evidence_ns < INT64_MAX && cfg->restart_ns > 0 &&
	       cfg->restart_ns < INT64_MAX / 64 && cfg->retry_ns > 0 &&
	       cfg->retry_ns <= cfg->heartbeat_ns &&
	       (cfg->evidence_mode == MEMBER_ONE_KERNEL || cfg->cell_count <= MEMBER_MESH_MAX);
}

/* Sizes of the parts of the caller's memory; each a multiple of 8. */
static size_t part_table(uint16_t cells)
{
	return cells * sizeof(uint64_t);
}

static size_t part_peers(uint16_t cells)
{
	_Static_assert(sizeof(struct peer) % sizeof(uint64_t) == 0, "peers would misalign");
	return cells * sizeof(struct peer);
}

size_t member_bytes(uint16_t cell_count)
{
	return sizeof(struct membership) + 3 * part_table(cell_count) + part_peers(cell_count) +
	       member_body_max(cell_count);
}

struct membership *member_start(void *memory, const struct member_cfg *cfg, uint64_t now_ns)
{
	struct membership *m = memory;
	uint8_t *at = (uint8_t *)(m + 1);
	uint16_t n = cfg->cell_count;

	if (!cfg_valid(cfg))
		return NULL;
	memset(memory, 0, member_bytes(n));
	m->cfg = *cfg;
	m->known = (uint64_t *)(void *)at;
	m->view = m->known + n;
	m->offer = m->view + n;
	m->peers = (struct peer *)(void *)(m->offer + n);
	m->scratch = (uint8_t *)(m->peers + n);
	m->now_ns = m->ticked_ns = m->beat_ns = now_ns;
	m->retry_ns = UINT64_MAX;
	m->retry_step_ns = cfg->retry_ns;
	m->known[cfg->self] = member_own_word(m);
	for (uint16_t c = 0; c < n; c++)
		m->peers[c].heard_ns = now_ns;
	member_choose_watched(m);
	member_consider(m);
	return m;
}

/*
 * A cell that did not run for a while heard nobody meanwhile; that must not look
 * like the silence of all others.
 */
static void forgive_own_stall(struct membership *m)
{
	uint64_t gap_ns = m->now_ns - m->ticked_ns;

	if (gap_ns <= m->cfg.suspect_ns / 2)
		return;
	for (uint16_t c = 0; c < m->cfg.cell_count; c++) {
		struct peer *p = &m->peers[c];

		p->heard_ns = p->heard_ns + gap_ns < m->now_ns ? p->heard_ns + gap_ns : m->now_ns;
	}
	m->active_ns = m->now_ns;
}

void member_tick(struct membership *m, uint64_t now_ns)
{
	if (m->stopped)
		return;
	CHECK(now_ns >= m->now_ns);
	m->now_ns = now_ns;
	forgive_own_stall(m);
	m->ticked_ns = now_ns;
	if (now_ns >= m->beat_ns) {
		m->beat_ns = now_ns + m->cfg.heartbeat_ns;
		member_choose_watched(m);
		member_beat(m);
		member_watch_all(m);
		member_accuse_tick(m);
		member_consider(m);
	}
	if (!member_unsettled(m)) {
		m->retry_ns = UINT64_MAX;
	} else if (now_ns >= m->retry_ns) {
		m->retry_ns = now_ns + m->retry_step_ns;
		if (m->retry_step_ns < m->cfg.heartbeat_ns)
			m->retry_step_ns *= 2;
		member_retry(m);
	}
}

uint64_t member_due(const struct membership *m)
{
	if (m->stopped)
		return UINT64_MAX;
	return m->retry_ns < m->beat_ns ? m->retry_ns : m->beat_ns;
}

/*
 * Is this from a life that may speak? The first heartbeat of a new life
 * introduces it: that is how monitors that were restarted and cells that were
 * repaired come back.
 */
static enum member_recv admit(
	struct membership *m, uint16_t from, uint32_t life, const struct member_msg *msg)
{
	const struct peer *p = &m->peers[from];
	uint64_t word = m->known[from];
	bool introduces = msg->op == MEMBER_OP_HEARTBEAT && life > word_life(word);

	if (msg->op == MEMBER_OP_HEARTBEAT && msg->born > life)
		return MEMBER_RECV_BAD_VALUE;
	/* It is about to be killed, to make room for its successor. */
	if (p->watch == WATCH_RESTARTING && life < p->claimed)
		return MEMBER_RECV_STALE;
	if (life < word_life(word) || (word_dead(word) && !introduces)) {
		if (msg->op == MEMBER_OP_HEARTBEAT)
			member_post(m, from, MEMBER_OP_STALE);
		return MEMBER_RECV_STALE;
	}
	if (life == word_life(word))
		return msg->op == MEMBER_OP_HEARTBEAT && msg->born != word_born(word)
			       ? MEMBER_RECV_BAD_VALUE
			       : MEMBER_RECV_OK;
	if (!introduces)
		return MEMBER_RECV_UNKNOWN;
	if (word_make(msg->born, life) < word) { /* a later life of a boot that is dead */
		member_post(m, from, MEMBER_OP_STALE);
		return MEMBER_RECV_STALE;
	}
	m->known[from] = word_make(msg->born, life);
	member_new_life(m, from);
	return MEMBER_RECV_OK;
}

static void recv_heartbeat(struct membership *m, uint16_t from, const struct member_msg *msg)
{
	struct peer *p = &m->peers[from];

	if (msg->ballot)
		peer_set(p, PEER_VIEWED);
	if (msg->verdict & BEAT_WATCHES)
		peer_set(p, PEER_WATCHES);
	else
		peer_clear(p, PEER_WATCHES);
	if (msg->seen && msg->seen == m->promised)
		m->active_ns = m->now_ns;
	if (m->lead == LEAD_COMMITTED && msg->ballot == m->epoch) {
		cellset_remove(&m->unreached, from);
		peer_clear(p, PEER_DEAF);
	}
}

enum member_recv member_recv(struct membership *m, uint64_t now_ns, uint16_t from,
	uint64_t incarnation, uint16_t op, const void *body, size_t body_bytes)
{
	struct member_msg msg;
	uint64_t word;
	enum member_recv how = member_decode(&msg, op, body, body_bytes, m->cfg.cell_count);

	if (how != MEMBER_RECV_OK)
		return how;
	if (from >= m->cfg.cell_count || from == m->cfg.self || incarnation == 0 ||
		incarnation > MEMBER_INCARNATION_MAX)
		return MEMBER_RECV_BAD_SENDER;
	if (m->stopped)
		return MEMBER_RECV_STALE;
	CHECK(now_ns >= m->now_ns);
	m->now_ns = now_ns;
	word = m->known[from];
	how = admit(m, from, (uint32_t)incarnation, &msg);
	if (how != MEMBER_RECV_OK)
		return how;
	switch (op) {
	case MEMBER_OP_HEARTBEAT:
		member_heard(m, from);
		recv_heartbeat(m, from, &msg);
		if (m->known[from] != word)
			member_consider(m);
		return MEMBER_RECV_OK;
	case MEMBER_OP_STALE:
		member_heard(m, from);
		if (msg.ballot > member_own_word(m))
			member_stop(m);
		return MEMBER_RECV_OK;
	case MEMBER_OP_ACCUSE:
		member_heard(m, from);
		member_recv_accuse(m, from, &msg);
		return MEMBER_RECV_OK;
	case MEMBER_OP_WITNESS:
		member_heard(m, from);
		member_recv_witness(m, from, &msg);
		return MEMBER_RECV_OK;
	default:
		return member_recv_round(m, from, (uint32_t)incarnation, &msg);
	}
}

enum member_state member_state(const struct membership *m, uint16_t cell)
{
	const struct peer *p = &m->peers[cell];
	uint64_t agreed = m->view[cell], known = m->known[cell];

	if (cell == m->cfg.self)
		return m->stopped ? MEMBER_DEAD : MEMBER_ALIVE;
	if (p->watch == WATCH_RESTARTING)
		return MEMBER_RESTARTING;
	if (word_dead(known))
		return word_dead(agreed) && word_born(agreed) == word_born(known) ? MEMBER_DEAD
										  : MEMBER_SUSPECT;
	if (known == 0)
		return MEMBER_UNKNOWN;
	return p->watch != WATCH_OK || p->flags & (PEER_SUSPECTED | PEER_GONE | PEER_DEAF)
		       ? MEMBER_SUSPECT
		       : MEMBER_ALIVE;
}

uint32_t member_incarnation(const struct membership *m, uint16_t cell)
{
	return word_life(m->known[cell]);
}

uint32_t member_born(const struct membership *m, uint16_t cell)
{
	return word_born(m->known[cell]);
}

bool member_holds(const struct membership *m, uint16_t cell, uint32_t born)
{
	return word_live(m->view[cell]) && word_born(m->view[cell]) == born;
}

uint64_t member_epoch(const struct membership *m)
{
	return m->epoch;
}

void member_live(const struct membership *m, struct cellset *live)
{
	table_live(m->view, m->cfg.cell_count, live);
}

bool member_suspended(const struct membership *m)
{
	return m->epoch == 0 || m->step != STEP_RESUMED || m->promised != m->epoch ||
	       member_cut_off(m);
}

const char *member_recv_name(enum member_recv how)
{
	static const char *const names[MEMBER_RECV_COUNT] = { "ok", "stale", "unknown-life",
		"bad-operation", "bad-sender", "bad-size", "bad-value" };

	return (unsigned)how < MEMBER_RECV_COUNT ? names[how] : "?";
}

const char *member_evidence_name(enum member_evidence kind)
{
	static const char *const names[MEMBER_EVIDENCE_COUNT] = { "none", "process-gone",
		"cpu-answers", "no-cpu-answers", "hardware", "told" };

	return (unsigned)kind < MEMBER_EVIDENCE_COUNT ? names[kind] : "?";
}

const char *member_state_name(enum member_state state)
{
	static const char *const names[MEMBER_STATE_COUNT] = { "unknown", "alive", "suspect",
		"restarting", "dead" };

	return (unsigned)state < MEMBER_STATE_COUNT ? names[state] : "?";
}

const char *member_check(const struct membership *m)
{
	uint16_t n = m->cfg.cell_count;

	if (m->stopped)
		return NULL;
	if (m->epoch > m->promised)
		return "the view is newer than the highest ballot seen";
	if (m->resumed > m->epoch)
		return "resumed what was not installed";
	if (!table_below(m->view, m->known, n))
		return "the view says what is not known";
	if (m->offered && !table_below(m->offer, m->known, n))
		return "the proposal says what is not known";
	if (m->known[m->cfg.self] != member_own_word(m))
		return "knows that this life is over, and goes on";
	if (m->epoch && m->view[m->cfg.self] != member_own_word(m))
		return "the view does not include this life";
	if (m->lead != LEAD_NONE && !ballot_of(m->promised, m->cfg.self, m->cfg.incarnation))
		return "leads a round of another cell";
	if (m->lead == LEAD_COMMITTED && m->epoch != m->promised)
		return "committed what it has not installed";
	if (m->step == STEP_RESUMED && m->resumed != m->epoch)
		return "goes on without a barrier";
	if (m->step >= STEP_END && !cellset_empty(&m->unfenced))
		return "goes on before the dead are fenced";
	return NULL;
}
