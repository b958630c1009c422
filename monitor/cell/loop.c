/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cell/loop.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

int loop_init(struct loop *loop)
{
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return loop->epoll_fd < 0 ? -errno : 0;
}

void loop_fini(struct loop *loop)
{
	close(loop->epoll_fd);
	loop->epoll_fd = -1;
}

int loop_watch(struct loop *loop, struct watch *w, int fd,
	void (*ready)(void *ctx, uint32_t events), void *ctx)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = w };

	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev))
		return -errno;
	w->fd = fd;
	w->active = 1;
	w->ready = ready;
	w->ctx = ctx;
	return 0;
}

void loop_unwatch(struct loop *loop, struct watch *w)
{
	if (w->active)
		epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	memset(w, 0, sizeof(*w));
}

void loop_turn(struct loop *loop, int timeout_ms)
{
	struct epoll_event ev;

	if (epoll_wait(loop->epoll_fd, &ev, 1, timeout_ms) == 1) {
		struct watch *w = ev.data.ptr;

		w->ready(w->ctx, ev.events);
	}
}
