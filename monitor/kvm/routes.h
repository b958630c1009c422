/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_KVM_ROUTES_H
#define CELLVISOR_MONITOR_KVM_ROUTES_H

/*
 * The GSI routing table of a VM. KVM takes it only whole, so this keeps it.
 * Pins of the IOAPIC are routed from the start (GSI n to pin n, and to the PIC
 * below 16); the MSI routes from LAYOUT_GSI_MSI on are handed out and written by
 * devices. Any thread.
 */

#include "monitor/err.h"
#include "monitor/kvm/vm.h"
#include "monitor/layout.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct kvm_message {
	uint64_t address;
	uint32_t data;
};

struct kvm_routes {
	struct kvm_vm *vm; /* borrowed; NULL: keeps the table only (tests) */
	pthread_mutex_t lock;
	bool used[LAYOUT_MSI_ROUTES]; /* handed out */
	bool set[LAYOUT_MSI_ROUTES];  /* routed to msi[] */
	struct kvm_message msi[LAYOUT_MSI_ROUTES];
};

/* Writes the table of the pins. 0, or -errno with *e (EXIT_ENVIRONMENT). */
int kvm_routes_init(struct kvm_routes *r, struct kvm_vm *vm, struct err *e);
void kvm_routes_fini(struct kvm_routes *r);

/* Hands out `count` consecutive GSIs, not routed yet; the first one, or -ENOSPC. */
int kvm_routes_take(struct kvm_routes *r, uint32_t count);

/* Gives them back; those routed lose their route. 0 or -errno. */
int kvm_routes_give(struct kvm_routes *r, uint32_t gsi, uint32_t count);

/*
 * Routes a GSI that was handed out to a message, or to nothing when `msi` is
 * NULL. The same route again costs nothing. 0 or -errno, and then the table is
 * as before.
 */
int kvm_routes_set(struct kvm_routes *r, uint32_t gsi, const struct kvm_message *msi);

/* Largest table: all pins, their PIC twins and all MSI routes. */
#define KVM_ROUTES_MAX (LAYOUT_IOAPIC_PINS + 16u + LAYOUT_MSI_ROUTES)

/* Builds the table for KVM_SET_GSI_ROUTING; returns the number of entries. Pure. */
uint32_t kvm_routes_build(
	const struct kvm_routes *r, struct kvm_irq_routing_entry entries[KVM_ROUTES_MAX]);

#endif
