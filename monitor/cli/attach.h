/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CLI_ATTACH_H
#define CELLVISOR_MONITOR_CLI_ATTACH_H

#include <stdbool.h>

#include "monitor/err.h"

/* The key that leaves a console: Ctrl-]. */
#define ATTACH_ESCAPE 0x1d

/*
 * A connection to a guest's console. A descriptor, or -errno with *e
 * (EXIT_NO_ANSWER) naming the guest.
 */
int attach_connect(const char *path, const char *name, struct err *e);

/* How an attached console was left. */
enum attach_end {
	ATTACH_CLOSED,	/* the guest ended */
	ATTACH_ESCAPED, /* Ctrl-] on a terminal */
	ATTACH_EOF,	/* end of input, and the guest has been silent since */
};

/*
 * Copies standard input to the console and the console to standard output. A
 * terminal is set to raw mode meanwhile. Without a terminal the end of input
 * ends it a second after the guest's last word; with `stay` only the guest's end
 * does.
 */
enum attach_end attach_run(int console, bool stay);

#endif
