/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/guest/reactor.h"

#include "numa/check.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

int reactor_init(struct reactor *r)
{
	*r = (struct reactor){ .epoll = epoll_create1(EPOLL_CLOEXEC) };
	return r->epoll < 0 ? -errno : 0;
}

void reactor_fini(struct reactor *r)
{
	close(r->epoll);
	r->epoll = -1;
}

int reactor_watch(struct reactor *r, struct reactor_watch *w, int fd, uint32_t events,
	void (*ready)(void *ctx, uint32_t events), void *ctx)
{
	struct epoll_event event = { .events = events, .data.ptr = w };

	*w = (struct reactor_watch){ fd, events, ready, ctx };
	if (epoll_ctl(r->epoll, EPOLL_CTL_ADD, fd, &event) == 0)
		return 0;
	w->fd = -1;
	return -errno;
}

void reactor_want(struct reactor *r, struct reactor_watch *w, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = w };

	if (w->fd < 0 || w->events == events)
		return;
	w->events = events;
	CHECK(epoll_ctl(r->epoll, EPOLL_CTL_MOD, w->fd, &event) == 0);
}

void reactor_unwatch(struct reactor *r, struct reactor_watch *w)
{
	if (w->fd < 0)
		return;
	CHECK(epoll_ctl(r->epoll, EPOLL_CTL_DEL, w->fd, NULL) == 0);
	w->fd = -1;
}

void reactor_run(struct reactor *r)
{
	while (!r->over) {
		struct epoll_event event;
		/* One at a time: a callback may end what the next event would be about. */
		int got = epoll_wait(r->epoll, &event, 1, -1);

		CHECK(got >= 0 || errno == EINTR);
		if (got == 1) {
			struct reactor_watch *w = event.data.ptr;

			w->ready(w->ctx, event.events);
		}
	}
}

void reactor_stop(struct reactor *r)
{
	r->over = true;
}
