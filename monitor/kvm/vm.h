/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_KVM_VM_H
#define CELLVISOR_MONITOR_KVM_VM_H

/* One KVM VM object: in a guest, one view of it. */

#include "monitor/err.h"
#include "monitor/gpa.h"
#include "monitor/kvm/system.h"

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

struct kvm_vm {
	int fd;				 /* owned */
	const struct kvm_system *system; /* borrowed */
};

/*
 * Creates a VM with KVM's own PIC, IOAPIC and local APICs, no PIT, and KVM's
 * private pages where monitor/layout.h says. 0, or a negative errno with *e
 * (EXIT_ENVIRONMENT).
 */
int kvm_vm_init(struct kvm_vm *vm, const struct kvm_system *s, struct err *e);

/* All vCPUs are closed before. */
void kvm_vm_fini(struct kvm_vm *vm);

/*
 * Maps [gpa, gpa + bytes) to `hva`, which stays mapped as long as the slot. With `log` KVM
 * keeps a bit for each page that the guest, or KVM for it, has written. 0 or -errno.
 */
int kvm_vm_slot_set(
	struct kvm_vm *vm, uint32_t slot, struct gpa gpa, uint64_t bytes, void *hva, bool log);
int kvm_vm_slot_clear(struct kvm_vm *vm, uint32_t slot);

/*
 * Before any slot with `log`: the log is kept until the slot goes, not begun anew at each look. 0
 * or -errno (KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, Linux 5.2).
 */
int kvm_vm_keep_log(struct kvm_vm *vm);

/* Has page `page` (counted from 0) of a slot of `bytes` bytes with `log` been written? 1, 0 or
 * -errno. */
int kvm_vm_slot_written(const struct kvm_vm *vm, uint32_t slot, uint64_t bytes, uint64_t page);

/* Level of a GSI. Any thread. 0 or -errno. */
int kvm_vm_irq_line(struct kvm_vm *vm, uint32_t gsi, bool level);

/* One message-signalled interrupt, without a route. Any thread. 0 or -errno. */
int kvm_vm_msi(struct kvm_vm *vm, uint64_t address, uint32_t data);

/*
 * Attaches or detaches an eventfd that raises `gsi`. The kernel holds a
 * reference of its own; a closed eventfd detaches itself. 0 or -errno.
 */
int kvm_vm_irqfd(struct kvm_vm *vm, uint32_t gsi, int eventfd, bool attach);

/*
 * A guest write of `bytes` (0: any length) at `gpa` signals the eventfd instead
 * of leaving the guest; only writes of the value *match unless it is NULL. 0 or
 * -errno.
 */
int kvm_vm_ioeventfd(struct kvm_vm *vm, struct gpa gpa, uint32_t bytes, const uint64_t *match,
	int eventfd, bool attach);

/* State of the interrupt controllers that all vCPUs share. Plain values. */
struct kvm_vm_state {
	struct kvm_irqchip chips[3];
};

/* Both while no vCPU runs. 0 or -errno. */
int kvm_vm_save(struct kvm_vm *vm, struct kvm_vm_state *s);
int kvm_vm_restore(struct kvm_vm *vm, const struct kvm_vm_state *s);

#endif
