/* SPDX-License-Identifier: BSD-2-Clause */
#include "numa/ram_layout.h"

#include <stddef.h>

bool ram_append(struct ram_layout *l, uint32_t os_node, uint64_t units)
{
	if (units == 0)
		return true;
	if (l->count > 0 && l->ranges[l->count - 1].os_node == os_node) {
		l->ranges[l->count - 1].units += units;
		return true;
	}
	if (l->count == RAM_RANGES_MAX)
		return false;
	l->ranges[l->count++] = (struct ram_range){ .os_node = os_node, .units = units };
	return true;
}

uint64_t ram_units(const struct ram_layout *l)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < l->count; i++)
		sum += l->ranges[i].units;
	return sum;
}

uint64_t ram_on(const struct ram_layout *l, uint32_t os_node)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < l->count; i++)
		sum += l->ranges[i].os_node == os_node ? l->ranges[i].units : 0;
	return sum;
}

uint32_t ram_plan(const struct ram_layout *l, uint32_t from, uint32_t to, uint64_t units,
	bool from_below, struct ram_piece *pieces, uint32_t room)
{
	uint64_t at = from_below ? 0 : ram_units(l);
	uint32_t count = 0;

	for (uint32_t i = 0; i < l->count && units > 0 && count < room; i++) {
		const struct ram_range *r = &l->ranges[from_below ? i : l->count - 1 - i];
		uint64_t take = r->units < units ? r->units : units;

		if (r->os_node == from) {
			pieces[count++] = (struct ram_piece){
				.at = from_below ? at : at - take,
				.units = take,
				.from = from,
				.to = to,
			};
			units -= take;
		}
		at = from_below ? at + r->units : at - r->units;
	}
	return count;
}

/* The units of [begin, end) of a layout, appended to another. */
static bool copy_part(
	struct ram_layout *to, const struct ram_layout *from, uint64_t begin, uint64_t end)
{
	uint64_t at = 0;

	for (uint32_t i = 0; i < from->count; i++) {
		uint64_t first = at > begin ? at : begin;
		uint64_t last = at + from->ranges[i].units;

		at = last;
		last = last < end ? last : end;
		if (first < last && !ram_append(to, from->ranges[i].os_node, last - first))
			return false;
	}
	return true;
}

bool ram_apply(struct ram_layout *l, const struct ram_piece *piece)
{
	struct ram_layout made = { .count = 0 };

	if (!copy_part(&made, l, 0, piece->at) || !ram_append(&made, piece->to, piece->units) ||
		!copy_part(&made, l, piece->at + piece->units, UINT64_MAX))
		return false;
	*l = made;
	return true;
}
