/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/device/acpi_pm.h"

#include "monitor/layout.h"

/* Sleep control register (ACPI 6.4, table 4.19): type in bits 2-4, enable is bit 5. */
#define SLEEP_ENABLE 0x20
#define SLEEP_TYPE(value) ((value) >> 2 & 7)

void acpi_pm_init(struct acpi_pm *p, const struct acpi_pm_env *env)
{
	p->env = *env;
	p->events = 0;
}

void acpi_pm_reset(struct acpi_pm *p)
{
	p->events = 0;
	p->env.irq(p->env.ctx, false);
}

void acpi_pm_power_button(struct acpi_pm *p)
{
	p->events |= LAYOUT_EVENT_POWER_BUTTON;
	p->env.irq(p->env.ctx, true);
}

enum dev_outcome acpi_pm_sleep_bus(void *dev, struct bus_req *r)
{
	(void)dev;
	if (r->len != 1)
		return DEV_GUEST_FAULT;
	if (!r->store) {
		r->val = 0; /* awake, and WAK_STS is never needed: there is no S1 to S4 */
		return DEV_OK;
	}
	switch (LAYOUT_PORT_SLEEP_CONTROL + r->off) {
	case LAYOUT_PORT_SLEEP_CONTROL:
		if ((r->val & SLEEP_ENABLE) && SLEEP_TYPE(r->val) == LAYOUT_SLEEP_TYPE_S5)
			return DEV_POWER_OFF;
		return DEV_OK;
	case LAYOUT_PORT_RESET:
		return r->val == LAYOUT_RESET_VALUE ? DEV_RESET : DEV_OK;
	default:
		return DEV_OK;
	}
}

enum dev_outcome acpi_pm_events_bus(void *dev, struct bus_req *r)
{
	struct acpi_pm *p = dev;

	if (r->len != 1)
		return DEV_GUEST_FAULT;
	if (r->store)
		return DEV_OK;
	r->val = p->events;
	p->events = 0;
	p->env.irq(p->env.ctx, false);
	return DEV_OK;
}
