/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bench_fabric [ROUNDS]: round trip of 64 bytes between two processes, by a call
 * of the fabric, a pair of pipes and a unix socket, in the same run. The peer
 * sleeps in poll() or read() each time, as monitors do. Microseconds.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "faultcontain/host/fabric.h"
#include "numa/check.h"

#define BYTES 64u
#define OP_ECHO (WIRE_OP_CELL + 1)

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void report(const char *what, uint64_t *ns, size_t rounds)
{
	size_t middle = rounds / 2, late = rounds * 99 / 100;

	qsort(ns, rounds, sizeof(*ns), ascending);
	printf("%-12s median %7.2f  p99 %8.2f  least %7.2f\n", what, (double)ns[middle] / 1e3,
		(double)ns[late] / 1e3, (double)ns[0] / 1e3);
}

/* --- file descriptors: pipes, sockets ---------------------------------------- */

static void echo(int in, int out)
{
	char bytes[BYTES];

	while (read(in, bytes, BYTES) == (ssize_t)BYTES)
		if (write(out, bytes, BYTES) != (ssize_t)BYTES)
			break;
	_exit(0);
}

static void bench_fds(
	const char *what, const int to[2], const int from[2], uint64_t *ns, size_t rounds)
{
	char bytes[BYTES] = { 0 };
	pid_t pid = fork();

	if (pid == 0)
		echo(to[0], from[1]);
	for (size_t i = 0; i < rounds; i++) {
		uint64_t start = now_ns();

		CHECK(write(to[1], bytes, BYTES) == (ssize_t)BYTES);
		CHECK(read(from[0], bytes, BYTES) == (ssize_t)BYTES);
		ns[i] = now_ns() - start;
	}
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	report(what, ns, rounds);
}

/* --- the fabric ---------------------------------------------------------------- */

struct end {
	struct fabric *fabric;
	bool up, answered;
};

static void link_up(void *ctx, const struct transport_peer *peer)
{
	(void)peer;
	((struct end *)ctx)->up = true;
}

static bool call(void *ctx, const struct fabric_request *req, const void *body, size_t body_bytes)
{
	return fabric_reply(((struct end *)ctx)->fabric, req, body, body_bytes) == 0;
}

static void done(
	void *ctx, uint16_t cell, enum call_outcome outcome, const void *body, size_t body_bytes)
{
	(void)cell;
	(void)body;
	(void)body_bytes;
	CHECK(outcome == CALL_ANSWERED);
	((struct end *)ctx)->answered = true;
}

static void open_end(struct end *end, const char *dir, uint16_t cell)
{
	const struct fabric_cfg cfg = {
		.runtime_dir = dir,
		.self_cell = cell,
		.cell_count = 2,
		.incarnation = 1,
		.events = { .link_up = link_up, .call = call, .ctx = end },
	};
	struct err e;

	if (fabric_open(&end->fabric, &cfg, &e)) {
		fprintf(stderr, "bench_fabric: %s\n", e.text);
		exit((int)e.code); /* NOLINT(concurrency-mt-unsafe) */
	}
}

static void serve(struct end *end)
{
	struct pollfd fd = { .fd = fabric_fd(end->fabric), .events = POLLIN };

	(void)poll(&fd, 1, -1);
	fabric_process(end->fabric, now_ns());
}

static void bench_fabric(const char *dir, uint64_t *ns, size_t rounds)
{
	const char bytes[BYTES] = { 0 };
	struct end end = { 0 };
	pid_t pid = fork();

	if (pid == 0) {
		open_end(&end, dir, 1);
		for (;;)
			serve(&end);
	}
	open_end(&end, dir, 0);
	while (!end.up)
		serve(&end);
	for (size_t i = 0; i < rounds; i++) {
		uint64_t start = now_ns();

		end.answered = false;
		CHECK(fabric_call(end.fabric, 1, OP_ECHO, bytes, BYTES, start + 60000000000u, done,
			      &end) == 0);
		while (!end.answered)
			serve(&end);
		ns[i] = now_ns() - start;
	}
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	fabric_close(end.fabric);
	report("fabric call", ns, rounds);
}

static void remove_dir(const char *dir)
{
	char path[128];

	for (int cell = 0; cell < 2; cell++) {
		(void)snprintf(path, sizeof(path), "%s/cell-%d/fabric.sock", dir, cell);
		(void)unlink(path);
		(void)snprintf(path, sizeof(path), "%s/cell-%d", dir, cell);
		(void)rmdir(path);
	}
	(void)rmdir(dir);
}

int main(int argc, char **argv)
{
	size_t rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 20000;
	uint64_t *ns = rounds ? calloc(rounds, sizeof(*ns)) : NULL;
	char dir[] = "/tmp/bench-fabric-XXXXXX";
	int to[2], from[2], pair[2];

	if (!ns || !mkdtemp(dir) || pipe(to) || pipe(from) ||
		socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) {
		fprintf(stderr, "usage: bench_fabric [ROUNDS]\n");
		free(ns);
		return 2;
	}
	bench_fabric(dir, ns, rounds);
	bench_fds("pipes", to, from, ns, rounds);
	bench_fds("unix socket", (int[2]){ pair[1], pair[0] }, (int[2]){ pair[0], pair[1] }, ns,
		rounds);
	remove_dir(dir);
	free(ns);
	return 0;
}
