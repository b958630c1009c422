/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/host/local_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "faultcontain/wire.h"
#include "numa/check.h"

#define EVENTS_AT_ONCE 64

const char *link_down_name(enum link_down why)
{
	static const char *const names[LINK_DOWN_COUNT] = {
		[LINK_CLOSED] = "closed",
		[LINK_LOST] = "memory-lost",
		[LINK_LIED] = "lied",
		[LINK_REPLACED] = "replaced",
		[LINK_DISMISSED] = "dismissed",
	};

	return why < LINK_DOWN_COUNT ? names[why] : "unknown";
}

int local_socket_path(const struct local *t, uint16_t cell, const char *suffix, char *path)
{
	int n = snprintf(path, LOCAL_PATH_BYTES, "%s/cell-%u/fabric.sock%s", t->runtime_dir,
		(unsigned)cell, suffix);

	return n > 0 && n < LOCAL_PATH_BYTES ? 0 : -ENAMETOOLONG;
}

int local_watch(struct local *t, int fd, enum local_event kind, uint32_t index)
{
	struct epoll_event event = {
		.events = EPOLLIN,
		.data.u64 = (uint64_t)kind << 32 | index,
	};

	/* A connection changes its meaning when it becomes a link. */
	if (epoll_ctl(t->epoll, EPOLL_CTL_ADD, fd, &event) == 0)
		return 0;
	if (errno == EEXIST && epoll_ctl(t->epoll, EPOLL_CTL_MOD, fd, &event) == 0)
		return 0;
	return -errno;
}

/* Arms the timer for the earlier of our own and the owner's time. */
static void arm(struct local *t)
{
	uint64_t at_ns = t->due_ns < t->wake_ns ? t->due_ns : t->wake_ns;
	struct itimerspec when = { 0 };

	/* A timer that is early costs one look; setting it costs a system call each time. */
	if (at_ns >= t->armed_ns)
		return;
	if (at_ns == 0)
		at_ns = 1; /* 0 would disarm it */
	when.it_value.tv_sec = (time_t)(at_ns / 1000000000u);
	when.it_value.tv_nsec = (long)(at_ns % 1000000000u);
	if (timerfd_settime(t->timer, TFD_TIMER_ABSTIME, &when, NULL) == 0)
		t->armed_ns = at_ns;
}

static void timer_rang(struct local *t)
{
	uint64_t count;
	ssize_t n = read(t->timer, &count, sizeof(count));

	(void)n;
	t->armed_ns = UINT64_MAX;
	if (t->wake_ns <= t->now_ns)
		t->wake_ns = UINT64_MAX;
}

static void handle(struct local *t, uint64_t what)
{
	uint32_t index = (uint32_t)what;

	switch ((enum local_event)(what >> 32)) {
	case LOCAL_TIMER:
		timer_rang(t);
		break;
	case LOCAL_LISTENER:
		local_accept(t);
		break;
	case LOCAL_PENDING:
		local_pending_ready(t, index);
		break;
	case LOCAL_SOCK:
		local_sock_ready(t, (uint16_t)index);
		break;
	case LOCAL_BELL:
		local_link_drain(t, (uint16_t)index);
		break;
	}
}

static void link_timers(struct local *t, uint16_t cell)
{
	struct local_link *link = &t->links[cell];

	if (link->failed)
		local_link_down(t, cell, link->failed_why);
	if (link->state == LINK_OFFERED && link->retry_ns <= t->now_ns)
		local_link_down(t, cell, LINK_CLOSED);
	if (link->state == LINK_IDLE && (link->wanted || link->asked) &&
		link->retry_ns <= t->now_ns)
		local_attempt(t, cell);
	if (link->state != LINK_UP && link->retry_ns < t->due_ns)
		t->due_ns = link->retry_ns;
}

static void timers(struct local *t)
{
	t->due_ns = UINT64_MAX;
	for (uint32_t i = 0; i < LOCAL_PENDING_MAX; i++) {
		if (t->pending[i].sock < 0)
			continue;
		if (t->pending[i].due_ns <= t->now_ns)
			local_pending_close(t, i);
		else if (t->pending[i].due_ns < t->due_ns)
			t->due_ns = t->pending[i].due_ns;
	}
	for (uint32_t cell = 0; cell < t->cell_count; cell++)
		if (cell != t->self_cell)
			link_timers(t, (uint16_t)cell);
}

static void local_process(void *ctx, uint64_t now_ns)
{
	struct local *t = ctx;
	struct epoll_event events[EVENTS_AT_ONCE];
	int n;

	t->now_ns = now_ns;
	n = epoll_wait(t->epoll, events, EVENTS_AT_ONCE, 0);
	for (int i = 0; i < n; i++)
		handle(t, events[i].data.u64);
	if (t->due_ns <= now_ns)
		timers(t);
	arm(t);
}

static int local_event_fd(void *ctx)
{
	return ((struct local *)ctx)->epoll;
}

static void local_wake_at(void *ctx, uint64_t due_ns)
{
	struct local *t = ctx;

	t->wake_ns = due_ns;
	arm(t);
}

static void local_want(void *ctx, uint16_t cell, bool wanted)
{
	struct local *t = ctx;
	struct local_link *link = &t->links[cell];

	CHECK(cell < t->cell_count && cell != t->self_cell);
	if (link->wanted == wanted)
		return;
	link->wanted = wanted;
	if (!wanted) {
		local_link_down(t, cell, LINK_DISMISSED);
		return;
	}
	link->retry_ns = t->now_ns;
	t->due_ns = 0;
	arm(t);
}

static int local_send(void *ctx, uint16_t cell, const void *part0, size_t bytes0, const void *part1,
	size_t bytes1)
{
	struct local *t = ctx;
	int rc = local_link_send(t, cell, part0, bytes0, part1, bytes1);

	if (rc == -EIO)
		arm(t);
	return rc;
}

static void local_fail(void *ctx, uint16_t cell, enum link_down why)
{
	struct local *t = ctx;

	if (t->links[cell].state == LINK_IDLE)
		return;
	local_link_down(t, cell, why);
	arm(t);
}

static void local_accept_from(void *ctx, uint16_t cell, uint64_t min_incarnation)
{
	struct local *t = ctx;

	if (t->min_incarnation[cell] < min_incarnation)
		t->min_incarnation[cell] = min_incarnation;
}

static void local_fini(void *ctx)
{
	struct local *t = ctx;

	for (uint32_t cell = 0; t->links && cell < t->cell_count; cell++)
		local_link_clear(t, (uint16_t)cell);
	for (uint32_t i = 0; i < LOCAL_PENDING_MAX; i++)
		local_pending_close(t, i);
	local_unlisten(t);
	if (t->timer >= 0)
		(void)close(t->timer);
	if (t->epoll >= 0)
		(void)close(t->epoll);
	free(t->record);
	free(t->min_incarnation);
	free(t->links);
	free(t->runtime_dir);
	free(t);
}

static const struct transport_ops local_ops = {
	.event_fd = local_event_fd,
	.process = local_process,
	.wake_at = local_wake_at,
	.want = local_want,
	.send = local_send,
	.fail = local_fail,
	.accept_from = local_accept_from,
	.fini = local_fini,
};

static int allocate(struct local *t, const struct local_cfg *cfg)
{
	t->record_room = ring_record_max(cfg->ring_bytes);
	t->runtime_dir = strdup(cfg->runtime_dir);
	t->links = calloc(t->cell_count, sizeof(*t->links));
	t->min_incarnation = calloc(t->cell_count, sizeof(*t->min_incarnation));
	t->record = malloc(t->record_room);
	if (!t->runtime_dir || !t->links || !t->min_incarnation || !t->record)
		return -ENOMEM;
	for (uint32_t cell = 0; cell < t->cell_count; cell++) {
		struct local_link *link = &t->links[cell];

		link->sock = link->bell_in = link->bell_out = -1;
		link->retry_ns = UINT64_MAX;
	}
	return 0;
}

static int open_all(struct local *t)
{
	char path[LOCAL_PATH_BYTES];
	int rc = proc_self(&t->self);

	if (rc)
		return rc;
	t->epoll = epoll_create1(EPOLL_CLOEXEC);
	t->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (t->epoll < 0 || t->timer < 0)
		return -errno;
	rc = local_watch(t, t->timer, LOCAL_TIMER, 0);
	if (rc)
		return rc;
	rc = local_socket_path(t, t->self_cell, ".new", path);
	if (rc)
		return rc;
	*strrchr(path, '/') = '\0';
	if (mkdir(path, 0700) && errno != EEXIST)
		return -errno;
	return local_listen(t);
}

int local_transport_init(struct transport *out, const struct local_cfg *cfg, struct err *e)
{
	struct local *t;
	int rc;

	CHECK(cfg->self_cell < cfg->cell_count && cfg->cell_count <= WIRE_CELLS_MAX);
	CHECK(cfg->incarnation > 0);
	t = calloc(1, sizeof(*t));
	if (!t)
		return err_set(e, EXIT_ENVIRONMENT, "out of memory");
	*t = (struct local){
		.self_cell = cfg->self_cell,
		.cell_count = cfg->cell_count,
		.incarnation = cfg->incarnation,
		.ring_bytes = cfg->ring_bytes,
		.events = cfg->events,
		.epoll = -1,
		.timer = -1,
		.listener = -1,
		.armed_ns = UINT64_MAX,
		.wake_ns = UINT64_MAX,
		.due_ns = UINT64_MAX,
	};
	for (uint32_t i = 0; i < LOCAL_PENDING_MAX; i++)
		t->pending[i].sock = -1;
	rc = allocate(t, cfg);
	if (!rc)
		rc = open_all(t);
	if (rc == -ENAMETOOLONG) {
		(void)err_set(e, EXIT_ENVIRONMENT,
			"%s: too long for a socket's path; set CELLVISOR_RUNTIME_DIR to a shorter "
			"one",
			cfg->runtime_dir);
	} else if (rc) {
		(void)err_set(e, EXIT_ENVIRONMENT, "%s/cell-%u/fabric.sock: %s", cfg->runtime_dir,
			(unsigned)cfg->self_cell, strerrordesc_np(-rc));
	}
	if (rc) {
		local_fini(t);
		return rc;
	}
	*out = (struct transport){ .ops = &local_ops, .t = t };
	return 0;
}
