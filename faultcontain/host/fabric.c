/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/host/fabric.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "faultcontain/host/careful.h"
#include "faultcontain/host/local.h"
#include "faultcontain/wire_calls.h"
#include "numa/check.h"

/* Memory per link against the size of messages: docs/fabric.md has the table. */
#define WIDE_CELLS_MAX 16u
#define WIDE_RING_BYTES (1024u * 1024u)
#define NARROW_RING_BYTES (256u * 1024u)

struct peer {
	bool up;
	struct transport_peer who;
	uint64_t sent_seq, last_seq; /* of this link */
	struct fabric_link_stats stats;
};

struct waiter {
	fabric_call_done *done;
	void *ctx;
};

struct fabric {
	uint16_t self_cell, cell_count;
	uint64_t incarnation;
	struct fabric_events events;
	struct transport transport;
	struct peer *peers; /* by cell; owned */
	struct wire_calls calls;
	struct wire_call call_slots[FABRIC_CALLS_MAX];
	struct waiter waiters[FABRIC_CALLS_MAX]; /* by slot */
	struct fabric_stats stats;
};

static uint32_t ring_bytes_for(uint16_t cell_count)
{
	return cell_count <= WIDE_CELLS_MAX ? WIDE_RING_BYTES : NARROW_RING_BYTES;
}

size_t fabric_body_max(const struct fabric *f)
{
	return ring_bytes_for(f->cell_count) / 4;
}

/* --- sending ------------------------------------------------------------- */

static int transmit(struct fabric *f, uint16_t cell, struct wire_hdr *h, const void *body)
{
	struct peer *peer;
	int rc;

	CHECK(cell < f->cell_count && cell != f->self_cell);
	peer = &f->peers[cell];
	if (!peer->up)
		return -ENOTCONN;
	if (h->body_bytes > fabric_body_max(f))
		return -EMSGSIZE;
	h->src_cell = f->self_cell;
	h->dst_cell = cell;
	h->src_incarnation = f->incarnation;
	h->dst_incarnation = peer->who.incarnation;
	h->seq = peer->sent_seq + 1;
	wire_seal(h, body);
	rc = f->transport.ops->send(f->transport.t, cell, h, sizeof(*h), body, h->body_bytes);
	if (rc == 0) {
		peer->sent_seq++;
		peer->stats.sent++;
		peer->stats.sent_bytes += sizeof(*h) + h->body_bytes;
	} else if (rc == -EAGAIN) {
		peer->stats.full++;
	}
	return rc;
}

static bool sized(size_t body_bytes, struct wire_hdr *h)
{
	h->body_bytes = (uint32_t)body_bytes;
	return body_bytes <= WIRE_BODY_MAX;
}

int fabric_send(struct fabric *f, uint16_t cell, uint16_t op, const void *body, size_t body_bytes)
{
	struct wire_hdr h = { .op = op };

	CHECK(op >= WIRE_OP_MEMBER && op < WIRE_OP_END);
	return sized(body_bytes, &h) ? transmit(f, cell, &h, body) : -EMSGSIZE;
}

/* The earliest deadline is when the owner has to be woken without an event. */
static void wake_for_calls(struct fabric *f)
{
	f->transport.ops->wake_at(f->transport.t, wire_calls_next_ns(&f->calls));
}

int fabric_call(struct fabric *f, uint16_t cell, uint16_t op, const void *body, size_t body_bytes,
	uint64_t deadline_ns, fabric_call_done *done, void *ctx)
{
	struct wire_hdr h = { .op = op, .flags = WIRE_CALL };
	uint32_t slot;
	int rc;

	CHECK(op >= WIRE_OP_MEMBER && op < WIRE_OP_END);
	CHECK(cell < f->cell_count && cell != f->self_cell && done);
	if (!sized(body_bytes, &h))
		return -EMSGSIZE;
	slot = wire_calls_open(&f->calls, cell, f->peers[cell].who.incarnation, op, deadline_ns);
	if (slot == WIRE_CALL_NONE)
		return -EBUSY;
	f->waiters[slot] = (struct waiter){ .done = done, .ctx = ctx };
	h.req_id = f->call_slots[slot].req_id;
	rc = transmit(f, cell, &h, body);
	if (rc) {
		wire_calls_close(&f->calls, slot);
		return rc;
	}
	f->stats.calls++;
	wake_for_calls(f);
	return 0;
}

static int answer(struct fabric *f, const struct fabric_request *req, uint16_t flags,
	const void *body, size_t body_bytes)
{
	struct wire_hdr h = { .op = req->op, .req_id = req->req_id, .flags = flags };
	int rc;

	CHECK(req->cell < f->cell_count);
	if (!f->peers[req->cell].up || f->peers[req->cell].who.incarnation != req->incarnation)
		return -ESTALE;
	if (!sized(body_bytes, &h))
		return -EMSGSIZE;
	rc = transmit(f, req->cell, &h, body);
	if (rc == 0)
		f->stats.replies++;
	return rc;
}

int fabric_reply(
	struct fabric *f, const struct fabric_request *req, const void *body, size_t body_bytes)
{
	return answer(f, req, WIRE_REPLY, body, body_bytes);
}

int fabric_refuse(struct fabric *f, const struct fabric_request *req)
{
	return answer(f, req, WIRE_REPLY | WIRE_REFUSED, NULL, 0);
}

/* --- calls that end ------------------------------------------------------ */

static void end_call(struct fabric *f, uint32_t slot, enum call_outcome outcome, const void *body,
	size_t body_bytes)
{
	struct waiter waiter = f->waiters[slot];
	uint16_t cell = f->call_slots[slot].cell;

	wire_calls_close(&f->calls, slot);
	switch (outcome) {
	case CALL_ANSWERED:
		f->stats.answered++;
		break;
	case CALL_REFUSED:
		f->stats.refused++;
		break;
	case CALL_TIMED_OUT:
		f->stats.timed_out++;
		break;
	case CALL_ABORTED:
		f->stats.aborted++;
		break;
	}
	waiter.done(waiter.ctx, cell, outcome, body, body_bytes);
}

static void expire_calls(struct fabric *f, uint64_t now_ns)
{
	/* A callback may open calls that are already late: they end at the next turn. */
	for (uint32_t n = 0; n < FABRIC_CALLS_MAX; n++) {
		uint32_t slot = wire_calls_expired(&f->calls, now_ns);

		if (slot == WIRE_CALL_NONE)
			break;
		end_call(f, slot, CALL_TIMED_OUT, NULL, 0);
	}
}

static void abort_calls_to(struct fabric *f, uint16_t cell)
{
	uint32_t slot;

	while ((slot = wire_calls_to(&f->calls, cell)) != WIRE_CALL_NONE)
		end_call(f, slot, CALL_ABORTED, NULL, 0);
}

/* --- what the transport reports ------------------------------------------ */

static void on_link_up(void *ctx, const struct transport_peer *who)
{
	struct fabric *f = ctx;
	struct peer *peer = &f->peers[who->cell];

	peer->up = true;
	peer->who = *who;
	peer->sent_seq = peer->last_seq = 0;
	peer->stats.ups++;
	if (f->events.link_up)
		f->events.link_up(f->events.ctx, who);
}

static void on_link_down(void *ctx, uint16_t cell, enum link_down why)
{
	struct fabric *f = ctx;
	struct peer *peer = &f->peers[cell];

	peer->up = false;
	peer->stats.downs[why]++;
	abort_calls_to(f, cell);
	if (f->events.link_down)
		f->events.link_down(f->events.ctx, cell, peer->who.incarnation, why);
}

static void deliver_call(struct fabric *f, const struct wire_hdr *h, const void *body)
{
	const struct fabric_request req = {
		.incarnation = h->src_incarnation,
		.req_id = h->req_id,
		.cell = h->src_cell,
		.op = h->op,
	};

	f->stats.requests++;
	if (f->events.call && f->events.call(f->events.ctx, &req, body, h->body_bytes))
		return;
	f->stats.unknown_ops++;
	(void)fabric_refuse(f, &req); /* fails only if nobody can hear it */
}

static void deliver(struct fabric *f, const struct wire_hdr *h, const void *body)
{
	if (h->flags & WIRE_REPLY) {
		uint32_t slot = wire_calls_match(
			&f->calls, h->src_cell, h->src_incarnation, h->op, h->req_id);

		if (slot != WIRE_CALL_NONE)
			end_call(f, slot, h->flags & WIRE_REFUSED ? CALL_REFUSED : CALL_ANSWERED,
				body, h->body_bytes);
	} else if (h->flags & WIRE_CALL) {
		deliver_call(f, h, body);
	} else if (h->op == WIRE_OP_REV_REFUSED) {
		f->stats.revision_refusals++;
	} else if (h->op < WIRE_OP_MEMBER) {
		f->stats.unknown_ops++;
	} else if (f->events.message) {
		f->events.message(
			f->events.ctx, h->src_cell, h->src_incarnation, h->op, body, h->body_bytes);
	}
}

static void on_record(void *ctx, uint16_t cell, const void *bytes, size_t count)
{
	struct fabric *f = ctx;
	struct peer *peer = &f->peers[cell];
	const struct wire_expect expect = {
		.cell_count = f->cell_count,
		.self_cell = f->self_cell,
		.peer_cell = cell,
		.self_incarnation = f->incarnation,
		.peer_incarnation = peer->who.incarnation,
		.last_seq = peer->last_seq,
	};
	struct wire_hdr h, refusal = { .op = WIRE_OP_REV_REFUSED };
	const void *body;
	enum wire_outcome outcome = wire_judge(bytes, count, &expect, &h, &body);

	peer->stats.outcomes[outcome]++;
	switch (wire_verdict(outcome)) {
	case WIRE_ACCEPT:
		peer->stats.received++;
		peer->stats.received_bytes += count;
		peer->stats.lost += h.seq - peer->last_seq - 1;
		peer->last_seq = h.seq;
		deliver(f, &h, body);
		break;
	case WIRE_DROP:
		break;
	case WIRE_REFUSE:
		(void)transmit(f, cell, &refusal, NULL);
		break;
	case WIRE_FAIL_LINK:
		f->transport.ops->fail(f->transport.t, cell, LINK_LIED);
		break;
	}
}

/* --- life ---------------------------------------------------------------- */

int fabric_open_over(struct fabric **out, const struct fabric_cfg *cfg, fabric_make_transport *make,
	void *make_ctx, struct err *e)
{
	struct transport_events events = {
		.link_up = on_link_up,
		.link_down = on_link_down,
		.record = on_record,
	};
	struct fabric *f;
	int rc;

	CHECK(cfg->self_cell < cfg->cell_count && cfg->cell_count <= WIRE_CELLS_MAX);
	CHECK(cfg->incarnation > 0);
	f = calloc(1, sizeof(*f));
	if (!f)
		return err_set(e, EXIT_ENVIRONMENT, "out of memory");
	f->self_cell = cfg->self_cell;
	f->cell_count = cfg->cell_count;
	f->incarnation = cfg->incarnation;
	f->events = cfg->events;
	wire_calls_init(&f->calls, f->call_slots, FABRIC_CALLS_MAX);
	f->peers = calloc(f->cell_count, sizeof(*f->peers));
	if (!f->peers) {
		rc = err_set(e, EXIT_ENVIRONMENT, "out of memory");
		goto free_fabric;
	}
	events.ctx = f;
	rc = make(make_ctx, &events, &f->transport, e);
	if (rc)
		goto free_peers;
	for (uint32_t cell = 0; cell < f->cell_count; cell++)
		if (cell != f->self_cell && f->cell_count <= FABRIC_MESH_CELLS_MAX)
			fabric_want(f, (uint16_t)cell, true);
	*out = f;
	return 0;

free_peers:
	free(f->peers);
free_fabric:
	free(f);
	return rc;
}

static int make_local(
	void *ctx, const struct transport_events *events, struct transport *out, struct err *e)
{
	const struct fabric_cfg *cfg = ctx;
	const struct local_cfg local = {
		.runtime_dir = cfg->runtime_dir,
		.self_cell = cfg->self_cell,
		.cell_count = cfg->cell_count,
		.incarnation = cfg->incarnation,
		.ring_bytes = ring_bytes_for(cfg->cell_count),
		.events = *events,
	};

	return local_transport_init(out, &local, e);
}

int fabric_open(struct fabric **out, const struct fabric_cfg *cfg, struct err *e)
{
	struct fabric_cfg copy = *cfg;
	int rc = careful_install();

	if (rc)
		return err_set(e, EXIT_ENVIRONMENT, "SIGBUS handler: %s", strerrordesc_np(-rc));
	return fabric_open_over(out, cfg, make_local, &copy, e);
}

void fabric_close(struct fabric *f)
{
	if (!f)
		return;
	f->transport.ops->fini(f->transport.t);
	free(f->peers);
	free(f);
}

int fabric_fd(const struct fabric *f)
{
	return f->transport.ops->event_fd(f->transport.t);
}

void fabric_process(struct fabric *f, uint64_t now_ns)
{
	f->transport.ops->process(f->transport.t, now_ns);
	expire_calls(f, now_ns);
	wake_for_calls(f);
}

void fabric_want(struct fabric *f, uint16_t cell, bool wanted)
{
	CHECK(cell < f->cell_count && cell != f->self_cell);
	f->transport.ops->want(f->transport.t, cell, wanted);
}

void fabric_dead(struct fabric *f, uint16_t cell, uint64_t incarnation)
{
	CHECK(cell < f->cell_count && cell != f->self_cell);
	f->transport.ops->accept_from(f->transport.t, cell, incarnation + 1);
	if (f->peers[cell].up && f->peers[cell].who.incarnation <= incarnation)
		f->transport.ops->fail(f->transport.t, cell, LINK_DISMISSED);
}

void fabric_fail(struct fabric *f, uint16_t cell)
{
	CHECK(cell < f->cell_count && cell != f->self_cell);
	if (f->peers[cell].up)
		f->transport.ops->fail(f->transport.t, cell, LINK_LIED);
}

bool fabric_peer(const struct fabric *f, uint16_t cell, struct transport_peer *peer)
{
	if (cell >= f->cell_count || !f->peers[cell].up)
		return false;
	*peer = f->peers[cell].who;
	return true;
}

void fabric_stats(const struct fabric *f, struct fabric_stats *stats)
{
	*stats = f->stats;
	stats->late_replies = f->calls.late;
}

void fabric_link_stats(const struct fabric *f, uint16_t cell, struct fabric_link_stats *stats)
{
	CHECK(cell < f->cell_count);
	*stats = f->peers[cell].stats;
}
