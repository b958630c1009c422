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

	cr_assert_eq(parse(&r, REQUEST_FROM_CLIENT,
			     "{\"op\":\"run\",\"name\":\"web\",\"cell\":3,\"nodes\":[1,4],"
			     "\"spec\":{\"cpus\":2}}",
			     &e),
		0, "%s", e.text);
	cr_assert_eq(r.op, REQUEST_RUN);
	cr_assert_str_eq(r.name, "web");
	cr_assert(r.has_cell);
	cr_assert_eq(r.cell, 3);
	cr_assert_eq(r.node_count, 2);
	cr_assert_eq(r.nodes[0], 1);
	cr_assert_eq(r.nodes[1], 4);
	cr_assert_eq(json_integer_value(json_object_get(r.spec, "cpus")), 2);
	request_fini(&r);
	cr_assert_eq(parse(&r, REQUEST_FROM_CLIENT, "{\"op\":\"down\",\"force\":true}", &e), 0);
	cr_assert(r.force);
	cr_assert_not(r.has_cell);
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
		{ "{\"op\":\"run\",\"name\":\"a\",\"spec\":[]}", "spec" },
		{ "{\"op\":\"run\",\"name\":\"a\"}", "spec" },
		{ "{\"op\":\"run\",\"name\":\"a\",\"spec\":{},\"cell\":-1}", "cell" },
		{ "{\"op\":\"run\",\"name\":\"a\",\"spec\":{},\"cell\":65536}", "cell" },
		{ "{\"op\":\"run\",\"name\":\"a\",\"spec\":{},\"cell\":1.0}", "cell" },
		{ "{\"op\":\"run\",\"name\":\"a\",\"spec\":{},\"nodes\":[]}", "nodes" },
		{ "{\"op\":\"run\",\"name\":\"a\",\"spec\":{},\"nodes\":[2,1]}", "nodes" },
		{ "{\"op\":\"run\",\"name\":\"a\",\"spec\":{},\"nodes\":[1,1]}", "nodes" },
		{ "{\"op\":\"run\",\"name\":\"a\",\"spec\":{},\"nodes\":{\"0\":1}}", "nodes" },
		{ "{\"op\":\"events\",\"since\":-1}", "since" },
		{ "{\"op\":\"events\",\"since\":\"now\"}", "since" },
		{ "{\"op\":\"stop\",\"name\":\"a\",\"timeout_ms\":0}", "timeout_ms" },
		{ "{\"op\":\"stop\",\"name\":\"a\",\"timeout_ms\":86400001}", "timeout_ms" },
		{ "{\"op\":\"inject\",\"node\":1}", "kind" },
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

Test(request, too_many_nodes_and_too_long_a_line)
{
	struct request r;
	struct err e;
	char *text = malloc(REQUEST_BYTES_MAX + 2);
	json_t *nodes = json_array(), *value;

	for (int i = 0; i <= (int)GUEST_NODES_MAX; i++)
		json_array_append_new(nodes, json_integer(i));
	value = json_pack(
		"{s:s, s:s, s:{}, s:o}", "op", "run", "name", "a", "spec", "nodes", nodes);
	cr_assert_lt(request_from_json(&r, REQUEST_FROM_CLIENT, value, &e), 0);
	json_decref(value);
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
