/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CLI_PARSE_H
#define CELLVISOR_MONITOR_CLI_PARSE_H

/*
 * Words of the command line into values. All return 0, or -errno with *e
 * (EXIT_USAGE) naming the word, the option it belongs to (`what`, e.g.
 * "--memory") and what would be right. Nothing is changed on failure.
 */

#include <stddef.h>
#include <stdint.h>

#include "monitor/err.h"

/* "268435456", "256M", "1.5G", "64KiB": K, M, G, T are powers of 1024. */
int parse_size(const char *what, const char *text, uint64_t *bytes, struct err *e);

/* A plain decimal number from `min` to `max`. */
int parse_number(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *value,
	struct err *e);

/*
 * "0,2-4": numbers below 1024, each at most once in the result, ascending.
 * *count is at most `room`.
 */
int parse_list(const char *what, const char *text, uint32_t *numbers, size_t room, size_t *count,
	struct err *e);

/* "30", "1.5s", "10m", "2h", "1d": seconds. */
int parse_duration(const char *what, const char *text, double *seconds, struct err *e);

/*
 * A point in time: seconds since 1970 as `events --json` prints them ("0": the
 * beginning), or a duration with its unit: that long before `now`.
 */
int parse_since(const char *what, const char *text, double now, double *time, struct err *e);

#endif
