/* SPDX-License-Identifier: BSD-2-Clause */
/* The fabric over its real transport: several monitors in one process, or in processes of their
 * own. */
#include "fabric_lab.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

Test(fabric, cells_find_each_other_in_any_order_and_exchange_messages)
{
	const char *dir = lab_dir();
	struct lab_cell *b = lab_open(dir, 3, 9), *a = lab_open(dir, 1, 4);
	struct transport_peer peer;

	LAB_UNTIL(a->ups[3] && b->ups[1], a, b);
	cr_expect_eq(a->up_incarnation[3], 9);
	cr_expect_eq(b->up_incarnation[1], 4);
	cr_assert(fabric_peer(a->fabric, 3, &peer));
	cr_expect_eq(peer.pid, getpid());
	cr_expect_not(fabric_peer(a->fabric, 2, &peer));
	cr_assert_eq(fabric_send(a->fabric, 3, OP_HELLO, "one", 3), 0);
	cr_assert_eq(fabric_send(b->fabric, 1, OP_HELLO + 7, "seven", 5), 0);
	LAB_UNTIL(a->messages && b->messages, a, b);
	cr_expect(b->from == 1 && b->op == OP_HELLO && b->incarnation == 4);
	cr_expect(b->body_bytes == 3 && !memcmp(b->body, "one", 3));
	cr_expect(a->from == 3 && a->op == OP_HELLO + 7 && !memcmp(a->body, "seven", 5));
	cr_expect_eq(fabric_send(a->fabric, 2, OP_HELLO, "x", 1), -ENOTCONN);
	lab_close(a);
	LAB_UNTIL(b->downs[1], b);
	cr_expect_eq(b->why[1], LINK_CLOSED);
	lab_close(b);
	lab_rmdir(dir);
}

Test(fabric, a_message_sent_right_at_link_up_arrives)
{
	/* The lower cell is linked first; what it writes lies in a ring nobody reads yet. */
	const char *dir = lab_dir();

	for (int i = 0; i < 20; i++) {
		struct lab_cell *a = lab_open(dir, 0, 1), *b = lab_open(dir, 2, 1);

		LAB_UNTIL(a->ups[2], a, b);
		cr_assert_eq(fabric_send(a->fabric, 2, OP_HELLO, "early", 5), 0);
		LAB_UNTIL(b->messages, b);
		lab_close(a);
		lab_close(b);
	}
	lab_rmdir(dir);
}

Test(fabric, the_last_words_of_a_peer_are_heard)
{
	const char *dir = lab_dir();
	struct lab_cell *a = lab_open(dir, 0, 1), *b = lab_open(dir, 2, 1);

	LAB_UNTIL(a->ups[2] && b->ups[0], a, b);
	for (int i = 0; i < 1000; i++)
		cr_assert_eq(fabric_send(b->fabric, 0, OP_HELLO, "bye", 3), 0);
	lab_close(b);
	LAB_UNTIL(a->downs[2], a);
	cr_expect_eq(a->messages, 1000);
	lab_close(a);
	lab_rmdir(dir);
}

Test(fabric, the_largest_body_goes_through_and_one_more_byte_does_not)
{
	const char *dir = lab_dir();
	struct lab_cell *a = lab_open(dir, 0, 1), *b = lab_open(dir, 1, 1);
	size_t most = fabric_body_max(a->fabric);
	uint8_t *body = malloc(most + 1);

	cr_expect_geq(most, 64 * 1024);
	for (size_t i = 0; i <= most; i++)
		body[i] = (uint8_t)(i * 2654435761u >> 24);
	LAB_UNTIL(a->ups[1] && b->ups[0], a, b);
	/* Again and again, so that it wraps at many places. */
	for (unsigned n = 1; n < 12; n++) {
		cr_assert_eq(fabric_send(a->fabric, 1, OP_HELLO, body, most), 0);
		LAB_UNTIL(b->messages == n, b);
		cr_assert_eq(b->body_bytes, most);
		cr_assert_eq(memcmp(b->body, body, most), 0);
	}
	cr_expect_eq(fabric_send(a->fabric, 1, OP_HELLO, body, most + 1), -EMSGSIZE);
	cr_expect_eq(fabric_send(a->fabric, 1, OP_HELLO, body, WIRE_BODY_MAX + 1), -EMSGSIZE);
	cr_expect_eq(fabric_call(a->fabric, 1, OP_ECHO, body, SIZE_MAX, lab_now(), lab_done, a),
		-EMSGSIZE);
	free(body);
	lab_close(a);
	lab_close(b);
	lab_rmdir(dir);
}

Test(fabric, a_full_ring_pushes_back_and_loses_nothing)
{
	const char *dir = lab_dir();
	struct lab_cell *a = lab_open(dir, 0, 1), *b = lab_open(dir, 1, 1);
	struct fabric_link_stats stats;
	uint8_t body[1000] = { 0 };
	unsigned sent = 0;
	int rc;

	LAB_UNTIL(a->ups[1] && b->ups[0], a, b);
	while ((rc = fabric_send(a->fabric, 1, OP_HELLO, body, sizeof(body))) == 0)
		sent++;
	cr_expect_eq(rc, -EAGAIN);
	cr_expect_geq(sent, 900);
	LAB_UNTIL(b->messages == sent, b);
	cr_expect_eq(fabric_send(a->fabric, 1, OP_HELLO, body, sizeof(body)), 0, "there is room");
	LAB_UNTIL(b->messages == sent + 1, b);
	fabric_link_stats(a->fabric, 1, &stats);
	cr_expect(stats.sent == sent + 1 && stats.full == 1);
	fabric_link_stats(b->fabric, 0, &stats);
	cr_expect(stats.received == sent + 1 && stats.lost == 0);
	lab_close(a);
	lab_close(b);
	lab_rmdir(dir);
}

Test(fabric, calls_are_answered_at_once_later_or_not_at_all)
{
	const char *dir = lab_dir();
	struct lab_cell *a = lab_open(dir, 0, 1), *b = lab_open(dir, 1, 1);
	uint64_t far_ns = lab_now() + 600000000000ull;
	struct fabric_stats stats;

	LAB_UNTIL(a->ups[1] && b->ups[0], a, b);
	cr_assert_eq(fabric_call(a->fabric, 1, OP_ECHO, "ping", 4, far_ns, lab_done, a), 0);
	LAB_UNTIL(a->done[CALL_ANSWERED], a, b);
	cr_expect(a->reply_bytes == 4 && !memcmp(a->reply, "ping", 4));

	cr_assert_eq(fabric_call(a->fabric, 1, OP_LATER, "q", 1, far_ns, lab_done, a), 0);
	LAB_UNTIL(b->later.req_id, a, b);
	cr_expect_eq(b->later.cell, 0);
	cr_assert_eq(fabric_call(a->fabric, 1, OP_ECHO, "second", 6, far_ns, lab_done, a), 0);
	LAB_UNTIL(a->done[CALL_ANSWERED] == 2, a, b);
	cr_assert_eq(fabric_reply(b->fabric, &b->later, "at last", 7), 0);
	LAB_UNTIL(a->done[CALL_ANSWERED] == 3, a, b);
	cr_expect(a->reply_bytes == 7 && !memcmp(a->reply, "at last", 7));
	/* The same answer once more matches nothing. */
	cr_assert_eq(fabric_reply(b->fabric, &b->later, "at last", 7), 0);

	cr_assert_eq(fabric_call(a->fabric, 1, OP_HELLO, NULL, 0, far_ns, lab_done, a), 0);
	LAB_UNTIL(a->done[CALL_REFUSED] == 1, a, b);

	cr_assert_eq(
		fabric_call(a->fabric, 1, OP_LATER, "q", 1, lab_now() + 30000000u, lab_done, a), 0);
	LAB_UNTIL(a->done[CALL_TIMED_OUT] == 1, a, b);
	cr_assert_eq(fabric_reply(b->fabric, &b->later, "too late", 8), 0);
	cr_assert_eq(fabric_refuse(b->fabric, &b->later), 0);
	cr_assert_eq(fabric_send(b->fabric, 0, OP_HELLO, "mark", 4), 0);
	LAB_UNTIL(a->messages, a, b);
	fabric_stats(a->fabric, &stats);
	cr_expect(stats.calls == 5 && stats.answered == 3 && stats.refused == 1 &&
		  stats.timed_out == 1);
	cr_expect_eq(stats.late_replies, 3);
	cr_expect_eq(a->done[CALL_ANSWERED], 3);
	lab_close(a);
	lab_close(b);
	lab_rmdir(dir);
}

Test(fabric, there_is_a_limit_of_open_calls)
{
	const char *dir = lab_dir();
	struct lab_cell *a = lab_open(dir, 0, 1), *b = lab_open(dir, 1, 1);
	uint64_t far_ns = lab_now() + 600000000000ull;

	LAB_UNTIL(a->ups[1] && b->ups[0], a, b);
	for (unsigned i = 0; i < FABRIC_CALLS_MAX; i++)
		cr_assert_eq(fabric_call(a->fabric, 1, OP_ECHO, "", 0, far_ns, lab_done, a), 0);
	cr_expect_eq(fabric_call(a->fabric, 1, OP_ECHO, "", 0, far_ns, lab_done, a), -EBUSY);
	LAB_UNTIL(a->done[CALL_ANSWERED] == FABRIC_CALLS_MAX, a, b);
	cr_expect_eq(fabric_call(a->fabric, 1, OP_ECHO, "", 0, far_ns, lab_done, a), 0);
	/* A call that can't be sent leaves no trace. */
	for (unsigned i = 0; i < FABRIC_CALLS_MAX; i++)
		cr_assert_eq(
			fabric_call(a->fabric, 2, OP_ECHO, "", 0, far_ns, lab_done, a), -ENOTCONN);
	LAB_UNTIL(a->done[CALL_ANSWERED] == FABRIC_CALLS_MAX + 1, a, b);
	lab_close(a);
	lab_close(b);
	lab_rmdir(dir);
}

Test(fabric, a_dead_cell_is_cut_off_for_this_life_and_welcome_in_the_next)
{
	const char *dir = lab_dir();
	struct lab_cell *a = lab_open(dir, 0, 1), *b = lab_open(dir, 1, 5),
			*c = lab_open(dir, 2, 1);
	uint64_t far_ns = lab_now() + 600000000000ull;
	struct fabric_request old;
	unsigned ups;

	LAB_UNTIL(a->ups[1] && b->ups[0] && c->ups[0] && a->ups[2], a, b, c);
	cr_assert_eq(fabric_call(a->fabric, 1, OP_LATER, "q", 1, far_ns, lab_done, a), 0);
	cr_assert_eq(fabric_call(a->fabric, 2, OP_LATER, "q", 1, far_ns, lab_done, a), 0);
	LAB_UNTIL(b->later.req_id && c->later.req_id, a, b, c);
	old = b->later;
	fabric_dead(a->fabric, 1, 5);
	cr_expect_eq(a->done[CALL_ABORTED], 1, "the call to the dead, and only that");
	cr_expect(a->downs[1] == 1 && a->why[1] == LINK_DISMISSED);
	cr_expect_eq(fabric_send(a->fabric, 1, OP_HELLO, "x", 1), -ENOTCONN);
	LAB_UNTIL(b->downs[0], a, b, c);
	/* It tries to come back, in vain, for as long as it is the same life. */
	ups = a->ups[1];
	LAB_MEANWHILE(a, b, c);
	cr_expect_eq(a->ups[1], ups);
	cr_expect_eq(fabric_reply(b->fabric, &old, "late", 4), -ESTALE);
	lab_close(b);
	b = lab_open(dir, 1, 6);
	LAB_UNTIL(a->ups[1] == ups + 1 && b->ups[0], a, b, c);
	cr_expect_eq(a->up_incarnation[1], 6);
	fabric_dead(a->fabric, 1, 5);
	cr_expect_eq(a->downs[1], 1, "late news of an earlier life change nothing");
	cr_assert_eq(fabric_reply(c->fabric, &c->later, "alive", 5), 0);
	LAB_UNTIL(a->done[CALL_ANSWERED] == 1, a, b, c);
	lab_close(a);
	lab_close(b);
	lab_close(c);
	lab_rmdir(dir);
}

Test(fabric, an_earlier_life_is_refused)
{
	const char *dir = lab_dir();

	/* Once for each direction of connecting. */
	for (uint16_t other = 0; other < 4; other += 3) {
		struct lab_cell *a = lab_open(dir, 2, 1), *b = lab_open(dir, other, 7);

		LAB_UNTIL(a->ups[other] && b->ups[2], a, b);
		lab_close(b);
		LAB_UNTIL(a->downs[other], a);
		b = lab_open(dir, other, 6);
		LAB_MEANWHILE(a, b);
		cr_expect_eq(a->ups[other], 1);
		cr_expect_eq(b->ups[2], 0);
		lab_close(b);
		b = lab_open(dir, other, 8);
		LAB_UNTIL(a->ups[other] == 2 && b->ups[2], a, b);
		lab_close(a);
		lab_close(b);
	}
	lab_rmdir(dir);
}

/* The old monitor is stopped: it keeps its link and its socket while the new one takes over. */
Test(fabric, a_new_life_replaces_one_that_hangs)
{
	const char *dir = lab_dir();

	for (uint16_t other = 0; other < 4; other += 3) {
		struct lab_cell *a = lab_open(dir, 2, 1), *old = lab_open(dir, other, 7), *new;

		LAB_UNTIL(a->ups[other] && old->ups[2], a, old);
		new = lab_open(dir, other, 8);
		LAB_UNTIL(a->up_incarnation[other] == 8 && new->ups[2], a, new);
		cr_assert_eq(fabric_send(old->fabric, 2, OP_HELLO, "from the dead", 13), 0);
		cr_assert_eq(fabric_send(new->fabric, 2, OP_HELLO, "alive", 5), 0);
		LAB_UNTIL(a->messages, a, new);
		cr_expect_eq(a->incarnation, 8);
		LAB_UNTIL(old->downs[2], old, a, new);
		cr_expect_eq(a->messages, 1);
		/* The old one's end does not take the heir's socket along. */
		lab_close(old);
		lab_close(a);
		a = lab_open(dir, 2, 2);
		LAB_UNTIL(a->ups[other], a, new);
		lab_close(a);
		lab_close(new);
	}
	lab_rmdir(dir);
}

Test(fabric, a_stale_socket_file_is_no_obstacle)
{
	const char *dir = lab_dir();
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct lab_cell *a, *b;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/cell-0", dir);
	cr_assert_eq(mkdir(address.sun_path, 0700), 0);
	(void)strcat(address.sun_path, "/fabric.sock");
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	(void)close(fd);
	b = lab_open(dir, 1, 1);
	lab_serve(&b, 1);
	a = lab_open(dir, 0, 1);
	LAB_UNTIL(a->ups[1] && b->ups[0], a, b);
	lab_close(a);
	lab_close(b);
	lab_rmdir(dir);
}

Test(fabric, an_unusable_runtime_directory_is_said)
{
	struct lab_cell c;
	struct fabric_cfg cfg = lab_cfg(&c, "/nonexistent/run", 0, 1);
	struct fabric *f;
	char longer[200];
	struct err e;

	cr_expect_eq(fabric_open(&f, &cfg, &e), -ENOENT);
	cr_expect(strstr(e.text, "/nonexistent/run"), "%s", e.text);
	memset(longer, 'x', sizeof(longer));
	longer[0] = '/';
	longer[sizeof(longer) - 1] = '\0';
	cfg.runtime_dir = longer;
	cr_expect_eq(fabric_open(&f, &cfg, &e), -ENAMETOOLONG);
	cr_expect(strstr(e.text, "shorter"), "%s", e.text);
}

Test(fabric, a_callback_may_declare_the_sender_dead)
{
	const char *dir = lab_dir();
	struct lab_cell *a = lab_open(dir, 0, 1), *b = lab_open(dir, 1, 1);

	LAB_UNTIL(a->ups[1] && b->ups[0], a, b);
	a->kill_on_message = true;
	for (int i = 0; i < 10; i++)
		cr_assert_eq(fabric_send(b->fabric, 0, OP_HELLO, "x", 1), 0);
	LAB_UNTIL(a->downs[1], a);
	cr_expect_eq(a->messages, 1, "nothing of the dead is delivered after that");
	lab_close(a);
	lab_close(b);
	lab_rmdir(dir);
}

/* --- a peer in a process of its own ----------------------------------------- */

Test(fabric, a_killed_peer_is_noticed_and_its_next_life_linked)
{
	const char *dir = lab_dir();
	struct lab_cell *a = lab_open(dir, 2, 1);
	uint64_t far_ns = lab_now() + 600000000000ull;
	struct transport_peer peer;

	/* One that connects to us, one that we connect to. */
	for (uint16_t other = 1; other < 4; other += 2) {
		pid_t pid = lab_peer(dir, other, 10);

		LAB_UNTIL(a->ups[other] == 1, a);
		cr_assert(fabric_peer(a->fabric, other, &peer));
		cr_expect_eq(peer.pid, pid);
		cr_assert_eq(
			fabric_call(a->fabric, other, OP_LATER, "q", 1, far_ns, lab_done, a), 0);
		(void)kill(pid, SIGKILL);
		LAB_UNTIL(a->downs[other] == 1, a);
		cr_expect_eq(a->why[other], LINK_CLOSED);
		(void)waitpid(pid, NULL, 0);
		pid = lab_peer(dir, other, 11);
		LAB_UNTIL(a->ups[other] == 2, a);
		cr_expect_eq(a->up_incarnation[other], 11);
		cr_assert_eq(
			fabric_call(a->fabric, other, OP_ECHO, "you", 3, far_ns, lab_done, a), 0);
		LAB_UNTIL(a->done[CALL_ANSWERED] == (other + 1u) / 2, a);
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
	}
	cr_expect_eq(a->done[CALL_ABORTED], 2);
	lab_close(a);
	lab_rmdir(dir);
}

Test(fabric, a_stopped_peer_costs_nothing_but_its_answers)
{
	const char *dir = lab_dir();
	struct lab_cell *a = lab_open(dir, 0, 1), *b = lab_open(dir, 1, 1);
	pid_t pid = lab_peer(dir, 2, 1);
	uint8_t body[2000] = { 0 };
	int rc;

	LAB_UNTIL(a->ups[2] && a->ups[1] && b->ups[0], a, b);
	(void)kill(pid, SIGSTOP);
	while ((rc = fabric_send(a->fabric, 2, OP_HELLO, body, sizeof(body))) == 0)
		;
	cr_expect_eq(rc, -EAGAIN);
	cr_assert_eq(fabric_send(a->fabric, 1, OP_HELLO, "hi", 2), 0);
	LAB_UNTIL(b->messages == 1, a, b);
	cr_expect_eq(a->downs[2], 0, "silence alone takes no link down");
	(void)kill(pid, SIGCONT);
	LAB_UNTIL(fabric_send(a->fabric, 2, OP_HELLO, body, sizeof(body)) == 0, a, b);
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	lab_close(a);
	lab_close(b);
	lab_rmdir(dir);
}

/* --- many cells --------------------------------------------------------------- */

Test(fabric, above_the_mesh_limit_links_are_made_on_demand)
{
	const char *dir = lab_dir();
	struct lab_cell *a = calloc(1, sizeof(*a)), *b = calloc(1, sizeof(*b));
	struct fabric_cfg ca = lab_cfg(a, dir, 1, 1), cb = lab_cfg(b, dir, 3, 1);
	struct err e;

	ca.cell_count = cb.cell_count = WIRE_CELLS_MAX;
	cr_assert_eq(fabric_open(&a->fabric, &ca, &e), 0, "%s", e.text);
	cr_assert_eq(fabric_open(&b->fabric, &cb, &e), 0, "%s", e.text);
	cr_expect_geq(fabric_body_max(a->fabric), 64 * 1024);
	LAB_MEANWHILE(a, b);
	cr_expect_eq(a->ups[3], 0);
	/* The lower cell can't connect; it knocks. */
	fabric_want(a->fabric, 3, true);
	LAB_UNTIL(a->ups[3] && b->ups[1], a, b);
	cr_assert_eq(fabric_send(b->fabric, 1, OP_HELLO, "x", 1), 0);
	LAB_UNTIL(a->messages, a, b);
	fabric_want(a->fabric, 3, false);
	LAB_UNTIL(a->downs[3] && b->downs[1], a, b);
	LAB_MEANWHILE(a, b);
	cr_expect_eq(a->ups[3], 1, "nobody wants it now");
	fabric_want(b->fabric, 1, true);
	LAB_UNTIL(a->ups[3] == 2 && b->ups[1] == 2, a, b);
	lab_close(a);
	lab_close(b);
	lab_rmdir(dir);
}
