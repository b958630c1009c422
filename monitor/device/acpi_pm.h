/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_DEVICE_ACPI_PM_H
#define CELLVISOR_MONITOR_DEVICE_ACPI_PM_H

#include <stdint.h>

#include "monitor/device/bus.h"

struct acpi_pm_env {
	void (*irq)(void *ctx, bool level); /* of LAYOUT_GSI_EVENTS */
	void *ctx;			    /* borrowed, outlives the device */
};

/*
 * Power management of a hardware-reduced ACPI machine (ACPI 6.4, 4.8.3.7):
 * sleep control and status, reset register, and the register of events that the
 * DSDT's Generic Event Device reads. Holds no fds or heap. One thread at a time.
 */
struct acpi_pm {
	struct acpi_pm_env env;
	uint8_t events; /* pending, LAYOUT_EVENT_* */
};

void acpi_pm_init(struct acpi_pm *p, const struct acpi_pm_env *env);
void acpi_pm_reset(struct acpi_pm *p);

/* Presses the power button: a guest that listens shuts down in order. */
void acpi_pm_power_button(struct acpi_pm *p);

/*
 * Two bus_fns; `dev` is a struct acpi_pm. The first covers the ports from
 * LAYOUT_PORT_SLEEP_CONTROL to LAYOUT_PORT_RESET, the second LAYOUT_PORT_EVENTS.
 */
#define ACPI_PM_SLEEP_PORTS 3u
enum dev_outcome acpi_pm_sleep_bus(void *dev, struct bus_req *r);
enum dev_outcome acpi_pm_events_bus(void *dev, struct bus_req *r);

#endif
