/* SPDX-License-Identifier: BSD-2-Clause */
/* The client against an outside that is played by a process of the test. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim/box/client.h"

#define PLENTY_MS 20000u

struct outside {
	struct box_client client;
	pid_t pid;
};

/*
 * Starts an outside that waits for a request whose words are `expected`, and
 * answers with `answer`, where each $ stands for the request's ID.
 */
static void outside_start(struct outside *o, const char *expected, const char *answer)
{
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	o->client = (struct box_client){ .fd = pair[0] };
	o->pid = fork();
	if (o->pid == 0) {
		char line[2048] = "", id[17] = "", out[2048] = "";
		size_t used = 0;

		close(pair[0]);
		while (used < 2 || line[used - 1] != '\n') {
			ssize_t n = read(pair[1], line + used, sizeof(line) - 1 - used);

			if (n <= 0)
				_exit(2);
			used += (size_t)n;
		}
		memcpy(id, line + strlen("\nbox1 "), 16);
		for (const char *at = answer; *at; at++)
			if (*at == '$')
				strcat(out, id);
			else
				strncat(out, at, 1);
		if (write(pair[1], out, strlen(out)) < 0)
			_exit(3);
		_exit(strcmp(line + strlen("\nbox1 ") + 17, expected) ? 1 : 0);
	}
	close(pair[1]);
}

/* The outside's verdict on the request that it saw. */
static int outside_end(struct outside *o)
{
	int status = 0;

	box_client_close(&o->client);
	waitpid(o->pid, &status, 0);
	return WEXITSTATUS(status);
}

Test(client, asks_in_the_protocols_words)
{
	struct outside o;
	struct err e = { 0 };
	struct box_mce mce = { .cpu = 3,
		.bank = 2,
		.status = 0x8400100000000000,
		.mcg_status = 5,
		.addr = 0x7d000000,
		.misc = 0x8c };

	outside_start(&o, "freeze 3 idle\n", "box1 $ ok idle\n");
	cr_expect_eq(box_client_freeze_cpu(&o.client, 3, BOX_FREEZE_IDLE, &e), 0, "%s", e.text);
	cr_expect_eq(outside_end(&o), 0);
	outside_start(&o, "thaw 4\n", "box1 $ ok\n");
	cr_expect_eq(box_client_thaw_cpu(&o.client, 4, &e), 0);
	cr_expect_eq(outside_end(&o), 0);
	outside_start(&o, "freeze-node 1 any\n", "box1 $ ok 2=idle\n");
	cr_expect_eq(box_client_freeze_node(&o.client, 1, BOX_FREEZE_ANY, &e), 0);
	cr_expect_eq(outside_end(&o), 0);
	outside_start(&o, "thaw-node 1\n", "box1 $ ok\n");
	cr_expect_eq(box_client_thaw_node(&o.client, 1, &e), 0);
	cr_expect_eq(outside_end(&o), 0);
	outside_start(&o, "mce 3 2 0x8400100000000000 0x5 0x7d000000 0x8c\n", "box1 $ ok\n");
	cr_expect_eq(box_client_mce(&o.client, &mce, &e), 0);
	cr_expect_eq(outside_end(&o), 0);
	mce.broadcast = true;
	outside_start(
		&o, "mce 3 2 0x8400100000000000 0x5 0x7d000000 0x8c broadcast\n", "box1 $ ok\n");
	cr_expect_eq(box_client_mce(&o.client, &mce, &e), 0);
	cr_expect_eq(outside_end(&o), 0);
}

Test(client, finds_its_reply_among_what_dead_callers_left)
{
	struct outside o;
	struct err e = { 0 };
	char answer[64] = "";

	outside_start(&o, "info\n",
		"alf a line\n\nbox1 00000000000000ff error old\nbox9 $ ok wrong\nbox1 $ ok {}\n");
	cr_expect_eq(
		box_client_call(&o.client, "info", NULL, 0, PLENTY_MS, answer, sizeof(answer), &e),
		0, "%s", e.text);
	cr_expect_str_eq(answer, "{}");
	cr_expect_eq(outside_end(&o), 0);
}

Test(client, an_answer_is_cut_to_its_room)
{
	struct outside o;
	struct err e = { 0 };
	char answer[4] = "";

	outside_start(&o, "info\n", "box1 $ ok abcdef\n");
	cr_expect_eq(
		box_client_call(&o.client, "info", NULL, 0, PLENTY_MS, answer, sizeof(answer), &e),
		0);
	cr_expect_str_eq(answer, "abc");
	outside_end(&o);
}

Test(client, a_refusal_carries_its_reason)
{
	struct outside o;
	struct err e = { 0 };

	outside_start(&o, "thaw 9\n", "box1 $ error CPU 9 is not frozen\n");
	cr_expect_eq(box_client_thaw_cpu(&o.client, 9, &e), -EREMOTEIO);
	cr_expect_eq(e.code, EXIT_FAILED);
	cr_expect_not_null(strstr(e.text, "CPU 9 is not frozen"));
	outside_end(&o);
}

Test(client, an_outside_that_goes_away_is_told)
{
	struct outside o;
	struct err e = { 0 };

	outside_start(&o, "ping\n", "box1 $ o");
	cr_expect_eq(box_client_call(&o.client, "ping", NULL, 0, PLENTY_MS, NULL, 0, &e), -EPIPE);
	cr_expect_eq(e.code, EXIT_ENVIRONMENT);
	outside_end(&o);
}

Test(client, silence_ends_at_the_deadline)
{
	struct err e = { 0 };
	struct box_client c;
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	c = (struct box_client){ .fd = pair[0] };
	cr_expect_eq(box_client_call(&c, "ping", NULL, 0, 30, NULL, 0, &e), -ETIMEDOUT);
	cr_expect_eq(e.code, EXIT_NO_ANSWER);
	box_client_close(&c);
	close(pair[1]);
}

Test(client, a_word_that_breaks_the_line_is_never_sent)
{
	const char *const words[] = { "1\nbox1" };
	struct err e = { 0 };
	struct box_client c;
	char byte;
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	c = (struct box_client){ .fd = pair[0] };
	cr_expect_eq(box_client_call(&c, "thaw", words, 1, PLENTY_MS, NULL, 0, &e), -EINVAL);
	cr_expect_eq(read(pair[1], &byte, 1), -1);
	box_client_close(&c);
	close(pair[1]);
}
