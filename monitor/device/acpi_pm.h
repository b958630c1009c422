/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_DEVICE_ACPI_PM_H
#define CELLVISOR_MONITOR_DEVICE_ACPI_PM_H

#include "monitor/device/bus.h"
#include "monitor/layout.h"

/*
 * Power and events of a hardware-reduced ACPI machine: sleep control and status
 * registers (ACPI 6.4, 4.8.3.7), the reset register (4.8.3.6) and the register
 * of pending events that the Generic Event Device's method reads. One thread at
 * a time: give the range and acpi_pm_power_button the same lock.
 */

/* Its port range, to be claimed at ACPI_PM_BASE. */
#define ACPI_PM_BASE LAYOUT_PORT_SLEEP_CONTROL
#define ACPI_PM_BYTES (LAYOUT_PORT_EVENTS - ACPI_PM_BASE + 1)

struct acpi_pm_env {
	/* The line LAYOUT_GSI_EVENTS changed to `level`: high while an event is pending. */
	void (*irq)(void *ctx, bool level);
	void *ctx; /* borrowed, outlives the device */
};

struct acpi_pm {
	struct acpi_pm_env env;
	uint8_t sleep_control;
	uint8_t pending; /* LAYOUT_EVENT_* */
};

void acpi_pm_init(struct acpi_pm *p, const struct acpi_pm_env *env);

/* Forgets pending events; the line goes low. */
void acpi_pm_reset(struct acpi_pm *p);

/*
 * bus_fn, byte accesses only. DEV_POWER_OFF when the guest enters S5, DEV_RESET
 * when it writes LAYOUT_RESET_VALUE to the reset register.
 */
enum dev_outcome acpi_pm_bus(void *pm, struct bus_req *r);

/* Somebody pressed the guest's power button. Pressing it again before the guest looked is one
 * press. */
void acpi_pm_power_button(struct acpi_pm *p);

#endif
