/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_NUMA_CHECK_H
#define CELLVISOR_NUMA_CHECK_H

/*
 * CHECK states what only a bug of ours can make false. It is always compiled
 * in, ends only this process, and its condition has no side effects. What a
 * guest, a peer or the environment can cause is never a CHECK.
 */
#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			check_failed(#cond, __FILE__, __LINE__);                                   \
	} while (0)

/*
 * Says what failed and aborts. Lives in numa/host: deciders only declare it.
 * (The attribute is for cppcheck 2.10, which doesn't know _Noreturn.)
 */
_Noreturn void check_failed(const char *cond, const char *file, int line) __attribute__((noreturn));

#endif
