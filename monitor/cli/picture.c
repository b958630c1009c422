/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cli/picture.h"

#include <stdarg.h>
#include <string.h>

#include "numa/check.h"
#include "numa/host/words.h"

#define BOX_COLUMNS_MIN 38u
#define BOX_COLUMNS_MAX 56u
#define COLUMNS_MAX 200u
#define GUESTS_SHOWN_MAX 12u
#define BAR_COLUMNS 12u

enum tint { PLAIN, FAINT, GOOD, BAD, WARN };

/* What a character of the picture is in UTF-8 and in ASCII. */
enum mark {
	TOP_LEFT,
	TOP_RIGHT,
	BOTTOM_LEFT,
	BOTTOM_RIGHT,
	ACROSS,
	DOWN,
	BAR_USED,
	BAR_FREE,
	ALIVE,
	LOST,
	CRASHED,
	ENDED,
	STARTING,
	UNSURE,
	CUT,
	MARK_COUNT,
};

static const char *const marks[MARK_COUNT][2] = {
	[TOP_LEFT] = { "┌", "+" },
	[TOP_RIGHT] = { "┐", "+" },
	[BOTTOM_LEFT] = { "└", "+" },
	[BOTTOM_RIGHT] = { "┘", "+" },
	[ACROSS] = { "─", "-" },
	[DOWN] = { "│", "|" },
	[BAR_USED] = { "█", "#" },
	[BAR_FREE] = { "░", "." },
	[ALIVE] = { "●", "*" },
	[LOST] = { "✗", "x" },
	[CRASHED] = { "✗", "!" },
	[ENDED] = { "○", "-" },
	[STARTING] = { "◌", "+" },
	[UNSURE] = { "◍", "?" },
	[CUT] = { "…", "~" },
};

/* States of cells and guests, as `ls` names them. */
static const struct look {
	const char *state;
	enum mark mark;
	enum tint tint;
} looks[] = {
	{ "alive", ALIVE, GOOD },
	{ "running", ALIVE, GOOD },
	{ "dead", LOST, BAD },
	{ "lost", LOST, BAD },
	{ "crashed", CRASHED, BAD },
	{ "stopped", ENDED, FAINT },
	{ "starting", STARTING, WARN },
};

static struct look look_of(const char *state)
{
	for (size_t i = 0; i < sizeof(looks) / sizeof(looks[0]); i++) {
		if (strcmp(looks[i].state, state) == 0)
			return looks[i];
	}
	return (struct look){ .state = state, .mark = UNSURE, .tint = WARN };
}

/* Draws from left to right and knows how far it came. */
struct pen {
	FILE *out;
	const struct picture_style *style;
	uint32_t column, end; /* nothing is drawn at or beyond `end` */
};

static void pen_tint(struct pen *pen, enum tint tint)
{
	static const char *const codes[] = { "0", "2", "32", "1;31", "33" };

	if (pen->style->colour)
		(void)fprintf(pen->out, "\033[%sm", codes[tint]);
}

static void pen_mark(struct pen *pen, enum mark mark)
{
	if (pen->column >= pen->end)
		return;
	(void)fputs(marks[mark][pen->style->utf8 ? 0 : 1], pen->out);
	pen->column++;
}

static void pen_repeat(struct pen *pen, enum mark mark, uint32_t until)
{
	while (pen->column < until && pen->column < pen->end)
		pen_mark(pen, mark);
}

static void pen_blanks(struct pen *pen, uint32_t until)
{
	for (; pen->column < until && pen->column < pen->end; pen->column++)
		(void)fputc(' ', pen->out);
}

/*
 * Writes printable ASCII; what does not fit is cut, visibly. Names come from other
 * processes, so anything else is replaced.
 */
__attribute__((format(printf, 2, 3))) static void pen_text(struct pen *pen, const char *fmt, ...)
{
	char text[512];
	va_list args;
	size_t length;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	length = strlen(text);
	for (size_t i = 0; i < length && pen->column < pen->end; i++) {
		if (pen->column + 1 == pen->end && i + 1 < length) {
			pen_mark(pen, CUT);
			return;
		}
		(void)fputc(text[i] >= ' ' && text[i] <= '~' ? text[i] : '?', pen->out);
		pen->column++;
	}
}

struct size_text {
	char text[24];
};

static struct size_text size_of(uint64_t bytes)
{
	struct size_text t = { "" };

	words_bytes(bytes, t.text, sizeof(t.text));
	return t;
}

static bool holds_memory(const struct picture_guest *g)
{
	return strcmp(g->state, "running") == 0 || strcmp(g->state, "starting") == 0 ||
	       strcmp(g->state, "unmanaged") == 0;
}

/* Memory of this node that guests hold. */
static uint64_t guest_bytes(const struct picture *p, uint32_t os_node)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < p->guest_count; i++) {
		const struct picture_guest *g = &p->guests[i];
		uint64_t known = 0;

		for (uint32_t k = 0; k < g->node_count; k++)
			known += g->node_bytes[k];
		for (uint32_t k = 0; k < g->node_count && holds_memory(g); k++) {
			if (g->os_nodes[k] == os_node)
				sum += known > 0 ? g->node_bytes[k]
						 : g->memory_bytes / g->node_count;
		}
	}
	return sum;
}

static const struct picture_guest *guest_of(const struct picture *p, uint32_t cell, uint32_t which)
{
	for (size_t i = 0; i < p->guest_count; i++) {
		if (p->guests[i].cell == cell && which-- == 0)
			return &p->guests[i];
	}
	return NULL;
}

static uint32_t longest_name(const struct picture *p, uint32_t cell)
{
	size_t most = 0;

	for (size_t i = 0; i < p->guest_count; i++) {
		size_t length = strlen(p->guests[i].name);

		if (p->guests[i].cell == cell && length > most)
			most = length;
	}
	return (uint32_t)most;
}

static uint32_t count_guests(const struct picture *p, uint32_t cell)
{
	uint32_t count = 0;

	for (size_t i = 0; i < p->guest_count; i++)
		count += p->guests[i].cell == cell;
	return count;
}

/* Lines inside a cell's box: two per node; then, if cells are up, one per guest. */
static uint32_t box_lines(const struct picture *p, uint32_t cell)
{
	uint32_t lines = 2 * p->cells->cells[cell].node_count, guests = count_guests(p, cell);

	if (!p->states)
		return lines;
	return lines + (guests == 0 ? 1 : guests > GUESTS_SHOWN_MAX ? GUESTS_SHOWN_MAX : guests);
}

static void draw_title(struct pen *pen, const struct picture *p, uint32_t cell)
{
	const struct picture_cell *now = p->states ? &p->states[cell] : NULL;
	uint32_t right = pen->end;
	char room[40] = "";

	if (now && now->free_known)
		(void)snprintf(room, sizeof(room), " %s free ", size_of(now->free_bytes).text);
	pen_mark(pen, TOP_LEFT);
	pen_mark(pen, ACROSS);
	pen_text(pen, " cell %u ", cell);
	if (now && now->state[0]) {
		struct look look = look_of(now->state);

		pen_tint(pen, look.tint);
		pen_mark(pen, look.mark);
		pen_text(pen, " %s ", now->state);
		pen_tint(pen, PLAIN);
	}
	pen_repeat(pen, ACROSS, right - 2 - (uint32_t)strlen(room));
	pen_text(pen, "%s", room);
	pen_repeat(pen, ACROSS, right - 1);
	pen_mark(pen, TOP_RIGHT);
}

static void draw_node(struct pen *pen, const struct machine_node *node, bool dead)
{
	char cpus[512];

	pen_text(pen, "node %u  ", node->os_node);
	if (cpu_set_empty(&node->cpus)) {
		pen_text(pen, dead ? "its CPUs are offline" : "no CPUs, memory only");
		return;
	}
	(void)cpu_set_format(&node->cpus, cpus, sizeof(cpus));
	pen_text(pen, "%s %s", cpu_set_count(&node->cpus) == 1 ? "CPU" : "CPUs", cpus);
}

static bool is_dead(const struct picture *p, uint32_t cell)
{
	return p->states && strcmp(p->states[cell].state, "dead") == 0;
}

/* A bar of the node's memory: what guests hold of it, then the rest. */
static void draw_memory(
	struct pen *pen, const struct picture *p, uint32_t cell, const struct machine_node *node)
{
	uint64_t held = guest_bytes(p, node->os_node), total = node->memory_bytes;
	uint32_t start = pen->column + 2, used = 0;

	if (total == 0) {
		pen_text(pen, "  no memory");
		return;
	}
	if (held > 0)
		used = held >= total ? BAR_COLUMNS
				     : 1 + (uint32_t)(held * (BAR_COLUMNS - 1) / total);
	pen_blanks(pen, start);
	pen_repeat(pen, BAR_USED, start + used);
	pen_tint(pen, FAINT);
	pen_repeat(pen, BAR_FREE, start + BAR_COLUMNS);
	pen_tint(pen, PLAIN);
	if (is_dead(p, cell))
		pen_text(pen, " %s, out of use", size_of(total).text);
	else if (p->states)
		pen_text(pen, " %s of %s", size_of(held).text, size_of(total).text);
	else
		pen_text(pen, " %s", size_of(total).text);
}

/* " on nodes 0,4" for a guest that does not lie on all nodes of its cell alone. */
static void guest_nodes(const struct picture *p, const struct picture_guest *g, char text[64])
{
	size_t used = 0;

	text[0] = '\0';
	if (p->cells->cells[g->cell].node_count == 1)
		return;
	for (uint32_t k = 0; k < g->node_count && used < 64; k++)
		used += (size_t)snprintf(text + used, 64 - used, "%s%u",
			k		    ? ","
			: g->node_count > 1 ? " on nodes "
					    : " on node ",
			g->os_nodes[k]);
}

static void draw_guest(struct pen *pen, const struct picture *p, const struct picture_guest *g)
{
	struct look look = look_of(g->state);
	uint32_t start = pen->column;
	char facts[128], nodes[64];
	uint32_t room, end = pen->end, name_end;

	guest_nodes(p, g, nodes);
	(void)snprintf(facts, sizeof(facts), " %u vCPU%s, %s%s", g->vcpus, g->vcpus == 1 ? "" : "s",
		size_of(g->memory_bytes).text, nodes);
	pen_tint(pen, look.tint);
	pen_mark(pen, look.mark);
	pen_text(pen, " %s", g->state);
	pen_tint(pen, PLAIN);
	pen_blanks(pen, start + 10);
	/* A long name is cut before what is said of it. */
	room = (uint32_t)strlen(facts) + 1;
	if (end - pen->column > room + 8)
		pen->end = end - room;
	name_end = pen->column + 1 + longest_name(p, g->cell);
	pen_text(pen, " %s", g->name);
	pen_blanks(pen, name_end);
	pen->end = end;
	pen_text(pen, "%s", facts);
}

static void draw_inside(struct pen *pen, const struct picture *p, uint32_t cell, uint32_t line)
{
	const struct cell_plan *plan = &p->cells->cells[cell];
	uint32_t guests = count_guests(p, cell), which = line - 2 * plan->node_count;

	if (line >= box_lines(p, cell))
		return;
	if (line < 2 * plan->node_count && line % 2 == 0)
		draw_node(pen, &p->machine->nodes[plan->nodes[line / 2]], is_dead(p, cell));
	else if (line < 2 * plan->node_count)
		draw_memory(pen, p, cell, &p->machine->nodes[plan->nodes[line / 2]]);
	else if (guests == 0)
		pen_text(pen, "no guests");
	else if (which + 1 == GUESTS_SHOWN_MAX && guests > GUESTS_SHOWN_MAX)
		pen_text(pen, "and %u more: `cellvisor ls`", guests - GUESTS_SHOWN_MAX + 1);
	else
		draw_guest(pen, p, guest_of(p, cell, which));
}

static void draw_line(struct pen *pen, const struct picture *p, uint32_t cell, uint32_t line)
{
	uint32_t right = pen->end;

	pen_mark(pen, DOWN);
	pen_blanks(pen, pen->column + 1);
	pen->end = right - 2;
	draw_inside(pen, p, cell, line);
	pen->end = right;
	pen_blanks(pen, right - 1);
	pen_mark(pen, DOWN);
}

/* The cells first..first+count-1 side by side. */
static void draw_row(const struct picture *p, const struct picture_style *style, uint32_t first,
	uint32_t count, uint32_t width, FILE *out)
{
	uint32_t lines = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t n = box_lines(p, first + i);

		lines = n > lines ? n : lines;
	}
	for (uint32_t line = 0; line < lines + 2; line++) {
		struct pen pen = { .out = out, .style = style };

		for (uint32_t i = 0; i < count; i++) {
			pen.end = i * (width + 1);
			pen_blanks(&pen, pen.end);
			pen.end += width;
			if (line == 0) {
				draw_title(&pen, p, first + i);
			} else if (line == lines + 1) {
				pen_mark(&pen, BOTTOM_LEFT);
				pen_repeat(&pen, ACROSS, pen.end - 1);
				pen_mark(&pen, BOTTOM_RIGHT);
			} else {
				draw_line(&pen, p, first + i, line - 1);
			}
		}
		(void)fputc('\n', out);
	}
}

static void draw_matrix(const struct machine *m, FILE *out)
{
	(void)fprintf(out, "distances\n   to node");
	for (uint32_t b = 0; b < m->node_count; b++)
		(void)fprintf(out, "%5u", m->nodes[b].os_node);
	for (uint32_t a = 0; a < m->node_count; a++) {
		(void)fprintf(out, "\n%10u", m->nodes[a].os_node);
		for (uint32_t b = 0; b < m->node_count; b++)
			(void)fprintf(out, "%5u", m->distance[a][b]);
	}
	(void)fputc('\n', out);
}

/* For many nodes: "from node 3: 10 to 3; 16 to 1,7; 32 to 0,2,4-6". */
static void draw_distances(
	const struct machine *m, const struct picture_style *style, uint32_t columns, FILE *out)
{
	(void)fputs("distances\n", out);
	for (uint32_t a = 0; a < m->node_count; a++) {
		struct pen pen = { .out = out, .style = style, .end = columns };

		pen_text(&pen, "from node %u:", m->nodes[a].os_node);
		for (uint32_t d = DISTANCE_LOCAL; d <= DISTANCE_UNREACHABLE; d++) {
			struct cpu_set nodes = { 0 };
			char list[256];

			/* The set's text form is what is wanted; node numbers are below 1024. */
			for (uint32_t b = 0; b < m->node_count; b++) {
				if (m->distance[a][b] == d && m->nodes[b].os_node < CPU_SET_CPUS)
					cpu_set_add(&nodes, m->nodes[b].os_node);
			}
			if (cpu_set_empty(&nodes))
				continue;
			(void)cpu_set_format(&nodes, list, sizeof(list));
			pen_text(&pen, "%s %u to %s", d == DISTANCE_LOCAL ? "" : ";", d, list);
		}
		(void)fputc('\n', out);
	}
}

static void draw_heading(const struct picture *p, FILE *out)
{
	const struct machine *m = p->machine;
	uint64_t memory = 0;
	uint32_t cpus = 0;

	for (uint32_t n = 0; n < m->node_count; n++) {
		memory += m->nodes[n].memory_bytes;
		cpus += cpu_set_count(&m->nodes[n].cpus);
	}
	(void)fprintf(out, "%u node%s, %u CPU%s, %s of memory; %u cell%s%s\n", m->node_count,
		m->node_count == 1 ? "" : "s", cpus, cpus == 1 ? "" : "s", size_of(memory).text,
		p->cells->cell_count, p->cells->cell_count == 1 ? "" : "s",
		p->states ? "" : ", not started: `cellvisor up`");
}

void picture_draw(const struct picture *p, const struct picture_style *style, FILE *out)
{
	uint32_t columns = style->columns < COLUMNS_MAX ? style->columns : COLUMNS_MAX;
	uint32_t boxes, width;

	CHECK(p->cells->cell_count > 0 && p->cells->cell_count <= CELLS_MAX);
	columns = columns > PICTURE_COLUMNS_MIN ? columns : PICTURE_COLUMNS_MIN;
	boxes = (columns + 1) / (BOX_COLUMNS_MIN + 1);
	boxes = boxes < p->cells->cell_count ? boxes : p->cells->cell_count;
	width = (columns + 1) / boxes - 1;
	width = width < BOX_COLUMNS_MAX ? width : BOX_COLUMNS_MAX;
	draw_heading(p, out);
	for (uint32_t first = 0; first < p->cells->cell_count; first += boxes) {
		uint32_t left = p->cells->cell_count - first;

		draw_row(p, style, first, left < boxes ? left : boxes, width, out);
	}
	if (10 + 5 * p->machine->node_count <= columns)
		draw_matrix(p->machine, out);
	else
		draw_distances(p->machine, style, columns, out);
}
