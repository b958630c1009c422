/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/guest/console.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LOG_BYTES 1000u

/* A console in a folder of its own, with a guest that takes `room` bytes of input at most. */
struct desk {
	char dir[32], sock[64], log[64], old[64];
	struct reactor reactor;
	struct console *console;
	char typed[16384];
	size_t typed_bytes, room;
	uint32_t clients;
};

static size_t on_input(void *ctx, const uint8_t *data, size_t bytes)
{
	struct desk *d = ctx;
	size_t n = bytes < d->room ? bytes : d->room;

	memcpy(d->typed + d->typed_bytes, data, n);
	d->typed_bytes += n;
	d->room -= n;
	return n;
}

static void on_clients(void *ctx, uint32_t count)
{
	((struct desk *)ctx)->clients = count;
}

static int open_console(struct desk *d, struct err *e)
{
	const struct console_files files = { .sock_path = d->sock,
		.log_path = d->log,
		.old_log_path = d->old,
		.log_bytes = LOG_BYTES };
	const struct console_env env = { .input = on_input, .clients = on_clients, .ctx = d };

	return console_init(d->console, &d->reactor, &files, &env, e);
}

static void desk_init(struct desk *d)
{
	struct err e;

	memset(d, 0, sizeof(*d));
	strcpy(d->dir, "/tmp/cv-console-XXXXXX");
	cr_assert(mkdtemp(d->dir));
	snprintf(d->sock, sizeof(d->sock), "%s/console.sock", d->dir);
	snprintf(d->log, sizeof(d->log), "%s/console.log", d->dir);
	snprintf(d->old, sizeof(d->old), "%s/console.log.old", d->dir);
	d->room = sizeof(d->typed);
	cr_assert_eq(reactor_init(&d->reactor), 0);
	d->console = malloc(sizeof(*d->console));
	cr_assert_eq(open_console(d, &e), 0, "%s", e.text);
}

static void desk_fini(struct desk *d)
{
	console_fini(d->console);
	free(d->console);
	reactor_fini(&d->reactor);
	unlink(d->sock);
	unlink(d->log);
	unlink(d->old);
	cr_assert_eq(rmdir(d->dir), 0, "something is left behind");
}

/* Lets the event loop do all that it can do without waiting. */
static void settle(struct desk *d)
{
	struct epoll_event event;

	while (epoll_wait(d->reactor.epoll, &event, 1, 0) == 1) {
		struct reactor_watch *w = event.data.ptr;

		w->ready(w->ctx, event.events);
	}
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	strcpy(address.sun_path, path);
	cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0, "%d", errno);
	return fd;
}

static int client(struct desk *d)
{
	int fd = connect_to(d->sock);

	settle(d);
	return fd;
}

static void print(struct desk *d, const char *text)
{
	for (; *text; text++)
		console_put(d->console, (uint8_t)*text);
}

/* All that a client can read now. */
static size_t drain(int fd, char *buf, size_t bytes)
{
	size_t at = 0;
	ssize_t got;

	while (at < bytes && (got = recv(fd, buf + at, bytes - at, MSG_DONTWAIT)) > 0)
		at += (size_t)got;
	return at;
}

static void expect_text(int fd, const char *wanted)
{
	char buf[4096];
	size_t got = drain(fd, buf, sizeof(buf) - 1);

	buf[got] = '\0';
	cr_assert_str_eq(buf, wanted);
}

static size_t read_file(const char *path, char *buf, size_t bytes)
{
	int fd = open(path, O_RDONLY);
	ssize_t got;

	cr_assert_geq(fd, 0);
	got = read(fd, buf, bytes - 1);
	close(fd);
	cr_assert_geq(got, 0);
	buf[got] = '\0';
	return (size_t)got;
}

Test(console, every_client_and_the_log_get_what_is_printed)
{
	struct desk d;
	char buf[256];
	int a, b;

	desk_init(&d);
	print(&d, "early ");
	settle(&d);
	a = client(&d);
	cr_assert_eq(d.clients, 1);
	b = client(&d);
	cr_assert_eq(d.clients, 2);
	print(&d, "late");
	settle(&d);
	expect_text(a, "late");
	expect_text(b, "late");
	read_file(d.log, buf, sizeof(buf));
	cr_assert_str_eq(buf, "early late");
	close(a);
	settle(&d);
	cr_assert_eq(d.clients, 1);
	close(b);
	desk_fini(&d);
}

Test(console, input_of_all_clients_reaches_the_guest)
{
	struct desk d;
	int a, b;

	desk_init(&d);
	a = client(&d);
	b = client(&d);
	cr_assert_eq(write(a, "one\n", 4), 4);
	settle(&d);
	cr_assert_eq(write(b, "two\n", 4), 4);
	settle(&d);
	cr_assert_eq(d.typed_bytes, 8);
	cr_assert_eq(memcmp(d.typed, "one\ntwo\n", 8), 0);
	desk_fini(&d);
	close(a);
	close(b);
}

/* `echo poweroff | socat - console.sock` ends its side and still wants to read. */
Test(console, a_client_that_stops_typing_still_listens)
{
	struct desk d;
	int a;

	desk_init(&d);
	a = client(&d);
	cr_assert_eq(write(a, "x", 1), 1);
	shutdown(a, SHUT_WR);
	settle(&d);
	cr_assert_eq(d.typed_bytes, 1);
	cr_assert_eq(d.clients, 1);
	print(&d, "answer");
	settle(&d);
	expect_text(a, "answer");
	close(a);
	settle(&d);
	cr_assert_eq(d.clients, 0);
	desk_fini(&d);
}

Test(console, input_waits_for_the_guest_and_then_the_client_waits)
{
	char text[1000];
	size_t sent = 0, before;
	struct desk d;
	ssize_t n;
	int a;

	desk_init(&d);
	d.room = 0;
	a = client(&d);
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)('a' + i % 26);
	/* until the console and then the socket are full */
	while ((n = send(a, text + sent % 26, 26, MSG_DONTWAIT)) > 0) {
		sent += (size_t)n;
		settle(&d);
		cr_assert_lt(sent, 10u << 20, "input is taken without end");
	}
	cr_assert_eq(d.typed_bytes, 0);
	cr_assert_eq(d.console->in_bytes, CONSOLE_IN_BYTES);
	/* the guest takes 16 at a time; nothing is lost or reordered */
	while (d.typed_bytes < 8192) {
		before = d.typed_bytes;
		d.room = 16;
		console_room(d.console);
		settle(&d);
		cr_assert_eq(d.typed_bytes, before + 16);
	}
	for (size_t i = 0; i < d.typed_bytes; i++)
		cr_assert_eq(d.typed[i], 'a' + (int)(i % 26));
	close(a);
	desk_fini(&d);
}

Test(console, a_slow_client_loses_output_visibly_and_nobody_waits)
{
	char line[101], *slow = malloc(4 << 20), *fast = malloc(4 << 20);
	size_t printed = 0, fast_got = 0, slow_got, kept, dropped;
	struct desk d;
	char *note;
	int a, b;

	desk_init(&d);
	a = client(&d);
	b = client(&d);
	memset(line, 'x', 99);
	line[99] = '\n';
	line[100] = '\0';
	for (int i = 0; i < 20000; i++) {
		print(&d, line);
		printed += 100;
		settle(&d);
		if (i % 500 == 0)
			fast_got += drain(b, fast + fast_got, (4 << 20) - fast_got);
	}
	do {
		kept = drain(b, fast + fast_got, (4 << 20) - fast_got);
		fast_got += kept;
		settle(&d);
	} while (kept);
	cr_assert_eq(fast_got, printed, "a client that reads lost output");
	/* the slow one reads now */
	for (slow_got = 0;;) {
		size_t got = drain(a, slow + slow_got, (4 << 20) - slow_got);

		if (!got)
			break;
		slow_got += got;
		settle(&d);
	}
	print(&d, "end");
	settle(&d);
	slow_got += drain(a, slow + slow_got, (4 << 20) - slow_got);
	slow[slow_got] = '\0';
	note = strstr(slow, "\r\n[cellvisor: ");
	cr_assert(note, "nothing says that output was dropped");
	cr_assert_eq(sscanf(note, "\r\n[cellvisor: %zu bytes of output dropped]", &dropped), 1);
	cr_assert_str_eq(strstr(note, "]\r\n"), "]\r\nend");
	cr_assert_eq((size_t)(note - slow) + dropped, printed);
	close(a);
	close(b);
	desk_fini(&d);
	free(slow);
	free(fast);
}

/* The event loop doesn't run: a disk that hangs, say. */
Test(console, a_guest_that_prints_faster_than_the_loop_is_not_held)
{
	struct desk d;
	char *got = malloc(CONSOLE_OUT_BYTES + 200);
	size_t bytes;
	int a;

	desk_init(&d);
	a = client(&d);
	for (size_t i = 0; i < CONSOLE_OUT_BYTES + 123; i++)
		console_put(d.console, 'y');
	settle(&d);
	for (bytes = 0;;) {
		size_t more = drain(a, got + bytes, CONSOLE_OUT_BYTES + 199 - bytes);

		settle(&d);
		bytes += more;
		if (!more)
			break;
	}
	got[bytes] = '\0';
	cr_assert_str_eq(
		got + CONSOLE_OUT_BYTES, "\r\n[cellvisor: 123 bytes of output dropped]\r\n");
	close(a);
	desk_fini(&d);
	free(got);
}

Test(console, the_log_is_bounded_and_keeps_the_newest)
{
	char line[32], buf[2 * LOG_BYTES], old[2 * LOG_BYTES];
	struct desk d;

	desk_init(&d);
	for (int i = 0; i < 1000; i++) {
		snprintf(line, sizeof(line), "line %04d\n", i);
		print(&d, line);
		settle(&d);
	}
	cr_assert_leq(read_file(d.log, buf, sizeof(buf)), LOG_BYTES);
	cr_assert_leq(read_file(d.old, old, sizeof(old)), LOG_BYTES);
	cr_assert(strstr(buf, "line 0999\n"), "the newest line is not in the log");
	cr_assert_geq(strlen(buf) + strlen(old), LOG_BYTES);
	/* the old log ends where the log begins */
	cr_assert_eq(atoi(buf + 5), atoi(old + strlen(old) - 5) + 1);
	desk_fini(&d);
}

Test(console, one_client_too_many_is_told_so)
{
	char buf[256];
	int fds[CONSOLE_CLIENTS_MAX], more;
	struct desk d;
	size_t got;

	desk_init(&d);
	for (size_t i = 0; i < CONSOLE_CLIENTS_MAX; i++)
		fds[i] = client(&d);
	more = client(&d);
	got = drain(more, buf, sizeof(buf) - 1);
	buf[got] = '\0';
	cr_assert(strstr(buf, "all the clients"), "%s", buf);
	cr_assert_eq(recv(more, buf, 1, 0), 0, "not closed");
	close(fds[3]);
	settle(&d);
	close(more);
	more = client(&d);
	cr_assert_eq(d.clients, CONSOLE_CLIENTS_MAX, "the place that became free is not given");
	print(&d, "hi");
	settle(&d);
	expect_text(more, "hi");
	for (size_t i = 0; i < CONSOLE_CLIENTS_MAX; i++)
		if (i != 3)
			close(fds[i]);
	close(more);
	desk_fini(&d);
}

Test(console, a_stale_socket_is_replaced_and_the_new_one_is_private)
{
	struct stat st;
	struct desk d;
	struct err e;

	desk_init(&d);
	console_fini(d.console); /* leaves the socket's file */
	cr_assert_eq(open_console(&d, &e), 0, "%s", e.text);
	cr_assert_eq(stat(d.sock, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600);
	close(client(&d));
	desk_fini(&d);
}

Test(console, drain_delivers_the_last_words)
{
	struct desk d;
	int a;

	desk_init(&d);
	a = client(&d);
	print(&d, "Power down");
	console_drain(d.console, 1000);
	expect_text(a, "Power down");
	close(a);
	desk_fini(&d);
}

Test(console, a_missing_folder_is_named)
{
	struct console *c = malloc(sizeof(*c));
	const struct console_files files = { .sock_path = "/nonexistent/s",
		.log_path = "/nonexistent/l",
		.old_log_path = "/nonexistent/o",
		.log_bytes = 100 };
	const struct console_env env = { .input = on_input, .clients = on_clients };
	struct reactor r;
	struct err e;

	cr_assert_eq(reactor_init(&r), 0);
	cr_assert_lt(console_init(c, &r, &files, &env, &e), 0);
	cr_assert_eq(e.code, EXIT_ENVIRONMENT);
	cr_assert(strstr(e.text, "/nonexistent/l"), "%s", e.text);
	reactor_fini(&r);
	free(c);
}
