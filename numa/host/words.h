/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_NUMA_HOST_WORDS_H
#define CELLVISOR_NUMA_HOST_WORDS_H

/*
 * What the deciders of numa/ decided, in words for users. All texts are cut to
 * fit and always terminated. Nodes are called by os_node.
 */

#include <stddef.h>
#include <stdint.h>

#include "monitor/err.h"
#include "numa/cells.h"
#include "numa/place.h"

/* "1.5 GiB", "640 MiB", "12 KiB": rounded down, so that what is called free is free. */
void words_bytes(uint64_t bytes, char *text, size_t text_bytes);

/*
 * Why a guest goes where place_guest() decided, or why nowhere, in one sentence:
 * "cell 2, node 2: the only cell with 3 GiB free on one node", "no cell has
 * 64 GiB free: the largest, cell 0, has 1.8 GiB".
 */
void words_place(const struct place_state *s, const struct place_request *q,
	const struct place_result *r, char *text, size_t text_bytes);

/* The exit code that fits a reason: EXIT_OK for a place that was found. */
enum exit_code words_place_code(enum place_reason reason);

/* What is wrong with an explicit partition: "node 7 is in two cells". `at` as cells_parse() set it.
 */
void words_cells(enum cells_fault fault, uint32_t at, char *text, size_t text_bytes);

#endif
