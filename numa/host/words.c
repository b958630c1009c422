/* SPDX-License-Identifier: BSD-2-Clause */
#include "numa/host/words.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SIZE_BYTES 24

/* A text under construction; what does not fit is cut. */
struct words {
	char *text;
	size_t bytes, used;
};

__attribute__((format(printf, 2, 3))) static void say(struct words *w, const char *fmt, ...)
{
	va_list args;
	int n;

	if (w->used + 1 >= w->bytes)
		return;
	va_start(args, fmt);
	n = vsnprintf(w->text + w->used, w->bytes - w->used, fmt, args);
	va_end(args);
	if (n > 0)
		w->used += (size_t)n < w->bytes - w->used ? (size_t)n : w->bytes - w->used - 1;
}

static struct words words_to(char *text, size_t bytes)
{
	if (bytes > 0)
		text[0] = '\0';
	return (struct words){ .text = text, .bytes = bytes };
}

void words_bytes(uint64_t bytes, char *text, size_t text_bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	uint64_t whole = bytes, tenths = 0;
	size_t unit = 0;

	while (whole >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		tenths = whole % 1024 * 10 / 1024;
		whole /= 1024;
		unit++;
	}
	if (whole < 100 && tenths > 0)
		(void)snprintf(text, text_bytes, "%llu.%llu %s", (unsigned long long)whole,
			(unsigned long long)tenths, units[unit]);
	else
		(void)snprintf(text, text_bytes, "%llu %s", (unsigned long long)whole, units[unit]);
}

struct size_text {
	char text[SIZE_BYTES];
};

static struct size_text size_of(uint64_t bytes)
{
	struct size_text t = { "" };

	words_bytes(bytes, t.text, sizeof(t.text));
	return t;
}

static struct size_text mib_of(uint64_t bytes)
{
	struct size_text t = { "" };

	(void)snprintf(t.text, sizeof(t.text), "%llu MiB", (unsigned long long)(bytes >> 20));
	return t;
}

/* "node 3", "nodes 1, 2 and 5". */
static void say_nodes(struct words *w, const uint32_t *os_nodes, uint32_t count)
{
	say(w, count == 1 ? "node" : "nodes");
	for (uint32_t i = 0; i < count; i++)
		say(w, "%s %u", i == 0 ? "" : i + 1 == count ? " and" : ",", os_nodes[i]);
}

/* "cell 1, nodes 2 and 5": each node once, in order of first use. */
static void say_where(struct words *w, const struct place_state *s, const struct place_result *r)
{
	uint32_t os_nodes[PLACE_SHARES_MAX], count = 0;

	for (uint32_t i = 0; i < r->share_count; i++) {
		uint32_t os_node = s->machine->nodes[r->shares[i].node].os_node, k = 0;

		while (k < count && os_nodes[k] != os_node)
			k++;
		if (k == count)
			os_nodes[count++] = os_node;
	}
	say(w, "cell %u, ", r->spot.cell);
	say_nodes(w, os_nodes, count);
	say(w, ": ");
}

/* "cell 0, node 3", or "cell 0". */
static void say_spot(struct words *w, const struct place_state *s, const struct place_spot *spot)
{
	say(w, "cell %u", spot->cell);
	if (spot->node != NODE_NONE)
		say(w, ", node %u", s->machine->nodes[spot->node].os_node);
}

static void say_whole(struct words *w, const struct place_request *q, const struct place_result *r)
{
	if (q->vnuma > 1)
		say(w, "elsewhere its %u virtual nodes would have to be spread over nodes",
			q->vnuma);
	else
		say(w, "the only cell with %s free on one node", size_of(r->asked_bytes).text);
}

static void say_load(struct words *w, const struct place_spot *spot)
{
	say(w, "%u vCPU%s on %u CPU%s", spot->vcpus, spot->vcpus == 1 ? "" : "s", spot->cpus,
		spot->cpus == 1 ? "" : "s");
}

static void say_borrowed(struct words *w, const struct place_state *s, const struct place_result *r)
{
	bool said[CELLS_MAX] = { false };
	const char *before = "";

	say(w, "no cell has %s free; %s are borrowed of ", size_of(r->asked_bytes).text,
		size_of(r->borrowed_bytes).text);
	for (uint32_t i = 0; i < r->share_count; i++) {
		uint32_t cell = cells_of_node(s->cells, r->shares[i].node);

		if (cell == r->spot.cell || said[cell])
			continue;
		said[cell] = true;
		say(w, "%scell %u", before, cell);
		before = " and ";
	}
	say(w, ", which it needs then too");
}

static void say_why(struct words *w, const struct place_state *s, const struct place_request *q,
	const struct place_result *r)
{
	switch (r->reason) {
	case PLACE_ASKED_CELL:
		say(w, "this cell was asked for");
		break;
	case PLACE_ASKED_NODES:
		say(w, q->node_count == 1 ? "this node was asked for"
					  : "these nodes were asked for");
		break;
	case PLACE_ONLY_FIT:
		say(w, "nowhere else is room for %s and %u vCPU%s", size_of(r->asked_bytes).text,
			r->asked_vcpus, r->asked_vcpus == 1 ? "" : "s");
		break;
	case PLACE_WHOLE:
		say_whole(w, q, r);
		break;
	case PLACE_OWN_NODES:
		say(w, "the only cell with a node for each of its %u virtual nodes", q->vnuma);
		break;
	case PLACE_BORROWED:
		say_borrowed(w, s, r);
		break;
	case PLACE_LEAST_BUSY:
		say(w, "the fewest vCPUs per CPU (");
		say_load(w, &r->spot);
		say(w, "; next is ");
		say_spot(w, s, &r->runner_up);
		say(w, " with ");
		say_load(w, &r->runner_up);
		say(w, ")");
		break;
	case PLACE_MOST_FREE:
		say(w, "the most free memory of the least busy (%s; next is ",
			size_of(r->spot.free_bytes).text);
		say_spot(w, s, &r->runner_up);
		say(w, " with %s)", size_of(r->runner_up.free_bytes).text);
		break;
	default:
		say(w, "as busy and as free as ");
		say_spot(w, s, &r->runner_up);
		say(w, ", and the lowest number");
		break;
	}
}

static void say_no_memory(
	struct words *w, const struct place_request *q, const struct place_result *r)
{
	struct size_text asked = size_of(r->asked_bytes), most = size_of(r->most_free_bytes);

	if (strcmp(asked.text, most.text) == 0) {
		/* So close that it takes all digits to see which is more. */
		asked = mib_of(r->asked_bytes);
		most = mib_of(r->most_free_bytes);
	}
	if (q->node_count > 0) {
		say_nodes(w, q->os_nodes, q->node_count);
		say(w, " of cell %u ha%s %s free, not %s", r->spot.cell,
			q->node_count == 1 ? "s" : "ve", most.text, asked.text);
	} else if (q->cell != CELL_NONE) {
		say(w, "cell %u has %s free, not %s", q->cell, most.text, asked.text);
	} else {
		say(w, "no cell has %s free: the largest, cell %u, has %s", asked.text,
			r->most_free_cell, most.text);
	}
	say(w, " (all live cells together: %s); give --memory less, or stop a guest",
		size_of(r->machine_free_bytes).text);
	if (q->cells_max <= 1 && q->node_count == 0 && r->machine_free_bytes >= r->asked_bytes)
		say(w, ", or let it borrow of other cells with --cells-max");
}

static void say_refusal(struct words *w, const struct place_state *s, const struct place_request *q,
	const struct place_result *r)
{
	uint32_t owner = cells_of_node(s->cells, machine_node_of(s->machine, r->os_node));

	switch (r->reason) {
	case PLACE_BAD_REQUEST:
		say(w,
			"a guest needs a multiple of 2 MiB of memory, 1 to %u vCPUs, and at most "
			"%u "
			"virtual nodes, each with a vCPU and memory",
			PLACE_VCPUS_MAX, VNUMA_MAX);
		break;
	case PLACE_NO_SUCH_CELL:
		say(w, "there is no cell %u; there are cells 0 to %u", q->cell,
			s->cells->cell_count - 1);
		break;
	case PLACE_NO_SUCH_NODE:
		say(w, "there is no node %u; `cellvisor topo` shows the nodes", r->os_node);
		break;
	case PLACE_NODE_TWICE:
		say(w, "node %u was named twice", r->os_node);
		break;
	case PLACE_NODES_OF_TWO_CELLS:
		say(w,
			"node %u belongs to cell %u, another one to cell %u; a guest lives within "
			"one "
			"cell",
			r->os_node, owner, r->spot.cell);
		break;
	case PLACE_NODES_NOT_OF_CELL:
		say(w, "node %u belongs to cell %u, not to cell %u", r->os_node, owner, q->cell);
		break;
	case PLACE_CELL_DEAD:
		say(w, "cell %u is dead; choose one that `cellvisor ls` shows alive", r->spot.cell);
		break;
	case PLACE_NO_MEMORY:
		say_no_memory(w, q, r);
		break;
	case PLACE_TOO_MANY_VCPUS:
		say(w, "no room for %u vCPUs: at most %u more fit, at %u per CPU", r->asked_vcpus,
			r->most_vcpus, PLACE_VCPUS_PER_CPU);
		break;
	default:
		say(w, "no cell is alive");
		break;
	}
}

void words_place(const struct place_state *s, const struct place_request *q,
	const struct place_result *r, char *text, size_t text_bytes)
{
	struct words w = words_to(text, text_bytes);

	if (r->reason > PLACE_LOWEST) {
		say_refusal(&w, s, q, r);
		return;
	}
	say_where(&w, s, r);
	say_why(&w, s, q, r);
}

enum exit_code words_place_code(enum place_reason reason)
{
	switch (reason) {
	case PLACE_NO_SUCH_CELL:
	case PLACE_NO_SUCH_NODE:
	case PLACE_CELL_DEAD:
		return EXIT_NOT_FOUND;
	case PLACE_BAD_REQUEST:
	case PLACE_NODE_TWICE:
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

void words_cells(enum cells_fault fault, uint32_t at, char *text, size_t text_bytes)
{
	struct words w = words_to(text, text_bytes);

	switch (fault) {
	case CELLS_UNKNOWN_NODE:
		say(&w, "there is no node %u", at);
		break;
	case CELLS_NODE_TWICE:
		say(&w, "node %u is named twice", at);
		break;
	case CELLS_NODE_MISSING:
		say(&w, "node %u is in no cell", at);
		break;
	case CELLS_NO_CPU:
		say(&w, "cell %u has no CPU", at);
		break;
	case CELLS_NO_MEMORY:
		say(&w, "cell %u has no memory", at);
		break;
	default:
		say(&w, "%s", cells_fault_text(fault));
		break;
	}
}
