/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/device/bus.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

/* A device that remembers its last access. */
struct probe {
	struct bus_req last;
	uint32_t count;
	uint64_t answer;
	enum dev_outcome outcome;
	struct bus *bus; /* if set, the handler removes its own range at `base` */
	uint64_t base;
};

static enum dev_outcome probe_bus(void *dev, struct bus_req *r)
{
	struct probe *p = dev;

	p->last = *r;
	p->count++;
	if (!r->store)
		r->val = p->answer;
	if (p->bus)
		cr_assert_eq(bus_remove(p->bus, p->base), 0);
	return p->outcome;
}

static struct bus bus;

static void setup(void)
{
	bus_init(&bus);
}

static void teardown(void)
{
	bus_fini(&bus);
}

TestSuite(bus, .init = setup, .fini = teardown);

Test(bus, an_access_reaches_the_one_range_that_holds_it)
{
	/* Added out of order, so that neither the first nor the last added is always right. */
	static const uint64_t bases[] = { 0x5000, 0x1000, 0x9000, 0x3000, 0x7000 };
	struct probe p[5] = { 0 };
	uint32_t val = 0;

	for (int i = 0; i < 5; i++)
		cr_assert_eq(bus_add(&bus, bases[i], 0x1000, probe_bus, &p[i], NULL), 0);
	for (int i = 0; i < 5; i++) {
		p[i].answer = 0x11111111u * (unsigned)(i + 1);
		cr_assert_eq(bus_access(&bus, bases[i] + 0x0ffc, &val, 4, false), DEV_OK);
		cr_assert_eq(val, 0x11111111u * (unsigned)(i + 1));
		cr_assert_eq(p[i].last.off, 0xffc);
		cr_assert_eq(p[i].count, 1);
		cr_assert_eq(bus_access(&bus, bases[i] + 0x1000, &val, 4, false), DEV_OK);
		cr_assert_eq(val, UINT32_MAX, "the byte after a range is nobody's");
	}
}

Test(bus, overlaps_are_refused_and_neighbours_are_not)
{
	static const struct {
		uint64_t base, bytes;
		int rc;
	} cases[] = {
		{ 0x1000, 0x1000, -EEXIST }, /* the same */
		{ 0x0fff, 2, -EEXIST },	     /* its first byte */
		{ 0x1fff, 1, -EEXIST },	     /* its last byte */
		{ 0x1fff, 0x5000, -EEXIST },
		{ 0x0, 0x10000, -EEXIST },    /* around it */
		{ 0x1800, 0x10, -EEXIST },    /* inside */
		{ 0x0, UINT64_MAX, -EEXIST }, /* nearly everything */
		{ 0x3000, 0, -EINVAL },	      /* nothing */
		{ UINT64_MAX, 2, -EINVAL },   /* wraps */
		{ 0x0ff0, 0x10, 0 },	      /* touches from below */
		{ 0x2000, 1, 0 },	      /* touches from above */
		{ UINT64_MAX - 7, 8, 0 },     /* the last bytes */
		{ UINT64_MAX, 1, -EEXIST },
	};
	struct probe p = { 0 };

	cr_assert_eq(bus_add(&bus, 0x1000, 0x1000, probe_bus, &p, NULL), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cr_assert_eq(bus_add(&bus, cases[i].base, cases[i].bytes, probe_bus, &p, NULL),
			cases[i].rc, "case %zu", i);
}

Test(bus, unclaimed_and_straddling_accesses_read_all_ones_and_do_nothing)
{
	struct probe p = { .answer = 0 };
	uint64_t val = 0x1234;

	cr_assert_eq(bus_add(&bus, 0x1000, 6, probe_bus, &p, NULL), 0);
	cr_assert_eq(bus_access(&bus, 0x0ffe, &val, 4, false), DEV_OK);
	cr_assert_eq(val, 0xffffffff);
	val = 0;
	cr_assert_eq(bus_access(&bus, 0x1004, &val, 4, false), DEV_OK);
	cr_assert_eq(val, 0xffffffff);
	cr_assert_eq(bus_access(&bus, 0x1004, &val, 4, true), DEV_OK);
	cr_assert_eq(bus_access(&bus, UINT64_MAX - 1, &val, 8, true), DEV_OK);
	cr_assert_eq(p.count, 0);
	cr_assert_eq(bus_access(&bus, 0x1004, &val, 2, false), DEV_OK);
	cr_assert_eq(p.count, 1);
}

Test(bus, only_the_bytes_of_the_access_are_touched)
{
	struct probe p = { .answer = 0x8877665544332211ull };
	uint8_t data[8];

	cr_assert_eq(bus_add(&bus, 0, 16, probe_bus, &p, NULL), 0);
	for (uint32_t len = 1; len <= 8; len *= 2) {
		memset(data, 0xaa, sizeof(data));
		cr_assert_eq(bus_access(&bus, 0, data, len, false), DEV_OK);
		cr_assert_eq(data[0], 0x11);
		cr_assert_eq(data[len - 1], 0x11 * len);
		if (len < 8)
			cr_assert_eq(data[len], 0xaa);
		memset(data, 0xaa, sizeof(data));
		cr_assert_eq(bus_access(&bus, 8, data, len, true), DEV_OK);
		cr_assert_eq(p.last.val, 0xaaaaaaaaaaaaaaaaull >> (64 - 8 * len));
		cr_assert(p.last.store && p.last.len == len && p.last.off == 8);
	}
}

Test(bus, a_guest_fault_reads_all_ones_and_outcomes_pass_through)
{
	struct probe p = { .answer = 5, .outcome = DEV_GUEST_FAULT };
	uint8_t val = 0;

	cr_assert_eq(bus_add(&bus, 0, 1, probe_bus, &p, NULL), 0);
	cr_assert_eq(bus_access(&bus, 0, &val, 1, false), DEV_GUEST_FAULT);
	cr_assert_eq(val, 0xff);
	p.outcome = DEV_RESET;
	cr_assert_eq(bus_access(&bus, 0, &val, 1, true), DEV_RESET);
	p.outcome = DEV_POWER_OFF;
	cr_assert_eq(bus_access(&bus, 0, &val, 1, true), DEV_POWER_OFF);
}

Test(bus, a_handler_may_remove_its_own_range)
{
	struct probe p = { .bus = &bus, .base = 0x100 };
	uint8_t val;

	cr_assert_eq(bus_add(&bus, 0x100, 1, probe_bus, &p, NULL), 0);
	cr_assert_eq(bus_access(&bus, 0x100, &val, 1, true), DEV_OK);
	cr_assert_eq(bus_access(&bus, 0x100, &val, 1, true), DEV_OK);
	cr_assert_eq(p.count, 1);
	cr_assert_eq(bus_remove(&bus, 0x100), -ENOENT);
}

Test(bus, the_table_has_a_bound)
{
	struct probe p = { 0 };
	uint8_t val;

	for (uint32_t i = 0; i < BUS_RANGES_MAX; i++)
		cr_assert_eq(bus_add(&bus, i * 2, 1, probe_bus, &p, NULL), 0);
	cr_assert_eq(bus_add(&bus, 0x10000, 1, probe_bus, &p, NULL), -ENOSPC);
	cr_assert_eq(bus_remove(&bus, 1), -ENOENT, "a base is needed, not any byte");
	cr_assert_eq(bus_remove(&bus, 4), 0);
	cr_assert_eq(bus_access(&bus, 4, &val, 1, true), DEV_OK);
	cr_assert_eq(p.count, 0);
	cr_assert_eq(bus_access(&bus, 6, &val, 1, true), DEV_OK);
	cr_assert_eq(p.count, 1);
	cr_assert_eq(bus_add(&bus, 0x10000, 1, probe_bus, &p, NULL), 0);
}

/* A device whose handler must not run twice at the same time. */
struct exclusive {
	atomic_int inside;
	atomic_int overlaps;
	atomic_int calls;
};

static enum dev_outcome exclusive_bus(void *dev, struct bus_req *r)
{
	struct exclusive *x = dev;

	(void)r;
	if (atomic_fetch_add(&x->inside, 1) != 0)
		atomic_fetch_add(&x->overlaps, 1);
	sched_yield();
	atomic_fetch_sub(&x->inside, 1);
	atomic_fetch_add(&x->calls, 1);
	return DEV_OK;
}

static void *hammer(void *base)
{
	uint32_t val;

	for (int i = 0; i < 5000; i++)
		bus_access(&bus, (uintptr_t)base, &val, 4, true);
	return NULL;
}

Test(bus, handlers_that_share_a_lock_exclude_each_other)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static struct exclusive shared, other;
	pthread_t threads[3];

	cr_assert_eq(bus_add(&bus, 0, 4, exclusive_bus, &shared, &lock), 0);
	cr_assert_eq(bus_add(&bus, 0x10, 4, exclusive_bus, &shared, &lock), 0);
	cr_assert_eq(bus_add(&bus, 0x20, 4, exclusive_bus, &other, NULL), 0);
	for (uintptr_t i = 0; i < 3; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, hammer, (void *)(i * 0x10)), 0);
	for (int i = 0; i < 200; i++) { /* the map changes meanwhile */
		cr_assert_eq(bus_add(&bus, 0x8, 4, exclusive_bus, &other, NULL), 0);
		cr_assert_eq(bus_remove(&bus, 0x8), 0);
	}
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	cr_assert_eq(shared.overlaps, 0);
	cr_assert_eq(shared.calls, 10000);
	cr_assert_eq(other.calls, 5000);
}
