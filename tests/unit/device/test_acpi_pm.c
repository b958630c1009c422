/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/device/acpi_pm.h"

#include <criterion/criterion.h>

struct line {
	bool level;
	int changes;
};

static void irq(void *ctx, bool level)
{
	struct line *l = ctx;

	cr_assert_neq(l->level, level, "the line is told only when it changes");
	l->level = level;
	l->changes++;
}

static struct line line;
static struct acpi_pm pm;

static void setup(void)
{
	line = (struct line){ 0 };
	acpi_pm_init(&pm, &(struct acpi_pm_env){ irq, &line });
}

TestSuite(acpi_pm, .init = setup);

static enum dev_outcome store(uint64_t port, uint8_t val)
{
	struct bus_req r = { .off = port - ACPI_PM_BASE, .val = val, .len = 1, .store = true };

	return acpi_pm_bus(&pm, &r);
}

static uint64_t load(uint64_t port)
{
	struct bus_req r = { .off = port - ACPI_PM_BASE, .len = 1 };

	cr_assert_eq(acpi_pm_bus(&pm, &r), DEV_OK);
	return r.val;
}

Test(acpi_pm, s5_switches_off_only_with_the_enable_bit_and_the_right_type)
{
	const uint8_t s5 = LAYOUT_SLEEP_TYPE_S5 << 2;

	cr_assert_eq(store(LAYOUT_PORT_SLEEP_CONTROL, s5), DEV_OK, "type alone does nothing");
	cr_assert_eq(load(LAYOUT_PORT_SLEEP_CONTROL), s5);
	cr_assert_eq(store(LAYOUT_PORT_SLEEP_CONTROL, 0x20 | 3 << 2), DEV_GUEST_FAULT, "no S3");
	cr_assert_eq(store(LAYOUT_PORT_SLEEP_CONTROL, 0x20 | s5), DEV_POWER_OFF);
	cr_assert_eq(load(LAYOUT_PORT_SLEEP_CONTROL), s5, "SLP_EN reads as 0");
}

Test(acpi_pm, reset_register_takes_its_value_only)
{
	cr_assert_eq(store(LAYOUT_PORT_RESET, LAYOUT_RESET_VALUE + 1), DEV_GUEST_FAULT);
	cr_assert_eq(store(LAYOUT_PORT_RESET, LAYOUT_RESET_VALUE), DEV_RESET);
	cr_assert_eq(store(LAYOUT_PORT_SLEEP_STATUS, 0x80), DEV_OK, "Linux clears WAK_STS");
	cr_assert_eq(load(LAYOUT_PORT_SLEEP_STATUS), 0);
}

Test(acpi_pm, power_button_is_pending_until_read)
{
	acpi_pm_power_button(&pm);
	cr_assert(line.level);
	acpi_pm_power_button(&pm);
	cr_assert_eq(line.changes, 1);
	cr_assert_eq(load(LAYOUT_PORT_EVENTS), LAYOUT_EVENT_POWER_BUTTON);
	cr_assert_not(line.level);
	cr_assert_eq(load(LAYOUT_PORT_EVENTS), 0);
	acpi_pm_power_button(&pm);
	cr_assert(line.level, "a second press, after the first was seen, counts");
	acpi_pm_reset(&pm);
	cr_assert_not(line.level);
	cr_assert_eq(load(LAYOUT_PORT_EVENTS), 0);
}

Test(acpi_pm, gaps_and_wide_accesses_are_guest_faults)
{
	struct bus_req wide = { .off = 0, .len = 2, .store = true, .val = 0x3434 };
	struct bus_req gap = { .off = LAYOUT_PORT_RESET + 1 - ACPI_PM_BASE, .len = 1 };

	cr_assert_eq(acpi_pm_bus(&pm, &wide), DEV_GUEST_FAULT);
	cr_assert_eq(acpi_pm_bus(&pm, &gap), DEV_GUEST_FAULT);
	cr_assert_eq(store(LAYOUT_PORT_EVENTS, 1), DEV_GUEST_FAULT);
	cr_assert_eq(ACPI_PM_BYTES, LAYOUT_PORT_EVENTS - LAYOUT_PORT_SLEEP_CONTROL + 1);
}
