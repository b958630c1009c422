/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bench_vcpu_move GUEST PID TID CELL A B ROUNDS: moves vCPU 0 of a guest that is busy from CPU A
 * to CPU B and back, by a plain sched_setaffinity() and by its cell's monitor, turn by turn. Each
 * time counts until the thread has been put on the other CPU and has got it. Prints medians as one
 * JSON object; `bench/run vcpu-move` calls it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "faultcontain/host/proc.h"
#include "monitor/cli/cli.h"
#include "monitor/cli/client.h"
#include "numa/check.h"
#include "numa/host/bind.h"

#define ROUNDS_MAX 10000u
#define ANSWER_MS 20000
/* So long is waited for a thread to arrive. */
#define ARRIVE_NS 10000000000ull

struct bench {
	const char *guest;
	pid_t tid;
	int stat_fd, sched_fd;
	struct client *client;
	uint32_t cpus[2];
	uint64_t plain[2 * ROUNDS_MAX], ours[2 * ROUNDS_MAX], inside[2 * ROUNDS_MAX];
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* How often the thread got a CPU so far (the third number of its schedstat). */
static uint64_t times_run(const struct bench *b)
{
	unsigned long long times = 0;
	char text[96];
	ssize_t n = pread(b->sched_fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return sscanf(text, "%*u %*u %llu", &times) == 1 ? times : 0;
}

static int arrive(
	const struct bench *b, uint32_t cpu, uint64_t before, uint64_t start_ns, uint64_t *took_ns)
{
	uint32_t on;

	while (proc_last_cpu(b->stat_fd, &on) || on != cpu || times_run(b) == before)
		if (now_ns() - start_ns > ARRIVE_NS)
			return -ETIMEDOUT;
	*took_ns = now_ns() - start_ns;
	return 0;
}

static int plain_move(const struct bench *b, uint32_t cpu, uint64_t *took_ns)
{
	const uint64_t before = times_run(b), start_ns = now_ns();
	struct cpu_set one = { { 0 } };
	int rc;

	cpu_set_add(&one, cpu);
	rc = bind_thread(b->tid, &one);
	return rc ? rc : arrive(b, cpu, before, start_ns, took_ns);
}

static int our_move(const struct bench *b, uint32_t cpu, uint64_t *took_ns, uint64_t *inside_ns)
{
	const uint64_t before = times_run(b), start_ns = now_ns();
	json_t *reply;
	struct err e;

	if (client_request(b->client,
		    json_pack("{s:s, s:s, s:I, s:I}", "op", "move-vcpu", "name", b->guest, "vcpu",
			    (json_int_t)0, "cpu", (json_int_t)cpu),
		    ANSWER_MS, NULL, NULL, &reply, &e)) {
		fprintf(stderr, "%s\n", e.text);
		return -EIO;
	}
	*inside_ns = cli_number(reply, "us") * 1000;
	json_decref(reply);
	return arrive(b, cpu, before, start_ns, took_ns);
}

static int ascending(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double median_us(uint64_t *ns, uint32_t count)
{
	qsort(ns, count, sizeof(*ns), ascending);
	const uint32_t middle = count / 2;

	return (double)ns[middle] / 1000;
}

int main(int argc, char **argv)
{
	struct bench *b = calloc(1, sizeof(*b));
	uint32_t rounds = argc == 8 ? (uint32_t)strtoul(argv[7], NULL, 10) : 0;
	char path[64];
	struct err e;
	int rc = 0;

	CHECK(b != NULL);
	if (rounds < 1 || rounds > ROUNDS_MAX) {
		free(b);
		fprintf(stderr, "bench_vcpu_move GUEST PID TID CELL A B ROUNDS\n");
		return EXIT_USAGE;
	}
	b->guest = argv[1];
	b->tid = (pid_t)strtol(argv[3], NULL, 10);
	b->cpus[0] = (uint32_t)strtoul(argv[6], NULL, 10);
	b->cpus[1] = (uint32_t)strtoul(argv[5], NULL, 10);
	snprintf(path, sizeof(path), "/proc/%.10s/task/%.10s/stat", argv[2], argv[3]);
	b->stat_fd = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%.10s/task/%.10s/schedstat", argv[2], argv[3]);
	b->sched_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (b->stat_fd < 0 || b->sched_fd < 0 ||
		client_open_cell(&b->client, (uint32_t)atoi(argv[4]), &e)) {
		free(b);
		fprintf(stderr, "no such thread, or no monitor\n");
		return EXIT_FAILED;
	}
	for (uint32_t i = 0; !rc && i < 2 * rounds; i++)
		rc = plain_move(b, b->cpus[i % 2], &b->plain[i]);
	for (uint32_t i = 0; !rc && i < 2 * rounds; i++)
		rc = our_move(b, b->cpus[i % 2], &b->ours[i], &b->inside[i]);
	client_close(b->client);
	if (rc) {
		free(b);
		fprintf(stderr, "a move failed: %s\n", strerrordesc_np(-rc));
		return EXIT_FAILED;
	}
	printf("{\"plain_us\": %.1f, \"ours_us\": %.1f, \"monitor_us\": %.1f}\n",
		median_us(b->plain, 2 * rounds), median_us(b->ours, 2 * rounds),
		median_us(b->inside, 2 * rounds));
	free(b);
	return EXIT_OK;
}
