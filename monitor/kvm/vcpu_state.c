/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/kvm/vcpu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define STATE_MSRS_MAX 1024u
/* The kernel takes 256 at most (MAX_IO_MSRS). */
#define STATE_MSRS_PER_CALL 200u

/* Time goes on over a reset, as it does on hardware whose clock is not stopped. */
#define MSR_TSC 0x10u
#define MSR_TSC_ADJUST 0x3bu

struct msr_table {
	struct kvm_msrs head;
	struct kvm_msr_entry entries[STATE_MSRS_MAX];
};

struct msr_indices {
	struct kvm_msr_list head;
	uint32_t indices[STATE_MSRS_MAX];
};

struct kvm_vcpu_state {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_xsave xsave;
	struct kvm_xcrs xcrs;
	struct kvm_lapic_state lapic;
	struct kvm_mp_state mp;
	struct kvm_vcpu_events events;
	struct kvm_debugregs debugregs;
	struct msr_table msrs;
};

static int call(const struct kvm_vcpu *v, unsigned long request, const void *arg)
{
	return ioctl(v->fd, request, arg) < 0 ? -errno : 0;
}

static bool wanted(uint32_t index)
{
	return index != MSR_TSC && index != MSR_TSC_ADJUST;
}

/*
 * Reads or writes MSRs. The kernel stops at the first one that this CPU refuses
 * (its list is of all MSRs that KVM knows): that one is dropped. *table keeps
 * those that were taken.
 */
static int each_msr(const struct kvm_vcpu *v, unsigned long request, struct msr_table *table)
{
	struct msr_table *chunk = malloc(sizeof(*chunk));
	uint32_t done = 0, kept = 0;

	if (!chunk)
		return -ENOMEM;
	while (done < table->head.nmsrs) {
		uint32_t left = table->head.nmsrs - done;
		uint32_t asked = left < STATE_MSRS_PER_CALL ? left : STATE_MSRS_PER_CALL;
		uint32_t taken;
		int rc;

		memset(&chunk->head, 0, sizeof(chunk->head));
		chunk->head.nmsrs = asked;
		memcpy(chunk->entries, &table->entries[done], asked * sizeof(chunk->entries[0]));
		rc = ioctl(v->fd, request, chunk);
		if (rc < 0) {
			rc = -errno;
			free(chunk);
			return rc;
		}
		taken = (uint32_t)rc;
		memcpy(&table->entries[kept], chunk->entries, taken * sizeof(chunk->entries[0]));
		kept += taken;
		done += taken < asked ? taken + 1 : taken;
	}
	table->head.nmsrs = kept;
	free(chunk);
	return 0;
}

static int list_msrs(const struct kvm_system *s, struct msr_table *table)
{
	struct msr_indices *list = calloc(1, sizeof(*list));

	if (!list)
		return -ENOMEM;
	list->head.nmsrs = STATE_MSRS_MAX;
	if (ioctl(s->fd, KVM_GET_MSR_INDEX_LIST, list) < 0) {
		int rc = -errno;

		free(list);
		return rc;
	}
	for (uint32_t i = 0; i < list->head.nmsrs; i++)
		if (wanted(list->indices[i]))
			table->entries[table->head.nmsrs++].index = list->indices[i];
	free(list);
	return 0;
}

/* The parts that are one structure and one pair of requests each, in the order of setting. */
static int registers(const struct kvm_vcpu *v, struct kvm_vcpu_state *s, bool set)
{
	const struct {
		unsigned long get, set;
		void *at;
	} parts[] = {
		/* sregs first: the APIC base says how the LAPIC's page is to be read */
		{ KVM_GET_SREGS, KVM_SET_SREGS, &s->sregs },
		{ KVM_GET_LAPIC, KVM_SET_LAPIC, &s->lapic },
		{ KVM_GET_REGS, KVM_SET_REGS, &s->regs },
		{ KVM_GET_XCRS, KVM_SET_XCRS, &s->xcrs },
		{ KVM_GET_XSAVE, KVM_SET_XSAVE, &s->xsave },
		{ KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS, &s->debugregs },
		{ KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS, &s->events },
		{ KVM_GET_MP_STATE, KVM_SET_MP_STATE, &s->mp },
	};

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		int rc = call(v, set ? parts[i].set : parts[i].get, parts[i].at);

		if (rc)
			return rc;
	}
	return 0;
}

int kvm_vcpu_save(struct kvm_vcpu *v, struct kvm_vcpu_state **out)
{
	struct kvm_vcpu_state *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return -ENOMEM;
	rc = registers(v, s, false);
	if (!rc)
		rc = list_msrs(v->system, &s->msrs);
	if (!rc)
		rc = each_msr(v, KVM_GET_MSRS, &s->msrs);
	if (rc) {
		free(s);
		return rc;
	}
	*out = s;
	return 0;
}

int kvm_vcpu_restore(struct kvm_vcpu *v, const struct kvm_vcpu_state *s)
{
	struct kvm_vcpu_state *copy = malloc(sizeof(*copy));
	int rc;

	if (!copy)
		return -ENOMEM;
	*copy = *s;
	rc = registers(v, copy, true);
	if (!rc)
		rc = each_msr(v, KVM_SET_MSRS, &copy->msrs);
	free(copy);
	return rc;
}

void kvm_vcpu_state_free(struct kvm_vcpu_state *s)
{
	free(s);
}
