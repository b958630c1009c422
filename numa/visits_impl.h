/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_NUMA_VISITS_IMPL_H
#define CELLVISOR_NUMA_VISITS_IMPL_H

/* Shared by the files of the visits alone. */

#include "numa/visits.h"

void visit_copy_name(char to[VISIT_NAME_BYTES], const char *name);

/* Writes a visitor down, in place of what is known of the same vCPU. false: no room. */
bool visitors_note(struct visitors *v, uint32_t home, const struct visit_msg *m);

#endif
