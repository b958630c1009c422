/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_KVM_MACHINE_CHECK_H
#define CELLVISOR_MONITOR_KVM_MACHINE_CHECK_H

/* Machine checks of a vCPU. In its thread, outside of kvm_vcpu_run(). */

#include "faultcontain/memory_error.h"
#include "monitor/kvm/vcpu.h"

/* Asks KVM whether the vCPU can take one in `bank`. 0 or -errno. */
int kvm_machine_check_state(
	const struct kvm_vcpu *v, uint32_t bank, struct machine_check_state *state);

/* Puts it into its bank and, unless it is silent, raises #MC with the next run. 0 or -errno. */
int kvm_machine_check_raise(const struct kvm_vcpu *v, const struct machine_check *mc);

#endif
