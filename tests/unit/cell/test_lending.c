/* SPDX-License-Identifier: BSD-2-Clause */
/* The ledger that guest processes keep, and the mover, on whatever node there is. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor/cell/ledger.h"
#include "monitor/cell/lending_internal.h"
#include "monitor/cell/moving.h"
#include "monitor/guest/memory.h"
#include "monitor/guest/report.h"

static struct borrower full(void)
{
	struct borrower b = { .number = 7, .hold_count = 2 };

	ram_append(&b.layout, 3, 100);
	ram_append(&b.layout, 5, 20);
	ram_append(&b.layout, 3, 8);
	b.holds[0] = (struct hold){ .line = { .id = 9ull << 32 | 4,
					    .units = 12,
					    .lender_born = 2,
					    .borrower_born = 8,
					    .guest = 7,
					    .os_node = 5,
					    .lender = 1,
					    .borrower = 6,
					    .state = LOAN_HELD },
		.asked_for = true };
	b.holds[1] = b.holds[0];
	b.holds[1].line.id++;
	b.holds[1].line.units = 8;
	b.holds[1].asked_for = false;
	return b;
}

Test(ledger, survives)
{
	struct borrower b = full(), back = { .number = 0 };
	json_t *ledger = ledger_encode(&b);

	cr_assert_not_null(ledger);
	cr_assert(ledger_decode(ledger, &back));
	cr_assert_eq(back.number, 7);
	cr_assert_eq(back.layout.count, 3);
	cr_assert_eq(ram_on(&back.layout, 3), 108);
	cr_assert_eq(back.layout.ranges[1].os_node, 5);
	cr_assert_eq(back.layout.ranges[1].units, 20);
	cr_assert_eq(back.layout.ranges[2].units, 8);
	cr_assert_eq(back.hold_count, 2);
	for (uint32_t i = 0; i < 2; i++) {
		const struct hold *h = &back.holds[i], *wanted = &b.holds[i];

		cr_assert_eq(h->line.id, wanted->line.id);
		cr_assert_eq(h->line.units, wanted->line.units);
		cr_assert_eq(h->line.lender_born, 2);
		cr_assert_eq(h->line.borrower_born, 8);
		cr_assert_eq(h->line.guest, 7);
		cr_assert_eq(h->line.os_node, 5);
		cr_assert_eq(h->line.lender, 1);
		cr_assert_eq(h->line.borrower, 6);
		cr_assert_eq(h->line.state, LOAN_HELD);
		cr_assert_eq(h->asked_for, wanted->asked_for);
	}
	json_decref(ledger);
}

Test(ledger, the_largest_fits_into_what_a_guest_process_keeps)
{
	struct borrower b = full();
	struct ledger_visit visits[SPEC_CPUS_MAX];
	json_t *ledger;

	for (uint32_t i = 0; i < SPEC_CPUS_MAX; i++)
		visits[i] = (struct ledger_visit){ i, CELLS_MAX - 1, UINT32_MAX, 1 };
	b.layout.count = 0;
	for (uint32_t i = 0; i < RAM_RANGES_MAX; i++)
		ram_append(&b.layout, BIND_NODES - 1 - i % 2, 8000000);
	b.number = INT32_MAX;
	b.hold_count = HOLDS_MAX;
	for (uint32_t i = 0; i < HOLDS_MAX; i++)
		b.holds[i] = (struct hold){ .line = { .id = INT64_MAX - i,
						    .units = LOANS_UNITS_MAX,
						    .lender_born = UINT32_MAX,
						    .borrower_born = UINT32_MAX,
						    .os_node = BIND_NODES - 1,
						    .lender = CELLS_MAX - 1,
						    .borrower = CELLS_MAX - 1 } };
	ledger = ledger_encode(&b);
	ledger_add_visits(ledger, visits, SPEC_CPUS_MAX);
	json_object_set_new(ledger, MOVING_FROM, json_integer(CELLS_MAX - 1));
	cr_assert_leq(json_dumpb(ledger, NULL, 0, JSON_COMPACT), REPORT_LEDGER_BYTES_MAX);
	cr_assert(ledger_decode(ledger, &b));
	json_decref(ledger);
}

Test(ledger, visits_survive_beside_the_loans)
{
	const struct ledger_visit visits[] = { { 1, 5, 2, 0 }, { 2, 0, UINT32_MAX, 1 },
		{ 6, 5, 9, 0 } };
	struct ledger_visit back[SPEC_CPUS_MAX];
	struct borrower b = full(), again = { .number = 0 };
	json_t *ledger = ledger_encode(&b);
	uint32_t count = 99;

	cr_assert(ledger_visits(ledger, 7, 3, 6, back, &count));
	cr_assert_eq(count, 0);
	cr_assert(ledger_visits(NULL, 7, 3, 6, back, &count));
	cr_assert_eq(count, 0);
	ledger_add_visits(ledger, visits, 0);
	cr_assert_null(json_object_get(ledger, LEDGER_VISITS));
	ledger_add_visits(ledger, visits, 3);
	cr_assert(ledger_visits(ledger, 7, 3, 6, back, &count));
	cr_assert_eq(count, 3);
	cr_assert_arr_eq(back, visits, sizeof(visits));
	cr_assert(ledger_decode(ledger, &again), "they don't disturb the loans");
	cr_assert_eq(again.hold_count, 2);
	json_decref(ledger);
}

Test(ledger, refuses_visits_that_cannot_be)
{
	/* Of a guest with 3 vCPUs, at home in cell 3 of 6. */
	static const char *const table[] = { "7", "{}", "null", "\"0,1,1,0\"", "[0]", "[0,1]",
		"[0,1,1]", "[0,1,1,0,2]", "[3,1,1,0]", "[-1,1,1,0]", "[0,6,1,0]", "[0,-1,1,0]",
		"[0,3,1,0]", "[0,1,0,0]", "[0,1,-1,0]", "[0,1,4294967296,0]", "[0.0,1,1,0]",
		"[0,\"1\",1,0]", "[0,1,null,0]", "[0,1,1,2]", "[0,1,1,-1]", "[0,1,1,true]",
		"[0,1,1,0,0,2,1,0]", "[1,1,1,0,0,1,1,0]", "[0,1,1,0,1,1,1,0,2,1,1,0,2,1,1,0]" };
	struct ledger_visit visits[SPEC_CPUS_MAX];
	uint32_t count;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		json_t *ledger = json_object();

		json_object_set_new(
			ledger, LEDGER_VISITS, json_loads(table[i], JSON_DECODE_ANY, NULL));
		count = 99;
		cr_assert_not(
			ledger_visits(ledger, 3, 3, 6, visits, &count), "accepted: %s", table[i]);
		cr_assert_eq(count, 0);
		json_decref(ledger);
	}
}

Test(ledger, refuses)
{
	static const char loan[] = "{\"id\":1,\"units\":1,\"node\":5,\"lender\":1,"
				   "\"lender_born\":1,\"borrower\":2,\"borrower_born\":1}";
	static const char *const table[] = {
		"{}",
		"{\"number\":1,\"memory\":[1,2]}",
		"{\"number\":0,\"memory\":[1,2],\"loans\":[LOAN]}",
		"{\"number\":-1,\"memory\":[1,2],\"loans\":[]}",
		"{\"number\":1,\"memory\":[],\"loans\":[]}",
		"{\"number\":1,\"memory\":[1],\"loans\":[]}",
		"{\"number\":1,\"memory\":[1,0],\"loans\":[]}",
		"{\"number\":1,\"memory\":[1024,1],\"loans\":[]}",
		"{\"number\":1,\"memory\":[1,-1],\"loans\":[]}",
		"{\"number\":1,\"memory\":[1,2],\"loans\":[{}]}",
		"{\"number\":1,\"memory\":[1,2],\"loans\":[],\"x\":1}",
		"{\"number\":1,\"memory\":[1,2],\"loans\":[LOAN,LOAN]}",
		"{\"number\":1,\"memory\":[1,2],\"loans\":{}}",
	};
	struct borrower b, before;

	memset(&b, 0x55, sizeof(b));
	before = b;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char text[1024] = "";
		const char *at = table[i], *mark;
		json_t *value;

		while ((mark = strstr(at, "LOAN"))) {
			strncat(text, at, (size_t)(mark - at));
			strcat(text, loan);
			at = mark + 4;
		}
		strcat(text, at);
		value = json_loads(text, 0, NULL);
		cr_assert_not_null(value, "%s", text);
		cr_assert_not(ledger_decode(value, &b), "accepted: %s", text);
		cr_assert_eq(memcmp(&b.holds, &before.holds, sizeof(b.holds)), 0, "changed by: %s",
			text);
		json_decref(value);
	}
}

/* --- the mover --- */

struct ended {
	int count;
	struct mover_result result;
};

static void on_ended(void *ctx, const struct mover_result *result)
{
	struct ended *e = ctx;

	e->count++;
	e->result = *result;
}

static void turn_until_ended(struct loop *loop, const struct ended *e)
{
	for (int i = 0; i < 1000 && e->count == 0; i++)
		loop_turn(loop, 20);
	cr_assert_eq(e->count, 1);
}

#define RAM_BYTES (64u * 4096u)

/* A process that maps RAM and has touched the first `pages` of it. */
static pid_t toucher(int ram, size_t pages)
{
	int ready[2];
	char byte;
	pid_t pid;

	cr_assert_eq(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		char *at = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, ram, 0);

		for (size_t i = 0; i < pages; i++)
			at[i * 4096] = 1;
		(void)!write(ready[1], "r", 1);
		for (;;)
			pause();
	}
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

Test(mover, counts_what_is_where_it_should_be)
{
	struct mover_order o = { .piece_count = 1, .pieces[0] = { 8 * 4096, 16 * 4096, 0 } };
	struct ended e = { 0 };
	struct mover_job *job;
	struct mover *m;
	struct loop loop;
	pid_t pid;

	o.ram_fd = memfd_create(GUEST_MEMORY_NAME, MFD_CLOEXEC);
	cr_assert_eq(ftruncate(o.ram_fd, RAM_BYTES), 0);
	pid = toucher(o.ram_fd, 12);
	o.proc.pid = pid;
	cr_assert_eq(proc_start_time(pid, &o.proc.start_time), 0);
	cr_assert_eq(loop_init(&loop), 0);
	cr_assert_eq(mover_open(&m, &loop), 0);
	cr_assert_eq(mover_start(m, &o, on_ended, &e, &job), 0);
	turn_until_ended(&loop, &e);
	cr_assert_eq(e.result.rc, 0, "%s", e.result.e.text);
	cr_assert_eq(e.result.pages, 4, "pages 8 to 11 are there, 12 to 23 are not: %d",
		(int)e.result.pages);
	cr_assert_eq(e.result.left, 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	mover_close(m);
	loop_fini(&loop);
}

Test(mover, a_node_that_is_not_there_is_an_error)
{
	struct mover_order o = { .piece_count = 1, .pieces[0] = { 0, 4096, 1000 } };
	struct ended e = { 0 };
	struct mover_job *job;
	struct mover *m;
	struct loop loop;
	pid_t pid;

	o.ram_fd = memfd_create(GUEST_MEMORY_NAME, MFD_CLOEXEC);
	cr_assert_eq(ftruncate(o.ram_fd, RAM_BYTES), 0);
	pid = toucher(o.ram_fd, 1);
	o.proc.pid = pid;
	cr_assert_eq(proc_start_time(pid, &o.proc.start_time), 0);
	cr_assert_eq(loop_init(&loop), 0);
	cr_assert_eq(mover_open(&m, &loop), 0);
	cr_assert_eq(mover_start(m, &o, on_ended, &e, &job), 0);
	turn_until_ended(&loop, &e);
	cr_assert_lt(e.result.rc, 0);
	cr_assert(*e.result.e.text);
	/* One that is over, or not wanted any more. */
	o.ram_fd = memfd_create(GUEST_MEMORY_NAME, MFD_CLOEXEC);
	o.proc.start_time++;
	e.count = 0;
	cr_assert_eq(mover_start(m, &o, on_ended, &e, &job), 0);
	mover_cancel(job);
	turn_until_ended(&loop, &e);
	cr_assert_eq(e.result.rc, -ECANCELED);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	mover_close(m);
	loop_fini(&loop);
}
