/* SPDX-License-Identifier: BSD-2-Clause */
/* The keeper against real processes that play the part of guest processes. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor/cell/keeper_internal.h"
#include "monitor/cell/runtime_lock.h"
#include "monitor/guest/process.h"

#define CELL 3u
#define FAR_NS (keeper_clock_ns() + 60000000000ull)

struct bench {
	char dir[32];
	struct loop loop;
	struct keeper *k;
	char events[64][64]; /* "name guest" */
	size_t event_count, changes;
	/* of the last keeper_done */
	int done;
	struct err e;
	bool failed;
	char state[32], cause[GUEST_CAUSE_BYTES];
};

static void on_event(void *ctx, const struct guest *g, const char *name, const char *cause)
{
	struct bench *b = ctx;

	cr_assert(*cause, "every event has a cause");
	snprintf(b->events[b->event_count++ % 64], 64, "%s %s", name, g->name);
}

static void on_change(void *ctx)
{
	((struct bench *)ctx)->changes++;
}

static void on_done(void *ctx, const struct guest *g, const struct err *e)
{
	struct bench *b = ctx;

	b->done++;
	b->failed = e != NULL;
	if (e)
		b->e = *e;
	snprintf(b->state, sizeof(b->state), "%s", g ? guest_state_name(g->state) : "none");
	snprintf(b->cause, sizeof(b->cause), "%s", g ? g->cause : "");
}

static const struct plan no_plan;

static void open_keeper(struct bench *b, bool newborn)
{
	const struct keeper_cfg cfg = { .loop = &b->loop,
		.dir = b->dir,
		.cell = CELL,
		.plan = &no_plan,
		.exe_fd = open("/bin/false", O_RDONLY | O_CLOEXEC),
		.newborn = newborn,
		.events = { .event = on_event, .changed = on_change, .ctx = b } };
	struct err e;

	cr_assert_eq(keeper_open(&b->k, &cfg, &e), 0, "%s", e.text);
}

static void set_up(struct bench *b)
{
	struct err e;

	memset(b, 0, sizeof(*b));
	strcpy(b->dir, "/tmp/cv-keeper-XXXXXX");
	cr_assert_not_null(mkdtemp(b->dir));
	cr_assert_eq(runtime_make_cell(b->dir, CELL, &e), 0, "%s", e.text);
	cr_assert_eq(loop_init(&b->loop), 0);
	open_keeper(b, true);
}

static void tear_down(struct bench *b)
{
	keeper_close(b->k);
	loop_fini(&b->loop);
	runtime_remove(b->dir);
}

static void turn_until(struct bench *b, const int *condition)
{
	/* Bounded so that a failure ends; success does not depend on time. */
	for (int i = 0; i < 1000 && !*condition; i++)
		loop_turn(&b->loop, 10);
	cr_assert(*condition, "it never happened");
}

static void turn(struct bench *b)
{
	for (int i = 0; i < 20; i++)
		loop_turn(&b->loop, 5);
}

static bool has_event(const struct bench *b, const char *text)
{
	for (size_t i = 0; i < b->event_count && i < 64; i++)
		if (!strcmp(b->events[i], text))
			return true;
	return false;
}

/* A process that does nothing but live, and the socket that its reports come from. */
struct fake {
	struct guest *g;
	struct guest_link *l;
	pid_t pid;
	int sock;
};

static pid_t live_on(void)
{
	pid_t pid = fork();

	if (pid == 0)
		for (;;)
			pause();
	return pid;
}

static struct fake fake_guest(struct bench *b, const char *name)
{
	struct fake f;
	int ends[2];

	cr_assert_eq(guest_book_add(&b->k->book, name, CELL, &f.g), GUEST_ADDED);
	f.pid = live_on();
	f.g->proc.pid = f.pid;
	cr_assert_eq(proc_start_time(f.pid, &f.g->proc.start_time), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	f.l = keeper_link(b->k, f.g, proc_open(&f.g->proc));
	cr_assert_eq(keeper_link_chan(f.l, ends[0]), 0);
	f.sock = ends[1];
	return f;
}

static void report(int sock, const struct guest_report *r, int fd)
{
	json_t *value = guest_report_encode(r);

	cr_assert_eq(report_send(sock, value, fd), 0);
	json_decref(value);
}

static void report_started(const struct fake *f)
{
	const struct guest_report r = {
		.op = REPORT_STARTED, .pid = f->pid, .start_time = f->g->proc.start_time
	};

	report(f->sock, &r, -1);
}

static void report_state(
	const struct fake *f, enum report_state state, const char *cause, int reboots)
{
	struct guest_report r = {
		.op = REPORT_STATE, .state = state, .reboots = (uint64_t)reboots
	};

	strcpy(r.cause, cause);
	report(f->sock, &r, -1);
}

static struct fake running_guest(struct bench *b, const char *name)
{
	struct fake f = fake_guest(b, name);

	report_started(&f);
	turn(b);
	cr_assert_eq(f.g->state, GUEST_RUNNING);
	return f;
}

Test(keeper, a_guest_that_is_killed_has_crashed_by_that_signal)
{
	struct bench b;
	struct fake f;

	set_up(&b);
	f = running_guest(&b, "web");
	cr_assert(has_event(&b, "guest-started web"));
	kill(f.pid, SIGKILL);
	turn(&b);
	cr_assert_eq(f.g->state, GUEST_CRASHED);
	cr_assert(strstr(f.g->cause, "signal 9"), "%s", f.g->cause);
	cr_assert(has_event(&b, "guest-crashed web"));
	cr_assert_null(b.k->links);
	cr_assert_eq(waitpid(f.pid, NULL, WNOHANG), -1, "it was reaped");
	tear_down(&b);
}

Test(keeper, the_last_words_of_a_guest_count_more_than_its_exit)
{
	struct bench b;
	struct fake f;

	set_up(&b);
	f = running_guest(&b, "web");
	report_state(&f, REPORT_CRASHED, "triple fault", 0);
	kill(f.pid, SIGKILL); /* before the monitor has read the report */
	turn(&b);
	cr_assert_eq(f.g->state, GUEST_CRASHED);
	cr_assert_str_eq(f.g->cause, "triple fault");
	f = running_guest(&b, "db");
	report_state(&f, REPORT_STOPPED, "powered off", 0);
	turn(&b);
	cr_assert_eq(f.g->state, GUEST_RUNNING, "as long as its process holds memory");
	kill(f.pid, SIGKILL);
	turn(&b);
	cr_assert_eq(f.g->state, GUEST_STOPPED);
	tear_down(&b);
}

/* The keeper's own second: it asks, and waits for the answer. */
static void seconds(struct bench *b, uint64_t from_ns, int count)
{
	for (int i = 0; i < count; i++)
		keeper_tick(b->k, from_ns + (uint64_t)i * 1000000000u);
}

Test(keeper, a_guest_process_that_does_not_answer_is_silent)
{
	const struct guest_report pong = { .op = REPORT_PONG };
	struct bench b;
	struct fake f;
	const uint64_t t0_ns = FAR_NS;
	json_t *order, *answer = guest_report_encode(&pong);
	int fd;

	set_up(&b);
	f = running_guest(&b, "web");
	seconds(&b, t0_ns, 5);
	cr_assert_not(f.g->silent, "four seconds are not long");
	cr_assert_eq(report_recv(f.sock, &order, &fd), 1);
	cr_assert_str_eq(json_string_value(json_object_get(order, "op")), "ping");
	json_decref(order);
	seconds(&b, t0_ns + 5000000000ull, 1);
	cr_assert(f.g->silent);
	cr_assert(has_event(&b, "guest-silent web"));
	cr_assert_eq(report_send(f.sock, answer, -1), 0);
	turn(&b);
	cr_assert_not(f.g->silent);
	cr_assert(has_event(&b, "guest-heard web"));
	json_decref(answer);
	kill(f.pid, SIGKILL);
	turn(&b);
	tear_down(&b);
}

Test(keeper, a_monitor_that_did_not_run_itself_calls_no_guest_silent)
{
	struct bench b;
	struct fake f;
	const uint64_t t0_ns = FAR_NS;

	set_up(&b);
	f = running_guest(&b, "web");
	seconds(&b, t0_ns, 3);
	seconds(&b, t0_ns + 60000000000ull, 5);
	cr_assert_not(f.g->silent);
	seconds(&b, t0_ns + 65000000000ull, 1);
	cr_assert(f.g->silent);
	kill(f.pid, SIGKILL);
	turn(&b);
	tear_down(&b);
}

Test(keeper, reboots_are_told_once_each)
{
	struct bench b;
	struct fake f;
	size_t before;

	set_up(&b);
	f = running_guest(&b, "web");
	report_state(&f, REPORT_RUNNING, "reset by the guest", 1);
	turn(&b);
	cr_assert_eq(f.g->reboots, 1);
	cr_assert(has_event(&b, "guest-rebooted web"));
	before = b.event_count;
	report_state(&f, REPORT_RUNNING, "reset by the guest", 1);
	turn(&b);
	cr_assert_eq(b.event_count, before);
	kill(f.pid, SIGKILL);
	turn(&b);
	tear_down(&b);
}

Test(keeper, a_ledger_is_sent_again_until_it_is_taken)
{
	struct bench b;
	struct fake f;
	json_t *order;
	int fd, sent = 0;

	set_up(&b);
	f = running_guest(&b, "web");
	cr_assert(keeper_kept(b.k, "web"), "there is none yet");
	/* A process that does not read: its socket fills up. */
	for (int n = 0; n < 100000 && keeper_kept(b.k, "web"); n++, sent++)
		keeper_keep(b.k, "web", json_pack("{s:i}", "n", n));
	cr_assert_not(keeper_kept(b.k, "web"));
	cr_assert_lt(keeper_next_ns(b.k), UINT64_MAX, "it is tried again");
	while (report_recv(f.sock, &order, &fd) == 1) {
		json_t *ledger = json_object_get(order, "ledger");

		cr_assert_str_eq(json_string_value(json_object_get(order, "op")), "keep");
		sent = (int)json_integer_value(json_object_get(ledger, "n"));
		json_decref(order);
		keeper_tick(b.k, keeper_clock_ns());
		if (keeper_kept(b.k, "web"))
			break;
	}
	cr_assert(keeper_kept(b.k, "web"));
	cr_assert_not(keeper_kept(b.k, "nobody"));
	kill(f.pid, SIGKILL);
	turn(&b);
	tear_down(&b);
}

Test(keeper, places_are_told_and_read_back)
{
	struct bench b;
	struct fake f;
	size_t before;

	set_up(&b);
	f = running_guest(&b, "web");
	before = b.changes;
	keeper_place(b.k, "web", (uint32_t[]){ 2, 7 }, (uint64_t[]){ 64, 32 }, 2);
	cr_assert_eq(guest_book_promised(keeper_book(b.k), 7), 32);
	cr_assert_eq(b.changes, before + 1);
	keeper_place(b.k, "web", (uint32_t[]){ 2, 7 }, (uint64_t[]){ 64, 32 }, 2);
	cr_assert_eq(b.changes, before + 1, "nothing new");
	keeper_place(b.k, "web", (uint32_t[]){ 2 }, (uint64_t[]){ 96 }, 1);
	cr_assert_eq(guest_book_promised(keeper_book(b.k), 7), 0);
	cr_assert_eq(keeper_ram(b.k, "web"), -ENOENT, "it sent no memory");
	kill(f.pid, SIGKILL);
	turn(&b);
	tear_down(&b);
}

Test(keeper, memory_errors_are_counted_and_told_but_not_without_end)
{
	struct guest_report r = { .op = REPORT_MEMORY_ERROR,
		.error = { .gpa = 0x5000, .bytes = 4096, .end = MEMORY_ERROR_TOLD } };
	struct bench b;
	struct fake f;
	size_t before;

	set_up(&b);
	f = running_guest(&b, "web");
	before = b.event_count;
	for (unsigned i = 1; i <= 300; i++) {
		json_t *value;

		r.memory_errors = i;
		value = guest_report_encode(&r);
		cr_assert_eq(report_send(f.sock, value, -1), 0);
		json_decref(value);
		turn(&b);
	}
	cr_assert_eq(f.g->memory_errors, 300);
	cr_assert(has_event(&b, "guest-memory-error web"));
	cr_assert_eq(b.event_count - before, 256);
	kill(f.pid, SIGKILL);
	turn(&b);
	cr_assert_eq(f.g->memory_errors, 300, "the record of the ended guest has them");
	tear_down(&b);
}

static void assert_needs(const struct guest *g, uint32_t count, const uint32_t *cells)
{
	cr_assert_eq(g->need_count, count);
	for (uint32_t i = 0; i < count; i++)
		cr_assert_eq(g->needs[i], cells[i], "the %u. is %u", i, g->needs[i]);
}

Test(keeper, needs_are_home_and_the_union_of_all_reasons)
{
	struct bench b;
	struct fake f;
	size_t before;

	set_up(&b);
	f = running_guest(&b, "web");
	assert_needs(f.g, 1, (uint32_t[]){ CELL });
	before = b.changes;
	keeper_need(b.k, "web", KEEPER_NEED_MEMORY, (uint32_t[]){ 5, 1 }, 2);
	assert_needs(f.g, 3, (uint32_t[]){ 1, CELL, 5 });
	keeper_need(b.k, "web", KEEPER_NEED_CPU, (uint32_t[]){ CELL, 5, 63 }, 3);
	assert_needs(f.g, 4, (uint32_t[]){ 1, CELL, 5, 63 });
	cr_assert_eq(b.changes, before + 2, "peers are told of both");
	/* One reason less to need cell 5 is no news. */
	keeper_need(b.k, "web", KEEPER_NEED_MEMORY, (uint32_t[]){ 1 }, 1);
	cr_assert_eq(b.changes, before + 2);
	keeper_need(b.k, "web", KEEPER_NEED_CPU, NULL, 0);
	assert_needs(f.g, 2, (uint32_t[]){ 1, CELL });
	keeper_need(b.k, "web", KEEPER_NEED_MEMORY, NULL, 0);
	assert_needs(f.g, 1, (uint32_t[]){ CELL });
	keeper_need(b.k, "nobody", KEEPER_NEED_CPU, (uint32_t[]){ 1 }, 1);
	kill(f.pid, SIGKILL);
	turn(&b);
	tear_down(&b);
}

Test(keeper, remembered_needs_stay_until_every_reason_is_known)
{
	struct bench b;
	struct guest row = { .name = "web",
		.home = CELL,
		.state = GUEST_RUNNING,
		.needs = { 1, CELL, 5 },
		.need_count = 3 };
	const struct guest *g;

	set_up(&b);
	row.proc.pid = live_on();
	cr_assert_eq(proc_start_time(row.proc.pid, &row.proc.start_time), 0);
	keeper_remember(b.k, &row);
	g = guest_book_find(keeper_book(b.k), "web");
	assert_needs(g, 3, (uint32_t[]){ 1, CELL, 5 });
	keeper_need(b.k, "web", KEEPER_NEED_MEMORY, (uint32_t[]){ 1 }, 1);
	assert_needs(g, 3, (uint32_t[]){ 1, CELL, 5 });
	keeper_need(b.k, "web", KEEPER_NEED_CPU, NULL, 0);
	assert_needs(g, 3, (uint32_t[]){ 1, CELL, 5 });
	keeper_need(b.k, "web", KEEPER_NEED_MOVE, NULL, 0);
	assert_needs(g, 2, (uint32_t[]){ 1, CELL });
	kill(row.proc.pid, SIGKILL);
	turn(&b);
	tear_down(&b);
}

Test(keeper, kill_waits_for_the_end_and_is_no_crash)
{
	struct bench b;
	struct fake f;
	struct err e;

	set_up(&b);
	f = running_guest(&b, "web");
	cr_assert_eq(keeper_kill(b.k, "web", "killed on request", FAR_NS, on_done, &b, &e), 0);
	cr_assert_eq(b.done, 0);
	turn_until(&b, &b.done);
	cr_assert_not(b.failed);
	cr_assert_str_eq(b.state, "stopped");
	cr_assert_str_eq(b.cause, "killed on request");
	cr_assert(has_event(&b, "guest-killed web"));
	cr_assert_lt(keeper_kill(b.k, "web", "again", FAR_NS, on_done, &b, &e), 0);
	cr_assert_eq(e.code, EXIT_CONFLICT);
	cr_assert_lt(keeper_kill(b.k, "nobody", "again", FAR_NS, on_done, &b, &e), 0);
	cr_assert_eq(e.code, EXIT_NOT_FOUND);
	(void)f;
	tear_down(&b);
}

Test(keeper, stop_presses_the_button_and_gives_up_at_the_deadline)
{
	struct bench b;
	struct fake f;
	struct err e;
	json_t *order;
	int fd;

	set_up(&b);
	f = running_guest(&b, "web");
	cr_assert_eq(keeper_stop(b.k, "web", FAR_NS, on_done, &b, &e), 0);
	cr_assert_eq(report_recv(f.sock, &order, &fd), 1);
	cr_assert_str_eq(json_string_value(json_object_get(order, "op")), "stop");
	json_decref(order);
	keeper_tick(b.k, keeper_clock_ns());
	cr_assert_eq(b.done, 0);
	cr_assert_lt(keeper_next_ns(b.k), UINT64_MAX);
	keeper_tick(b.k, FAR_NS);
	cr_assert_eq(b.done, 1);
	cr_assert(b.failed);
	cr_assert_eq(b.e.code, EXIT_NO_ANSWER);
	cr_assert(strstr(b.e.text, "cellvisor kill web"), "%s", b.e.text);
	cr_assert_str_eq(b.state, "running");
	/* It ends later after all: nobody is told twice. */
	kill(f.pid, SIGKILL);
	turn(&b);
	cr_assert_eq(b.done, 1);
	tear_down(&b);
}

Test(keeper, a_start_that_fails_leaves_nothing_and_says_why)
{
	struct bench b;
	struct guest_spec *spec = calloc(1, sizeof(*spec));
	struct guest_home *home = calloc(1, sizeof(*home));
	char path[RUNTIME_PATH_BYTES];
	struct err e;

	set_up(&b);
	guest_spec_init(spec);
	strcpy(spec->name, "bad");
	strcpy(spec->kernel, "/k");
	spec->memory_bytes = 256ull << 20;
	home->cell = CELL;
	home->node_count = home->cpu_count = 1;
	/* /bin/false takes the part of a guest process that dies before it reports. */
	cr_assert_eq(keeper_start(b.k, spec, home, FAR_NS, on_done, &b, &e), 0, "%s", e.text);
	cr_assert_lt(keeper_start(b.k, spec, home, FAR_NS, on_done, &b, &e), 0);
	cr_assert_eq(e.code, EXIT_CONFLICT);
	turn_until(&b, &b.done);
	cr_assert(b.failed);
	cr_assert(strstr(b.e.text, "exit status 1"), "%s", b.e.text);
	cr_assert_eq(b.k->book.count, 0);
	cr_assert_neq(access(runtime_guest_path(path, b.dir, CELL, "bad", NULL), F_OK), 0);
	cr_assert(has_event(&b, "guest-start-failed bad"));
	free(spec);
	free(home);
	tear_down(&b);
}

Test(keeper, the_error_that_a_guest_process_reports_reaches_who_asked)
{
	struct bench b;
	struct fake f;
	struct guest_report r = { .op = REPORT_ERROR, .code = EXIT_INVALID };
	struct waiter *w;

	set_up(&b);
	f = fake_guest(&b, "web");
	w = calloc(1, sizeof(*w));
	w->kind = WAITER_START;
	w->deadline_ns = FAR_NS;
	w->done = on_done;
	w->ctx = &b;
	f.l->waiters = w;
	strcpy(r.text, "/x is not a kernel");
	report(f.sock, &r, -1);
	turn(&b);
	cr_assert_eq(b.done, 0, "not before its process has ended");
	kill(f.pid, SIGKILL);
	turn_until(&b, &b.done);
	cr_assert_eq(b.e.code, EXIT_INVALID);
	cr_assert_str_eq(b.e.text, "/x is not a kernel");
	cr_assert_eq(b.k->book.count, 0);
	tear_down(&b);
}

Test(keeper, nonsense_costs_the_guest_its_socket_and_nothing_else)
{
	struct bench b;
	struct fake f;

	set_up(&b);
	f = running_guest(&b, "web");
	cr_assert_eq(send(f.sock, "{]", 2, 0), 2);
	turn(&b);
	cr_assert_eq(f.l->chan, -1);
	cr_assert_eq(f.g->state, GUEST_RUNNING);
	kill(f.pid, SIGKILL);
	turn(&b);
	cr_assert_eq(f.g->state, GUEST_CRASHED);
	tear_down(&b);
}

/* A child that registers at guests.sock as a guest process does, then waits for an order. */
static pid_t registering_child(const struct bench *b, const char *name, int lie)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct guest_report *r = calloc(1, sizeof(*r));
	struct proc_id self;
	json_t *order;
	int fd, sock = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	runtime_cell_path(addr.sun_path, b->dir, CELL, "guests.sock");
	if (connect(sock, (struct sockaddr *)&addr, sizeof(addr)))
		_exit(2);
	proc_self(&self);
	r->op = REPORT_REGISTER;
	r->pid = self.pid;
	r->start_time = self.start_time + (uint64_t)lie;
	r->state = REPORT_RUNNING;
	r->reboots = 4;
	guest_spec_init(&r->spec);
	strcpy(r->spec.name, name);
	strcpy(r->spec.kernel, "/k");
	r->spec.memory_bytes = 256ull << 20;
	r->home.cell = CELL;
	r->home.node_count = r->home.cpu_count = 1;
	r->home.nodes[0] = 6;
	report_send(sock, guest_report_encode(r), memfd_create("cv-ram", 0));
	fd = -1;
	_exit(report_recv(sock, &order, &fd) == 1 ? 0 : 3);
}

Test(keeper, adopts_a_guest_that_registers)
{
	struct bench b;
	const struct guest *g;
	struct err e;
	pid_t pid;

	set_up(&b);
	pid = registering_child(&b, "web", 0);
	for (int i = 0; i < 500 && !b.k->links; i++)
		loop_turn(&b.loop, 10);
	g = guest_book_find(&b.k->book, "web");
	cr_assert_not_null(g);
	cr_assert_eq(g->state, GUEST_RUNNING);
	cr_assert_eq(g->proc.pid, pid);
	cr_assert_eq(g->reboots, 4);
	cr_assert_eq(g->nodes[0], 6);
	cr_assert_eq(g->memory_bytes, 256ull << 20);
	cr_assert_geq(b.k->links->ram_fd, 0, "its RAM is held");
	cr_assert(has_event(&b, "guest-adopted web"));
	cr_assert_not(has_event(&b, "guest-rebooted web"));
	/* It obeys the new monitor. */
	cr_assert_eq(keeper_stop(b.k, "web", FAR_NS, on_done, &b, &e), 0);
	turn_until(&b, &b.done);
	cr_assert_str_eq(b.state, "stopped");
	cr_assert_str_eq(b.cause, "powered off");
	tear_down(&b);
}

/* A file of a guest's folder: is it there? With `make` it is made first. */
static bool has_file(const struct bench *b, const char *name, bool make)
{
	char path[RUNTIME_PATH_BYTES];
	int fd;

	runtime_guest_path(path, b->dir, CELL, "web", name);
	fd = make ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : -1;
	if (fd >= 0)
		close(fd);
	return access(path, F_OK) == 0;
}

Test(keeper, a_cell_that_is_born_anew_has_no_sockets_of_the_dead)
{
	struct bench b;
	struct err e;

	set_up(&b);
	cr_assert_eq(runtime_make_guest(b.dir, CELL, "web", &e), 0);
	cr_assert(has_file(&b, GUEST_CONSOLE_SOCK, true) && has_file(&b, "console.log", true));
	/* A later life of the same cell: its guests go on, and find it. */
	keeper_close(b.k);
	open_keeper(&b, false);
	cr_assert(has_file(&b, GUEST_CONSOLE_SOCK, false));
	cr_assert(has_file(&b, GUEST_MONITOR_SOCK, false));
	keeper_close(b.k);
	open_keeper(&b, true);
	cr_assert_not(has_file(&b, GUEST_CONSOLE_SOCK, false));
	cr_assert_not(has_file(&b, GUEST_MONITOR_SOCK, false));
	cr_assert(has_file(&b, "console.log", false), "what it said can still be read");
	tear_down(&b);
}

Test(keeper, does_not_adopt_one_that_is_not_what_it_says)
{
	struct bench b;
	struct fake f;
	pid_t liar, thief;

	set_up(&b);
	f = running_guest(&b, "web");
	liar = registering_child(&b, "other", 1);
	thief = registering_child(&b, "web", 0);
	waitpid(liar, NULL, WNOHANG);
	for (int i = 0; i < 100; i++)
		loop_turn(&b.loop, 5);
	cr_assert_null(guest_book_find(&b.k->book, "other"));
	cr_assert_eq(f.g->proc.pid, f.pid);
	cr_assert_geq(f.l->chan, 0);
	kill(f.pid, SIGKILL);
	turn(&b);
	waitpid(thief, NULL, 0);
	tear_down(&b);
}

Test(keeper, a_remembered_guest_is_watched_until_it_registers_or_ends)
{
	struct bench b;
	struct guest row = { .name = "web",
		.home = CELL,
		.state = GUEST_RUNNING,
		.cause = "started",
		.need_count = 1,
		.needs = { CELL },
		.started = 5 };
	struct guest stopped = row, gone = row, foreign = row;
	pid_t pid = live_on();

	set_up(&b);
	row.proc.pid = pid;
	proc_start_time(pid, &row.proc.start_time);
	keeper_remember(b.k, &row);
	strcpy(stopped.name, "old");
	stopped.state = GUEST_STOPPED;
	strcpy(stopped.cause, "powered off");
	keeper_remember(b.k, &stopped);
	strcpy(gone.name, "gone");
	gone.proc = row.proc;
	gone.proc.start_time++; /* the pid belongs to another process now */
	keeper_remember(b.k, &gone);
	strcpy(foreign.name, "foreign");
	foreign.home = CELL + 1;
	keeper_remember(b.k, &foreign);
	keeper_remember(b.k, &row); /* another peer says the same */
	cr_assert_eq(b.k->book.count, 3);
	cr_assert_eq(guest_book_find(&b.k->book, "web")->state, GUEST_RUNNING);
	cr_assert_float_eq(guest_book_find(&b.k->book, "web")->started, 5, 1e-9);
	cr_assert_eq(guest_book_find(&b.k->book, "old")->state, GUEST_STOPPED);
	cr_assert_eq(guest_book_find(&b.k->book, "gone")->state, GUEST_CRASHED);
	cr_assert(has_event(&b, "guest-crashed gone"));
	kill(pid, SIGKILL);
	turn(&b);
	cr_assert_eq(guest_book_find(&b.k->book, "web")->state, GUEST_CRASHED);
	tear_down(&b);
}

Test(keeper, forgets_ended_guests_alone)
{
	struct bench b;
	struct fake f;

	set_up(&b);
	f = running_guest(&b, "web");
	keeper_forget(b.k, "web");
	keeper_forget(b.k, "nobody");
	cr_assert_eq(b.k->book.count, 1);
	kill(f.pid, SIGKILL);
	turn(&b);
	keeper_forget(b.k, "web");
	cr_assert_eq(b.k->book.count, 0);
	tear_down(&b);
}
