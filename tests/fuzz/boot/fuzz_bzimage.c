/* SPDX-License-Identifier: BSD-2-Clause */
/* Whatever a kernel file says: the parser reads no further, and what it accepts can be placed. */
#include "monitor/boot/place.h"
#include "monitor/layout.h"
#include "numa/check.h"
#include "tests/unit/boot/kernel_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Is what was accepted in the bounds that it promises? */
static void accepted_check(const struct bzimage *k, uint64_t file_bytes)
{
	CHECK(k->payload_off + k->payload_bytes <= file_bytes);
	CHECK(k->payload_bytes <= k->run_bytes && k->header_bytes <= sizeof(k->header));
}

/* The input is laid over a right header by exclusive or, so that most fields stay right. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct image image; /* right, save during a run */
	static bool made;
	uint8_t right[0x100];
	struct bzimage k;
	struct boot_place p;
	struct err e;
	uint64_t sizes[3]; /* of the file, of the initrd, of RAM */
	uint64_t low_ram, file_bytes;
	size_t head_bytes;
	uint8_t *head;

	if (size < sizeof(sizes))
		return 0;
	memcpy(sizes, data, sizeof(sizes));
	data += sizeof(sizes);
	size -= sizeof(sizes);
	if (!made)
		image_make(&image);
	made = true;
	memcpy(right, image.bytes + 0x1f0, sizeof(right));
	for (size_t i = 0; i < size && i < sizeof(right); i++)
		image.bytes[0x1f0 + i] ^= data[i];
	file_bytes = sizes[0] % (2ull * IMAGE_BYTES);
	head_bytes = file_bytes < BZIMAGE_HEAD_BYTES ? (size_t)file_bytes : BZIMAGE_HEAD_BYTES;
	head = malloc(head_bytes + 1);
	if (!head)
		abort();
	memcpy(head, image.bytes, head_bytes);
	memcpy(image.bytes + 0x1f0, right, sizeof(right));
	if (bzimage_parse(head, head_bytes, file_bytes, "file", &k, &e) != 0) {
		CHECK(e.code == EXIT_INVALID && e.text[0]);
		free(head);
		return 0;
	}
	free(head);
	accepted_check(&k, file_bytes);
	low_ram = sizes[2] % (LAYOUT_LOW_RAM_END + 1);
	if (boot_place(&k, sizes[1], low_ram, &p, &e) != 0) {
		CHECK(e.code == EXIT_INVALID && e.text[0]);
		return 0;
	}
	CHECK(p.kernel.addr >= LAYOUT_EXT_RAM && p.kernel.addr + k.run_bytes <= low_ram);
	CHECK(p.kernel.addr >= k.pref_addr && (k.relocatable || p.kernel.addr == k.pref_addr));
	if (sizes[1] > 0) {
		CHECK(p.initrd.addr >= p.kernel.addr + k.run_bytes && p.initrd.addr % 4096 == 0);
		CHECK(sizes[1] <= low_ram && p.initrd.addr <= low_ram - sizes[1]);
		CHECK(p.initrd.addr + sizes[1] - 1 <= k.initrd_last_addr);
	}
	return 0;
}
