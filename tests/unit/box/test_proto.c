/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sim/box/proto.h"

#define ID 0x0123456789abcdefull

Test(proto, a_request_is_a_line_of_its_own_with_id_verb_and_words)
{
	const char *const words[] = { "7", "idle" };
	char out[BOX_LINE_BYTES + 2];
	long n = box_request_format(out, sizeof(out), ID, "freeze", words, 2);

	cr_assert_str_eq(out, "\nbox1 0123456789abcdef freeze 7 idle\n");
	cr_assert_eq(n, (long)strlen(out));
	n = box_request_format(out, sizeof(out), 1, "ping", NULL, 0);
	cr_assert_str_eq(out, "\nbox1 0000000000000001 ping\n");
	cr_assert_eq(n, 28);
}

Test(proto, words_that_would_break_the_line_are_refused)
{
	static const char *const bad[] = { "", " ", "a b", "a\n", "\nbox1", "\t", "\x7f",
		"\xc3\xa4" };
	char out[BOX_LINE_BYTES + 2];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const char *const words[] = { "1", bad[i] };

		cr_expect_eq(box_request_format(out, sizeof(out), ID, bad[i], NULL, 0), -EINVAL,
			"verb %zu", i);
		cr_expect_eq(box_request_format(out, sizeof(out), ID, "mce", words, 2), -EINVAL,
			"word %zu", i);
	}
}

Test(proto, a_request_fits_the_line_exactly_or_is_refused)
{
	char word[BOX_LINE_BYTES], out[2 * BOX_LINE_BYTES];
	const char *const words[] = { word };
	/* "box1 " + 16 digits + " v " + word + newline is the line. */
	size_t most = BOX_LINE_BYTES - 5 - 16 - 3 - 1;

	memset(word, 'w', sizeof(word));
	word[most - 1] = '\0';
	cr_assert_eq(box_request_format(out, sizeof(out), ID, "v", words, 1), BOX_LINE_BYTES);
	cr_assert_eq(
		box_request_format(out, BOX_LINE_BYTES + 1, ID, "v", words, 1), BOX_LINE_BYTES);
	cr_assert_eq(box_request_format(out, BOX_LINE_BYTES, ID, "v", words, 1), -E2BIG);
	word[most - 1] = 'w';
	word[most] = 'w';
	word[most + 1] = '\0';
	cr_assert_eq(box_request_format(out, sizeof(out), ID, "v", words, 1), -E2BIG);
	cr_assert_eq(box_request_format(out, 0, ID, "v", NULL, 0), -E2BIG);
}

Test(proto, too_many_words_are_refused)
{
	const char *words[BOX_REQUEST_WORDS + 1];
	char out[BOX_LINE_BYTES + 2];

	for (size_t i = 0; i <= BOX_REQUEST_WORDS; i++)
		words[i] = "w";
	cr_assert_gt(box_request_format(out, sizeof(out), ID, "v", words, BOX_REQUEST_WORDS), 0);
	cr_assert_eq(box_request_format(out, sizeof(out), ID, "v", words, BOX_REQUEST_WORDS + 1),
		-EINVAL);
}

Test(proto, replies_are_judged)
{
	static const struct {
		const char *line;
		enum box_reply_kind kind;
		const char *text;
	} table[] = {
		{ "box1 0123456789abcdef ok", BOX_REPLY_OK, "" },
		{ "box1 0123456789abcdef ok 4=idle 5=busy", BOX_REPLY_OK, "4=idle 5=busy" },
		{ "box1 0123456789abcdef error no such CPU", BOX_REPLY_ERROR, "no such CPU" },
		{ "box1 1123456789abcdef ok", BOX_REPLY_OTHER, NULL },
		{ "box1 0123456789abcdee error x", BOX_REPLY_OTHER, NULL },
		{ "", BOX_REPLY_BAD, NULL },
		{ "box1", BOX_REPLY_BAD, NULL },
		{ "box1 ", BOX_REPLY_BAD, NULL },
		{ "box2 0123456789abcdef ok", BOX_REPLY_BAD, NULL },
		{ "box1 0123456789abcde ok", BOX_REPLY_BAD, NULL },
		{ "box1 0123456789abcdef0 ok", BOX_REPLY_BAD, NULL },
		{ "box1 0123456789ABCDEF ok", BOX_REPLY_BAD, NULL },
		{ "box1 0123456789abcdefok", BOX_REPLY_BAD, NULL },
		{ "box1 0123456789abcdef", BOX_REPLY_BAD, NULL },
		{ "box1 0123456789abcdef ", BOX_REPLY_BAD, NULL },
		{ "box1 0123456789abcdef okay", BOX_REPLY_BAD, NULL },
		{ "box1 0123456789abcdef error", BOX_REPLY_BAD, NULL },
		{ "box1 0123456789abcdef errors x", BOX_REPLY_BAD, NULL },
		{ " box1 0123456789abcdef ok", BOX_REPLY_BAD, NULL },
		{ "box1 0123456789abcdef freeze 7", BOX_REPLY_BAD, NULL },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const char *text = NULL;

		cr_expect_eq(box_reply_parse(table[i].line, ID, &text), table[i].kind, "'%s'",
			table[i].line);
		if (table[i].text)
			cr_expect_str_eq(text, table[i].text);
		else
			cr_expect_null(text);
	}
}

/* Feeds text in pieces of `step` bytes; joins the lines that come out with '|'. */
static void feed(struct box_lines *l, const char *text, size_t step, char *out)
{
	size_t left = strlen(text);

	*out = '\0';
	while (left > 0) {
		size_t bytes = left < step ? left : step;
		const char *data = text;

		left -= bytes;
		text += bytes;
		while (box_lines_feed(l, &data, &bytes)) {
			strcat(out, l->buf);
			strcat(out, "|");
		}
	}
}

Test(proto, lines_come_out_whole_however_they_arrive)
{
	for (size_t step = 1; step < 20; step++) {
		struct box_lines l = { 0 };
		char out[100];

		feed(&l, "one\n\ntwo three\nrest", step, out);
		cr_expect_str_eq(out, "one||two three|", "step %zu", step);
		feed(&l, "less\n", step, out);
		cr_expect_str_eq(out, "restless|", "step %zu", step);
	}
}

Test(proto, a_line_that_is_too_long_is_dropped_alone)
{
	static char text[4 * BOX_LINE_BYTES], out[4 * BOX_LINE_BYTES];
	struct box_lines l = { 0 };

	memset(text, 'x', BOX_LINE_BYTES - 1);
	strcpy(text + BOX_LINE_BYTES - 1, "\nnext\n");
	feed(&l, text, 7, out);
	cr_assert_eq(
		strlen(out), BOX_LINE_BYTES - 1 + strlen("|next|"), "the longest line is whole");
	memset(text, 'x', BOX_LINE_BYTES);
	strcpy(text + BOX_LINE_BYTES, "\nnext\n");
	feed(&l, text, 7, out);
	cr_assert_str_eq(out, "next|");
}
