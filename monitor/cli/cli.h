/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CLI_CLI_H
#define CELLVISOR_MONITOR_CLI_CLI_H

/*
 * What the subcommands of `cellvisor` share. Each is one function in a file of
 * its own: int cli_NAME(int argc, char **argv), where argv[0] is "cellvisor
 * NAME" (so argp prints it) and the result is the exit status (enum exit_code).
 */

#include <argp.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "monitor/err.h"

struct subcommand {
	const char *name;
	const char *summary; /* one line for `cellvisor help`; NULL: internal, not listed */
	int (*run)(int argc, char **argv);
};

/* For argp parsers: the one guest that a command is about, into *name (NULL before); ends on a
 * second. */
void cli_take_guest(struct argp_state *state, char *arg, const char **name);
/* Ends: no guest was named. */
void cli_which_guest(struct argp_state *state);

/* Prints a line of progress on standard error; see client_request(). */
void cli_progress(void *ctx, const json_t *line);

int cli_move(int argc, char **argv);
int cli_drain(int argc, char **argv);
int cli_undrain(int argc, char **argv);
int cli_borrow(int argc, char **argv);
int cli_console(int argc, char **argv);
int cli_down(int argc, char **argv);
int cli_events(int argc, char **argv);
int cli_give_back(int argc, char **argv);
int cli_inject(int argc, char **argv);
/* The same for its first argument 'memory-error'; argv[0] is "cellvisor inject memory-error". */
int cli_inject_memory(int argc, char **argv);
int cli_kill(int argc, char **argv);
int cli_ls(int argc, char **argv);
int cli_move_vcpu(int argc, char **argv);
int cli_revive(int argc, char **argv);
int cli_run(int argc, char **argv);
int cli_show(int argc, char **argv);
int cli_stop(int argc, char **argv);
int cli_topo(int argc, char **argv);
int cli_up(int argc, char **argv);
int cli_vcpus(int argc, char **argv);

/* Prints "cellvisor: TEXT" to stderr and returns e->code. */
int cli_fail(const struct err *e);

/* The same with a text of its own. */
int cli_error(enum exit_code code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A text of a JSON object, "" if it has none of this name. */
const char *cli_text(const json_t *row, const char *key);
/* A number of a JSON object, 0 if it has none. */
uint64_t cli_number(const json_t *row, const char *key);

/* Prints a listing as JSON: sorted keys, indented, newline at the end. */
void cli_print_json(const json_t *value);

/* "12.5 GiB": at most 4 digits and a binary unit. Returns buf. */
#define CLI_SIZE_BYTES 16
const char *cli_size(char buf[CLI_SIZE_BYTES], uint64_t bytes);

/* "0,2-5" of a JSON array of non-negative integers in ascending order; "-" when empty. */
#define CLI_LIST_BYTES 128
const char *cli_list(char buf[CLI_LIST_BYTES], const json_t *numbers);

/*
 * A table whose columns are as wide as their widest cell. Columns beginning
 * with '>' in the heading are aligned to the right.
 */
struct table;
struct table *table_new(const char *const *headings, size_t columns);
/* Appends a row of `columns` texts (copied; NULL prints as "-"). */
void table_row(struct table *t, const char *const *cells);
/* Renders into a new string (to be freed), one line per row, no trailing blanks. */
char *table_text(const struct table *t);
/* Prints to stdout and frees. NULL is fine. */
void table_print(struct table *t);
void table_free(struct table *t);

#endif
