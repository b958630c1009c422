/* SPDX-License-Identifier: BSD-2-Clause */
/* Whatever guest process and monitor tell each other: what is accepted survives the way back. */
#include "monitor/guest/report.h"
#include "numa/check.h"
#include "tests/fuzz/guest/mutate.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_order(const json_t *value)
{
	static struct guest_order o, again;
	struct err e;
	json_t *back;

	if (guest_order_decode(value, &o, &e))
		return;
	back = guest_order_encode(&o);
	CHECK(back && guest_order_decode(back, &again, &e) == 0);
	CHECK((o.ledger != NULL) == (again.ledger != NULL));
	guest_order_fini(&o);
	guest_order_fini(&again);
	CHECK(memcmp(&o, &again, sizeof(o)) == 0);
	json_decref(back);
}

static void try_report(const json_t *value)
{
	static struct guest_report r, again;
	struct err e;
	json_t *back;

	if (guest_report_decode(value, &r, &e))
		return;
	CHECK(strlen(r.cause) < sizeof(r.cause) && strlen(r.text) < sizeof(r.text));
	back = guest_report_encode(&r);
	CHECK(back && guest_report_decode(back, &again, &e) == 0);
	CHECK(r.op == again.op && r.pid == again.pid && r.state == again.state);
	guest_report_fini(&again);
	json_decref(back);
	guest_report_fini(&r);
}

#define SPEC "\"spec\":{\"name\":\"web\",\"kernel\":\"/k\",\"cpus\":2,\"memory_bytes\":134217728}"
#define HOME                                                                                       \
	"\"home\":{\"cell\":3,\"nodes\":[5,7],\"cpus\":[10,11,14],\"cpu_nodes\":[5,5,7],"          \
	"\"memory\":[{\"node\":7,\"bytes\":100663296},{\"node\":5,\"bytes\":33554432}],"           \
	"\"distances\":[10,21,23,10]}"

static const char *const right[] = {
	"{\"op\":\"start\"," SPEC "," HOME "}",
	"{\"op\":\"stop\"}",
	"{\"op\":\"keep\",\"ledger\":{\"number\":1}}",
	"{\"op\":\"started\",\"pid\":7,\"start_time\":9}",
	"{\"op\":\"error\",\"code\":4,\"text\":\"no\"}",
	"{\"op\":\"state\",\"state\":\"crashed\",\"cause\":\"why\",\"reboots\":2}",
	"{\"op\":\"register\",\"name\":\"web\",\"pid\":7,\"start_time\":9,\"state\":\"running\","
	"\"cause\":\"\",\"reboots\":2," SPEC "," HOME "}",
	"{\"op\":\"shown\",\"guest\":{\"exits\":1}}",
	"{\"op\":\"memory-error\",\"memory_errors\":2,\"gpa\":4096,\"bytes\":4096,\"end\":"
	"\"healed\","
	"\"source\":\"x\",\"node\":1,\"frame\":7,\"vcpu\":0}",
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes bytes = { data, size };
	size_t which = next_byte(&bytes) % (sizeof(right) / sizeof(right[0]));
	json_t *sent = json_loads(right[which], 0, NULL), *value;
	int socks[2], fd;

	mutate(sent, &bytes, 4);
	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, socks) == 0);
	CHECK(report_send(socks[0], sent, -1) == 0);
	CHECK(report_recv(socks[1], &value, &fd) == 1 && fd == -1);
	try_order(value);
	try_report(value);
	json_decref(value);
	json_decref(sent);
	/* and bytes that are no JSON, or whatever they are */
	if (send(socks[0], data, size, MSG_NOSIGNAL) == (ssize_t)size &&
		report_recv(socks[1], &value, &fd) == 1)
		json_decref(value);
	close(socks[0]);
	close(socks[1]);
	return 0;
}
