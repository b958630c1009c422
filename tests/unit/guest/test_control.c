/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/guest/control.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* A guest's line with a monitor at its other end. */
struct line {
	uint32_t rehomed;
	char path[64];
	struct reactor reactor;
	struct control control;
	int monitor; /* the monitor's end */
	int listen;
	int ram;
	enum guest_order_op orders[8];
	size_t order_count;
	uint64_t errors, errors_told;
};

static void on_order(void *ctx, enum guest_order_op op)
{
	struct line *l = ctx;

	l->orders[l->order_count++] = op;
}

static void describe(void *ctx, struct guest_report *r)
{
	(void)ctx;
	r->pid = 77;
	r->start_time = 78;
	r->state = REPORT_RUNNING;
	r->reboots = 3;
	strcpy(r->cause, "reboot");
	guest_spec_init(&r->spec);
	strcpy(r->spec.name, "web");
	strcpy(r->spec.kernel, "/k");
	r->spec.memory_bytes = 64 << 20;
	r->home = (struct guest_home){
		.cell = 1, .nodes = { 1 }, .node_count = 1, .cpus = { 2 }, .cpu_count = 1
	};
}

/* Cell 9 is none for this guest. */
static bool rehome(void *ctx, const struct guest_home *home)
{
	struct line *l = ctx;

	if (home->cell == 9)
		return false;
	l->rehomed = home->cell;
	return true;
}

/* Of errors 1 .. errors, those after errors_told wait. */
static bool next_error(void *ctx, struct guest_report *r)
{
	struct line *l = ctx;

	if (l->errors_told == l->errors)
		return false;
	*r = (struct guest_report){ .op = REPORT_MEMORY_ERROR,
		.memory_errors = l->errors,
		.error = { .gpa = l->errors_told + 1, .bytes = 4096 } };
	return true;
}

static void error_told(void *ctx, const struct guest_report *r)
{
	struct line *l = ctx;

	cr_assert_eq(r->error.gpa, l->errors_told + 1);
	l->errors_told++;
}

static void line_init(struct line *l)
{
	struct control_env env = { .order = on_order,
		.rehome = rehome,
		.describe = describe,
		.next_error = next_error,
		.error_told = error_told,
		.ctx = l };
	struct err e;
	int socks[2];

	memset(l, 0, sizeof(*l));
	l->listen = -1;
	snprintf(l->path, sizeof(l->path), "/tmp/cv-control-%d.sock", getpid());
	unlink(l->path);
	cr_assert_eq(reactor_init(&l->reactor), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, socks), 0);
	l->monitor = socks[1];
	fcntl(l->monitor, F_SETFL, O_NONBLOCK);
	l->ram = env.ram_fd = memfd_create("ram", 0);
	cr_assert_eq(control_init(&l->control, &l->reactor, socks[0], l->path, &env, &e), 0, "%s",
		e.text);
}

static void line_fini(struct line *l)
{
	control_fini(&l->control);
	reactor_fini(&l->reactor);
	close(l->monitor);
	close(l->ram);
	if (l->listen >= 0)
		close(l->listen);
	unlink(l->path);
}

/* Handles the next event, if one comes within `ms`. */
static bool one_event(struct line *l, int ms)
{
	struct epoll_event event;
	struct reactor_watch *w;

	if (epoll_wait(l->reactor.epoll, &event, 1, ms) != 1)
		return false;
	w = event.data.ptr;
	w->ready(w->ctx, event.events);
	return true;
}

/* Lets the event loop do all that it can do without waiting. */
static void turn(struct line *l)
{
	while (one_event(l, 0))
		;
}

static void send_text(struct line *l, const char *text)
{
	cr_assert_eq(send(l->monitor, text, strlen(text), 0), (ssize_t)strlen(text));
}

/* The next report at the monitor's end; false if there is none. */
static bool next(struct line *l, struct guest_report *r, int *fd)
{
	json_t *value;
	struct err e;

	if (report_recv(l->monitor, &value, fd) != 1)
		return false;
	cr_assert_eq(guest_report_decode(value, r, &e), 0, "%s", e.text);
	json_decref(value);
	return true;
}

static void new_monitor_listens(struct line *l)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	strcpy(address.sun_path, l->path);
	l->listen = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);
	cr_assert_eq(bind(l->listen, (struct sockaddr *)&address, sizeof(address)), 0);
	cr_assert_eq(listen(l->listen, 4), 0);
}

/* Turns the loop until the guest has connected; generous, as it only guards against hanging. */
static void accept_guest(struct line *l)
{
	for (int i = 0; i < 1000; i++) {
		l->monitor = accept4(l->listen, NULL, NULL, SOCK_NONBLOCK);
		if (l->monitor >= 0)
			return;
		one_event(l, 100);
	}
	cr_assert_fail("the guest doesn't look for its new monitor");
}

Test(control, orders_arrive_and_nonsense_does_not)
{
	struct line l;

	line_init(&l);
	send_text(&l, "{\"op\":\"stop\"}");
	send_text(&l, "{\"op\":\"dance\"}");
	send_text(&l, "{\"op\":\"show\"}");
	turn(&l);
	cr_assert_eq(l.order_count, 2);
	cr_assert_eq(l.orders[0], ORDER_STOP);
	cr_assert_eq(l.orders[1], ORDER_SHOW);
	line_fini(&l);
}

Test(control, the_last_ledger_is_shown_to_the_next_monitor)
{
	struct guest_report r;
	struct line l;
	int fd;

	line_init(&l);
	send_text(&l, "{\"op\":\"keep\",\"ledger\":{\"n\":1}}");
	send_text(&l, "{\"op\":\"keep\",\"ledger\":{\"n\":2}}");
	send_text(&l, "{\"op\":\"keep\",\"ledger\":3}");
	turn(&l);
	cr_assert_eq(l.order_count, 0, "it is no matter for the guest");
	close(l.monitor);
	turn(&l);
	new_monitor_listens(&l);
	accept_guest(&l);
	turn(&l);
	cr_assert(next(&l, &r, &fd));
	cr_assert_eq(json_integer_value(json_object_get(r.ledger, "n")), 2);
	guest_report_fini(&r);
	line_fini(&l);
}

#define NEW_HOME(cell)                                                                             \
	"{\"op\":\"rehome\",\"home\":{\"cell\":" cell                                              \
	",\"nodes\":[2],\"cpus\":[4]},\"ledger\":{\"n\":7}}"

Test(control, a_new_home_is_gone_to_at_once_and_told_the_ledger_that_came_with_it)
{
	struct guest_report r;
	struct line l;
	char byte;
	int fd;

	line_init(&l);
	send_text(&l, "{\"op\":\"keep\",\"ledger\":{\"n\":1}}");
	send_text(&l, NEW_HOME("9"));
	turn(&l);
	cr_assert_eq(l.rehomed, 0u);
	cr_assert_eq(recv(l.monitor, &byte, 1, MSG_DONTWAIT), -1, "it stays with this monitor");
	new_monitor_listens(&l);
	send_text(&l, NEW_HOME("2"));
	turn(&l);
	cr_assert_eq(l.rehomed, 2u);
	cr_assert_eq(recv(l.monitor, &byte, 1, MSG_DONTWAIT), 0, "it has closed the old socket");
	close(l.monitor);
	accept_guest(&l);
	cr_assert(next(&l, &r, &fd));
	cr_assert_eq(r.op, REPORT_REGISTER);
	cr_assert_eq(json_integer_value(json_object_get(r.ledger, "n")), 7);
	guest_report_fini(&r);
	line_fini(&l);
}

Test(control, started_carries_the_memory)
{
	struct guest_report r = { .op = REPORT_STARTED, .pid = 1, .start_time = 2 };
	struct stat a, b;
	struct line l;
	int fd;

	line_init(&l);
	control_started(&l.control, &r);
	cr_assert(next(&l, &r, &fd));
	cr_assert_eq(r.op, REPORT_STARTED);
	cr_assert_geq(fd, 0);
	fstat(fd, &a);
	fstat(l.ram, &b);
	cr_assert_eq(a.st_ino, b.st_ino);
	line_fini(&l);
}

Test(control, a_new_monitor_is_found_and_told_everything)
{
	struct guest_report r;
	struct line l;
	int fd;

	line_init(&l);
	close(l.monitor);
	turn(&l);
	/* nobody listens yet; states meanwhile cost nothing */
	control_state(&l.control, REPORT_RUNNING, "reboot", 3);
	cr_assert(one_event(&l, 60000), "it doesn't look for a new monitor");
	new_monitor_listens(&l);
	accept_guest(&l);
	turn(&l);
	cr_assert(next(&l, &r, &fd));
	cr_assert_eq(r.op, REPORT_REGISTER);
	cr_assert_geq(fd, 0, "the memory is not sent along");
	cr_assert_eq(r.pid, 77);
	cr_assert_str_eq(r.spec.name, "web");
	cr_assert_eq(r.reboots, 3);
	cr_assert_not(next(&l, &r, &fd), "register says it all");
	/* the new line is as good as the old one */
	send_text(&l, "{\"op\":\"kill\"}");
	turn(&l);
	cr_assert_eq(l.order_count, 1);
	control_state(&l.control, REPORT_STOPPED, "killed", 3);
	cr_assert(next(&l, &r, &fd));
	cr_assert_eq(r.state, REPORT_STOPPED);
	/* and can be lost again */
	close(l.monitor);
	turn(&l);
	accept_guest(&l);
	line_fini(&l);
}

Test(control, a_monitor_that_does_not_read_gets_the_last_state_later)
{
	struct guest_report r;
	uint64_t last = 0, count = 0;
	struct line l;
	int fd;

	line_init(&l);
	for (uint64_t i = 1; i <= 5000; i++)
		control_state(&l.control, REPORT_RUNNING, "reboot", i);
	cr_assert(l.control.state_waits, "the socket can't be filled: this test can't fail");
	while (next(&l, &r, &fd)) {
		cr_assert_gt(r.reboots, last);
		last = r.reboots;
		count++;
		turn(&l);
	}
	cr_assert_lt(count, 5000);
	cr_assert_eq(last, 5000);
	line_fini(&l);
}

Test(control, last_words_go_out_as_soon_as_there_is_room)
{
	struct guest_report r;
	struct line l;
	enum report_state last = REPORT_STARTING;
	int fd;

	line_init(&l);
	for (uint64_t i = 1; i <= 5000; i++)
		control_state(&l.control, REPORT_RUNNING, "reboot", i);
	for (int i = 0; i < 20; i++)
		cr_assert(next(&l, &r, &fd));
	control_state(&l.control, REPORT_CRASHED, "why", 7);
	control_last_words(&l.control, 1000);
	while (next(&l, &r, &fd))
		last = r.state;
	cr_assert_eq(last, REPORT_CRASHED);
	line_fini(&l);
}

Test(control, memory_errors_reach_the_monitor_each_once_and_before_the_last_state)
{
	struct guest_report r;
	struct line l;
	uint64_t seen = 0;
	int fd;

	line_init(&l);
	l.errors = 3000;
	control_errors(&l.control);
	cr_assert_lt(l.errors_told, 3000, "the socket can't be filled: this test can't fail");
	control_state(&l.control, REPORT_CRASHED, "why", 0);
	for (bool more = true; more; turn(&l)) {
		more = next(&l, &r, &fd);
		if (!more || r.op == REPORT_STATE)
			break;
		cr_assert_eq(r.error.gpa, ++seen);
	}
	cr_assert_eq(seen, 3000);
	cr_assert_eq(r.op, REPORT_STATE);
	cr_assert_eq(r.state, REPORT_CRASHED);
	line_fini(&l);
}

Test(control, memory_errors_wait_for_a_new_monitor)
{
	struct guest_report r;
	struct line l;
	int fd;

	line_init(&l);
	close(l.monitor);
	turn(&l);
	l.errors = 2;
	control_errors(&l.control);
	new_monitor_listens(&l);
	accept_guest(&l);
	turn(&l);
	cr_assert(next(&l, &r, &fd));
	cr_assert_eq(r.op, REPORT_REGISTER);
	for (uint64_t i = 1; i <= 2; i++) {
		cr_assert(next(&l, &r, &fd));
		cr_assert_eq(r.op, REPORT_MEMORY_ERROR);
		cr_assert_eq(r.error.gpa, i);
	}
	line_fini(&l);
}
