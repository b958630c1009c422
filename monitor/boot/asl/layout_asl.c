/* SPDX-License-Identifier: BSD-2-Clause */
/* Build tool: prints the numbers of monitor/layout.h as definitions that iasl understands. */
#include "monitor/layout.h"

#include <stdio.h>

#define LINE(name, value) fprintf(out, "#define %s 0x%llx\n", name, (unsigned long long)(value))

int main(int argc, char **argv)
{
	FILE *out = argc == 2 ? fopen(argv[1], "w") : NULL;
	int bad = 0;

	if (!out) {
		fprintf(stderr, "usage: layout_asl FILE\n");
		return 2;
	}
	bad |= LINE("BRIDGE_BUS", 0) < 0;
	bad |= LINE("BRIDGE_BUSES", LAYOUT_ECAM_BUSES) < 0;
	bad |= LINE("BRIDGE_LAST_BUS", LAYOUT_ECAM_BUSES - 1) < 0;
	bad |= LINE("BRIDGE_MMIO", LAYOUT_PCI_MMIO) < 0;
	bad |= LINE("BRIDGE_MMIO_BYTES", LAYOUT_PCI_MMIO_BYTES) < 0;
	bad |= LINE("BRIDGE_MMIO_LAST", LAYOUT_PCI_MMIO + LAYOUT_PCI_MMIO_BYTES - 1) < 0;
	bad |= LINE("ECAM", LAYOUT_ECAM) < 0;
	bad |= LINE("ECAM_BYTES", LAYOUT_ECAM_BYTES) < 0;
	bad |= LINE("UART_PORT", LAYOUT_PORT_UART) < 0;
	bad |= LINE("UART_BYTES", LAYOUT_PORT_UART_BYTES) < 0;
	bad |= LINE("UART_GSI", LAYOUT_GSI_UART) < 0;
	bad |= LINE("EVENTS_PORT", LAYOUT_PORT_EVENTS) < 0;
	bad |= LINE("EVENTS_GSI", LAYOUT_GSI_EVENTS) < 0;
	bad |= LINE("EVENT_POWER_BUTTON", LAYOUT_EVENT_POWER_BUTTON) < 0;
	bad |= LINE("SLEEP_TYPE_S5", LAYOUT_SLEEP_TYPE_S5) < 0;
	bad |= fclose(out) != 0;
	return bad;
}
