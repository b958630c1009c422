/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_NEEDS_H
#define CELLVISOR_FAULTCONTAIN_NEEDS_H

/*
 * The cells whose failure would hurt a guest. Each need carries the life in
 * which that cell was started afresh (`born`, see member.h): if it has died and
 * come back meanwhile, what the guest had there is gone all the same.
 */

#include <stdbool.h>
#include <stdint.h>

#include "faultcontain/cellset.h"

/* A guest that needs more cells is not contained any more: adding is refused. */
#define NEEDS_MAX 64u

struct need {
	uint16_t cell;
	uint32_t born;
};

/* A value; zero-initialized is empty. Ascending by cell, each cell once. */
struct needs {
	uint16_t count;
	struct need list[NEEDS_MAX];
};

/* False when NEEDS_MAX are in use. A cell that is there already gets the higher `born`. */
bool needs_add(struct needs *needs, uint16_t cell, uint32_t born);
void needs_remove(struct needs *needs, uint16_t cell);
bool needs_has(const struct needs *needs, uint16_t cell);
void needs_cells(const struct needs *needs, struct cellset *cells);

/* Would the death of these cells hurt the guest? */
bool needs_hurt(const struct needs *needs, const struct cellset *dead);

enum guest_fate {
	FATE_UNAFFECTED,
	FATE_ADOPT, /* its monitor was replaced; it goes on and registers with the new one */
	FATE_ENDED, /* it needed a cell that died */
	FATE_LOST,  /* its home cell died and took it along */
	FATE_COUNT,
};

/*
 * What becomes of a guest of `home` when the cells `dead` died and the monitors
 * of `replaced` were replaced, at once. The worst that applies.
 */
enum guest_fate needs_fate(const struct needs *needs, uint16_t home, const struct cellset *dead,
	const struct cellset *replaced);

/* Kebab-case; never NULL. */
const char *guest_fate_name(enum guest_fate fate);

#endif
