/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_CRC32C_H
#define CELLVISOR_FAULTCONTAIN_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/*
 * CRC-32C (Castagnoli, polynomial 0x1edc6f41 reflected; RFC 3720 appendix B.4)
 * of `bytes` bytes, continuing from `crc` (0 to start). crc32c(crc32c(0, a), b)
 * is the CRC of a followed by b. Uses the CPU's instruction where it has one.
 */
uint32_t crc32c(uint32_t crc, const void *data, size_t bytes);

/* The same by table alone: what crc32c() falls back to; exposed for the tests. */
uint32_t crc32c_table(uint32_t crc, const void *data, size_t bytes);

#endif
