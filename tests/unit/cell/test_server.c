/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "monitor/cell/request.h"
#include "monitor/cell/server.h"

struct bench {
	char dir[32], path[64];
	struct server *server;
	struct server_conn who[16];
	char lines[16][64];
	size_t count;
	int answer; /* at once */
};

static void on_line(void *ctx, struct server_conn who, const char *line, size_t bytes)
{
	struct bench *b = ctx;

	cr_assert_lt(b->count, 16);
	snprintf(b->lines[b->count], sizeof(b->lines[0]), "%.*s", (int)bytes, line);
	b->who[b->count++] = who;
	if (b->answer)
		server_send(b->server, who, json_pack("{s:b}", "ok", 1), 1);
}

static void set_up(struct bench *b)
{
	struct err e;

	memset(b, 0, sizeof(*b));
	strcpy(b->dir, "/tmp/cv-server-XXXXXX");
	cr_assert_not_null(mkdtemp(b->dir));
	snprintf(b->path, sizeof(b->path), "%s/s", b->dir);
	cr_assert_eq(server_open(&b->server, b->path, on_line, b, &e), 0, "%s", e.text);
}

static void tear_down(struct bench *b)
{
	server_close(b->server);
	cr_assert_neq(access(b->path, F_OK), 0);
	rmdir(b->dir);
}

static int dial(struct bench *b)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(addr.sun_path, b->path);
	cr_assert_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void turn(struct bench *b)
{
	for (int i = 0; i < 40; i++)
		server_process(b->server);
}

static ssize_t hear(int fd, char *buf, size_t room)
{
	ssize_t n = recv(fd, buf, room - 1, MSG_DONTWAIT);

	buf[n > 0 ? n : 0] = '\0';
	return n;
}

Test(server, lines_are_delivered_one_at_a_time)
{
	struct bench b;
	char buf[256];
	int fd;

	set_up(&b);
	fd = dial(&b);
	cr_assert_eq(send(fd, "one\ntwo\nthr", 11, 0), 11);
	turn(&b);
	cr_assert_eq(b.count, 1);
	cr_assert_str_eq(b.lines[0], "one");
	server_send(b.server, b.who[0], json_pack("{s:s}", "progress", "x"), 0);
	turn(&b);
	cr_assert_eq(b.count, 1, "progress does not end a request");
	server_send(b.server, b.who[0], json_pack("{s:b}", "ok", 1), 1);
	turn(&b);
	cr_assert_eq(b.count, 2);
	cr_assert_str_eq(b.lines[1], "two");
	server_send(b.server, b.who[1], json_pack("{s:b}", "ok", 1), 1);
	send(fd, "ee\n", 3, 0);
	turn(&b);
	cr_assert_str_eq(b.lines[2], "three");
	cr_assert_gt(hear(fd, buf, sizeof(buf)), 0);
	cr_assert_str_eq(buf, "{\"progress\":\"x\"}\n{\"ok\":true}\n{\"ok\":true}\n");
	close(fd);
	tear_down(&b);
}

Test(server, a_half_closed_client_gets_its_answer)
{
	struct bench b;
	char buf[256];
	int fd;

	set_up(&b);
	fd = dial(&b);
	send(fd, "ls\n", 3, 0);
	shutdown(fd, SHUT_WR);
	turn(&b);
	turn(&b);
	server_send(b.server, b.who[0], json_pack("{s:b}", "ok", 1), 1);
	cr_assert_gt(hear(fd, buf, sizeof(buf)), 0);
	turn(&b);
	cr_assert_eq(hear(fd, buf, sizeof(buf)), 0, "and then the end");
	close(fd);
	tear_down(&b);
}

Test(server, an_answer_to_a_client_that_left_goes_to_nobody)
{
	struct bench b;
	char buf[256];
	int fd, other;

	set_up(&b);
	fd = dial(&b);
	send(fd, "ls\n", 3, 0);
	turn(&b);
	close(fd);
	turn(&b);
	other = dial(&b); /* takes the same slot */
	turn(&b);
	server_send(b.server, b.who[0], json_pack("{s:b}", "ok", 1), 1);
	turn(&b);
	cr_assert_lt(hear(other, buf, sizeof(buf)), 0);
	cr_assert_eq(errno, EAGAIN);
	close(other);
	tear_down(&b);
}

Test(server, too_long_a_line_is_refused_and_ends_the_connection)
{
	struct bench b;
	char *line = malloc(REQUEST_BYTES_MAX), buf[256];
	size_t sent = 0;
	int fd;

	set_up(&b);
	fd = dial(&b);
	memset(line, 'x', REQUEST_BYTES_MAX);
	while (sent < REQUEST_BYTES_MAX) {
		ssize_t n = send(fd, line + sent, REQUEST_BYTES_MAX - sent, MSG_DONTWAIT);

		sent += n > 0 ? (size_t)n : 0;
		turn(&b);
	}
	cr_assert_eq(b.count, 0);
	cr_assert_gt(hear(fd, buf, sizeof(buf)), 0);
	cr_assert(strstr(buf, "65536"), "%s", buf);
	cr_assert_eq(hear(fd, buf, sizeof(buf)), 0);
	close(fd);
	free(line);
	tear_down(&b);
}

Test(server, a_client_that_does_not_read_is_cut_off_and_others_are_served)
{
	struct bench b;
	char *text = malloc(1 << 20), buf[256];
	int slow, other;

	set_up(&b);
	slow = dial(&b);
	send(slow, "events\n", 7, 0);
	turn(&b);
	memset(text, 'y', (1 << 20) - 1);
	text[(1 << 20) - 1] = '\0';
	for (int i = 0; i < 12; i++)
		server_send(b.server, b.who[0], json_pack("{s:s}", "progress", text), 0);
	b.answer = 1;
	other = dial(&b);
	send(other, "ls\n", 3, 0);
	turn(&b);
	cr_assert_gt(hear(other, buf, sizeof(buf)), 0);
	cr_assert(server_drained(b.server), "nothing is kept for the one that was cut off");
	free(text);
	close(slow);
	close(other);
	tear_down(&b);
}

Test(server, a_full_house_makes_room_by_closing_the_oldest_idle_one)
{
	struct bench b;
	char buf[256];
	int fds[SERVER_CONNS_MAX + 1];

	set_up(&b);
	fds[0] = dial(&b);
	send(fds[0], "busy\n", 5, 0);
	for (unsigned int i = 1; i < SERVER_CONNS_MAX; i++) {
		fds[i] = dial(&b);
		turn(&b);
	}
	fds[SERVER_CONNS_MAX] = dial(&b);
	turn(&b);
	b.answer = 1;
	send(fds[SERVER_CONNS_MAX], "ls\n", 3, 0);
	turn(&b);
	cr_assert_gt(hear(fds[SERVER_CONNS_MAX], buf, sizeof(buf)), 0);
	cr_assert_eq(hear(fds[1], buf, sizeof(buf)), 0, "the oldest idle one");
	cr_assert_lt(hear(fds[0], buf, sizeof(buf)), 0, "not the busy one");
	cr_assert_lt(hear(fds[2], buf, sizeof(buf)), 0, "nor another");
	for (unsigned int i = 0; i <= SERVER_CONNS_MAX; i++)
		close(fds[i]);
	tear_down(&b);
}

Test(server, takes_the_place_of_a_stale_socket)
{
	struct bench b;
	struct server *second;
	struct err e;

	set_up(&b);
	cr_assert_eq(server_open(&second, b.path, on_line, &b, &e), 0, "%s", e.text);
	server_close(second);
	server_close(b.server);
	rmdir(b.dir);
}
