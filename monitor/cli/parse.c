/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cli/parse.h"

#include <ctype.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define LIST_LIMIT 1024u

/*
 * A non-negative decimal number at the start of `text`, with an optional
 * fraction; strtod alone would take "inf", "nan", "0x1p3" and signs.
 */
static bool decimal(const char *text, double *value, const char **rest)
{
	size_t digits = strspn(text, "0123456789");
	char copy[32];

	if (digits == 0)
		return false;
	if (text[digits] == '.') {
		size_t fraction = strspn(text + digits + 1, "0123456789");

		if (fraction == 0)
			return false;
		digits += 1 + fraction;
	}
	if (digits >= sizeof(copy))
		return false;
	memcpy(copy, text, digits);
	copy[digits] = '\0';
	*value = strtod(copy, NULL);
	*rest = text + digits;
	return true;
}

static bool size_unit(const char *unit, double *factor)
{
	static const char letters[] = "KMGT";
	const char *at;

	*factor = 1;
	if (*unit == '\0' || !strcmp(unit, "B"))
		return true;
	at = strchr(letters, toupper((unsigned char)*unit));
	if (!at)
		return false;
	for (const char *p = letters; p <= at; p++)
		*factor *= 1024;
	return unit[1] == '\0' || !strcmp(unit + 1, "B") || !strcmp(unit + 1, "iB");
}

int parse_size(const char *what, const char *text, uint64_t *bytes, struct err *e)
{
	const char *unit;
	double number, factor;

	if (!decimal(text, &number, &unit) || !size_unit(unit, &factor))
		return err_set(e, EXIT_USAGE, "%s '%s' is not a size; write it like 256M or 4G",
			what, text);
	/* Above 2^53 a double no longer counts bytes, and no machine has that much. */
	if (number * factor > 9007199254740992.0)
		return err_set(e, EXIT_USAGE, "%s '%s' is larger than any machine", what, text);
	if (floor(number * factor) != number * factor)
		return err_set(e, EXIT_USAGE, "%s '%s' is not a whole number of bytes", what, text);
	*bytes = (uint64_t)(number * factor);
	return 0;
}

int parse_number(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *value,
	struct err *e)
{
	size_t digits = strspn(text, "0123456789");
	uint64_t number;

	number = digits > 0 && digits < 19 && text[digits] == '\0' ? strtoull(text, NULL, 10)
								   : UINT64_MAX;
	if (number < min || number > max)
		return err_set(e, EXIT_USAGE, "%s '%s' is not a number from %llu to %llu", what,
			text, (unsigned long long)min, (unsigned long long)max);
	*value = number;
	return 0;
}

/* One "N" or "N-M" of a list; false if it is neither. */
static bool range(const char **text, uint32_t *first, uint32_t *last)
{
	char *end;
	unsigned long value;

	for (uint32_t *to = first;; to = last) {
		if (!isdigit((unsigned char)**text))
			return false;
		value = strtoul(*text, &end, 10);
		if (value >= LIST_LIMIT)
			return false;
		*to = (uint32_t)value;
		*text = end;
		if (to == last)
			return *first <= *last;
		*last = *first;
		if (*end != '-')
			return true;
		(*text)++;
	}
}

int parse_list(const char *what, const char *text, uint32_t *numbers, size_t room, size_t *count,
	struct err *e)
{
	bool member[LIST_LIMIT] = { false };
	const char *at = text;
	size_t n = 0;

	for (;;) {
		uint32_t first, last;

		if (!range(&at, &first, &last) || (*at != ',' && *at != '\0'))
			return err_set(e, EXIT_USAGE,
				"%s '%s' is not a list of numbers; write it like 0,2 or 1-3", what,
				text);
		for (uint32_t i = first; i <= last; i++) {
			n += !member[i];
			member[i] = true;
		}
		if (*at++ == '\0')
			break;
	}
	if (n > room)
		return err_set(e, EXIT_USAGE, "%s '%s' names more than %zu", what, text, room);
	*count = 0;
	for (uint32_t i = 0; i < LIST_LIMIT; i++)
		if (member[i])
			numbers[(*count)++] = i;
	return 0;
}

static bool duration_unit(const char *unit, double *factor)
{
	static const struct {
		const char *name;
		double seconds;
	} units[] = { { "ms", 0.001 }, { "s", 1 }, { "m", 60 }, { "min", 60 }, { "h", 3600 },
		{ "d", 86400 } };

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (!strcmp(units[i].name, unit)) {
			*factor = units[i].seconds;
			return true;
		}
	return false;
}

int parse_duration(const char *what, const char *text, double *seconds, struct err *e)
{
	const char *unit;
	double number, factor = 1;

	if (!decimal(text, &number, &unit) || (*unit != '\0' && !duration_unit(unit, &factor)) ||
		number * factor > 1e8)
		return err_set(e, EXIT_USAGE, "%s '%s' is not a time; write it like 30s, 5m or 2h",
			what, text);
	*seconds = number * factor;
	return 0;
}

int parse_since(const char *what, const char *text, double now, double *time, struct err *e)
{
	const char *unit;
	double number, factor = 1;

	if (!decimal(text, &number, &unit) || (*unit != '\0' && !duration_unit(unit, &factor)) ||
		number > 1e12)
		return err_set(e, EXIT_USAGE,
			"%s '%s' is neither seconds since 1970 nor a time ago such as 90s, 5m or "
			"2h",
			what, text);
	*time = *unit == '\0' ? number : now - number * factor;
	return 0;
}
