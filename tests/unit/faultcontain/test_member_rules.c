/* SPDX-License-Identifier: BSD-2-Clause */

/* One cell driven by hand: the rules that a whole machine rarely shows one by one. */

#include "tests/unit/faultcontain/member_world.h"

#define CELLS 4
#define SECOND_NS (1000 * MS)

static _Alignas(uint64_t) uint8_t memory[1 << 16];
static struct membership *m;
static uint64_t now;
static struct member_cfg cfg;

/* What was taken out since the last forget(). */
static struct {
	unsigned kinds[MEMBER_ACTION_COUNT], ops[16], events[MEMBER_EVENT_COUNT];
	struct member_action last[MEMBER_ACTION_COUNT];
	struct member_msg said[16];
	uint8_t bodies[16][256];
	uint16_t to[16];
} seen;

/* Takes out what is to be done and adds it to what has been seen. */
static void drain(void)
{
	struct member_action a;

	while (member_next(m, &a)) {
		seen.kinds[a.kind]++;
		seen.last[a.kind] = a;
		if (a.kind == MEMBER_EVENT)
			seen.events[a.event]++;
		if (a.kind == MEMBER_SEND) {
			unsigned i = a.op - MEMBER_OP_HEARTBEAT;

			seen.ops[i]++;
			seen.to[i] = a.cell;
			memcpy(seen.bodies[i], a.body, a.body_bytes);
			cr_assert_eq(member_decode(&seen.said[i], a.op, seen.bodies[i],
					     a.body_bytes, cfg.cell_count),
				MEMBER_RECV_OK);
		}
	}
	cr_assert_null(member_check(m), "%s", member_check(m));
}

static void forget(void)
{
	memset(&seen, 0, sizeof(seen));
}

/* Only what is to be done now. */
static void take(void)
{
	forget();
	drain();
}

#define SAID(op) (seen.said[MEMBER_OP_##op - MEMBER_OP_HEARTBEAT])
#define SENDS(op) (seen.ops[MEMBER_OP_##op - MEMBER_OP_HEARTBEAT])

static void start(uint16_t self, uint16_t cells, enum member_evidence_mode mode)
{
	cfg = (struct member_cfg){ .self = self,
		.cell_count = cells,
		.incarnation = 5,
		.born = 5,
		.evidence_mode = mode,
		.heartbeat_ns = 10 * MS,
		.suspect_ns = 50 * MS,
		.evidence_ns = 20 * MS,
		.restart_ns = 50 * MS,
		.retry_ns = 2 * MS };
	now = SECOND_NS;
	m = member_start(memory, &cfg, now);
	cr_assert_not_null(m);
}

static enum member_recv say(
	uint16_t from, uint32_t life, struct member_msg msg, const uint64_t *table)
{
	uint8_t body[256];
	size_t bytes = member_encode(body, &msg, table, cfg.cell_count);

	return member_recv(m, now, from, life, msg.op, body, bytes);
}

static enum member_recv beat(uint16_t from, uint32_t life, uint64_t epoch)
{
	return say(from, life,
		(struct member_msg){ .op = MEMBER_OP_HEARTBEAT, .born = 5, .ballot = epoch }, NULL);
}

static void pass(uint64_t ns, const uint16_t *speaking)
{
	for (uint64_t end = now + ns; now < end; now += 10 * MS) {
		for (const uint16_t *c = speaking; c && *c != CELLSET_NONE; c++)
			beat(*c, member_incarnation(m, *c), member_epoch(m));
		member_tick(m, now);
		drain();
	}
}

/* Everyone introduced; `coordinator` (not self) has brought the view about. Returns its epoch. */
static uint64_t join(uint16_t coordinator)
{
	uint64_t table[64], ballot = ballot_make(3, coordinator, 5);
	struct member_msg msg = { .op = MEMBER_OP_PROPOSE, .ballot = ballot };

	for (uint16_t c = 0; c < cfg.cell_count; c++) {
		table[c] = word_make(5, 5);
		if (c != cfg.self)
			cr_assert_eq(beat(c, 5, c == coordinator ? ballot : 0), MEMBER_RECV_OK);
	}
	cr_assert_eq(say(coordinator, 5, msg, table), MEMBER_RECV_OK);
	take();
	cr_assert_eq(SENDS(ANSWER), 1);
	cr_assert_eq(SAID(ANSWER).verdict, ANSWER_SAME);
	cr_assert(member_suspended(m));
	msg.op = MEMBER_OP_COMMIT;
	cr_assert_eq(say(coordinator, 5, msg, table), MEMBER_RECV_OK);
	take();
	cr_assert_eq(SENDS(READY), 1);
	cr_assert_eq(seen.kinds[MEMBER_VIEW], 1);
	msg.op = MEMBER_OP_RESUME;
	cr_assert_eq(say(coordinator, 5, msg, NULL), MEMBER_RECV_OK);
	take();
	cr_assert_eq(seen.kinds[MEMBER_RESUMED], 1);
	cr_assert_not(member_suspended(m));
	for (uint16_t c = 0; c < cfg.cell_count; c++)
		if (c != cfg.self)
			beat(c, 5, ballot);
	return ballot;
}

Test(member_rules, configurations_that_contradict_themselves)
{
	const struct member_cfg good = { .self = 1,
		.cell_count = 2,
		.incarnation = 3,
		.born = 2,
		.heartbeat_ns = 10,
		.suspect_ns = 21,
		.evidence_ns = 1,
		.restart_ns = 1,
		.retry_ns = 1 };
	struct member_cfg bad[9];

	cr_assert_not_null(member_start(memory, &good, 0));
	for (size_t i = 0; i < 9; i++)
		bad[i] = good;
	bad[0].self = 2;
	bad[1].cell_count = 0;
	bad[2].incarnation = 0;
	bad[3].born = 0;
	bad[4].born = 4;
	bad[5].suspect_ns = 20;
	bad[6].retry_ns = 11;
	bad[7].cell_count = 1025;
	bad[8].cell_count = MEMBER_MESH_MAX + 1;
	bad[8].evidence_mode = MEMBER_SEPARATE_KERNELS;
	for (size_t i = 0; i < 9; i++)
		cr_assert_null(member_start(memory, &bad[i], 0), "%zu", i);
}

Test(member_rules, senders_that_cannot_be)
{
	start(2, CELLS, MEMBER_ONE_KERNEL);
	cr_assert_eq(beat(4, 5, 0), MEMBER_RECV_BAD_SENDER);
	cr_assert_eq(beat(2, 5, 0), MEMBER_RECV_BAD_SENDER, "this cell");
	cr_assert_eq(beat(1, 0, 0), MEMBER_RECV_BAD_SENDER, "no life");
	cr_assert_eq(member_recv(m, now, 1, UINT64_MAX, MEMBER_OP_READY, &(uint64_t){ 1 }, 8),
		MEMBER_RECV_BAD_VALUE);
	cr_assert_eq(beat(1, 4, 0), MEMBER_RECV_BAD_VALUE, "born after its life");
	cr_assert_eq(member_incarnation(m, 1), 0, "nothing of this was believed");
	cr_assert_eq(beat(1, 6, 0), MEMBER_RECV_OK);
	cr_assert_eq(say(1, 6, (struct member_msg){ .op = MEMBER_OP_HEARTBEAT, .born = 6 }, NULL),
		MEMBER_RECV_BAD_VALUE, "one life, two births");
	cr_assert_eq(member_incarnation(m, 1), 6);
	cr_assert_eq(member_born(m, 1), 5);
}

Test(member_rules, who_was_not_introduced_is_not_heard)
{
	uint64_t table[CELLS] = { 0, word_make(5, 5), word_make(5, 5), word_make(5, 5) };
	struct member_msg msg = { .op = MEMBER_OP_PROPOSE, .ballot = ballot_make(1, 1, 5) };

	start(2, CELLS, MEMBER_ONE_KERNEL);
	cr_assert_eq(say(1, 5, msg, table), MEMBER_RECV_UNKNOWN);
	cr_assert_eq(member_incarnation(m, 3), 0);
	take();
	cr_assert_eq(SENDS(ANSWER), 0);
}

Test(member_rules, nobody_speaks_for_another)
{
	uint64_t table[CELLS], other = ballot_make(9, 0, 5), old = ballot_make(9, 1, 4);
	uint64_t mine = ballot_make(9, 1, 5);

	start(2, CELLS, MEMBER_ONE_KERNEL);
	join(0);
	for (uint16_t c = 0; c < CELLS; c++)
		table[c] = word_make(5, 5);
	for (uint16_t op = MEMBER_OP_PROPOSE; op <= MEMBER_OP_RESUME; op++) {
		struct member_msg msg = {
			.op = op, .ballot = other, .seen = other, .verdict = ANSWER_SAME
		};

		cr_assert_eq(say(1, 5, msg, table), MEMBER_RECV_BAD_VALUE, "%x", op);
		msg.ballot = msg.seen = old;
		cr_assert_eq(say(1, 5, msg, table), MEMBER_RECV_BAD_VALUE, "%x", op);
	}
	/* A coordinator that is not live in its own proposal, or in another life. */
	table[1] |= WORD_DEAD;
	cr_assert_eq(
		say(1, 5, (struct member_msg){ .op = MEMBER_OP_COMMIT, .ballot = mine }, table),
		MEMBER_RECV_BAD_VALUE);
	table[1] = word_make(5, 6);
	cr_assert_eq(
		say(1, 5, (struct member_msg){ .op = MEMBER_OP_COMMIT, .ballot = mine }, table),
		MEMBER_RECV_BAD_VALUE);
	take();
	cr_assert_not(member_suspended(m));
	cr_assert_eq(member_incarnation(m, 1), 5);
}

Test(member_rules, a_proposal_that_forgets_is_answered_with_more)
{
	uint64_t table[CELLS];
	struct member_msg msg = { .op = MEMBER_OP_PROPOSE, .ballot = ballot_make(7, 0, 5) };

	start(2, CELLS, MEMBER_ONE_KERNEL);
	join(0);
	member_evidence(m, now, 3, 5, MEMBER_EVIDENCE_HARDWARE);
	take();
	cr_assert_eq(SENDS(REPORT), 1, "told to the coordinator, not decided alone");
	cr_assert_eq(seen.kinds[MEMBER_FENCE], 0);
	for (uint16_t c = 0; c < CELLS; c++)
		table[c] = word_make(5, 5);
	cr_assert_eq(say(0, 5, msg, table), MEMBER_RECV_OK);
	take();
	cr_assert_eq(SAID(ANSWER).verdict, ANSWER_MORE);
	cr_assert(word_dead(member_msg_word(&SAID(ANSWER), 3)));
	/* An earlier ballot is refused, with what has been seen. */
	msg.ballot = ballot_make(6, 1, 5);
	cr_assert_eq(say(1, 5, msg, table), MEMBER_RECV_OK);
	take();
	cr_assert_eq(SAID(ANSWER).verdict, ANSWER_LATER);
	cr_assert_eq(SAID(ANSWER).ballot, msg.ballot);
	cr_assert_eq(SAID(ANSWER).seen, ballot_make(7, 0, 5));
}

Test(member_rules, steps_come_in_order_and_wait_for_each_other)
{
	uint64_t table[CELLS];
	struct member_msg msg = { .op = MEMBER_OP_COMMIT, .ballot = ballot_make(7, 0, 5) };
	struct member_report done = { .kind = MEMBER_FENCE, .cell = 3, .incarnation = 5 };

	start(2, CELLS, MEMBER_ONE_KERNEL);
	join(0);
	for (uint16_t c = 0; c < CELLS; c++)
		table[c] = word_make(5, 5);
	table[3] |= WORD_DEAD;
	cr_assert_eq(say(0, 5, msg, table), MEMBER_RECV_OK);
	take();
	cr_assert_eq(seen.kinds[MEMBER_CELL_DEAD], 1);
	cr_assert_eq(seen.last[MEMBER_CELL_DEAD].evidence, MEMBER_EVIDENCE_TOLD);
	cr_assert_eq(seen.kinds[MEMBER_FENCE], 1);
	cr_assert_eq(seen.last[MEMBER_FENCE].incarnation, 5);
	cr_assert_eq(
		seen.kinds[MEMBER_END_GUESTS] + seen.kinds[MEMBER_DROP_LOANS] + SENDS(READY), 0);
	/* A fence of less than was ordered, and one that fails, hold nothing. */
	done.incarnation = 4;
	member_done(m, now, &done);
	done.incarnation = 5;
	done.result = MEMBER_FAILED;
	member_done(m, now, &done);
	take();
	cr_assert_eq(seen.kinds[MEMBER_END_GUESTS], 0);
	now += 5 * MS;
	member_tick(m, now);
	take();
	cr_assert_eq(seen.kinds[MEMBER_FENCE], 1, "tried again");
	done.result = MEMBER_DONE;
	member_done(m, now, &done);
	take();
	cr_assert_eq(seen.kinds[MEMBER_ABORT_CALLS], 1);
	cr_assert_eq(seen.kinds[MEMBER_DROP_LOANS], 1);
	cr_assert_eq(seen.kinds[MEMBER_END_GUESTS], 1);
	cr_assert(cellset_has(&seen.last[MEMBER_END_GUESTS].cells, 3));
	cr_assert_eq(cellset_count(&seen.last[MEMBER_END_GUESTS].cells), 1);
	cr_assert_eq(SENDS(READY), 0);
	/* RESUME before this cell is ready can't be for it. */
	msg.op = MEMBER_OP_RESUME;
	cr_assert_eq(say(0, 5, msg, NULL), MEMBER_RECV_STALE);
	done = (struct member_report){ .kind = MEMBER_END_GUESTS, .epoch = msg.ballot - 1 };
	member_done(m, now, &done);
	take();
	cr_assert_eq(SENDS(READY), 0, "the end of another epoch's");
	done.epoch = msg.ballot;
	done.result = MEMBER_FAILED;
	member_done(m, now, &done);
	take();
	cr_assert_eq(seen.kinds[MEMBER_END_GUESTS] + SENDS(READY), 0);
	now += 5 * MS;
	member_tick(m, now);
	take();
	cr_assert_eq(seen.kinds[MEMBER_END_GUESTS], 1, "tried again, but not at once");
	done.result = MEMBER_DONE;
	member_done(m, now, &done);
	take();
	cr_assert_eq(SENDS(READY), 1);
	cr_assert(member_suspended(m));
	cr_assert_eq(say(0, 5, msg, NULL), MEMBER_RECV_OK);
	cr_assert_not(member_suspended(m));
	cr_assert_eq(member_state(m, 3), MEMBER_DEAD);
}

Test(member_rules, a_fence_lost_to_the_other_side_ends_this_life)
{
	uint64_t table[CELLS];
	struct member_msg msg = { .op = MEMBER_OP_COMMIT, .ballot = ballot_make(7, 0, 5) };
	const struct member_report done = {
		.kind = MEMBER_FENCE, .cell = 3, .incarnation = 5, .result = MEMBER_REFUSED
	};

	start(2, CELLS, MEMBER_ONE_KERNEL);
	join(0);
	for (uint16_t c = 0; c < CELLS; c++)
		table[c] = word_make(5, 5);
	table[3] |= WORD_DEAD;
	say(0, 5, msg, table);
	member_done(m, now, &done);
	take();
	cr_assert_eq(seen.kinds[MEMBER_STOP_SELF], 1);
	cr_assert_eq(beat(0, 5, 0), MEMBER_RECV_STALE);
	member_tick(m, now + SECOND_NS);
	take();
	cr_assert_eq(seen.kinds[MEMBER_SEND], 0);
}

Test(member_rules, silence_alone_kills_nobody)
{
	static const uint16_t others[] = { 1, 2, CELLSET_NONE };

	/* 3 falls silent; 0 is in charge and asks again and again, whatever it is told but proof.
	 */
	start(0, CELLS, MEMBER_ONE_KERNEL);
	join(1);
	forget();
	pass(80 * MS, others);
	cr_assert_eq(seen.events[MEMBER_EVENT_SUSPECT], 1);
	cr_assert_geq(seen.kinds[MEMBER_GATHER], 1);
	cr_assert_eq(seen.last[MEMBER_GATHER].cell, 3);
	cr_assert_eq(seen.last[MEMBER_GATHER].incarnation, 5);
	cr_assert_eq(member_state(m, 3), MEMBER_SUSPECT);
	for (int i = 0; i < 50; i++) {
		member_evidence(m, now, 3, 5, MEMBER_EVIDENCE_NONE);
		forget();
		pass(100 * MS, others);
		cr_assert_geq(seen.kinds[MEMBER_GATHER], 1);
		cr_assert_eq(SENDS(PROPOSE), 0);
		cr_assert_eq(seen.kinds[MEMBER_RESTART], 0);
	}
	/* It speaks: nothing has happened. */
	beat(3, 5, member_epoch(m));
	take();
	cr_assert_eq(seen.events[MEMBER_EVENT_HEARD], 1);
	cr_assert_eq(member_state(m, 3), MEMBER_ALIVE);
	/* Proof against a cell that speaks is late. */
	member_evidence(m, now, 3, 5, MEMBER_EVIDENCE_NO_CPU);
	take();
	cr_assert_eq(SENDS(PROPOSE), 0);
	cr_assert_eq(member_state(m, 3), MEMBER_ALIVE);
}

Test(member_rules, proof_is_what_starts_a_round)
{
	static const uint16_t others[] = { 1, 2, CELLSET_NONE };

	start(0, CELLS, MEMBER_ONE_KERNEL);
	join(1);
	forget();
	pass(80 * MS, others);
	member_evidence(m, now, 3, 4, MEMBER_EVIDENCE_NO_CPU);
	take();
	cr_assert_eq(SENDS(PROPOSE), 0, "about an earlier life");
	member_evidence(m, now, 3, 5, MEMBER_EVIDENCE_NO_CPU);
	take();
	cr_assert_eq(SENDS(PROPOSE), 2, "to 1 and 2, not to the dead");
	cr_assert(word_dead(member_msg_word(&SAID(PROPOSE), 3)));
	cr_assert_eq(seen.kinds[MEMBER_FENCE], 0, "not agreed yet");
	cr_assert_eq(member_state(m, 3), MEMBER_SUSPECT);
}

Test(member_rules, who_is_not_in_charge_leaves_it_to_who_is)
{
	static const uint16_t lower_speaks[] = { 1, CELLSET_NONE };

	/* 2 and 0 and 3 are silent to 2's eyes but 1 speaks: 1 acts, not 2. */
	start(2, CELLS, MEMBER_ONE_KERNEL);
	join(0);
	forget();
	pass(200 * MS, lower_speaks);
	cr_assert_eq(seen.kinds[MEMBER_GATHER], 0);
	cr_assert_eq(seen.events[MEMBER_EVENT_SUSPECT], 2);
	forget();
	pass(100 * MS, NULL);
	cr_assert_geq(seen.kinds[MEMBER_GATHER], 1, "1 is silent too: now it is this cell");
}

Test(member_rules, a_monitor_is_restarted_once_and_its_life_claimed)
{
	static const uint16_t others[] = { 1, 2, CELLSET_NONE };
	struct member_report done = { .kind = MEMBER_RESTART, .cell = 3, .incarnation = 6 };

	start(0, CELLS, MEMBER_ONE_KERNEL);
	join(1);
	member_evidence(m, now, 3, 5, MEMBER_EVIDENCE_PROCESS_GONE);
	member_evidence(m, now, 3, 5, MEMBER_EVIDENCE_PROCESS_GONE);
	take();
	cr_assert_eq(seen.kinds[MEMBER_RESTART], 1);
	cr_assert_eq(seen.last[MEMBER_RESTART].incarnation, 6);
	cr_assert_eq(seen.last[MEMBER_RESTART].born, 5);
	cr_assert_eq(member_state(m, 3), MEMBER_RESTARTING);
	/* Another one was faster and has started life 8. */
	done.result = MEMBER_REFUSED;
	done.incarnation = 8;
	member_done(m, now, &done);
	cr_assert_eq(beat(3, 5, 0), MEMBER_RECV_STALE, "the old one is over");
	forget();
	pass(40 * MS, others);
	cr_assert_eq(seen.kinds[MEMBER_RESTART], 0);
	cr_assert_eq(seen.kinds[MEMBER_GATHER], 0);
	member_evidence(m, now, 3, 7, MEMBER_EVIDENCE_PROCESS_GONE);
	take();
	cr_assert_eq(seen.kinds[MEMBER_RESTART], 0, "not the life that is awaited");
	/* It never speaks: looked at again, and the next one is life 9. */
	forget();
	pass(SECOND_NS, others);
	cr_assert_eq(seen.last[MEMBER_GATHER].incarnation, 8);
	member_evidence(m, now, 3, 8, MEMBER_EVIDENCE_PROCESS_GONE);
	forget();
	pass(20 * MS, others);
	cr_assert_eq(seen.last[MEMBER_RESTART].incarnation, 9);
	cr_assert_eq(beat(3, 9, 0), MEMBER_RECV_OK);
	take();
	cr_assert_eq(member_incarnation(m, 3), 9);
	cr_assert_eq(SENDS(PROPOSE), 3, "a new life is agreed on like everything else");
	/* One that ends before it has spoken is followed by the next without that wait. */
	member_evidence(m, now, 3, 9, MEMBER_EVIDENCE_PROCESS_GONE);
	pass(50 * MS, others);
	cr_assert_eq(seen.last[MEMBER_RESTART].incarnation, 10);
	member_evidence(m, now, 3, 10, MEMBER_EVIDENCE_PROCESS_GONE);
	pass(100 * MS, others);
	cr_assert_eq(seen.last[MEMBER_RESTART].incarnation, 11);
}

Test(member_rules, restarts_that_do_not_help_become_rare)
{
	static const uint16_t others[] = { 1, 2, CELLSET_NONE };
	unsigned restarts = 0;

	start(0, CELLS, MEMBER_ONE_KERNEL);
	join(1);
	for (int i = 0; i < 1000; i++) {
		member_evidence(m, now, 3, 500, MEMBER_EVIDENCE_PROCESS_GONE);
		forget();
		pass(10 * MS, others);
		restarts += seen.kinds[MEMBER_RESTART];
	}
	cr_assert_gt(restarts, 5);
	cr_assert_lt(restarts, 20);
}

Test(member_rules, a_lost_link_is_looked_into_but_proves_nothing)
{
	start(0, CELLS, MEMBER_ONE_KERNEL);
	join(1);
	member_link(m, now, 3, 4, false);
	take();
	cr_assert_eq(seen.kinds[MEMBER_GATHER], 0, "of an earlier life");
	member_link(m, now, 3, 5, false);
	take();
	cr_assert_eq(seen.kinds[MEMBER_GATHER], 1);
	member_evidence(m, now, 3, 5, MEMBER_EVIDENCE_CPU_ANSWERS);
	take();
	cr_assert_eq(seen.kinds[MEMBER_RESTART], 0, "the monitor lives: wait for its link");
	member_link(m, now, 3, 5, true);
	take();
	cr_assert_eq(SENDS(HEARTBEAT), 1);
}

Test(member_rules, being_late_does_not_look_like_the_silence_of_others)
{
	start(0, CELLS, MEMBER_ONE_KERNEL);
	join(1);
	member_tick(m, now);
	now += 10 * SECOND_NS;
	member_tick(m, now);
	take();
	cr_assert_eq(seen.events[MEMBER_EVENT_SUSPECT], 0);
	cr_assert_eq(seen.kinds[MEMBER_GATHER], 0);
}

Test(member_rules, told_to_be_dead_it_stops)
{
	start(2, CELLS, MEMBER_ONE_KERNEL);
	join(0);
	say(1, 5, (struct member_msg){ .op = MEMBER_OP_STALE, .ballot = word_make(5, 5) }, NULL);
	take();
	cr_assert_eq(seen.kinds[MEMBER_STOP_SELF], 0, "that is this very life");
	say(1, 5,
		(struct member_msg){ .op = MEMBER_OP_STALE, .ballot = word_make(5, 5) | WORD_DEAD },
		NULL);
	take();
	cr_assert_eq(seen.kinds[MEMBER_STOP_SELF], 1);
}

Test(member_rules, evidence_is_everyones_but_acting_on_it_is_not)
{
	static const uint16_t others[] = { 0, 1, CELLSET_NONE };

	start(2, CELLS, MEMBER_ONE_KERNEL);
	join(0);
	member_evidence(m, now, 3, 5, MEMBER_EVIDENCE_PROCESS_GONE);
	forget();
	pass(200 * MS, others);
	cr_assert_eq(seen.kinds[MEMBER_RESTART], 0);
	cr_assert_eq(seen.kinds[MEMBER_GATHER], 0);
	/* The lower ones fall silent: now it is up to this cell. */
	pass(100 * MS, NULL);
	cr_assert_geq(seen.kinds[MEMBER_RESTART], 1);
}

Test(member_rules, a_later_life_of_a_dead_boot_is_dead_too)
{
	start(0, CELLS, MEMBER_ONE_KERNEL);
	join(1);
	member_evidence(m, now, 3, 5, MEMBER_EVIDENCE_HARDWARE);
	take();
	cr_assert_eq(beat(3, 6, 0), MEMBER_RECV_STALE, "born 5 like the one that died");
	take();
	cr_assert_eq(SENDS(STALE), 1);
	cr_assert(word_dead(SAID(STALE).ballot));
	cr_assert_eq(say(3, 6, (struct member_msg){ .op = MEMBER_OP_HEARTBEAT, .born = 6 }, NULL),
		MEMBER_RECV_OK, "but a fresh start is not");
	cr_assert_eq(member_born(m, 3), 6);
}

Test(member_rules, a_view_of_an_earlier_ballot_comes_too_late)
{
	uint64_t table[CELLS], epoch;

	start(2, CELLS, MEMBER_ONE_KERNEL);
	epoch = join(0);
	for (uint16_t c = 0; c < CELLS; c++)
		table[c] = word_make(5, 5);
	say(1, 5, (struct member_msg){ .op = MEMBER_OP_PROPOSE, .ballot = ballot_make(9, 1, 5) },
		table);
	cr_assert_eq(say(0, 5,
			     (struct member_msg){
				     .op = MEMBER_OP_COMMIT, .ballot = ballot_make(8, 0, 5) },
			     table),
		MEMBER_RECV_STALE);
	cr_assert_eq(member_epoch(m), epoch);
}

/* 0 has proposed and then nothing more comes of it. */
static void leave_open(uint16_t self, uint64_t ballot)
{
	uint64_t table[CELLS];

	start(self, CELLS, MEMBER_ONE_KERNEL);
	join(0);
	for (uint16_t c = 0; c < CELLS; c++)
		table[c] = word_make(5, 5);
	say(0, 5, (struct member_msg){ .op = MEMBER_OP_PROPOSE, .ballot = ballot }, table);
	take();
}

Test(member_rules, a_coordinator_that_forgot_its_round_is_replaced)
{
	static const uint16_t all[] = { 0, 2, 3, CELLSET_NONE };
	uint64_t ballot = ballot_make(7, 0, 5);

	leave_open(1, ballot);
	for (int i = 0; i < 40; i++) { /* it beats, and says that it still leads */
		say(0, 5,
			(struct member_msg){ .op = MEMBER_OP_HEARTBEAT,
				.born = 5,
				.ballot = member_epoch(m),
				.seen = ballot },
			NULL);
		pass(10 * MS, all + 1);
		cr_assert_eq(SENDS(REPORT) + SENDS(PROPOSE), 0);
	}
	pass(100 * MS, all); /* it beats, and says that it leads nothing */
	cr_assert_geq(SENDS(REPORT), 1);
}

Test(member_rules, a_coordinator_that_was_restarted_is_replaced_at_once)
{
	leave_open(1, ballot_make(7, 0, 5));
	cr_assert_eq(beat(0, 6, 0), MEMBER_RECV_OK);
	take();
	cr_assert_eq(SENDS(PROPOSE), 3);
}

Test(member_rules, an_answer_with_more_is_no_consent)
{
	uint64_t table[CELLS];
	struct member_msg answer = { .op = MEMBER_OP_ANSWER, .verdict = ANSWER_SAME };
	uint64_t epoch;

	start(0, CELLS, MEMBER_ONE_KERNEL);
	epoch = join(1);
	member_evidence(m, now, 3, 5, MEMBER_EVIDENCE_HARDWARE);
	take();
	answer.ballot = answer.seen = SAID(PROPOSE).ballot;
	cr_assert_eq(say(1, 5, answer, NULL), MEMBER_RECV_OK);
	for (uint16_t c = 0; c < CELLS; c++)
		table[c] = word_make(5, 5);
	table[1] |= WORD_DEAD;
	answer.verdict = ANSWER_MORE;
	say(2, 5, answer, table);
	take();
	cr_assert_eq(member_epoch(m), epoch, "nothing was agreed");
	cr_assert_eq(SENDS(COMMIT), 0);
	cr_assert_eq(SENDS(PROPOSE), 1, "again, to 2 alone");
	cr_assert_gt(SAID(PROPOSE).ballot, answer.ballot);
	/* An answer to the earlier ballot does not count for the later. */
	answer.verdict = ANSWER_SAME;
	cr_assert_eq(say(2, 5, answer, NULL), MEMBER_RECV_STALE);
	cr_assert_eq(member_epoch(m), epoch);
	answer.ballot = answer.seen = SAID(PROPOSE).ballot;
	cr_assert_eq(say(2, 5, answer, NULL), MEMBER_RECV_OK);
	take();
	cr_assert_eq(member_epoch(m), answer.ballot);
	cr_assert_eq(SENDS(COMMIT), 1);
	cr_assert_eq(seen.kinds[MEMBER_FENCE], 2);
}

Test(member_rules, nobody_founds_a_machine_beside_one_that_has_a_view)
{
	start(0, 3, MEMBER_ONE_KERNEL);
	beat(1, 5, 0);
	take();
	cr_assert_eq(SENDS(PROPOSE), 0, "2 is not accounted for");
	beat(2, 5, ballot_make(3, 2, 5));
	pass(20 * MS, NULL);
	cr_assert_eq(SENDS(PROPOSE), 0, "2 has a view: it will let this cell in");
	start(0, 3, MEMBER_ONE_KERNEL);
	beat(1, 5, 0);
	beat(2, 5, 0);
	take();
	cr_assert_eq(SENDS(PROPOSE), 2);
}

Test(member_rules, a_cell_that_came_back_unseen_has_died)
{
	uint64_t table[CELLS];
	struct member_msg msg = { .op = MEMBER_OP_COMMIT, .ballot = ballot_make(7, 0, 5) };

	start(2, CELLS, MEMBER_ONE_KERNEL);
	join(0);
	for (uint16_t c = 0; c < CELLS; c++)
		table[c] = word_make(5, 5);
	table[3] = word_make(8, 8);
	cr_assert_eq(say(0, 5, msg, table), MEMBER_RECV_OK);
	take();
	cr_assert_eq(seen.kinds[MEMBER_CELL_DEAD], 1);
	cr_assert_eq(seen.kinds[MEMBER_FENCE], 1);
	cr_assert_eq(seen.last[MEMBER_FENCE].incarnation, 7, "all lives before this one");
	cr_assert_eq(seen.events[MEMBER_EVENT_JOINED], 1);
	cr_assert_eq(SENDS(READY), 0);
}

Test(member_rules, ready_is_said_of_the_view_that_it_holds_for)
{
	uint64_t table[CELLS];
	struct member_msg msg = { .op = MEMBER_OP_COMMIT, .ballot = ballot_make(7, 0, 5) };

	start(2, CELLS, MEMBER_ONE_KERNEL);
	join(0);
	for (uint16_t c = 0; c < CELLS; c++)
		table[c] = word_make(5, 5);
	say(0, 5, msg, table);
	/* Before that is taken out, the next view buries a cell. */
	table[3] |= WORD_DEAD;
	msg.ballot = ballot_make(8, 0, 5);
	say(0, 5, msg, table);
	take();
	cr_assert_eq(SENDS(READY), 0);
	cr_assert_eq(seen.kinds[MEMBER_FENCE], 1);
}

Test(member_rules, the_dead_are_not_written_to)
{
	static const uint16_t others[] = { 1, 2, CELLSET_NONE };

	start(0, CELLS, MEMBER_ONE_KERNEL);
	join(1);
	pass(20 * MS, others);
	member_evidence(m, now, 3, 5, MEMBER_EVIDENCE_HARDWARE);
	take();
	member_link(m, now, 3, 5, true);
	take();
	cr_assert_eq(seen.kinds[MEMBER_SEND], 0);
	pass(100 * MS, others);
	for (unsigned i = 0; i < 16; i++)
		cr_assert(!seen.ops[i] || seen.to[i] != 3, "op %u", i);
}
