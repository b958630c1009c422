// SPDX-License-Identifier: BSD-2-Clause
//
// The body of a PCI host bridge, included within its Device(), which adds _UID and, for a
// bridge of one vNUMA node, _PXM. The BRIDGE names are its buses and its memory window.
Name(_HID, EISAID("PNP0A08"))
Name(_CID, EISAID("PNP0A03"))
Name(_SEG, 0)
Name(_BBN, BRIDGE_BUS)

Name(_CRS, ResourceTemplate() {
	WordBusNumber(ResourceProducer, MinFixed, MaxFixed, PosDecode,
		0, BRIDGE_BUS, BRIDGE_LAST_BUS, 0, BRIDGE_BUSES)
	DWordMemory(ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
		0, BRIDGE_MMIO, BRIDGE_MMIO_LAST, 0, BRIDGE_MMIO_BYTES)
})

// PCI Firmware Specification 3.3, 4.5: the guest asks for control of PCI Express features.
// There is no firmware that would want any of them, so it gets the five that are defined:
// native hot plug, SHPC hot plug, PME, AER, capability structure.
Method(_OSC, 4, Serialized) {
	CreateDWordField(Arg3, 0, STAT)
	If (LNotEqual(Arg0, ToUUID("33DB4D5B-1FF7-401C-9657-7441C03DD766"))) {
		Or(STAT, 0x04, STAT) // unknown UUID
		Return(Arg3)
	}
	If (LLess(Arg2, 3)) {
		Or(STAT, 0x02, STAT) // too short for the control field
		Return(Arg3)
	}
	CreateDWordField(Arg3, 8, CTRL)
	If (LNotEqual(Arg1, 1)) {
		Or(STAT, 0x08, STAT) // unknown revision
	}
	Store(And(CTRL, 0x1F), Local0)
	If (LNotEqual(Local0, CTRL)) {
		Or(STAT, 0x10, STAT) // some were masked
	}
	Store(Local0, CTRL)
	Return(Arg3)
}
