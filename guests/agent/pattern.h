/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_GUESTS_AGENT_PATTERN_H
#define CELLVISOR_GUESTS_AGENT_PATTERN_H

/*
 * Memory that a guest watches over: every page holds a pattern that depends on
 * a seed, the page and its generation, so a flipped byte, a lost page, two
 * pages that were swapped and a page of the past are all seen. Each step
 * verifies a slice of the pages, word by word, and rewrites it with the next
 * generation; PATTERN_STEPS steps go over all pages. So what is wrong is found
 * by the PATTERN_STEPS-th step at the latest.
 *
 * A value: one thread at a time.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATTERN_PAGE_BYTES 4096u
#define PATTERN_PAGE_WORDS (PATTERN_PAGE_BYTES / sizeof(uint64_t))
#define PATTERN_STEPS 8u

struct pattern {
	uint64_t *words; /* borrowed: pages * PATTERN_PAGE_WORDS */
	size_t pages;
	uint64_t seed;
	size_t next;	   /* the page that the next step starts with */
	uint64_t round;	   /* generation of the pages from `next` on; those before have the next */
	uint64_t sum;	   /* of all pages' checksums, as they were last read or written */
	bool wrong;	   /* something was found wrong, ever */
	size_t wrong_page; /* the first one */
};

/* Writes the whole pattern. `pages` at least 1; `words` outlives *p. */
void pattern_init(struct pattern *p, uint64_t *words, size_t pages, uint64_t seed);

/* One step. False if something is wrong or ever was. */
bool pattern_step(struct pattern *p);

#endif
