/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_MEMORY_ERROR_H
#define CELLVISOR_FAULTCONTAIN_MEMORY_ERROR_H

/*
 * Uncorrected memory errors in guest RAM: what is done about one, in which words
 * a guest is told (Intel SDM volume 3B, chapter 16; AMD APM volume 2, chapter 9), and
 * the book of those that a guest has had.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- what is done --- */

struct memory_error_case {
	bool used;	  /* a vCPU wants the page now and can't go on without it */
	bool good_copy;	  /* the page's contents are known from elsewhere */
	bool can_be_told; /* the vCPU can take a machine check: machine_check_ready() */
};

/* Best first. */
enum memory_error_action {
	MEMORY_ERROR_HEAL,  /* a fresh page with the good copy; the guest does not notice */
	MEMORY_ERROR_TELL,  /* a machine check */
	MEMORY_ERROR_LEAVE, /* nobody gets at the page; whoever tries meets the error again */
	MEMORY_ERROR_END,   /* the guest ends */
};

enum memory_error_action memory_error_decide(const struct memory_error_case *c);

/* --- telling a guest --- */

/*
 * The banks that report: not bank 4, which Linux doesn't switch on fully for old AMD families.
 * Those that raise no exception have one of their own, for the guest may not have looked at it yet.
 */
#define MACHINE_CHECK_BANK 9u
#define MACHINE_CHECK_DEFERRED_BANK 10u
/* The one in which the other vCPUs of an Intel guest get their part of a broadcast. */
#define MACHINE_CHECK_BYSTANDER_BANK 1u

/* What decides whether a vCPU can take a machine check. */
struct machine_check_state {
	bool amd;	   /* what the guest takes its CPU for */
	bool amd_recovers; /* CPUID 0x80000007 EBX: SUCCOR */
	uint32_t banks;
	bool cr4_mce;
	uint64_t mcg_cap, mcg_status, mcg_ctl;
	uint64_t bank_ctl; /* MCi_CTL of the bank in question */
};

/* The bank that an error is reported in. */
uint32_t machine_check_bank(bool amd, bool used);

/*
 * Can the vCPU be told of an error that it wants to use (`used`), or of one that
 * nobody has used yet? KVM shuts a vCPU down that has CR4.MCE clear or a machine
 * check in progress, and drops what comes to a bank that is not switched on.
 */
bool machine_check_ready(const struct machine_check_state *s, bool used);

struct machine_check {
	uint32_t bank;
	uint64_t status, mcg_status, addr, misc;
	bool broadcast; /* all other vCPUs get machine_check_bystander() */
	bool silent;	/* no exception: the guest finds it when it looks (AMD: deferred) */
};

/* A lost page of 2^`lsb` bytes at guest address `gpa`. */
void machine_check_words(const struct machine_check_state *s, bool used, uint64_t gpa, unsigned lsb,
	struct machine_check *mc);
void machine_check_bystander(struct machine_check *mc);

/* --- the book --- */

#define MEMORY_ERRORS_KEPT 64u
#define MEMORY_ERROR_NOBODY 0xffffffffu /* instead of a vCPU */
#define MEMORY_ERROR_SOURCE_BYTES 32u

/* How it stands with one lost page. */
enum memory_error_end {
	MEMORY_ERROR_WAITS,  /* nobody has used it */
	MEMORY_ERROR_HEALED, /* the guest has a good copy and did not notice */
	MEMORY_ERROR_TOLD,   /* the guest got a machine check */
	MEMORY_ERROR_ENDED,  /* the guest could not be told, and ended */
	MEMORY_ERROR_ENDS,
};

struct memory_error {
	uint64_t off; /* in guest RAM */
	uint64_t gpa;
	uint64_t bytes; /* a power of two, at least a page */
	bool frame_known, node_known;
	uint64_t frame; /* of the host */
	uint32_t node;	/* of the host, by the placement */
	uint32_t vcpu;	/* that used it; MEMORY_ERROR_NOBODY */
	enum memory_error_end end;
	char source[MEMORY_ERROR_SOURCE_BYTES]; /* of the good copy */
	bool reported;				/* in this state; the owner's to set */
	bool replaced;				/* there is a fresh page in its place */
};

struct memory_errors {
	struct memory_error items[MEMORY_ERRORS_KEPT];
	uint32_t count;
	uint64_t total; /* pages lost, also those beyond the book */
};

/*
 * The record of the page at `off`, that has not been replaced; else a new one,
 * zeroed but for `off`, with *fresh set. A full book gives up its oldest record whose
 * page has been replaced, else NULL: the page is counted, and lost all the same.
 */
struct memory_error *memory_errors_take(struct memory_errors *b, uint64_t off, bool *fresh);

/* The record of the page that is lost at `off`; NULL if there is none. */
struct memory_error *memory_errors_find(struct memory_errors *b, uint64_t off);

/* Has the page at `off` been replaced since the guest's start? The newest record of it, or NULL. */
struct memory_error *memory_errors_replaced(struct memory_errors *b, uint64_t off);

/* "not-used", "healed", "told", "ended". */
const char *memory_error_end_name(enum memory_error_end end);
/* The reverse; MEMORY_ERROR_ENDS if it is none. */
enum memory_error_end memory_error_end_of(const char *name);

/* One sentence for events and causes; cut to `bytes`. Returns text. */
const char *memory_error_text(const struct memory_error *m, char *text, size_t bytes);

#endif
