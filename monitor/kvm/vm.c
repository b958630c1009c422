/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/kvm/vm.h"

#include "monitor/layout.h"
#include "numa/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define KVM_PAGE_BYTES 4096u

static int call(const struct kvm_vm *vm, unsigned long request, void *arg)
{
	return ioctl(vm->fd, request, arg) < 0 ? -errno : 0;
}

static int failed(struct err *e, const char *what, int rc)
{
	return err_set(e, EXIT_ENVIRONMENT, "KVM: %s failed: %s", what, strerrordesc_np(-rc));
}

/*
 * KVM_CREATE_VM is interrupted by any signal and wants to be asked again.
 */
static int create(const struct kvm_system *s)
{
	int fd;

	do
		fd = ioctl(s->fd, KVM_CREATE_VM, 0);
	while (fd < 0 && errno == EINTR);
	return fd < 0 ? -errno : fd;
}

int kvm_vm_init(struct kvm_vm *vm, const struct kvm_system *s, struct err *e)
{
	uint64_t identity_map = LAYOUT_KVM_IDENTITY_MAP;
	int rc;

	vm->system = s;
	vm->fd = create(s);
	if (vm->fd < 0)
		return failed(e, "KVM_CREATE_VM", vm->fd);
	rc = call(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
	if (rc) {
		rc = failed(e, "KVM_SET_IDENTITY_MAP_ADDR", rc);
		goto undo_create;
	}
	if (ioctl(vm->fd, KVM_SET_TSS_ADDR, LAYOUT_KVM_TSS) < 0) {
		rc = failed(e, "KVM_SET_TSS_ADDR", -errno);
		goto undo_create;
	}
	rc = call(vm, KVM_CREATE_IRQCHIP, NULL);
	if (rc) {
		rc = failed(e, "KVM_CREATE_IRQCHIP", rc);
		goto undo_create;
	}
	return 0;

undo_create:
	close(vm->fd);
	return rc;
}

void kvm_vm_fini(struct kvm_vm *vm)
{
	close(vm->fd);
	vm->fd = -1;
}

int kvm_vm_slot_set(
	struct kvm_vm *vm, uint32_t slot, struct gpa gpa, uint64_t bytes, void *hva, bool log)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = log ? (uint32_t)KVM_MEM_LOG_DIRTY_PAGES : 0,
		.guest_phys_addr = gpa.addr,
		.memory_size = bytes,
		.userspace_addr = (uint64_t)(uintptr_t)hva,
	};

	return call(vm, KVM_SET_USER_MEMORY_REGION, &region);
}

int kvm_vm_keep_log(struct kvm_vm *vm)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
		.args[0] = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE,
	};

	return call(vm, KVM_ENABLE_CAP, &cap);
}

int kvm_vm_slot_written(const struct kvm_vm *vm, uint32_t slot, uint64_t bytes, uint64_t page)
{
	uint64_t words = (bytes / KVM_PAGE_BYTES + 63) / 64;
	uint64_t *bits = calloc(words, sizeof(*bits));
	struct kvm_dirty_log log = { .slot = slot, .dirty_bitmap = bits };
	int rc;

	if (!bits)
		return -ENOMEM;
	CHECK(page / 64 < words);
	rc = call(vm, KVM_GET_DIRTY_LOG, &log);
	if (!rc)
		rc = bits[page / 64] >> page % 64 & 1;
	free(bits);
	return rc;
}

int kvm_vm_slot_clear(struct kvm_vm *vm, uint32_t slot)
{
	struct kvm_userspace_memory_region region = { .slot = slot };

	return call(vm, KVM_SET_USER_MEMORY_REGION, &region);
}

int kvm_vm_irq_line(struct kvm_vm *vm, uint32_t gsi, bool level)
{
	struct kvm_irq_level line = { .irq = gsi, .level = level };

	return call(vm, KVM_IRQ_LINE, &line);
}

int kvm_vm_msi(struct kvm_vm *vm, uint64_t address, uint32_t data)
{
	struct kvm_msi msi = {
		.address_lo = (uint32_t)address,
		.address_hi = (uint32_t)(address >> 32),
		.data = data,
	};

	/* A positive or zero result says whether a vCPU took it: the guest's affair. */
	return call(vm, KVM_SIGNAL_MSI, &msi);
}

int kvm_vm_irqfd(struct kvm_vm *vm, uint32_t gsi, int eventfd, bool attach)
{
	struct kvm_irqfd irqfd = {
		.fd = (uint32_t)eventfd,
		.gsi = gsi,
		.flags = attach ? 0 : KVM_IRQFD_FLAG_DEASSIGN,
	};

	return call(vm, KVM_IRQFD, &irqfd);
}

int kvm_vm_ioeventfd(struct kvm_vm *vm, struct gpa gpa, uint32_t bytes, const uint64_t *match,
	int eventfd, bool attach)
{
	struct kvm_ioeventfd io = {
		.addr = gpa.addr,
		.len = bytes,
		.fd = eventfd,
		.datamatch = match ? *match : 0,
		.flags = (match ? (uint32_t)KVM_IOEVENTFD_FLAG_DATAMATCH : 0) |
			 (attach ? 0 : (uint32_t)KVM_IOEVENTFD_FLAG_DEASSIGN),
	};

	return call(vm, KVM_IOEVENTFD, &io);
}

int kvm_vm_save(struct kvm_vm *vm, struct kvm_vm_state *s)
{
	static const uint32_t ids[] = { KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE,
		KVM_IRQCHIP_IOAPIC };

	memset(s, 0, sizeof(*s));
	for (size_t i = 0; i < 3; i++) {
		s->chips[i].chip_id = ids[i];
		int rc = call(vm, KVM_GET_IRQCHIP, &s->chips[i]);

		if (rc)
			return rc;
	}
	return 0;
}

int kvm_vm_restore(struct kvm_vm *vm, const struct kvm_vm_state *s)
{
	for (size_t i = 0; i < 3; i++) {
		struct kvm_irqchip chip = s->chips[i];
		int rc = call(vm, KVM_SET_IRQCHIP, &chip);

		if (rc)
			return rc;
	}
	return 0;
}
