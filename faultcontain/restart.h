/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_RESTART_H
#define CELLVISOR_FAULTCONTAIN_RESTART_H

/*
 * When a guest that ended by a fault is started again. The pause before each
 * attempt doubles from RESTART_FIRST_S up to RESTART_LAST_S; a guest that ran for
 * RESTART_STEADY_S begins to count anew. Times are seconds of one clock.
 */

#include <stdbool.h>
#include <stdint.h>

#define RESTART_FIRST_S 1.0
#define RESTART_LAST_S 60.0
#define RESTART_STEADY_S 600.0

struct restart_past {
	bool on_failure;   /* its policy; false: never */
	uint32_t max;	   /* how often in a row; 0: any number */
	bool failed;	   /* it crashed or was lost; false: it was stopped, or lives */
	uint32_t restarts; /* in a row, before the life that ended */
	double started, ended;
	uint32_t attempts; /* that failed since it ended */
	double attempted;  /* when the last of them failed */
};

enum restart_verdict {
	RESTART_NOT,   /* no policy, or it did not fail */
	RESTART_SPENT, /* it has been restarted as often as it may */
	RESTART_LATER, /* at *due */
	RESTART_NOW,
};

enum restart_verdict restart_decide(const struct restart_past *p, double now, double *due);

/* What counts for the next life: how often in a row it will have been restarted. */
uint32_t restart_count(const struct restart_past *p);

#endif
