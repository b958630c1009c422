/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bench_core [--json]: the deciders by themselves, on one CPU, without effects.
 * How many decisions a second the balancers make on machines of several sizes
 * (one vCPU wakes up or goes to sleep before each, which counts in),
 * what a loan costs two books, what a message costs the state machine of
 * membership; and how much memory all of them take per cell and per guest.
 */
#include <argp.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "faultcontain/member.h"
#include "faultcontain/member_table.h"
#include "faultcontain/member_wire.h"
#include "faultcontain/needs.h"
#include "numa/balance.h"
#include "numa/check.h"
#include "numa/loans.h"
#include "numa/visits.h"

#define CPUS_PER_CELL 8u
#define NODES_PER_CELL 2u
#define VCPUS_PER_GUEST 4u
#define MEASURE_S 0.2
#define BATCH 64u
#define UNITS 64u

/* CPU time: other work beside it does not count. */
static double seconds(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t draw(uint64_t *random, uint64_t below)
{
	uint64_t z = *random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (z ^ z >> 31) % below;
}

/* Calls work(ctx) again and again; nanoseconds per call. */
static double measure(void (*work)(void *ctx), void *ctx)
{
	double start, took = 0;
	uint64_t calls = 0;

	work(ctx);
	start = seconds();
	while (took < MEASURE_S) {
		for (uint32_t i = 0; i < BATCH; i++)
			work(ctx);
		calls += BATCH;
		took = seconds() - start;
	}
	return took * 1e9 / (double)calls;
}

/* --- the balancers ------------------------------------------------------------ */

struct bench_machine {
	uint32_t cells;
	uint64_t random, now_ns;
	uint64_t moves, calls;
	struct balance *b;
	struct balance_input in;
	struct balance_cpu *cpus;
	struct balance_vcpu *vcpus;
	struct balance_guest *guests;
	uint8_t *distance;
	void *memory;
};

static void *take(size_t count, size_t bytes)
{
	void *p = calloc(count, bytes);

	CHECK(p != NULL);
	return p;
}

/* As many vCPUs as CPUs, at random CPUs of their guests' homes. */
static void machine_init(struct bench_machine *m, uint32_t cells)
{
	uint32_t cpus = cells * CPUS_PER_CELL, nodes = cells * NODES_PER_CELL;

	*m = (struct bench_machine){ .cells = cells, .random = 1, .now_ns = 1 };
	m->cpus = take(cpus, sizeof(*m->cpus));
	m->vcpus = take(cpus, sizeof(*m->vcpus));
	m->guests = take(cpus / VCPUS_PER_GUEST, sizeof(*m->guests));
	m->distance = take(nodes, nodes);
	for (uint32_t i = 0; i < nodes * nodes; i++) {
		uint32_t from = i / nodes, to = i % nodes;

		m->distance[i] = from == to					? 10
				 : from / NODES_PER_CELL == to / NODES_PER_CELL ? 20
										: 30;
	}
	for (uint32_t i = 0; i < cpus; i++) {
		uint32_t home = i / CPUS_PER_CELL;

		m->cpus[i] = (struct balance_cpu){
			.cell = home, .node = i / (CPUS_PER_CELL / NODES_PER_CELL), .usable = true
		};
		m->vcpus[i] = (struct balance_vcpu){ .guest = i / VCPUS_PER_GUEST,
			.cpu = home * CPUS_PER_CELL + (uint32_t)draw(&m->random, CPUS_PER_CELL),
			.runnable = true };
		balance_need(&m->guests[i / VCPUS_PER_GUEST].needs, home);
		m->guests[i / VCPUS_PER_GUEST].needs_max = 2;
	}
	m->in = (struct balance_input){ .cpu_count = cpus,
		.vcpu_count = cpus,
		.guest_count = cpus / VCPUS_PER_GUEST,
		.node_count = nodes,
		.cpus = m->cpus,
		.vcpus = m->vcpus,
		.guests = m->guests,
		.distance = m->distance };
	m->memory = take(1, balance_bytes(cpus, nodes));
	m->b = balance_start(m->memory, &m->in);
	CHECK(m->b != NULL);
}

static void machine_fini(struct bench_machine *m)
{
	free(m->cpus);
	free(m->vcpus);
	free(m->guests);
	free(m->distance);
	free(m->memory);
}

/* One vCPU wakes up or goes to sleep; so all that is measured has something to do. */
static void change(struct bench_machine *m)
{
	uint32_t vcpu = (uint32_t)draw(&m->random, m->in.vcpu_count);

	m->now_ns++;
	balance_set(m->b, vcpu, m->vcpus[vcpu].cpu, !m->vcpus[vcpu].runnable);
}

static void work_change(void *ctx)
{
	change(ctx);
}

static void work_periodic(void *ctx)
{
	struct bench_machine *m = ctx;
	struct balance_move moves[8];

	change(m);
	m->moves += balance_periodic(m->b, m->now_ns, (uint32_t)draw(&m->random, m->in.cpu_count),
		BALANCE_MACHINE, moves, 8);
	m->calls++;
}

static void work_idle(void *ctx)
{
	struct bench_machine *m = ctx;
	struct balance_move move;
	uint32_t cpu = (uint32_t)draw(&m->random, m->in.cpu_count);

	change(m);
	m->moves += balance_idle(m->b, m->now_ns, cpu, BALANCE_IDLE_FAR_NS, &move);
	m->calls++;
}

static json_t *bench_balance(uint32_t cells)
{
	struct bench_machine m;
	double change_ns, periodic_ns, idle_ns, periodic_moves, idle_moves;

	machine_init(&m, cells);
	change_ns = measure(work_change, &m);
	periodic_ns = measure(work_periodic, &m);
	periodic_moves = (double)m.moves / (double)m.calls;
	machine_fini(&m);
	machine_init(&m, cells);
	idle_ns = measure(work_idle, &m);
	idle_moves = (double)m.moves / (double)m.calls;
	CHECK(balance_check(m.b) == NULL);
	machine_fini(&m);
	return json_pack("{s:i,s:i,s:f,s:f,s:f,s:f,s:f,s:f}", "cells", (int)cells, "cpus",
		(int)(cells * CPUS_PER_CELL), "load_change_ns", change_ns, "periodic_ns",
		periodic_ns, "periodic_moves_per_decision", periodic_moves, "idle_ns", idle_ns,
		"idle_moves_per_decision", idle_moves, "periodic_decisions_per_s",
		1e9 / periodic_ns);
}

/* --- loans -------------------------------------------------------------------- */

struct bench_books {
	struct loans *books[2]; /* 0 borrows of 1 */
	uint64_t now_ns;
};

/* Delivers what books[from] has to say; true if there was something. */
static bool deliver(struct bench_books *b, uint16_t from, uint64_t *granted)
{
	struct loans_action a;
	struct loan_msg msg, reply;
	uint8_t body[LOAN_MSG_BYTES];

	if (!loans_next(b->books[from], &a))
		return false;
	if (a.kind == LOANS_GRANTED)
		*granted = a.line.id;
	if (a.kind != LOANS_SEND)
		return true;
	loan_encode(&a.msg, body);
	CHECK(loan_decode(a.msg.op, body, sizeof(body), &msg));
	if (loans_recv(b->books[!from], b->now_ns, from, &msg, &reply) == LOANS_RECV_REPLY)
		CHECK(loans_recv(b->books[from], b->now_ns, !from, &reply, &msg) != LOANS_RECV_BAD);
	return true;
}

/* Asked, granted, used, returned, confirmed. */
static void work_loan(void *ctx)
{
	struct bench_books *b = ctx;
	uint64_t granted = 0;

	b->now_ns++;
	CHECK(loans_ask(b->books[0], b->now_ns, 7, 1, 1, 1) != 0);
	while (deliver(b, 0, &granted))
		;
	CHECK(granted != 0);
	loans_return(b->books[0], b->now_ns, granted, 0);
	while (deliver(b, 0, &granted))
		;
}

/* With `lines` other loans in both books. */
static json_t *bench_loans(uint32_t lines)
{
	struct bench_books b = { .now_ns = 1 };
	void *memory[2];
	double ns;

	for (uint16_t i = 0; i < 2; i++) {
		const struct loans_cfg cfg = { .self = i,
			.cell_count = 2,
			.incarnation = 1,
			.born = 1,
			.line_max = lines + 2,
			.peer_line_max = lines + 2,
			.retry_ns = 1000000000,
			.patience_ns = 1000000000 };

		memory[i] = take(1, loans_bytes(2, lines + 2));
		b.books[i] = loans_start(memory[i], &cfg, b.now_ns);
		CHECK(b.books[i] != NULL);
		CHECK(loans_offer(b.books[i], i, lines + UNITS));
	}
	for (uint16_t i = 0; i < 2; i++)
		loans_peer(b.books[i], b.now_ns, !i, 1, 1, true);
	for (uint32_t i = 0; i < lines; i++) {
		uint64_t granted = 0;

		CHECK(loans_ask(b.books[0], b.now_ns, i, 1, 1, 1) != 0);
		while (deliver(&b, 0, &granted))
			;
		CHECK(granted != 0);
	}
	ns = measure(work_loan, &b);
	CHECK(loans_lent(b.books[1], 1) == lines);
	free(memory[0]);
	free(memory[1]);
	return json_pack("{s:i,s:f}", "lines", (int)lines, "borrow_and_return_ns", ns);
}

/* --- membership --------------------------------------------------------------- */

struct bench_member {
	struct membership *m;
	uint16_t cells, next;
	uint64_t now_ns;
	uint8_t body[64];
	size_t body_bytes;
};

static void work_heartbeat(void *ctx)
{
	struct bench_member *b = ctx;
	struct member_action a;

	b->now_ns += 10;
	b->next = (uint16_t)(b->next + 1 < b->cells ? b->next + 1 : 1);
	CHECK(member_recv(b->m, b->now_ns, b->next, 1, MEMBER_OP_HEARTBEAT, b->body,
		      b->body_bytes) == MEMBER_RECV_OK);
	while (member_next(b->m, &a))
		;
}

static json_t *bench_member(uint16_t cells)
{
	struct bench_member b = { .cells = cells, .now_ns = 1 };
	const struct member_cfg cfg = { .cell_count = cells,
		.incarnation = 1,
		.born = 1,
		.heartbeat_ns = 1000000000,
		.suspect_ns = 3000000000,
		.evidence_ns = 1000000000,
		.restart_ns = 1000000000,
		.retry_ns = 100000000 };
	/* From cells that have a view, so that this one waits and founds none. */
	const struct member_msg msg = {
		.op = MEMBER_OP_HEARTBEAT, .born = 1, .ballot = ballot_make(1, 1, 1)
	};
	void *memory = take(1, member_bytes(cells));
	double ns;

	b.m = member_start(memory, &cfg, b.now_ns);
	CHECK(b.m != NULL);
	b.body_bytes = member_encode(b.body, &msg, NULL, cells);
	CHECK(b.body_bytes <= sizeof(b.body));
	ns = measure(work_heartbeat, &b);
	free(memory);
	return json_pack("{s:i,s:f,s:I}", "cells", cells, "heartbeat_ns", ns, "bytes",
		(json_int_t)member_bytes(cells));
}

/* --- memory ------------------------------------------------------------------- */

static json_t *memory_of(uint32_t cells)
{
	uint32_t cpus = cells * CPUS_PER_CELL, nodes = cells * NODES_PER_CELL;
	size_t member = member_bytes((uint16_t)cells), book = loans_bytes((uint16_t)cells, 256),
	       balance = balance_bytes(cpus, nodes) + cpus * sizeof(struct balance_cpu) +
			 (size_t)nodes * nodes;

	return json_pack("{s:i,s:I,s:I,s:I}", "cells", (int)cells, "membership", (json_int_t)member,
		"loan_book_of_256_lines", (json_int_t)book, "balancer_of_whole_machine",
		(json_int_t)balance);
}

static json_t *memory_per_guest(void)
{
	size_t needs = sizeof(struct needs),
	       balance =
		       sizeof(struct balance_guest) + VCPUS_PER_GUEST * sizeof(struct balance_vcpu),
	       loan = loans_bytes(2, 2) - loans_bytes(2, 1), visit = sizeof(struct visit);

	return json_pack("{s:I,s:I,s:I,s:I}", "needs", (json_int_t)needs, "balancer",
		(json_int_t)balance, "each_loan", (json_int_t)loan, "each_visit",
		(json_int_t)visit);
}

static json_t *run(void)
{
	static const uint16_t sizes[] = { 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024 };
	static const uint32_t lines[] = { 0, 16, 64, 256, 1024 };
	json_t *balance = json_array(), *loans = json_array(), *member = json_array(),
	       *memory = json_array();

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		json_array_append_new(balance, bench_balance(sizes[i]));
		json_array_append_new(member, bench_member(sizes[i]));
		json_array_append_new(memory, memory_of(sizes[i]));
	}
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		json_array_append_new(loans, bench_loans(lines[i]));
	return json_pack("{s:o,s:o,s:o,s:o,s:o}", "balance", balance, "loans", loans, "membership",
		member, "memory_bytes_of_a_cell", memory, "memory_bytes_of_a_guest_with_4_vcpus",
		memory_per_guest());
}

static double real_of(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

static void print(const json_t *all)
{
	size_t i;
	json_t *row;

	printf("%8s %8s %14s %14s %14s\n", "cells", "CPUs", "load change ns", "periodic ns",
		"idle ns");
	json_array_foreach(json_object_get(all, "balance"), i, row)
	{
		printf("%8.0f %8.0f %14.0f %14.0f %14.0f\n", real_of(row, "cells"),
			real_of(row, "cpus"), real_of(row, "load_change_ns"),
			real_of(row, "periodic_ns"), real_of(row, "idle_ns"));
	}
	json_array_foreach(json_object_get(all, "loans"), i, row)
	{
		printf("borrow and return, %4.0f other loans: %8.0f ns\n", real_of(row, "lines"),
			real_of(row, "borrow_and_return_ns"));
	}
	json_array_foreach(json_object_get(all, "membership"), i, row)
	{
		printf("heartbeat taken, %4.0f cells: %6.0f ns; state %7.0f bytes\n",
			real_of(row, "cells"), real_of(row, "heartbeat_ns"), real_of(row, "bytes"));
	}
}

static error_t option(int key, char *arg, struct argp_state *state)
{
	bool *as_json = state->input;

	(void)arg;
	if (key != 'j')
		return ARGP_ERR_UNKNOWN;
	*as_json = true;
	return 0;
}

int main(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "json", 'j', NULL, 0, "print one JSON object", 0 }, { 0 }
	};
	static const struct argp argp = { .options = options,
		.parser = option,
		.doc = "Measures the deciders by themselves, on one CPU." };
	bool as_json = false;
	json_t *all;

	/* There is one thread. NOLINTNEXTLINE(concurrency-mt-unsafe) */
	if (argp_parse(&argp, argc, argv, 0, NULL, &as_json))
		return 2;
	all = run();
	if (as_json) {
		json_dumpf(all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
		putchar('\n');
	} else {
		print(all);
	}
	json_decref(all);
	return 0;
}
