/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/guest/loaded.h"

#include "monitor/guest/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int loaded_init(struct loaded *l, const struct views *views, const struct boot_image *image,
	const struct boot_args *args)
{
	uint64_t pages = views->memory->bytes / RAM_PAGE_BYTES;

	*l = (struct loaded){
		.views = views,
		.image = image,
		.args = *args,
		.kernel.fd = image->kernel_fd,
		.initrd.fd = image->initrd_fd,
		.written = calloc((pages + 63) / 64, sizeof(*l->written)),
	};
	return l->written ? 0 : -ENOMEM;
}

void loaded_fini(struct loaded *l)
{
	free(l->written);
	l->written = NULL;
}

static bool same(const struct loaded_file *f)
{
	struct stat now;

	if (f->fd < 0)
		return true;
	return fstat(f->fd, &now) == 0 && now.st_size == f->when_loaded.st_size &&
	       now.st_mtim.tv_sec == f->when_loaded.st_mtim.tv_sec &&
	       now.st_mtim.tv_nsec == f->when_loaded.st_mtim.tv_nsec &&
	       now.st_ctim.tv_sec == f->when_loaded.st_ctim.tv_sec &&
	       now.st_ctim.tv_nsec == f->when_loaded.st_ctim.tv_nsec;
}

static void note(struct loaded *l, struct loaded_file *f, bool first)
{
	/* Pages that only the first load filled would be taken for zeroes. */
	if (!first && !same(f))
		l->over = true;
	if (f->fd >= 0 && fstat(f->fd, &f->when_loaded) < 0)
		l->over = true;
}

void loaded_begins(struct loaded *l)
{
	bool first = l->kernel.when_loaded.st_size == 0;

	note(l, &l->kernel, first);
	note(l, &l->initrd, first);
}

static bool written(const struct loaded *l, uint64_t off)
{
	uint64_t page = off / RAM_PAGE_BYTES;

	return (atomic_load(&l->written[page / 64]) >> page % 64 & 1) ||
	       views_written(l->views, off) != 0;
}

/* Loads the guest once more, to memory of our own, for the sake of one page. */
static int load_page(const struct loaded *l, uint64_t off, void *page)
{
	uint64_t bytes = l->views->memory->bytes;
	uint8_t *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct boot_args args = l->args;
	struct boot_cpu cpu;
	struct ram_map map;
	struct err e;
	int rc;

	if (at == MAP_FAILED)
		return -errno;
	guest_memory_regions(bytes, at, &map);
	args.ram = &map;
	rc = boot_load(l->image, &args, &cpu, &e);
	if (!rc)
		memcpy(page, at + off, RAM_PAGE_BYTES);
	munmap(at, bytes);
	return rc;
}

static int good_copy(void *ctx, uint64_t off, void *page)
{
	struct loaded *l = ctx;
	int rc;

	if (l->over || written(l, off))
		return -ENODATA;
	rc = load_page(l, off, page);
	if (!rc && (!same(&l->kernel) || !same(&l->initrd))) {
		l->over = true;
		rc = -ENODATA;
	}
	return rc;
}

struct good_copy_source loaded_source(struct loaded *l)
{
	return (struct good_copy_source){ "what was loaded", good_copy, l };
}
