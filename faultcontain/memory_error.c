/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/memory_error.h"

#include "numa/check.h"

#include <string.h>

enum memory_error_action memory_error_decide(const struct memory_error_case *c)
{
	if (c->good_copy)
		return MEMORY_ERROR_HEAL;
	if (c->can_be_told)
		return MEMORY_ERROR_TELL;
	return c->used ? MEMORY_ERROR_END : MEMORY_ERROR_LEAVE;
}

/* MCi_STATUS; SDM 16.3.2.2, APM 9.3.2. */
#define STATUS_VAL (1ull << 63)
#define STATUS_UC (1ull << 61)
#define STATUS_EN (1ull << 60)
#define STATUS_MISCV (1ull << 59)
#define STATUS_ADDRV (1ull << 58)
#define STATUS_S (1ull << 56)	     /* Intel: signalled */
#define STATUS_AR (1ull << 55)	     /* Intel: action required */
#define STATUS_DEFERRED (1ull << 44) /* AMD */
#define STATUS_POISON (1ull << 43)   /* AMD; Linux trusts the address with it */
#define CODE_DATA_LOAD 0x134ull	     /* SDM 16.9.3.2: SRAR, data load */
#define CODE_MEMORY_SCRUB 0xc0ull    /* SDM 16.9.3.1: SRAO, memory scrubbing */

/* IA32_MCG_STATUS and IA32_MCG_CAP. */
#define MCG_RIPV (1ull << 0)
#define MCG_EIPV (1ull << 1)
#define MCG_MCIP (1ull << 2)
#define MCG_CAP_CTL_P (1ull << 8)
#define MCG_CAP_SER_P (1ull << 24)

#define MISC_PHYSICAL (2ull << 6) /* MCi_MISC: address mode; the lowest valid bit is below */

uint32_t machine_check_bank(bool amd, bool used)
{
	return amd && !used ? MACHINE_CHECK_DEFERRED_BANK : MACHINE_CHECK_BANK;
}

bool machine_check_ready(const struct machine_check_state *s, bool used)
{
	if (s->banks <= machine_check_bank(s->amd, used) || s->bank_ctl != UINT64_MAX)
		return false;
	if ((s->mcg_cap & MCG_CAP_CTL_P) && s->mcg_ctl != UINT64_MAX)
		return false;
	/* A deferred error raises no exception; the guest looks for it if it has MCE on at all. */
	if (s->amd && !used)
		return s->cr4_mce;
	if (!s->cr4_mce || (s->mcg_status & MCG_MCIP))
		return false;
	/* Without these a guest takes any uncorrected error for its end. */
	return s->amd ? s->amd_recovers : (s->mcg_cap & MCG_CAP_SER_P) != 0;
}

void machine_check_words(const struct machine_check_state *s, bool used, uint64_t gpa, unsigned lsb,
	struct machine_check *mc)
{
	*mc = (struct machine_check){
		.bank = machine_check_bank(s->amd, used),
		.status = STATUS_VAL | STATUS_EN | STATUS_MISCV | STATUS_ADDRV,
		.mcg_status = MCG_MCIP | MCG_RIPV | (used ? MCG_EIPV : 0),
		.addr = gpa,
		.misc = MISC_PHYSICAL | (lsb & 0x3f),
		.broadcast = !s->amd,
		.silent = s->amd && !used,
	};
	if (!s->amd)
		mc->status |= STATUS_UC | STATUS_S |
			      (used ? STATUS_AR | CODE_DATA_LOAD : CODE_MEMORY_SCRUB);
	else
		mc->status |= STATUS_POISON | (used ? STATUS_UC : STATUS_DEFERRED);
}

void machine_check_bystander(struct machine_check *mc)
{
	*mc = (struct machine_check){
		.bank = MACHINE_CHECK_BYSTANDER_BANK,
		.status = STATUS_VAL | STATUS_UC,
		.mcg_status = MCG_MCIP | MCG_RIPV,
	};
}

struct memory_error *memory_errors_find(struct memory_errors *b, uint64_t off)
{
	for (uint32_t i = 0; i < b->count; i++) {
		struct memory_error *m = &b->items[i];

		if (!m->replaced && off >= m->off && off - m->off < m->bytes)
			return m;
	}
	return NULL;
}

struct memory_error *memory_errors_replaced(struct memory_errors *b, uint64_t off)
{
	for (uint32_t i = b->count; i-- > 0;) {
		struct memory_error *m = &b->items[i];

		if (m->replaced && off >= m->off && off - m->off < m->bytes)
			return m;
	}
	return NULL;
}

/* Makes room by dropping the oldest record whose page is whole again. */
static bool make_room(struct memory_errors *b)
{
	for (uint32_t i = 0; i < b->count; i++) {
		if (!b->items[i].replaced)
			continue;
		b->count--;
		memmove(&b->items[i], &b->items[i + 1], (b->count - i) * sizeof(b->items[0]));
		return true;
	}
	return false;
}

struct memory_error *memory_errors_take(struct memory_errors *b, uint64_t off, bool *fresh)
{
	struct memory_error *m = memory_errors_find(b, off);

	*fresh = !m;
	if (m)
		return m;
	b->total++;
	if (b->count == MEMORY_ERRORS_KEPT && !make_room(b))
		return NULL;
	m = &b->items[b->count++];
	*m = (struct memory_error){ .off = off, .bytes = 1, .vcpu = MEMORY_ERROR_NOBODY };
	return m;
}

static const char *const end_names[MEMORY_ERROR_ENDS] = {
	[MEMORY_ERROR_WAITS] = "not-used",
	[MEMORY_ERROR_HEALED] = "healed",
	[MEMORY_ERROR_TOLD] = "told",
	[MEMORY_ERROR_ENDED] = "ended",
};

const char *memory_error_end_name(enum memory_error_end end)
{
	CHECK((unsigned)end < MEMORY_ERROR_ENDS);
	return end_names[end];
}

enum memory_error_end memory_error_end_of(const char *name)
{
	for (unsigned i = 0; i < MEMORY_ERROR_ENDS; i++)
		if (!strcmp(name, end_names[i]))
			return (enum memory_error_end)i;
	return MEMORY_ERROR_ENDS;
}

/* Deciders have no stdio: a text that is appended to. */
struct line {
	char *text;
	size_t bytes, at;
};

static void add(struct line *l, const char *words)
{
	for (; *words && l->at + 1 < l->bytes; words++)
		l->text[l->at++] = *words;
	l->text[l->at] = '\0';
}

static void add_number(struct line *l, uint64_t value, unsigned base)
{
	char digits[24];
	size_t at = sizeof(digits) - 1;

	digits[at] = '\0';
	do
		digits[--at] = "0123456789abcdef"[value % base];
	while (value /= base);
	add(l, &digits[at]);
}

static void add_end(struct line *l, const struct memory_error *m)
{
	switch (m->end) {
	case MEMORY_ERROR_WAITS:
		add(l, "; the guest has not used it");
		break;
	case MEMORY_ERROR_HEALED:
		add(l, "; healed from ");
		add(l, m->source);
		break;
	case MEMORY_ERROR_TOLD:
		add(l, "; the guest was told by a machine check");
		break;
	case MEMORY_ERROR_ENDED:
	case MEMORY_ERROR_ENDS:
		add(l, "; the guest could not be told");
		break;
	}
}

const char *memory_error_text(const struct memory_error *m, char *text, size_t bytes)
{
	struct line l = { text, bytes, 0 };

	CHECK(bytes > 0);
	add(&l, "uncorrected memory error at guest address 0x");
	add_number(&l, m->gpa, 16);
	if (m->bytes > 4096) {
		add(&l, " (");
		add_number(&l, m->bytes >> 10, 10);
		add(&l, " KiB)");
	}
	if (m->node_known) {
		add(&l, " on node ");
		add_number(&l, m->node, 10);
	}
	if (m->frame_known) {
		add(&l, ", frame 0x");
		add_number(&l, m->frame, 16);
	}
	if (m->vcpu != MEMORY_ERROR_NOBODY) {
		add(&l, ", used by vCPU ");
		add_number(&l, m->vcpu, 10);
	}
	add_end(&l, m);
	return text;
}
