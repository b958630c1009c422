/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/guest/memory.h"

#include "numa/host/bind.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct gpa guest_memory_gpa(uint64_t off)
{
	if (off < LAYOUT_LOW_RAM_END)
		return (struct gpa){ off };
	return (struct gpa){ off - LAYOUT_LOW_RAM_END + LAYOUT_HIGH_RAM };
}

void guest_memory_regions(uint64_t bytes, uint8_t *hva, struct ram_map *map)
{
	uint64_t low = bytes < LAYOUT_LOW_RAM_END ? bytes : LAYOUT_LOW_RAM_END;

	memset(map, 0, sizeof(*map));
	map->regions[map->region_count++] = (struct ram_region){ { 0 }, low, hva, 0 };
	if (bytes > low)
		map->regions[map->region_count++] =
			(struct ram_region){ { LAYOUT_HIGH_RAM }, bytes - low, hva + low, low };
}

int guest_memory_init(struct guest_memory *m, uint64_t bytes, struct err *e)
{
	int rc;

	m->bytes = bytes;
	m->fd = memfd_create(GUEST_MEMORY_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (m->fd < 0)
		return err_set(
			e, EXIT_ENVIRONMENT, "no memfd for guest RAM: %s", strerrordesc_np(errno));
	/* Whoever holds the memfd may punch holes, but nobody may cut it short. */
	if (ftruncate(m->fd, (off_t)bytes) < 0 ||
		fcntl(m->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0) {
		rc = err_set(e, EXIT_NO_ROOM, "no %llu MiB for guest RAM: %s",
			(unsigned long long)(bytes >> 20), strerrordesc_np(errno));
		close(m->fd);
		return rc;
	}
	return 0;
}

void guest_memory_fini(struct guest_memory *m)
{
	close(m->fd);
	m->fd = -1;
}

/* A kernel without NUMA knows no policy, and needs none for a single node. */
static int bind_range(uint8_t *at, uint64_t bytes, const struct node_set *nodes, bool single)
{
	int rc = bind_memory(at, bytes, nodes, false);

	return rc == -ENOSYS && single ? 0 : rc;
}

static int bind(const struct guest_memory *m, const struct guest_home *home, uint8_t *hva)
{
	bool single = home->node_count == 1;
	struct node_set all = { 0 };
	uint64_t at = 0;

	for (uint32_t i = 0; i < home->node_count; i++)
		node_set_add(&all, home->nodes[i]);
	if (!home->memory_count)
		return bind_range(hva, m->bytes, &all, single);
	for (uint32_t i = 0; i < home->memory_count; i++) {
		struct node_set one = { 0 };
		int rc;

		node_set_add(&one, home->memory[i].node);
		rc = bind_range(hva + at, home->memory[i].bytes, &one, single);
		if (rc)
			return rc;
		at += home->memory[i].bytes;
	}
	return 0;
}

int guest_memory_map(
	const struct guest_memory *m, const struct guest_home *home, uint8_t **hva, struct err *e)
{
	uint8_t *at =
		mmap(NULL, m->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, m->fd, 0);
	int rc;

	if (at == MAP_FAILED)
		return err_set(e, EXIT_NO_ROOM, "no addresses for %llu MiB of guest RAM: %s",
			(unsigned long long)(m->bytes >> 20), strerrordesc_np(errno));
	rc = bind(m, home, at);
	if (rc) {
		rc = err_set(e, EXIT_ENVIRONMENT, "guest RAM can't be bound to its nodes: %s",
			strerrordesc_np(-rc));
		munmap(at, m->bytes);
		return rc;
	}
	/* Hints: a kernel without them works as well. */
	(void)madvise(at, m->bytes, MADV_HUGEPAGE);
	(void)madvise(at, m->bytes, MADV_DONTDUMP);
	*hva = at;
	return 0;
}

void guest_memory_unmap(const struct guest_memory *m, uint8_t *hva)
{
	munmap(hva, m->bytes);
}
