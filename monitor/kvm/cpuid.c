/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/kvm/cpuid.h"

#include "numa/check.h"
#include "numa/vnuma.h"

#include <asm/kvm_para.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define APIC_ID_MAX 254u

/* Leaf 1. */
#define ECX_VMX (1u << 5)
#define ECX_X2APIC (1u << 21)
#define ECX_TSC_DEADLINE (1u << 24)
#define ECX_HYPERVISOR (1u << 31)
#define EDX_HTT (1u << 28)
/* Leaf 0x80000001. */
#define ECX_CMP_LEGACY (1u << 1)
#define ECX_SVM (1u << 2)

#define LEAF_TOPOLOGY 0xbu
#define LEAF_TOPOLOGY_V2 0x1fu
#define LEVEL_TYPE_SMT 1u
#define LEVEL_TYPE_CORE 2u
#define LAST_LEVEL_CACHE 3u

/*
 * Paravirtual features of KVM that are of use to a guest of one VM object: its
 * clock, and fewer exits for interrupts and TLB flushes. Not asynchronous page
 * faults: they need an interrupt of their own and hide what memory does.
 */
#define KVM_FEATURES                                                                               \
	((1u << KVM_FEATURE_CLOCKSOURCE) | (1u << KVM_FEATURE_NOP_IO_DELAY) |                      \
		(1u << KVM_FEATURE_CLOCKSOURCE2) | (1u << KVM_FEATURE_STEAL_TIME) |                \
		(1u << KVM_FEATURE_PV_EOI) | (1u << KVM_FEATURE_PV_UNHALT) |                       \
		(1u << KVM_FEATURE_PV_TLB_FLUSH) | (1u << KVM_FEATURE_PV_SEND_IPI) |               \
		(1u << KVM_FEATURE_PV_SCHED_YIELD) | (1u << KVM_FEATURE_CLOCKSOURCE_STABLE_BIT))

int cpuid_supported(const struct kvm_system *s, struct cpuid_table *t, struct err *e)
{
	struct kvm_cpuid2 *table;
	int rc = 0;

	table = calloc(1, sizeof(*table) + sizeof(t->entries));
	if (!table)
		return err_set(e, EXIT_FAILED, "out of memory");
	table->nent = CPUID_ENTRIES_MAX;
	if (ioctl(s->fd, KVM_GET_SUPPORTED_CPUID, table) < 0) {
		rc = err_set(e, EXIT_ENVIRONMENT, "KVM: KVM_GET_SUPPORTED_CPUID failed: %s",
			strerrordesc_np(errno));
	} else {
		CHECK(table->nent <= CPUID_ENTRIES_MAX);
		t->count = table->nent;
		memcpy(t->entries, table->entries, table->nent * sizeof(t->entries[0]));
	}
	free(table);
	return rc;
}

static uint32_t bits_for(uint32_t values)
{
	uint32_t bits = 0;

	while (1u << bits < values)
		bits++;
	return bits;
}

int cpuid_topology_init(struct cpuid_topology *t, uint32_t cpus, uint32_t packages, struct err *e)
{
	struct cpuid_topology made = { .cpus = cpus, .packages = packages };

	CHECK(packages >= 1 && packages <= VNUMA_MAX && cpus >= packages);
	made.core_bits = bits_for((cpus + packages - 1) / packages);
	if (cpuid_apic_id(&made, cpus - 1) > APIC_ID_MAX)
		return err_set(e, EXIT_INVALID,
			"%u CPUs in %u NUMA nodes would need APIC ids above %u: use fewer CPUs, or "
			"a "
			"power of two of them per node",
			cpus, packages, APIC_ID_MAX);
	*t = made;
	return 0;
}

uint32_t cpuid_package(const struct cpuid_topology *t, uint32_t cpu)
{
	return vnuma_of_vcpu(t->cpus, t->packages, cpu);
}

static uint32_t first_cpu(const struct cpuid_topology *t, uint32_t package)
{
	uint32_t more = t->cpus % t->packages;

	return package * (t->cpus / t->packages) + (package < more ? package : more);
}

static uint32_t cores_of(const struct cpuid_topology *t, uint32_t package)
{
	return first_cpu(t, package + 1) - first_cpu(t, package);
}

uint32_t cpuid_apic_id(const struct cpuid_topology *t, uint32_t cpu)
{
	uint32_t package = cpuid_package(t, cpu);

	return package << t->core_bits | (cpu - first_cpu(t, package));
}

struct kvm_cpuid_entry2 *cpuid_find(struct cpuid_table *t, uint32_t function, uint32_t index)
{
	for (uint32_t i = 0; i < t->count; i++)
		if (t->entries[i].function == function && t->entries[i].index == index)
			return &t->entries[i];
	return NULL;
}

/* "AuthenticAMD" and "HygonGenuine", as EBX of leaf 0 has their beginning. */
#define EBX_AMD 0x68747541u
#define EBX_HYGON 0x6f677948u

bool cpuid_is_amd(const struct cpuid_table *t)
{
	for (uint32_t i = 0; i < t->count; i++)
		if (t->entries[i].function == 0)
			return t->entries[i].ebx == EBX_AMD || t->entries[i].ebx == EBX_HYGON;
	return false;
}

static void set_bit_if(uint32_t *word, uint32_t bit, bool on)
{
	*word = on ? *word | bit : *word & ~bit;
}

/* Number of threads that share a cache, less one, in its field of leaf 4 or 0x8000001d. */
static void set_cache_sharing(struct kvm_cpuid_entry2 *e, uint32_t sharers)
{
	uint32_t level = e->eax >> 5 & 7;

	e->eax &= ~(0xfffu << 14);
	if (level == LAST_LEVEL_CACHE)
		e->eax |= (sharers - 1) << 14;
}

/* Intel SDM, volume 2A, CPUID; AMD APM, volume 3, appendix E. */
static void adjust(struct kvm_cpuid_entry2 *e, const struct cpuid_topology *t, uint32_t cpu)
{
	uint32_t package = cpuid_package(t, cpu);
	uint32_t cores = cores_of(t, package);
	uint32_t apic_id = cpuid_apic_id(t, cpu);
	uint32_t ids = 1u << t->core_bits;

	switch (e->function) {
	case 0x0:
		if (e->eax < LEAF_TOPOLOGY)
			e->eax = LEAF_TOPOLOGY;
		break;
	case 0x1:
		e->ebx = (e->ebx & 0xffffu) | ids << 16 | apic_id << 24;
		e->ecx &= ~ECX_VMX;
		e->ecx |= ECX_X2APIC | ECX_TSC_DEADLINE | ECX_HYPERVISOR;
		set_bit_if(&e->edx, EDX_HTT, ids > 1);
		break;
	case 0x4:
		if (!(e->eax & 0x1f))
			break; /* no more caches */
		set_cache_sharing(e, ids);
		e->eax = (e->eax & ~(0x3fu << 26)) | (ids - 1 < 0x3f ? ids - 1 : 0x3f) << 26;
		break;
	case KVM_CPUID_FEATURES:
		e->eax &= KVM_FEATURES;
		e->edx = 0;
		break;
	case 0x80000001:
		e->ecx &= ~ECX_SVM;
		set_bit_if(&e->ecx, ECX_CMP_LEGACY, cores > 1 && (e->ecx & ECX_CMP_LEGACY));
		break;
	case 0x80000008:
		/* NC and ApicIdCoreIdSize; reserved, and 0, on Intel */
		if (e->ecx)
			e->ecx = (e->ecx & ~0xf0ffu) | (cores - 1) | t->core_bits << 12;
		break;
	case 0x8000000a: /* SVM */
		e->eax = e->ebx = e->ecx = e->edx = 0;
		break;
	case 0x8000001d:
		if (e->eax & 0x1f)
			set_cache_sharing(e, ids);
		break;
	case 0x8000001e:
		e->eax = apic_id;
		e->ebx = cpu - first_cpu(t, package); /* core id; one thread per core */
		e->ecx = package;
		break;
	default:
		break;
	}
}

static bool left_out(uint32_t function)
{
	/* made anew for the guest's topology */
	if (function == LEAF_TOPOLOGY || function == LEAF_TOPOLOGY_V2)
		return true;
	/* of the hypervisor's leaves, KVM's own two */
	return function >> 16 == 0x4000 && function != KVM_CPUID_SIGNATURE &&
	       function != KVM_CPUID_FEATURES;
}

static int append(struct cpuid_table *t, const struct kvm_cpuid_entry2 *e)
{
	if (t->count == CPUID_ENTRIES_MAX)
		return -ENOSPC;
	t->entries[t->count++] = *e;
	return 0;
}

/* Three levels: threads, cores, and the end. */
static int append_topology(
	struct cpuid_table *out, uint32_t function, const struct cpuid_topology *t, uint32_t cpu)
{
	const struct kvm_cpuid_entry2 levels[] = {
		{ .eax = 0, .ebx = 1, .ecx = LEVEL_TYPE_SMT << 8 },
		{ .eax = t->core_bits,
			.ebx = cores_of(t, cpuid_package(t, cpu)),
			.ecx = 1 | LEVEL_TYPE_CORE << 8 },
		{ .ecx = 2 },
	};

	for (uint32_t i = 0; i < 3; i++) {
		struct kvm_cpuid_entry2 e = levels[i];
		int rc;

		e.function = function;
		e.index = i;
		e.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
		e.edx = cpuid_apic_id(t, cpu);
		rc = append(out, &e);
		if (rc)
			return rc;
	}
	return 0;
}

int cpuid_for_vcpu(const struct cpuid_table *supported, const struct cpuid_topology *t,
	uint32_t cpu, struct cpuid_table *out)
{
	bool v2 = false;
	int rc;

	out->count = 0;
	for (uint32_t i = 0; i < supported->count; i++) {
		struct kvm_cpuid_entry2 e = supported->entries[i];

		v2 = v2 || e.function == LEAF_TOPOLOGY_V2;
		if (left_out(e.function))
			continue;
		adjust(&e, t, cpu);
		/* KVM says 0x40000001, but also when it has more leaves */
		if (e.function == KVM_CPUID_SIGNATURE)
			e.eax = KVM_CPUID_FEATURES;
		rc = append(out, &e);
		if (rc)
			return rc;
	}
	/*
	 * What the host's CPU offers here doesn't matter: machine checks reach the guest in our
	 * words alone, and those are always contained.
	 */
	if (cpuid_is_amd(out) && cpuid_find(out, CPUID_RAS, 0))
		cpuid_find(out, CPUID_RAS, 0)->ebx |=
			CPUID_RAS_EBX_OVERFLOW_RECOVERY | CPUID_RAS_EBX_SUCCOR;
	rc = append_topology(out, LEAF_TOPOLOGY, t, cpu);
	if (!rc && v2)
		rc = append_topology(out, LEAF_TOPOLOGY_V2, t, cpu);
	return rc;
}
