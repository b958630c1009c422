/* SPDX-License-Identifier: BSD-2-Clause */
#include "numa/balance.h"

#include <string.h>

#include "numa/balance_tree.h"
#include "numa/check.h"

#define EIGHT(bytes) (((bytes) + 7) & ~(size_t)7)

/* CPUs first..end-1. */
struct range {
	uint32_t first, end;
};

struct balance {
	struct balance_input in;
	struct load_tree tree;
	uint32_t *first;     /* [cpu_count]: its vCPUs, a list */
	struct range *nodes; /* [node_count]: the CPUs of each */
	struct range cells[BALANCE_CELLS_MAX];
	uint32_t cell_count;
};

size_t balance_bytes(uint32_t cpu_count, uint32_t node_count)
{
	return EIGHT(sizeof(struct balance)) + EIGHT(cpu_count * sizeof(struct load_leaf)) +
	       EIGHT((size_t)2 * load_tree_width(cpu_count) * sizeof(struct load_best)) +
	       EIGHT(cpu_count * sizeof(uint32_t)) + EIGHT(node_count * sizeof(struct range));
}

static void *carve(uint8_t **at, size_t bytes)
{
	uint8_t *part = *at;

	*at += EIGHT(bytes);
	return part;
}

static bool input_ok(const struct balance_input *in)
{
	for (uint32_t i = 0; i < in->cpu_count; i++) {
		const struct balance_cpu *cpu = &in->cpus[i];

		if (cpu->cell >= BALANCE_CELLS_MAX || cpu->node >= in->node_count)
			return false;
		if (i > 0 && (cpu->cell < cpu[-1].cell ||
				     (cpu->cell == cpu[-1].cell && cpu->node < cpu[-1].node)))
			return false;
	}
	for (uint32_t v = 0; v < in->vcpu_count; v++) {
		if (in->vcpus[v].guest >= in->guest_count ||
			(in->vcpus[v].cpu >= in->cpu_count && in->vcpus[v].cpu != BALANCE_NONE))
			return false;
	}
	return in->cpu_count > 0;
}

static void link_vcpu(struct balance *b, uint32_t vcpu)
{
	struct balance_vcpu *v = &b->in.vcpus[vcpu];

	if (v->cpu == BALANCE_NONE)
		return;
	v->next = b->first[v->cpu];
	b->first[v->cpu] = vcpu;
	b->tree.leaves[v->cpu].load += v->runnable;
}

static void unlink_vcpu(struct balance *b, uint32_t vcpu)
{
	struct balance_vcpu *v = &b->in.vcpus[vcpu];
	uint32_t *at;

	if (v->cpu == BALANCE_NONE)
		return;
	for (at = &b->first[v->cpu]; *at != vcpu; at = &b->in.vcpus[*at].next)
		CHECK(*at != BALANCE_NONE);
	*at = v->next;
	b->tree.leaves[v->cpu].load -= v->runnable;
}

static void widen(struct range *range, uint32_t cpu)
{
	if (range->end == 0)
		range->first = cpu;
	range->end = cpu + 1;
}

struct balance *balance_start(void *memory, const struct balance_input *input)
{
	uint8_t *at = memory;
	struct balance *b;

	if (!input_ok(input))
		return NULL;
	memset(memory, 0, balance_bytes(input->cpu_count, input->node_count));
	b = carve(&at, sizeof(*b));
	b->in = *input;
	b->tree.leaf_count = input->cpu_count;
	b->tree.width = load_tree_width(input->cpu_count);
	b->tree.leaves = carve(&at, input->cpu_count * sizeof(struct load_leaf));
	b->tree.nodes = carve(&at, (size_t)2 * b->tree.width * sizeof(struct load_best));
	b->first = carve(&at, input->cpu_count * sizeof(uint32_t));
	b->nodes = carve(&at, input->node_count * sizeof(struct range));
	for (uint32_t i = 0; i < input->cpu_count; i++) {
		b->first[i] = BALANCE_NONE;
		b->tree.leaves[i].usable = input->cpus[i].usable;
		widen(&b->nodes[input->cpus[i].node], i);
		widen(&b->cells[input->cpus[i].cell], i);
		b->cell_count = input->cpus[i].cell + 1;
	}
	for (uint32_t v = input->vcpu_count; v > 0; v--)
		link_vcpu(b, v - 1);
	load_tree_build(&b->tree);
	return b;
}

void balance_set(struct balance *b, uint32_t vcpu, uint32_t cpu, bool runnable)
{
	struct balance_vcpu *v = &b->in.vcpus[vcpu];
	uint32_t from = v->cpu;

	CHECK(vcpu < b->in.vcpu_count && (cpu < b->in.cpu_count || cpu == BALANCE_NONE));
	unlink_vcpu(b, vcpu);
	v->cpu = cpu;
	v->runnable = runnable;
	link_vcpu(b, vcpu);
	if (from != BALANCE_NONE)
		load_tree_update(&b->tree, from);
	if (cpu != BALANCE_NONE)
		load_tree_update(&b->tree, cpu);
}

void balance_cpu_changed(struct balance *b, uint32_t cpu)
{
	CHECK(cpu < b->in.cpu_count);
	b->tree.leaves[cpu].usable = b->in.cpus[cpu].usable;
	load_tree_update(&b->tree, cpu);
}

uint32_t balance_load(const struct balance *b, uint32_t cpu)
{
	CHECK(cpu < b->in.cpu_count);
	return b->tree.leaves[cpu].load;
}

static uint32_t count_needs(const struct balance_needs *needs)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < BALANCE_CELLS_MAX / 64; i++)
		for (uint64_t word = needs->words[i]; word; word &= word - 1)
			count++;
	return count;
}

/* May this vCPU run on that CPU? */
static bool may_go(const struct balance *b, uint32_t vcpu, uint32_t cpu)
{
	const struct balance_guest *g = &b->in.guests[b->in.vcpus[vcpu].guest];

	if (!b->tree.leaves[cpu].usable || (!balance_needs(&g->needs, b->in.cpus[cpu].cell) &&
						   count_needs(&g->needs) >= g->needs_max))
		return false;
	for (uint32_t v = b->first[cpu]; g->gang && v != BALANCE_NONE; v = b->in.vcpus[v].next) {
		if (b->in.vcpus[v].guest == b->in.vcpus[vcpu].guest)
			return false;
	}
	return true;
}

/* The vCPU of `from` that had best go to `to`; BALANCE_NONE if none may. */
static uint32_t pick_vcpu(const struct balance *b, uint32_t from, uint32_t to)
{
	uint32_t best = BALANCE_NONE;
	bool best_needs = false;

	for (uint32_t v = b->first[from]; v != BALANCE_NONE; v = b->in.vcpus[v].next) {
		const struct balance_vcpu *vcpu = &b->in.vcpus[v];
		bool needs = balance_needs(&b->in.guests[vcpu->guest].needs, b->in.cpus[to].cell);
		uint64_t best_moved = best == BALANCE_NONE ? 0 : b->in.vcpus[best].moved_ns;

		if (!vcpu->runnable || !may_go(b, v, to))
			continue;
		if (best == BALANCE_NONE || (needs && !best_needs) ||
			(needs == best_needs &&
				(vcpu->moved_ns < best_moved ||
					(vcpu->moved_ns == best_moved && v < best)))) {
			best = v;
			best_needs = needs;
		}
	}
	return best;
}

/* Does it in the books, and writes it down. */
static void move(
	struct balance *b, uint64_t now_ns, uint32_t vcpu, uint32_t to, struct balance_move *out)
{
	struct balance_vcpu *v = &b->in.vcpus[vcpu];
	struct balance_guest *g = &b->in.guests[v->guest];
	uint32_t cell = b->in.cpus[to].cell;

	*out = (struct balance_move){
		.vcpu = vcpu,
		.from = v->cpu,
		.to = to,
		.new_need = !balance_needs(&g->needs, cell),
	};
	balance_need(&g->needs, cell);
	v->moved_ns = now_ns;
	balance_set(b, vcpu, to, v->runnable);
}

static struct range range_of(const struct balance *b, uint32_t cpu, enum balance_scope scope)
{
	switch (scope) {
	case BALANCE_NODE:
		return b->nodes[b->in.cpus[cpu].node];
	case BALANCE_CELL:
		return b->cells[b->in.cpus[cpu].cell];
	default:
		return (struct range){ 0, b->in.cpu_count };
	}
}

static bool worth(const struct balance *b, uint32_t from, uint32_t to)
{
	return load_of(&b->tree.leaves[from]) > b->tree.leaves[to].load + 1;
}

/* For when the least busy CPU of all is no place for any vCPU of `from`: the least busy that is. */
static bool elsewhere(
	const struct balance *b, uint32_t from, struct range range, uint32_t *vcpu, uint32_t *to)
{
	*vcpu = BALANCE_NONE;
	for (uint32_t c = range.first; c < range.end; c++) {
		uint32_t v;

		if (!worth(b, from, c) ||
			(*vcpu != BALANCE_NONE &&
				b->tree.leaves[c].load >= b->tree.leaves[*to].load))
			continue;
		v = pick_vcpu(b, from, c);
		if (v == BALANCE_NONE)
			continue;
		*vcpu = v;
		*to = c;
	}
	return *vcpu != BALANCE_NONE;
}

uint32_t balance_periodic(struct balance *b, uint64_t now_ns, uint32_t cpu,
	enum balance_scope scope, struct balance_move *moves, uint32_t max)
{
	struct range range = range_of(b, cpu, scope);
	uint32_t count = 0;

	while (count < max) {
		struct load_best best = load_tree_find(&b->tree, range.first, range.end);
		uint32_t vcpu, to = best.idlest;

		if (best.busiest == UINT32_MAX || to == UINT32_MAX || !worth(b, best.busiest, to))
			break;
		vcpu = pick_vcpu(b, best.busiest, to);
		if (vcpu == BALANCE_NONE && !elsewhere(b, best.busiest, range, &vcpu, &to)) {
			/* Nothing of it can go: look at the next busiest. */
			b->tree.leaves[best.busiest].blocked = true;
			load_tree_update(&b->tree, best.busiest);
			continue;
		}
		move(b, now_ns, vcpu, to, &moves[count++]);
	}
	for (uint32_t i = range.first; i < range.end; i++) {
		if (!b->tree.leaves[i].blocked)
			continue;
		b->tree.leaves[i].blocked = false;
		load_tree_update(&b->tree, i);
	}
	return count;
}

bool balance_idle(struct balance *b, uint64_t now_ns, uint32_t cpu, uint64_t idle_ns,
	struct balance_move *out)
{
	uint32_t own = b->in.cpus[cpu].node, best = BALANCE_NONE, best_distance = 0;

	CHECK(cpu < b->in.cpu_count);
	if (b->tree.leaves[cpu].load > 0 || idle_ns < BALANCE_IDLE_NODE_NS)
		return false;
	for (uint32_t n = 0; n < b->in.node_count; n++) {
		uint32_t distance = b->in.distance[own * b->in.node_count + n];
		uint32_t from, vcpu;

		if (b->nodes[n].end == 0 || (n != own && idle_ns < BALANCE_IDLE_FAR_NS) ||
			(best != BALANCE_NONE && distance >= best_distance))
			continue;
		from = load_tree_find(&b->tree, b->nodes[n].first, b->nodes[n].end).busiest;
		if (from == UINT32_MAX || !worth(b, from, cpu))
			continue;
		vcpu = pick_vcpu(b, from, cpu);
		if (vcpu == BALANCE_NONE)
			continue;
		best = vcpu;
		best_distance = distance;
	}
	if (best == BALANCE_NONE)
		return false;
	move(b, now_ns, best, cpu, out);
	return true;
}

/* The least busy CPUs of a cell for a gang, marked by blocking them; how busy the busiest would be.
 */
static uint32_t gang_find(struct balance *b, uint32_t guest, const struct balance_needs *cells,
	uint32_t count, uint32_t *to)
{
	uint32_t busiest = 0;

	for (uint32_t k = 0; k < count; k++) {
		uint32_t best = BALANCE_NONE, load = 0;

		for (uint32_t c = 0; c < b->in.cpu_count; c++) {
			const struct load_leaf *leaf = &b->tree.leaves[c];
			bool taken = !leaf->usable || !balance_needs(cells, b->in.cpus[c].cell);
			uint32_t others = leaf->load;

			for (uint32_t i = 0; i < k && !taken; i++)
				taken = to[i] == c;
			/* What the gang has there now will be gone. */
			for (uint32_t v = b->first[c]; v != BALANCE_NONE; v = b->in.vcpus[v].next)
				others -= b->in.vcpus[v].runnable && b->in.vcpus[v].guest == guest;
			if (!taken && (best == BALANCE_NONE || others < load)) {
				best = c;
				load = others;
			}
		}
		if (best == BALANCE_NONE)
			return UINT32_MAX;
		to[k] = best;
		busiest = load > busiest ? load : busiest;
	}
	return busiest;
}

bool balance_gang(struct balance *b, uint64_t now_ns, uint32_t guest, struct balance_move *moves,
	uint32_t *count)
{
	const struct balance_needs *needs;
	uint32_t to[256] = { 0 }, found[256] = { 0 }, vcpus = 0, best = UINT32_MAX, k = 0;

	CHECK(guest < b->in.guest_count);
	needs = &b->in.guests[guest].needs;
	for (uint32_t v = 0; v < b->in.vcpu_count; v++)
		vcpus += b->in.vcpus[v].guest == guest;
	if (vcpus > 256)
		return false;
	if (count_needs(needs) > 0) {
		best = gang_find(b, guest, needs, vcpus, to);
	} else {
		for (uint32_t c = 0; c < b->cell_count; c++) {
			struct balance_needs one = { { 0 } };
			uint32_t busiest;

			balance_need(&one, c);
			busiest = gang_find(b, guest, &one, vcpus, found);
			if (busiest >= best)
				continue;
			best = busiest;
			memcpy(to, found, sizeof(to));
		}
	}
	if (best == UINT32_MAX)
		return false;
	*count = 0;
	for (uint32_t v = 0; v < b->in.vcpu_count; v++) {
		if (b->in.vcpus[v].guest == guest)
			move(b, now_ns, v, to[k++], &moves[(*count)++]);
	}
	return true;
}

const char *balance_check(const struct balance *b)
{
	uint32_t linked = 0, placed = 0;

	for (uint32_t c = 0; c < b->in.cpu_count; c++) {
		uint32_t load = 0;

		for (uint32_t v = b->first[c]; v != BALANCE_NONE; v = b->in.vcpus[v].next) {
			if (b->in.vcpus[v].cpu != c)
				return "a vCPU in the list of another CPU";
			load += b->in.vcpus[v].runnable;
			if (++linked > b->in.vcpu_count)
				return "a list without end";
		}
		if (load != b->tree.leaves[c].load)
			return "a load that is not the number of runnable vCPUs";
		if (b->tree.leaves[c].blocked)
			return "a CPU that was left blocked";
	}
	for (uint32_t v = 0; v < b->in.vcpu_count; v++)
		placed += b->in.vcpus[v].cpu != BALANCE_NONE;
	return linked == placed ? NULL : "a vCPU that is in no list";
}
