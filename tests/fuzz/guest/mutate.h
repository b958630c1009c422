/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_TESTS_FUZZ_GUEST_MUTATE_H
#define CELLVISOR_TESTS_FUZZ_GUEST_MUTATE_H

/*
 * Changes a right JSON value here and there, as the fuzzer's bytes say: the JSON
 * parser is a library without coverage, so random bytes would rarely be JSON.
 */

#include <jansson.h>
#include <stdint.h>
#include <string.h>

struct bytes {
	const uint8_t *data;
	size_t left;
};

static inline uint8_t next_byte(struct bytes *b)
{
	if (!b->left)
		return 0;
	b->left--;
	return *b->data++;
}

static inline json_t *new_value(struct bytes *b)
{
	char text[64];
	uint64_t number = 0;
	size_t n;

	switch (next_byte(b) % 8) {
	case 0:
		for (n = 0; n < 8; n++)
			number = number << 8 | next_byte(b);
		return json_integer((json_int_t)number);
	case 1:
		return json_integer(next_byte(b));
	case 2:
		return json_integer((json_int_t)next_byte(b) << 21);
	case 3:
		return json_object();
	case 4:
		return json_array();
	case 5:
		return json_boolean(next_byte(b) & 1);
	case 6:
		return json_real(1.5);
	default:
		for (n = next_byte(b) % sizeof(text), text[n] = '\0'; n-- > 0;)
			text[n] = (char)(next_byte(b) & 0x7f);
		return json_string(text);
	}
}

/* Walks the value; each step takes a byte that says what happens to it. `again` bounds depth. */
static inline void mutate(json_t *value, struct bytes *b, int again)
{
	const char *key;
	json_t *field;
	void *next;
	size_t i;

	if (again == 0)
		return;
	json_object_foreach_safe(value, next, key, field)
	{
		switch (next_byte(b) % 16) {
		case 1:
			json_object_set_new(value, key, new_value(b));
			break;
		case 2:
			json_object_del(value, key);
			break;
		case 3:
			mutate(field, b, again - 1);
			break;
		default:
			break;
		}
	}
	json_array_foreach(value, i, field)
	{
		switch (next_byte(b) % 8) {
		case 1:
			json_array_set_new(value, i, new_value(b));
			break;
		case 2:
			json_array_append_new(value, json_deep_copy(field));
			return;
		case 3:
			mutate(field, b, again - 1);
			break;
		default:
			break;
		}
	}
}

#endif
