// SPDX-License-Identifier: BSD-2-Clause
//
// What the guest can't find out by itself. CPUs are in the MADT alone. The names in
// capitals come from monitor/layout.h (asl/layout_asl.c).
#include "layout.asl"

DefinitionBlock("dsdt.aml", "DSDT", 2, "CELLVR", "CELLVISR", 1)
{
	// Sleep type for the sleep control register; the second is for a register we don't have.
	Name(\_S5, Package() { SLEEP_TYPE_S5, 0, 0, 0 })

	Scope(\_SB) {
		Device(PCI0) {
			Name(_UID, 0)
			#include "host_bridge.asl"
		}

		// Linux uses ECAM only if this (or E820) reserves it.
		Device(MBRD) {
			Name(_HID, EISAID("PNP0C02"))
			Name(_UID, 0)
			Name(_CRS, ResourceTemplate() {
				Memory32Fixed(ReadWrite, ECAM, ECAM_BYTES)
			})
		}

		// There is no legacy interrupt controller, so the interrupt is a GSI.
		Device(COM1) {
			Name(_HID, EISAID("PNP0501"))
			Name(_UID, 0)
			Name(_CRS, ResourceTemplate() {
				IO(Decode16, UART_PORT, UART_PORT, 1, UART_BYTES)
				Interrupt(ResourceConsumer, Edge, ActiveHigh, Exclusive) { UART_GSI }
			})
		}

		Device(PWRB) {
			Name(_HID, EISAID("PNP0C0C"))
			Name(_UID, 0)
		}

		// Events from the monitor: its interrupt says that the port has some.
		Device(GED) {
			Name(_HID, "ACPI0013")
			Name(_UID, 0)
			Name(_CRS, ResourceTemplate() {
				Interrupt(ResourceConsumer, Edge, ActiveHigh, Exclusive) { EVENTS_GSI }
			})
			OperationRegion(EVTS, SystemIO, EVENTS_PORT, 1)
			Field(EVTS, ByteAcc, NoLock, WriteAsZeros) {
				EVTB, 8
			}
			Method(_EVT, 1, Serialized) {
				Store(EVTB, Local0) // reading clears them
				If (And(Local0, EVENT_POWER_BUTTON)) {
					Notify(\_SB.PWRB, 0x80)
				}
			}
		}
	}
}
