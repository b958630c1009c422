/* SPDX-License-Identifier: BSD-2-Clause */
#include "numa/cpu_set.h"

#include <errno.h>
#include <string.h>

#include "numa/check.h"
#include "numa/text.h"

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
		if (s->words[i])
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

int cpu_set_parse(const char *text, struct cpu_set *s)
{
	struct cpu_set found = { 0 };
	const char *at = text;

	memset(s, 0, sizeof(*s));
	for (;;) {
		uint32_t first, last;

		if (!text_take_range(&at, CPU_SET_CPUS - 1, &first, &last))
			return -EINVAL;
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

int cpu_set_format(const struct cpu_set *s, char *text, size_t bytes)
{
	struct text_out out = text_to(text, bytes);
	bool fits = bytes > 0;

	for (uint32_t first = cpu_set_next(s, 0); fits && first != CPU_NONE;) {
		uint32_t last = first;

		while (cpu_set_has(s, last + 1))
			last++;
		fits = (out.used == 0 || text_char(&out, ',')) && text_number(&out, first);
		if (fits && last > first)
			fits = text_char(&out, '-') && text_number(&out, last);
		first = cpu_set_next(s, last + 1);
	}
	return fits ? (int)out.used : -ENOSPC;
}
