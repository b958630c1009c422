/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/member_wire.h"

#include <string.h>

#include "faultcontain/member_table.h"

bool word_valid(uint64_t word)
{
	uint32_t born = word_born(word), life = word_life(word);

	return life <= MEMBER_INCARNATION_MAX && born <= life &&
	       (born > 0 || word == 0 || word_dead(word));
}

bool table_merge(uint64_t *to, const uint64_t *from, uint16_t cells)
{
	bool changed = false;

	for (uint16_t c = 0; c < cells; c++) {
		if (to[c] < from[c]) {
			to[c] = from[c];
			changed = true;
		}
	}
	return changed;
}

bool table_equal(const uint64_t *a, const uint64_t *b, uint16_t cells)
{
	return memcmp(a, b, cells * sizeof(*a)) == 0;
}

bool table_below(const uint64_t *a, const uint64_t *b, uint16_t cells)
{
	for (uint16_t c = 0; c < cells; c++)
		if (a[c] > b[c])
			return false;
	return true;
}

void table_live(const uint64_t *table, uint16_t cells, struct cellset *live)
{
	*live = (struct cellset){ 0 };
	for (uint16_t c = 0; c < cells; c++)
		if (word_live(table[c]))
			cellset_add(live, c);
}

static void put32(uint8_t *out, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		out[i] = (uint8_t)(value >> 8 * i);
}

static void put64(uint8_t *out, uint64_t value)
{
	put32(out, (uint32_t)value);
	put32(out + 4, (uint32_t)(value >> 32));
}

static uint32_t get32(const uint8_t *in)
{
	return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 |
	       (uint32_t)in[3] << 24;
}

static uint64_t get64(const uint8_t *in)
{
	return get32(in) | (uint64_t)get32(in + 4) << 32;
}

uint64_t member_msg_word(const struct member_msg *msg, uint16_t cell)
{
	return get64((const uint8_t *)msg->words + (size_t)8 * cell);
}

size_t member_body_max(uint16_t cell_count)
{
	return 24u + 8u * (size_t)cell_count;
}

static size_t put_table(uint8_t *out, const uint64_t *table, uint16_t cells)
{
	for (uint16_t c = 0; c < cells; c++)
		put64(out + (size_t)8 * c, table[c]);
	return 8u * (size_t)cells;
}

static uint32_t set_words(uint16_t cells)
{
	return (cells + 63u) / 64u;
}

size_t member_encode(
	uint8_t *out, const struct member_msg *msg, const uint64_t *table, uint16_t cells)
{
	switch (msg->op) {
	case MEMBER_OP_HEARTBEAT:
		put32(out, msg->born);
		put32(out + 4, msg->verdict);
		put64(out + 8, msg->ballot);
		put64(out + 16, msg->seen);
		return 24;
	case MEMBER_OP_ANSWER:
		put64(out, msg->ballot);
		put64(out + 8, msg->seen);
		put32(out + 16, msg->verdict);
		put32(out + 20, 0);
		return 24 + (msg->verdict == ANSWER_MORE ? put_table(out + 24, table, cells) : 0);
	case MEMBER_OP_REPORT:
	case MEMBER_OP_PROPOSE:
	case MEMBER_OP_COMMIT:
		put64(out, msg->ballot);
		return 8 + put_table(out + 8, table, cells);
	case MEMBER_OP_ACCUSE:
	case MEMBER_OP_WITNESS:
		put64(out, msg->ballot);
		return 8 + put_table(out + 8, msg->set.words, (uint16_t)set_words(cells));
	default:
		put64(out, msg->ballot);
		return 8;
	}
}

static size_t size_of(uint16_t op, const uint8_t *in, size_t bytes, uint16_t cells)
{
	size_t table = 8u * (size_t)cells;

	switch (op) {
	case MEMBER_OP_HEARTBEAT:
		return 24;
	case MEMBER_OP_ANSWER:
		return 24 + (bytes >= 24 && get32(in + 16) == ANSWER_MORE ? table : 0);
	case MEMBER_OP_REPORT:
	case MEMBER_OP_PROPOSE:
	case MEMBER_OP_COMMIT:
		return 8 + table;
	case MEMBER_OP_ACCUSE:
	case MEMBER_OP_WITNESS:
		return 8 + 8u * (size_t)set_words(cells);
	default:
		return 8;
	}
}

static bool words_valid(const struct member_msg *msg, uint16_t cells)
{
	for (uint16_t c = 0; c < cells; c++)
		if (!word_valid(member_msg_word(msg, c)))
			return false;
	return true;
}

static bool ballot_valid(uint64_t ballot, uint16_t cells)
{
	return ballot_count(ballot) > 0 && ballot_cell(ballot) < cells;
}

static bool read_set(struct cellset *set, const uint8_t *in, uint16_t cells)
{
	for (uint32_t i = 0; i < set_words(cells); i++)
		set->words[i] = get64(in + (size_t)8 * i);
	return cellset_next(set, cells) == CELLSET_NONE;
}

/* Field by field; the length has been judged. */
static bool read_fields(struct member_msg *msg, const uint8_t *in, uint16_t cells)
{
	switch (msg->op) {
	case MEMBER_OP_HEARTBEAT:
		msg->born = get32(in);
		msg->verdict = get32(in + 4);
		msg->ballot = get64(in + 8);
		msg->seen = get64(in + 16);
		return (msg->verdict & ~(uint32_t)BEAT_KNOWN) == 0 && msg->born > 0 &&
		       msg->born <= MEMBER_INCARNATION_MAX &&
		       (msg->ballot == 0 || ballot_valid(msg->ballot, cells)) &&
		       (msg->seen == 0 || ballot_valid(msg->seen, cells));
	case MEMBER_OP_ANSWER:
		msg->ballot = get64(in);
		msg->seen = get64(in + 8);
		msg->verdict = get32(in + 16);
		if (msg->verdict == ANSWER_MORE)
			msg->words = in + 24;
		return get32(in + 20) == 0 && msg->verdict > 0 && msg->verdict < ANSWER_END &&
		       ballot_valid(msg->ballot, cells) && ballot_valid(msg->seen, cells) &&
		       (msg->verdict == ANSWER_LATER ? msg->seen > msg->ballot
						     : msg->seen == msg->ballot) &&
		       (!msg->words || words_valid(msg, cells));
	case MEMBER_OP_REPORT:
	case MEMBER_OP_PROPOSE:
	case MEMBER_OP_COMMIT:
		msg->ballot = get64(in);
		msg->words = in + 8;
		return ballot_valid(msg->ballot, cells) && words_valid(msg, cells);
	case MEMBER_OP_ACCUSE:
	case MEMBER_OP_WITNESS:
		msg->ballot = get64(in);
		return msg->ballot > 0 && read_set(&msg->set, in + 8, cells);
	case MEMBER_OP_STALE:
		msg->ballot = get64(in);
		return msg->ballot > 0 && word_valid(msg->ballot);
	default:
		msg->ballot = get64(in);
		return ballot_valid(msg->ballot, cells);
	}
}

enum member_recv member_decode(
	struct member_msg *msg, uint16_t op, const void *body, size_t body_bytes, uint16_t cells)
{
	*msg = (struct member_msg){ .op = op };
	if (op < MEMBER_OP_HEARTBEAT || op >= MEMBER_OP_END)
		return MEMBER_RECV_BAD_OP;
	if (body_bytes != size_of(op, body, body_bytes, cells))
		return MEMBER_RECV_BAD_SIZE;
	return read_fields(msg, body, cells) ? MEMBER_RECV_OK : MEMBER_RECV_BAD_VALUE;
}
