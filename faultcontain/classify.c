/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/classify.h"

#include "numa/check.h"

static const struct fault_rule rules[FAULT_COUNT] = {
	[FAULT_MEMORY_UNUSED] = { "memory-error-unused", FAULT_DO_HEAL | FAULT_DO_TELL_GUEST,
		FAULT_HURTS_NOBODY },
	[FAULT_MEMORY_USED] = { "memory-error-used",
		FAULT_DO_HEAL | FAULT_DO_TELL_GUEST | FAULT_DO_END_GUEST, FAULT_HURTS_GUEST },
	[FAULT_GUEST_PROCESS] = { "guest-process-memory-error", FAULT_DO_END_GUEST,
		FAULT_HURTS_GUEST },
	[FAULT_MONITOR_MEMORY] = { "monitor-memory-error", FAULT_DO_RESTART_MONITOR,
		FAULT_HURTS_NOBODY },
	[FAULT_RING_MEMORY] = { "ring-memory-error", FAULT_DO_RESET_LINK | FAULT_DO_RESTART_MONITOR,
		FAULT_HURTS_NOBODY },
	[FAULT_CORRECTED_STORM] = { "corrected-error-storm", FAULT_DO_DRAIN_NODE,
		FAULT_HURTS_NOBODY },
	[FAULT_CPU_LOST] = { "cpu-lost", FAULT_DO_MOVE_VCPUS | FAULT_DO_RECOVER, FAULT_HURTS_CELL },
	[FAULT_NODE_DEAD] = { "node-dead", FAULT_DO_RECOVER, FAULT_HURTS_CELL },
	[FAULT_MONITOR_GONE] = { "monitor-gone", FAULT_DO_RESTART_MONITOR, FAULT_HURTS_NOBODY },
	[FAULT_MONITOR_HANGS] = { "monitor-hangs", FAULT_DO_RESTART_MONITOR, FAULT_HURTS_NOBODY },
	[FAULT_GUEST_GONE] = { "guest-process-gone", FAULT_DO_END_GUEST, FAULT_HURTS_GUEST },
	[FAULT_MESSAGE] = { "message-error", FAULT_DO_RETRY | FAULT_DO_RESET_LINK,
		FAULT_HURTS_NOBODY },
	[FAULT_IO] = { "io-error", FAULT_DO_REPORT_IO, FAULT_HURTS_NOBODY },
};

const struct fault_rule *fault_rule(enum fault fault)
{
	CHECK((unsigned)fault < FAULT_COUNT);
	return &rules[fault];
}

/* Numbers of signal(7) on Linux x86-64: part of its ABI. */
enum {
	LINUX_SIGILL = 4,
	LINUX_SIGTRAP = 5,
	LINUX_SIGABRT = 6,
	LINUX_SIGBUS = 7,
	LINUX_SIGFPE = 8,
	LINUX_SIGKILL = 9,
	LINUX_SIGSEGV = 11,
	LINUX_SIGSYS = 31
};

enum guest_end classify_guest_end(bool by_signal, int code)
{
	if (!by_signal)
		return code == 0 ? GUEST_END_POWERED_OFF : GUEST_END_ERROR;
	switch (code) {
	case LINUX_SIGBUS:
		return GUEST_END_MEMORY_ERROR;
	case LINUX_SIGILL:
	case LINUX_SIGTRAP:
	case LINUX_SIGABRT:
	case LINUX_SIGFPE:
	case LINUX_SIGSEGV:
		return GUEST_END_BUG;
	case LINUX_SIGSYS:
		return GUEST_END_SANDBOX;
	case LINUX_SIGKILL:
		return GUEST_END_KILLED;
	default:
		return GUEST_END_SIGNAL;
	}
}

struct end_rule {
	enum fault fault;
	const char *text;
};

static const struct end_rule ends[GUEST_END_COUNT] = {
	[GUEST_END_POWERED_OFF] = { FAULT_COUNT, "the guest powered off" },
	[GUEST_END_ERROR] = { FAULT_GUEST_GONE, "the guest process gave up" },
	[GUEST_END_MEMORY_ERROR] = { FAULT_GUEST_PROCESS,
		"the guest process used memory that was lost (SIGBUS)" },
	[GUEST_END_BUG] = { FAULT_GUEST_GONE, "the guest process crashed" },
	[GUEST_END_SANDBOX] = { FAULT_GUEST_GONE,
		"the guest process made a system call that its sandbox forbids (SIGSYS)" },
	[GUEST_END_KILLED] = { FAULT_GUEST_GONE,
		"the guest process was killed (SIGKILL), or the kernel ran out of memory" },
	[GUEST_END_SIGNAL] = { FAULT_GUEST_GONE, "the guest process was ended by a signal" },
};

enum fault guest_end_fault(enum guest_end end)
{
	CHECK((unsigned)end < GUEST_END_COUNT);
	return ends[end].fault;
}

const char *guest_end_text(enum guest_end end)
{
	return (unsigned)end < GUEST_END_COUNT ? ends[end].text : "?";
}
