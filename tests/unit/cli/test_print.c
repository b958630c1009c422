/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/cli/cli.h"

Test(table, columns_are_as_wide_as_their_widest_cell)
{
	static const char *const headings[] = { "GUEST", ">CPUS", "CAUSE" };
	static const char *const rows[][3] = {
		{ "a", "2", "" },
		{ "longest-name", "128", "powered off" },
		{ "b", NULL, "n\xc3\xb8 more" },
	};
	struct table *t = table_new(headings, 3);
	char *text;

	for (size_t i = 0; i < 3; i++)
		table_row(t, rows[i]);
	text = table_text(t);
	cr_assert_str_eq(text, "GUEST         CPUS  CAUSE\n"
			       "a                2  -\n"
			       "longest-name   128  powered off\n"
			       "b                -  n\xc3\xb8 more\n");
	free(text);
	table_free(t);
}

Test(table, utf8_takes_one_column_per_character)
{
	static const char *const headings[] = { "A", "B" };
	static const char *const row1[] = { "\xc3\xa4\xc3\xb6", "x" }, *const row2[] = { "abc",
		"y" };
	struct table *t = table_new(headings, 2);
	char *text;

	table_row(t, row1);
	table_row(t, row2);
	text = table_text(t);
	cr_assert_str_eq(text, "A    B\n\xc3\xa4\xc3\xb6   x\nabc  y\n");
	free(text);
	table_free(t);
}

Test(table, has_room_for_many_rows)
{
	static const char *const headings[] = { "N" };
	struct table *t = table_new(headings, 1);
	size_t lines = 0;
	char *text;

	for (int i = 0; i < 1000; i++)
		table_row(t, headings);
	text = table_text(t);
	for (const char *p = text; *p; p++)
		lines += *p == '\n';
	cr_assert_eq(lines, 1001);
	free(text);
	table_free(t);
}

Test(print, sizes)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} table[] = {
		{ 0, "0 B" },
		{ 1023, "1023 B" },
		{ 1024, "1 KiB" },
		{ 1536, "1.5 KiB" },
		{ 256ull << 20, "256 MiB" },
		{ (1ull << 30) - 1, "1.0 GiB" },
		{ 3ull << 29, "1.5 GiB" },
		{ 130ull << 30, "130 GiB" },
		{ 3ull << 40, "3 TiB" },
		{ UINT64_MAX, ">99999 TiB" },
	};
	char buf[CLI_SIZE_BYTES];

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		cr_assert_str_eq(cli_size(buf, table[i].bytes), table[i].text);
}

Test(print, lists_are_ranges_and_cut_at_the_end)
{
	static const int values[] = { 0, 2, 3, 4, 7, 8 };
	char buf[CLI_LIST_BYTES];
	json_t *list = json_array();

	cr_assert_str_eq(cli_list(buf, list), "-");
	cr_assert_str_eq(cli_list(buf, NULL), "-");
	for (size_t i = 0; i < 6; i++)
		json_array_append_new(list, json_integer(values[i]));
	cr_assert_str_eq(cli_list(buf, list), "0,2-4,7-8");
	for (int i = 100; i < 1000; i += 2)
		json_array_append_new(list, json_integer(i));
	cli_list(buf, list);
	cr_assert_lt(strlen(buf), CLI_LIST_BYTES);
	cr_assert_str_eq(buf + strlen(buf) - 4, ",...");
	json_decref(list);
}

Test(print, fields_of_rows_have_defaults)
{
	json_t *row = json_pack("{s:s, s:i, s:i}", "name", "a", "pid", 12, "bad", -3);

	cr_assert_str_eq(cli_text(row, "name"), "a");
	cr_assert_str_eq(cli_text(row, "none"), "");
	cr_assert_str_eq(cli_text(row, "pid"), "");
	cr_assert_eq(cli_number(row, "pid"), 12);
	cr_assert_eq(cli_number(row, "bad"), 0);
	cr_assert_eq(cli_number(row, "none"), 0);
	json_decref(row);
}
