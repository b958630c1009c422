/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/guest/run.h"

#include "numa/host/bind.h"

#include <stdlib.h>
#include <string.h>

static json_t *show_vcpus(struct run *r)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < r->vcpus.count; i++) {
		const struct vcpu *v = &r->vcpus.items[i];
		json_t *cpus = json_array();

		for (uint32_t c = cpu_set_next(&v->cpus, 0); c != CPU_NONE;
			c = cpu_set_next(&v->cpus, c + 1))
			json_array_append_new(cpus, json_integer(c));
		json_array_append_new(list,
			json_pack("{s:I,s:I,s:I,s:o,s:I}", "vcpu", (json_int_t)v->index, "tid",
				(json_int_t)v->tid, "vnode", (json_int_t)r->plan.vnode_of[i],
				"host_cpus", cpus, "exits",
				(json_int_t)atomic_load_explicit(&v->exits, memory_order_relaxed)));
	}
	return list;
}

/* Where the pages that exist are, as the kernel says. */
static json_t *show_memory(struct run *r)
{
	const struct view *view = views_main(&r->views);
	uint64_t *counts = calloc(BIND_NODES, sizeof(*counts));
	json_t *list = json_array();

	if (counts && !bind_count_pages(0, view->hva, r->memory.bytes, counts))
		for (uint32_t n = 0; n < BIND_NODES; n++)
			if (counts[n])
				json_array_append_new(
					list, json_pack("{s:I,s:I}", "node", (json_int_t)n, "bytes",
						      (json_int_t)counts[n] * 4096));
	free(counts);
	return list;
}

static json_t *show_disks(struct run *r)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < r->board->disk_count; i++)
		json_array_append_new(
			list, json_pack("{s:s,s:b,s:I}", "path", r->spec.disks[i].path, "read_only",
				      (int)r->spec.disks[i].read_only, "bytes",
				      (json_int_t)r->board->disks[i].blk->file.bytes));
	return list;
}

static json_t *show_views(struct run *r)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < r->views.count; i++) {
		const struct view *view = r->views.items[i];
		json_t *nodes = json_array();

		for (uint32_t n = 0; n < view->node_count; n++)
			json_array_append_new(nodes, json_integer(view->nodes[n]));
		json_array_append_new(list, json_pack("{s:o,s:I}", "nodes", nodes, "slots",
						    (json_int_t)view->slot_count));
	}
	return list;
}

json_t *run_show(struct run *r)
{
	return json_pack("{s:o,s:o,s:o,s:o,s:o,s:{s:I,s:I,s:I}}", "vcpus", show_vcpus(r),
		"resident", show_memory(r), "disks", show_disks(r), "views", show_views(r),
		"memory_errors", lost_pages_show(&r->lost), "console_stream", "clients",
		(json_int_t)r->console->client_count, "bytes", (json_int_t)r->console->total_out,
		"dropped", (json_int_t)r->console->total_dropped);
}
