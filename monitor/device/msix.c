/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/device/msix.h"

#include "numa/check.h"

#include <endian.h>
#include <linux/pci_regs.h>

/* Byte of the capability that holds the writable bits of message control. */
#define CONTROL_HIGH (PCI_MSIX_FLAGS + 1)

void msix_init(struct msix *m, struct pci_fn *fn, const struct msix_env *env, uint32_t vector_count,
	uint32_t bar, uint32_t table_off, uint32_t pba_off)
{
	struct {
		uint16_t control;
		uint32_t table, pba;
	} __attribute__((packed)) body = {
		.control = htole16((uint16_t)(vector_count - 1)),
		.table = htole32(table_off | bar),
		.pba = htole32(pba_off | bar),
	};

	CHECK(vector_count >= 1 && vector_count <= MSIX_VECTORS_MAX);
	CHECK(table_off % 8 == 0 && pba_off % 8 == 0 && bar < PCI_BARS);
	*m = (struct msix){ .fn = fn, .env = *env, .vector_count = vector_count };
	m->cap = pci_fn_add_cap(fn, PCI_CAP_ID_MSIX, &body, sizeof(body));
	fn->writable[m->cap + CONTROL_HIGH] = (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8;
	for (uint32_t v = 0; v < vector_count; v++)
		m->entries[v].control = PCI_MSIX_ENTRY_CTRL_MASKBIT;
}

static uint16_t control_flags(const struct msix *m)
{
	return (uint16_t)(m->fn->config[m->cap + CONTROL_HIGH] << 8);
}

/* Is the whole function silent? An MSI is a write by the bus master. */
static bool function_masked(const struct msix *m)
{
	uint16_t flags = control_flags(m);

	return !(flags & PCI_MSIX_FLAGS_ENABLE) || (flags & PCI_MSIX_FLAGS_MASKALL) ||
	       !pci_fn_bus_master(m->fn);
}

/* Tells env about vector v's state if that is new, and sends what was pending. */
static void update_vector(struct msix *m, uint32_t v, bool message_changed)
{
	struct msix_entry *e = &m->entries[v];
	bool live = !function_masked(m) && !(e->control & PCI_MSIX_ENTRY_CTRL_MASKBIT);

	if (live != e->live || (live && message_changed)) {
		e->live = live;
		m->env.route(m->env.ctx, v, e->addr, e->data, !live);
	}
	if (live && (m->pending >> v & 1)) {
		m->pending &= ~(1ull << v);
		m->env.signal(m->env.ctx, v);
	}
}

void msix_update(struct msix *m)
{
	if (!(control_flags(m) & PCI_MSIX_FLAGS_ENABLE))
		m->pending = 0;
	for (uint32_t v = 0; v < m->vector_count; v++)
		update_vector(m, v, false);
}

void msix_reset(struct msix *m)
{
	m->pending = 0;
	for (uint32_t v = 0; v < m->vector_count; v++) {
		struct msix_entry *e = &m->entries[v];

		e->control = PCI_MSIX_ENTRY_CTRL_MASKBIT;
		update_vector(m, v, false);
		e->addr = e->data = 0;
	}
}

static uint32_t load_word(const struct msix_entry *e, uint32_t field)
{
	switch (field) {
	case PCI_MSIX_ENTRY_LOWER_ADDR:
		return (uint32_t)e->addr;
	case PCI_MSIX_ENTRY_UPPER_ADDR:
		return (uint32_t)(e->addr >> 32);
	case PCI_MSIX_ENTRY_DATA:
		return e->data;
	default:
		return e->control;
	}
}

static void store_word(struct msix_entry *e, uint32_t field, uint32_t val)
{
	switch (field) {
	case PCI_MSIX_ENTRY_LOWER_ADDR:
		/* Bits 0 and 1 are read-only zeroes: a message is a dword write. */
		e->addr = (e->addr & 0xffffffff00000000ull) | (val & ~3u);
		break;
	case PCI_MSIX_ENTRY_UPPER_ADDR:
		e->addr = (e->addr & 0xffffffffull) | (uint64_t)val << 32;
		break;
	case PCI_MSIX_ENTRY_DATA:
		e->data = val;
		break;
	default:
		e->control = val & PCI_MSIX_ENTRY_CTRL_MASKBIT;
		break;
	}
}

enum dev_outcome msix_table_bus(void *msix, struct bus_req *r)
{
	struct msix *m = msix;
	uint32_t v = (uint32_t)(r->off / MSIX_ENTRY_BYTES), field = r->off % MSIX_ENTRY_BYTES;
	bool message_changed;

	if ((r->len != 4 && r->len != 8) || r->off % r->len != 0)
		return DEV_GUEST_FAULT;
	if (r->off >= (uint64_t)m->vector_count * MSIX_ENTRY_BYTES)
		return DEV_GUEST_FAULT;
	if (!r->store) {
		r->val = load_word(&m->entries[v], field);
		if (r->len == 8)
			r->val |= (uint64_t)load_word(&m->entries[v], field + 4) << 32;
		return DEV_OK;
	}
	store_word(&m->entries[v], field, (uint32_t)r->val);
	if (r->len == 8)
		store_word(&m->entries[v], field + 4, (uint32_t)(r->val >> 32));
	message_changed = field <= PCI_MSIX_ENTRY_DATA;
	update_vector(m, v, message_changed);
	return DEV_OK;
}

enum dev_outcome msix_pba_bus(void *msix, struct bus_req *r)
{
	const struct msix *m = msix;

	/* One quadword holds all of MSIX_VECTORS_MAX. */
	if ((r->len != 4 && r->len != 8) || r->off % r->len != 0 || r->off >= 8 || r->store)
		return DEV_GUEST_FAULT;
	r->val = m->pending >> 8 * r->off;
	return DEV_OK;
}

void msix_signal(struct msix *m, uint32_t vector)
{
	if (vector >= m->vector_count || !(control_flags(m) & PCI_MSIX_FLAGS_ENABLE))
		return;
	if (m->entries[vector].live)
		m->env.signal(m->env.ctx, vector);
	else
		m->pending |= 1ull << vector;
}
