/* SPDX-License-Identifier: BSD-2-Clause */
#include "numa/check.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void check_failed(const char *cond, const char *file, int line)
{
	(void)fprintf(stderr, "cellvisor: bug at %s:%d: %s does not hold\n", file, line, cond);
	abort();
}
