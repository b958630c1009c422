/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_GUEST_CONSOLE_LOG_H
#define CELLVISOR_MONITOR_GUEST_CONSOLE_LOG_H

/*
 * The console's log: bounded, in two files that change roles. Both are open from
 * the start, because the sandbox opens nothing.
 */

#include "monitor/guest/console.h"

/* 0, or a negative errno with *e (EXIT_ENVIRONMENT). */
int console_log_open(struct console *c, const struct console_files *files, struct err *e);
void console_log_close(struct console *c);

/* Appends; what the file system refuses is lost, and the guest goes on. */
void console_log_write(struct console *c, const uint8_t *data, size_t bytes);

#endif
