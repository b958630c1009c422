/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_HOST_CAREFUL_H
#define CELLVISOR_FAULTCONTAIN_HOST_CAREFUL_H

/*
 * The careful-reference rule (Hive, SOSP 1995, section 4.1): memory that
 * another cell can take away is touched only by these functions. A SIGBUS in
 * them (a truncated file, a poisoned frame) becomes a return value.
 *
 * They work by fixup, not by longjmp: the handler recognizes the one
 * instruction that may fault and lets the thread continue after it. So there is
 * no state per thread, nothing to nest, and a copy costs no more than memcpy.
 * SIGBUS must not be blocked in the calling thread.
 */

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Copies `bytes` bytes; either side may be foreign. 0, or -EIO if memory failed. */
int careful_copy(void *to, const void *from, size_t bytes);

/* One aligned 64-bit or 16-bit load (acquire) or store (release), never torn. 0 or -EIO. */
int careful_load64(uint64_t *value, const uint64_t *from);
int careful_store64(uint64_t *to, uint64_t value);
int careful_load16(uint16_t *value, const uint16_t *from);
int careful_store16(uint16_t *to, uint16_t value);

/*
 * For a process' own SIGBUS handler (SA_SIGINFO), called first: true if the
 * signal came from one of the functions above and has been dealt with, so that
 * the handler has only to return. Async-signal-safe.
 */
bool careful_fixup(const siginfo_t *info, void *ucontext);

/*
 * Installs a SIGBUS handler: fixup, else whatever the signal did before (by
 * default it ends the process). Idempotent. A handler that is installed later
 * has to call careful_fixup() itself. Call it before there are threads. 0 or
 * -errno.
 */
int careful_install(void);

#endif
