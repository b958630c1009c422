/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_GUEST_FIELDS_H
#define CELLVISOR_MONITOR_GUEST_FIELDS_H

/*
 * Reads the fields of a JSON object that nobody vouches for. The first thing
 * that is wrong is kept, what follows is skipped: one check at the end will do.
 */

#include "monitor/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fields {
	const json_t *object; /* borrowed */
	const char *what;     /* for error texts: "spec", ... */
	struct err *e;
	int rc; /* 0, or the first negative errno, with *e (EXIT_INVALID) */
};

/* `known` ends with NULL: a field of another name is an error, as is anything but an object. */
void fields_begin(struct fields *f, const json_t *value, const char *what, const char *const *known,
	struct err *e);

bool fields_has(const struct fields *f, const char *name);

/*
 * Each leaves *out alone when the field is missing, which is an error only if
 * `required`, or when something is wrong.
 */
void fields_text(struct fields *f, const char *name, char *out, size_t bytes, bool required);
void fields_number(struct fields *f, const char *name, uint64_t min, uint64_t max, uint64_t *out,
	bool required);
void fields_u32(struct fields *f, const char *name, uint32_t min, uint32_t max, uint32_t *out,
	bool required);
void fields_bool(struct fields *f, const char *name, bool *out);

/* An array of at most `max` numbers of 0 .. `limit`. */
void fields_list(struct fields *f, const char *name, uint32_t limit, uint32_t *out, uint32_t max,
	uint32_t *count, bool required);

/* An array of at most `max` elements of any type, borrowed; NULL if missing or wrong. */
const json_t *fields_array(struct fields *f, const char *name, uint32_t max);

/* Any value, borrowed; NULL, an error, if missing. */
const json_t *fields_value(struct fields *f, const char *name);

/* Another thing that is wrong, told by the caller. */
void fields_wrong(struct fields *f, const char *name, const char *text);

#endif
