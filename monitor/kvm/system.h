/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_KVM_SYSTEM_H
#define CELLVISOR_MONITOR_KVM_SYSTEM_H

/* /dev/kvm itself (Documentation/virt/kvm/api.rst of Linux, as all of this folder). */

#include "monitor/err.h"

#include <stddef.h>
#include <stdint.h>

#define KVM_DEVICE_PATH "/dev/kvm"

struct kvm_system {
	int fd;		    /* owned */
	size_t run_bytes;   /* size of the area shared by a vCPU and user space */
	uint32_t vcpus_max; /* of one VM */
	uint32_t slots_max; /* memory slots of one VM */
	uint32_t mce_banks; /* machine check banks a vCPU can have; 0: none */
	uint64_t mce_cap;   /* MCG_CAP bits that KVM offers */
};

/*
 * Opens `path` (KVM_DEVICE_PATH; tests give others) and asks for all that this
 * folder uses. 0, or a negative errno with *e: EXIT_ENVIRONMENT naming the path
 * and what to do: no such device, no permission, not KVM, another API version,
 * or the capability that is missing. Creates no VM.
 */
int kvm_system_open(struct kvm_system *s, const char *path, struct err *e);
void kvm_system_close(struct kvm_system *s);

#endif
