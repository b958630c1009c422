/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/device/pci_ports.h"

#define ADDRESS_ENABLE 0x80000000u
#define ADDRESS_BITS 0x80fffffcu /* the others read as zero */
#define DATA_OFF 4u

void pci_ports_init(struct pci_ports *p, struct pci_segment *segment)
{
	p->segment = segment;
	p->address = 0;
}

void pci_ports_reset(struct pci_ports *p)
{
	p->address = 0;
}

/* Bus, device and function are 8 bits lower here than in ECAM, which has 12 bits of register. */
static uint64_t ecam_offset(uint32_t address, uint64_t byte)
{
	return (uint64_t)(address >> 8 & 0xffff) << 12 | (address & 0xfc) | byte;
}

enum dev_outcome pci_ports_bus(void *ports, struct bus_req *r)
{
	struct pci_ports *p = ports;
	struct bus_req config = { .val = r->val, .len = r->len, .store = r->store };
	enum dev_outcome outcome;

	if (r->off < DATA_OFF) {
		/* Smaller accesses there are for other chips, of which we have none. */
		if (r->off != 0 || r->len != 4)
			r->val = r->store ? r->val : UINT64_MAX;
		else if (r->store)
			p->address = (uint32_t)r->val & ADDRESS_BITS;
		else
			r->val = p->address;
		return DEV_OK;
	}
	if (!(p->address & ADDRESS_ENABLE) || r->len > 4) {
		if (!r->store)
			r->val = UINT64_MAX;
		return DEV_OK;
	}
	config.off = ecam_offset(p->address, r->off - DATA_OFF);
	outcome = pci_segment_bus(p->segment, &config);
	r->val = config.val;
	return outcome;
}
