/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/wire_calls.h"

#include <string.h>

#include "numa/check.h"

/* A request id is its serial number, from 1, above the 16 bits of its slot. */
#define SLOT_BITS 16u
#define SLOT_MASK ((1u << SLOT_BITS) - 1)

void wire_calls_init(struct wire_calls *book, struct wire_call *slots, uint32_t slot_count)
{
	CHECK(slot_count > 0 && slot_count <= SLOT_MASK + 1);
	memset(slots, 0, slot_count * sizeof(*slots));
	*book = (struct wire_calls){ .slots = slots, .slot_count = slot_count, .next_serial = 1 };
}

uint32_t wire_calls_open(struct wire_calls *book, uint16_t cell, uint64_t cell_incarnation,
	uint16_t op, uint64_t deadline_ns)
{
	uint32_t slot;

	if (book->open_count == book->slot_count)
		return WIRE_CALL_NONE;
	for (slot = 0; book->slots[slot].req_id; slot++)
		;
	book->slots[slot] = (struct wire_call){
		.req_id = book->next_serial++ << SLOT_BITS | slot,
		.deadline_ns = deadline_ns,
		.cell_incarnation = cell_incarnation,
		.cell = cell,
		.op = op,
	};
	book->open_count++;
	return slot;
}

uint32_t wire_calls_match(
	struct wire_calls *book, uint16_t from, uint64_t incarnation, uint16_t op, uint64_t req_id)
{
	uint32_t slot = req_id & SLOT_MASK;
	const struct wire_call *call;

	if (req_id && slot < book->slot_count) {
		call = &book->slots[slot];
		if (call->req_id == req_id && call->cell == from &&
			call->cell_incarnation == incarnation && call->op == op)
			return slot;
	}
	book->late++;
	return WIRE_CALL_NONE;
}

void wire_calls_close(struct wire_calls *book, uint32_t slot)
{
	CHECK(slot < book->slot_count && book->slots[slot].req_id);
	book->slots[slot].req_id = 0;
	book->open_count--;
}

/*
 * Calls take the lowest free slot, so the open ones lie at the start: each scan
 * ends with the last open call, not with the last slot.
 */
uint32_t wire_calls_expired(const struct wire_calls *book, uint64_t now_ns)
{
	for (uint32_t i = 0, seen = 0; seen < book->open_count; i++) {
		if (!book->slots[i].req_id)
			continue;
		if (book->slots[i].deadline_ns <= now_ns)
			return i;
		seen++;
	}
	return WIRE_CALL_NONE;
}

uint32_t wire_calls_to(const struct wire_calls *book, uint16_t cell)
{
	for (uint32_t i = 0, seen = 0; seen < book->open_count; i++) {
		if (!book->slots[i].req_id)
			continue;
		if (book->slots[i].cell == cell)
			return i;
		seen++;
	}
	return WIRE_CALL_NONE;
}

uint64_t wire_calls_next_ns(const struct wire_calls *book)
{
	uint64_t next_ns = UINT64_MAX;

	for (uint32_t i = 0, seen = 0; seen < book->open_count; i++) {
		if (!book->slots[i].req_id)
			continue;
		if (book->slots[i].deadline_ns < next_ns)
			next_ns = book->slots[i].deadline_ns;
		seen++;
	}
	return next_ns;
}
