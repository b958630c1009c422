/* SPDX-License-Identifier: BSD-2-Clause */
#include "numa/balance_tree.h"

#include <stddef.h>

uint32_t load_tree_width(uint32_t leaf_count)
{
	uint32_t width = 1;

	while (width < leaf_count)
		width *= 2;
	return width;
}

/* Of two sets of leaves, the left one with the lower numbers. */
static struct load_best merge(
	const struct load_tree *t, struct load_best left, struct load_best right)
{
	struct load_best best = left;

	if (left.busiest == UINT32_MAX ||
		(right.busiest != UINT32_MAX &&
			load_of(&t->leaves[right.busiest]) > load_of(&t->leaves[left.busiest])))
		best.busiest = right.busiest;
	if (left.idlest == UINT32_MAX ||
		(right.idlest != UINT32_MAX &&
			t->leaves[right.idlest].load < t->leaves[left.idlest].load))
		best.idlest = right.idlest;
	return best;
}

static struct load_best of_leaf(const struct load_tree *t, uint32_t leaf)
{
	const struct load_leaf *l = &t->leaves[leaf];

	return (struct load_best){
		.busiest = l->blocked || l->load == 0 ? UINT32_MAX : leaf,
		.idlest = l->usable ? leaf : UINT32_MAX,
	};
}

void load_tree_build(struct load_tree *t)
{
	for (uint32_t i = 0; i < t->width; i++)
		t->nodes[t->width + i] = i < t->leaf_count
						 ? of_leaf(t, i)
						 : (struct load_best){ UINT32_MAX, UINT32_MAX };
	for (uint32_t i = t->width - 1; i > 0; i--)
		t->nodes[i] = merge(t, t->nodes[(size_t)2 * i], t->nodes[(size_t)2 * i + 1]);
}

void load_tree_update(struct load_tree *t, uint32_t leaf)
{
	uint32_t i = t->width + leaf;

	t->nodes[i] = of_leaf(t, leaf);
	for (i /= 2; i > 0; i /= 2)
		t->nodes[i] = merge(t, t->nodes[(size_t)2 * i], t->nodes[(size_t)2 * i + 1]);
}

struct load_best load_tree_find(const struct load_tree *t, uint32_t first, uint32_t end)
{
	struct load_best left = { UINT32_MAX, UINT32_MAX }, right = left;

	for (first += t->width, end += t->width; first < end; first /= 2, end /= 2) {
		if (first % 2)
			left = merge(t, left, t->nodes[first++]);
		if (end % 2)
			right = merge(t, t->nodes[--end], right);
	}
	return merge(t, left, right);
}
