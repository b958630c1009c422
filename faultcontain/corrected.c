/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/corrected.h"

#include <string.h>

#include "numa/check.h"

#define ONE_ERROR 65536u
/* Counts are halved in so many equal steps. */
#define STEP_BITS 10u
#define STEPS (1u << STEP_BITS)

/* 2^32 times 2^-(1/2), 2^-(1/4) ... : a step count is a sum of these, bit by bit. */
static const uint32_t root_of_half[STEP_BITS] = { 3037000500u, 3611622603u, 3938502376u,
	4112874773u, 4202935003u, 4248701965u, 4271771996u, 4283353945u, 4289156690u, 4292061010u };

/* --- counts that halve --- */

static uint64_t step_ns(const struct corrected *c)
{
	return c->cfg.half_life_ns / STEPS;
}

/* The value `steps` later. */
static uint64_t halved(uint64_t value, uint64_t steps)
{
	if (steps >> STEP_BITS >= 64)
		return 0;
	value >>= steps >> STEP_BITS;
	for (uint32_t bit = 0; bit < STEP_BITS; bit++)
		if (steps & (STEPS >> 1 >> bit))
			/* Values stay below 2^48 (see add()), so split in halves nothing is lost.
			 */
			value = (value >> 32) * root_of_half[bit] +
				((value & UINT32_MAX) * root_of_half[bit] >> 32);
	return value;
}

static uint64_t steps_since(
	const struct corrected *c, const struct corrected_count *n, uint64_t now_ns)
{
	return now_ns > n->at_ns ? (now_ns - n->at_ns) / step_ns(c) : 0;
}

/*
 * Time moves by whole steps only, so that what is left of one is not lost when errors come faster
 * than that.
 */
static void age(const struct corrected *c, struct corrected_count *n, uint64_t now_ns)
{
	uint64_t steps = steps_since(c, n, now_ns);

	n->value = halved(n->value, steps);
	n->at_ns += steps * step_ns(c);
}

static void add(
	const struct corrected *c, struct corrected_count *n, uint64_t now_ns, uint32_t errors)
{
	const uint64_t most = (uint64_t)UINT32_MAX * ONE_ERROR;

	if (n->value == 0)
		n->at_ns = now_ns;
	age(c, n, now_ns);
	n->value += (uint64_t)errors * ONE_ERROR;
	n->value = n->value < most ? n->value : most;
}

static uint64_t value_now(
	const struct corrected *c, const struct corrected_count *n, uint64_t now_ns)
{
	return halved(n->value, steps_since(c, n, now_ns));
}

uint32_t corrected_now(const struct corrected *c, const struct corrected_count *n, uint64_t now_ns)
{
	return (uint32_t)((value_now(c, n, now_ns) + ONE_ERROR / 2) / ONE_ERROR);
}

/* --- the tables --- */

void corrected_init(struct corrected *c, const struct corrected_cfg *cfg)
{
	CHECK(cfg->half_life_ns >= CORRECTED_HALF_LIFE_MIN_NS);
	memset(c, 0, sizeof(*c));
	c->cfg = *cfg;
}

static struct corrected_page *set_of(struct corrected *c, uint64_t frame)
{
	/* Neighbours in different sets; Knuth's multiplier, which spreads strides as well. */
	return c->pages[(frame * 0x9e3779b97f4a7c15ull) >> 32 & (CORRECTED_SETS - 1)];
}

static struct corrected_page *find(struct corrected *c, uint64_t frame)
{
	struct corrected_page *set = set_of(c, frame);

	for (uint32_t i = 0; i < CORRECTED_WAYS; i++)
		if (set[i].state != CORRECTED_FREE && set[i].frame == frame)
			return &set[i];
	return NULL;
}

static bool may_be_forgotten(const struct corrected_page *p)
{
	return p->state != CORRECTED_WANTED && p->state != CORRECTED_LEAVING;
}

static bool less(const struct corrected *c, const struct corrected_count *a,
	const struct corrected_count *b, uint64_t now_ns)
{
	const uint64_t x = value_now(c, a, now_ns), y = value_now(c, b, now_ns);

	return x != y ? x < y : a->at_ns < b->at_ns;
}

/* An entry for a page that is not in the table; NULL: every other one in its set is needed. */
static struct corrected_page *make_room(struct corrected *c, uint64_t frame, uint64_t now_ns)
{
	struct corrected_page *set = set_of(c, frame), *best = NULL;

	for (uint32_t i = 0; i < CORRECTED_WAYS; i++) {
		if (set[i].state == CORRECTED_FREE) {
			best = &set[i];
			break;
		}
		if (may_be_forgotten(&set[i]) &&
			(!best || less(c, &set[i].count, &best->count, now_ns)))
			best = &set[i];
	}
	if (best)
		memset(best, 0, sizeof(*best));
	return best;
}

static struct corrected_dimm *dimm_of(
	struct corrected *c, const struct corrected_error *e, uint64_t now_ns)
{
	struct corrected_dimm *best = NULL;

	for (uint32_t i = 0; i < CORRECTED_DIMMS; i++) {
		struct corrected_dimm *d = &c->dimms[i];

		if (d->label[0] && d->node == e->node && !strcmp(d->label, e->dimm))
			return d;
		if (best && !best->label[0])
			continue;
		if (!d->label[0] || !best || less(c, &d->count, &best->count, now_ns))
			best = d;
	}
	memset(best, 0, sizeof(*best));
	memcpy(best->label, e->dimm, sizeof(best->label));
	best->node = e->node;
	return best;
}

/* --- what errors mean --- */

/* So many of these errors count for the node. */
static uint32_t charge(const struct corrected *c, struct corrected_page *p, uint32_t errors)
{
	uint32_t left = 0;

	if (!p || !c->cfg.retire_after || p->state == CORRECTED_STUCK)
		return errors;
	if (p->state == CORRECTED_RETIRED)
		return 0;
	if (p->charged < c->cfg.retire_after)
		left = c->cfg.retire_after - p->charged;
	left = errors < left ? errors : left;
	p->charged += left;
	return left;
}

static struct corrected_page *count_page(
	struct corrected *c, uint64_t now_ns, const struct corrected_error *e)
{
	struct corrected_page *p = find(c, e->frame);

	if (!p)
		p = make_room(c, e->frame, now_ns);
	if (!p)
		return NULL;
	if (p->state == CORRECTED_FREE)
		p->state = CORRECTED_COUNTED;
	p->frame = e->frame;
	p->node = (uint8_t)e->node;
	add(c, &p->count, now_ns, e->count);
	if (p->state == CORRECTED_COUNTED && c->cfg.retire_after &&
		corrected_now(c, &p->count, now_ns) >= c->cfg.retire_after) {
		p->state = CORRECTED_WANTED;
		c->wanted++;
	}
	return p;
}

bool corrected_take(struct corrected *c, uint64_t now_ns, const struct corrected_error *e)
{
	struct corrected_node *n;
	uint32_t errors;

	CHECK(e->count >= 1 && e->count <= CORRECTED_COUNT_MAX && e->frame <= CORRECTED_FRAME_MAX);
	if (e->dimm[0])
		add(c, &dimm_of(c, e, now_ns)->count, now_ns, e->count);
	if (e->node == CORRECTED_NO_NODE)
		return false;
	CHECK(e->node < CORRECTED_NODES);
	n = &c->nodes[e->node];
	errors = charge(c, count_page(c, now_ns, e), e->count);
	if (errors)
		add(c, &n->count, now_ns, errors);
	if (n->failing || !c->cfg.drain_after ||
		corrected_now(c, &n->count, now_ns) < c->cfg.drain_after)
		return false;
	n->failing = true;
	return true;
}

bool corrected_next(struct corrected *c, uint64_t now_ns, uint64_t *frame, uint32_t *node)
{
	struct corrected_page *best = NULL, *all = c->pages[0];
	uint64_t most = 0;

	if (c->wanted == 0)
		return false;
	for (uint32_t i = 0; i < CORRECTED_SETS * CORRECTED_WAYS; i++) {
		struct corrected_page *p = &all[i];
		uint64_t value;

		if (p->state != CORRECTED_WANTED)
			continue;
		value = value_now(c, &p->count, now_ns);
		if (!best || value > most || (value == most && p->frame < best->frame)) {
			best = p;
			most = value;
		}
	}
	CHECK(best != NULL);
	best->state = CORRECTED_LEAVING;
	c->wanted--;
	*frame = best->frame;
	*node = best->node;
	return true;
}

bool corrected_left(struct corrected *c, uint64_t now_ns, uint64_t frame, bool retired)
{
	struct corrected_page *p = find(c, frame);

	if (!p || p->state != CORRECTED_LEAVING)
		return false;
	p->charged = 0;
	p->attempts++;
	if (retired) {
		p->state = CORRECTED_RETIRED;
		c->nodes[p->node].retired++;
	} else if (p->attempts >= CORRECTED_ATTEMPTS) {
		p->state = CORRECTED_STUCK;
		c->nodes[p->node].stuck++;
	} else {
		p->state = CORRECTED_COUNTED;
		p->count = (struct corrected_count){ .at_ns = now_ns };
	}
	return true;
}

void corrected_pardon(struct corrected *c, uint32_t node)
{
	CHECK(node < CORRECTED_NODES);
	c->nodes[node].failing = false;
	memset(&c->nodes[node].count, 0, sizeof(c->nodes[node].count));
}

/* --- for those who look --- */

const struct corrected_dimm *corrected_worst_dimm(
	const struct corrected *c, uint32_t node, uint64_t now_ns)
{
	const struct corrected_dimm *best = NULL;

	for (uint32_t i = 0; i < CORRECTED_DIMMS; i++) {
		const struct corrected_dimm *d = &c->dimms[i];

		if (d->label[0] && d->node == node &&
			(!best || less(c, &best->count, &d->count, now_ns)))
			best = d;
	}
	return best;
}

uint32_t corrected_worst_pages(const struct corrected *c, uint64_t now_ns,
	const struct corrected_page **pages, uint32_t max)
{
	const struct corrected_page *all = c->pages[0];
	uint32_t count = 0;

	for (uint32_t i = 0; i < CORRECTED_SETS * CORRECTED_WAYS; i++) {
		uint32_t at;

		if (all[i].state == CORRECTED_FREE)
			continue;
		if (count < max)
			pages[count++] = &all[i];
		else if (max && less(c, &pages[max - 1]->count, &all[i].count, now_ns))
			pages[max - 1] = &all[i];
		else
			continue;
		for (at = count - 1; at > 0; at--) {
			const struct corrected_page *p = pages[at];

			if (!less(c, &pages[at - 1]->count, &p->count, now_ns))
				break;
			pages[at] = pages[at - 1];
			pages[at - 1] = p;
		}
	}
	return count;
}

const char *corrected_state_name(enum corrected_page_state state)
{
	static const char *const names[] = {
		[CORRECTED_FREE] = "free",
		[CORRECTED_COUNTED] = "counted",
		[CORRECTED_WANTED] = "retiring",
		[CORRECTED_LEAVING] = "retiring",
		[CORRECTED_RETIRED] = "retired",
		[CORRECTED_STUCK] = "not-retired",
	};

	return names[state];
}

const char *corrected_check(const struct corrected *c)
{
	const struct corrected_page *all = c->pages[0];
	uint32_t wanted = 0;

	for (uint32_t i = 0; i < CORRECTED_SETS * CORRECTED_WAYS; i++) {
		const struct corrected_page *p = &all[i];
		const struct corrected_page *set = &all[i - i % CORRECTED_WAYS];

		wanted += p->state == CORRECTED_WANTED;
		if (p->state == CORRECTED_FREE)
			continue;
		if (p->node >= CORRECTED_NODES || p->state > CORRECTED_STUCK)
			return "an entry that no page can have";
		if (p->attempts > CORRECTED_ATTEMPTS)
			return "a page was tried too often";
		for (uint32_t k = 0; k < i % CORRECTED_WAYS; k++)
			if (set[k].state != CORRECTED_FREE && set[k].frame == p->frame)
				return "a page is there twice";
	}
	if (wanted != c->wanted)
		return "the number of wanted pages is wrong";
	return NULL;
}

/* --- between cells --- */

static void put(uint8_t *at, uint64_t value, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t get(const uint8_t *at, uint32_t bytes)
{
	uint64_t value = 0;

	for (uint32_t i = 0; i < bytes; i++)
		value |= (uint64_t)at[i] << 8 * i;
	return value;
}

void corrected_encode(const struct corrected_error *e, uint8_t body[CORRECTED_MSG_BYTES])
{
	put(body, e->frame, 8);
	put(body + 8, e->node, 4);
	put(body + 12, e->count, 4);
	memcpy(body + 16, e->dimm, CORRECTED_LABEL_BYTES);
}

bool corrected_decode(const uint8_t *body, size_t bytes, struct corrected_error *e)
{
	uint32_t i = 0;

	if (bytes != CORRECTED_MSG_BYTES)
		return false;
	e->frame = get(body, 8);
	e->node = (uint32_t)get(body + 8, 4);
	e->count = (uint32_t)get(body + 12, 4);
	memcpy(e->dimm, body + 16, sizeof(e->dimm));
	while (i < sizeof(e->dimm) && e->dimm[i] >= ' ' && e->dimm[i] <= '~')
		i++;
	for (; i < sizeof(e->dimm) && e->dimm[i] == '\0'; i++)
		;
	return i == sizeof(e->dimm) && e->dimm[sizeof(e->dimm) - 1] == '\0' &&
	       e->frame <= CORRECTED_FRAME_MAX && e->node < CORRECTED_NODES && e->count >= 1 &&
	       e->count <= CORRECTED_COUNT_MAX;
}
