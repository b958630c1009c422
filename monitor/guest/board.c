/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/guest/board.h"

#include "monitor/guest/board_disk.h"
#include "monitor/layout.h"
#include "numa/check.h"

#include <stdio.h>
#include <string.h>

/*
 * Lines of the interrupt controller. KVM_IRQ_LINE fails only for what can't
 * happen here: no interrupt controller, or a GSI that is none.
 */
static void set_line(struct board *b, uint32_t gsi, bool level)
{
	CHECK(kvm_vm_irq_line(&views_main(b->views)->vm, gsi, level) == 0);
}

static void uart_irq(void *ctx, bool level)
{
	set_line(ctx, LAYOUT_GSI_UART, level);
}

static void uart_out(void *ctx, uint8_t byte)
{
	struct board *b = ctx;

	b->env.console_out(b->env.ctx, byte);
}

static void uart_room(void *ctx)
{
	struct board *b = ctx;

	b->env.console_room(b->env.ctx);
}

static void pm_irq(void *ctx, bool level)
{
	set_line(ctx, LAYOUT_GSI_EVENTS, level);
}

/* The address map is ours and constant, so claiming it can't fail. */
static void claim(struct bus *bus, uint64_t base, uint64_t bytes, bus_fn *fn, void *dev,
	pthread_mutex_t *lock)
{
	CHECK(bus_add(bus, base, bytes, fn, dev, lock) == 0);
}

static void compose(struct board *b)
{
	const struct uart_env uart_env = {
		.irq = uart_irq, .out = uart_out, .room = uart_room, .ctx = b
	};
	const struct acpi_pm_env pm_env = { .irq = pm_irq, .ctx = b };

	bus_init(&b->pio);
	bus_init(&b->mmio);
	CHECK(!pthread_mutex_init(&b->uart_lock, NULL));
	CHECK(!pthread_mutex_init(&b->pm_lock, NULL));
	uart_init(&b->uart, &uart_env);
	claim(&b->pio, LAYOUT_PORT_UART, UART_BYTES, uart_bus, &b->uart, &b->uart_lock);
	acpi_pm_init(&b->pm, &pm_env);
	claim(&b->pio, ACPI_PM_BASE, ACPI_PM_BYTES, acpi_pm_bus, &b->pm, &b->pm_lock);
	pci_segment_init(&b->segment, LAYOUT_ECAM_BUSES);
	claim(&b->mmio, LAYOUT_ECAM, LAYOUT_ECAM_BYTES, pci_segment_bus, &b->segment, NULL);
	pci_ports_init(&b->pci_ports, &b->segment);
	CHECK(!pthread_mutex_init(&b->pci_ports_lock, NULL));
	claim(&b->pio, PCI_PORTS_FIRST, PCI_PORTS_BYTES, pci_ports_bus, &b->pci_ports,
		&b->pci_ports_lock);
	pci_host_init(&b->host, &b->segment, &b->mmio, 0, (uint32_t)LAYOUT_PCI_MMIO,
		(uint32_t)LAYOUT_PCI_MMIO_BYTES);
}

int board_init(struct board *b, struct views *views, uint32_t cpus, struct blk_file *files,
	uint32_t count, const struct board_env *env, struct err *e)
{
	int rc;

	memset(b, 0, sizeof(*b));
	b->env = *env;
	b->views = views;
	rc = kvm_routes_init(&b->routes, &views_main(views)->vm, e);
	if (rc) {
		for (uint32_t i = 0; i < count; i++)
			blk_file_close(&files[i]);
		return rc;
	}
	compose(b);
	for (uint32_t i = 0; i < count; i++) {
		if (!rc)
			rc = board_disk_init(b, &b->disks[i], i, cpus, &files[i], e);
		if (rc)
			blk_file_close(&files[i]);
		else
			b->disk_count++;
	}
	if (rc)
		board_fini(b);
	return rc;
}

int board_start(struct board *b, struct err *e)
{
	for (uint32_t i = 0; i < b->disk_count; i++) {
		int rc = virtio_blk_start(b->disks[i].blk, e);

		if (rc)
			return rc;
	}
	return 0;
}

void board_fini(struct board *b)
{
	while (b->disk_count > 0)
		board_disk_fini(&b->disks[--b->disk_count]);
	pci_host_fini(&b->host);
	bus_fini(&b->pio);
	bus_fini(&b->mmio);
	pthread_mutex_destroy(&b->uart_lock);
	pthread_mutex_destroy(&b->pm_lock);
	pthread_mutex_destroy(&b->pci_ports_lock);
	kvm_routes_fini(&b->routes);
}

void board_reset(struct board *b)
{
	pthread_mutex_lock(&b->uart_lock);
	uart_reset(&b->uart);
	pthread_mutex_unlock(&b->uart_lock);
	pthread_mutex_lock(&b->pm_lock);
	acpi_pm_reset(&b->pm);
	pthread_mutex_unlock(&b->pm_lock);
	pthread_mutex_lock(&b->pci_ports_lock);
	pci_ports_reset(&b->pci_ports);
	pthread_mutex_unlock(&b->pci_ports_lock);
	for (uint32_t i = 0; i < b->disk_count; i++)
		virtio_blk_reset(b->disks[i].blk);
	pci_host_reset(&b->host);
}

void board_rehome(struct board *b)
{
	for (uint32_t i = 0; i < b->disk_count; i++)
		virtio_blk_moved(b->disks[i].blk);
}

size_t board_console_input(struct board *b, const uint8_t *data, size_t bytes)
{
	uint32_t taken;

	pthread_mutex_lock(&b->uart_lock);
	taken = uart_receive(&b->uart, data, bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX);
	pthread_mutex_unlock(&b->uart_lock);
	return taken;
}

void board_power_button(struct board *b)
{
	pthread_mutex_lock(&b->pm_lock);
	acpi_pm_power_button(&b->pm);
	pthread_mutex_unlock(&b->pm_lock);
}
