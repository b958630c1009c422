/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_DEVICE_PCI_PORTS_H
#define CELLVISOR_MONITOR_DEVICE_PCI_PORTS_H

#include "monitor/device/pci.h"

#define PCI_PORTS_FIRST 0xcf8u
#define PCI_PORTS_BYTES 8u

/*
 * Configuration mechanism #1 (PCI Local Bus 3.0, 3.2.2.3.2): an address port at
 * 0xcf8 and a data port at 0xcfc. Linux takes ECAM for granted only where it has
 * found this one, and says 'Fatal' otherwise. One thread at a time.
 */
struct pci_ports {
	struct pci_segment *segment; /* borrowed */
	uint32_t address;	     /* what the guest wrote last */
};

void pci_ports_init(struct pci_ports *p, struct pci_segment *segment);
void pci_ports_reset(struct pci_ports *p);

/* A bus_fn for the PCI_PORTS_BYTES ports from PCI_PORTS_FIRST on; `ports` is a struct pci_ports. */
enum dev_outcome pci_ports_bus(void *ports, struct bus_req *r);

#endif
