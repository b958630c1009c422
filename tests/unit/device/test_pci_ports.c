/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/device/pci_ports.h"

#include <criterion/criterion.h>

/* A bus with a function in slot 3, so that neither the first nor the bridge is meant. */
struct machine {
	struct bus mmio;
	struct pci_segment segment;
	struct pci_host host;
	struct pci_fn fn;
	pthread_mutex_t lock;
	struct pci_ports ports;
};

static void build(struct machine *m)
{
	static const struct pci_id id = {
		.vendor = 0x1af4, .device = 0x1042, .class_code = 0x010000
	};

	*m = (struct machine){ 0 };
	pthread_mutex_init(&m->lock, NULL);
	bus_init(&m->mmio);
	pci_segment_init(&m->segment, 2);
	pci_host_init(&m->host, &m->segment, &m->mmio, 0, 0xc0000000u, 0x1000000u);
	pci_fn_init(&m->fn, &id, &m->lock, &(struct pci_fn_ops){ 0 }, NULL);
	cr_assert_eq(pci_host_add(&m->host, 3, &m->fn), 0);
	pci_ports_init(&m->ports, &m->segment);
}

static uint64_t in(struct machine *m, uint32_t port, uint8_t len)
{
	struct bus_req r = { .off = port - PCI_PORTS_FIRST, .len = len };

	cr_assert_eq(pci_ports_bus(&m->ports, &r), DEV_OK);
	return len == 4 ? (uint32_t)r.val : len == 2 ? (uint16_t)r.val : (uint8_t)r.val;
}

static void out(struct machine *m, uint32_t port, uint8_t len, uint64_t val)
{
	struct bus_req r = { .off = port - PCI_PORTS_FIRST, .len = len, .store = true, .val = val };

	cr_assert_eq(pci_ports_bus(&m->ports, &r), DEV_OK);
}

/* What Linux does to find out whether mechanism #1 is there (pci_check_type1). */
Test(pci_ports, is_found_by_the_probe_of_linux)
{
	struct machine m;

	build(&m);
	out(&m, 0xcfb, 1, 0x01);
	out(&m, 0xcf8, 4, 0x80000000u);
	cr_assert_eq(in(&m, 0xcf8, 4), 0x80000000u);
	cr_assert_eq(
		in(&m, 0xcfc + 2, 2), m.host.bridge.config[2] + 256u * m.host.bridge.config[3]);
}

Test(pci_ports, reaches_the_function_and_register_addressed)
{
	struct machine m;

	build(&m);
	out(&m, 0xcf8, 4, 0x80000000u | 3 << 11);
	cr_assert_eq(in(&m, 0xcfc, 4), 0x10421af4u);
	cr_assert_eq(in(&m, 0xcfe, 2), 0x1042u);
	out(&m, 0xcf8, 4, 0x80000000u | 3 << 11 | 0x3c);
	out(&m, 0xcfc, 1, 0x5a);
	cr_assert_eq(in(&m, 0xcfc, 1), 0x5au);
	cr_assert_eq(m.fn.config[0x3c], 0x5a);
}

Test(pci_ports, reads_ones_where_nothing_is)
{
	static const uint32_t nowhere[] = {
		0x80000000u | 4 << 11,		/* no such slot */
		0x80000000u | 3 << 11 | 1 << 8, /* no such function */
		0x80000000u | 1 << 16,		/* a bus without a bridge */
		0x80000000u | 0xff << 16,	/* a bus beyond the segment */
		3 << 11,			/* not enabled */
	};
	struct machine m;

	build(&m);
	for (size_t i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++) {
		out(&m, 0xcf8, 4, nowhere[i]);
		cr_assert_eq(in(&m, 0xcfc, 4), 0xffffffffu, "case %zu", i);
	}
}

Test(pci_ports, forgets_its_address_on_reset)
{
	struct machine m;

	build(&m);
	out(&m, 0xcf8, 4, 0x80000000u | 3 << 11);
	pci_ports_reset(&m.ports);
	cr_assert_eq(in(&m, 0xcf8, 4), 0u);
	cr_assert_eq(in(&m, 0xcfc, 4), 0xffffffffu);
}
