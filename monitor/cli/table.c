/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/cli/cli.h"
#include "numa/check.h"

struct table {
	size_t columns, rows, room;
	char **cells; /* rows * columns, owned; row 0 is the heading */
	bool *right;
};

static char *copy(const char *text)
{
	char *s = strdup(text);

	CHECK(s != NULL);
	return s;
}

static void append(struct table *t, const char *const *cells)
{
	if (t->rows == t->room) {
		t->room = t->room ? 2 * t->room : 16;
		t->cells = reallocarray(t->cells, t->room * t->columns, sizeof(*t->cells));
		CHECK(t->cells != NULL);
	}
	for (size_t c = 0; c < t->columns; c++)
		t->cells[t->rows * t->columns + c] = copy(cells[c] && *cells[c] ? cells[c] : "-");
	t->rows++;
}

struct table *table_new(const char *const *headings, size_t columns)
{
	struct table *t = calloc(1, sizeof(*t));

	CHECK(t != NULL && columns > 0);
	t->columns = columns;
	t->right = calloc(columns, sizeof(*t->right));
	CHECK(t->right != NULL);
	append(t, headings);
	for (size_t c = 0; c < columns; c++) {
		t->right[c] = t->cells[c][0] == '>';
		if (t->right[c])
			memmove(t->cells[c], t->cells[c] + 1, strlen(t->cells[c]));
	}
	return t;
}

void table_row(struct table *t, const char *const *cells)
{
	append(t, cells);
}

/* Columns on a terminal: UTF-8 continuation bytes take none. */
static int width(const char *s)
{
	int n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static int column_width(const struct table *t, size_t c)
{
	int widest = 0;

	for (size_t r = 0; r < t->rows; r++) {
		int w = width(t->cells[r * t->columns + c]);

		widest = w > widest ? w : widest;
	}
	return widest;
}

char *table_text(const struct table *t)
{
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	CHECK(out != NULL);
	for (size_t r = 0; r < t->rows; r++) {
		for (size_t c = 0; c < t->columns; c++) {
			const char *cell = t->cells[r * t->columns + c];
			int pad = column_width(t, c) - width(cell);

			if (t->right[c])
				fprintf(out, "%*s%s", pad, "", cell);
			else
				fprintf(out, "%s%*s", cell, c + 1 < t->columns ? pad : 0, "");
			fputs(c + 1 < t->columns ? "  " : "\n", out);
		}
	}
	fclose(out);
	return text;
}

void table_free(struct table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->rows * t->columns; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t->right);
	free(t);
}

void table_print(struct table *t)
{
	char *text;

	if (!t)
		return;
	text = table_text(t);
	fputs(text, stdout);
	free(text);
	table_free(t);
}
