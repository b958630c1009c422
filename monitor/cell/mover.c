/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cell/mover.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "monitor/cell/keeper.h"
#include "monitor/guest/memory.h"
#include "numa/check.h"

#define PAGE_BYTES 4096u
/* A page that is in use at the moment is tried again so often. */
#define PASSES 6
#define PAUSE_US 2000u
/* Parts of an address space that map guest RAM. */
#define AREAS_MAX 256u
/* One that an operator has put into a group of his own is left there. */
#define GROUPS KEEPER_GROUP "/"

/* Where the jobs that have ended wait for the loop. Freed by the last who knows it. */
struct mover {
	struct loop *loop;
	struct watch watch;
	int event_fd; /* owned */
	pthread_mutex_t lock;
	bool closed;
	uint32_t running;
	struct mover_job *ended;
};

struct mover_job {
	struct mover *m;
	struct mover_order order;
	struct mover_result result;
	mover_done *done;
	void *ctx;
	atomic_bool cancelled;
	struct mover_job *next;
};

/* A part of the guest process's address space: [start, end) is RAM from `off` on. */
struct area {
	uint64_t start, end, off;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The areas of guest RAM in a process. The number, or -errno. */
static int find_areas(pid_t pid, struct area areas[AREAS_MAX])
{
	char path[64], line[512];
	uint32_t count = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file) && count < AREAS_MAX) {
		unsigned long long start, end, off;

		if (!strstr(line, "/memfd:" GUEST_MEMORY_NAME " ") &&
			!strstr(line, "/memfd:" GUEST_MEMORY_NAME "\n"))
			continue;
		if (sscanf(line, "%llx-%llx %*s %llx", &start, &end, &off) == 3)
			areas[count++] = (struct area){ .start = start, .end = end, .off = off };
	}
	fclose(file);
	return count ? (int)count : -ENOENT;
}

/* From now on its pages come from the new node, whoever touches them: the policy is the file's. */
static int set_policy(const struct mover_order *o, const struct mover_piece *p)
{
	struct node_set one = { { 0 } };
	void *at = mmap(
		NULL, p->bytes, PROT_NONE, MAP_SHARED | MAP_NORESERVE, o->ram_fd, (off_t)p->off);
	int rc;

	if (at == MAP_FAILED)
		return -errno;
	node_set_add(&one, p->os_node);
	rc = bind_memory(at, p->bytes, &one, false);
	munmap(at, p->bytes);
	return rc;
}

struct tally {
	uint64_t pages, left;
	int why; /* of the last page that did not move, -errno */
};

/* Moves [at, at + bytes) of the process's address space. 0 or -errno. */
static int move_range(
	struct mover_job *job, uint64_t at, uint64_t bytes, uint32_t os_node, struct tally *t)
{
	void *pages[BIND_MOVE_PAGES];
	int status[BIND_MOVE_PAGES];

	while (bytes > 0) {
		uint32_t n = bytes / PAGE_BYTES < BIND_MOVE_PAGES ? (uint32_t)(bytes / PAGE_BYTES)
								  : BIND_MOVE_PAGES;
		int rc;

		if (atomic_load(&job->cancelled))
			return -ECANCELED;
		for (uint32_t i = 0; i < n; i++)
			/* An address of another process. NOLINTNEXTLINE(performance-no-int-to-ptr)
			 */
			pages[i] = (void *)(uintptr_t)(at + (uint64_t)i * PAGE_BYTES);
		rc = bind_move_pages(job->order.proc.pid, pages, n, os_node, status);
		/* -ENOENT: none of them is there. */
		if (rc && rc != -ENOENT)
			return rc;
		for (uint32_t i = 0; i < n && !rc; i++) {
			if (status[i] == -ENOENT || status[i] == -EFAULT)
				continue;
			t->pages++;
			if (status[i] == (int)os_node)
				continue;
			t->left++;
			t->why = status[i] < 0 ? status[i] : -EAGAIN;
		}
		at += (uint64_t)n * PAGE_BYTES;
		bytes -= (uint64_t)n * PAGE_BYTES;
	}
	return 0;
}

static int move_piece(struct mover_job *job, const struct area *areas, int area_count, uint32_t i,
	struct tally *t)
{
	const struct mover_piece *p = &job->order.pieces[i];
	int rc = 0;

	for (int a = 0; a < area_count && !rc; a++) {
		uint64_t area_end = areas[a].off + (areas[a].end - areas[a].start);
		uint64_t begin = p->off > areas[a].off ? p->off : areas[a].off;
		uint64_t end = p->off + p->bytes < area_end ? p->off + p->bytes : area_end;

		if (begin < end)
			rc = move_range(job, areas[a].start + (begin - areas[a].off), end - begin,
				p->os_node, t);
	}
	return rc;
}

static int move_all(struct mover_job *job)
{
	const struct mover_order *o = &job->order;
	struct area areas[AREAS_MAX] = { { 0 } };
	struct tally t = { 0 };
	int rc = 0;

	for (uint32_t i = 0; i < o->piece_count && !rc; i++)
		rc = set_policy(o, &o->pieces[i]);
	if (rc)
		return err_set(&job->result.e, EXIT_ENVIRONMENT,
			"guest RAM can't be bound to its new nodes: %s", strerrordesc_np(-rc));
	for (int pass = 0; pass < PASSES; pass++) {
		/* Anew each time: what the guest process maps may change. */
		int count = find_areas(o->proc.pid, areas);

		rc = count < 0 ? count : 0;
		t = (struct tally){ 0 };
		for (uint32_t i = 0; i < o->piece_count && !rc; i++)
			rc = move_piece(job, areas, count, i, &t);
		if (rc || t.left == 0)
			break;
		usleep(PAUSE_US << (unsigned int)pass);
	}
	job->result.pages = t.pages;
	job->result.left = t.left;
	if (rc)
		return err_set(&job->result.e, EXIT_FAILED, "its pages can't be moved: %s",
			strerrordesc_np(-rc));
	if (t.left > 0)
		return err_set(&job->result.e, t.why == -ENOMEM ? EXIT_NO_ROOM : EXIT_FAILED,
			"%llu of %llu pages did not move: %s", (unsigned long long)t.left,
			(unsigned long long)t.pages, strerrordesc_np(-t.why));
	return 0;
}

/* A move to another cell that came to nothing may have left it in the group that it has there. */
static void join(const struct mover_order *o)
{
	char path[64], line[CGROUP_PATH_BYTES + 8];
	struct err e;
	FILE *file;
	bool in = true;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)o->proc.pid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		if (!strncmp(line, "0::/", 4))
			in = strncmp(line + 4, GROUPS, strlen(GROUPS)) != 0 ||
			     !strcmp(line + 4, o->group);
	}
	if (file)
		fclose(file);
	if (!in && cgroup_add(o->group, o->proc.pid, &e))
		fprintf(stderr, "%s\n", e.text);
}

static void work(struct mover_job *job)
{
	const struct mover_order *o = &job->order;
	uint64_t begun_ns;
	struct err e;
	int rc = 0;

	if (o->house.wanted) {
		begun_ns = now_ns();
		job->result.rc =
			mover_house(o, &job->result.pages, &job->result.left, &job->result.e);
		job->result.took_ns = now_ns() - begun_ns;
		return;
	}
	if (o->group[0])
		join(o);
	if (o->group[0])
		rc = cgroup_set_nodes(o->group, &o->nodes_during, &e);
	/* Without a group of its own it may use all nodes. */
	if (rc && rc != -ENOENT)
		fprintf(stderr, "%s\n", e.text);
	begun_ns = now_ns();
	job->result.rc = proc_over(&o->proc) == 0
				 ? move_all(job)
				 : err_set(&job->result.e, EXIT_FAILED, "its process has ended");
	job->result.took_ns = now_ns() - begun_ns;
	if (atomic_load(&job->cancelled))
		job->result.rc = -ECANCELED;
	if (o->group[0] && job->result.rc == 0)
		(void)cgroup_set_nodes(o->group, &o->nodes_after, &e);
}

static void mover_free(struct mover *m)
{
	pthread_mutex_destroy(&m->lock);
	close(m->event_fd);
	free(m);
}

static void *job_thread(void *arg)
{
	struct mover_job *job = arg;
	struct mover *m = job->m;
	const uint64_t one = 1;
	bool last;

	bind_name_thread("cv-mover");
	/* The monitor has precedence over everything on its CPUs; this is none of its urgent work.
	 */
	setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 0);
	work(job);
	close(job->order.ram_fd);
	pthread_mutex_lock(&m->lock);
	last = --m->running == 0 && m->closed;
	if (m->closed) {
		free(job);
	} else {
		job->next = m->ended;
		m->ended = job;
		(void)!write(m->event_fd, &one, sizeof(one));
	}
	pthread_mutex_unlock(&m->lock);
	if (last)
		mover_free(m);
	return NULL;
}

static void jobs_ended(void *ctx, uint32_t events)
{
	struct mover *m = ctx;
	struct mover_job *ended;
	uint64_t count;

	(void)events;
	(void)!read(m->event_fd, &count, sizeof(count));
	pthread_mutex_lock(&m->lock);
	ended = m->ended;
	m->ended = NULL;
	pthread_mutex_unlock(&m->lock);
	while (ended) {
		struct mover_job *job = ended;

		ended = job->next;
		job->done(job->ctx, &job->result);
		free(job);
	}
}

int mover_open(struct mover **out, struct loop *loop)
{
	struct mover *m = calloc(1, sizeof(*m));
	int rc;

	CHECK(m != NULL);
	m->loop = loop;
	pthread_mutex_init(&m->lock, NULL);
	m->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = m->event_fd < 0 ? -errno : loop_watch(loop, &m->watch, m->event_fd, jobs_ended, m);
	if (rc) {
		if (m->event_fd >= 0)
			close(m->event_fd);
		free(m);
		return rc;
	}
	*out = m;
	return 0;
}

void mover_close(struct mover *m)
{
	bool last;

	loop_unwatch(m->loop, &m->watch);
	pthread_mutex_lock(&m->lock);
	m->closed = true;
	last = m->running == 0;
	while (m->ended) {
		struct mover_job *job = m->ended;

		m->ended = job->next;
		free(job);
	}
	pthread_mutex_unlock(&m->lock);
	if (last)
		mover_free(m);
}

int mover_start(struct mover *m, const struct mover_order *order, mover_done *done, void *ctx,
	struct mover_job **out)
{
	struct mover_job *job = calloc(1, sizeof(*job));
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	CHECK(job != NULL && order->piece_count <= MOVER_PIECES_MAX);
	job->m = m;
	job->order = *order;
	job->done = done;
	job->ctx = ctx;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_mutex_lock(&m->lock);
	m->running++;
	pthread_mutex_unlock(&m->lock);
	rc = pthread_create(&thread, &attr, job_thread, job);
	pthread_attr_destroy(&attr);
	if (rc) {
		pthread_mutex_lock(&m->lock);
		m->running--;
		pthread_mutex_unlock(&m->lock);
		close(order->ram_fd);
		free(job);
		return -rc;
	}
	*out = job;
	return 0;
}

void mover_cancel(struct mover_job *job)
{
	atomic_store(&job->cancelled, true);
}
