/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cell/binder.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "numa/check.h"
#include "numa/host/bind.h"

/* Shared with the thread, which frees it if it is left behind. */
struct binder {
	pthread_mutex_t lock;
	pthread_cond_t ordered, done;
	bool order, busy, closed;
	pid_t tid;
	struct cpu_set cpus, now;
	int rc;
};

static void binder_free(struct binder *b)
{
	pthread_cond_destroy(&b->ordered);
	pthread_cond_destroy(&b->done);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

static void *binder_thread(void *arg)
{
	struct binder *b = arg;

	bind_name_thread("binder");
	pthread_mutex_lock(&b->lock);
	for (;;) {
		struct cpu_set cpus, now = { { 0 } };
		pid_t tid;
		int rc;

		while (!b->order && !b->closed)
			pthread_cond_wait(&b->ordered, &b->lock);
		if (b->closed)
			break;
		b->order = false;
		tid = b->tid;
		cpus = b->cpus;
		pthread_mutex_unlock(&b->lock);
		rc = bind_thread(tid, &cpus);
		if (!rc)
			rc = bind_thread_read(tid, &now);
		pthread_mutex_lock(&b->lock);
		b->rc = rc;
		b->now = now;
		b->busy = false;
		pthread_cond_signal(&b->done);
	}
	pthread_mutex_unlock(&b->lock);
	binder_free(b);
	return NULL;
}

int binder_open(struct binder **out)
{
	struct binder *b = calloc(1, sizeof(*b));
	pthread_condattr_t attr;
	sigset_t all, old;
	pthread_t thread;
	int rc;

	CHECK(b != NULL);
	CHECK(!pthread_mutex_init(&b->lock, NULL) && !pthread_condattr_init(&attr));
	CHECK(!pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
	CHECK(!pthread_cond_init(&b->ordered, NULL) && !pthread_cond_init(&b->done, &attr));
	pthread_condattr_destroy(&attr);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	rc = pthread_create(&thread, NULL, binder_thread, b);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc) {
		binder_free(b);
		return -rc;
	}
	pthread_detach(thread);
	*out = b;
	return 0;
}

void binder_close(struct binder *b)
{
	pthread_mutex_lock(&b->lock);
	b->closed = true;
	pthread_cond_signal(&b->ordered);
	pthread_mutex_unlock(&b->lock);
}

int binder_bind(struct binder *b, pid_t tid, const struct cpu_set *cpus, uint64_t wait_ns,
	struct cpu_set *now)
{
	struct timespec until;
	int rc = 0;

	CHECK(clock_gettime(CLOCK_MONOTONIC, &until) == 0);
	wait_ns += (uint64_t)until.tv_nsec;
	until.tv_sec += (time_t)(wait_ns / 1000000000u);
	until.tv_nsec = (long)(wait_ns % 1000000000u);
	pthread_mutex_lock(&b->lock);
	if (b->busy) {
		pthread_mutex_unlock(&b->lock);
		return -EBUSY;
	}
	b->busy = b->order = true;
	b->tid = tid;
	b->cpus = *cpus;
	pthread_cond_signal(&b->ordered);
	while (b->busy && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&b->done, &b->lock, &until);
	rc = b->busy ? -ETIMEDOUT : b->rc;
	*now = b->now;
	pthread_mutex_unlock(&b->lock);
	return rc;
}
