/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/kvm/routes.h"

#include "numa/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define PIC_PINS 16u
#define PIC_PINS_PER_CHIP 8u

static uint32_t build_pins(struct kvm_irq_routing_entry *entries)
{
	uint32_t n = 0;

	for (uint32_t gsi = 0; gsi < PIC_PINS; gsi++)
		entries[n++] = (struct kvm_irq_routing_entry){
			.gsi = gsi,
			.type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip.irqchip = gsi < PIC_PINS_PER_CHIP ? KVM_IRQCHIP_PIC_MASTER
								     : KVM_IRQCHIP_PIC_SLAVE,
			.u.irqchip.pin = gsi % PIC_PINS_PER_CHIP,
		};
	for (uint32_t gsi = 0; gsi < LAYOUT_IOAPIC_PINS; gsi++)
		entries[n++] = (struct kvm_irq_routing_entry){
			.gsi = gsi,
			.type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC,
			.u.irqchip.pin = gsi,
		};
	return n;
}

uint32_t kvm_routes_build(
	const struct kvm_routes *r, struct kvm_irq_routing_entry entries[KVM_ROUTES_MAX])
{
	uint32_t n = build_pins(entries);

	for (uint32_t i = 0; i < LAYOUT_MSI_ROUTES; i++) {
		if (!r->set[i])
			continue;
		entries[n++] = (struct kvm_irq_routing_entry){
			.gsi = LAYOUT_GSI_MSI + i,
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi.address_lo = (uint32_t)r->msi[i].address,
			.u.msi.address_hi = (uint32_t)(r->msi[i].address >> 32),
			.u.msi.data = r->msi[i].data,
		};
	}
	return n;
}

static int write_table(const struct kvm_routes *r)
{
	struct kvm_irq_routing *table;
	int rc = 0;

	if (!r->vm)
		return 0;
	table = calloc(1, sizeof(*table) + KVM_ROUTES_MAX * sizeof(table->entries[0]));
	if (!table)
		return -ENOMEM;
	table->nr = kvm_routes_build(r, table->entries);
	if (ioctl(r->vm->fd, KVM_SET_GSI_ROUTING, table) < 0)
		rc = -errno;
	free(table);
	return rc;
}

int kvm_routes_init(struct kvm_routes *r, struct kvm_vm *vm, struct err *e)
{
	int rc;

	memset(r, 0, sizeof(*r));
	r->vm = vm;
	rc = write_table(r);
	if (rc)
		return err_set(e, EXIT_ENVIRONMENT, "KVM: KVM_SET_GSI_ROUTING failed: %s",
			strerrordesc_np(-rc));
	CHECK(!pthread_mutex_init(&r->lock, NULL));
	return 0;
}

void kvm_routes_fini(struct kvm_routes *r)
{
	pthread_mutex_destroy(&r->lock);
}

int kvm_routes_take(struct kvm_routes *r, uint32_t count)
{
	uint32_t run = 0;
	int gsi = -ENOSPC;

	CHECK(count > 0);
	pthread_mutex_lock(&r->lock);
	for (uint32_t i = 0; i < LAYOUT_MSI_ROUTES && gsi < 0; i++) {
		run = r->used[i] ? 0 : run + 1;
		if (run == count) {
			uint32_t first = i + 1 - count;

			memset(&r->used[first], true, count);
			gsi = (int)(LAYOUT_GSI_MSI + first);
		}
	}
	pthread_mutex_unlock(&r->lock);
	return gsi;
}

/* Index of a GSI that was handed out. */
static uint32_t index_of(const struct kvm_routes *r, uint32_t gsi)
{
	CHECK(gsi >= LAYOUT_GSI_MSI && gsi < LAYOUT_GSI_MSI + LAYOUT_MSI_ROUTES);
	CHECK(r->used[gsi - LAYOUT_GSI_MSI]);
	return gsi - LAYOUT_GSI_MSI;
}

int kvm_routes_give(struct kvm_routes *r, uint32_t gsi, uint32_t count)
{
	bool changed = false;
	int rc = 0;

	pthread_mutex_lock(&r->lock);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = index_of(r, gsi + i);

		changed = changed || r->set[at];
		r->used[at] = false;
		r->set[at] = false;
	}
	if (changed)
		rc = write_table(r);
	pthread_mutex_unlock(&r->lock);
	return rc;
}

static bool same(const struct kvm_routes *r, uint32_t at, const struct kvm_message *msi)
{
	if (!msi)
		return !r->set[at];
	return r->set[at] && r->msi[at].address == msi->address && r->msi[at].data == msi->data;
}

int kvm_routes_set(struct kvm_routes *r, uint32_t gsi, const struct kvm_message *msi)
{
	struct kvm_message old_msi;
	bool old_set;
	uint32_t at;
	int rc = 0;

	pthread_mutex_lock(&r->lock);
	at = index_of(r, gsi);
	if (!same(r, at, msi)) {
		old_msi = r->msi[at];
		old_set = r->set[at];
		r->set[at] = msi != NULL;
		if (msi)
			r->msi[at] = *msi;
		rc = write_table(r);
		if (rc) {
			r->msi[at] = old_msi;
			r->set[at] = old_set;
		}
	}
	pthread_mutex_unlock(&r->lock);
	return rc;
}
