/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/kvm/machine_check.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#define MSR_MCG_STATUS 0x17au
#define MSR_MCG_CTL 0x17bu
#define MSR_MC_CTL(bank) (0x400u + 4 * (bank))
#define MCG_CTL_P (1ull << 8)
#define CR4_MCE (1ull << 6)

static int get_msr(const struct kvm_vcpu *v, uint32_t index, uint64_t *value)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = { .head.nmsrs = 1, .entry = { .index = index } };
	int rc = ioctl(v->fd, KVM_GET_MSRS, &msrs);

	if (rc != 1)
		return rc < 0 ? -errno : -ENXIO;
	*value = msrs.entry.data;
	return 0;
}

int kvm_machine_check_state(
	const struct kvm_vcpu *v, uint32_t bank, struct machine_check_state *state)
{
	struct kvm_sregs sregs;
	int rc = ioctl(v->fd, KVM_GET_SREGS, &sregs) < 0 ? -errno : 0;

	if (rc)
		return rc;
	*state = (struct machine_check_state){
		.amd = v->amd,
		.amd_recovers = v->amd_recovers,
		.banks = v->system->mce_banks,
		.cr4_mce = (sregs.cr4 & CR4_MCE) != 0,
		.mcg_cap = v->system->mce_cap,
	};
	if (bank >= state->banks)
		return 0;
	rc = get_msr(v, MSR_MCG_STATUS, &state->mcg_status);
	if (!rc && (state->mcg_cap & MCG_CTL_P))
		rc = get_msr(v, MSR_MCG_CTL, &state->mcg_ctl);
	if (!rc)
		rc = get_msr(v, MSR_MC_CTL(bank), &state->bank_ctl);
	return rc;
}

int kvm_machine_check_raise(const struct kvm_vcpu *v, const struct machine_check *mc)
{
	struct kvm_x86_mce mce = {
		.status = mc->status,
		.addr = mc->addr,
		.misc = mc->misc,
		.mcg_status = mc->mcg_status,
		.bank = (__u8)mc->bank,
	};

	return ioctl(v->fd, KVM_X86_SET_MCE, &mce) < 0 ? -errno : 0;
}
