/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <string.h>

#include "numa/visits.h"

#define HOME 2u
#define HOST 5u
#define RETRY 100u

static const struct visit_room ROOM = { .ours = true, .usable = true };

static struct visit_msg ask(uint64_t id, uint32_t vcpu, uint32_t cpu)
{
	struct visit_msg m = { .op = VISIT_ASK, .id = id, .vcpu = vcpu, .cpu = cpu };

	strcpy(m.name, "web");
	return m;
}

static struct visit_msg end(uint64_t id)
{
	struct visit_msg m = ask(id, 1, 7);

	m.op = VISIT_END;
	return m;
}

static struct visits *new_home(void)
{
	static struct visits v;

	visits_init(&v);
	return &v;
}

static struct visitors *new_host(void)
{
	static struct visitors v;

	memset(&v, 0, sizeof(v));
	return &v;
}

static uint32_t needs(const struct visits *v, uint32_t *first)
{
	uint32_t cells[VISITS_CELLS_MAX] = { 0 };
	uint32_t count = visits_needs(v, "web", cells);

	*first = cells[0];
	return count;
}

Test(visits, a_visit_from_ask_to_end)
{
	struct visits *v = new_home();
	struct visit *row = visits_ask(v, HOST, "web", 1, 7);
	uint32_t cell;
	uint64_t id;

	cr_assert_not_null(row);
	id = row->id;
	cr_assert_null(visits_ask(v, 6, "web", 1, 9), "one vCPU is at one place");
	cr_assert_not_null(visits_ask(v, 6, "web", 2, 9));
	cr_assert_eq(needs(v, &cell), 0, "a need begins with the grant");
	cr_assert(!visits_leave(v, "web", 1), "it is not there yet");
	cr_assert(visits_answered(v, id, true, VISIT_GRANTED));
	cr_assert(!visits_answered(v, id, true, VISIT_GRANTED), "only once");
	cr_assert_eq(needs(v, &cell), 1);
	cr_assert_eq(cell, HOST);
	cr_assert_null(visits_due(v, HOST, 1, RETRY));
	cr_assert(visits_leave(v, "web", 1));
	cr_assert_eq(needs(v, &cell), 1, "it is there until it has come back");
	cr_assert_null(visits_due(v, 6, 1, RETRY), "not to another cell");
	row = visits_due(v, HOST, 1000, RETRY);
	cr_assert_not_null(row);
	cr_assert_eq(row->id, id);
	cr_assert_null(visits_due(v, HOST, 5000, RETRY), "the call is open");
	cr_assert(!visits_ended(v, id, false));
	cr_assert_eq(needs(v, &cell), 1, "nobody knows what became of it");
	cr_assert_null(visits_due(v, HOST, 1000 + RETRY - 1, RETRY), "not at once again");
	cr_assert_not_null(visits_due(v, HOST, 1000 + RETRY, RETRY));
	cr_assert(visits_ended(v, id, true));
	cr_assert(!visits_ended(v, id, true));
	cr_assert_eq(needs(v, &cell), 0);
	cr_assert_null(visits_find(v, "web", 1));
}

Test(visits, a_refusal_leaves_nothing_and_a_lost_answer_an_end)
{
	struct visits *v = new_home();
	uint64_t refused = visits_ask(v, HOST, "web", 1, 7)->id, lost;
	uint32_t cell;

	cr_assert(!visits_answered(v, refused, true, VISIT_BUSY));
	cr_assert_null(visits_due(v, HOST, 1, RETRY));
	lost = visits_ask(v, HOST, "web", 1, 7)->id;
	cr_assert_gt(lost, refused);
	cr_assert(!visits_answered(v, lost, false, VISIT_GRANTED));
	cr_assert_eq(needs(v, &cell), 0);
	cr_assert_not_null(visits_due(v, HOST, 1, RETRY), "the host may have noted it");
	cr_assert(!visits_ended(v, lost, true), "it never was there, so it does not come back");
	cr_assert_not_null(visits_ask(v, HOST, "web", 1, 7));
}

Test(visits, a_guest_that_ended_and_a_host_that_died)
{
	struct visits *v = new_home();
	uint64_t there = visits_ask(v, HOST, "web", 1, 7)->id, asking;
	uint32_t cell;

	cr_assert(visits_answered(v, there, true, VISIT_GRANTED));
	asking = visits_ask(v, HOST, "web", 2, 8)->id;
	visits_dead(v, HOST);
	cr_assert_eq(needs(v, &cell), 1, "what is there is lost with it, and so is the guest");
	cr_assert(!visits_answered(v, asking, true, VISIT_GRANTED));
	visits_forget(v, "other");
	cr_assert_eq(needs(v, &cell), 1);
	visits_forget(v, "web");
	cr_assert_eq(needs(v, &cell), 0);
	visits_dead(v, HOST);
	cr_assert_null(visits_due(v, HOST, 1, RETRY), "nobody is there to be told");
}

Test(visits, the_host_takes_each_id_once_and_in_order)
{
	struct visitors *h = new_host();
	struct visit_msg m = ask(4, 1, 7), older = ask(3, 2, 8), late = ask(9, 3, 9);
	struct visit_msg e = end(9), e4 = end(4);

	cr_assert_eq(visitors_take(h, HOME, 1, &m, &ROOM), VISIT_GRANTED);
	cr_assert_eq(visitors_take(h, HOME, 1, &m, &ROOM), VISIT_STALE);
	cr_assert_eq(visitors_take(h, HOME, 1, &older, &ROOM), VISIT_STALE);
	cr_assert_eq(h->count, 1);
	cr_assert_eq(visitors_on(h, 7), 1);
	cr_assert_eq(visitors_take(h, HOME, 1, &e, &ROOM), VISIT_ENDED);
	cr_assert_eq(visitors_take(h, HOME, 1, &late, &ROOM), VISIT_STALE,
		"an ASK that comes after its own END");
	cr_assert_eq(h->count, 1);
	cr_assert_eq(visitors_take(h, HOME + 1, 1, &e4, &ROOM), VISIT_ENDED);
	cr_assert_eq(h->count, 1, "another home's id");
	cr_assert_eq(visitors_take(h, HOME, 1, &e4, &ROOM), VISIT_ENDED);
	cr_assert_eq(visitors_take(h, HOME, 1, &e4, &ROOM), VISIT_ENDED);
	cr_assert_eq(h->count, 0);
	m.id = 1;
	cr_assert_eq(
		visitors_take(h, HOME, 2, &m, &ROOM), VISIT_GRANTED, "a new life numbers anew");
	m.id = 100;
	cr_assert_eq(visitors_take(h, HOME, 1, &m, &ROOM), VISIT_STALE, "a former life");
}

Test(visits, when_the_host_refuses)
{
	struct visitors *h = new_host();
	struct visit_room room = ROOM;
	struct visit_msg m = ask(1, 1, 7);

	room.runnable = 1;
	cr_assert_eq(visitors_take(h, HOME, 1, &m, &room), VISIT_BUSY);
	m.id++;
	m.force = true;
	cr_assert_eq(visitors_take(h, HOME, 1, &m, &room), VISIT_GRANTED, "an operator may");
	m = ask(3, 2, 7);
	room.runnable = 0;
	cr_assert_eq(visitors_take(h, HOME, 1, &m, &room), VISIT_BUSY, "a visitor runs there");
	m = ask(4, 2, 8);
	room.usable = false;
	cr_assert_eq(visitors_take(h, HOME, 1, &m, &room), VISIT_NO_CPU);
	m.id++;
	room = (struct visit_room){ .usable = true };
	cr_assert_eq(visitors_take(h, HOME, 1, &m, &room), VISIT_NO_CPU);
	m.id++;
	room = ROOM;
	room.not_now = true;
	cr_assert_eq(visitors_take(h, HOME, 1, &m, &room), VISIT_NOT_NOW);
	cr_assert_eq(h->count, 1);
	h->count = VISITORS_MAX;
	m.id++;
	cr_assert_eq(visitors_take(h, HOME, 1, &m, &ROOM), VISIT_FULL);
	visitors_dead(new_host(), HOME);
}

Test(visits, an_announcement_replaces_what_was_known)
{
	static uint8_t body[VISITS_LIST_BYTES_MAX];
	static const uint32_t cpus[] = { 6, 7, 8 };
	struct visits *v = new_home();
	struct visitors *h = new_host();
	struct visit_msg stale = ask(50, 9, 8), other = ask(1, 0, 6);
	size_t bytes;
	uint64_t id;

	cr_assert_eq(visitors_take(h, HOME, 1, &stale, &ROOM), VISIT_GRANTED);
	cr_assert_eq(visitors_take(h, HOME + 1, 1, &other, &ROOM), VISIT_GRANTED);
	cr_assert_not_null(visits_adopt(v, HOST, "web", 1, 7));
	cr_assert_not_null(visits_adopt(v, HOST + 1, "web", 2, 9));
	cr_assert(!visits_open(v, HOST));
	id = visits_ask(v, HOST, "web", 3, 8)->id;
	cr_assert(visits_open(v, HOST), "that one would be missing");
	cr_assert(!visits_open(v, HOST + 1));
	cr_assert(!visits_answered(v, id, true, VISIT_FULL));
	cr_assert(visits_leave(v, "web", 1));
	bytes = visits_announce(v, HOST, body);
	cr_assert(!visitors_announced(h, HOME, 2, body, bytes, cpus, 1), "CPU 7 is not ours then");
	cr_assert(visitors_announced(h, HOME, 2, body, bytes, cpus, 3));
	cr_assert_eq(h->count, 2);
	cr_assert_eq(visitors_on(h, 7), 1);
	cr_assert_eq(visitors_on(h, 8), 0);
	cr_assert_eq(visitors_on(h, 6), 1, "another home's stays");
	cr_assert(!visitors_announced(h, HOME, 1, body, bytes, cpus, 3), "a former life");
	stale = ask(id, 3, 8);
	cr_assert_eq(visitors_take(h, HOME, 2, &stale, &ROOM), VISIT_STALE);
	visitors_dead(h, HOME);
	cr_assert_eq(h->count, 1);
	for (size_t cut = 0; cut < bytes; cut++)
		cr_assert(!visitors_announced(h, HOME, 2, body, cut, cpus, 3));
	cr_assert_eq(h->count, 1, "nothing of a bad one is taken");
	body[8] = 0;
	cr_assert(!visitors_announced(h, HOME, 2, body, bytes, cpus, 3), "ids above the highest");
}

/* --- loss, repetition, reordering, a host that is replaced --- */

struct flight {
	struct visit_msg m;
	bool used;
};

static uint64_t draw(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return *seed >> 33;
}

/* Delivers something that is under way, maybe twice; the answer may be lost. */
static void deliver(
	struct visits *v, struct visitors *h, struct flight *f, uint32_t count, uint64_t *seed)
{
	struct flight *one = &f[draw(seed) % count];
	struct visit_msg m = one->m;
	enum visit_answer answer;
	bool heard = draw(seed) % 3 != 0;

	if (!one->used)
		return;
	if (draw(seed) % 4 == 0) {
		answer = VISIT_NOT_NOW;
		heard = false; /* lost on its way there */
	} else {
		answer = visitors_take(h, HOME, 1, &m, &ROOM);
	}
	if (draw(seed) % 4 == 0)
		return; /* it will come a second time */
	one->used = false;
	if (m.op == VISIT_ASK)
		visits_answered(v, m.id, heard, answer);
	else
		visits_ended(v, m.id, heard);
}

static bool host_knows(const struct visitors *h, uint32_t vcpu)
{
	for (uint32_t i = 0; i < h->count; i++)
		if (h->rows[i].vcpu == vcpu)
			return true;
	return false;
}

static void send(struct flight *f, uint32_t count, const struct visit *row, enum visit_op op)
{
	for (uint32_t i = 0; i < count; i++)
		if (!f[i].used) {
			f[i].m = ask(row->id, row->vcpu, row->cpu);
			f[i].m.op = op;
			f[i].used = true;
			return;
		}
}

Test(visits, both_books_agree_when_all_is_quiet)
{
	for (uint64_t seed = 1; seed <= 300; seed++) {
		struct visits *v = new_home();
		struct visitors *h = new_host();
		struct flight f[64] = { 0 };
		uint64_t s = seed, now = 1;
		struct visit *row;

		for (uint32_t step = 0; step < 2000; step++) {
			uint32_t vcpu = (uint32_t)draw(&s) % 4;

			now += 50;
			if (step < 1000 && draw(&s) % 4 == 0) {
				row = visits_ask(v, HOST, "web", vcpu, 8 + vcpu);
				if (row)
					send(f, 64, row, VISIT_ASK);
			}
			if (step < 1000 && draw(&s) % 4 == 0)
				visits_leave(v, "web", vcpu);
			row = visits_due(v, HOST, now, RETRY);
			if (row)
				send(f, 64, row, VISIT_END);
			deliver(v, h, f, 64, &s);
			deliver(v, h, f, 64, &s);
			for (uint32_t i = 0; i < 4; i++) {
				row = visits_find(v, "web", i);
				cr_assert(!row || row->state != VISIT_THERE || host_knows(h, i),
					"seed %llu: there, and its host does not know",
					(unsigned long long)seed);
			}
		}
		for (uint32_t i = 0; i < 4; i++) {
			row = visits_find(v, "web", i);
			cr_assert_eq(row && row->state == VISIT_THERE, host_knows(h, i),
				"seed %llu: vCPU %u", (unsigned long long)seed, i);
		}
	}
}

/* --- messages --- */

Test(visits, messages_survive_the_wire)
{
	struct visit_msg m = ask(0x1122334455667788ull, 239, 2047), got;
	uint8_t body[VISIT_MSG_BYTES], a[VISIT_ANSWER_BYTES];

	m.force = true;
	visit_encode(&m, body);
	cr_assert(visit_decode(body, sizeof(body), &got));
	cr_assert(got.op == m.op && got.force && got.id == m.id && got.vcpu == 239);
	cr_assert(got.cpu == 2047 && !strcmp(got.name, "web"));
	for (int i = VISIT_GRANTED; i < VISIT_ANSWER_COUNT; i++) {
		enum visit_answer answer;

		visit_answer_encode((enum visit_answer)i, a);
		cr_assert(visit_answer_decode(a, sizeof(a), &answer));
		cr_assert_eq(answer, (enum visit_answer)i);
		cr_assert_str_neq(visit_answer_text(answer), "unknown");
	}
}

Test(visits, what_is_no_message_is_refused)
{
	static const struct {
		const char *what;
		size_t at;
		uint8_t value;
	} table[] = { { "version", 0, 2 }, { "operation 0", 1, 0 }, { "operation 3", 1, 3 },
		{ "flags", 2, 2 }, { "reserved", 3, 1 }, { "CPU beyond all", 7, 8 },
		{ "no name", 16, 0 }, { "control character", 17, 7 }, { "a blank", 17, ' ' },
		{ "a slash", 18, '/' }, { "not ASCII", 18, 0xc3 },
		{ "text behind the name", 20, 'x' }, { "padding", 55, 1 } };
	struct visit_msg m = ask(1, 2, 3), got;
	uint8_t body[VISIT_MSG_BYTES], bad[VISIT_MSG_BYTES + 1] = { 0 };

	visit_encode(&m, body);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		memcpy(bad, body, sizeof(body));
		bad[table[i].at] = table[i].value;
		cr_assert(!visit_decode(bad, sizeof(body), &got), "%s", table[i].what);
	}
	memcpy(bad, body, sizeof(body));
	cr_assert(!visit_decode(bad, sizeof(body) - 1, &got));
	cr_assert(!visit_decode(bad, sizeof(body) + 1, &got));
	memset(bad + 8, 0, 8);
	cr_assert(!visit_decode(bad, sizeof(body), &got), "id 0");
	memset(bad + 16, 'x', 40);
	bad[8] = 1;
	cr_assert(!visit_decode(bad, sizeof(body), &got), "a name without end");
}

Test(visits, loads_survive_the_wire_and_nothing_else_does)
{
	const struct loads_cpu cpus[3] = { { 0, true }, { 9, false }, { 0xffff, true } };
	uint8_t body[LOADS_BYTES_MAX];
	struct loads_cpu got[4];
	size_t bytes = loads_encode(cpus, 3, body);

	cr_assert_eq(bytes, 10);
	cr_assert(loads_decode(body, bytes, got, 3));
	cr_assert(got[0].usable && !got[1].usable && got[2].usable);
	cr_assert(got[0].runnable == 0 && got[1].runnable == 9 && got[2].runnable == LOADS_MAX);
	cr_assert(!loads_decode(body, bytes, got, 2));
	cr_assert(!loads_decode(body, bytes, got, 4));
	cr_assert(!loads_decode(body, bytes - 1, got, 3));
	body[0] = 2;
	cr_assert(!loads_decode(body, bytes, got, 3), "version");
	body[0] = 1;
	body[1] = 1;
	cr_assert(!loads_decode(body, bytes, got, 3), "reserved");
	body[1] = 0;
	body[2] = 2;
	cr_assert(!loads_decode(body, bytes, got, 3), "another number than the bytes");
}

Test(visits, what_a_new_monitor_of_the_home_makes_of_a_vcpu)
{
	static const struct {
		bool noted, gone;
		uint32_t on;
		enum visit_found wanted;
	} table[] = {
		{ false, false, 4, VISIT_FOUND_HOME },
		{ false, false, 7, VISIT_FOUND_STRAY },
		{ false, false, VISITS_CELLS_MAX, VISIT_FOUND_STRAY },
		{ true, false, 2, VISIT_FOUND_THERE },
		/* It had not begun, or had ended. */
		{ true, false, 4, VISIT_FOUND_HOME },
		/* Its CPUs there have gone, or someone else has moved it. */
		{ true, false, VISITS_CELLS_MAX, VISIT_FOUND_UNCLEAR },
		{ true, false, 7, VISIT_FOUND_UNCLEAR },
		{ true, true, 2, VISIT_FOUND_LOST },
		{ true, true, 4, VISIT_FOUND_LOST },
		{ true, true, 7, VISIT_FOUND_LOST },
		{ true, true, VISITS_CELLS_MAX, VISIT_FOUND_LOST },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct visit_finding f = { .noted = table[i].noted,
			.gone = table[i].gone,
			.host = table[i].noted ? 2 : VISITS_CELLS_MAX,
			.home = 4,
			.on = table[i].on };

		cr_assert_eq(visits_judge(&f), table[i].wanted, "row %zu", i);
	}
}
