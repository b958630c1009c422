/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_CORRECTED_H
#define CELLVISOR_FAULTCONTAIN_CORRECTED_H

/*
 * Corrected memory errors, counted to foresee uncorrected ones: per page, per DIMM and per node,
 * each count halved every half-life. Says which page is to be retired and which node can't be
 * trusted any more. Pure: time is an argument, memory is what the caller gave, nothing is
 * allocated.
 *
 * Pages are kept in a table of CORRECTED_SETS sets of CORRECTED_WAYS pages; a page's number says
 * which set. When a set is full, a new page takes the place of the one with the lowest present
 * count in it, of equals that whose count is the oldest; but never of one that is wanted or
 * leaving. If all are that, the new page is not remembered, but counts for its node and DIMM. So
 * pages that erred once can't push out one that errs again and again. DIMMs likewise.
 *
 * A single bad page is no bad node: until it is retired, a page charges its node with at most
 * `retire_after` errors between two attempts, and a retired one, on which the memory scrubber
 * still finds errors, with none. A page that can't be retired charges all.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CORRECTED_SETS 512u
#define CORRECTED_WAYS 8u
#define CORRECTED_DIMMS 64u
#define CORRECTED_NODES 64u
#define CORRECTED_NO_NODE UINT32_MAX
/* With its end; printable ASCII. */
#define CORRECTED_LABEL_BYTES 48u
/* Errors that one report may count for: what hardware can count at once. */
#define CORRECTED_COUNT_MAX 32767u
/* So often a page is tried; then it stays. */
#define CORRECTED_ATTEMPTS 3u
/* Frames of 4 KiB in 52 bits of physical address. */
#define CORRECTED_FRAME_MAX ((1ull << 40) - 1)

struct corrected_cfg {
	uint32_t retire_after; /* errors on a page; 0: pages are not retired */
	uint32_t drain_after;  /* errors on a node; 0: it is not given up */
	uint64_t half_life_ns; /* at least CORRECTED_HALF_LIFE_MIN_NS */
};
#define CORRECTED_HALF_LIFE_MIN_NS 1000000000ull

/* Errors that hardware corrected in one page of one DIMM. */
struct corrected_error {
	uint64_t frame; /* page frame number */
	uint32_t node;	/* index below CORRECTED_NODES, or CORRECTED_NO_NODE: then only the DIMM
			   counts */
	uint32_t count; /* 1 .. CORRECTED_COUNT_MAX */
	char dimm[CORRECTED_LABEL_BYTES]; /* as the kernel names it; "": not known */
};

/* In 1/65536 of an error, as of `at_ns`. */
struct corrected_count {
	uint64_t value, at_ns;
};

enum corrected_page_state {
	CORRECTED_FREE = 0, /* of the table: no page */
	CORRECTED_COUNTED,
	CORRECTED_WANTED,  /* to be retired */
	CORRECTED_LEAVING, /* is being retired */
	CORRECTED_RETIRED,
	CORRECTED_STUCK, /* could not be retired, and is not tried any more */
};

struct corrected_page {
	uint64_t frame;
	struct corrected_count count;
	uint32_t charged; /* errors its node was charged with since the last attempt */
	uint8_t node, state, attempts;
};

struct corrected_dimm {
	char label[CORRECTED_LABEL_BYTES]; /* "": free */
	uint32_t node;
	struct corrected_count count;
};

struct corrected_node {
	struct corrected_count count;
	bool failing;
	uint32_t retired, stuck; /* pages, since the start */
};

struct corrected {
	struct corrected_cfg cfg;
	uint32_t wanted; /* pages in that state */
	struct corrected_page pages[CORRECTED_SETS][CORRECTED_WAYS];
	struct corrected_dimm dimms[CORRECTED_DIMMS];
	struct corrected_node nodes[CORRECTED_NODES];
};

/* Empties *c. */
void corrected_init(struct corrected *c, const struct corrected_cfg *cfg);

/*
 * Takes errors in. True: their node has just become one that is not to be used any more, and it
 * won't be said again before corrected_pardon(). `now_ns` never runs backwards; if it does, the
 * counts stand still. *e has to be well-formed (corrected_decode() judges what a peer says).
 */
bool corrected_take(struct corrected *c, uint64_t now_ns, const struct corrected_error *e);

/*
 * The page that is to be retired next: of those wanted the one with the most errors, of equals the
 * lowest. It is leaving then. False: none.
 */
bool corrected_next(struct corrected *c, uint64_t now_ns, uint64_t *frame, uint32_t *node);

/*
 * How that went. One that could not be retired counts anew from zero, until CORRECTED_ATTEMPTS
 * have failed. False: no such page is leaving.
 */
bool corrected_left(struct corrected *c, uint64_t now_ns, uint64_t frame, bool retired);

/* A node that is trusted again (it was repaired, or the operator says so) counts from zero. */
void corrected_pardon(struct corrected *c, uint32_t node);

/* A present count in whole errors, rounded: ten errors are ten until half of one has faded. */
uint32_t corrected_now(const struct corrected *c, const struct corrected_count *n, uint64_t now_ns);

/* The DIMM of this node with the most errors; NULL: none is known by name. */
const struct corrected_dimm *corrected_worst_dimm(
	const struct corrected *c, uint32_t node, uint64_t now_ns);

/* The pages with the most errors, falling; at most `max`. Borrowed. How many. */
uint32_t corrected_worst_pages(const struct corrected *c, uint64_t now_ns,
	const struct corrected_page **pages, uint32_t max);

const char *corrected_state_name(enum corrected_page_state state);

/* What is wrong with *c, in words; NULL: nothing. For tests. */
const char *corrected_check(const struct corrected *c);

/* One error between two cells: fixed layout, little-endian. */
#define CORRECTED_MSG_BYTES (8u + 4u + 4u + CORRECTED_LABEL_BYTES)
void corrected_encode(const struct corrected_error *e, uint8_t body[CORRECTED_MSG_BYTES]);
/* Judges what a peer sent; false: it is not well-formed. */
bool corrected_decode(const uint8_t *body, size_t bytes, struct corrected_error *e);

#endif
