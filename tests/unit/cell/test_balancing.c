/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <unistd.h>

#include "monitor/cell/balancing.h"
#include "monitor/cell/binder.h"
#include "numa/host/bind.h"

#define LONG_NS (60ull * 1000000000u)

static const char ROW[] =
	"{\"guest\":\"web\",\"vcpu\":1,\"tid\":77,\"home\":2,\"cell\":3,\"node\":6,\"cpu\":9,"
	"\"cpus\":[8,9],\"share\":400,\"runnable\":true,\"held\":false,\"gang\":false,\"moves\":5,"
	"\"visits\":1,\"reason\":\"spread\"}";

Test(balancing, rows_of_peers_are_judged)
{
	static const struct {
		const char *key, *value;
	} table[] = { { "guest", "\"../x\"" }, { "guest", "7" }, { "vcpu", "240" },
		{ "vcpu", "-1" }, { "vcpu", "1.0" }, { "tid", "null" }, { "home", "64" },
		{ "cell", "64" }, { "node", "1024" }, { "cpu", "2048" }, { "cpus", "7" },
		{ "cpus", "[9,8]" }, { "cpus", "[8,8]" }, { "cpus", "[2048]" },
		{ "cpus", "[\"8\"]" }, { "share", "1001" }, { "runnable", "1" }, { "held", "null" },
		{ "gang", "\"no\"" }, { "moves", "-1" }, { "visits", "true" },
		{ "reason", "\"12345678901234567\"" }, { "reason", "[]" } };
	json_t *row = json_loads(ROW, 0, NULL), *clean;

	json_object_set_new(row, "more", json_true());
	clean = balancing_clean_vcpu(row);
	cr_assert_not_null(clean);
	cr_assert_eq(json_object_size(clean), 15, "what is not known is not passed on");
	json_object_del(row, "more");
	cr_assert(json_equal(row, clean));
	json_decref(clean);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		json_t *bad = json_deep_copy(row);

		json_object_set_new(
			bad, table[i].key, json_loads(table[i].value, JSON_DECODE_ANY, NULL));
		cr_assert_null(balancing_clean_vcpu(bad), "%s %s", table[i].key, table[i].value);
		json_object_del(bad, table[i].key);
		cr_assert_null(balancing_clean_vcpu(bad), "without %s", table[i].key);
		json_decref(bad);
	}
	json_decref(row);
}

Test(binder, binds_and_reads_back)
{
	struct cpu_set all, one = { { 0 } }, now, other;
	struct binder *b;

	cr_assert_eq(bind_thread_read(0, &all), 0);
	cpu_set_add(&one, cpu_set_next(&all, 0));
	cr_assert_eq(binder_open(&b), 0);
	cr_assert_eq(binder_bind(b, gettid(), &one, LONG_NS, &now), 0);
	cr_assert(cpu_set_equal(&now, &one));
	cr_assert_eq(bind_thread_read(0, &other), 0);
	cr_assert(cpu_set_equal(&other, &one), "this thread, not the binder's");
	cr_assert_eq(binder_bind(b, gettid(), &all, LONG_NS, &now), 0);
	cr_assert(cpu_set_equal(&now, &all));
	cr_assert_eq(binder_bind(b, 0x7ffffff0, &all, LONG_NS, &now), -ESRCH);
	binder_close(b);
}
