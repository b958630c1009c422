/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/kvm/cpuid.h"

#include "numa/vnuma.h"

#include <asm/kvm_para.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#define ONES 0xffffffffu

/* A host that says yes to everything, of a vendor's usual leaves. */
static void add(
	struct cpuid_table *t, uint32_t function, uint32_t index, uint32_t eax, uint32_t rest)
{
	t->entries[t->count++] = (struct kvm_cpuid_entry2){ .function = function,
		.index = index,
		.eax = eax,
		.ebx = rest,
		.ecx = rest,
		.edx = rest };
}

static void host(struct cpuid_table *t)
{
	memset(t, 0, sizeof(*t));
	add(t, 0, 0, 0xd, 0x68747541);
	add(t, 1, 0, 0x800f12, ONES);
	add(t, 4, 0, 0xfc000000u | 0xfff << 14 | 1 << 5 | 1, ONES); /* L1 data */
	add(t, 4, 1, 0xfc000000u | 0xfff << 14 | 3 << 5 | 3, ONES); /* L3 */
	add(t, 4, 2, 0, 0);
	add(t, 0xb, 0, 1, 2);
	add(t, 0xb, 1, 5, 64);
	add(t, 0x1f, 0, 1, 2);
	add(t, KVM_CPUID_SIGNATURE, 0, 0x40000010, 0x4b4d564b);
	add(t, KVM_CPUID_FEATURES, 0, ONES, ONES);
	add(t, 0x40000010, 0, 12345, 0);
	add(t, 0x80000001, 0, 0, ONES);
	add(t, 0x80000008, 0, 0x3030, ONES);
	add(t, 0x8000000a, 0, ONES, ONES);
	add(t, 0x8000001d, 0, 0xfff << 14 | 1 << 5 | 1, ONES);
	add(t, 0x8000001d, 3, 0xfff << 14 | 3 << 5 | 3, ONES);
	add(t, 0x8000001e, 0, 77, 77);
}

static struct cpuid_table guest_of(uint32_t cpus, uint32_t packages, uint32_t cpu)
{
	struct cpuid_table supported, out;
	struct cpuid_topology t;
	struct err e;

	host(&supported);
	cr_assert_eq(cpuid_topology_init(&t, cpus, packages, &e), 0, "%s", e.text);
	cr_assert_eq(cpuid_for_vcpu(&supported, &t, cpu, &out), 0);
	return out;
}

static struct kvm_cpuid_entry2 leaf(struct cpuid_table *t, uint32_t function, uint32_t index)
{
	struct kvm_cpuid_entry2 *e = cpuid_find(t, function, index);

	cr_assert(e, "no leaf %x.%u", function, index);
	return *e;
}

Test(cpuid, apic_ids_are_distinct_and_in_their_package)
{
	for (uint32_t cpus = 1; cpus <= 240; cpus++)
		for (uint32_t packages = 1; packages <= VNUMA_MAX && packages <= cpus; packages++) {
			struct cpuid_topology t;
			bool used[256] = { false };
			struct err e;

			if (cpuid_topology_init(&t, cpus, packages, &e))
				continue;
			for (uint32_t i = 0; i < cpus; i++) {
				uint32_t id = cpuid_apic_id(&t, i);

				cr_assert_leq(id, 254u);
				cr_assert(!used[id], "%u CPUs, %u packages: id %u twice", cpus,
					packages, id);
				used[id] = true;
				cr_assert_eq(id >> t.core_bits, vnuma_of_vcpu(cpus, packages, i));
			}
		}
}

Test(cpuid, topologies_beyond_the_ioapic_are_refused)
{
	struct cpuid_topology t;
	struct err e;

	cr_assert_eq(cpuid_topology_init(&t, 240, 8, &e), 0);
	cr_assert_eq(cpuid_topology_init(&t, 240, 1, &e), 0);
	cr_assert_eq(cpuid_topology_init(&t, 240, 7, &e), -EINVAL);
	cr_assert_eq(e.code, EXIT_INVALID);
}

Test(cpuid, feature_bits)
{
	struct cpuid_table g = guest_of(3, 1, 2);
	struct kvm_cpuid_entry2 e = leaf(&g, 1, 0);

	cr_assert_eq(e.ecx, ONES & ~(1u << 5), "all but VMX");
	cr_assert(e.edx & 1u << 28, "HTT with several CPUs");
	cr_assert_eq(e.ebx >> 24, 2);
	cr_assert_eq(e.ebx >> 16 & 0xff, 4, "ids per package, a power of two");
	cr_assert_eq(e.ebx & 0xffff, 0xffff, "brand and CLFLUSH are the host's");
	e = leaf(&g, 0x80000001, 0);
	cr_assert_eq(e.ecx, ONES & ~(1u << 2), "all but SVM");
	cr_assert_eq(leaf(&g, 0x8000000a, 0).eax, 0);
	g = guest_of(2, 1, 0);
	cr_assert(leaf(&g, 1, 0).edx & 1u << 28, "HTT with two CPUs");
	g = guest_of(1, 1, 0);
	cr_assert_not(leaf(&g, 1, 0).edx & 1u << 28, "no HTT with one CPU");
	cr_assert_not(leaf(&g, 0x80000001, 0).ecx & 1u << 1);
}

/* What KVM doesn't list, because it depends on how the VM is made. */
Test(cpuid, bits_that_kvm_leaves_to_us)
{
	struct cpuid_table supported, g;
	struct cpuid_topology t;
	struct err e;

	memset(&supported, 0, sizeof(supported));
	add(&supported, 1, 0, 0, 0);
	cr_assert_eq(cpuid_topology_init(&t, 1, 1, &e), 0);
	cr_assert_eq(cpuid_for_vcpu(&supported, &t, 0, &g), 0);
	cr_assert_eq(leaf(&g, 1, 0).ecx, 1u << 21 | 1u << 24 | 1u << 31,
		"x2APIC, TSC deadline, hypervisor");
}

/* An AMD guest takes an uncorrected error for its end unless it is told that its CPU recovers. */
Test(cpuid, amd_guests_learn_that_memory_errors_are_contained)
{
	static const uint32_t vendors[] = { 0x68747541, 0x6f677948, 0x756e6547 };
	struct cpuid_topology t;
	struct err e;

	cr_assert_eq(cpuid_topology_init(&t, 1, 1, &e), 0);
	for (int i = 0; i < 3; i++) {
		struct cpuid_table supported, g;

		memset(&supported, 0, sizeof(supported));
		add(&supported, 0, 0, 0xd, vendors[i]);
		add(&supported, 0x80000007, 0, 0, 4);
		cr_assert_eq(cpuid_for_vcpu(&supported, &t, 0, &g), 0);
		cr_assert_eq(cpuid_is_amd(&g), i < 2);
		cr_assert_eq(leaf(&g, 0x80000007, 0).ebx, i < 2 ? 7 : 4, "vendor %d", i);
		supported.count = 1;
		cr_assert_eq(cpuid_for_vcpu(&supported, &t, 0, &g), 0);
		cr_assert_null(cpuid_find(&g, 0x80000007, 0), "not invented");
	}
}

Test(cpuid, hypervisor_leaves)
{
	struct cpuid_table g = guest_of(2, 1, 0);
	uint32_t features = leaf(&g, KVM_CPUID_FEATURES, 0).eax;

	cr_assert_eq(leaf(&g, KVM_CPUID_SIGNATURE, 0).eax, KVM_CPUID_FEATURES);
	cr_assert_eq(leaf(&g, KVM_CPUID_SIGNATURE, 0).ebx, 0x4b4d564b);
	cr_assert_null(cpuid_find(&g, 0x40000010, 0));
	cr_assert(features & 1u << KVM_FEATURE_CLOCKSOURCE2);
	cr_assert(features & 1u << KVM_FEATURE_CLOCKSOURCE_STABLE_BIT);
	cr_assert_not(features & 1u << KVM_FEATURE_ASYNC_PF);
	cr_assert_not(features & 1u << KVM_FEATURE_ASYNC_PF_INT);
}

Test(cpuid, topology_leaves_of_two_unequal_packages)
{
	/* 5 CPUs: 3 in package 0, 2 in package 1, whose ids begin at 4 */
	struct cpuid_table g = guest_of(5, 2, 4);

	cr_assert_eq(leaf(&g, 0xb, 0).eax, 0);
	cr_assert_eq(leaf(&g, 0xb, 0).ebx, 1);
	cr_assert_eq(leaf(&g, 0xb, 0).ecx, 0x100);
	cr_assert_eq(leaf(&g, 0xb, 1).eax, 2);
	cr_assert_eq(leaf(&g, 0xb, 1).ebx, 2);
	cr_assert_eq(leaf(&g, 0xb, 1).ecx, 0x201);
	cr_assert_eq(leaf(&g, 0xb, 2).ebx, 0);
	for (uint32_t i = 0; i < 3; i++) {
		cr_assert_eq(leaf(&g, 0xb, i).edx, 5);
		cr_assert_eq(leaf(&g, 0x1f, i).edx, 5);
		cr_assert(leaf(&g, 0xb, i).flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
	}
	cr_assert_eq(leaf(&g, 0x8000001e, 0).eax, 5);
	cr_assert_eq(leaf(&g, 0x8000001e, 0).ebx, 1);
	cr_assert_eq(leaf(&g, 0x8000001e, 0).ecx, 1);
	cr_assert_eq(leaf(&g, 0x80000008, 0).ecx & 0xf0ff, 0x2001, "2 cores, 2 bits of core id");
	cr_assert_eq(leaf(&g, 0x80000008, 0).eax, 0x3030, "address sizes are the host's");
	cr_assert_eq(g.entries[0].eax, 0xd, "highest leaf");
}

Test(cpuid, only_the_last_cache_is_shared)
{
	struct cpuid_table g = guest_of(6, 2, 0);

	cr_assert_eq(leaf(&g, 4, 0).eax >> 14 & 0xfff, 0);
	cr_assert_eq(leaf(&g, 4, 1).eax >> 14 & 0xfff, 3, "4 ids of the package, less one");
	cr_assert_eq(leaf(&g, 4, 0).eax >> 26, 3);
	cr_assert_eq(leaf(&g, 4, 0).eax & 0x3fff, 1 << 5 | 1);
	cr_assert_eq(leaf(&g, 4, 2).eax, 0, "the end of the list stays");
	cr_assert_eq(leaf(&g, 0x8000001d, 0).eax >> 14 & 0xfff, 0);
	cr_assert_eq(leaf(&g, 0x8000001d, 3).eax >> 14 & 0xfff, 3);
}

Test(cpuid, highest_leaf_covers_the_topology)
{
	struct cpuid_table supported, g;
	struct cpuid_topology t;
	struct err e;

	memset(&supported, 0, sizeof(supported));
	add(&supported, 0, 0, 7, 0);
	cr_assert_eq(cpuid_topology_init(&t, 1, 1, &e), 0);
	cr_assert_eq(cpuid_for_vcpu(&supported, &t, 0, &g), 0);
	cr_assert_eq(leaf(&g, 0, 0).eax, 0xb);
	cr_assert_null(cpuid_find(&g, 0x1f, 0), "not invented");
}

Test(cpuid, a_full_table_is_said)
{
	struct cpuid_table supported, g;
	struct cpuid_topology t;
	struct err e;

	memset(&supported, 0, sizeof(supported));
	for (uint32_t i = 0; i < CPUID_ENTRIES_MAX - 2; i++)
		add(&supported, 0xd, i, 0, 0);
	cr_assert_eq(cpuid_topology_init(&t, 1, 1, &e), 0);
	cr_assert_eq(cpuid_for_vcpu(&supported, &t, 0, &g), -ENOSPC);
	supported.count--;
	cr_assert_eq(cpuid_for_vcpu(&supported, &t, 0, &g), 0);
}
