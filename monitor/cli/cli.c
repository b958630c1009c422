/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cli/cli.h"

#include <stdarg.h>
#include <stdio.h>

int cli_fail(const struct err *e)
{
	fflush(stdout);
	fprintf(stderr, "cellvisor: %s\n", e->text);
	return (int)e->code;
}

int cli_error(enum exit_code code, const char *fmt, ...)
{
	struct err e = { .code = code };
	va_list args;

	va_start(args, fmt);
	vsnprintf(e.text, sizeof(e.text), fmt, args);
	va_end(args);
	return cli_fail(&e);
}

void cli_take_guest(struct argp_state *state, char *arg, const char **name)
{
	if (*name)
		argp_error(state, "one guest at a time; '%s' is one too many", arg);
	*name = arg;
}

void cli_which_guest(struct argp_state *state)
{
	argp_error(state, "which guest? `cellvisor ls` lists them");
}

void cli_progress(void *ctx, const json_t *line)
{
	(void)ctx;
	fprintf(stderr, "%s\n", cli_text(line, "progress"));
}

const char *cli_text(const json_t *row, const char *key)
{
	const char *text = json_string_value(json_object_get(row, key));

	return text ? text : "";
}

uint64_t cli_number(const json_t *row, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(row, key));

	return value > 0 ? (uint64_t)value : 0;
}

void cli_print_json(const json_t *value)
{
	json_dumpf(value, stdout, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(15));
	putchar('\n');
}

const char *cli_size(char buf[CLI_SIZE_BYTES], uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double value = (double)bytes;
	size_t unit = 0;

	/* 1023.95 would print as "1024.0". */
	while (value >= 1023.95 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1024;
		unit++;
	}
	if (value > 99999)
		snprintf(buf, CLI_SIZE_BYTES, ">99999 TiB");
	else if (unit == 0 || value >= 100 || value * 10 == (double)(uint64_t)value * 10)
		snprintf(buf, CLI_SIZE_BYTES, "%.0f %s", value, units[unit]);
	else
		snprintf(buf, CLI_SIZE_BYTES, "%.1f %s", value, units[unit]);
	return buf;
}

const char *cli_list(char buf[CLI_LIST_BYTES], const json_t *numbers)
{
	size_t count = json_array_size(numbers), used = 0;

	snprintf(buf, CLI_LIST_BYTES, "-");
	for (size_t i = 0; i < count;) {
		json_int_t first = json_integer_value(json_array_get(numbers, i)), last = first;
		char part[48];
		int length;

		while (++i < count && json_integer_value(json_array_get(numbers, i)) == last + 1)
			last++;
		length = snprintf(part, sizeof(part), last > first ? "%s%lld-%lld" : "%s%lld",
			used ? "," : "", (long long)first, (long long)last);
		if (used + (size_t)length + sizeof(",...") > CLI_LIST_BYTES) {
			snprintf(buf + used, CLI_LIST_BYTES - used, ",...");
			break;
		}
		snprintf(buf + used, CLI_LIST_BYTES - used, "%s", part);
		used += (size_t)length;
	}
	return buf;
}
