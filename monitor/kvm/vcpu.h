/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_KVM_VCPU_H
#define CELLVISOR_MONITOR_KVM_VCPU_H

/* One virtual CPU of a VM object. Apart from kvm_vcpu_kick(), one thread at a time. */

#include "monitor/err.h"
#include "monitor/kvm/cpuid.h"
#include "monitor/kvm/vm.h"

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

struct kvm_vcpu {
	int fd;		     /* owned */
	struct kvm_run *run; /* mapped, owned */
	size_t run_bytes;
	/* What the guest takes it for, by its CPUID: an AMD (or Hygon) CPU, with MCA recovery. */
	bool amd, amd_recovers;
	const struct kvm_system *system; /* borrowed */
};

/*
 * Creates the vCPU with this APIC id: the one with id 0 boots, the others wait
 * for INIT and SIPI in the kernel. Sets CPUID, machine check banks and the MSRs
 * that a BIOS would have set. 0, or -errno with *e (EXIT_ENVIRONMENT).
 */
int kvm_vcpu_init(struct kvm_vcpu *v, struct kvm_vm *vm, uint32_t apic_id,
	const struct cpuid_table *cpuid, struct err *e);
void kvm_vcpu_fini(struct kvm_vcpu *v);

/*
 * KVM_RUN: 0 with v->run->exit_reason, -EINTR after a kick or a signal, or
 * another negative errno. Waits in the kernel while the vCPU waits for its SIPI.
 */
int kvm_vcpu_run(struct kvm_vcpu *v);

/*
 * Makes the current or next kvm_vcpu_run() return -EINTR after it has completed
 * what the last exit began; stays so until kvm_vcpu_unkick(). Any thread. The
 * caller also has to send the vCPU's thread a signal, for the case that it is in
 * the guest.
 */
void kvm_vcpu_kick(struct kvm_vcpu *v);
void kvm_vcpu_unkick(struct kvm_vcpu *v);

/* A segment with base 0 and limit 4 GiB - 1; present, DPL 0, S and G set. */
struct kvm_flat_segment {
	uint16_t selector;
	uint8_t type, l, db;
};

/* Where and how the boot CPU starts: 64-bit mode, paging on. */
struct kvm_entry {
	uint64_t rip, rsp, rsi, rflags;
	uint64_t cr0, cr3, cr4, efer;
	uint64_t gdt_base;
	uint16_t gdt_limit;
	struct kvm_flat_segment code, data;
};

/* To be called on a fresh or restored vCPU. 0 or -errno. */
int kvm_vcpu_enter(struct kvm_vcpu *v, const struct kvm_entry *entry);

/*
 * The whole architectural state of a vCPU, to put it back to what it was before
 * the guest ran: a reset without a new VM object, as KVM_CREATE_VM may have to
 * wait for CPUs that hang. The time stamp counter is not part of it.
 */
struct kvm_vcpu_state;

/* 0 with *out to be freed by kvm_vcpu_state_free(), or -errno. */
int kvm_vcpu_save(struct kvm_vcpu *v, struct kvm_vcpu_state **out);
int kvm_vcpu_restore(struct kvm_vcpu *v, const struct kvm_vcpu_state *s);
void kvm_vcpu_state_free(struct kvm_vcpu_state *s);

/* What is in v->run, in words: "triple fault", "KVM internal error 1", ... for records. */
#define KVM_EXIT_TEXT_BYTES 128
const char *kvm_vcpu_exit_text(const struct kvm_vcpu *v, char buf[KVM_EXIT_TEXT_BYTES]);

#endif
