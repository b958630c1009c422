/* SPDX-License-Identifier: BSD-2-Clause */
#include "sim/box/proto.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ID_DIGITS 16u

bool box_lines_feed(struct box_lines *l, const char **data, size_t *bytes)
{
	while (*bytes > 0) {
		char c = **data;

		(*data)++;
		(*bytes)--;
		if (c == '\n') {
			bool whole = !l->dropping;

			l->buf[l->used] = '\0';
			l->used = 0;
			l->dropping = false;
			if (whole)
				return true;
		} else if (l->used < sizeof(l->buf) - 1) {
			l->buf[l->used++] = c;
		} else {
			l->dropping = true;
		}
	}
	return false;
}

static bool word_ok(const char *word)
{
	if (*word == '\0')
		return false;
	for (; *word; word++)
		if (!isgraph((unsigned char)*word))
			return false;
	return true;
}

/* Appends text at *used; false if it and a NUL do not fit. */
static bool append(char *out, size_t out_bytes, size_t *used, const char *text)
{
	size_t n = strlen(text);

	if (n >= out_bytes - *used)
		return false;
	memcpy(out + *used, text, n + 1);
	*used += n;
	return true;
}

long box_request_format(char *out, size_t out_bytes, uint64_t id, const char *verb,
	const char *const *words, size_t word_count)
{
	char head[sizeof("\n" BOX_VERSION " ") + ID_DIGITS + 1];
	size_t used = 0;

	if (!word_ok(verb) || word_count > BOX_REQUEST_WORDS)
		return -EINVAL;
	/* One byte of the limit is the leading newline's, which is not of the line. */
	if (out_bytes > BOX_LINE_BYTES + 1)
		out_bytes = BOX_LINE_BYTES + 1;
	if (out_bytes == 0)
		return -E2BIG;
	snprintf(head, sizeof(head), "\n%s %016" PRIx64 " ", BOX_VERSION, id);
	if (!append(out, out_bytes, &used, head) || !append(out, out_bytes, &used, verb))
		return -E2BIG;
	for (size_t i = 0; i < word_count; i++) {
		if (!word_ok(words[i]))
			return -EINVAL;
		if (!append(out, out_bytes, &used, " ") || !append(out, out_bytes, &used, words[i]))
			return -E2BIG;
	}
	if (!append(out, out_bytes, &used, "\n"))
		return -E2BIG;
	return (long)used;
}

/* Exactly 16 digits and a blank. */
static bool parse_id(const char *text, uint64_t *id)
{
	uint64_t value = 0;

	for (size_t i = 0; i < ID_DIGITS; i++) {
		const char *digits = "0123456789abcdef";
		const char *at = text[i] ? strchr(digits, text[i]) : NULL;

		if (!at)
			return false;
		value = value << 4 | (uint64_t)(at - digits);
	}
	*id = value;
	return text[ID_DIGITS] == ' ';
}

enum box_reply_kind box_reply_parse(const char *line, uint64_t id, const char **text)
{
	const char *prefix = BOX_VERSION " ";
	enum box_reply_kind kind;
	uint64_t theirs;

	if (strncmp(line, prefix, strlen(prefix)) != 0)
		return BOX_REPLY_BAD;
	line += strlen(prefix);
	if (!parse_id(line, &theirs))
		return BOX_REPLY_BAD;
	line += ID_DIGITS + 1;
	if (strncmp(line, "ok", 2) == 0) {
		kind = BOX_REPLY_OK;
		line += 2;
	} else if (strncmp(line, "error", 5) == 0) {
		kind = BOX_REPLY_ERROR;
		line += 5;
	} else {
		return BOX_REPLY_BAD;
	}
	/* An error without a reason is no reply either. */
	if (*line != ' ' && (*line != '\0' || kind == BOX_REPLY_ERROR))
		return BOX_REPLY_BAD;
	if (theirs != id)
		return BOX_REPLY_OTHER;
	*text = *line ? line + 1 : line;
	return kind;
}
