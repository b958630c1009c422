/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_GUEST_BOARD_H
#define CELLVISOR_MONITOR_GUEST_BOARD_H

/*
 * The guest's board: buses, devices on them, and the wires between devices and
 * KVM. Everything here is composed before the guest runs.
 */

#include "monitor/device/acpi_pm.h"
#include "monitor/device/blk_file.h"
#include "monitor/device/bus.h"
#include "monitor/device/pci.h"
#include "monitor/device/pci_ports.h"
#include "monitor/device/uart.h"
#include "monitor/device/virtio_blk.h"
#include "monitor/err.h"
#include "monitor/guest/spec.h"
#include "monitor/guest/view.h"
#include "monitor/kvm/routes.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct board_env {
	/* The guest printed a byte; it takes input again. Any thread; must not wait. */
	void (*console_out)(void *ctx, uint8_t byte);
	void (*console_room)(void *ctx);
	/* Something that the guest's operator should read. Any thread. */
	void (*remark)(void *ctx, const char *text);
	void *ctx; /* borrowed */
};

#define BOARD_VECTORS_MAX (BLK_QUEUES_MAX + 1u)

struct board;

/* A disk and its interrupts: vector v is GSI gsi + v, raised by eventfd vector_fds[v]. */
struct board_disk {
	struct board *board;
	struct virtio_blk *blk; /* owned */
	uint32_t index, vector_count;
	uint32_t gsi;
	int vector_fds[BOARD_VECTORS_MAX]; /* owned */
};

/* Big: allocate it. */
struct board {
	struct board_env env;
	struct views *views; /* borrowed */
	struct kvm_routes routes;
	struct bus pio, mmio;
	pthread_mutex_t uart_lock, pm_lock, pci_ports_lock;
	struct uart uart;
	struct acpi_pm pm;
	struct pci_segment segment;
	struct pci_ports pci_ports;
	struct pci_host host;
	struct board_disk disks[SPEC_DISKS_MAX];
	uint32_t disk_count;
};

/*
 * Composes the board for `cpus` vCPUs. The `count` opened images are given away,
 * also on failure. No thread runs yet. 0, or a negative errno with *e.
 */
int board_init(struct board *b, struct views *views, uint32_t cpus, struct blk_file *files,
	uint32_t count, const struct board_env *env, struct err *e);

/* Starts the disks' threads, which inherit the caller's CPUs and memory policy. */
int board_start(struct board *b, struct err *e);

/* No vCPU runs. Waits for disk requests in flight. */
void board_fini(struct board *b);

/* All devices as after power-on. No vCPU runs. Waits for disk requests in flight. */
void board_reset(struct board *b);

/* The disks' threads have been bound to other CPUs. */
void board_rehome(struct board *b);

/* Offers console input; returns how many bytes were taken. Any thread. */
size_t board_console_input(struct board *b, const uint8_t *data, size_t bytes);

/* Any thread. */
void board_power_button(struct board *b);

#endif
