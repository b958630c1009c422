/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/guest/spec.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* Every value differs from every default and from every other. */
static const char full[] =
	"{\"name\":\"web-1.b\",\"kernel\":\"/k/vmlinuz\",\"initrd\":\"/k/initrd\","
	"\"disks\":[{\"path\":\"/d/a\",\"read_only\":false},{\"path\":\"/d/"
	"b\",\"read_only\":true}],"
	"\"cmdline\":\"console=ttyS0 quiet\",\"cpus\":6,\"memory_bytes\":738197504,\"vnuma\":3,"
	"\"cell\":2,\"nodes\":[1,4],\"cells_max\":5,\"heal\":true,\"wait_console\":true,"
	"\"gang\":true}";

static int decode(const char *text, struct guest_spec *s, struct err *e)
{
	json_error_t error;
	json_t *value = json_loads(text, 0, &error);
	int rc;

	cr_assert(value, "%s: %s", error.text, text);
	rc = guest_spec_decode(value, s, e);
	json_decref(value);
	return rc;
}

static struct guest_spec valid(void)
{
	struct guest_spec s;

	guest_spec_init(&s);
	strcpy(s.name, "a");
	strcpy(s.kernel, "/k");
	s.memory_bytes = 64ull << 20;
	return s;
}

Test(spec, decodes_every_field)
{
	struct guest_spec s;
	struct err e;

	cr_assert_eq(decode(full, &s, &e), 0, "%s", e.text);
	cr_assert_str_eq(s.name, "web-1.b");
	cr_assert_str_eq(s.kernel, "/k/vmlinuz");
	cr_assert_str_eq(s.initrd, "/k/initrd");
	cr_assert_eq(s.disk_count, 2);
	cr_assert_str_eq(s.disks[0].path, "/d/a");
	cr_assert(!s.disks[0].read_only);
	cr_assert_str_eq(s.disks[1].path, "/d/b");
	cr_assert(s.disks[1].read_only);
	cr_assert_str_eq(s.cmdline, "console=ttyS0 quiet");
	cr_assert_eq(s.cpus, 6);
	cr_assert_eq(s.memory_bytes, 738197504);
	cr_assert_eq(s.vnuma, 3);
	cr_assert_eq(s.cell, 2);
	cr_assert_eq(s.node_count, 2);
	cr_assert_eq(s.nodes[0], 1);
	cr_assert_eq(s.nodes[1], 4);
	cr_assert_eq(s.cells_max, 5);
	cr_assert(s.heal);
	cr_assert(s.wait_console);
	cr_assert(s.gang);
}

Test(spec, encodes_what_it_decodes)
{
	json_error_t error;
	json_t *wanted = json_loads(full, 0, &error);
	struct guest_spec s;
	struct err e;
	json_t *got;

	cr_assert_eq(guest_spec_decode(wanted, &s, &e), 0);
	got = guest_spec_encode(&s);
	cr_assert(json_equal(got, wanted), "%s", json_dumps(got, 0));
	json_decref(got);
	json_decref(wanted);
}

Test(spec, optional_fields_have_defaults)
{
	struct guest_spec s;
	struct err e;

	cr_assert_eq(
		decode("{\"name\":\"g\",\"kernel\":\"/k\",\"cpus\":1,\"memory_bytes\":67108864}",
			&s, &e),
		0, "%s", e.text);
	cr_assert_str_empty(s.initrd);
	cr_assert_str_empty(s.cmdline);
	cr_assert_eq(s.disk_count, 0);
	cr_assert_eq(s.node_count, 0);
	cr_assert_eq(s.vnuma, 0);
	cr_assert_eq(s.cell, SPEC_ANY_CELL);
	cr_assert_eq(s.cells_max, 1);
	cr_assert(!s.wait_console);
	cr_assert(!s.gang);
}

Test(spec, a_failed_decode_leaves_the_spec_alone)
{
	struct guest_spec s = valid(), before;
	struct err e;

	memcpy(&before, &s, sizeof(s));
	cr_assert_neq(decode("{\"name\":\"other\",\"kernel\":\"/k\",\"cpus\":1,\"memory_bytes\":1}",
			      &s, &e),
		0);
	cr_assert_eq(memcmp(&s, &before, sizeof(s)), 0);
}

/* JSON that is no spec. Each is refused by name. */
Test(spec, refuses)
{
	static const struct {
		const char *text, *says;
		enum exit_code code;
	} table[] = {
		{ "[]", "object", EXIT_INVALID },
		{ "{\"kernel\":\"/k\",\"cpus\":1,\"memory_bytes\":67108864}", "'name' is missing",
			EXIT_INVALID },
		{ "{\"name\":\"a\",\"cpus\":1,\"memory_bytes\":67108864}", "'kernel' is missing",
			EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/k\",\"memory_bytes\":67108864}",
			"'cpus' is missing", EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/k\",\"cpus\":1}", "'memory_bytes' is missing",
			EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/"
		  "k\",\"cpus\":1,\"memory_bytes\":67108864,\"disk\":[]}",
			"'disk'", EXIT_INVALID },
		{ "{\"name\":7,\"kernel\":\"/k\",\"cpus\":1,\"memory_bytes\":67108864}", "'name'",
			EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/k\",\"cpus\":\"1\",\"memory_bytes\":67108864}",
			"'cpus'", EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/k\",\"cpus\":1.5,\"memory_bytes\":67108864}",
			"'cpus'", EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/k\",\"cpus\":-1,\"memory_bytes\":67108864}",
			"'cpus'", EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/"
		  "k\",\"cpus\":4294967297,\"memory_bytes\":67108864}",
			"'cpus'", EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/k\",\"cpus\":0,\"memory_bytes\":67108864}",
			"1 to 240 CPUs", EXIT_USAGE },
		{ "{\"name\":\"a\",\"kernel\":\"/k\",\"cpus\":241,\"memory_bytes\":67108864}",
			"1 to 240 CPUs", EXIT_USAGE },
		{ "{\"name\":\"a\",\"kernel\":\"k\",\"cpus\":1,\"memory_bytes\":67108864}",
			"absolute", EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/"
		  "k\",\"initrd\":\"i\",\"cpus\":1,\"memory_bytes\":67108864}",
			"absolute", EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/k\",\"cpus\":1,\"memory_bytes\":16777216}",
			"at least 32 MiB", EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/k\",\"cpus\":1,\"memory_bytes\":0}",
			"at least 32 MiB", EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/k\",\"cpus\":1,\"memory_bytes\":68157440}",
			"use 64 or 66 MiB", EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/"
		  "k\",\"cpus\":1,\"memory_bytes\":9223372036854775807}",
			"16 TiB", EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/"
		  "k\",\"cpus\":2,\"memory_bytes\":67108864,\"vnuma\":9}",
			"'vnuma'", EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/"
		  "k\",\"cpus\":1,\"memory_bytes\":67108864,\"vnuma\":2}",
			"at least as many CPUs", EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/"
		  "k\",\"cpus\":3,\"memory_bytes\":67108864,\"vnuma\":3}",
			"at least 96 MiB", EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/"
		  "k\",\"cpus\":240,\"memory_bytes\":1073741824,\"vnuma\":7}",
			"APIC", EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/"
		  "k\",\"cpus\":1,\"memory_bytes\":67108864,\"nodes\":[2,2]}",
			"ascending", EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/"
		  "k\",\"cpus\":1,\"memory_bytes\":67108864,\"nodes\":[2,1]}",
			"ascending", EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/"
		  "k\",\"cpus\":1,\"memory_bytes\":67108864,\"nodes\":[\"1\"]}",
			"'nodes'", EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/"
		  "k\",\"cpus\":1,\"memory_bytes\":67108864,\"nodes\":{}}",
			"array", EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/"
		  "k\",\"cpus\":1,\"memory_bytes\":67108864,\"cell\":1024}",
			"'cell'", EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/"
		  "k\",\"cpus\":1,\"memory_bytes\":67108864,\"cells_max\":0}",
			"1 to 64 cells, not 0", EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/"
		  "k\",\"cpus\":1,\"memory_bytes\":67108864,\"cells_max\":65}",
			"1 to 64 cells, not 65", EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/"
		  "k\",\"cpus\":1,\"memory_bytes\":67108864,\"cells_max\":\"2\"}",
			"'cells_max'", EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/"
		  "k\",\"cpus\":1,\"memory_bytes\":67108864,\"wait_console\":1}",
			"'wait_console'", EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/"
		  "k\",\"cpus\":1,\"memory_bytes\":67108864,\"disks\":[\"/d\"]}",
			"disk", EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/"
		  "k\",\"cpus\":1,\"memory_bytes\":67108864,\"disks\":[{}]}",
			"'path' is missing", EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/"
		  "k\",\"cpus\":1,\"memory_bytes\":67108864,\"disks\":[{\"path\":\"d\"}]}",
			"absolute", EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/"
		  "k\",\"cpus\":1,\"memory_bytes\":67108864,\"disks\":[{\"path\":\"/"
		  "d\",\"ro\":true}]}",
			"'ro'", EXIT_INVALID },
		{ "{\"name\":\"a\",\"kernel\":\"/"
		  "k\",\"cpus\":1,\"memory_bytes\":67108864,\"disks\":[{\"path\":\"/"
		  "d\"},{\"path\":\"/e\"},{\"path\":\"/d\"}]}",
			"twice", EXIT_INVALID },
		{ "{\"name\":\"abcdefghijabcdefghijabcdefghijabc\",\"kernel\":\"/"
		  "k\",\"cpus\":1,\"memory_bytes\":67108864}",
			"'name' is longer than 32", EXIT_INVALID },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct guest_spec s;
		struct err e = { 0 };

		cr_expect_lt(decode(table[i].text, &s, &e), 0, "accepted: %s", table[i].text);
		cr_expect(strstr(e.text, table[i].says), "%s: says '%s'", table[i].text, e.text);
		cr_expect_eq(e.code, table[i].code, "%s: code %d", table[i].text, e.code);
	}
}

Test(spec, takes_names_of_letters_digits_and_three_signs)
{
	static const char *const good[] = { "a", "7", "web-1", "A.b_c",
		"abcdefghijabcdefghijabcdefghijab" };
	static const char *const bad[] = { "", "-a", ".", "..", "_a", "a/b", "a b", "\xc3\xa4",
		"a\n", "abcdefghijabcdefghijabcdefghijabc" };
	struct err e;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		cr_expect_eq(guest_name_check(good[i], &e), 0, "%s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cr_expect_lt(guest_name_check(bad[i], &e), 0, "%s", bad[i]);
		cr_expect_eq(e.code, EXIT_USAGE);
	}
}

Test(spec, texts_are_refused_by_one_byte)
{
	char path[SPEC_PATH_BYTES + 1], text[SPEC_PATH_BYTES + 200];
	struct guest_spec s;
	struct err e;

	memset(path, 'p', sizeof(path));
	path[0] = '/';
	path[SPEC_PATH_BYTES - 1] = '\0';
	snprintf(text, sizeof(text),
		"{\"name\":\"a\",\"kernel\":\"%s\",\"cpus\":1,\"memory_bytes\":67108864}", path);
	cr_assert_eq(decode(text, &s, &e), 0, "%s", e.text);
	path[SPEC_PATH_BYTES - 1] = 'p';
	path[SPEC_PATH_BYTES] = '\0';
	snprintf(text, sizeof(text),
		"{\"name\":\"a\",\"kernel\":\"%s\",\"cpus\":1,\"memory_bytes\":67108864}", path);
	cr_assert_lt(decode(text, &s, &e), 0);
}

Test(spec, limits_are_inclusive)
{
	struct guest_spec s = valid();
	struct err e;

	s.memory_bytes = SPEC_MEMORY_MIN;
	cr_assert_eq(guest_spec_check(&s, &e), 0, "%s", e.text);
	s.memory_bytes = SPEC_MEMORY_MAX;
	cr_assert_eq(guest_spec_check(&s, &e), 0, "%s", e.text);
	s.cpus = SPEC_CPUS_MAX;
	s.vnuma = SPEC_VNUMA_MAX;
	cr_assert_eq(guest_spec_check(&s, &e), 0, "%s", e.text);
}

static const char restarted[] =
	"{\"name\":\"a\",\"kernel\":\"/k\",\"cpus\":1,\"memory_bytes\":67108864,\"restart\":true,"
	"\"restart_max\":7,\"restarts\":3}";

Test(spec, restarts_travel)
{
	struct guest_spec s, back;
	struct err e;
	json_t *value;

	cr_assert_eq(decode(restarted, &s, &e), 0, "%s", e.text);
	cr_assert(s.restart);
	cr_assert_eq(s.restart_max, 7);
	cr_assert_eq(s.restarts, 3);
	value = guest_spec_encode(&s);
	cr_assert_eq(guest_spec_decode(value, &back, &e), 0, "%s", e.text);
	cr_assert(back.restart && back.restart_max == 7 && back.restarts == 3);
	json_decref(value);
}

Test(spec, restarts_that_make_no_sense_are_refused)
{
	struct guest_spec s;
	struct err e;

	cr_assert_eq(decode(restarted, &s, &e), 0, "%s", e.text);
	s.wait_console = true;
	cr_assert_neq(guest_spec_check(&s, &e), 0);
	cr_assert(strstr(e.text, "attach"), "%s", e.text);
	s.wait_console = false;
	memset(s.cmdline, 'x', sizeof(s.cmdline) - 1);
	s.cmdline[sizeof(s.cmdline) - 1] = '\0';
	cr_assert_neq(guest_spec_check(&s, &e), 0);
	cr_assert(strstr(e.text, "2048"), "%s", e.text);
	s.cmdline[8] = '\0';
	cr_assert_eq(guest_spec_check(&s, &e), 0, "%s", e.text);
	s.restart = false;
	cr_assert_neq(guest_spec_check(&s, &e), 0);
}
