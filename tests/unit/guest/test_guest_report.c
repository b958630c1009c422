/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/guest/report.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define SPEC "\"spec\":{\"name\":\"web\",\"kernel\":\"/k\",\"cpus\":2,\"memory_bytes\":134217728}"
#define HOME "\"home\":{\"cell\":3,\"nodes\":[5,7],\"cpus\":[10,11,14]}"

static json_t *parse(const char *text)
{
	json_error_t error;
	json_t *value = json_loads(text, 0, &error);

	cr_assert(value, "%s: %s", error.text, text);
	return value;
}

static int decode_order(const char *text, struct guest_order *o, struct err *e)
{
	json_t *value = parse(text);
	int rc = guest_order_decode(value, o, e);

	json_decref(value);
	return rc;
}

static int decode_report(const char *text, struct guest_report *r, struct err *e)
{
	json_t *value = parse(text);
	int rc = guest_report_decode(value, r, e);

	json_decref(value);
	return rc;
}

/* What is encoded has to come back the same. */
static void report_survives(const struct guest_report *r, struct guest_report *back)
{
	json_t *value = guest_report_encode(r);
	struct err e;

	cr_assert(value);
	cr_assert_eq(guest_report_decode(value, back, &e), 0, "%s", e.text);
	json_decref(value);
	cr_assert_eq(back->op, r->op);
}

static struct guest_spec a_spec(void)
{
	struct guest_spec s;

	guest_spec_init(&s);
	strcpy(s.name, "web");
	strcpy(s.kernel, "/k");
	s.memory_bytes = 128u << 20;
	return s;
}

static struct guest_home a_home(void)
{
	return (struct guest_home){ .cell = 3,
		.nodes = { 5, 7 },
		.node_count = 2,
		.cpus = { 10, 11, 14 },
		.cpu_count = 3,
		.cpu_nodes = { 5, 5, 7 },
		.has_cpu_nodes = true,
		.pins = { 14, 9 },
		.pin_count = 2,
		.memory = { { 7, 96u << 20 }, { 5, 32u << 20 } },
		.memory_count = 2,
		.distances = { 10, 21, 23, 10 },
		.has_distances = true };
}

Test(report, start_order_survives)
{
	struct guest_order o = { .op = ORDER_START, .spec = a_spec(), .home = a_home() }, back;
	json_t *value = guest_order_encode(&o);
	struct err e;

	cr_assert_eq(guest_order_decode(value, &back, &e), 0, "%s", e.text);
	json_decref(value);
	cr_assert_eq(back.op, ORDER_START);
	cr_assert_eq(memcmp(&back.home, &o.home, sizeof(o.home)), 0);
	cr_assert_eq(memcmp(&back.spec, &o.spec, sizeof(o.spec)), 0);
}

Test(report, short_orders)
{
	static const struct {
		const char *text;
		enum guest_order_op op;
	} table[] = { { "{\"op\":\"stop\"}", ORDER_STOP }, { "{\"op\":\"kill\"}", ORDER_KILL },
		{ "{\"op\":\"show\"}", ORDER_SHOW } };

	for (size_t i = 0; i < 3; i++) {
		struct guest_order o = { .op = table[i].op }, back;
		json_t *encoded = guest_order_encode(&o), *wanted = parse(table[i].text);
		struct err e;

		cr_assert(json_equal(encoded, wanted));
		cr_assert_eq(guest_order_decode(wanted, &back, &e), 0);
		cr_assert_eq(back.op, table[i].op);
		json_decref(encoded);
		json_decref(wanted);
	}
}

Test(report, a_ledger_is_carried_and_not_looked_into)
{
	struct guest_order o = { .op = ORDER_KEEP, .ledger = parse("{\"a\":[1,{\"b\":2}]}") }, back;
	struct guest_report r = { .op = REPORT_REGISTER,
		.pid = 5,
		.spec = a_spec(),
		.home = a_home(),
		.ledger = o.ledger },
			    again;
	json_t *value = guest_order_encode(&o);
	struct err e;

	cr_assert_eq(guest_order_decode(value, &back, &e), 0, "%s", e.text);
	json_decref(value);
	cr_assert_eq(back.op, ORDER_KEEP);
	cr_assert(json_equal(back.ledger, o.ledger));
	guest_order_fini(&back);
	value = guest_report_encode(&r);
	cr_assert_eq(guest_report_decode(value, &again, &e), 0, "%s", e.text);
	json_decref(value);
	cr_assert(json_equal(again.ledger, o.ledger));
	guest_report_fini(&again);
	guest_order_fini(&o);
}

Test(report, a_new_home_is_carried_with_its_ledger)
{
	struct guest_order o = { .op = ORDER_REHOME,
		.home = a_home(),
		.ledger = parse("{\"from\":3}") },
			   back;
	json_t *value = guest_order_encode(&o), *home = guest_home_encode(&o.home), *got;
	struct err e;

	cr_assert_eq(guest_order_decode(value, &back, &e), 0, "%s", e.text);
	cr_assert_eq(back.op, ORDER_REHOME);
	cr_assert(json_equal(back.ledger, o.ledger));
	got = guest_home_encode(&back.home);
	cr_assert(json_equal(got, home));
	json_decref(got);
	json_decref(home);
	json_decref(value);
	guest_order_fini(&back);
	guest_order_fini(&o);
}

Test(report, a_ledger_has_a_bound)
{
	char text[REPORT_LEDGER_BYTES_MAX + 64];
	struct guest_order back;
	struct err e;
	json_t *value;

	for (size_t over = 0; over < 2; over++) {
		/* {"x":"..."} has 8 bytes around its text. */
		size_t letters = REPORT_LEDGER_BYTES_MAX - 8 + over, at;

		at = (size_t)sprintf(text, "{\"op\":\"keep\",\"ledger\":{\"x\":\"");
		memset(text + at, 'l', letters);
		strcpy(text + at + letters, "\"}}");
		value = parse(text);
		cr_assert_eq(guest_order_decode(value, &back, &e) == 0, over == 0, "%zu", over);
		if (!over)
			guest_order_fini(&back);
		json_decref(value);
	}
}

Test(report, refuses_orders)
{
	static const char *const table[] = {
		"{}",
		"[\"start\"]",
		"{\"op\":7}",
		"{\"op\":\"dance\"}",
		"{\"op\":\"rehome\"}",
		"{\"op\":\"rehome\",\"ledger\":{}}",
		"{\"op\":\"rehome\"," HOME "}",
		"{\"op\":\"rehome\"," HOME ",\"ledger\":[]}",
		"{\"op\":\"rehome\",\"home\":{},\"ledger\":{}}",
		"{\"op\":\"keep\"}",
		"{\"op\":\"keep\",\"ledger\":[]}",
		"{\"op\":\"keep\",\"ledger\":7}",
		"{\"op\":\"startstartstartstart\"}",
		"{\"op\":\"start\"}",
		"{\"op\":\"start\"," SPEC "}",
		"{\"op\":\"start\"," HOME "}",
		"{\"op\":\"start\"," SPEC "," HOME ",\"extra\":1}",
		"{\"op\":\"start\",\"spec\":7," HOME "}",
		"{\"op\":\"start\"," SPEC ",\"home\":[]}",
		"{\"op\":\"start\"," SPEC ",\"home\":{\"cell\":3,\"nodes\":[],\"cpus\":[1]}}",
		"{\"op\":\"start\"," SPEC ",\"home\":{\"cell\":3,\"nodes\":[1],\"cpus\":[]}}",
		"{\"op\":\"start\"," SPEC ",\"home\":{\"cell\":3,\"nodes\":[1],\"cpus\":[2,1]}}",
		"{\"op\":\"start\"," SPEC
		",\"home\":{\"cell\":3,\"nodes\":[1],\"cpus\":[1],\"pins\":[4,5,4]}}",
		"{\"op\":\"start\"," SPEC
		",\"home\":{\"cell\":3,\"nodes\":[1],\"cpus\":[1],\"pins\":[2048]}}",
		"{\"op\":\"start\"," SPEC ",\"home\":{\"cell\":3,\"nodes\":[1,1],\"cpus\":[1]}}",
		"{\"op\":\"start\"," SPEC ",\"home\":{\"cell\":3,\"nodes\":[1024],\"cpus\":[1]}}",
		"{\"op\":\"start\"," SPEC ",\"home\":{\"cell\":3,\"nodes\":[1],\"cpus\":[2048]}}",
		"{\"op\":\"start\"," SPEC
		",\"home\":{\"cell\":3,\"nodes\":[1],\"cpus\":[1,2],\"cpu_nodes\":[1]}}",
		"{\"op\":\"start\"," SPEC ",\"home\":{\"cell\":3,\"nodes\":[1],\"cpus\":[1],"
		"\"memory\":[{\"node\":2,\"bytes\":134217728}]}}",
		"{\"op\":\"start\"," SPEC ",\"home\":{\"cell\":3,\"nodes\":[1],\"cpus\":[1],"
		"\"memory\":[{\"node\":1,\"bytes\":134217727}]}}",
		/* a plan for less, or more, than the guest's memory */
		"{\"op\":\"start\"," SPEC ",\"home\":{\"cell\":3,\"nodes\":[1],\"cpus\":[1],"
		"\"memory\":[{\"node\":1,\"bytes\":132120576}]}}",
		"{\"op\":\"start\"," SPEC ",\"home\":{\"cell\":3,\"nodes\":[1],\"cpus\":[1],"
		"\"memory\":[{\"node\":1,\"bytes\":134217728},{\"node\":1,\"bytes\":2097152}]}}",
		"{\"op\":\"start\"," SPEC
		",\"home\":{\"cell\":3,\"nodes\":[1,2],\"cpus\":[1],\"distances\":[10,20,20]}}",
		"{\"op\":\"start\"," SPEC
		",\"home\":{\"cell\":3,\"nodes\":[1],\"cpus\":[1],\"distances\":[9]}}",
		"{\"op\":\"start\"," SPEC
		",\"home\":{\"cell\":3,\"nodes\":[1],\"cpus\":[1],\"distances\":[256]}}",
		"{\"op\":\"start\"," SPEC
		",\"home\":{\"cell\":3,\"nodes\":[1],\"cpus\":[1],\"distances\":[\"10\"]}}",
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct guest_order o;
		struct err e = { 0 };

		cr_expect_lt(decode_order(table[i], &o, &e), 0, "accepted: %s", table[i]);
		cr_expect_str_not_empty(e.text);
	}
}

Test(report, every_report_survives)
{
	struct guest_report r = { .op = REPORT_STARTED, .pid = 4711, .start_time = 99 }, back;

	report_survives(&r, &back);
	cr_assert_eq(back.pid, 4711);
	cr_assert_eq(back.start_time, 99);

	r = (struct guest_report){
		.op = REPORT_ERROR, .code = EXIT_NO_ROOM, .text = "no \"room\""
	};
	report_survives(&r, &back);
	cr_assert_eq(back.code, EXIT_NO_ROOM);
	cr_assert_str_eq(back.text, "no \"room\"");

	r = (struct guest_report){
		.op = REPORT_STATE, .state = REPORT_CRASHED, .cause = "why", .reboots = 5
	};
	report_survives(&r, &back);
	cr_assert_eq(back.state, REPORT_CRASHED);
	cr_assert_str_eq(back.cause, "why");
	cr_assert_eq(back.reboots, 5);

	r = (struct guest_report){ .op = REPORT_REGISTER,
		.pid = 12,
		.start_time = 13,
		.state = REPORT_RUNNING,
		.cause = "reboot",
		.reboots = 2,
		.memory_errors = 6,
		.spec = a_spec(),
		.home = a_home() };
	report_survives(&r, &back);
	cr_assert_eq(back.memory_errors, 6);
	cr_assert_eq(back.pid, 12);
	cr_assert_eq(back.start_time, 13);
	cr_assert_eq(back.state, REPORT_RUNNING);
	cr_assert_eq(memcmp(&back.spec, &r.spec, sizeof(r.spec)), 0);
	cr_assert_eq(memcmp(&back.home, &r.home, sizeof(r.home)), 0);

	r = (struct guest_report){ .op = REPORT_SHOWN, .shown = json_pack("{s:i}", "exits", 3) };
	report_survives(&r, &back);
	cr_assert(json_equal(back.shown, r.shown));
	guest_report_fini(&back);
	guest_report_fini(&r);
}

Test(report, memory_errors_survive)
{
	struct guest_report r = { .op = REPORT_MEMORY_ERROR,
		.memory_errors = 3,
		.error = { .gpa = 0x123000,
			.bytes = 4096,
			.node_known = true,
			.node = 5,
			.frame_known = true,
			.frame = 0x77,
			.vcpu = 1,
			.end = MEMORY_ERROR_HEALED,
			.source = "what was loaded" } },
			    back;

	report_survives(&r, &back);
	cr_assert_eq(back.memory_errors, 3);
	cr_assert_eq(memcmp(&back.error, &r.error, sizeof(r.error)), 0);
	r.error = (struct memory_error){ .bytes = 4096, .vcpu = MEMORY_ERROR_NOBODY };
	report_survives(&r, &back);
	cr_assert_eq(memcmp(&back.error, &r.error, sizeof(r.error)), 0);
}

Test(report, refuses_memory_errors)
{
#define ERROR(fields) "{\"op\":\"memory-error\",\"memory_errors\":1," fields "}"
	static const char *const table[] = {
		ERROR("\"gpa\":0,\"bytes\":4096,\"end\":\"told\""),
		ERROR("\"gpa\":0,\"bytes\":4096,\"source\":\"\""),
		ERROR("\"gpa\":0,\"end\":\"told\",\"source\":\"\""),
		ERROR("\"bytes\":4096,\"end\":\"told\",\"source\":\"\""),
		ERROR("\"gpa\":-1,\"bytes\":4096,\"end\":\"told\",\"source\":\"\""),
		ERROR("\"gpa\":0,\"bytes\":0,\"end\":\"told\",\"source\":\"\""),
		ERROR("\"gpa\":0,\"bytes\":4096,\"end\":\"well\",\"source\":\"\""),
		ERROR("\"gpa\":0,\"bytes\":4096,\"end\":7,\"source\":\"\""),
		ERROR("\"gpa\":0,\"bytes\":4096,\"end\":\"told\",\"source\":\"\",\"vcpu\":240"),
		ERROR("\"gpa\":0,\"bytes\":4096,\"end\":\"told\",\"source\":\"\",\"node\":1024"),
		("{\"op\":\"memory-error\",\"memory_errors\":0,\"gpa\":0,\"bytes\":4096,"
		 "\"end\":\"told\",\"source\":\"\"}"),
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct guest_report r;
		struct err e = { 0 };

		cr_expect_lt(decode_report(table[i], &r, &e), 0, "accepted: %s", table[i]);
		cr_expect_str_not_empty(e.text);
	}
}

Test(report, refuses_reports)
{
	static const char *const table[] = {
		"{}",
		"{\"op\":\"stop\"}",
		"{\"op\":\"started\"}",
		"{\"op\":\"started\",\"pid\":0,\"start_time\":1}",
		"{\"op\":\"started\",\"pid\":-1,\"start_time\":1}",
		"{\"op\":\"started\",\"pid\":4294967297,\"start_time\":1}",
		"{\"op\":\"error\",\"code\":0,\"text\":\"x\"}",
		"{\"op\":\"error\",\"code\":10,\"text\":\"x\"}",
		"{\"op\":\"error\",\"code\":1}",
		"{\"op\":\"error\",\"code\":1,\"text\":2}",
		"{\"op\":\"state\",\"state\":\"lost\",\"cause\":\"\",\"reboots\":0}",
		"{\"op\":\"state\",\"state\":\"running\",\"reboots\":0}",
		"{\"op\":\"state\",\"state\":\"running\",\"cause\":\"\",\"reboots\":-1}",
		"{\"op\":\"shown\"}",
		"{\"op\":\"shown\",\"guest\":[]}",
		"{\"op\":\"register\",\"pid\":1,\"start_time\":1,\"state\":\"running\",\"cause\":"
		"\"\",\"reboots\":0,"
		"\"name\":\"web\"," SPEC "}",
		"{\"op\":\"register\",\"pid\":1,\"start_time\":1,\"state\":\"running\",\"cause\":"
		"\"\",\"reboots\":0,"
		"\"name\":\"other\"," SPEC "," HOME "}",
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct guest_report r;
		struct err e = { 0 };

		cr_expect_lt(decode_report(table[i], &r, &e), 0, "accepted: %s", table[i]);
		cr_expect_str_not_empty(e.text);
		cr_expect_null(r.shown);
	}
}

Test(report, causes_are_cut_and_without_control_characters)
{
	static const char head[] =
		"{\"op\":\"state\",\"state\":\"crashed\",\"reboots\":0,\"cause\":\"";
	struct guest_report r;
	struct err e;
	char text[1200];

	cr_assert_eq(decode_report("{\"op\":\"state\",\"state\":\"crashed\",\"cause\":\"a\\u001b["
				   "2Jb\\nc\",\"reboots\":0}",
			     &r, &e),
		0);
	cr_assert_str_eq(r.cause, "a?[2Jb?c");
	memset(text, 'x', sizeof(text));
	memcpy(text, head, sizeof(head) - 1);
	strcpy(text + 1000, "\"}");
	cr_assert_eq(decode_report(text, &r, &e), 0, "%s", e.text);
	cr_assert_eq(strlen(r.cause), REPORT_CAUSE_BYTES - 1);
}

/* A path of umlauts, cut by a text's limit. */
Test(report, half_a_character_at_the_end_is_told_all_the_same)
{
	struct guest_report r = { .op = REPORT_ERROR,
		.code = EXIT_INVALID,
		.text = "no file /\xc3\xa4\xc3" },
			    back;

	report_survives(&r, &back);
	cr_assert_str_eq(back.text, "no file /???");
}

static void pair(int socks[2])
{
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, socks), 0);
}

Test(report, socket_carries_an_object_and_a_descriptor)
{
	json_t *sent = parse("{\"op\":\"show\"}"), *got;
	int socks[2], pipes[2], fd;
	struct stat a, b;

	pair(socks);
	cr_assert_eq(pipe(pipes), 0);
	cr_assert_eq(report_send(socks[0], sent, pipes[0]), 0);
	cr_assert_eq(report_recv(socks[1], &got, &fd), 1);
	cr_assert(json_equal(got, sent));
	cr_assert_geq(fd, 0);
	fstat(fd, &a);
	fstat(pipes[0], &b);
	cr_assert_eq(a.st_ino, b.st_ino);
	cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	json_decref(got);

	cr_assert_eq(report_send(socks[0], sent, -1), 0);
	cr_assert_eq(report_recv(socks[1], &got, &fd), 1);
	cr_assert_eq(fd, -1);
	json_decref(got);
	json_decref(sent);
}

Test(report, socket_says_empty_closed_and_full)
{
	json_t *value = parse("{\"op\":\"show\"}"), *got;
	int socks[2], fd, rc;

	pair(socks);
	cr_assert_eq(report_recv(socks[1], &got, &fd), -EAGAIN);
	do
		rc = report_send(socks[0], value, -1);
	while (!rc);
	cr_assert_eq(rc, -EAGAIN);
	close(socks[1]);
	cr_assert_eq(report_send(socks[0], value, -1), -EPIPE);
	json_decref(value);
	pair(socks);
	close(socks[0]);
	cr_assert_eq(report_recv(socks[1], &got, &fd), 0);
	cr_assert_null(got);
}

Test(report, socket_refuses_what_is_no_object)
{
	static const char *const table[] = { "", " ", "{", "[]", "7", "null", "{}{}",
		"{\"a\":1,\"a\":2}", "{\"a\":\"\\u0000\"}", "\xff\xfe", "{\"a\":\"\xff\"}" };
	int socks[2], fd;
	json_t *got;

	pair(socks);
	for (size_t i = 1; i < sizeof(table) / sizeof(table[0]); i++) {
		cr_assert_eq(
			send(socks[0], table[i], strlen(table[i]), 0), (ssize_t)strlen(table[i]));
		cr_expect_eq(report_recv(socks[1], &got, &fd), -EBADMSG, "%s", table[i]);
		cr_expect_null(got);
	}
}

Test(report, socket_refuses_what_is_too_long_both_ways)
{
	char *text = malloc(REPORT_BYTES_MAX + 2);
	json_t *value = json_object(), *got;
	int socks[2], fd, room = 1 << 20;

	pair(socks);
	setsockopt(socks[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	memset(text, 'x', REPORT_BYTES_MAX + 1);
	text[REPORT_BYTES_MAX + 1] = '\0';
	json_object_set_new(value, "a", json_string(text));
	cr_assert_eq(report_send(socks[0], value, -1), -EMSGSIZE);
	memcpy(text, "{\"a\":\"", 6);
	memcpy(text + REPORT_BYTES_MAX - 1, "\"}", 2);
	cr_assert_eq(send(socks[0], text, REPORT_BYTES_MAX + 1, 0), REPORT_BYTES_MAX + 1);
	cr_assert_eq(report_recv(socks[1], &got, &fd), -EBADMSG);
	/* also when what was cut off would not be missed */
	memset(text, ' ', REPORT_BYTES_MAX + 1);
	memcpy(text, "{}", 2);
	cr_assert_eq(send(socks[0], text, REPORT_BYTES_MAX + 1, 0), REPORT_BYTES_MAX + 1);
	cr_assert_eq(report_recv(socks[1], &got, &fd), -EBADMSG);
	/* one byte less is fine */
	cr_assert_eq(send(socks[0], text, REPORT_BYTES_MAX, 0), REPORT_BYTES_MAX);
	cr_assert_eq(report_recv(socks[1], &got, &fd), 1);
	json_decref(got);
	json_decref(value);
	free(text);
}

/* Whoever sends three descriptors fills nobody's table. */
Test(report, socket_closes_descriptors_that_nobody_asked_for)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(3 * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = "{}", .iov_len = 2 };
	struct msghdr message = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes) };
	int socks[2], fd, before, after, three[3] = { 0, 0, 0 };
	json_t *got;

	pair(socks);
	before = dup(0);
	close(before);
	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(sizeof(three));
	memcpy(CMSG_DATA(&control.align), three, sizeof(three));
	cr_assert_eq(sendmsg(socks[0], &message, 0), 2);
	cr_assert_eq(report_recv(socks[1], &got, &fd), 1);
	if (fd >= 0)
		close(fd);
	after = dup(0);
	cr_assert_eq(after, before, "descriptors leaked");
	json_decref(got);
}
