/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Messages of every kind, evidence and finished actions in any order, to one
 * member of a machine: whatever comes, its invariants hold, it takes finite time
 * to take out what is to be done, and what it sends can be decoded.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faultcontain/member_impl.h"
#include "numa/check.h"

struct input {
	const uint8_t *at;
	size_t left;
};

static uint8_t take(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->at++;
}

/* A word near those that are true, so that the fuzzer gets past the first checks. */
static uint64_t word(struct input *in)
{
	uint8_t b = take(in);
	uint64_t w = word_make(1u + (b & 3u), 1u + (b & 3u) + (b >> 2 & 3u));

	return (b & 0x10) ? w | WORD_DEAD : (b & 0x20) ? 0 : w;
}

static uint64_t ballot(struct input *in, uint16_t cells)
{
	uint8_t b = take(in);

	return ballot_make(1u + (b & 7u), (uint16_t)((b >> 3) % cells), 1u + (b >> 6));
}

static size_t body(struct input *in, uint16_t op, uint16_t cells, uint8_t *out)
{
	struct member_msg msg = { .op = op, .ballot = ballot(in, cells) };
	uint64_t table[128];

	for (uint16_t c = 0; c < cells; c++)
		table[c] = c < 8 ? word(in) : word_make(1, 1);
	msg.born = 1u + (take(in) & 3u);
	msg.verdict = op == MEMBER_OP_HEARTBEAT ? take(in) & 1u : 1u + take(in) % 3u;
	msg.seen = msg.verdict == ANSWER_LATER ? msg.ballot + (UINT64_C(1) << 32) : msg.ballot;
	if (op == MEMBER_OP_HEARTBEAT)
		msg.seen = take(in) & 1 ? msg.ballot : 0;
	if (op == MEMBER_OP_STALE)
		msg.ballot = word(in);
	for (uint16_t c = 0; c < 8 && c < cells; c++)
		if (take(in) & 1)
			cellset_add(&msg.set, c);
	return member_encode(out, &msg, table, cells);
}

static void message(struct membership *m, struct input *in, uint64_t now_ns)
{
	uint16_t cells = m->cfg.cell_count, from = take(in) % (cells + 1u);
	uint16_t op = (uint16_t)(MEMBER_OP_HEARTBEAT + take(in) % 12u);
	uint8_t shape = take(in);
	uint64_t life = shape & 0x80 ? UINT64_MAX - (shape & 1u) : shape & 7u;
	size_t bytes = in->left < 64 ? in->left : 64;
	uint8_t *copy;

	if (shape & 0x40) { /* raw bytes */
		copy = malloc(bytes ? bytes : 1);
		memcpy(copy, in->at, bytes);
		in->at += bytes;
		in->left -= bytes;
	} else {
		copy = malloc(member_body_max(cells));
		bytes = body(in, op, cells, copy);
	}
	member_recv(m, now_ns, from, life, op, copy, bytes);
	free(copy);
}

static void drain(struct membership *m, struct input *in, uint64_t now_ns)
{
	struct member_action a;
	struct member_msg msg;
	uint16_t cells = m->cfg.cell_count;

	for (unsigned i = 0; member_next(m, &a); i++) {
		struct member_report done = { .kind = a.kind,
			.result = (enum member_result)(take(in) % 3u),
			.cell = a.cell,
			.incarnation = a.incarnation,
			.epoch = a.epoch };

		CHECK(i < 64u * cells);
		if (a.kind == MEMBER_SEND)
			CHECK(member_decode(&msg, a.op, a.body, a.body_bytes, cells) ==
				MEMBER_RECV_OK);
		if (a.kind == MEMBER_GATHER)
			member_evidence(m, now_ns, a.cell, a.incarnation,
				(enum member_evidence)(take(in) % MEMBER_EVIDENCE_COUNT));
		else if (take(in) & 3)
			member_done(m, now_ns, &done);
	}
	if (member_check(m))
		fprintf(stderr, "%s\n", member_check(m));
	CHECK(member_check(m) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	static const uint16_t sizes[] = { 1, 2, 3, 4, 6, 66 };
	struct member_cfg cfg = {
		.cell_count = sizes[take(&in) % 6u],
		.incarnation = 3,
		.born = 2,
		.heartbeat_ns = 10,
		.suspect_ns = 50,
		.evidence_ns = 20,
		.restart_ns = 50,
		.retry_ns = 2,
	};
	uint64_t now_ns = 1000;
	struct membership *m;
	void *memory;

	cfg.self = take(&in) % cfg.cell_count;
	cfg.evidence_mode = cfg.cell_count <= MEMBER_MESH_MAX && take(&in) & 1
				    ? MEMBER_SEPARATE_KERNELS
				    : MEMBER_ONE_KERNEL;
	memory = malloc(member_bytes(cfg.cell_count));
	m = member_start(memory, &cfg, now_ns);
	CHECK(m != NULL);
	while (in.left) {
		uint8_t what = take(&in);

		now_ns += what >> 3;
		switch (what & 7) {
		case 0:
			member_tick(m, now_ns);
			break;
		case 1:
			member_evidence(m, now_ns, take(&in), take(&in) & 7u,
				(enum member_evidence)(take(&in) % (MEMBER_EVIDENCE_COUNT + 1)));
			break;
		case 2:
			member_link(m, now_ns, take(&in), take(&in) & 7u, what & 8);
			break;
		default:
			message(m, &in, now_ns);
			break;
		}
		drain(m, &in, now_ns);
	}
	free(memory);
	return 0;
}
