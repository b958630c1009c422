/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/kvm/system.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* KVM has had this version since Linux 2.6.22 and says it will not change. */
#define API_VERSION 12

static const struct {
	long cap;
	const char *name;
} needed_caps[] = {
	{ KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP" },
	{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY" },
	{ KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR" },
	{ KVM_CAP_SET_IDENTITY_MAP_ADDR, "KVM_CAP_SET_IDENTITY_MAP_ADDR" },
	{ KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID" },
	{ KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE" },
	{ KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING" },
	{ KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI" },
	{ KVM_CAP_IRQFD, "KVM_CAP_IRQFD" },
	{ KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD" },
	{ KVM_CAP_IOEVENTFD_ANY_LENGTH, "KVM_CAP_IOEVENTFD_ANY_LENGTH" },
	{ KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS" },
	{ KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS" },
	{ KVM_CAP_XSAVE, "KVM_CAP_XSAVE" },
	{ KVM_CAP_XCRS, "KVM_CAP_XCRS" },
	{ KVM_CAP_TSC_DEADLINE_TIMER, "KVM_CAP_TSC_DEADLINE_TIMER" },
	{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
};

static int check_caps(int fd, const char *path, struct err *e)
{
	for (size_t i = 0; i < sizeof(needed_caps) / sizeof(needed_caps[0]); i++)
		if (ioctl(fd, KVM_CHECK_EXTENSION, needed_caps[i].cap) <= 0)
			return err_set(e, EXIT_ENVIRONMENT,
				"%s: the kernel's KVM lacks %s; Linux 5.10 or later has it", path,
				needed_caps[i].name);
	return 0;
}

static int open_error(int error, const char *path, struct err *e)
{
	switch (error) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return err_set(e, EXIT_ENVIRONMENT,
			"no %s: load kvm-amd or kvm-intel, or enable SVM or VMX in the firmware",
			path);
	case EACCES:
	case EPERM:
		return err_set(e, EXIT_ENVIRONMENT,
			"no permission for %s: run as root or join the group that owns it", path);
	default:
		return err_set(e, EXIT_ENVIRONMENT, "%s can't be opened: %s", path,
			strerrordesc_np(error));
	}
}

static uint32_t cap_value(int fd, long cap, uint32_t otherwise)
{
	int value = ioctl(fd, KVM_CHECK_EXTENSION, cap);

	return value > 0 ? (uint32_t)value : otherwise;
}

int kvm_system_open(struct kvm_system *s, const char *path, struct err *e)
{
	struct kvm_system made = { .fd = open(path, O_RDWR | O_CLOEXEC) };
	int rc;

	if (made.fd < 0)
		return open_error(errno, path, e);
	rc = ioctl(made.fd, KVM_GET_API_VERSION, 0);
	if (rc != API_VERSION) {
		rc = rc < 0 ? err_set(e, EXIT_ENVIRONMENT, "%s is not KVM's device", path)
			    : err_set(e, EXIT_ENVIRONMENT, "%s has API version %d instead of %d",
				      path, rc, API_VERSION);
		goto undo_open;
	}
	rc = check_caps(made.fd, path, e);
	if (rc)
		goto undo_open;
	rc = ioctl(made.fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (rc < (int)sizeof(struct kvm_run)) {
		rc = err_set(e, EXIT_ENVIRONMENT, "%s: KVM_GET_VCPU_MMAP_SIZE says %d", path, rc);
		goto undo_open;
	}
	made.run_bytes = (size_t)rc;
	made.vcpus_max =
		cap_value(made.fd, KVM_CAP_MAX_VCPUS, cap_value(made.fd, KVM_CAP_NR_VCPUS, 4));
	made.slots_max = cap_value(made.fd, KVM_CAP_NR_MEMSLOTS, 32);
	made.mce_banks = cap_value(made.fd, KVM_CAP_MCE, 0);
	if (made.mce_banks && ioctl(made.fd, KVM_X86_GET_MCE_CAP_SUPPORTED, &made.mce_cap) < 0)
		made.mce_banks = 0;
	*s = made;
	return 0;

undo_open:
	close(made.fd);
	return rc;
}

void kvm_system_close(struct kvm_system *s)
{
	close(s->fd);
	s->fd = -1;
}
