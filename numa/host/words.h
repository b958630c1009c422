/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_NUMA_HOST_WORDS_H
#define CELLVISOR_NUMA_HOST_WORDS_H

#include <stddef.h>
#include <stdint.h>

#include "monitor/err.h"
#include "numa/place.h"

/* "1.5 GiB", "640 MiB", "12 KiB": two digits where they matter. Always terminated. */
void words_bytes(uint64_t bytes, char *text, size_t text_bytes);

/*
 * Why a guest goes where place_guest() decided, or why nowhere, in one sentence
 * for the user: "cell 2, node 2: the least busy cell (...)". Cells and nodes are
 * called by their numbers, nodes by os_node. Always terminated.
 */
void words_place(const struct place_state *s, const struct place_request *q,
	const struct place_result *r, char *text, size_t text_bytes);

/* The exit code that fits a refusal. */
enum exit_code words_place_code(enum place_reason reason);

#endif
