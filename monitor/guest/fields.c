/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/guest/fields.h"

#include <errno.h>
#include <string.h>

static bool is_known(const char *key, const char *const *known)
{
	for (; *known; known++)
		if (!strcmp(key, *known))
			return true;
	return false;
}

void fields_begin(struct fields *f, const json_t *value, const char *what, const char *const *known,
	struct err *e)
{
	const char *key;
	json_t *field;

	*f = (struct fields){ .object = value, .what = what, .e = e };
	if (!json_is_object(value)) {
		f->rc = err_set(e, EXIT_INVALID, "%s has to be a JSON object", what);
		return;
	}
	json_object_foreach((json_t *)value, key, field)
	{
		if (!is_known(key, known)) {
			f->rc = err_set(
				e, EXIT_INVALID, "%s has an unknown field '%.40s'", what, key);
			return;
		}
	}
}

bool fields_has(const struct fields *f, const char *name)
{
	return !f->rc && json_object_get(f->object, name);
}

void fields_wrong(struct fields *f, const char *name, const char *text)
{
	if (!f->rc)
		f->rc = err_set(f->e, EXIT_INVALID, "%s: '%s' %s", f->what, name, text);
}

static const json_t *get(struct fields *f, const char *name, bool required)
{
	const json_t *value;

	if (f->rc)
		return NULL;
	value = json_object_get(f->object, name);
	if (!value && required)
		fields_wrong(f, name, "is missing");
	return value;
}

const json_t *fields_value(struct fields *f, const char *name)
{
	return get(f, name, true);
}

void fields_text(struct fields *f, const char *name, char *out, size_t bytes, bool required)
{
	const json_t *value = get(f, name, required);
	size_t length;

	if (!value)
		return;
	if (!json_is_string(value)) {
		fields_wrong(f, name, "has to be a text");
		return;
	}
	length = json_string_length(value);
	if (strlen(json_string_value(value)) != length)
		fields_wrong(f, name, "has a NUL character in it");
	else if (length >= bytes && !f->rc)
		f->rc = err_set(f->e, EXIT_INVALID, "%s: '%s' is longer than %zu bytes", f->what,
			name, bytes - 1);
	else
		memcpy(out, json_string_value(value), length + 1);
}

static bool number_in(const json_t *value, uint64_t min, uint64_t max)
{
	json_int_t number;

	if (!json_is_integer(value))
		return false;
	number = json_integer_value(value);
	return number >= 0 && (uint64_t)number >= min && (uint64_t)number <= max;
}

void fields_number(struct fields *f, const char *name, uint64_t min, uint64_t max, uint64_t *out,
	bool required)
{
	const json_t *value = get(f, name, required);

	if (!value)
		return;
	if (number_in(value, min, max))
		*out = (uint64_t)json_integer_value(value);
	else
		f->rc = err_set(f->e, EXIT_INVALID, "%s: '%s' has to be an integer of %llu to %llu",
			f->what, name, (unsigned long long)min, (unsigned long long)max);
}

void fields_u32(struct fields *f, const char *name, uint32_t min, uint32_t max, uint32_t *out,
	bool required)
{
	uint64_t number = *out;

	fields_number(f, name, min, max, &number, required);
	*out = (uint32_t)number;
}

void fields_bool(struct fields *f, const char *name, bool *out)
{
	const json_t *value = get(f, name, false);

	if (!value)
		return;
	if (json_is_boolean(value))
		*out = json_is_true(value);
	else
		fields_wrong(f, name, "has to be true or false");
}

const json_t *fields_array(struct fields *f, const char *name, uint32_t max)
{
	const json_t *value = get(f, name, false);

	if (!value)
		return NULL;
	if (!json_is_array(value)) {
		fields_wrong(f, name, "has to be an array");
		return NULL;
	}
	if (json_array_size(value) > max) {
		f->rc = err_set(f->e, EXIT_INVALID, "%s: '%s' has more than %u elements", f->what,
			name, max);
		return NULL;
	}
	return value;
}

void fields_list(struct fields *f, const char *name, uint32_t limit, uint32_t *out, uint32_t max,
	uint32_t *count, bool required)
{
	const json_t *array;
	size_t size;

	if (required && !get(f, name, true))
		return;
	array = fields_array(f, name, max);
	if (!array)
		return;
	size = json_array_size(array);
	for (size_t i = 0; i < size; i++) {
		const json_t *value = json_array_get(array, i);

		if (!number_in(value, 0, limit)) {
			f->rc = err_set(f->e, EXIT_INVALID,
				"%s: '%s' has to be an array of integers of 0 to %u", f->what, name,
				limit);
			return;
		}
		out[i] = (uint32_t)json_integer_value(value);
	}
	*count = (uint32_t)size;
}
