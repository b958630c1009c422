/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/error_record.h"

#include <string.h>

#include "numa/text.h"

#define PAGE_BITS 12u

/* MCi_STATUS */
#define STATUS_VALID (1ull << 63)
#define STATUS_UNCORRECTED (1ull << 61)
#define STATUS_MISC_VALID (1ull << 59)
#define STATUS_ADDRESS_VALID (1ull << 58)
#define STATUS_AMD_DEFERRED (1ull << 44)
/* MCG_CAP: the corrected errors are counted in status bits 38 to 52. */
#define CAP_CMCI (1ull << 10)

/* As the kernel numbers CPU vendors (arch/x86/include/asm/processor.h). */
enum { VENDOR_INTEL = 0, VENDOR_AMD = 2, VENDOR_HYGON = 9, VENDOR_ZHAOXIN = 10 };

/* A place in a text that ends in '\0'. */
struct cursor {
	const char *at;
};

static bool take_text(struct cursor *c, const char *text)
{
	const size_t n = strlen(text);

	if (strncmp(c->at, text, n) != 0)
		return false;
	c->at += n;
	return true;
}

static uint32_t digit(char ch)
{
	if (ch >= '0' && ch <= '9')
		return (uint32_t)(ch - '0');
	if (ch >= 'a' && ch <= 'f')
		return (uint32_t)(ch - 'a') + 10;
	return 16;
}

/* At most 16 hexadecimal digits. */
static bool take_hex(struct cursor *c, uint64_t *value)
{
	uint32_t n = 0;

	for (*value = 0; digit(c->at[n]) < 16; n++) {
		if (n == 16)
			return false;
		*value = *value << 4 | digit(c->at[n]);
	}
	c->at += n;
	return n > 0;
}

static bool take_number(struct cursor *c, uint32_t max, uint32_t *value)
{
	return text_take_number(&c->at, max, value);
}

/* "-1" too. */
static bool skip_integer(struct cursor *c)
{
	uint32_t ignored;

	if (*c->at == '-')
		c->at++;
	return take_number(c, INT32_MAX, &ignored);
}

/* Steps behind the next `text`. */
static bool seek(struct cursor *c, const char *text)
{
	const char *found = strstr(c->at, text);

	if (found)
		c->at = found + strlen(text);
	return found != NULL;
}

/* --- mce_record --- */

struct machine_check {
	uint32_t bank, vendor, socket;
	uint64_t cap, status, ipid, address, misc;
};

static bool read_machine_check(struct cursor *c, struct machine_check *m)
{
	uint64_t ignored;
	uint32_t number;

	if (!take_text(c, "CPU: ") || !take_number(c, UINT32_MAX, &number) ||
		!take_text(c, ", MCGc/s: ") || !take_hex(c, &m->cap) || !take_text(c, "/") ||
		!take_hex(c, &ignored) || !take_text(c, ", MC") || !take_number(c, 255, &m->bank) ||
		!take_text(c, ": ") || !take_hex(c, &m->status) || !take_text(c, ", IPID: ") ||
		!take_hex(c, &m->ipid) || !take_text(c, ", ADDR/MISC/SYND: ") ||
		!take_hex(c, &m->address) || !take_text(c, "/") || !take_hex(c, &m->misc) ||
		!take_text(c, "/") || !take_hex(c, &ignored))
		return false;
	/* In capitals on Linux 6.1, in small letters later; fields may come in between. */
	if (!seek(c, ", PROCESSOR: ") && !seek(c, ", processor: "))
		return false;
	if (!take_number(c, UINT32_MAX, &m->vendor))
		return false;
	return (seek(c, ", SOCKET: ") || seek(c, ", socket: ")) &&
	       take_number(c, UINT32_MAX, &m->socket);
}

static bool is_amd(const struct machine_check *m)
{
	return m->vendor == VENDOR_AMD || m->vendor == VENDOR_HYGON;
}

static bool is_intel(const struct machine_check *m)
{
	return m->vendor == VENDOR_INTEL || m->vendor == VENDOR_ZHAOXIN;
}

static bool is_of_memory(const struct machine_check *m)
{
	if (is_intel(m))
		return (m->status & 0xef80) == 0x80;
	if (!is_amd(m))
		return false;
	if (m->ipid == 0)
		return m->bank == 4 && (m->status >> 16 & 0x1f) == 8;
	return (m->ipid >> 32 & 0xfff) == 0x96 && m->ipid >> 48 == 0 &&
	       (m->status >> 16 & 0x3f) == 0;
}

static bool has_page(const struct machine_check *m)
{
	if (!(m->status & STATUS_ADDRESS_VALID) || m->address >> PAGE_BITS > CORRECTED_FRAME_MAX)
		return false;
	if (is_amd(m))
		return m->ipid == 0;
	/* MISC: the lowest valid bit of the address, and that it is a physical one (mode 2). */
	return (m->status & STATUS_MISC_VALID) && (m->misc & 0x3f) <= PAGE_BITS &&
	       (m->misc >> 6 & 7) == 2;
}

/* No DIMM is named, but where its controller is. */
static void name_controller(const struct machine_check *m, struct corrected_error *e)
{
	struct text_out t = text_to(e->dimm, sizeof(e->dimm));
	const uint32_t channel = (uint32_t)m->status & 0xf;
	const char *const words[] = { "socket ", " bank ", " channel " };
	const uint32_t values[] = { m->socket, m->bank, channel };
	/* 15: the channel is not told. */
	const uint32_t count = is_intel(m) && channel != 15 ? 3 : 2;

	for (uint32_t i = 0; i < count; i++) {
		for (const char *ch = words[i]; *ch; ch++)
			(void)text_char(&t, *ch);
		(void)text_number(&t, values[i]);
	}
}

static enum error_record_kind judge_machine_check(struct cursor *c, struct corrected_error *e)
{
	struct machine_check m;

	if (!read_machine_check(c, &m))
		return ERROR_RECORD_BAD;
	if (!(m.status & STATUS_VALID) || !is_of_memory(&m))
		return ERROR_RECORD_OTHER;
	if ((m.status & STATUS_UNCORRECTED) || (is_amd(&m) && (m.status & STATUS_AMD_DEFERRED)))
		return ERROR_RECORD_SEVERE;
	if (is_intel(&m) && (m.cap & CAP_CMCI))
		e->count = (uint32_t)(m.status >> 38 & 0x7fff);
	e->count = e->count ? e->count : 1;
	name_controller(&m, e);
	if (!has_page(&m))
		return ERROR_RECORD_NOWHERE;
	e->frame = m.address >> PAGE_BITS;
	return ERROR_RECORD_CORRECTED;
}

/* --- mc_event --- */

/* " (mc:0 location:0:1:-1 address:0x1234 grain:32 syndrome:..." */
static bool read_place(struct cursor *c, uint64_t *address, uint32_t *grain)
{
	uint32_t ignored;

	if (!take_text(c, " (mc:") || !take_number(c, 255, &ignored) ||
		!take_text(c, " location:") || !skip_integer(c) || !take_text(c, ":") ||
		!skip_integer(c) || !take_text(c, ":") || !skip_integer(c) ||
		!take_text(c, " address:0x") || !take_hex(c, address) || !take_text(c, " grain:"))
		return false;
	/* 1 << 31 is written as a negative number, and more as anything. */
	if (!take_number(c, INT32_MAX, grain))
		*grain = INT32_MAX;
	return true;
}

/* The label: what stands between the last " on " and the place. Cut, and only what can be shown. */
static void take_label(const char *from, const char *to, struct corrected_error *e)
{
	struct text_out t = text_to(e->dimm, sizeof(e->dimm));
	const char *label = NULL;

	for (const char *at = from; at + 4 <= to; at++)
		if (!strncmp(at, " on ", 4))
			label = at + 4;
	for (; label && label < to; label++)
		(void)text_char(&t, *label >= ' ' && *label <= '~' ? *label : '?');
}

static enum error_record_kind judge_mc_event(struct cursor *c, struct corrected_error *e)
{
	uint64_t address = 0;
	uint32_t grain = 0, count;
	const char *from;
	bool corrected;

	if (!take_number(c, UINT16_MAX, &count) || !take_text(c, " "))
		return ERROR_RECORD_BAD;
	corrected = take_text(c, "Corrected error");
	if (!corrected && !strstr(c->at, " error"))
		return ERROR_RECORD_BAD;
	from = c->at;
	/* A label may have anything in it, also what looks like the place: the last one is it. */
	for (const char *at = from; (at = strstr(at, " (mc:")); at++) {
		struct cursor place = { at };

		if (read_place(&place, &address, &grain))
			c->at = at;
	}
	if (c->at == from)
		return ERROR_RECORD_BAD;
	if (!corrected)
		return ERROR_RECORD_SEVERE;
	take_label(from, c->at, e);
	e->count = count < 1 ? 1 : count > CORRECTED_COUNT_MAX ? CORRECTED_COUNT_MAX : count;
	/* A driver that knows the memory controller alone says address 0. */
	if (address == 0 || grain > 1u << PAGE_BITS || address >> PAGE_BITS > CORRECTED_FRAME_MAX)
		return ERROR_RECORD_NOWHERE;
	e->frame = address >> PAGE_BITS;
	return ERROR_RECORD_CORRECTED;
}

/* --- lines --- */

/* "CPU:3 [LOST 12 EVENTS]" */
static bool read_lost(struct cursor c, struct corrected_error *e)
{
	uint32_t cpu;

	return take_text(&c, "CPU:") && take_number(&c, UINT32_MAX, &cpu) &&
	       take_text(&c, " [LOST ") && take_number(&c, UINT32_MAX, &e->count) &&
	       take_text(&c, " EVENTS]");
}

enum error_record_kind error_record_read(const char *line, size_t bytes, struct corrected_error *e)
{
	char copy[ERROR_RECORD_LINE_BYTES + 1];
	struct cursor c = { copy };

	memset(e, 0, sizeof(*e));
	e->node = CORRECTED_NO_NODE;
	if (bytes > ERROR_RECORD_LINE_BYTES || memchr(line, '\0', bytes))
		return ERROR_RECORD_BAD;
	memcpy(copy, line, bytes);
	copy[bytes] = '\0';
	if (read_lost(c, e))
		return ERROR_RECORD_LOST;
	if (seek(&c, ": mce_record: "))
		return judge_machine_check(&c, e);
	if (seek(&c, ": mc_event: "))
		return judge_mc_event(&c, e);
	return ERROR_RECORD_OTHER;
}
