/* SPDX-License-Identifier: BSD-2-Clause */
#include "numa/text.h"

#include <string.h>

struct text_out text_to(char *text, size_t bytes)
{
	if (bytes > 0)
		text[0] = '\0';
	return (struct text_out){ .text = text, .bytes = bytes };
}

bool text_char(struct text_out *t, char ch)
{
	if (t->used + 1 >= t->bytes)
		return false;
	t->text[t->used++] = ch;
	t->text[t->used] = '\0';
	return true;
}

bool text_number(struct text_out *t, uint32_t n)
{
	char digits[10];
	uint32_t count = 0;

	do {
		digits[sizeof(digits) - ++count] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	if (t->used + count >= t->bytes)
		return false;
	memcpy(t->text + t->used, digits + sizeof(digits) - count, count);
	t->used += count;
	t->text[t->used] = '\0';
	return true;
}

bool text_take_number(const char **at, uint32_t max, uint32_t *value)
{
	const char *p = *at;
	uint64_t v = 0;

	for (; *p >= '0' && *p <= '9'; p++) {
		v = v * 10 + (uint64_t)(*p - '0');
		if (v > max)
			return false;
	}
	if (p == *at)
		return false;
	*value = (uint32_t)v;
	*at = p;
	return true;
}

bool text_take_range(const char **at, uint32_t max, uint32_t *first, uint32_t *last)
{
	const char *p = *at;

	if (!text_take_number(&p, max, first))
		return false;
	*last = *first;
	if (*p == '-') {
		p++;
		if (!text_take_number(&p, max, last) || *last < *first)
			return false;
	}
	*at = p;
	return true;
}
