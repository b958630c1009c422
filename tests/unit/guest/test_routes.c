/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/kvm/routes.h"

#include <criterion/criterion.h>
#include <errno.h>

static struct kvm_routes routes;
static struct kvm_irq_routing_entry entries[KVM_ROUTES_MAX];

static void setup(void)
{
	struct err e;

	cr_assert_eq(kvm_routes_init(&routes, NULL, &e), 0);
}

static void teardown(void)
{
	kvm_routes_fini(&routes);
}

/* The one entry of a GSI of this type, NULL if there is none. */
static const struct kvm_irq_routing_entry *entry_of(uint32_t gsi, uint32_t type)
{
	const struct kvm_irq_routing_entry *found = NULL;
	uint32_t count = kvm_routes_build(&routes, entries);

	for (uint32_t i = 0; i < count; i++)
		if (entries[i].gsi == gsi && entries[i].type == type) {
			cr_assert(!found || type == KVM_IRQ_ROUTING_IRQCHIP,
				"GSI %u is routed twice", gsi);
			found = &entries[i];
		}
	return found;
}

Test(routes, pins_are_routed_from_the_start, .init = setup, .fini = teardown)
{
	uint32_t count = kvm_routes_build(&routes, entries), ioapic = 0, pic = 0;

	for (uint32_t i = 0; i < count; i++) {
		cr_assert_eq(entries[i].type, KVM_IRQ_ROUTING_IRQCHIP);
		if (entries[i].u.irqchip.irqchip == KVM_IRQCHIP_IOAPIC) {
			cr_assert_eq(entries[i].u.irqchip.pin, entries[i].gsi);
			ioapic++;
		} else {
			uint32_t chip = entries[i].u.irqchip.irqchip == KVM_IRQCHIP_PIC_SLAVE;

			cr_assert_eq(chip * 8 + entries[i].u.irqchip.pin, entries[i].gsi);
			pic++;
		}
	}
	cr_assert_eq(ioapic, 24);
	cr_assert_eq(pic, 16);
}

Test(routes, a_route_is_what_was_set_last, .init = setup, .fini = teardown)
{
	int gsi = kvm_routes_take(&routes, 3);
	const struct kvm_message first = { 0x1fee01000, 0x41 }, second = { 0x1fee01000, 0x52 };
	const struct kvm_irq_routing_entry *e;

	cr_assert_eq(gsi, 24);
	cr_assert_null(entry_of(25, KVM_IRQ_ROUTING_MSI));
	cr_assert_eq(kvm_routes_set(&routes, 25, &first), 0);
	e = entry_of(25, KVM_IRQ_ROUTING_MSI);
	cr_assert(e);
	cr_assert_eq(e->u.msi.address_lo, 0xfee01000);
	cr_assert_eq(e->u.msi.address_hi, 1);
	cr_assert_eq(e->u.msi.data, 0x41);
	cr_assert_eq(kvm_routes_set(&routes, 25, &second), 0);
	e = entry_of(25, KVM_IRQ_ROUTING_MSI);
	cr_assert_eq(e->u.msi.data, 0x52);
	cr_assert_null(entry_of(24, KVM_IRQ_ROUTING_MSI));
	cr_assert_null(entry_of(26, KVM_IRQ_ROUTING_MSI));
	cr_assert_eq(kvm_routes_set(&routes, 25, NULL), 0);
	cr_assert_null(entry_of(25, KVM_IRQ_ROUTING_MSI));
	/* the same message again after it was taken away */
	cr_assert_eq(kvm_routes_set(&routes, 25, &second), 0);
	cr_assert(entry_of(25, KVM_IRQ_ROUTING_MSI));
}

Test(routes, numbers_are_consecutive_and_come_back, .init = setup, .fini = teardown)
{
	const struct kvm_message m = { 0xfee00000, 1 };
	int a = kvm_routes_take(&routes, 2), b = kvm_routes_take(&routes, 3),
	    c = kvm_routes_take(&routes, 1);

	cr_assert_eq(b, a + 2);
	cr_assert_eq(c, b + 3);
	cr_assert_eq(kvm_routes_set(&routes, (uint32_t)b, &m), 0);
	cr_assert_eq(kvm_routes_give(&routes, (uint32_t)b, 3), 0);
	cr_assert_null(entry_of((uint32_t)b, KVM_IRQ_ROUTING_MSI), "a route outlives its number");
	cr_assert_eq(kvm_routes_take(&routes, 4), c + 1, "no room between the others");
	cr_assert_eq(kvm_routes_take(&routes, 3), b);
	cr_assert_null(entry_of((uint32_t)b, KVM_IRQ_ROUTING_MSI));
}

Test(routes, the_last_number_is_usable_and_then_none, .init = setup, .fini = teardown)
{
	const struct kvm_message m = { 0xfee00000, 1 };

	cr_assert_eq(kvm_routes_take(&routes, LAYOUT_MSI_ROUTES), (int)LAYOUT_GSI_MSI);
	cr_assert_eq(kvm_routes_take(&routes, 1), -ENOSPC);
	for (uint32_t i = 0; i < LAYOUT_MSI_ROUTES; i++)
		cr_assert_eq(kvm_routes_set(&routes, LAYOUT_GSI_MSI + i, &m), 0);
	cr_assert_eq(kvm_routes_build(&routes, entries), KVM_ROUTES_MAX);
}
