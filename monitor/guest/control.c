/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/guest/control.h"

#include "monitor/guest/trap.h"
#include "numa/check.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

static void arm(struct control *c, bool on)
{
	const long ns = on ? REPORT_RETRY_MS * 1000000l : 0;
	const struct itimerspec every = { { 0, ns }, { 0, ns } };

	CHECK(timerfd_settime(c->timer_fd, 0, &every, NULL) == 0);
}

/* The monitor is gone: look for the next one. */
static void lose(struct control *c)
{
	trap_report_to(-1);
	reactor_unwatch(c->reactor, &c->watch);
	close(c->sock);
	c->sock = -1;
	arm(c, true);
}

static int send_report(struct control *c, const struct guest_report *r, int fd)
{
	json_t *value = guest_report_encode(r);
	int rc = value ? report_send(c->sock, value, fd) : -ENOMEM;

	json_decref(value);
	return rc;
}

/* Sends the memory errors that wait. 0 or -errno. */
static int push_errors(struct control *c)
{
	struct guest_report *r = c->errors_wait ? calloc(1, sizeof(*r)) : NULL;
	int rc = 0;

	while (r && c->errors_wait && !rc) {
		c->errors_wait = c->env.next_error(c->env.ctx, r);
		if (!c->errors_wait)
			break;
		rc = send_report(c, r, -1);
		if (rc != -EAGAIN && rc != -EPIPE)
			c->env.error_told(c->env.ctx, r);
	}
	free(r);
	return rc;
}

/* Sends what waits, if it can be sent now: errors first, since a state may be the last word. */
static void push(struct control *c)
{
	int rc;

	if (c->sock < 0 || (!c->state_waits && !c->errors_wait))
		return;
	rc = push_errors(c);
	if (!rc && c->state_waits) {
		rc = send_report(c, c->state, -1);
		c->state_waits = rc == -EAGAIN || rc == -EPIPE;
	}
	if (rc == -EPIPE)
		lose(c);
	else
		reactor_want(c->reactor, &c->watch, EPOLLIN | (rc == -EAGAIN ? EPOLLOUT : 0));
}

void control_errors(struct control *c)
{
	c->errors_wait = true;
	push(c);
}

void control_state(struct control *c, enum report_state state, const char *cause, uint64_t reboots)
{
	c->state->op = REPORT_STATE;
	c->state->state = state;
	c->state->reboots = reboots;
	snprintf(c->state->cause, sizeof(c->state->cause), "%s", cause);
	c->state_waits = true;
	push(c);
}

void control_started(struct control *c, const struct guest_report *r)
{
	/* If the monitor has gone already, registering with the next one says the same. */
	if (c->sock >= 0)
		(void)send_report(c, r, c->env.ram_fd);
}

void control_shown(struct control *c, json_t *shown)
{
	struct guest_report *r = calloc(1, sizeof(*r));

	if (r && c->sock >= 0) {
		r->op = REPORT_SHOWN;
		r->shown = shown;
		(void)send_report(c, r, -1);
	}
	free(r);
}

/* One that does not get through is followed by the answer to the next ping. */
static void pong(struct control *c)
{
	struct guest_report *r = calloc(1, sizeof(*r));

	if (r && c->sock >= 0) {
		r->op = REPORT_PONG;
		(void)send_report(c, r, -1);
	}
	free(r);
}

static void find_monitor(struct control *c);

/* From here on another cell's monitor is this guest's: whoever answers at the door. */
static void change_monitor(struct control *c)
{
	lose(c);
	find_monitor(c);
}

static void obey(struct control *c, const json_t *value)
{
	struct guest_order *order = malloc(sizeof(*order));
	struct err e;

	if (!order)
		return;
	/* A guest is started once; what makes no sense is not worth more than a line. */
	if (guest_order_decode(value, order, &e)) {
		fprintf(stderr, "guest: the monitor sent nonsense: %s\n", e.text);
		free(order);
		return;
	}
	if (order->op == ORDER_KEEP ||
		(order->op == ORDER_REHOME && c->env.rehome(c->env.ctx, &order->home))) {
		json_decref(c->ledger);
		c->ledger = json_incref(order->ledger);
		if (order->op == ORDER_REHOME)
			change_monitor(c);
	} else if (order->op == ORDER_PING) {
		pong(c);
	} else if (order->op == ORDER_REHOME) {
		fprintf(stderr, "guest: the monitor sent a home that is none for this guest\n");
	} else if (order->op != ORDER_START) {
		c->env.order(c->env.ctx, order->op);
	}
	guest_order_fini(order);
	free(order);
}

static void on_socket(void *ctx, uint32_t events)
{
	struct control *c = ctx;
	json_t *value;
	int fd, rc;

	if (events & EPOLLOUT) {
		push(c);
		if (c->sock < 0)
			return;
	}
	rc = report_recv(c->sock, &value, &fd);
	if (rc == -EAGAIN || rc == -EINTR)
		return;
	if (rc != 1) {
		lose(c);
		return;
	}
	if (fd >= 0)
		close(fd);
	obey(c, value);
	json_decref(value);
}

static int watch(struct control *c, int sock)
{
	int rc = reactor_watch(c->reactor, &c->watch, sock, EPOLLIN, on_socket, c);

	if (!rc) {
		c->sock = sock;
		trap_report_to(sock);
	}
	return rc;
}

static int connect_monitor(const struct control *c)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (sock < 0)
		return -errno;
	memcpy(address.sun_path, c->path, sizeof(c->path));
	if (connect(sock, (struct sockaddr *)&address, sizeof(address)) == 0)
		return sock;
	close(sock);
	return -ECONNREFUSED;
}

static void register_again(struct control *c)
{
	struct guest_report *r = calloc(1, sizeof(*r));

	if (!r)
		return;
	c->env.describe(c->env.ctx, r);
	r->op = REPORT_REGISTER;
	r->ledger = c->ledger; /* borrowed: it is not freed with *r */
	if (send_report(c, r, c->env.ram_fd)) {
		lose(c);
	} else {
		/* It has all that a waiting state message would say. */
		c->state_waits = false;
		arm(c, false);
		push(c);
	}
	free(r);
}

static void find_monitor(struct control *c)
{
	int sock = connect_monitor(c);

	if (sock < 0)
		return;
	if (watch(c, sock))
		close(sock);
	else
		register_again(c);
}

static void on_timer(void *ctx, uint32_t events)
{
	struct control *c = ctx;
	uint64_t count;

	(void)events;
	(void)!read(c->timer_fd, &count, sizeof(count));
	if (c->sock < 0)
		find_monitor(c);
}

int control_init(struct control *c, struct reactor *r, int sock, const char *path,
	const struct control_env *env, struct err *e)
{
	int rc;

	memset(c, 0, sizeof(*c));
	c->reactor = r;
	c->env = *env;
	c->sock = -1;
	c->watch.fd = c->timer_watch.fd = -1;
	CHECK(strlen(path) < sizeof(c->path));
	memcpy(c->path, path, strlen(path));
	c->state = calloc(1, sizeof(*c->state));
	c->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	rc = c->timer_fd < 0 ? -errno : 0;
	if (!c->state)
		rc = -ENOMEM;
	if (!rc)
		rc = reactor_watch(r, &c->timer_watch, c->timer_fd, EPOLLIN, on_timer, c);
	if (!rc && fcntl(sock, F_SETFL, O_NONBLOCK) < 0)
		rc = -errno;
	if (!rc)
		rc = watch(c, sock);
	if (!rc)
		return 0;
	control_fini(c);
	return err_set(e, EXIT_ENVIRONMENT, "the monitor's socket can't be watched: %s",
		strerrordesc_np(-rc));
}

void control_fini(struct control *c)
{
	trap_report_to(-1);
	reactor_unwatch(c->reactor, &c->watch);
	reactor_unwatch(c->reactor, &c->timer_watch);
	if (c->sock >= 0)
		close(c->sock);
	if (c->timer_fd >= 0)
		close(c->timer_fd);
	free(c->state);
	json_decref(c->ledger);
}

void control_last_words(struct control *c, int ms)
{
	struct pollfd room = { .fd = c->sock, .events = POLLOUT };

	push(c);
	if (c->sock < 0 || (!c->state_waits && !c->errors_wait))
		return;
	if (poll(&room, 1, ms) == 1)
		push(c);
}
