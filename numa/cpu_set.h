/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_NUMA_CPU_SET_H
#define CELLVISOR_NUMA_CPU_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CPU_SET_CPUS 2048u
#define CPU_NONE UINT32_MAX

/* A set of logical CPUs, numbered as the operating system does. */
struct cpu_set {
	uint64_t words[CPU_SET_CPUS / 64];
};

/* `cpu` is below CPU_SET_CPUS. */
void cpu_set_add(struct cpu_set *s, uint32_t cpu);
bool cpu_set_has(const struct cpu_set *s, uint32_t cpu);

/* Adds all CPUs of `more` to *s. */
void cpu_set_merge(struct cpu_set *s, const struct cpu_set *more);

uint32_t cpu_set_count(const struct cpu_set *s);
bool cpu_set_empty(const struct cpu_set *s);
bool cpu_set_equal(const struct cpu_set *a, const struct cpu_set *b);
bool cpu_set_overlap(const struct cpu_set *a, const struct cpu_set *b);

/* The lowest CPU that is at least `from`, or CPU_NONE: for loops over a set. */
uint32_t cpu_set_next(const struct cpu_set *s, uint32_t from);

/*
 * Reads a list as the kernel writes it: "0-3,8". Returns 0, or -EINVAL with
 * *s empty: for an empty list, a range that runs backwards, a number beyond
 * CPU_SET_CPUS or any other character (one newline at the end is allowed).
 */
int cpu_set_parse(const char *text, struct cpu_set *s);

/*
 * Writes the list form into `text`, always terminated. Returns its length, or
 * -ENOSPC, with what fitted, when `bytes` is too small.
 */
int cpu_set_format(const struct cpu_set *s, char *text, size_t bytes);

#endif
