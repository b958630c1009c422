/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_GUEST_PLAN_H
#define CELLVISOR_MONITOR_GUEST_PLAN_H

/*
 * From what was asked for and where it was placed to the machine that the guest
 * sees: APIC ids, NUMA nodes with CPUs, memory and distances, and which host
 * CPUs a vCPU may use. Pure.
 */

#include "monitor/boot/acpi.h"
#include "monitor/guest/home.h"
#include "monitor/guest/spec.h"
#include "monitor/kvm/cpuid.h"
#include "numa/cpu_set.h"

#include <stdint.h>

/* The hole below 4 GiB may cut one node's memory in two. */
#define PLAN_RANGES_MAX (VNUMA_MAX + 1)

struct guest_plan {
	struct cpuid_topology topology;
	uint32_t vnode_count; /* 0: flat */
	uint32_t apic_ids[SPEC_CPUS_MAX];
	uint32_t vnode_of[SPEC_CPUS_MAX];
	struct cpu_set pins[SPEC_CPUS_MAX]; /* by vCPU, if `pinned` */
	bool pinned;
	struct cpu_set all_cpus;	      /* of the home */
	struct cpu_set vnode_cpus[VNUMA_MAX]; /* host CPUs near a vNUMA node's memory */
	uint32_t host_node[VNUMA_MAX];	      /* that has most of its memory */
	struct acpi_range ranges[PLAN_RANGES_MAX];
	uint32_t range_count;
	uint8_t distances[VNUMA_MAX * VNUMA_MAX];
};

/* `spec` and `home` have been checked. 0, or a negative errno with *e (EXIT_INVALID). */
int guest_plan_init(struct guest_plan *p, const struct guest_spec *spec,
	const struct guest_home *home, struct err *e);

/* For acpi_build(); borrows from *p. */
struct acpi_machine guest_plan_machine(const struct guest_plan *p);

/* Host CPUs of vCPU `cpu`; borrowed. */
const struct cpu_set *guest_plan_cpus(const struct guest_plan *p, uint32_t cpu);

#endif
