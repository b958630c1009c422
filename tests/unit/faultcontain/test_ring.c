/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faultcontain/host/careful.h"
#include "faultcontain/host/ring.h"

#define PAGE 4096u

/* --- careful ---------------------------------------------------------------- */

/* Two pages of a memfd, of which the file has lost the second. */
static uint8_t *half_gone(void)
{
	int fd = memfd_create("half", 0);
	uint8_t *map;

	cr_assert_eq(ftruncate(fd, 2 * PAGE), 0);
	map = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	cr_assert_neq(map, MAP_FAILED);
	memset(map, 0x5a, 2 * PAGE);
	cr_assert_eq(ftruncate(fd, PAGE), 0);
	(void)close(fd);
	cr_assert_eq(careful_install(), 0);
	return map;
}

Test(careful, what_is_there_is_copied_whole)
{
	uint8_t *map = half_gone(), to[300];

	for (size_t bytes = 0; bytes < 40; bytes++)
		for (size_t at = 0; at < 9; at++) {
			memset(to, 0, sizeof(to));
			cr_assert_eq(careful_copy(to + 1, map + at, bytes), 0);
			cr_assert(to[0] == 0 && to[bytes + 1] == 0);
			for (size_t i = 0; i < bytes; i++)
				cr_assert_eq(to[i + 1], 0x5a);
		}
}

Test(careful, a_lost_page_is_an_error_not_a_signal)
{
	uint8_t *map = half_gone(), bytes[64] = { 0 };
	uint64_t value = 42;

	/* Again and again: the signal must not stay blocked after the first. */
	for (int i = 0; i < 3; i++) {
		cr_expect_eq(careful_copy(bytes, map + PAGE, 64), -EIO);
		cr_expect_eq(careful_copy(bytes, map + PAGE, 3), -EIO, "the tail of a copy");
		cr_expect_eq(careful_copy(bytes, map + PAGE - 32, 64), -EIO, "half of it");
		cr_expect_eq(careful_copy(map + PAGE + 8, bytes, 64), -EIO, "writing");
		cr_expect_eq(careful_load64(&value, (uint64_t *)(map + PAGE)), -EIO);
		cr_expect_eq(careful_store64((uint64_t *)(map + PAGE), 1), -EIO);
	}
	cr_expect_eq(value, 42, "a failed load leaves the value alone");
	cr_expect_eq(careful_load64(&value, (uint64_t *)map), 0);
	cr_expect_eq(value, 0x5a5a5a5a5a5a5a5aull);
	cr_expect_eq(careful_store64((uint64_t *)map, 7), 0);
	cr_expect_eq(*(uint64_t *)map, 7);
}

static void *fault_often(void *ctx)
{
	uint8_t to[64];
	uint8_t *map = ctx;

	for (int i = 0; i < 2000; i++)
		if (careful_copy(to, map + PAGE, 64) != -EIO || careful_copy(to, map, 64) != 0)
			return ctx;
	return NULL;
}

Test(careful, threads_do_not_disturb_each_other)
{
	uint8_t *map = half_gone();
	pthread_t threads[4];
	void *wrong;

	for (int i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, fault_often, map), 0);
	for (int i = 0; i < 4; i++) {
		cr_assert_eq(pthread_join(threads[i], &wrong), 0);
		cr_expect_null(wrong);
	}
}

/* Without a sanitizer's handler, which would end the process in its own way. */
static void default_action(void)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };

	(void)sigaction(SIGBUS, &dfl, NULL);
	(void)careful_install();
}

/* How a child ended that did this. */
static int fate(void (*deed)(uint8_t *map))
{
	uint8_t *map = half_gone();
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		default_action();
		deed(map);
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return status;
}

static void touch(uint8_t *map)
{
	((volatile uint8_t *)map)[PAGE] = 1;
}

static void send_sigbus(uint8_t *map)
{
	(void)map;
	(void)raise(SIGBUS);
}

static int foreign_handled;

static void foreign_handler(int number, siginfo_t *info, void *ucontext)
{
	(void)number;
	foreign_handled += careful_fixup(info, ucontext);
}

static void handler_above(uint8_t *map)
{
	struct sigaction action = { .sa_sigaction = foreign_handler, .sa_flags = SA_SIGINFO };
	uint8_t byte;

	(void)sigaction(SIGBUS, &action, NULL);
	if (careful_copy(&byte, map + PAGE, 1) != -EIO || foreign_handled != 1)
		_exit(1);
}

static void leave_well(int number, siginfo_t *info, void *ucontext)
{
	(void)number;
	(void)info;
	(void)ucontext;
	_exit(77);
}

static void handler_below(uint8_t *map)
{
	struct sigaction action = { .sa_sigaction = leave_well, .sa_flags = SA_SIGINFO };
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	uint8_t byte;

	(void)sigaction(SIGBUS, &dfl, NULL);
	(void)sigaction(SIGBUS, &action, NULL);
	if (careful_install() || careful_copy(&byte, map + PAGE, 1) != -EIO)
		_exit(1);
	touch(map);
}

/* A handler that swallowed every SIGBUS would hide real damage. */
Test(careful, other_bus_errors_still_end_the_process)
{
	int status = fate(touch);

	cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	status = fate(send_sigbus);
	cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

Test(careful, composes_with_a_handler_of_the_process)
{
	int status = fate(handler_above);

	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%x", status);
	status = fate(handler_below);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 77, "%x", status);
}

/* --- ring ------------------------------------------------------------------- */

#define DATA RING_DATA_MIN

struct pair {
	int fd;
	struct ring_layout *map;
	struct ring_reader r;
	struct ring_writer w;
	uint8_t to[DATA / 4 + RING_HEADROOM];
	size_t room;
};

static void pair_open(struct pair *p)
{
	size_t bytes = ring_map_bytes(DATA);

	cr_assert_eq(careful_install(), 0);
	p->fd = memfd_create("ring", 0);
	cr_assert_eq(ftruncate(p->fd, (off_t)bytes), 0);
	p->map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, 0);
	cr_assert_neq((void *)p->map, MAP_FAILED);
	p->room = ring_record_max(DATA);
	cr_assert_eq(p->room, sizeof(p->to));
	cr_assert_eq(ring_create(&p->r, p->map, DATA), RING_OK);
	cr_assert_eq(ring_attach(&p->w, p->map, bytes), RING_OK);
}

static enum ring_outcome write_one(struct pair *p, const void *bytes, size_t count)
{
	int bell;

	return ring_write(&p->w, bytes, count / 3, (const uint8_t *)bytes + count / 3,
		count - count / 3, &bell);
}

Test(ring, records_of_every_length_come_out_in_order)
{
	struct pair p;
	uint8_t from[600];
	size_t bytes;

	pair_open(&p);
	/* Odd lengths over several turns: records start at every place and wrap in every part. */
	for (uint32_t i = 0; i < 5000; i++) {
		size_t count = (i * 7) % sizeof(from);

		memset(from, (int)i, count);
		cr_assert_eq(write_one(&p, from, count), RING_OK);
		cr_assert_eq(ring_read(&p.r, p.to, p.room, &bytes), RING_OK, "record %u", i);
		cr_assert_eq(bytes, count);
		cr_assert_eq(memcmp(p.to, from, count), 0, "record %u", i);
		cr_assert_eq(ring_read(&p.r, p.to, p.room, &bytes), RING_EMPTY);
	}
}

Test(ring, a_full_ring_says_so_and_loses_nothing)
{
	struct pair p;
	uint32_t written = 0, n, got;
	uint32_t big[250];
	size_t bytes;

	pair_open(&p);
	for (;; written++) {
		enum ring_outcome outcome;

		big[0] = written;
		big[249] = ~written;
		outcome = write_one(&p, big, sizeof(big));
		if (outcome == RING_FULL)
			break;
		cr_assert_eq(outcome, RING_OK);
	}
	cr_assert_eq(written, DATA / 1008u, "only headers and padding cost room");
	cr_assert_eq(write_one(&p, big, sizeof(big)), RING_FULL);
	for (n = 0; ring_read(&p.r, p.to, p.room, &bytes) == RING_OK; n++) {
		memcpy(&got, p.to, sizeof(got));
		cr_assert_eq(got, n);
		memcpy(&got, p.to + 249 * 4, sizeof(got));
		cr_assert_eq(got, ~n);
	}
	cr_assert_eq(n, written);
	cr_assert_eq(write_one(&p, big, sizeof(big)), RING_OK, "the reader made room");
}

Test(ring, the_largest_record_fits_and_one_more_byte_does_not)
{
	struct pair p;
	uint8_t *big;
	size_t bytes;

	pair_open(&p);
	big = calloc(1, p.room + 1);
	big[p.room - 1] = 9;
	cr_assert_geq(p.room, DATA / 4 + 56, "a quarter of the ring, and a header");
	cr_assert_eq(write_one(&p, big, p.room + 1), RING_TOO_BIG);
	cr_assert_eq(write_one(&p, big, p.room), RING_OK);
	cr_assert_eq(ring_read(&p.r, p.to, p.room, &bytes), RING_OK);
	cr_assert_eq(bytes, p.room);
	cr_assert_eq(p.to[p.room - 1], 9);
	free(big);
}

Test(ring, a_bell_is_asked_for_only_by_a_sleeping_reader)
{
	struct pair p;
	size_t bytes;
	int bell;

	pair_open(&p);
	cr_assert_eq(ring_write(&p.w, "a", 1, NULL, 0, &bell), RING_OK);
	cr_expect(bell, "a fresh ring's reader sleeps");
	cr_assert_eq(ring_awake(&p.r), RING_OK);
	cr_assert_eq(ring_write(&p.w, "b", 1, NULL, 0, &bell), RING_OK);
	cr_expect_not(bell);
	cr_assert_eq(ring_read(&p.r, p.to, p.room, &bytes), RING_OK);
	cr_expect_eq(ring_sleep(&p.r), RING_OK, "one is there still: don't sleep");
	cr_assert_eq(ring_read(&p.r, p.to, p.room, &bytes), RING_OK);
	cr_expect_eq(ring_sleep(&p.r), RING_EMPTY);
	cr_assert_eq(ring_write(&p.w, "c", 1, NULL, 0, &bell), RING_OK);
	cr_expect(bell);
}

/* The check word of a record of 8 bytes at position 0. */
#define TRUE_CHECK (0x5245434fu ^ 8)

/* What a mad writer can put where the reader looks. */
Test(ring, the_reader_believes_no_lie)
{
	static const struct {
		const char *what;
		uint64_t head;
		uint32_t bytes, check;
		enum ring_outcome outcome;
	} rows[] = {
		{ "head beyond the ring", DATA + 8, 8, TRUE_CHECK, RING_LIE },
		{ "head far away", 1ull << 63, 8, TRUE_CHECK, RING_LIE },
		{ "head before the tail", (uint64_t)-8, 8, TRUE_CHECK, RING_LIE },
		{ "head between records", 19, 8, TRUE_CHECK, RING_LIE },
		{ "a record longer than was written", 16, 16, 0x5245434fu ^ 16, RING_LIE },
		{ "a record longer than the limit", DATA, DATA / 4 + 257,
			0x5245434fu ^ (DATA / 4 + 257), RING_LIE },
		{ "a length that wraps", DATA, UINT32_MAX, 0x5245434fu ^ UINT32_MAX, RING_LIE },
		{ "a record without its mark", 16, 8, 0, RING_LIE },
		{ "nothing written at all", 16, 0, 0, RING_LIE },
		{ "a true record", 16, 8, TRUE_CHECK, RING_OK },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pair p;
		size_t bytes;
		uint32_t *record;

		pair_open(&p);
		record = (uint32_t *)((uint8_t *)p.map + RING_HEAD_BYTES);
		record[0] = rows[i].bytes;
		record[1] = rows[i].check;
		p.map->head = rows[i].head;
		/* The reader's own position is not read back from the shared page. */
		p.map->tail = 0x1230;
		cr_expect_eq(
			ring_read(&p.r, p.to, p.room, &bytes), rows[i].outcome, "%s", rows[i].what);
	}
}

Test(ring, an_old_record_is_not_taken_for_a_new_one)
{
	struct pair p;
	size_t bytes;

	pair_open(&p);
	/* Once around, so that true records of the last turn lie everywhere. */
	for (uint32_t i = 0; i < DATA / 16; i++) {
		cr_assert_eq(write_one(&p, "12345678", 8), RING_OK);
		cr_assert_eq(ring_read(&p.r, p.to, p.room, &bytes), RING_OK);
	}
	p.map->head = DATA + 16;
	cr_expect_eq(ring_read(&p.r, p.to, p.room, &bytes), RING_LIE);
}

Test(ring, the_writer_believes_no_lie)
{
	static const uint64_t lies[] = { 1ull << 62, DATA * 2, (uint64_t)-8, 4, 1000 + 1 };
	uint8_t big[1000] = { 0 };

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct pair p;
		enum ring_outcome outcome;

		pair_open(&p);
		p.map->head = 0x4560; /* not read back either */
		do
			outcome = write_one(&p, big, sizeof(big));
		while (outcome == RING_OK);
		cr_assert_eq(outcome, RING_FULL);
		p.map->tail = lies[i];
		cr_expect_eq(write_one(&p, big, sizeof(big)), RING_LIE, "tail %lx", lies[i]);
	}
}

Test(ring, a_reader_that_goes_back_is_a_lie)
{
	struct pair p;
	uint8_t big[1000] = { 0 };
	size_t bytes;

	pair_open(&p);
	while (write_one(&p, big, sizeof(big)) == RING_OK)
		;
	for (int i = 0; i < 4; i++)
		cr_assert_eq(ring_read(&p.r, p.to, p.room, &bytes), RING_OK);
	while (write_one(&p, big, sizeof(big)) == RING_OK)
		;
	p.map->tail = 1008;
	cr_expect_eq(write_one(&p, big, sizeof(big)), RING_LIE);
}

Test(ring, only_a_fresh_ring_of_the_agreed_size_is_taken_up)
{
	size_t bytes = ring_map_bytes(DATA);
	struct ring_writer w;
	struct pair p;

	pair_open(&p);
	cr_expect_eq(ring_attach(&w, p.map, bytes + 4096), RING_LIE);
	p.map->magic ^= 1;
	cr_expect_eq(ring_attach(&w, p.map, bytes), RING_LIE);
	p.map->magic ^= 1;
	p.map->rev = 2;
	cr_expect_eq(ring_attach(&w, p.map, bytes), RING_LIE);
	p.map->rev = 1;
	p.map->data_bytes = DATA * 2;
	cr_expect_eq(ring_attach(&w, p.map, bytes), RING_LIE);
	p.map->data_bytes = DATA;
	p.map->head = 8;
	cr_expect_eq(ring_attach(&w, p.map, bytes), RING_LIE);
	p.map->head = 0;
	cr_expect_eq(ring_attach(&w, p.map, bytes), RING_OK);
}

Test(ring, lost_memory_fails_the_access)
{
	struct pair p;
	size_t bytes;
	int bell;

	pair_open(&p);
	cr_assert_eq(write_one(&p, "hello, cell", 11), RING_OK);
	cr_assert_eq(ftruncate(p.fd, RING_HEAD_BYTES), 0);
	cr_expect_eq(ring_read(&p.r, p.to, p.room, &bytes), RING_LOST, "data gone");
	cr_expect_eq(write_one(&p, "hello, cell", 11), RING_LOST);
	cr_assert_eq(ftruncate(p.fd, 0), 0);
	cr_expect_eq(ring_read(&p.r, p.to, p.room, &bytes), RING_LOST, "all gone");
	cr_expect_eq(ring_write(&p.w, "x", 1, NULL, 0, &bell), RING_LOST);
	cr_expect_eq(ring_sleep(&p.r), RING_LOST);
	cr_expect_eq(ring_awake(&p.r), RING_LOST);
	cr_expect_eq(ring_attach(&p.w, p.map, ring_map_bytes(DATA)), RING_LOST);
}

/* Both ends at full speed; every record carries its number and a check of all its bytes. */
static void *write_many(void *ctx)
{
	struct pair *p = ctx;
	uint32_t words[200];

	for (uint32_t i = 0; i < 50000; i++) {
		size_t count = 2 + i % 198;

		for (size_t k = 0; k < count; k++)
			words[k] = i * 31 + (uint32_t)k;
		words[0] = i;
		while (write_one(p, words, count * 4) == RING_FULL)
			sched_yield();
	}
	return NULL;
}

Test(ring, two_threads_at_full_speed)
{
	struct pair p;
	pthread_t writer;
	uint32_t words[200];

	pair_open(&p);
	cr_assert_eq(pthread_create(&writer, NULL, write_many, &p), 0);
	for (uint32_t i = 0; i < 50000;) {
		size_t bytes;
		enum ring_outcome outcome = ring_read(&p.r, p.to, p.room, &bytes);

		if (outcome == RING_EMPTY) {
			sched_yield();
			continue;
		}
		cr_assert_eq(outcome, RING_OK);
		cr_assert_eq(bytes, (2 + i % 198) * 4);
		memcpy(words, p.to, bytes);
		cr_assert_eq(words[0], i);
		for (uint32_t k = 1; k < 2 + i % 198; k++)
			cr_assert_eq(words[k], i * 31 + k);
		i++;
	}
	cr_assert_eq(pthread_join(writer, NULL), 0);
}
