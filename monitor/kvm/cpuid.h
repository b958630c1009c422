/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_KVM_CPUID_H
#define CELLVISOR_MONITOR_KVM_CPUID_H

/*
 * What CPUID tells the guest: what KVM supports on this host, less what we don't
 * offer, with the guest's own topology. One thread per core, one package with a
 * last-level cache of its own per vNUMA node.
 */

#include "monitor/err.h"
#include "monitor/kvm/system.h"

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#define CPUID_ENTRIES_MAX 256u

/* AMD's leaf of reliability features: overflow of a bank is no harm; uncorrected errors are
 * contained. */
#define CPUID_RAS 0x80000007u
#define CPUID_RAS_EBX_OVERFLOW_RECOVERY (1u << 0)
#define CPUID_RAS_EBX_SUCCOR (1u << 1)

struct cpuid_table {
	uint32_t count;
	struct kvm_cpuid_entry2 entries[CPUID_ENTRIES_MAX];
};

/* Packages have 1 << core_bits APIC ids each; the last may have fewer cores. */
struct cpuid_topology {
	uint32_t cpus;
	uint32_t packages;
	uint32_t core_bits;
};

/* Asks KVM_GET_SUPPORTED_CPUID. 0, or -errno with *e (EXIT_ENVIRONMENT). */
int cpuid_supported(const struct kvm_system *s, struct cpuid_table *t, struct err *e);

/*
 * The topology of `cpus` vCPUs over `packages` packages (1 .. VNUMA_MAX,
 * at most cpus). 0, or
 * -EINVAL (EXIT_INVALID) if an APIC id would be above 254, which no IOAPIC
 * reaches. Pure, as all that follows.
 */
int cpuid_topology_init(struct cpuid_topology *t, uint32_t cpus, uint32_t packages, struct err *e);

/* Package of vCPU `cpu`: its virtual NUMA node, by the rule of numa/vnuma.h. */
uint32_t cpuid_package(const struct cpuid_topology *t, uint32_t cpu);

/* APIC id of vCPU `cpu`: also the id that KVM gets for it. */
uint32_t cpuid_apic_id(const struct cpuid_topology *t, uint32_t cpu);

/*
 * Fills *out with what vCPU `cpu` is told. *supported is what the host offers.
 * 0, or -ENOSPC if the table would have more than CPUID_ENTRIES_MAX entries.
 */
int cpuid_for_vcpu(const struct cpuid_table *supported, const struct cpuid_topology *t,
	uint32_t cpu, struct cpuid_table *out);

/* Is it a table of an AMD or Hygon CPU? */
bool cpuid_is_amd(const struct cpuid_table *t);

/* The entry of a leaf, NULL if there is none. */
struct kvm_cpuid_entry2 *cpuid_find(struct cpuid_table *t, uint32_t function, uint32_t index);

#endif
