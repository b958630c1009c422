/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/device/acpi_pm.h"

#define OFF_CONTROL (LAYOUT_PORT_SLEEP_CONTROL - ACPI_PM_BASE)
#define OFF_STATUS (LAYOUT_PORT_SLEEP_STATUS - ACPI_PM_BASE)
#define OFF_RESET (LAYOUT_PORT_RESET - ACPI_PM_BASE)
#define OFF_EVENTS (LAYOUT_PORT_EVENTS - ACPI_PM_BASE)

/* Sleep control register, ACPI 6.4 table 4.25. */
#define SLP_TYP_SHIFT 2
#define SLP_TYP_MASK 0x07u
#define SLP_EN 0x20u

void acpi_pm_init(struct acpi_pm *p, const struct acpi_pm_env *env)
{
	*p = (struct acpi_pm){ .env = *env };
}

static void set_pending(struct acpi_pm *p, uint8_t pending)
{
	bool was = p->pending != 0;

	p->pending = pending;
	if (was != (pending != 0))
		p->env.irq(p->env.ctx, pending != 0);
}

void acpi_pm_reset(struct acpi_pm *p)
{
	p->sleep_control = 0;
	set_pending(p, 0);
}

void acpi_pm_power_button(struct acpi_pm *p)
{
	set_pending(p, p->pending | LAYOUT_EVENT_POWER_BUTTON);
}

static enum dev_outcome store(struct acpi_pm *p, uint64_t off, uint8_t val)
{
	switch (off) {
	case OFF_CONTROL:
		p->sleep_control = val & (uint8_t)~SLP_EN; /* SLP_EN reads as 0 */
		if (!(val & SLP_EN))
			return DEV_OK;
		/* S5 is the only sleeping state that the tables declare. */
		return ((val >> SLP_TYP_SHIFT) & SLP_TYP_MASK) == LAYOUT_SLEEP_TYPE_S5
			       ? DEV_POWER_OFF
			       : DEV_GUEST_FAULT;
	case OFF_STATUS: /* WAK_STS is write-one-to-clear and never set: nobody wakes from S5 */
		return DEV_OK;
	case OFF_RESET:
		return val == LAYOUT_RESET_VALUE ? DEV_RESET : DEV_GUEST_FAULT;
	default:
		return DEV_GUEST_FAULT;
	}
}

enum dev_outcome acpi_pm_bus(void *pm, struct bus_req *r)
{
	struct acpi_pm *p = pm;

	if (r->len != 1)
		return DEV_GUEST_FAULT;
	if (r->store)
		return store(p, r->off, (uint8_t)r->val);
	switch (r->off) {
	case OFF_CONTROL:
		r->val = p->sleep_control;
		return DEV_OK;
	case OFF_STATUS:
	case OFF_RESET:
		r->val = 0;
		return DEV_OK;
	case OFF_EVENTS:
		r->val = p->pending;
		set_pending(p, 0);
		return DEV_OK;
	default:
		return DEV_GUEST_FAULT;
	}
}
