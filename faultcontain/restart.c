/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/restart.h"

static uint32_t in_a_row(const struct restart_past *p)
{
	return p->ended - p->started >= RESTART_STEADY_S ? 0 : p->restarts;
}

static double pause_of(uint32_t times)
{
	double pause = RESTART_FIRST_S;

	for (uint32_t i = 0; i < times && pause < RESTART_LAST_S; i++)
		pause *= 2;
	return pause < RESTART_LAST_S ? pause : RESTART_LAST_S;
}

enum restart_verdict restart_decide(const struct restart_past *p, double now, double *due)
{
	uint32_t before = in_a_row(p);

	if (!p->on_failure || !p->failed)
		return RESTART_NOT;
	if (p->max && before >= p->max)
		return RESTART_SPENT;
	*due = p->attempts ? p->attempted + pause_of(p->attempts) : p->ended + pause_of(before);
	/* A clock that was set back must not put it off for long. */
	if (*due > now + RESTART_LAST_S)
		*due = now + RESTART_LAST_S;
	return *due <= now ? RESTART_NOW : RESTART_LATER;
}

uint32_t restart_count(const struct restart_past *p)
{
	uint32_t before = in_a_row(p);

	return before < UINT32_MAX ? before + 1 : before;
}
