/* SPDX-License-Identifier: BSD-2-Clause */
#include "numa/cpu_set.h"

#include <errno.h>
#include <string.h>

#include "numa/check.h"

#define WORDS (CPU_SET_CPUS / 64)

void cpu_set_add(struct cpu_set *s, uint32_t cpu)
{
	CHECK(cpu < CPU_SET_CPUS);
	s->words[cpu / 64] |= 1ull << (cpu % 64);
}

bool cpu_set_has(const struct cpu_set *s, uint32_t cpu)
{
	return cpu < CPU_SET_CPUS && (s->words[cpu / 64] >> (cpu % 64) & 1);
}

void cpu_set_merge(struct cpu_set *s, const struct cpu_set *more)
{
	for (uint32_t i = 0; i < WORDS; i++)
		s->words[i] |= more->words[i];
}

uint32_t cpu_set_count(const struct cpu_set *s)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < WORDS; i++)
		n += (uint32_t)__builtin_popcountll(s->words[i]);
	return n;
}

bool cpu_set_empty(const struct cpu_set *s)
{
	return cpu_set_count(s) == 0;
}

bool cpu_set_equal(const struct cpu_set *a, const struct cpu_set *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

bool cpu_set_overlap(const struct cpu_set *a, const struct cpu_set *b)
{
	for (uint32_t i = 0; i < WORDS; i++) {
		if (a->words[i] & b->words[i])
			return true;
	}
	return false;
}

uint32_t cpu_set_next(const struct cpu_set *s, uint32_t from)
{
	for (uint32_t cpu = from; cpu < CPU_SET_CPUS;) {
		uint64_t word = s->words[cpu / 64] >> (cpu % 64);

		if (word)
			return cpu + (uint32_t)__builtin_ctzll(word);
		cpu = (cpu / 64 + 1) * 64;
	}
	return CPU_NONE;
}

/* Reads a decimal number below CPU_SET_CPUS and steps over it. */
static bool take_cpu(const char **at, uint32_t *cpu)
{
	const char *p = *at;
	uint32_t value = 0;

	if (*p < '0' || *p > '9')
		return false;
	for (; *p >= '0' && *p <= '9'; p++) {
		value = value * 10 + (uint32_t)(*p - '0');
		if (value >= CPU_SET_CPUS)
			return false;
	}
	*cpu = value;
	*at = p;
	return true;
}

int cpu_set_parse(const char *text, struct cpu_set *s)
{
	struct cpu_set found = { 0 };
	const char *at = text;

	memset(s, 0, sizeof(*s));
	for (;;) {
		uint32_t first, last;

		if (!take_cpu(&at, &first))
			return -EINVAL;
		last = first;
		if (*at == '-') {
			at++;
			if (!take_cpu(&at, &last) || last < first)
				return -EINVAL;
		}
		for (uint32_t cpu = first; cpu <= last; cpu++)
			cpu_set_add(&found, cpu);
		if (*at != ',')
			break;
		at++;
	}
	if (*at == '\n')
		at++;
	if (*at != '\0')
		return -EINVAL;
	*s = found;
	return 0;
}

/* Where the next piece of a text goes. */
struct cursor {
	char *text;
	size_t bytes, used;
};

static bool put_char(struct cursor *c, char ch)
{
	if (c->used + 1 >= c->bytes)
		return false;
	c->text[c->used++] = ch;
	return true;
}

static bool put_number(struct cursor *c, uint32_t n)
{
	char digits[10];
	uint32_t count = 0;

	do {
		digits[count++] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	while (count > 0) {
		if (!put_char(c, digits[--count]))
			return false;
	}
	return true;
}

int cpu_set_format(const struct cpu_set *s, char *text, size_t bytes)
{
	struct cursor c = { .text = text, .bytes = bytes };
	bool fits = bytes > 0;

	for (uint32_t first = cpu_set_next(s, 0); fits && first != CPU_NONE;) {
		uint32_t last = first;

		while (cpu_set_has(s, last + 1))
			last++;
		fits = (c.used == 0 || put_char(&c, ',')) && put_number(&c, first);
		if (fits && last > first)
			fits = put_char(&c, '-') && put_number(&c, last);
		first = cpu_set_next(s, last + 1);
	}
	if (bytes > 0)
		text[c.used] = '\0';
	return fits ? (int)c.used : -ENOSPC;
}
