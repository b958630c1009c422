/* SPDX-License-Identifier: BSD-2-Clause */
/* Building a guest, and taking it apart. */

#include "monitor/guest/run_internal.h"
#include "monitor/guest/sandbox.h"
#include "numa/check.h"
#include "numa/host/bind.h"

#include <errno.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>

static int open_files(struct run *r, struct err *e)
{
	const struct guest_spec *s = &r->spec;
	int rc = boot_image_init(&r->image, s->kernel, s->initrd[0] ? s->initrd : NULL, e);

	if (rc)
		return rc;
	rc = boot_image_fits(&r->image, s->memory_bytes, s->cmdline, e);
	while (!rc && r->file_count < s->disk_count) {
		const struct spec_disk *d = &s->disks[r->file_count];

		rc = blk_file_open(&r->files[r->file_count], d->path, d->read_only, e);
		if (!rc)
			r->file_count++;
	}
	if (!rc)
		return 0;
	while (r->file_count > 0)
		blk_file_close(&r->files[--r->file_count]);
	boot_image_fini(&r->image);
	return rc;
}

/*
 * Has all of this program's pages mapped: only mapped pages can be moved to another node with the
 * process. Older kernels than 5.14 map them as they are used.
 */
static int map_program(struct dl_phdr_info *info, size_t size, void *ctx)
{
	const uintptr_t page = 4096;

	(void)size;
	(void)ctx;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const uintptr_t start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
		const uintptr_t end = start + info->dlpi_phdr[i].p_filesz;

		if (info->dlpi_phdr[i].p_type == PT_LOAD && end > start)
			/* As the linker placed it. NOLINTNEXTLINE(performance-no-int-to-ptr) */
			(void)madvise((void *)(start & ~(page - 1)),
				((end + page - 1) & ~(page - 1)) - (start & ~(page - 1)),
				MADV_POPULATE_READ);
	}
	return 0;
}

/* The process lives on its home: CPUs, and what it allocates from now on. */
static int settle(const struct run *r, struct err *e)
{
	struct node_set nodes = { 0 };
	int rc = bind_thread(0, &r->plan.all_cpus);

	if (rc)
		return err_set(e, EXIT_ENVIRONMENT, "the guest process can't move to its CPUs: %s",
			strerrordesc_np(-rc));
	for (uint32_t i = 0; i < r->home.node_count; i++)
		node_set_add(&nodes, r->home.nodes[i]);
	/* The monitor's binding is this process's so far: borrowed nodes are for guest RAM alone.
	 */
	rc = bind_process_memory_within(&nodes);
	if (rc && !(rc == -ENOSYS && r->home.node_count == 1))
		return err_set(e, EXIT_ENVIRONMENT,
			"the guest process can't bind its memory to its nodes: %s",
			strerrordesc_np(-rc));
	(void)dl_iterate_phdr(map_program, NULL);
	return 0;
}

static int build_loop(struct run *r, struct err *e)
{
	int rc = reactor_init(&r->reactor);

	if (rc)
		return err_set(e, EXIT_ENVIRONMENT, "no epoll: %s", strerrordesc_np(-rc));
	r->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (r->event_fd < 0 || r->timer_fd < 0)
		rc = -errno;
	if (!rc)
		rc = run_watch_events(r);
	if (rc) {
		reactor_fini(&r->reactor);
		close(r->event_fd);
		close(r->timer_fd);
		return err_set(e, EXIT_ENVIRONMENT, "no event loop: %s", strerrordesc_np(-rc));
	}
	CHECK(!pthread_mutex_init(&r->event_lock, NULL));
	return 0;
}

static void unbuild_loop(struct run *r)
{
	pthread_mutex_destroy(&r->event_lock);
	reactor_unwatch(&r->reactor, &r->event_watch);
	reactor_unwatch(&r->reactor, &r->timer_watch);
	reactor_fini(&r->reactor);
	close(r->event_fd);
	close(r->timer_fd);
}

static int build_console(struct run *r, struct err *e)
{
	const struct console_files files = {
		.sock_path = GUEST_CONSOLE_SOCK,
		.log_path = GUEST_CONSOLE_LOG,
		.old_log_path = GUEST_CONSOLE_LOG_OLD,
		.log_bytes = GUEST_LOG_BYTES,
	};
	const struct console_env env = run_console_env(r);
	int rc;

	r->console = calloc(1, sizeof(*r->console));
	if (!r->console)
		return err_set(e, EXIT_FAILED, "out of memory");
	rc = console_init(r->console, &r->reactor, &files, &env, e);
	if (rc)
		free(r->console);
	return rc;
}

static void unbuild_console(struct run *r)
{
	(void)unlink(GUEST_CONSOLE_SOCK);
	console_fini(r->console);
	free(r->console);
}

static int build_board(struct run *r, struct err *e)
{
	const struct board_env env = run_board_env(r);
	uint32_t count = r->file_count;
	int rc;

	r->board = calloc(1, sizeof(*r->board));
	if (!r->board)
		return err_set(e, EXIT_FAILED, "out of memory");
	r->file_count = 0; /* given away */
	rc = board_init(r->board, &r->views, r->spec.cpus, r->files, count, &env, e);
	if (rc)
		free(r->board);
	return rc;
}

static int build_cpus(struct run *r, struct err *e)
{
	const struct vcpu_env env = run_vcpu_env(r);
	int rc = vcpus_init(&r->vcpus, &r->system, &r->views, &r->plan, &env, e);

	if (rc)
		return rc;
	rc = views_save(&r->views);
	if (rc)
		rc = err_set(e, EXIT_ENVIRONMENT,
			"KVM: the state of the interrupt controllers can't be read: %s",
			strerrordesc_np(-rc));
	if (!rc)
		rc = run_load(r, e);
	if (rc)
		vcpus_fini(&r->vcpus);
	return rc;
}

/* Who has good copies of pages, and who looks after lost ones. */
static int build_healing(struct run *r, struct err *e)
{
	const struct lost_pages_env env = run_lost_env(r);
	const struct boot_args args = run_boot_args(r, NULL);
	struct good_copy_source source;
	int rc = lost_pages_init(&r->lost, &r->views, r->spec.heal, &env, e);

	if (rc || !r->spec.heal)
		return rc;
	if (loaded_init(&r->loaded, &r->views, &r->image, &args)) {
		lost_pages_fini(&r->lost);
		return err_set(e, EXIT_FAILED, "out of memory");
	}
	views_main(&r->views)->ram.written = r->loaded.written;
	source = loaded_source(&r->loaded);
	lost_pages_source(&r->lost, &source);
	return 0;
}

static void unbuild_healing(struct run *r)
{
	lost_pages_fini(&r->lost);
	if (r->spec.heal)
		loaded_fini(&r->loaded);
}

static int build_machine(struct run *r, struct err *e)
{
	int rc = guest_memory_init(&r->memory, r->spec.memory_bytes, e);

	if (rc)
		return rc;
	r->machine = guest_plan_machine(&r->plan);
	rc = views_init(&r->views, &r->system, &r->memory, &r->home, r->spec.heal, e);
	if (rc)
		goto undo_memory;
	rc = build_healing(r, e);
	if (rc)
		goto undo_views;
	rc = build_board(r, e);
	if (rc)
		goto undo_healing;
	rc = build_cpus(r, e);
	if (rc)
		goto undo_board;
	return 0;

undo_board:
	board_fini(r->board);
	free(r->board);
undo_healing:
	unbuild_healing(r);
undo_views:
	views_fini(&r->views);
undo_memory:
	guest_memory_fini(&r->memory);
	return rc;
}

static void unbuild_machine(struct run *r)
{
	vcpus_fini(&r->vcpus);
	board_fini(r->board);
	free(r->board);
	unbuild_healing(r);
	views_fini(&r->views);
	guest_memory_fini(&r->memory);
}

static void close_files(struct run *r)
{
	while (r->file_count > 0)
		blk_file_close(&r->files[--r->file_count]);
	boot_image_fini(&r->image);
}

int run_build(struct run *r, struct err *e)
{
	int rc = guest_plan_init(&r->plan, &r->spec, &r->home, e);

	if (rc)
		return rc;
	rc = open_files(r, e);
	if (rc)
		return rc;
	rc = kvm_system_open(&r->system, KVM_DEVICE_PATH, e);
	if (rc)
		goto undo_files;
	rc = settle(r, e);
	if (rc)
		goto undo_system;
	rc = build_loop(r, e);
	if (rc)
		goto undo_system;
	rc = build_console(r, e);
	if (rc)
		goto undo_loop;
	rc = build_machine(r, e);
	if (rc)
		goto undo_console;
	return 0;

undo_console:
	unbuild_console(r);
undo_loop:
	unbuild_loop(r);
undo_system:
	kvm_system_close(&r->system);
undo_files:
	close_files(r);
	return rc;
}

void run_unbuild(struct run *r)
{
	unbuild_machine(r);
	unbuild_console(r);
	unbuild_loop(r);
	kvm_system_close(&r->system);
	close_files(r);
}
