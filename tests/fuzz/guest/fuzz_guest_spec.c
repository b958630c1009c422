/* SPDX-License-Identifier: BSD-2-Clause */
/* Whatever JSON says: an accepted spec is in its bounds and survives the way back. */
#include "monitor/guest/plan.h"
#include "monitor/guest/spec.h"
#include "numa/check.h"
#include "tests/fuzz/guest/mutate.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct guest_spec s, again;
	static struct guest_plan plan;
	static struct guest_home home = {
		.nodes = { 1, 5 }, .node_count = 2, .cpus = { 3 }, .cpu_count = 1
	};
	static const char right[] =
		"{\"name\":\"web\",\"kernel\":\"/k\",\"initrd\":\"/i\",\"disks\":[{\"path\":\"/d\","
		"\"read_only\":true},{\"path\":\"/e\"}],\"cmdline\":\"quiet\",\"cpus\":6,"
		"\"memory_bytes\":8589934592,\"vnuma\":3,\"cell\":2,\"nodes\":[1,4],"
		"\"wait_console\":true}";
	struct bytes bytes = { data, size };
	json_t *value = json_loads(right, 0, NULL), *back;
	struct err e;

	mutate(value, &bytes, 3);
	if (guest_spec_decode(value, &s, &e) == 0) {
		CHECK(guest_spec_check(&s, &e) == 0);
		back = guest_spec_encode(&s);
		CHECK(back && guest_spec_decode(back, &again, &e) == 0);
		CHECK(memcmp(&s, &again, sizeof(s)) == 0);
		json_decref(back);
		CHECK(guest_plan_init(&plan, &s, &home, &e) == 0);
		CHECK(plan.range_count <= PLAN_RANGES_MAX);
	}
	json_decref(value);
	return 0;
}
