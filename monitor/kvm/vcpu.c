/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/kvm/vcpu.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define MSR_IA32_MISC_ENABLE 0x1a0u
#define MISC_ENABLE_FAST_STRING 1u
#define MSR_MTRR_DEF_TYPE 0x2ffu
#define MTRR_ENABLE 0x800u
#define MTRR_WRITE_BACK 6u
#define MSR_MCG_CTL 0x17bu
#define MCG_CTL_P (1ull << 8)

static int call(const struct kvm_vcpu *v, unsigned long request, void *arg)
{
	return ioctl(v->fd, request, arg) < 0 ? -errno : 0;
}

static int set_cpuid(const struct kvm_vcpu *v, const struct cpuid_table *cpuid)
{
	struct kvm_cpuid2 *table;
	int rc;

	table = calloc(1, sizeof(*table) + cpuid->count * sizeof(table->entries[0]));
	if (!table)
		return -ENOMEM;
	table->nent = cpuid->count;
	memcpy(table->entries, cpuid->entries, cpuid->count * sizeof(table->entries[0]));
	rc = call(v, KVM_SET_CPUID2, table);
	free(table);
	return rc;
}

/* One MSR; those that this CPU doesn't have are left out. */
static int set_msr(const struct kvm_vcpu *v, uint32_t index, uint64_t value)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = { .head.nmsrs = 1, .entry = { .index = index, .data = value } };

	return call(v, KVM_SET_MSRS, &msrs);
}

/*
 * What firmware leaves behind: memory is write-back by default, fast strings are
 * on, all machine check banks report.
 */
static int set_msrs(const struct kvm_vcpu *v, const struct kvm_system *s)
{
	int rc = set_msr(v, MSR_MTRR_DEF_TYPE, MTRR_ENABLE | MTRR_WRITE_BACK);

	if (!rc)
		rc = set_msr(v, MSR_IA32_MISC_ENABLE, MISC_ENABLE_FAST_STRING);
	if (!rc && s->mce_banks && (s->mce_cap & MCG_CTL_P))
		rc = set_msr(v, MSR_MCG_CTL, ~0ull);
	return rc;
}

static void note_vendor(struct kvm_vcpu *v, const struct cpuid_table *cpuid)
{
	v->amd = cpuid_is_amd(cpuid);
	v->amd_recovers = false;
	for (uint32_t i = 0; i < cpuid->count; i++)
		if (cpuid->entries[i].function == CPUID_RAS)
			v->amd_recovers = (cpuid->entries[i].ebx & CPUID_RAS_EBX_SUCCOR) != 0;
}

static int setup_mce(const struct kvm_vcpu *v, const struct kvm_system *s)
{
	uint64_t cap = s->mce_cap | s->mce_banks;

	return s->mce_banks ? call(v, KVM_X86_SETUP_MCE, &cap) : 0;
}

int kvm_vcpu_init(struct kvm_vcpu *v, struct kvm_vm *vm, uint32_t apic_id,
	const struct cpuid_table *cpuid, struct err *e)
{
	const char *step = "KVM_CREATE_VCPU";
	int rc;

	v->fd = ioctl(vm->fd, KVM_CREATE_VCPU, apic_id);
	if (v->fd < 0) {
		rc = -errno;
		goto out;
	}
	step = "mapping kvm_run";
	v->system = vm->system;
	v->run_bytes = vm->system->run_bytes;
	note_vendor(v, cpuid);
	v->run = mmap(NULL, v->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED) {
		rc = -errno;
		goto undo_create;
	}
	step = "KVM_SET_CPUID2";
	rc = set_cpuid(v, cpuid);
	if (rc)
		goto undo_map;
	step = "KVM_X86_SETUP_MCE";
	rc = setup_mce(v, vm->system);
	if (rc)
		goto undo_map;
	step = "KVM_SET_MSRS";
	rc = set_msrs(v, vm->system);
	if (rc)
		goto undo_map;
	return 0;

undo_map:
	munmap(v->run, v->run_bytes);
undo_create:
	close(v->fd);
out:
	return err_set(e, EXIT_ENVIRONMENT, "KVM: %s of vCPU %u failed: %s", step, apic_id,
		strerrordesc_np(-rc));
}

void kvm_vcpu_fini(struct kvm_vcpu *v)
{
	munmap(v->run, v->run_bytes);
	close(v->fd);
	v->fd = -1;
}

int kvm_vcpu_run(struct kvm_vcpu *v)
{
	int rc;

	/* EAGAIN: a vCPU that waited for INIT or SIPI got it. */
	do
		rc = call(v, KVM_RUN, NULL);
	while (rc == -EAGAIN);
	return rc;
}

void kvm_vcpu_kick(struct kvm_vcpu *v)
{
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_RELEASE);
}

void kvm_vcpu_unkick(struct kvm_vcpu *v)
{
	__atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_RELEASE);
}

static struct kvm_segment segment(const struct kvm_flat_segment *flat)
{
	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = flat->selector,
		.type = flat->type,
		.present = 1,
		.s = 1,
		.g = 1,
		.l = flat->l,
		.db = flat->db,
	};
}

int kvm_vcpu_enter(struct kvm_vcpu *v, const struct kvm_entry *entry)
{
	struct kvm_regs regs = {
		.rip = entry->rip,
		.rsp = entry->rsp,
		.rsi = entry->rsi,
		.rflags = entry->rflags,
	};
	struct kvm_sregs sregs;
	int rc = call(v, KVM_GET_SREGS, &sregs);

	if (rc)
		return rc;
	sregs.cs = segment(&entry->code);
	sregs.ds = segment(&entry->data);
	sregs.es = sregs.fs = sregs.gs = sregs.ss = sregs.ds;
	sregs.gdt.base = entry->gdt_base;
	sregs.gdt.limit = entry->gdt_limit;
	sregs.cr0 = entry->cr0;
	sregs.cr3 = entry->cr3;
	sregs.cr4 = entry->cr4;
	sregs.efer = entry->efer;
	rc = call(v, KVM_SET_SREGS, &sregs);
	if (!rc)
		rc = call(v, KVM_SET_REGS, &regs);
	return rc;
}

const char *kvm_vcpu_exit_text(const struct kvm_vcpu *v, char buf[KVM_EXIT_TEXT_BYTES])
{
	const struct kvm_run *run = v->run;

	switch (run->exit_reason) {
	case KVM_EXIT_SHUTDOWN:
		snprintf(buf, KVM_EXIT_TEXT_BYTES, "triple fault");
		break;
	case KVM_EXIT_FAIL_ENTRY:
		snprintf(buf, KVM_EXIT_TEXT_BYTES,
			"the CPU refused to enter the guest, reason 0x%llx",
			run->fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		snprintf(buf, KVM_EXIT_TEXT_BYTES, "KVM internal error %u%s",
			run->internal.suberror,
			run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION
				? " (an instruction that it can't emulate)"
				: "");
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		snprintf(buf, KVM_EXIT_TEXT_BYTES, "system event %u", run->system_event.type);
		break;
	default:
		snprintf(buf, KVM_EXIT_TEXT_BYTES, "unexpected KVM exit %u", run->exit_reason);
		break;
	}
	return buf;
}
