/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/inject/node_plan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "numa/check.h"

/* Kernel: include/uapi/linux/kernel-page-flags.h. */
#define KPF_SLAB 7
#define KPF_HWPOISON 19
#define KPF_NOPAGE 20
#define KPF_ZERO_PAGE 24
#define KPF_PGTABLE 26
#define KPF_RESERVED 32

/* Kernel: Documentation/admin-guide/mm/pagemap.rst. */
#define PAGEMAP_FRAME_MASK ((1ull << 55) - 1)
#define PAGEMAP_EXCLUSIVE (1ull << 56)
#define PAGEMAP_SHARED (1ull << 61) /* file page or shared memory */
#define PAGEMAP_SWAPPED (1ull << 62)
#define PAGEMAP_PRESENT (1ull << 63)

#define MASK_WORD_BITS 32u

int plan_frames_add(struct plan_frames *f, uint64_t first, uint64_t end)
{
	CHECK(first < end);
	if (f->count && f->ranges[f->count - 1].end == first) {
		f->ranges[f->count - 1].end = end;
		return 0;
	}
	if (f->count == PLAN_RANGES_MAX)
		return -ENOSPC;
	f->ranges[f->count].first = first;
	f->ranges[f->count].end = end;
	f->count++;
	return 0;
}

bool plan_frames_has(const struct plan_frames *f, uint64_t frame)
{
	for (size_t i = 0; i < f->count; i++)
		if (frame >= f->ranges[i].first && frame < f->ranges[i].end)
			return true;
	return false;
}

bool plan_area_of(const char *maps_line, struct plan_area *area)
{
	struct plan_area a;
	char *end;
	const char *name;

	a.start = strtoull(maps_line, &end, 16);
	if (end == maps_line || *end != '-')
		return false;
	maps_line = end + 1;
	a.end = strtoull(maps_line, &end, 16);
	if (end == maps_line || *end != ' ' || a.start >= a.end)
		return false;
	/* Permissions, offset, device and inode come before the name. */
	name = end;
	for (int field = 0; field < 4; field++) {
		while (*name == ' ')
			name++;
		while (*name && *name != ' ' && *name != '\n')
			name++;
	}
	while (*name == ' ')
		name++;
	if (*name && *name != '\n' && strncmp(name, "/memfd:", 7) != 0 &&
		strncmp(name, "[heap]", 6) != 0 && strncmp(name, "[stack", 6) != 0 &&
		strncmp(name, "[anon", 5) != 0)
		return false;
	*area = a;
	return true;
}

bool plan_frame_of(uint64_t pagemap_entry, uint64_t *frame)
{
	if (!(pagemap_entry & PAGEMAP_PRESENT) || (pagemap_entry & PAGEMAP_SWAPPED))
		return false;
	if (!(pagemap_entry & (PAGEMAP_SHARED | PAGEMAP_EXCLUSIVE)))
		return false;
	*frame = pagemap_entry & PAGEMAP_FRAME_MASK;
	return *frame != 0;
}

bool plan_may_poison(uint64_t kpageflags)
{
	const uint64_t never = 1ull << KPF_SLAB | 1ull << KPF_HWPOISON | 1ull << KPF_NOPAGE |
			       1ull << KPF_ZERO_PAGE | 1ull << KPF_PGTABLE | 1ull << KPF_RESERVED;

	return !(kpageflags & never);
}

void plan_subtract(const struct cpu_set *from, const struct cpu_set *without, struct cpu_set *left)
{
	struct cpu_set result = { { 0 } };

	for (uint32_t cpu = cpu_set_next(from, 0); cpu != CPU_NONE;
		cpu = cpu_set_next(from, cpu + 1))
		if (!cpu_set_has(without, cpu))
			cpu_set_add(&result, cpu);
	*left = result;
}

bool plan_move(const struct cpu_set *now, const struct cpu_set *dying, const struct cpu_set *others,
	struct cpu_set *to)
{
	CHECK(!cpu_set_empty(others) && !cpu_set_overlap(others, dying));
	if (!cpu_set_overlap(now, dying))
		return false;
	plan_subtract(now, dying, to);
	/* What is left may be offline: there it can't go. */
	if (!cpu_set_overlap(to, others))
		*to = *others;
	return true;
}

bool plan_is_member(const struct proc_id *members, size_t count, pid_t pid)
{
	for (size_t i = 0; i < count; i++)
		if (members[i].pid == pid)
			return true;
	return false;
}

int plan_mask_write(const struct cpu_set *s, char *text, size_t bytes)
{
	uint32_t words[CPU_SET_CPUS / MASK_WORD_BITS] = { 0 }, top = 0;
	size_t used = 0;

	for (uint32_t cpu = cpu_set_next(s, 0); cpu != CPU_NONE; cpu = cpu_set_next(s, cpu + 1)) {
		top = cpu / MASK_WORD_BITS;
		words[top] |= 1u << cpu % MASK_WORD_BITS;
	}
	for (uint32_t i = top + 1; i-- > 0;) {
		int n = snprintf(
			text + used, bytes - used, i == top ? "%" PRIx32 : ",%08" PRIx32, words[i]);

		if (n < 0 || (size_t)n >= bytes - used)
			return -ENOSPC;
		used += (size_t)n;
	}
	return 0;
}
