/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_NUMA_VNUMA_H
#define CELLVISOR_NUMA_VNUMA_H

/*
 * How a guest is divided into the NUMA nodes that it sees: the one rule that the
 * placement, the guest's memory map and its ACPI tables have to agree on.
 * Virtual nodes are consecutive in guest memory and in vCPU numbers.
 */

#include <stdint.h>

#define VNUMA_MAX 8u
/* Guest memory is dealt out in units of huge pages. */
#define VNUMA_UNIT_BYTES (2ull << 20)

/*
 * Memory of virtual node `vnode` of `count` (1..VNUMA_MAX): as equal as whole
 * units allow, the first ones get the units left over; the last one also gets
 * the part that is less than a unit. The sum over all nodes is `memory_bytes`.
 */
uint64_t vnuma_bytes(uint64_t memory_bytes, uint32_t count, uint32_t vnode);

/* The virtual node of vCPU `vcpu` of `vcpus`: as equal as possible, the first nodes get one more.
 */
uint32_t vnuma_of_vcpu(uint32_t vcpus, uint32_t count, uint32_t vcpu);

#endif
