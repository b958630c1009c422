/* SPDX-License-Identifier: BSD-2-Clause */
#include "sim/cells/many.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct worker {
	int fd; /* owned: results come from here; -1: it has ended */
	pid_t pid;
	uint64_t seed; /* that it runs now */
};

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool write_all(int fd, const void *from, size_t count)
{
	const char *at = from;

	while (count) {
		ssize_t n = write(fd, at, count);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		count -= (size_t)n;
	}
	return true;
}

/* 1: read; 0: the other side has closed it; -1: failed. */
static int read_all(int fd, void *to, size_t count)
{
	char *at = to;

	while (count) {
		ssize_t n = read(fd, at, count);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return (int)n;
		at += n;
		count -= (size_t)n;
	}
	return 1;
}

_Noreturn static void work(
	const struct sim_cfg *cfg, uint64_t seed, uint64_t last, uint32_t step, int fd)
{
	struct sim_result result;

	for (;; seed += step) {
		if (!sim_run(cfg, seed, &result)) {
			result.violated = true;
			snprintf(result.why, sizeof(result.why), "no memory for the machine");
		}
		if (!write_all(fd, &result, sizeof(result)) || last - seed < step)
			break;
	}
	_exit(0);
}

static void fail(struct many *all, uint64_t seed, const char *why)
{
	if (all->violations++ && seed >= all->first_failing_seed)
		return;
	all->first_failing_seed = seed;
	snprintf(all->first_why, sizeof(all->first_why), "%s", why);
}

static void higher(uint64_t *most, uint64_t value)
{
	if (*most < value)
		*most = value;
}

static void add(struct many *all, const struct sim_result *r)
{
	uint64_t mixed =
		(r->digest ^ r->seed * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0x2127599bf4325c37);

	all->runs++;
	all->digest += mixed ^ mixed >> 29;
	all->events += r->events;
	all->messages += r->messages;
	all->views += r->views;
	all->node_deaths += r->node_deaths;
	all->node_hangs += r->node_hangs;
	all->monitor_crashes += r->monitor_crashes;
	all->monitor_hangs += r->monitor_hangs;
	all->restarts += r->restarts;
	all->rejoins += r->rejoins;
	all->guests_started += r->guests_started;
	all->guests_hurt += r->guests_hurt;
	all->loans += r->loans;
	all->vcpu_moves += r->vcpu_moves;
	all->vcpu_visits += r->vcpu_visits;
	all->cpus_off += r->cpus_off;
	all->recovery_ns += r->recovery_ns;
	all->recovery_messages += r->recovery_messages;
	all->settle_ns += r->settle_ns;
	higher(&all->recovery_ns_max, r->recovery_ns);
	higher(&all->recovery_messages_max, r->recovery_messages_max);
	higher(&all->settle_ns_max, r->settle_ns);
	if (r->violated)
		fail(all, r->seed, r->why);
}

static int start(
	struct worker *w, const struct sim_cfg *cfg, uint64_t seed, uint64_t last, uint32_t step)
{
	int ends[2];

	if (pipe(ends))
		return -errno;
	w->pid = fork();
	if (w->pid == 0) {
		close(ends[0]);
		work(cfg, seed, last, step, ends[1]);
	}
	close(ends[1]);
	if (w->pid < 0) {
		close(ends[0]);
		return -errno;
	}
	w->fd = ends[0];
	w->seed = seed;
	return 0;
}

/* The worker's pipe is closed: it is done, or the code under test crashed with a seed. */
static int ended(
	struct worker *w, const struct sim_cfg *cfg, uint64_t last, uint32_t step, struct many *all)
{
	char why[SIM_WHY_BYTES];
	uint64_t seed = w->seed;
	int status;

	close(w->fd);
	w->fd = -1;
	if (waitpid(w->pid, &status, 0) < 0)
		return -errno;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	snprintf(why, sizeof(why), "the code under test ended by %s %d",
		WIFSIGNALED(status) ? "signal" : "exit status",
		WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	all->runs++;
	all->crashed++;
	fail(all, seed, why);
	return last - seed < step ? 0 : start(w, cfg, seed + step, last, step);
}

static void show_progress(const struct many *all, uint64_t total, double *shown, double began)
{
	double now = seconds();

	if (!isatty(STDERR_FILENO) || now - *shown < 0.5)
		return;
	*shown = now;
	fprintf(stderr,
		"\r%" PRIu64 " of %" PRIu64 " machines, %" PRIu64 " broke a promise, %.0f s ",
		all->runs, total, all->violations, now - began);
}

static int collect(struct worker *workers, uint32_t jobs, const struct sim_cfg *cfg, uint64_t last,
	uint64_t total, struct many *all)
{
	struct pollfd *fds = calloc(jobs, sizeof(*fds));
	double began = seconds(), shown = 0;
	uint32_t open = jobs;
	int rc = fds ? 0 : -ENOMEM;

	while (!rc && open) {
		for (uint32_t i = 0; i < jobs; i++)
			fds[i] = (struct pollfd){ .fd = workers[i].fd, .events = POLLIN };
		if (poll(fds, jobs, -1) < 0 && errno != EINTR)
			rc = -errno;
		for (uint32_t i = 0; !rc && i < jobs; i++) {
			struct sim_result r;

			if (!fds[i].revents)
				continue;
			if (read_all(workers[i].fd, &r, sizeof(r)) == 1) {
				add(all, &r);
				workers[i].seed = r.seed + jobs;
			} else {
				rc = ended(&workers[i], cfg, last, jobs, all);
				open -= workers[i].fd < 0;
			}
		}
		show_progress(all, total, &shown, began);
	}
	if (shown > 0)
		fputc('\n', stderr);
	all->wall_seconds = seconds() - began;
	free(fds);
	return rc;
}

int many_run(
	const struct sim_cfg *cfg, uint64_t first, uint64_t last, uint32_t jobs, struct many *all)
{
	struct worker *workers;
	uint32_t started = 0;
	int rc = 0;

	memset(all, 0, sizeof(*all));
	if (last - first < jobs)
		jobs = (uint32_t)(last - first + 1);
	workers = calloc(jobs, sizeof(*workers));
	if (!workers)
		return -ENOMEM;
	for (; !rc && started < jobs; started += !rc)
		rc = start(&workers[started], cfg, first + started, last, jobs);
	if (!rc)
		rc = collect(workers, jobs, cfg, last, last - first + 1, all);
	for (uint32_t i = 0; rc && i < started; i++)
		if (workers[i].fd >= 0)
			close(workers[i].fd); /* it ends when it next writes */
	free(workers);
	return rc;
}
