/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "sim/box/run.h"

Test(spec, is_cut_into_folder_environment_and_words)
{
	char data[] = "/work dir\0A=1\0B=\0\0sh\0\0-c\0x y";
	struct box_spec s;

	cr_assert_eq(box_spec_parse(data, sizeof(data), &s), 0);
	cr_expect_str_eq(s.folder, "/work dir");
	cr_expect_str_eq(s.env[0], "A=1");
	cr_expect_str_eq(s.env[1], "B=");
	cr_expect_null(s.env[2]);
	cr_expect_str_eq(s.argv[0], "sh");
	cr_expect_str_eq(s.argv[1], "", "an empty word is a word");
	cr_expect_str_eq(s.argv[2], "-c");
	cr_expect_str_eq(s.argv[3], "x y");
	cr_expect_null(s.argv[4]);
	box_spec_fini(&s);
}

Test(spec, no_environment_is_fine)
{
	char data[] = "/\0\0true";
	struct box_spec s;

	cr_assert_eq(box_spec_parse(data, sizeof(data), &s), 0);
	cr_expect_null(s.env[0]);
	cr_expect_str_eq(s.argv[0], "true");
	box_spec_fini(&s);
}

Test(spec, what_is_no_command_is_refused)
{
	static const struct {
		const char *data;
		unsigned long bytes;
	} table[] = {
		{ "", 0 }, { "", 1 }, { "/", 1 }, /* not terminated */
		{ "/", 2 },			  /* no environment, no words */
		{ "/\0", 3 },			  /* no words */
		{ "/\0A=1", 6 },		  /* the environment does not end */
		{ "/\0A=1\0", 7 },		  /* no words */
		{ "/\0\0\0", 4 },		  /* an empty program */
		{ "/\0\0true", 7 },		  /* not terminated */
		{ "\0A=1\0\0true", 11 },	  /* no folder */
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char data[32];
		struct box_spec s;

		memcpy(data, table[i].data, table[i].bytes);
		cr_expect_eq(box_spec_parse(data, table[i].bytes, &s), -EINVAL, "row %zu", i);
	}
}
