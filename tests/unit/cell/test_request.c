/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/cell/request.h"

static int parse(struct request *r, enum request_origin from, const char *text, struct err *e)
{
	return request_parse(r, from, text, strlen(text), e);
}

Test(request, fields_arrive)
{
	struct request r;
	struct err e;

	cr_assert_eq(parse(&r, REQUEST_FROM_CLIENT, "{\"op\":\"run\",\"spec\":{\"cpus\":2}}", &e),
		0, "%s", e.text);
	cr_assert_eq(r.op, REQUEST_RUN);
	cr_assert_eq(json_integer_value(json_object_get(r.spec, "cpus")), 2);
	cr_assert_null(r.home);
	request_fini(&r);
	cr_assert_eq(parse(&r, REQUEST_FROM_PEER,
			     "{\"op\":\"cell-start\",\"spec\":{},\"home\":{\"cell\":1}}", &e),
		0);
	cr_assert_eq(json_integer_value(json_object_get(r.home, "cell")), 1);
	request_fini(&r);
	cr_assert_eq(
		parse(&r, REQUEST_FROM_PEER,
			"{\"op\":\"cell-release\",\"name\":\"a\",\"token\":1,\"started\":true}",
			&e),
		0);
	cr_assert(r.started);
	request_fini(&r);
	cr_assert_eq(parse(&r, REQUEST_FROM_CLIENT,
			     "{\"op\":\"borrow\",\"name\":\"a\",\"bytes\":4194304,\"cell\":3}", &e),
		0);
	cr_assert_eq(r.bytes, 4194304);
	cr_assert(r.has_cell && r.cell == 3);
	request_fini(&r);
	cr_assert_eq(
		parse(&r, REQUEST_FROM_PEER, "{\"op\":\"cell-give-back\",\"name\":\"a\"}", &e), 0);
	cr_assert(!r.has_cell);
	request_fini(&r);
	cr_assert_eq(parse(&r, REQUEST_FROM_CLIENT, "{\"op\":\"show\",\"name\":\"web\"}", &e), 0);
	cr_assert_str_eq(r.name, "web");
	request_fini(&r);
	cr_assert_eq(parse(&r, REQUEST_FROM_CLIENT, "{\"op\":\"down\",\"force\":true}", &e), 0);
	cr_assert(r.force);
	request_fini(&r);
	cr_assert_eq(parse(&r, REQUEST_FROM_CLIENT, "{\"op\":\"events\",\"since\":12.5}", &e), 0);
	cr_assert_float_eq(r.since, 12.5, 1e-9);
	request_fini(&r);
	cr_assert_eq(parse(&r, REQUEST_FROM_CLIENT,
			     "{\"op\":\"stop\",\"name\":\"a\",\"timeout_ms\":700}", &e),
		0);
	cr_assert_eq(r.timeout_ms, 700);
	request_fini(&r);
	cr_assert_eq(parse(&r, REQUEST_FROM_CLIENT,
			     "{\"op\":\"inject\",\"kind\":\"node-death\",\"node\":2}", &e),
		0);
	cr_assert_str_eq(r.kind, "node-death");
	cr_assert_eq(r.node, 2);
	request_fini(&r);
	cr_assert_eq(parse(&r, REQUEST_FROM_PEER,
			     "{\"op\":\"cell-reserve\",\"name\":\"a\",\"token\":9}", &e),
		0);
	cr_assert_eq(r.token, 9);
	request_fini(&r);
	cr_assert_eq(parse(&r, REQUEST_FROM_PEER,
			     "{\"op\":\"cell-events\",\"after\":8,\"since\":0}", &e),
		0);
	cr_assert_eq(r.after, 8);
	request_fini(&r);
	cr_assert_eq(parse(&r, REQUEST_FROM_CLIENT,
			     "{\"op\":\"move-vcpu\",\"name\":\"a\",\"vcpu\":3,\"cpu\":9}", &e),
		0);
	cr_assert(r.vcpu == 3 && r.cpu == 9 && !r.release);
	request_fini(&r);
	cr_assert_eq(parse(&r, REQUEST_FROM_PEER,
			     "{\"op\":\"cell-move-vcpu\",\"name\":\"a\",\"vcpu\":3,"
			     "\"release\":true}",
			     &e),
		0);
	cr_assert(r.release);
	request_fini(&r);
	cr_assert_eq(parse(&r, REQUEST_FROM_CLIENT, "{\"op\":\"vcpus\"}", &e), 0);
	cr_assert_str_eq(r.name, "");
	request_fini(&r);
}

Test(request, bad_ones_are_refused_and_say_why)
{
	static const struct {
		const char *text, *says;
	} table[] = {
		{ "", "JSON" },
		{ "ls", "JSON" },
		{ "{\"op\":\"ls\"} x", "JSON" },
		{ "{\"op\":\"ls\",\"op\":\"down\"}", "JSON" },
		{ "[]", "\"op\"" },
		{ "\"ls\"", "JSON" },
		{ "{}", "\"op\"" },
		{ "{\"op\":7}", "\"op\"" },
		{ "{\"op\":\"fly\"}", "fly" },
		{ "{\"op\":\"cell-rows\"}", "cell-rows" }, /* for peers only */
		{ "{\"op\":\"ls\",\"name\":\"x\"}", "unknown field \"name\"" },
		{ "{\"op\":\"down\",\"farce\":true}", "farce" },
		{ "{\"op\":\"down\",\"force\":1}", "force" },
		{ "{\"op\":\"show\"}", "\"name\" is missing" },
		{ "{\"op\":\"show\",\"name\":\"../../etc\"}", "name" },
		{ "{\"op\":\"show\",\"name\":\"\"}", "name" },
		{ "{\"op\":\"show\",\"name\":\"-x\"}", "name" },
		{ "{\"op\":\"show\",\"name\":[]}", "name" },
		{ "{\"op\":\"show\",\"name\":\"a\\u0000b\"}", "JSON" },
		{ "{\"op\":\"run\",\"spec\":[]}", "spec" },
		{ "{\"op\":\"run\"}", "spec" },
		{ "{\"op\":\"run\",\"spec\":{},\"home\":{}}", "home" },
		{ "{\"op\":\"inject\",\"kind\":\"node-death\",\"node\":-1}", "node" },
		{ "{\"op\":\"inject\",\"kind\":\"node-death\",\"node\":65536}", "node" },
		{ "{\"op\":\"inject\",\"kind\":\"node-death\",\"node\":1.0}", "node" },
		{ "{\"op\":\"events\",\"since\":-1}", "since" },
		{ "{\"op\":\"events\",\"since\":\"now\"}", "since" },
		{ "{\"op\":\"stop\",\"name\":\"a\",\"timeout_ms\":0}", "timeout_ms" },
		{ "{\"op\":\"stop\",\"name\":\"a\",\"timeout_ms\":86400001}", "timeout_ms" },
		{ "{\"op\":\"inject\",\"node\":1}", "kind" },
		{ "{\"op\":\"move-vcpu\",\"name\":\"a\",\"vcpu\":3}", "either" },
		{ "{\"op\":\"move-vcpu\",\"name\":\"a\",\"vcpu\":3,\"release\":false}", "either" },
		{ "{\"op\":\"move-vcpu\",\"name\":\"a\",\"vcpu\":3,\"cpu\":0,\"release\":true}",
			"either" },
		{ "{\"op\":\"move-vcpu\",\"name\":\"a\",\"cpu\":3}", "vcpu" },
		{ "{\"op\":\"move-vcpu\",\"name\":\"a\",\"vcpu\":-1,\"cpu\":3}", "vcpu" },
		{ "{\"op\":\"move-vcpu\",\"name\":\"a\",\"vcpu\":1,\"cpu\":\"3\"}", "cpu" },
		{ "{\"op\":\"move-vcpu\",\"name\":\"a\",\"vcpu\":1,\"release\":1}", "release" },
		{ "{\"op\":\"vcpus\",\"vcpu\":1}", "vcpu" },
		{ "{\"op\":\"inject\",\"kind\":\"0123456789012345678901234567890123456789\","
		  "\"node\":1}",
			"kind" },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct request r;
		struct err e = { .code = EXIT_OK };

		cr_assert_lt(
			parse(&r, REQUEST_FROM_CLIENT, table[i].text, &e), 0, "%s", table[i].text);
		cr_assert_eq(e.code, EXIT_USAGE);
		cr_assert(strstr(e.text, table[i].says), "%s: %s", table[i].text, e.text);
		cr_assert_null(r.spec);
	}
}

Test(request, a_client_can_not_do_what_peers_do_nor_the_other_way_round)
{
	struct request r;
	struct err e;

	cr_assert_lt(parse(&r, REQUEST_FROM_PEER, "{\"op\":\"down\",\"force\":true}", &e), 0);
	cr_assert_eq(parse(&r, REQUEST_FROM_PEER, "{\"op\":\"cell-down\"}", &e), 0);
	request_fini(&r);
	cr_assert_lt(parse(&r, REQUEST_FROM_CLIENT, "{\"op\":\"cell-down\"}", &e), 0);
}

Test(request, too_long_a_line)
{
	struct request r;
	struct err e;
	char *text = malloc(REQUEST_BYTES_MAX + 2);

	memset(text, ' ', REQUEST_BYTES_MAX + 1);
	memcpy(text, "{\"op\":\"ls\"}", 11);
	cr_assert_eq(request_parse(&r, REQUEST_FROM_CLIENT, text, REQUEST_BYTES_MAX, &e), 0);
	cr_assert_lt(request_parse(&r, REQUEST_FROM_CLIENT, text, REQUEST_BYTES_MAX + 1, &e), 0);
	free(text);
}

Test(request, every_operation_has_a_name_of_its_own)
{
	for (int a = 0; a < REQUEST_OP_COUNT; a++)
		for (int b = 0; b < a; b++)
			cr_assert_str_neq(request_op_name((enum request_op)a),
				request_op_name((enum request_op)b));
}
