/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guests/agent/console.h"
#include "guests/agent/disk.h"
#include "guests/agent/sysinfo.h"

/* Types text at the console; how many lines it made, the last one in *out. */
static unsigned type(struct command_input *in, const char *text, struct command *out)
{
	unsigned lines = 0;

	for (; *text; text++)
		lines += command_feed(in, *text, out);
	return lines;
}

Test(command, a_line_is_cut_into_words)
{
	struct command_input in = { 0 };
	struct command c;

	cr_assert_eq(type(&in, " disk-write\t42  8 \r", &c), 1);
	cr_assert_eq(c.count, 3);
	cr_assert_str_eq(c.words[0], "disk-write");
	cr_assert_str_eq(c.words[1], "42");
	cr_assert_str_eq(c.words[2], "8");
	cr_assert_not(c.bad);
	cr_assert_eq(type(&in, "info\n", &c), 1);
	cr_assert_eq(c.count, 1, "nothing of the line before is left");
	cr_assert_eq(type(&in, "\r\n", &c), 2);
	cr_assert_eq(c.count, 0);
}

Test(command, long_lines_and_many_words_are_bad_and_the_next_line_is_fine)
{
	struct command_input in = { 0 };
	struct command c;
	char text[4 * COMMAND_BYTES];

	memset(text, 'y', COMMAND_BYTES - 1);
	strcpy(text + COMMAND_BYTES - 1, "\n");
	type(&in, text, &c);
	cr_assert_not(c.bad, "the longest line");
	cr_assert_eq(strlen(c.words[0]), COMMAND_BYTES - 1);
	memset(text, 'y', 3 * COMMAND_BYTES);
	strcpy(text + 3 * COMMAND_BYTES, "\n");
	cr_assert_eq(type(&in, text, &c), 1);
	cr_assert(c.bad);
	type(&in, "a b c d\n", &c);
	cr_assert_not(c.bad);
	cr_assert_eq(c.count, 4);
	type(&in, "a b c d e\n", &c);
	cr_assert(c.bad);
	type(&in, "reboot\n", &c);
	cr_assert_not(c.bad);
}

Test(console, a_line_too_long_is_cut_and_still_ends)
{
	char text[2 * CONSOLE_LINE_BYTES], got[3 * CONSOLE_LINE_BYTES];
	struct console c;
	int pipes[2];
	ssize_t n;

	cr_assert_eq(console_open(&c, "/dev/null"), 0);
	close(c.fd);
	cr_assert_eq(pipe(pipes), 0);
	c.fd = pipes[1];
	memset(text, 'z', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	console_say(&c, "%s", text);
	console_say(&c, "cv-beat %d", 5);
	n = read(pipes[0], got, sizeof(got));
	cr_assert_gt(n, (ssize_t)CONSOLE_LINE_BYTES - 16);
	cr_assert_leq(n, (ssize_t)(CONSOLE_LINE_BYTES + strlen("cv-beat 5\n")));
	cr_assert_eq(memcmp(got + n - 12, "z\ncv-beat 5\n", 12), 0);
}

Test(sysinfo, kernel_lists)
{
	static const struct {
		const char *text;
		long count;
		uint32_t first, last;
	} table[] = {
		{ "0\n", 1, 0, 0 },
		{ "2-5", 4, 2, 5 },
		{ "0-1,4,6-7\n", 5, 0, 7 },
		{ "", 0, 0, 0 },
		{ "\n", 0, 0, 0 },
		{ "0-7", 8, 0, 7 },
		{ "0-8", -EINVAL, 0, 0 }, /* more than there is room for */
		{ "0-3,4-8", -EINVAL, 0, 0 },
		{ "0-4294967295", -EINVAL, 0, 0 },
		{ "5-2", -EINVAL, 0, 0 },
		{ "a", -EINVAL, 0, 0 },
		{ "1-", -EINVAL, 0, 0 },
		{ "-1", -EINVAL, 0, 0 },
		{ "1;2", -EINVAL, 0, 0 },
		{ "4294967296", -EINVAL, 0, 0 },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		uint32_t numbers[8];
		long count = sysinfo_parse_list(table[i].text, numbers, 8);

		cr_expect_eq(count, table[i].count, "'%s' gave %ld", table[i].text, count);
		if (count > 0) {
			cr_expect_eq(numbers[0], table[i].first);
			cr_expect_eq(numbers[count - 1], table[i].last);
		}
	}
}

Test(sysinfo, meminfo_of_the_machine_and_of_a_node)
{
	cr_assert_eq(sysinfo_parse_meminfo("MemTotal:  2048 kB\nMemFree: 3 kB\n", "MemTotal:"),
		2048u * 1024);
	cr_assert_eq(sysinfo_parse_meminfo(
			     "Node 1 MemTotal:   7 kB\nNode 1 MemFree: 3 kB\n", "MemTotal:"),
		7u * 1024);
	cr_assert_eq(sysinfo_parse_meminfo("MemFree: 3 kB\n", "MemTotal:"), 0);
	cr_assert_eq(sysinfo_parse_meminfo("MemTotal: what\n", "MemTotal:"), 0);
}

Test(sysinfo, options_of_the_kernel_command_line)
{
	static const struct {
		const char *cmdline;
		uint64_t value;
	} table[] = {
		{ "console=ttyS0 quiet cv.mem=64 x", 64 },
		{ "cv.mem=64\n", 64 },
		{ "xcv.mem=3 cv.mem=5", 5 },
		{ "cv.memory=3", 99 },
		{ "cv.mem=0", 0 },
		{ "cv.mem=100", 100 },
		{ "cv.mem=101", 99 },
		{ "cv.mem=", 99 },
		{ "cv.mem", 99 },
		{ "cv.mem=-1", 99 },
		{ "cv.mem=6M", 99 },
		{ "", 99 },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		cr_expect_eq(sysinfo_parse_option(table[i].cmdline, "cv.mem", 100, 99),
			table[i].value, "'%s'", table[i].cmdline);
}

Test(sysinfo, json_has_what_the_tests_read)
{
	char *text = sysinfo_json();
	json_t *all = json_loads(text, 0, NULL);
	json_t *node;

	cr_assert_not_null(all);
	cr_expect_eq(json_integer_value(json_object_get(all, "cpus_online")),
		sysconf(_SC_NPROCESSORS_ONLN));
	cr_expect_gt(json_integer_value(json_object_get(all, "memory_bytes")), 1 << 20);
	cr_expect(json_is_string(json_object_get(all, "kernel")));
	node = json_array_get(json_object_get(all, "nodes"), 0);
	cr_expect(!node || json_array_size(json_object_get(node, "distances")) > 0);
	cr_expect_null(strchr(text, '\n'), "one line");
	json_decref(all);
	free(text);
}

Test(disk, a_wrong_byte_is_found_at_its_place)
{
	static uint64_t chunk[4096];

	disk_fill(chunk, sizeof(chunk), 42, 1 << 20);
	cr_assert_eq(disk_compare(chunk, sizeof(chunk), 42, 1 << 20), sizeof(chunk));
	cr_assert_lt(disk_compare(chunk, sizeof(chunk), 43, 1 << 20), 16, "another seed");
	cr_assert_lt(disk_compare(chunk, sizeof(chunk), 42, 2 << 20), 16, "another place");
	((unsigned char *)chunk)[12345] ^= 0x10;
	cr_assert_eq(disk_compare(chunk, sizeof(chunk), 42, 1 << 20), 12345);
}

Test(disk, what_was_written_is_read_and_errors_are_sentences)
{
	char path[] = "./agent-disk-XXXXXX", why[DISK_WHY_BYTES] = "";
	int fd = mkstemp(path);
	int rc;

	cr_assert_geq(fd, 0);
	rc = disk_write(path, 42, 2, why);
	if (rc == -EINVAL) { /* a file system without O_DIRECT */
		unlink(path);
		cr_skip("no O_DIRECT here");
	}
	cr_expect_eq(rc, 0, "%s", why);
	cr_expect_eq(disk_verify(path, 42, 2, why), 0, "%s", why);
	cr_expect_eq(disk_verify(path, 43, 2, why), -EILSEQ);
	cr_expect_eq(pwrite(fd, "?", 1, (1 << 20) + 77), 1);
	cr_expect_eq(fsync(fd), 0);
	cr_expect_eq(disk_verify(path, 42, 2, why), -EILSEQ);
	cr_expect_str_eq(why, "wrong byte at 1048653");
	cr_expect_eq(disk_verify(path, 42, 3, why), -EILSEQ);
	cr_expect_eq(ftruncate(fd, 1 << 20), 0);
	cr_expect_eq(disk_verify(path, 42, 2, why), -ENOSPC);
	unlink(path);
	cr_expect_eq(disk_verify(path, 42, 1, why), -ENOENT);
	cr_expect_not_null(strstr(why, path));
}
