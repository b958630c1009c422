/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The simulated fabric: links between lives of monitors, and messages that go
 * through the real wire format and may be lost, repeated, late or damaged.
 */

#include <stdlib.h>
#include <string.h>

#include "faultcontain/member_impl.h"
#include "numa/check.h"
#include "sim/cells/machine.h"

#define LATENCY_NS (40 * US)
#define LATENCY_SPREAD_NS (20 * US)
#define CONNECT_NS (300 * US)
#define NOTICE_NS (50 * US)
/* Work of a monitor per message, and per byte: copy and CRC. */
#define RECEIVE_NS (2 * US)
#define SEND_NS (1 * US)
#define BYTES_PER_NS 4u
#define SLOWNESS 40u

_Static_assert(VISITS_LIST_BYTES_MAX >= 24u + 8u * WIRE_CELLS_MAX, "a view is larger");

static struct link *link_of(struct sim *s, uint16_t from, uint16_t to)
{
	return &s->links[(size_t)from * s->cfg.cells + to];
}

/* The cell works for so long, after what it is busy with; returns when it begins. */
static uint64_t occupy(struct sim *s, uint16_t cell, uint64_t ns)
{
	struct cell *c = &s->cells[cell];
	uint64_t begin_ns = c->busy_ns > s->now_ns ? c->busy_ns : s->now_ns;

	c->busy_ns = begin_ns + (c->slow ? SLOWNESS * ns : ns);
	return begin_ns;
}

static void connect_to(struct sim *s, uint16_t from, uint16_t to)
{
	struct link *l = link_of(s, from, to);

	if (l->connecting || !s->cells[to].running)
		return;
	l->connecting = true;
	sim_push(s,
		&(struct event){ .what = EV_CONNECT,
			.cell = from,
			.cell_life = s->cells[from].life,
			.about = to,
			.life = s->cells[to].life },
		CONNECT_NS);
}

static void damage(struct sim *s, uint8_t *bytes, uint32_t count)
{
	for (uint64_t i = 1 + sim_draw(s, 3); i; i--) {
		uint64_t bit = sim_draw(s, 8u * (uint64_t)count);

		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

static void transmit(struct sim *s, const struct event *e, uint64_t depart_ns)
{
	struct link *l = link_of(s, e->about, e->cell);
	uint64_t delay_ns = LATENCY_NS + sim_draw(s, LATENCY_SPREAD_NS);
	struct event copy = *e;

	if (sim_hit(s, SITE_LOSS))
		return;
	/* A ring keeps its order; only what is late by a fault is overtaken. */
	if (depart_ns + delay_ns < l->arrive_ns)
		delay_ns = l->arrive_ns - depart_ns;
	l->arrive_ns = depart_ns + delay_ns;
	if (sim_hit(s, SITE_DELAY))
		delay_ns += sim_draw(s, 8) ? sim_draw(s, 8 * MS) : sim_draw(s, 80 * MS);
	copy.message.bytes = malloc(e->message.count);
	CHECK(copy.message.bytes != NULL);
	memcpy(copy.message.bytes, e->message.bytes, e->message.count);
	if (sim_hit(s, SITE_DAMAGE))
		damage(s, copy.message.bytes, e->message.count);
	sim_push(s, &copy, depart_ns - s->now_ns + delay_ns);
}

void net_send(
	struct sim *s, uint16_t from, uint16_t to, uint16_t op, const void *body, size_t bytes)
{
	struct link *l = link_of(s, from, to);
	struct wire_hdr h = { .op = op,
		.src_cell = from,
		.dst_cell = to,
		.src_incarnation = s->cells[from].life,
		.dst_incarnation = l->peer_life,
		.body_bytes = (uint32_t)bytes };
	uint8_t frame[sizeof(h) + VISITS_LIST_BYTES_MAX];
	struct event e = { .what = EV_MESSAGE,
		.cell = to,
		.cell_life = l->peer_life,
		.about = from,
		.life = s->cells[from].life };
	uint64_t depart_ns = occupy(s, from, SEND_NS + bytes / BYTES_PER_NS);

	CHECK(bytes <= VISITS_LIST_BYTES_MAX); /* the largest of all */
	s->result->messages++;
	if (s->measuring && s->evidence_ns && op != MEMBER_OP_HEARTBEAT && op < SIM_OP_LOAN)
		s->cells[from].messages++;
	if (!l->peer_life) {
		connect_to(s, from, to);
		return;
	}
	if (op == SIM_OP_GUESTS)
		telling_sent(s, from, to, body, bytes);
	h.seq = ++l->sent;
	wire_seal(&h, body);
	memcpy(frame, &h, sizeof(h));
	memcpy(frame + sizeof(h), body, bytes);
	e.message.bytes = frame;
	e.message.count = (uint32_t)(sizeof(h) + bytes);
	e.message.generation = l->generation;
	transmit(s, &e, depart_ns);
	if (sim_hit(s, SITE_REPEAT))
		transmit(s, &e, depart_ns);
}

static void member_message(
	struct sim *s, const struct event *e, const struct wire_hdr *h, const void *body)
{
	struct cell *c = &s->cells[e->cell];
	uint32_t known = member_incarnation(c->m, e->about), life = (uint32_t)h->src_incarnation;
	enum member_recv how;

	if (s->cfg.plant == PLANT_STALE_ACCEPTED && life < known)
		life = known;
	how = member_recv(c->m, s->now_ns, e->about, life, h->op, body, h->body_bytes);
	if (how >= MEMBER_RECV_BAD_OP)
		sim_violate(s, "cell %u judged operation %#x of an honest cell %u: %s", e->cell,
			h->op, e->about, member_recv_name(how));
	else if (how == MEMBER_RECV_OK && e->life < known)
		sim_violate(s,
			"incarnations: cell %u took a message of life %u of cell %u, in its life "
			"%u",
			e->cell, e->life, e->about, known);
	else if (how == MEMBER_RECV_OK && e->cell_life != c->life)
		sim_violate(s, "incarnations: cell %u took a message meant for its life %u in %u",
			e->cell, e->cell_life, c->life);
	monitor_drain(s, e->cell);
}

/* Of monitors that are in the view, in their present life. */
static void cell_message(
	struct sim *s, const struct event *e, const struct wire_hdr *h, const void *body)
{
	struct cell *c = &s->cells[e->cell];
	uint64_t word = c->m->view[e->about];
	uint32_t life = (uint32_t)h->src_incarnation;

	if (s->cfg.plant == PLANT_STALE_ACCEPTED)
		life = word_life(word);
	if (!word_live(word) || word_life(word) != life || c->m->known[e->about] != word)
		return;
	if (e->life != word_life(word) || e->cell_life != c->life)
		sim_violate(s,
			"incarnations: cell %u in life %u took a message of life %u of cell %u for "
			"life %u",
			e->cell, c->life, e->life, e->about, e->cell_life);
	if (h->op == SIM_OP_LOAD)
		balancing_message(s, e->cell, e->about, body, h->body_bytes);
	else if (h->op == SIM_OP_GUESTS)
		telling_message(s, e->cell, e->about, body, h->body_bytes);
	else if (h->op > SIM_OP_LOAD)
		visiting_message(s, e->cell, e->about, h->op, body, h->body_bytes);
	else
		lending_message(
			s, e->cell, e->about, (uint16_t)(h->op - SIM_OP_LOAN), body, h->body_bytes);
	monitor_drain(s, e->cell);
}

static void judge(struct sim *s, const struct event *e, struct link *l)
{
	struct wire_expect expect = { .cell_count = s->cfg.cells,
		.self_cell = e->cell,
		.peer_cell = e->about,
		.self_incarnation = s->cells[e->cell].life,
		.peer_incarnation = l->peer_life,
		.last_seq = l->seen };
	enum wire_outcome outcome;
	struct wire_hdr h;
	const void *body;

	outcome = wire_judge(e->message.bytes, e->message.count, &expect, &h, &body);
	if (s->cfg.plant == PLANT_CRC_IGNORED && outcome == WIRE_BAD_CRC) {
		wire_seal(&h, e->message.bytes + sizeof(h));
		memcpy(e->message.bytes, &h, sizeof(h));
		outcome = wire_judge(e->message.bytes, e->message.count, &expect, &h, &body);
	}
	if (s->cfg.plant == PLANT_STALE_ACCEPTED &&
		(outcome == WIRE_SRC_STALE || outcome == WIRE_DST_STALE)) {
		body = e->message.bytes + sizeof(h);
		outcome = WIRE_OK;
		h.seq = l->seen;
	}
	switch (wire_verdict(outcome)) {
	case WIRE_ACCEPT:
		l->seen = h.seq;
		if (h.op >= SIM_OP_LOAN)
			cell_message(s, e, &h, body);
		else
			member_message(s, e, &h, body);
		break;
	case WIRE_DROP:
		break;
	default:
		sim_trace(s, "cell %u: message of cell %u: %s", e->cell, e->about,
			wire_outcome_name(outcome));
		net_reset(s, e->cell, e->about);
		break;
	}
}

static void keep(struct sim *s, const struct event *e)
{
	struct cell *c = &s->cells[e->cell];

	/* A ring that nobody reads fills up. */
	if (c->waiting >= (size_t)64 * s->cfg.cells) {
		free(e->message.bytes);
		return;
	}
	CHECK(sim_room(
		(void **)&c->backlog, &c->backlog_room, c->waiting + 1, sizeof(*c->backlog)));
	c->backlog[c->waiting++] = *e;
}

void net_deliver(struct sim *s, const struct event *e)
{
	struct cell *c = &s->cells[e->cell];
	struct link *l = link_of(s, e->cell, e->about);
	bool same = l->generation == e->message.generation;

	if (c->running && !c->dead && (c->stopped || c->hung)) {
		keep(s, e);
		return;
	}
	if (!monitor_acts(s, e->cell) || !l->peer_life || (!same && !sim_hit(s, SITE_LATE))) {
		free(e->message.bytes);
		return;
	}
	if (!e->message.admitted) {
		uint64_t begin_ns =
			occupy(s, e->cell, RECEIVE_NS + e->message.count / BYTES_PER_NS);
		struct event later = *e;

		later.message.admitted = true;
		if (begin_ns > s->now_ns) {
			sim_push(s, &later, begin_ns - s->now_ns);
			return;
		}
	}
	judge(s, e, l);
	free(e->message.bytes);
}

static void up(struct sim *s, uint16_t cell, uint16_t peer, uint32_t generation)
{
	struct link *l = link_of(s, cell, peer);

	l->peer_life = s->cells[peer].life;
	l->generation = generation;
	l->sent = l->seen = l->arrive_ns = 0;
	l->connecting = false;
	telling_link_up(s, cell, peer);
}

void net_connect(struct sim *s, const struct event *e)
{
	struct cell *a = &s->cells[e->cell], *b = &s->cells[e->about];
	uint32_t generation = (uint32_t)s->order;

	if (a->life != e->cell_life || !a->running)
		return; /* its links went with it */
	link_of(s, e->cell, e->about)->connecting = false;
	if (!monitor_acts(s, e->cell) || !monitor_acts(s, e->about) || b->life != e->life)
		return;
	if (link_of(s, e->cell, e->about)->peer_life == b->life)
		return; /* the other side was faster */
	up(s, e->cell, e->about, generation);
	up(s, e->about, e->cell, generation);
	member_link(a->m, s->now_ns, e->about, b->life, true);
	member_link(b->m, s->now_ns, e->cell, a->life, true);
	monitor_drain(s, e->cell);
	monitor_drain(s, e->about);
}

static void down(struct sim *s, uint16_t cell, uint16_t peer)
{
	struct link *l = link_of(s, cell, peer);

	if (!l->peer_life)
		return;
	sim_push(s,
		&(struct event){ .what = EV_LINK_DOWN,
			.cell = cell,
			.cell_life = s->cells[cell].life,
			.about = peer,
			.life = l->peer_life },
		NOTICE_NS);
	l->peer_life = 0;
}

void net_reset(struct sim *s, uint16_t a, uint16_t b)
{
	down(s, a, b);
	down(s, b, a);
}

void net_process_ended(struct sim *s, uint16_t cell)
{
	for (uint16_t peer = 0; peer < s->cfg.cells; peer++) {
		*link_of(s, cell, peer) = (struct link){ 0 };
		if (link_of(s, peer, cell)->peer_life == s->cells[cell].life)
			down(s, peer, cell);
	}
}
