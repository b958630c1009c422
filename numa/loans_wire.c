/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages between loan books, little-endian:
 *   u64 id, u64 units, u32 lender_born, u32 borrower_born, u32 guest, u32 os_node,
 *   u16 lender, u16 borrower, u32 serial,
 *   u32 answer, u32 0
 */
#include "numa/loans.h"

static void put(uint8_t *to, uint64_t value, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		to[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t get(const uint8_t *from, uint32_t bytes)
{
	uint64_t value = 0;

	for (uint32_t i = bytes; i > 0; i--)
		value = value << 8 | from[i - 1];
	return value;
}

void loan_encode(const struct loan_msg *msg, uint8_t body[LOAN_MSG_BYTES])
{
	const struct loan *line = &msg->line;

	put(body, line->id, 8);
	put(body + 8, line->units, 8);
	put(body + 16, line->lender_born, 4);
	put(body + 20, line->borrower_born, 4);
	put(body + 24, line->guest, 4);
	put(body + 28, line->os_node, 4);
	put(body + 32, line->lender, 2);
	put(body + 34, line->borrower, 2);
	put(body + 36, msg->serial, 4);
	put(body + 40, msg->answer, 4);
	put(body + 44, 0, 4);
}

/* Units may be none where nothing is kept or was found, elsewhere that makes no sense. */
static bool valid(uint16_t op, const struct loan *line, uint32_t serial, uint32_t answer)
{
	bool whole_book = op == LOAN_OP_TELL || op == LOAN_OP_TOLD;
	bool may_be_none = whole_book || op == LOAN_OP_REFUSE || op == LOAN_OP_RETURN ||
			   op == LOAN_OP_RETURNED;

	if ((serial != 0) != (whole_book || op == LOAN_OP_LINE) ||
		(answer != 0) != (op == LOAN_OP_TOLD || op == LOAN_OP_LINE))
		return false;
	if (op == 0 || op >= LOAN_OP_END || line->units > LOANS_UNITS_MAX ||
		(line->units == 0 && !may_be_none))
		return false;
	if (line->lender == line->borrower || line->lender >= LOANS_CELLS_MAX ||
		line->borrower >= LOANS_CELLS_MAX)
		return false;
	if (line->lender_born == 0 || line->borrower_born == 0)
		return false;
	if (whole_book)
		return line->id == 0 && line->guest == 0 && line->os_node == 0;
	return line->id >> 32 != 0 && (uint32_t)line->id != 0;
}

bool loan_decode(uint16_t op, const void *body, size_t body_bytes, struct loan_msg *msg)
{
	const uint8_t *from = body;
	struct loan line;
	uint32_t serial, answer;

	if (body_bytes != LOAN_MSG_BYTES || get(from + 44, 4) != 0)
		return false;
	line = (struct loan){
		.id = get(from, 8),
		.units = get(from + 8, 8),
		.lender_born = (uint32_t)get(from + 16, 4),
		.borrower_born = (uint32_t)get(from + 20, 4),
		.guest = (uint32_t)get(from + 24, 4),
		.os_node = (uint32_t)get(from + 28, 4),
		.lender = (uint16_t)get(from + 32, 2),
		.borrower = (uint16_t)get(from + 34, 2),
	};
	serial = (uint32_t)get(from + 36, 4);
	answer = (uint32_t)get(from + 40, 4);
	if (!valid(op, &line, serial, answer))
		return false;
	*msg = (struct loan_msg){ op, line, serial, answer };
	return true;
}
