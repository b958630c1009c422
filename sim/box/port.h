/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_SIM_BOX_PORT_H
#define CELLVISOR_SIM_BOX_PORT_H

#include <stddef.h>

/*
 * Writes the device path of the virtio-serial port of that name into path.
 * 0, or -ENODEV if this machine has no such port.
 */
int box_port_find(const char *name, char *path, size_t path_bytes);

#endif
