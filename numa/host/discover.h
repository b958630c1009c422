/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_NUMA_HOST_DISCOVER_H
#define CELLVISOR_NUMA_HOST_DISCOVER_H

#include "monitor/err.h"
#include "numa/machine.h"

/*
 * Reads a machine with hwloc: this one, an XML file that lstopo wrote, or a
 * synthetic description ("numa:4 core:2 pu:1"). What hwloc does not know of
 * distances is filled in: 10 to itself, 20 to others. CPUs that are offline or
 * that our control group forbids are left out. 0 with *m, which passes
 * machine_check(); or a negative errno with *e.
 */
int discover_this_machine(struct machine *m, struct err *e);
int discover_xml(const char *path, struct machine *m, struct err *e);
int discover_synthetic(const char *description, struct machine *m, struct err *e);

#endif
