/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_RUNTIME_H
#define CELLVISOR_MONITOR_CELL_RUNTIME_H

/*
 * The runtime directory: where it is and the names in it (docs/operations.md).
 */

#include <stddef.h>
#include <stdint.h>

#include "monitor/err.h"
#include "monitor/guest/spec.h"

/* Longest path below it that a socket address takes, with its NUL. */
#define RUNTIME_PATH_BYTES 108
/* Longest name of the directory itself, without its NUL. */
#define RUNTIME_DIR_MAX 40

/* $CELLVISOR_RUNTIME_DIR, else /run/cellvisor. EXIT_USAGE if too long or not absolute. */
int runtime_dir(char dir[RUNTIME_DIR_MAX + 1], struct err *e);

/* DIR/cell-N/FILE, or DIR/cell-N when `file` is NULL. Returns buf. */
const char *runtime_cell_path(
	char buf[RUNTIME_PATH_BYTES], const char *dir, uint32_t cell, const char *file);

/* DIR/cell-N/guests/NAME/FILE, or the guest's folder when `file` is NULL. Returns buf. */
const char *runtime_guest_path(char buf[RUNTIME_PATH_BYTES], const char *dir, uint32_t cell,
	const char *name, const char *file);

#endif
