/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_TESTS_FABRIC_LAB_H
#define CELLVISOR_TESTS_FABRIC_LAB_H

/* A few fabrics in one process, with a record of what each reported. */

#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "faultcontain/host/fabric.h"

#define LAB_CELLS 4
#define OP_HELLO (WIRE_OP_CELL + 1)
#define OP_ECHO (WIRE_OP_CELL + 2)  /* call: answered at once with the same body */
#define OP_LATER (WIRE_OP_CELL + 3) /* call: kept in `later` */

struct lab_cell {
	struct fabric *fabric;
	uint16_t self;
	unsigned ups[LAB_CELLS], downs[LAB_CELLS];
	uint64_t up_incarnation[LAB_CELLS];
	enum link_down why[LAB_CELLS];
	unsigned messages;
	uint16_t from, op;
	uint64_t incarnation;
	size_t body_bytes;
	uint8_t body[512 * 1024];
	struct fabric_request later;
	unsigned done[CALL_ABORTED + 1];
	size_t reply_bytes;
	uint8_t reply[512 * 1024];
	bool kill_on_message; /* declares the sender dead from within the callback */
};

static inline uint64_t lab_now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline void lab_link_up(void *ctx, const struct transport_peer *peer)
{
	struct lab_cell *c = ctx;

	c->ups[peer->cell]++;
	c->up_incarnation[peer->cell] = peer->incarnation;
}

static inline void lab_link_down(void *ctx, uint16_t cell, uint64_t incarnation, enum link_down why)
{
	struct lab_cell *c = ctx;

	cr_assert_eq(incarnation, c->up_incarnation[cell]);
	c->downs[cell]++;
	c->why[cell] = why;
}

static inline void lab_message(void *ctx, uint16_t cell, uint64_t incarnation, uint16_t op,
	const void *body, size_t body_bytes)
{
	struct lab_cell *c = ctx;

	c->messages++;
	c->from = cell;
	c->incarnation = incarnation;
	c->op = op;
	c->body_bytes = body_bytes;
	memcpy(c->body, body, body_bytes);
	if (c->kill_on_message)
		fabric_dead(c->fabric, cell, incarnation);
}

static inline bool lab_call(
	void *ctx, const struct fabric_request *req, const void *body, size_t body_bytes)
{
	struct lab_cell *c = ctx;

	if (req->op == OP_ECHO)
		return fabric_reply(c->fabric, req, body, body_bytes) == 0;
	if (req->op == OP_LATER)
		c->later = *req;
	return req->op == OP_LATER;
}

static inline void lab_done(
	void *ctx, uint16_t cell, enum call_outcome outcome, const void *body, size_t body_bytes)
{
	struct lab_cell *c = ctx;

	(void)cell;
	c->done[outcome]++;
	c->reply_bytes = body_bytes;
	if (outcome == CALL_ANSWERED)
		memcpy(c->reply, body, body_bytes);
	else
		cr_assert(body_bytes == 0);
}

static inline struct fabric_cfg lab_cfg(
	struct lab_cell *c, const char *dir, uint16_t self, uint64_t incarnation)
{
	return (struct fabric_cfg){
		.runtime_dir = dir,
		.self_cell = self,
		.cell_count = LAB_CELLS,
		.incarnation = incarnation,
		.events = {
			.link_up = lab_link_up,
			.link_down = lab_link_down,
			.message = lab_message,
			.call = lab_call,
			.ctx = c,
		},
	};
}

static inline struct lab_cell *lab_open(const char *dir, uint16_t self, uint64_t incarnation)
{
	struct lab_cell *c = calloc(1, sizeof(*c));
	struct fabric_cfg cfg = lab_cfg(c, dir, self, incarnation);
	struct err e;

	c->self = self;
	cr_assert_eq(fabric_open(&c->fabric, &cfg, &e), 0, "%s", e.text);
	return c;
}

static inline void lab_close(struct lab_cell *c)
{
	fabric_close(c->fabric);
	free(c);
}

/* Serves the fabrics until the condition holds; a hang fails the test after a long while. */
#define LAB_UNTIL(condition, ...)                                                                  \
	do {                                                                                       \
		struct lab_cell *served[] = { __VA_ARGS__ };                                       \
		uint64_t end_ns = lab_now() + 60000000000ull;                                      \
                                                                                                   \
		while (!(condition)) {                                                             \
			cr_assert_lt(lab_now(), end_ns, "waited in vain for: %s", #condition);     \
			lab_serve(served, sizeof(served) / sizeof(served[0]));                     \
		}                                                                                  \
	} while (0)

static inline void lab_serve(struct lab_cell **cells, size_t count)
{
	struct pollfd fds[LAB_CELLS];

	for (size_t i = 0; i < count; i++)
		fds[i] = (struct pollfd){ .fd = fabric_fd(cells[i]->fabric), .events = POLLIN };
	(void)poll(fds, count, 100);
	for (size_t i = 0; i < count; i++)
		if (fds[i].revents)
			fabric_process(cells[i]->fabric, lab_now());
}

/* Serves them for a while in which something must not happen. */
#define LAB_MEANWHILE(...)                                                                         \
	do {                                                                                       \
		struct lab_cell *idle[] = { __VA_ARGS__ };                                         \
		uint64_t until_ns = lab_now() + 300000000u;                                        \
                                                                                                   \
		while (lab_now() < until_ns)                                                       \
			lab_serve(idle, sizeof(idle) / sizeof(idle[0]));                           \
	} while (0)

/* A monitor in a process of its own; to be killed and waited for. */
static inline pid_t lab_peer(const char *dir, uint16_t cell, uint64_t incarnation)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct lab_cell *c = lab_open(dir, cell, incarnation);

		for (;;)
			lab_serve(&c, 1);
	}
	return pid;
}

static inline const char *lab_dir(void)
{
	static char dir[64];

	(void)snprintf(dir, sizeof(dir), "/tmp/cv-fabric-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	return dir;
}

static inline void lab_rmdir(const char *dir)
{
	char path[128];

	for (int cell = 0; cell < LAB_CELLS; cell++) {
		(void)snprintf(path, sizeof(path), "%s/cell-%d/fabric.sock", dir, cell);
		(void)unlink(path);
		(void)snprintf(path, sizeof(path), "%s/cell-%d", dir, cell);
		(void)rmdir(path);
	}
	cr_assert_eq(rmdir(dir), 0, "%s is not empty", dir);
}

#endif
