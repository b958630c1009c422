/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_BOOT_BZIMAGE_H
#define CELLVISOR_MONITOR_BOOT_BZIMAGE_H

#include "monitor/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The header of a Linux bzImage, after Documentation/arch/x86/boot.rst of the
 * kernel. Only kernels with the 64-bit entry are taken: protocol 2.12 and
 * XLF_KERNEL_64.
 */

/* Enough of the file's start to hold every header: it can't reach beyond 0x290. */
#define BZIMAGE_HEAD_BYTES 1024u

/* Where the header lies in the file and, the same, in struct boot_params. */
#define BZIMAGE_HEADER 0x1f1u
#define BZIMAGE_HEADER_END_MAX 0x290u

/* What a judged header says. A value: no pointers, nothing to free. */
struct bzimage {
	uint16_t version;	   /* of the protocol, 0x020c for 2.12 */
	uint64_t payload_off;	   /* protected-mode part in the file */
	uint64_t payload_bytes;	   /* all of it is in the file */
	uint64_t pref_addr;	   /* where it wants to run */
	uint64_t align;		   /* of its address; a power of two */
	bool relocatable;	   /* false: pref_addr is the only place */
	uint64_t run_bytes;	   /* RAM it needs from its address on, at least payload_bytes */
	uint64_t initrd_last_addr; /* highest address that a byte of the initrd may have */
	uint32_t cmdline_max;	   /* longest command line, without the terminating 0 */
	uint32_t header_bytes;	   /* used part of header[] */
	uint8_t header[BZIMAGE_HEADER_END_MAX - BZIMAGE_HEADER]; /* as in the file */
};

/*
 * Judges the first `head_bytes` bytes of a kernel file that is `file_bytes`
 * long. `head` needs min(file_bytes, BZIMAGE_HEAD_BYTES) bytes at least; `name`
 * is what error texts call the file. Pure. Returns 0 with *k filled, or -EINVAL
 * (EXIT_INVALID) with *k untouched.
 */
int bzimage_parse(const uint8_t *head, size_t head_bytes, uint64_t file_bytes, const char *name,
	struct bzimage *k, struct err *e);

#endif
