/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/guest/view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void view_free(struct view *view, const struct guest_memory *memory)
{
	kvm_vm_fini(&view->vm);
	guest_memory_unmap(memory, view->hva);
	free(view);
}

static int set_slots(struct view *view, bool log)
{
	int kept = log ? kvm_vm_keep_log(&view->vm) : 0;

	if (kept)
		return kept;
	for (; view->slot_count < view->ram.region_count; view->slot_count++) {
		const struct ram_region *r = &view->ram.regions[view->slot_count];
		int rc =
			kvm_vm_slot_set(&view->vm, view->slot_count, r->gpa, r->bytes, r->hva, log);

		if (rc)
			return rc;
	}
	return 0;
}

static int view_new(struct view **out, const struct kvm_system *system,
	const struct guest_memory *memory, const struct guest_home *home, bool log, struct err *e)
{
	struct view *view = calloc(1, sizeof(*view));
	int rc;

	if (!view)
		return err_set(e, EXIT_FAILED, "out of memory");
	memcpy(view->nodes, home->nodes, sizeof(view->nodes));
	view->node_count = home->node_count;
	rc = guest_memory_map(memory, home, &view->hva, e);
	if (rc)
		goto undo_alloc;
	guest_memory_regions(memory->bytes, view->hva, &view->ram);
	rc = kvm_vm_init(&view->vm, system, e);
	if (rc)
		goto undo_map;
	rc = set_slots(view, log);
	if (rc) {
		rc = err_set(e, EXIT_ENVIRONMENT, "KVM: guest RAM can't be mapped: %s",
			strerrordesc_np(-rc));
		goto undo_vm;
	}
	*out = view;
	return 0;

undo_vm:
	kvm_vm_fini(&view->vm);
undo_map:
	guest_memory_unmap(memory, view->hva);
undo_alloc:
	free(view);
	return rc;
}

int views_init(struct views *v, const struct kvm_system *system, const struct guest_memory *memory,
	const struct guest_home *home, bool log, struct err *e)
{
	int rc;

	memset(v, 0, sizeof(*v));
	v->memory = memory;
	v->home = home;
	v->log = log;
	rc = view_new(&v->items[0], system, memory, home, log, e);
	if (!rc)
		v->count = 1;
	return rc;
}

void views_fini(struct views *v)
{
	for (uint32_t i = 0; i < v->count; i++)
		view_free(v->items[i], v->memory);
	v->count = 0;
}

struct view *views_main(const struct views *v)
{
	return v->items[0];
}

int views_save(struct views *v)
{
	for (uint32_t i = 0; i < v->count; i++) {
		int rc = kvm_vm_save(&v->items[i]->vm, &v->items[i]->initial);

		if (rc)
			return rc;
	}
	return 0;
}

int views_restore(struct views *v)
{
	for (uint32_t i = 0; i < v->count; i++) {
		int rc = kvm_vm_restore(&v->items[i]->vm, &v->items[i]->initial);

		if (rc)
			return rc;
	}
	return 0;
}

int views_ioeventfd(struct views *v, struct gpa gpa, uint32_t bytes, int eventfd, bool attach)
{
	for (uint32_t i = 0; i < v->count; i++) {
		int rc = kvm_vm_ioeventfd(&v->items[i]->vm, gpa, bytes, NULL, eventfd, attach);

		if (!rc)
			continue;
		while (i-- > 0)
			kvm_vm_ioeventfd(&v->items[i]->vm, gpa, bytes, NULL, eventfd, !attach);
		return rc;
	}
	return 0;
}

static int view_written(const struct view *view, uint64_t off)
{
	for (uint32_t slot = 0; slot < view->slot_count; slot++) {
		const struct ram_region *r = &view->ram.regions[slot];

		if (off >= r->off && off - r->off < r->bytes)
			return kvm_vm_slot_written(
				&view->vm, slot, r->bytes, (off - r->off) / RAM_PAGE_BYTES);
	}
	return -EINVAL;
}

int views_written(const struct views *v, uint64_t off)
{
	int rc = v->log ? 0 : -ENODATA;

	for (uint32_t i = 0; i < v->count && rc == 0; i++)
		rc = view_written(v->items[i], off);
	return rc;
}

bool views_place_of(const struct views *v, const void *hva, struct view_place *place)
{
	uintptr_t at = (uintptr_t)hva;

	for (uint32_t i = 0; i < v->count; i++) {
		uintptr_t start = (uintptr_t)v->items[i]->hva;

		if (at >= start && at - start < v->memory->bytes) {
			place->off = at - start;
			place->gpa = guest_memory_gpa(at - start);
			place->node_known = guest_home_node_of(v->home, at - start, &place->node);
			return true;
		}
	}
	return false;
}
