/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_TESTS_KERNEL_IMAGE_H
#define CELLVISOR_TESTS_KERNEL_IMAGE_H

#include <asm/bootparam.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A bzImage made by hand: right in everything until a test breaks it. */
#define IMAGE_SETUP_SECTS 3u
#define IMAGE_PAYLOAD_OFF ((IMAGE_SETUP_SECTS + 1) * 512u)
#define IMAGE_PAYLOAD_BYTES 40960u
#define IMAGE_BYTES (IMAGE_PAYLOAD_OFF + IMAGE_PAYLOAD_BYTES)
#define IMAGE_PREF 0x1000000u
#define IMAGE_INIT_SIZE 0x2800000u
#define IMAGE_CMDLINE_MAX 2047u
#define IMAGE_HEADER_END 0x26cu

struct image {
	uint8_t bytes[IMAGE_BYTES];
};

static inline struct setup_header *image_header(struct image *i)
{
	return (struct setup_header *)(i->bytes + 0x1f1);
}

static inline void image_make(struct image *i)
{
	struct setup_header *h = image_header(i);

	/* No byte of the payload is like its neighbour. */
	for (size_t n = 0; n < sizeof(i->bytes); n++)
		i->bytes[n] = (uint8_t)(n * 7 + n / 256);
	memset(i->bytes + 0x1f1, 0, IMAGE_HEADER_END - 0x1f1);
	h->setup_sects = IMAGE_SETUP_SECTS;
	h->syssize = IMAGE_PAYLOAD_BYTES / 16;
	h->boot_flag = 0xaa55;
	h->jump = (uint16_t)(0xeb | (IMAGE_HEADER_END - 0x202) << 8);
	h->header = 0x53726448;
	h->version = 0x020f;
	h->loadflags = 1;
	h->initrd_addr_max = 0x7fffffff;
	h->kernel_alignment = 0x200000;
	h->relocatable_kernel = 1;
	h->min_alignment = 21;
	h->xloadflags = 1;
	h->cmdline_size = IMAGE_CMDLINE_MAX;
	h->pref_address = IMAGE_PREF;
	h->init_size = IMAGE_INIT_SIZE;
}

#endif
