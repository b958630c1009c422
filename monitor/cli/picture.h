/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CLI_PICTURE_H
#define CELLVISOR_MONITOR_CLI_PICTURE_H

/*
 * Draws a machine for a terminal: a box per cell with its nodes, CPUs, a bar of
 * its memory and the guests that live there; the matrix of distances below. Pure:
 * values in, text out.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "numa/cells.h"
#include "numa/machine.h"

#define PICTURE_WORD_BYTES 40u
#define PICTURE_COLUMNS_MIN 60u

/* A cell's state now; all zero when no cells are up. */
struct picture_cell {
	char state[16]; /* as `ls` has it: "alive", "dead", ...; "": not up */
	bool free_known;
	uint64_t free_bytes; /* what guests may still take */
};

struct picture_guest {
	char name[PICTURE_WORD_BYTES];
	char state[16]; /* as `ls` has it: "running", "lost", ... */
	uint32_t cell;
	uint32_t vcpus;
	uint64_t memory_bytes;
	uint32_t node_count;
	uint32_t os_nodes[MACHINE_NODES_MAX];	/* that hold its memory */
	uint64_t node_bytes[MACHINE_NODES_MAX]; /* how much on each; all 0: not known */
};

struct picture {
	const struct machine *machine; /* borrowed, as all pointers here */
	const struct cells *cells;
	const struct picture_cell *states; /* [cells->cell_count]; NULL: no cells are up */
	const struct picture_guest *guests;
	size_t guest_count;
};

struct picture_style {
	uint32_t columns; /* to fit into, at least PICTURE_COLUMNS_MIN */
	bool utf8;	  /* lines and marks, else plain ASCII */
	bool colour;	  /* escape sequences of a terminal */
};

/* Writes the picture; whole lines, without trailing blanks. */
void picture_draw(const struct picture *p, const struct picture_style *style, FILE *out);

#endif
