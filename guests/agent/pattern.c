/* SPDX-License-Identifier: BSD-2-Clause */
#include "guests/agent/pattern.h"

#define STRIDE 0x9e3779b97f4a7c15ull
#define PRIME 0x100000001b3ull

/* splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators). */
static uint64_t mix(uint64_t x)
{
	x += STRIDE;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

static uint64_t first_word(const struct pattern *p, size_t page, uint64_t generation)
{
	return mix(p->seed ^ mix((uint64_t)page) ^ mix(~generation));
}

static uint64_t page_write(struct pattern *p, size_t page, uint64_t generation)
{
	volatile uint64_t *words = p->words + page * PATTERN_PAGE_WORDS;
	uint64_t word = first_word(p, page, generation);
	uint64_t sum = 0;

	for (size_t i = 0; i < PATTERN_PAGE_WORDS; i++, word += STRIDE) {
		words[i] = word;
		sum = (sum ^ word) * PRIME;
	}
	return mix(sum);
}

/* The checksum of what the page really holds; *right says whether it is what was written. */
static uint64_t page_read(const struct pattern *p, size_t page, uint64_t generation, bool *right)
{
	const volatile uint64_t *words = p->words + page * PATTERN_PAGE_WORDS;
	uint64_t word = first_word(p, page, generation);
	uint64_t difference = 0, sum = 0;

	for (size_t i = 0; i < PATTERN_PAGE_WORDS; i++, word += STRIDE) {
		uint64_t held = words[i];

		difference |= held ^ word;
		sum = (sum ^ held) * PRIME;
	}
	*right = difference == 0;
	return mix(sum);
}

void pattern_init(struct pattern *p, uint64_t *words, size_t pages, uint64_t seed)
{
	*p = (struct pattern){ .words = words, .pages = pages, .seed = seed };
	for (size_t page = 0; page < pages; page++)
		p->sum += page_write(p, page, 0);
}

bool pattern_step(struct pattern *p)
{
	size_t slice = (p->pages + PATTERN_STEPS - 1) / PATTERN_STEPS;

	for (size_t i = 0; i < slice; i++) {
		bool right;

		p->sum -= page_read(p, p->next, p->round, &right);
		if (!right && !p->wrong) {
			p->wrong = true;
			p->wrong_page = p->next;
		}
		p->sum += page_write(p, p->next, p->round + 1);
		if (++p->next == p->pages) {
			p->next = 0;
			p->round++;
		}
	}
	return !p->wrong;
}
