/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_CLASSIFY_H
#define CELLVISOR_FAULTCONTAIN_CLASSIFY_H

/*
 * What a fault means: the table of section 6 of docs/architecture.md as data, and
 * the words for the end of a guest process.
 */

#include <stdbool.h>
#include <stdint.h>

enum fault {
	FAULT_MEMORY_UNUSED,  /* uncorrected error in guest RAM, not consumed (SRAO) */
	FAULT_MEMORY_USED,    /* the same, consumed by a vCPU (SRAR) */
	FAULT_GUEST_PROCESS,  /* error in a guest process's own memory */
	FAULT_MONITOR_MEMORY, /* error in a cell monitor's own memory */
	FAULT_RING_MEMORY,    /* error in a ring of the fabric */
	FAULT_CORRECTED_STORM,
	FAULT_CPU_LOST, /* hangs or offline, others of its node work */
	FAULT_NODE_DEAD,
	FAULT_MONITOR_GONE,
	FAULT_MONITOR_HANGS,
	FAULT_GUEST_GONE, /* guest process ended by itself or a signal */
	FAULT_MESSAGE,	  /* lost, repeated, late, damaged */
	FAULT_IO,	  /* disk or network error */
	FAULT_COUNT,
};

/* Bits, in the order in which they are tried; the first that works ends it. */
enum fault_action {
	FAULT_DO_RETRY = 1u << 0,	    /* send again within the deadline */
	FAULT_DO_HEAL = 1u << 1,	    /* from a good copy; nobody notices */
	FAULT_DO_REPORT_IO = 1u << 2,	    /* the device reports it to the guest */
	FAULT_DO_TELL_GUEST = 1u << 3,	    /* by a machine check; the guest decides */
	FAULT_DO_MOVE_VCPUS = 1u << 4,	    /* to other CPUs of the cell */
	FAULT_DO_DRAIN_NODE = 1u << 5,	    /* pages and vCPUs move away */
	FAULT_DO_RESET_LINK = 1u << 6,	    /* the link is set up again with fresh rings */
	FAULT_DO_RESTART_MONITOR = 1u << 7, /* next incarnation, adopts its guests */
	FAULT_DO_END_GUEST = 1u << 8,	    /* with a record; restarted if asked for */
	FAULT_DO_RECOVER = 1u << 9,	    /* agreement, fencing, ending of who needed it */
};

/* Whom a fault may hurt at worst, if everything that can heal it fails. */
enum fault_reach {
	FAULT_HURTS_NOBODY,
	FAULT_HURTS_GUEST, /* the one guest concerned */
	FAULT_HURTS_CELL,  /* the guests whose needs include the cell */
};

struct fault_rule {
	const char *name; /* kebab-case, for events */
	uint32_t actions; /* enum fault_action */
	enum fault_reach reach;
};

/* The rule of a fault; borrowed, constant. */
const struct fault_rule *fault_rule(enum fault fault);

/* How a guest process ended, as its exit status tells. */
enum guest_end {
	GUEST_END_POWERED_OFF,	/* exit 0 */
	GUEST_END_ERROR,	/* another exit status: it said why */
	GUEST_END_MEMORY_ERROR, /* SIGBUS: lost memory */
	GUEST_END_BUG,		/* SIGSEGV, SIGABRT, SIGILL, SIGFPE, SIGTRAP: a bug of ours */
	GUEST_END_SANDBOX,	/* SIGSYS: a system call that is not allowed */
	GUEST_END_KILLED,	/* SIGKILL: by a person, the kernel (out of memory) or a fence */
	GUEST_END_SIGNAL,	/* another signal */
	GUEST_END_COUNT,
};

/* `code` is the signal's number (Linux x86-64) if `by_signal`, else the exit status. */
enum guest_end classify_guest_end(bool by_signal, int code);
/* The fault that this end counts as; FAULT_COUNT if it is none. */
enum fault guest_end_fault(enum guest_end end);

/* In words, for the cause in events; never NULL. */
const char *guest_end_text(enum guest_end end);

#endif
