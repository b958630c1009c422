/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/crc32c.h"

#include <string.h>

/* CRC of each 4-bit value, polynomial 0x82f63b78 (0x1edc6f41 reflected). */
static const uint32_t nibble_crc[16] = {
	0x00000000,
	0x105ec76f,
	0x20bd8ede,
	0x30e349b1,
	0x417b1dbc,
	0x5125dad3,
	0x61c69362,
	0x7198540d,
	0x82f63b78,
	0x92a8fc17,
	0xa24bb5a6,
	0xb21572c9,
	0xc38d26c4,
	0xd3d3e1ab,
	0xe330a81a,
	0xf36e6f75,
};

uint32_t crc32c_table(uint32_t crc, const void *data, size_t bytes)
{
	const uint8_t *p = data;

	crc = ~crc;
	for (size_t i = 0; i < bytes; i++) {
		crc ^= p[i];
		crc = (crc >> 4) ^ nibble_crc[crc & 15];
		crc = (crc >> 4) ^ nibble_crc[crc & 15];
	}
	return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(
	uint32_t crc, const void *data, size_t bytes)
{
	const uint8_t *p = data;
	uint64_t wide = ~crc;
	size_t i = 0;

	for (; i + 8 <= bytes; i += 8) {
		uint64_t word;

		memcpy(&word, p + i, sizeof(word));
		wide = __builtin_ia32_crc32di(wide, word);
	}
	crc = (uint32_t)wide;
	for (; i < bytes; i++)
		crc = __builtin_ia32_crc32qi(crc, p[i]);
	return ~crc;
}
#endif

uint32_t crc32c(uint32_t crc, const void *data, size_t bytes)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return crc32c_sse42(crc, data, bytes);
#endif
	return crc32c_table(crc, data, bytes);
}
