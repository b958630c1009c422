/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_NUMA_TEXT_H
#define CELLVISOR_NUMA_TEXT_H

/* Lists of numbers as text, without stdio: for the deciders. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A text that grows in a buffer of fixed size and is always terminated. */
struct text_out {
	char *text;
	size_t bytes, used;
};

/* `text` is borrowed. */
struct text_out text_to(char *text, size_t bytes);

/* Append; false, with what is there untouched, if it does not fit. */
bool text_char(struct text_out *t, char ch);
bool text_number(struct text_out *t, uint32_t n);

/* Reads a decimal number of at most `max` and steps over it; false, with *at untouched, if there is
 * none. */
bool text_take_number(const char **at, uint32_t max, uint32_t *value);

/* The same for "4" or "4-7"; false for a range that runs backwards. */
bool text_take_range(const char **at, uint32_t max, uint32_t *first, uint32_t *last);

#endif
