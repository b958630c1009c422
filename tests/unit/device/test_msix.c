/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/device/msix.h"

#include <criterion/criterion.h>
#include <linux/pci_regs.h>
#include <string.h>

#define VECTORS 5u

/* What a KVM with irqfds would have been told. */
static struct {
	struct {
		uint64_t addr;
		uint32_t data;
		bool masked;
		int calls, signals;
	} v[VECTORS];
} kvm;

static struct bus mmio;
static struct pci_segment segment;
static struct pci_host host;
static struct pci_fn fn;
static struct msix msix;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void route(void *ctx, uint32_t vector, uint64_t addr, uint32_t data, bool masked)
{
	(void)ctx;
	cr_assert_lt(vector, VECTORS);
	cr_assert(!masked || !kvm.v[vector].masked, "told twice that vector %u is masked", vector);
	kvm.v[vector].addr = addr;
	kvm.v[vector].data = data;
	kvm.v[vector].masked = masked;
	kvm.v[vector].calls++;
}

static void signal_vector(void *ctx, uint32_t vector)
{
	(void)ctx;
	cr_assert_not(kvm.v[vector].masked, "a masked vector was signalled");
	kvm.v[vector].signals++;
}

static enum dev_outcome bar(void *dev, struct bus_req *r)
{
	r->off %= 0x800;
	return msix_table_bus(dev, r);
}

static enum dev_outcome written(void *ctx, uint32_t off, uint32_t len)
{
	(void)off;
	(void)len;
	msix_update(ctx);
	return DEV_OK;
}

static void master(void *ctx)
{
	msix_update(ctx);
}

static void setup(void)
{
	static const struct pci_fn_ops ops = { .config_written = written, .bus_master = master };
	const struct pci_id id = { .vendor = 1, .device = 2 };
	const struct msix_env env = { route, signal_vector, NULL };

	memset(&kvm, 0, sizeof(kvm));
	for (uint32_t i = 0; i < VECTORS; i++)
		kvm.v[i].masked = true;
	bus_init(&mmio);
	pci_segment_init(&segment, 1);
	pci_host_init(&host, &segment, &mmio, 0, 0xc0000000, 0x100000);
	pci_fn_init(&fn, &id, &lock, &ops, &msix);
	pci_fn_add_bar(&fn, 2, 0x1000, bar, &msix);
	msix_init(&msix, &fn, &env, VECTORS, 2, 0, 0x800);
	cr_assert_eq(pci_host_add(&host, 1, &fn), 0);
}

TestSuite(msix, .init = setup);

static void config(uint32_t reg, uint32_t val, uint8_t len)
{
	struct bus_req r = { .off = (1 << 15) + reg, .val = val, .len = len, .store = true };

	cr_assert_eq(pci_segment_bus(&segment, &r), DEV_OK);
}

static void control(uint16_t flags)
{
	config(msix.cap + PCI_MSIX_FLAGS, flags, 2);
}

static void bus_master(bool on)
{
	config(PCI_COMMAND, PCI_COMMAND_MEMORY | (on ? PCI_COMMAND_MASTER : 0), 2);
}

static void table(uint32_t vector, uint32_t field, uint64_t val, uint8_t len)
{
	struct bus_req r = { .off = vector * 16 + field, .val = val, .len = len, .store = true };

	cr_assert_eq(msix_table_bus(&msix, &r), DEV_OK);
}

static uint64_t pending(void)
{
	struct bus_req r = { .len = 8 };

	cr_assert_eq(msix_pba_bus(&msix, &r), DEV_OK);
	return r.val;
}

/* As Linux does: enable with all masked, fill the table, unmask. */
static void enable_all(void)
{
	bus_master(true);
	control(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	for (uint32_t v = 0; v < VECTORS; v++) {
		table(v, PCI_MSIX_ENTRY_LOWER_ADDR, 0xfee00000 + (v << 12), 4);
		table(v, PCI_MSIX_ENTRY_UPPER_ADDR, v, 4);
		table(v, PCI_MSIX_ENTRY_DATA, 0x40 + v, 4);
	}
	control(PCI_MSIX_FLAGS_ENABLE);
	for (uint32_t v = 0; v < VECTORS; v++)
		table(v, PCI_MSIX_ENTRY_VECTOR_CTRL, 0, 4);
}

Test(msix, the_capability_tells_size_and_places)
{
	uint32_t dword;

	cr_assert_eq(fn.config[msix.cap], PCI_CAP_ID_MSIX);
	cr_assert_eq(fn.config[msix.cap + PCI_MSIX_FLAGS], VECTORS - 1);
	memcpy(&dword, &fn.config[msix.cap + PCI_MSIX_TABLE], 4);
	cr_assert_eq(dword, 0x000 | 2);
	memcpy(&dword, &fn.config[msix.cap + PCI_MSIX_PBA], 4);
	cr_assert_eq(dword, 0x800 | 2);
	control(0x3fff);
	memcpy(&dword, &fn.config[msix.cap], 4);
	cr_assert_eq(dword >> 16 & PCI_MSIX_FLAGS_QSIZE, VECTORS - 1, "the size is read-only");
}

Test(msix, a_route_is_told_when_a_vector_comes_alive_and_when_it_changes)
{
	enable_all();
	for (uint32_t v = 0; v < VECTORS; v++) {
		cr_assert_eq(kvm.v[v].calls, 1, "vector %u: nothing is told while masked", v);
		cr_assert_eq(kvm.v[v].addr, (uint64_t)v << 32 | (0xfee00000 + (v << 12)));
		cr_assert_eq(kvm.v[v].data, 0x40 + v);
	}
	table(3, PCI_MSIX_ENTRY_DATA, 0x99, 4);
	cr_assert_eq(kvm.v[3].data, 0x99);
	cr_assert_eq(kvm.v[3].calls, 2);
	cr_assert_eq(kvm.v[2].calls, 1);
	table(3, PCI_MSIX_ENTRY_VECTOR_CTRL, 1, 4);
	cr_assert(kvm.v[3].masked);
	table(3, PCI_MSIX_ENTRY_VECTOR_CTRL, 1, 4);
	cr_assert_eq(kvm.v[3].calls, 3);
}

Test(msix, entries_can_be_written_as_quadwords)
{
	struct bus_req r = { .off = 16, .len = 8 };

	enable_all();
	table(1, 8, 0x00000001000000abull, 8);
	cr_assert(kvm.v[1].masked, "data and control in one store");
	table(1, 0, 0x00000002fee01003ull, 8);
	table(1, 8, 0xab, 8);
	cr_assert_eq(kvm.v[1].addr, 0x00000002fee01000ull, "the two low bits are zero");
	cr_assert_eq(kvm.v[1].data, 0xab);
	cr_assert_eq(msix_table_bus(&msix, &r), DEV_OK);
	cr_assert_eq(r.val, 0x00000002fee01000ull);
}

Test(msix, signals_go_through_only_when_nothing_masks)
{
	msix_signal(&msix, 2);
	cr_assert_eq(pending(), 0, "disabled: nobody would ever look");
	enable_all();
	msix_signal(&msix, 2);
	cr_assert_eq(kvm.v[2].signals, 1);
	cr_assert_eq(kvm.v[1].signals, 0);
	msix_signal(&msix, VECTORS);
	msix_signal(&msix, 0xffff);

	table(2, PCI_MSIX_ENTRY_VECTOR_CTRL, 1, 4);
	msix_signal(&msix, 2);
	msix_signal(&msix, 2);
	cr_assert_eq(pending(), 1u << 2);
	table(2, PCI_MSIX_ENTRY_VECTOR_CTRL, 0, 4);
	cr_assert_eq(kvm.v[2].signals, 2, "two signals while masked are one");
	cr_assert_eq(pending(), 0);

	control(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	for (uint32_t v = 0; v < VECTORS; v++)
		cr_assert(kvm.v[v].masked);
	msix_signal(&msix, 4);
	cr_assert_eq(pending(), 1u << 4);
	control(PCI_MSIX_FLAGS_ENABLE);
	cr_assert_eq(kvm.v[4].signals, 1);

	bus_master(false);
	msix_signal(&msix, 0);
	cr_assert_eq(kvm.v[0].signals, 0, "an MSI is a write by the bus master");
	bus_master(true);
	cr_assert_eq(kvm.v[0].signals, 1);
}

Test(msix, a_vector_masked_by_itself_stays_silent_when_the_function_is_unmasked)
{
	enable_all();
	table(1, PCI_MSIX_ENTRY_VECTOR_CTRL, 1, 4);
	control(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	msix_signal(&msix, 1);
	control(PCI_MSIX_FLAGS_ENABLE);
	cr_assert_eq(kvm.v[1].signals, 0);
	cr_assert_eq(pending(), 1u << 1);
	control(0);
	cr_assert_eq(pending(), 0);
}

Test(msix, reset_masks_and_forgets)
{
	enable_all();
	table(1, PCI_MSIX_ENTRY_VECTOR_CTRL, 1, 4);
	msix_signal(&msix, 1);
	pci_fn_reset(&fn);
	msix_reset(&msix);
	for (uint32_t v = 0; v < VECTORS; v++)
		cr_assert(kvm.v[v].masked, "vector %u", v);
	cr_assert_eq(pending(), 0);
	bus_master(true);
	control(PCI_MSIX_FLAGS_ENABLE);
	for (uint32_t v = 0; v < VECTORS; v++) {
		struct bus_req r = { .off = v * 16 + 8, .len = 8 };

		cr_assert(kvm.v[v].masked);
		cr_assert_eq(msix_table_bus(&msix, &r), DEV_OK);
		cr_assert_eq(r.val, 1ull << 32);
	}
}

Test(msix, odd_accesses_are_guest_faults)
{
	static const struct {
		uint32_t off;
		uint8_t len;
		bool store;
	} table_cases[] = { { 0, 1, false }, { 0, 2, true }, { 4, 8, true }, { 2, 4, false },
		{ VECTORS * 16, 4, false }, { VECTORS * 16, 8, true }, { 0x7fc, 4, true } },
	  pba_cases[] = { { 0, 8, true }, { 8, 4, false }, { 0, 1, false }, { 4, 8, false } };

	for (size_t i = 0; i < sizeof(table_cases) / sizeof(table_cases[0]); i++) {
		struct bus_req r = { table_cases[i].off, 0, table_cases[i].len,
			table_cases[i].store };

		cr_assert_eq(msix_table_bus(&msix, &r), DEV_GUEST_FAULT, "table case %zu", i);
	}
	for (size_t i = 0; i < sizeof(pba_cases) / sizeof(pba_cases[0]); i++) {
		struct bus_req r = { pba_cases[i].off, 0, pba_cases[i].len, pba_cases[i].store };

		cr_assert_eq(msix_pba_bus(&msix, &r), DEV_GUEST_FAULT, "pending case %zu", i);
	}
}
