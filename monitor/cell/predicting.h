/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_PREDICTING_H
#define CELLVISOR_MONITOR_CELL_PREDICTING_H

/*
 * Corrected memory errors, before uncorrected ones follow: feeds faultcontain/corrected.h and does
 * what it decides.
 *
 * The lowest live cell reads the kernel's trace for all and tells each cell of the errors in its
 * nodes; when its monitor dies or leaves the agreed view, the next lowest reads on: the trace
 * itself is the kernel's and waits. Every cell counts its own errors, retires its own pages and
 * drains itself. A monitor's counts end with it.
 *
 * Whatever may hang in the kernel - reading the trace, soft offline - is done by processes of their
 * own, one each, whose pipe and end the monitor's loop watches.
 */

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct monitor;

void predicting_open(struct monitor *m);
void predicting_close(struct monitor *m);

/* A CELL_OP_CORRECTED of a peer. */
void predicting_message(struct monitor *m, const void *body, size_t bytes);

void predicting_turn(struct monitor *m, uint64_t now_ns);
uint64_t predicting_due(const struct monitor *m);

/* The cell is to be used again: its nodes count from zero. */
void predicting_pardon(struct monitor *m);

/* Adds "corrected_errors" to the reply of this cell, if there were any. */
void predicting_describe(const struct monitor *m, json_t *reply);

/* The same of a peer's reply, as far as it makes sense, to a cell's row. */
void predicting_copy(json_t *row, const json_t *reply);

/* The processes, subcommands of the program that are internal. */
int errors_reader_main(int argc, char **argv);
int retire_page_main(int argc, char **argv);

#endif
