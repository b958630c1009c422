/* SPDX-License-Identifier: BSD-2-Clause */
#include "numa/host/words.h"

#include <stdio.h>
#include <string.h>

void words_bytes(uint64_t bytes, char *text, size_t text_bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = (double)bytes;
	size_t unit = 0;

	while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1024;
		unit++;
	}
	(void)snprintf(text, text_bytes,
		value < 9.95 && value != (double)(uint64_t)value ? "%.1f %s" : "%.0f %s", value,
		units[unit]);
}

/* "cell 1, nodes 2 and 5" */
static void words_where(
	const struct place_state *s, const struct place_result *r, char *text, size_t bytes)
{
	size_t used;

	(void)snprintf(text, bytes, "cell %u, node%s", r->cell, r->share_count > 1 ? "s" : "");
	for (uint32_t i = 0; i < r->share_count; i++) {
		used = strlen(text);
		(void)snprintf(text + used, bytes - used, "%s %u",
			i == 0			  ? ""
			: i + 1 == r->share_count ? " and"
						  : ",",
			s->machine->nodes[r->shares[i].node].os_node);
	}
}

static const char *why_there(const struct place_result *r, char *text, size_t bytes)
{
	char room[24];

	words_bytes(r->free_bytes, room, sizeof(room));
	switch (r->reason) {
	case PLACE_ASKED_CELL:
		return "you asked for this cell";
	case PLACE_ASKED_NODES:
		return "you asked for these nodes";
	case PLACE_ONLY_FIT:
		return "the only cell with room for it";
	case PLACE_ONE_NODE:
		return "it fits into one node there, elsewhere it would be spread";
	case PLACE_LEAST_BUSY:
		return "the cell with the fewest vCPUs per CPU";
	case PLACE_MOST_FREE:
		(void)snprintf(text, bytes,
			"no cell is less busy, and it has the most memory free (%s)", room);
		return text;
	default:
		return "no cell is less busy or has more memory free, and it has the lowest number";
	}
}

static uint32_t os_node_of(const struct place_state *s, uint32_t node)
{
	return node < s->machine->node_count ? s->machine->nodes[node].os_node : node;
}

static void words_refusal(const struct place_state *s, const struct place_request *q,
	const struct place_result *r, char *text, size_t bytes)
{
	char asked[24], room[24];

	words_bytes(r->asked_bytes, asked, sizeof(asked));
	words_bytes(r->free_bytes, room, sizeof(room));
	switch (r->reason) {
	case PLACE_NO_SUCH_CELL:
		(void)snprintf(text, bytes, "there is no cell %u; there are cells 0 to %u", q->cell,
			s->cells->cell_count - 1);
		break;
	case PLACE_NO_SUCH_NODE:
		(void)snprintf(
			text, bytes, "there is no node %u; `cellvisor topo` lists them", r->node);
		break;
	case PLACE_CELL_DEAD:
		(void)snprintf(text, bytes,
			"cell %u is dead; choose one that `cellvisor ls` shows alive", r->cell);
		break;
	case PLACE_NODES_OF_TWO_CELLS:
		(void)snprintf(text, bytes,
			"the nodes asked for belong to different cells (node %u to cell %u); a "
			"guest lives within one",
			os_node_of(s, r->node), cells_of_node(s->cells, r->node));
		break;
	case PLACE_NODES_NOT_OF_CELL:
		(void)snprintf(text, bytes, "node %u belongs to cell %u, not to cell %u",
			os_node_of(s, r->node), cells_of_node(s->cells, r->node), q->cell);
		break;
	case PLACE_NO_MEMORY:
		(void)snprintf(text, bytes, "no room for %s of memory: %s %s free%s", asked,
			q->cell != CELL_NONE || q->node_count ? "what was asked for has"
							      : "the largest live cell has",
			room, r->free_bytes ? "; give --memory less, or stop a guest" : "");
		break;
	case PLACE_TOO_MANY_VCPUS:
		(void)snprintf(text, bytes, "no room for %u vCPUs: at most %u more, at %u per CPU",
			q->vcpus, r->most_vcpus, PLACE_VCPUS_PER_CPU);
		break;
	default:
		(void)snprintf(text, bytes, "no cell is alive");
		break;
	}
}

void words_place(const struct place_state *s, const struct place_request *q,
	const struct place_result *r, char *text, size_t text_bytes)
{
	char where[160], why[128];

	if (r->reason > PLACE_LOWEST) {
		words_refusal(s, q, r, text, text_bytes);
		return;
	}
	words_where(s, r, where, sizeof(where));
	(void)snprintf(text, text_bytes, "%s: %s", where, why_there(r, why, sizeof(why)));
}

enum exit_code words_place_code(enum place_reason reason)
{
	switch (reason) {
	case PLACE_NO_SUCH_CELL:
	case PLACE_NO_SUCH_NODE:
	case PLACE_CELL_DEAD:
		return EXIT_NOT_FOUND;
	case PLACE_NODES_OF_TWO_CELLS:
	case PLACE_NODES_NOT_OF_CELL:
		return EXIT_INVALID;
	case PLACE_NO_MEMORY:
	case PLACE_TOO_MANY_VCPUS:
	case PLACE_NO_CELL_ALIVE:
		return EXIT_NO_ROOM;
	default:
		return EXIT_OK;
	}
}
