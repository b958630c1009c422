/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/device/pci.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

#define ECAM 0xe0000000ull
#define WINDOW 0xc0000000u
#define WINDOW_BYTES 0x100000u

static struct bus mmio;
static struct pci_segment segment;
static struct pci_host host;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* A device with two BARs, which remembers what it was told. */
struct gadget {
	struct pci_fn fn;
	struct {
		uint32_t bar, addr;
		bool mapped;
	} moves[64];
	uint32_t move_count;
	int master_changes;
	uint8_t cap;
	uint32_t bar_hits[2];
};

static enum dev_outcome bar0(void *dev, struct bus_req *r)
{
	((struct gadget *)dev)->bar_hits[0]++;
	r->val = 0xb0;
	return DEV_OK;
}

static enum dev_outcome bar1(void *dev, struct bus_req *r)
{
	((struct gadget *)dev)->bar_hits[1]++;
	r->val = 0xb1;
	return DEV_OK;
}

static void moved(void *ctx, uint32_t bar, uint32_t addr, bool mapped)
{
	struct gadget *g = ctx;

	cr_assert_lt(g->move_count, 64);
	g->moves[g->move_count].bar = bar;
	g->moves[g->move_count].addr = addr;
	g->moves[g->move_count++].mapped = mapped;
}

static void master(void *ctx)
{
	((struct gadget *)ctx)->master_changes++;
}

static const struct pci_id id = { .vendor = 0x1af4,
	.device = 0x1042,
	.subsystem_vendor = 0x1af4,
	.subsystem = 0x1042,
	.class_code = 0x018000,
	.revision = 1 };

static void gadget_make(struct gadget *g, uint32_t bytes0, uint32_t bytes1)
{
	static const struct pci_fn_ops ops = { .bar_moved = moved, .bus_master = master };
	static const uint8_t body[] = { 1, 2, 3 };

	memset(g, 0, sizeof(*g));
	pci_fn_init(&g->fn, &id, &lock, &ops, g);
	if (bytes0)
		pci_fn_add_bar(&g->fn, 0, bytes0, bar0, g);
	if (bytes1)
		pci_fn_add_bar(&g->fn, 4, bytes1, bar1, g);
	pci_fn_add_cap(&g->fn, 0x09, body, sizeof(body));
	g->cap = pci_fn_add_cap(&g->fn, 0x11, body, 2);
}

static void setup(void)
{
	bus_init(&mmio);
	pci_segment_init(&segment, 16);
	pci_host_init(&host, &segment, &mmio, 0, WINDOW, WINDOW_BYTES);
	cr_assert_eq(
		bus_add(&mmio, ECAM, 16ull * PCI_ECAM_BUS_BYTES, pci_segment_bus, &segment, NULL),
		0);
}

TestSuite(pci, .init = setup);

static uint64_t cfg(uint32_t slot, uint32_t reg)
{
	return ECAM + (slot << 15) + reg;
}

static uint32_t rd(uint32_t slot, uint32_t reg, uint32_t len)
{
	uint32_t val = 0;

	cr_assert_eq(bus_access(&mmio, cfg(slot, reg), &val, len, false), DEV_OK);
	return val;
}

static void wr(uint32_t slot, uint32_t reg, uint32_t val, uint32_t len)
{
	cr_assert_eq(bus_access(&mmio, cfg(slot, reg), &val, len, true), DEV_OK);
}

static uint32_t mem(uint64_t at)
{
	uint32_t val = 0;

	cr_assert_eq(bus_access(&mmio, at, &val, 4, false), DEV_OK);
	return val;
}

Test(pci, ecam_decodes_bus_slot_function_register)
{
	static struct gadget g;
	uint32_t val;

	gadget_make(&g, 0x1000, 0);
	cr_assert_eq(pci_host_add(&host, 5, &g.fn), 0);
	cr_assert_eq(rd(5, PCI_VENDOR_ID, 4), 0x10421af4);
	cr_assert_eq(rd(5, PCI_DEVICE_ID, 2), 0x1042);
	cr_assert_eq(rd(5, PCI_CLASS_REVISION, 4), 0x01800001);
	cr_assert_eq(rd(5, PCI_SUBSYSTEM_ID, 2), 0x1042);
	cr_assert_eq(rd(5, PCI_HEADER_TYPE, 1), 0);
	cr_assert_eq(rd(5, PCI_INTERRUPT_PIN, 1), 0);
	cr_assert_eq(rd(0, PCI_CLASS_REVISION + 1, 1), 0, "interface of the bridge");
	cr_assert_eq(rd(0, PCI_CLASS_DEVICE, 2), 0x0600);
	cr_assert_eq(rd(4, PCI_VENDOR_ID, 4), UINT32_MAX);
	cr_assert_eq(rd(6, PCI_VENDOR_ID, 2), 0xffff);
	cr_assert_eq(rd(5, 0x100, 4), UINT32_MAX, "no extended space");
	val = 0;
	bus_access(&mmio, cfg(5, 0) + 0x1000, &val, 4, false);
	cr_assert_eq(val, UINT32_MAX, "function 1");
	val = 0;
	bus_access(&mmio, cfg(5, 0) + PCI_ECAM_BUS_BYTES, &val, 4, false);
	cr_assert_eq(val, UINT32_MAX, "bus 1");
}

Test(pci, misaligned_and_wide_accesses_are_guest_faults)
{
	static struct gadget g;
	uint64_t val = 0;

	gadget_make(&g, 0x1000, 0);
	cr_assert_eq(pci_host_add(&host, 1, &g.fn), 0);
	cr_assert_eq(bus_access(&mmio, cfg(1, 1), &val, 2, false), DEV_GUEST_FAULT);
	cr_assert_eq(bus_access(&mmio, cfg(1, 2), &val, 4, false), DEV_GUEST_FAULT);
	cr_assert_eq(val, UINT32_MAX);
	cr_assert_eq(bus_access(&mmio, cfg(1, 0), &val, 8, false), DEV_GUEST_FAULT);
}

Test(pci, bars_are_placed_apart_aligned_and_decoded)
{
	static struct gadget a, b, c;

	gadget_make(&a, 0x1000, 0x8000);
	gadget_make(&b, 0x10000, 0);
	gadget_make(&c, 0x80000, 0x80000);
	cr_assert_eq(pci_host_add(&host, 1, &a.fn), 0);
	cr_assert_eq(pci_host_add(&host, 2, &b.fn), 0);
	cr_assert_eq(pci_host_add(&host, 2, &c.fn), -EEXIST);
	cr_assert_eq(pci_host_add(&host, 3, &c.fn), -ENOSPC);
	cr_assert_eq(rd(3, PCI_VENDOR_ID, 4), UINT32_MAX);
	cr_assert_eq(rd(1, PCI_BASE_ADDRESS_0, 4), WINDOW);
	cr_assert_eq(rd(1, PCI_BASE_ADDRESS_4, 4), WINDOW + 0x8000);
	cr_assert_eq(rd(2, PCI_BASE_ADDRESS_0, 4), WINDOW + 0x10000);
	cr_assert_eq(rd(1, PCI_COMMAND, 2), PCI_COMMAND_MEMORY);
	cr_assert_eq(mem(WINDOW + 0xffc), 0xb0);
	cr_assert_eq(mem(WINDOW + 0x1000), UINT32_MAX);
	cr_assert_eq(mem(WINDOW + 0xfffc), 0xb1);
}

/* __pci_read_base() in Linux's drivers/pci/probe.c. */
Test(pci, linux_sizes_a_bar)
{
	static struct gadget g;
	uint32_t orig, size;

	gadget_make(&g, 0x8000, 0);
	cr_assert_eq(pci_host_add(&host, 1, &g.fn), 0);
	orig = rd(1, PCI_BASE_ADDRESS_0, 4);
	wr(1, PCI_COMMAND, rd(1, PCI_COMMAND, 2) & ~PCI_COMMAND_MEMORY, 2);
	cr_assert_eq(mem(orig), UINT32_MAX, "no longer decoded");
	wr(1, PCI_BASE_ADDRESS_0, UINT32_MAX, 4);
	size = rd(1, PCI_BASE_ADDRESS_0, 4);
	cr_assert_eq(size, 0xffff8000, "memory, 32 bits, not prefetchable, 32 KiB");
	wr(1, PCI_BASE_ADDRESS_0, orig, 4);
	wr(1, PCI_BASE_ADDRESS_1, UINT32_MAX, 4);
	cr_assert_eq(rd(1, PCI_BASE_ADDRESS_1, 4), 0, "no such BAR");
	wr(1, PCI_ROM_ADDRESS, UINT32_MAX, 4);
	cr_assert_eq(rd(1, PCI_ROM_ADDRESS, 4), 0);
	wr(1, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	cr_assert_eq(mem(orig), 0xb0);
	cr_assert_eq(g.move_count, 3);
	cr_assert(g.moves[0].mapped && !g.moves[1].mapped && g.moves[2].mapped);
	cr_assert_eq(g.moves[1].addr, orig);
}

/* Sizing with decoding left on: for a moment the BAR is at the top of memory. */
Test(pci, a_bar_outside_the_window_is_not_decoded)
{
	static struct gadget g;

	gadget_make(&g, 0x8000, 0);
	cr_assert_eq(pci_host_add(&host, 1, &g.fn), 0);
	wr(1, PCI_BASE_ADDRESS_0, UINT32_MAX, 4);
	cr_assert(g.fn.bar_conflict);
	cr_assert_eq(mem(0xffff8000), UINT32_MAX);
	wr(1, PCI_BASE_ADDRESS_0, WINDOW - 0x8000, 4);
	cr_assert_eq(mem(WINDOW - 0x8000), UINT32_MAX);
	wr(1, PCI_BASE_ADDRESS_0, WINDOW + WINDOW_BYTES, 4);
	cr_assert_eq(mem(WINDOW + WINDOW_BYTES), UINT32_MAX);
	wr(1, PCI_BASE_ADDRESS_0, (uint32_t)ECAM, 4);
	cr_assert_eq(rd(1, PCI_VENDOR_ID, 4), 0x10421af4, "configuration space is not shadowed");
	wr(1, PCI_BASE_ADDRESS_0, WINDOW + WINDOW_BYTES - 0x8000 + 0x123, 4);
	cr_assert_not(g.fn.bar_conflict);
	cr_assert_eq(mem(WINDOW + WINDOW_BYTES - 4), 0xb0);
	cr_assert_eq(rd(1, PCI_BASE_ADDRESS_0, 4), WINDOW + WINDOW_BYTES - 0x8000);
}

Test(pci, a_bar_on_another_bar_is_refused_until_it_is_free)
{
	static struct gadget a, b;

	gadget_make(&a, 0x1000, 0);
	gadget_make(&b, 0x1000, 0);
	cr_assert_eq(pci_host_add(&host, 1, &a.fn), 0);
	cr_assert_eq(pci_host_add(&host, 2, &b.fn), 0);
	wr(2, PCI_BASE_ADDRESS_0, WINDOW, 4);
	cr_assert(b.fn.bar_conflict);
	(void)mem(WINDOW);
	cr_assert_eq(a.bar_hits[0], 1);
	cr_assert_eq(b.bar_hits[0], 0);
	wr(1, PCI_BASE_ADDRESS_0, WINDOW + 0x4000, 4);
	wr(2, PCI_BASE_ADDRESS_0, WINDOW, 4);
	(void)mem(WINDOW);
	cr_assert_eq(b.bar_hits[0], 1);
}

Test(pci, bars_of_one_function_can_swap_places)
{
	static struct gadget g;

	gadget_make(&g, 0x1000, 0x1000);
	cr_assert_eq(pci_host_add(&host, 1, &g.fn), 0);
	wr(1, PCI_BASE_ADDRESS_0, WINDOW + 0x1000, 4); /* on BAR 4 for now */
	cr_assert(g.fn.bar_conflict);
	wr(1, PCI_BASE_ADDRESS_4, WINDOW, 4);
	cr_assert_not(g.fn.bar_conflict);
	cr_assert_eq(mem(WINDOW), 0xb1);
	cr_assert_eq(mem(WINDOW + 0x1000), 0xb0);
}

Test(pci, bytewise_writes_of_a_bar_work)
{
	static struct gadget g;

	gadget_make(&g, 0x1000, 0);
	cr_assert_eq(pci_host_add(&host, 1, &g.fn), 0);
	wr(1, PCI_BASE_ADDRESS_0 + 1, 0x20, 1);
	cr_assert_eq(rd(1, PCI_BASE_ADDRESS_0, 4), WINDOW + 0x2000);
	cr_assert_eq(mem(WINDOW + 0x2000), 0xb0);
	cr_assert_eq(mem(WINDOW), UINT32_MAX);
}

Test(pci, read_only_bits_keep_their_value)
{
	static struct gadget g;
	uint8_t before[PCI_CONFIG_BYTES];

	gadget_make(&g, 0x1000, 0);
	cr_assert_eq(pci_host_add(&host, 1, &g.fn), 0);
	memcpy(before, g.fn.config, sizeof(before));
	for (uint32_t reg = 0; reg < PCI_CONFIG_BYTES; reg += 4)
		wr(1, reg, UINT32_MAX, 4);
	for (uint32_t i = 0; i < PCI_CONFIG_BYTES; i++) {
		uint8_t now = g.fn.config[i];

		if (i == PCI_COMMAND)
			cr_assert_eq(now, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
		else if (i == PCI_COMMAND + 1)
			cr_assert_eq(now, PCI_COMMAND_INTX_DISABLE >> 8);
		else if (i == PCI_INTERRUPT_LINE)
			cr_assert_eq(now, 0xff);
		else if (i < PCI_BASE_ADDRESS_0 || i >= PCI_BASE_ADDRESS_0 + 4)
			cr_assert_eq(now, before[i], "byte 0x%x", i);
	}
}

Test(pci, capabilities_form_a_list)
{
	static struct gadget g;
	uint32_t at;

	gadget_make(&g, 0x1000, 0);
	cr_assert_eq(pci_host_add(&host, 1, &g.fn), 0);
	cr_assert(rd(1, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST);
	at = rd(1, PCI_CAPABILITY_LIST, 1);
	cr_assert_eq(at, 0x40);
	cr_assert_eq(rd(1, at, 1), 0x09);
	cr_assert_eq(rd(1, at + 4, 1), 3, "last byte of the body");
	at = rd(1, at + 1, 1);
	cr_assert_eq(at, g.cap);
	cr_assert_eq(at % 4, 0);
	cr_assert_eq(rd(1, at, 1), 0x11);
	cr_assert_eq(rd(1, at + 1, 1), 0, "end of the list");
}

Test(pci, bus_master_changes_are_told_once)
{
	static struct gadget g;

	gadget_make(&g, 0x1000, 0);
	cr_assert_eq(pci_host_add(&host, 1, &g.fn), 0);
	cr_assert_not(pci_fn_bus_master(&g.fn));
	wr(1, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	wr(1, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	cr_assert(pci_fn_bus_master(&g.fn));
	cr_assert_eq(g.master_changes, 1);
	cr_assert_eq(g.move_count, 1, "the BAR did not move");
}

Test(pci, reset_puts_bars_back)
{
	static struct gadget g;

	gadget_make(&g, 0x1000, 0);
	cr_assert_eq(pci_host_add(&host, 1, &g.fn), 0);
	wr(1, PCI_BASE_ADDRESS_0, WINDOW + 0x9000, 4);
	wr(1, PCI_COMMAND, PCI_COMMAND_MASTER, 2);
	wr(1, PCI_INTERRUPT_LINE, 11, 1);
	pci_fn_reset(&g.fn);
	cr_assert_eq(rd(1, PCI_BASE_ADDRESS_0, 4), WINDOW);
	cr_assert_eq(rd(1, PCI_COMMAND, 2), PCI_COMMAND_MEMORY);
	cr_assert_eq(rd(1, PCI_INTERRUPT_LINE, 1), 0);
	cr_assert_eq(g.master_changes, 2);
	cr_assert_eq(mem(WINDOW), 0xb0);
	cr_assert_eq(mem(WINDOW + 0x9000), UINT32_MAX);
	pci_host_reset(&host);
}

Test(pci, two_host_bridges_keep_to_their_windows)
{
	static struct pci_host second;
	static struct gadget g;
	uint64_t config = ECAM + 3 * PCI_ECAM_BUS_BYTES + (1 << 15);
	uint32_t val = WINDOW;

	pci_host_init(&second, &segment, &mmio, 3, WINDOW + WINDOW_BYTES, WINDOW_BYTES);
	gadget_make(&g, 0x1000, 0);
	cr_assert_eq(pci_host_add(&second, 1, &g.fn), 0);
	cr_assert_eq(rd(1, 0, 4), UINT32_MAX, "not on bus 0");
	cr_assert_eq(mem(config), 0x10421af4);
	cr_assert_eq(mem(WINDOW + WINDOW_BYTES), 0xb0);
	bus_access(&mmio, config + PCI_BASE_ADDRESS_0, &val, 4, true);
	cr_assert(g.fn.bar_conflict, "the first bridge's window is not its own");
}

Test(pci, a_place_taken_by_others_refuses_the_function_and_can_be_retried)
{
	static struct gadget g;
	static struct gadget other;

	gadget_make(&g, 0x1000, 0);
	cr_assert_eq(bus_add(&mmio, WINDOW + 4, 4, bar0, &other, NULL), 0);
	cr_assert_eq(pci_host_add(&host, 1, &g.fn), -EEXIST);
	cr_assert_eq(rd(1, 0, 4), UINT32_MAX);
	cr_assert_eq(bus_remove(&mmio, WINDOW + 4), 0);
	cr_assert_eq(pci_host_add(&host, 1, &g.fn), 0);
	cr_assert_eq(mem(WINDOW), 0xb0);
}
