/* SPDX-License-Identifier: BSD-2-Clause */
#include "numa/vnuma.h"

#include "numa/check.h"

uint64_t vnuma_bytes(uint64_t memory_bytes, uint32_t count, uint32_t vnode)
{
	uint64_t units = memory_bytes / VNUMA_UNIT_BYTES;
	uint64_t bytes;

	CHECK(count > 0 && vnode < count);
	bytes = (units / count + (vnode < units % count)) * VNUMA_UNIT_BYTES;
	return vnode + 1 == count ? bytes + memory_bytes % VNUMA_UNIT_BYTES : bytes;
}

uint32_t vnuma_of_vcpu(uint32_t vcpus, uint32_t count, uint32_t vcpu)
{
	uint32_t more, each;

	CHECK(count > 0 && vcpu < vcpus);
	each = vcpus / count;
	more = vcpus % count;
	if (vcpu < more * (each + 1))
		return vcpu / (each + 1);
	return more + (vcpu - more * (each + 1)) / each;
}
