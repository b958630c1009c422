/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_GUEST_PROCESS_H
#define CELLVISOR_MONITOR_GUEST_PROCESS_H

/*
 * `cellvisor guest --cell=N --name=NAME --runtime=DIR`: the guest process.
 * Internal: a cell monitor starts it with fd 3 as report.h says, in a session of
 * its own. It makes console.sock and console.log in DIR/cell-N/guests/NAME,
 * which has to exist, and removes console.sock when it ends; the log stays for
 * `console --log`. Once the guest runs, that folder is the process's root: to be
 * found again, a later monitor puts its guests.sock there, as a hard link named
 * GUEST_MONITOR_SOCK. Returns the exit status: EXIT_OK when powered off or killed
 * on request, else an exit_code that it also told the monitor.
 */
int guest_process_main(int argc, char **argv);

/* Names in the guest's folder. */
#define GUEST_CONSOLE_SOCK "console.sock"
#define GUEST_CONSOLE_LOG "console.log"
/* The log is begun anew at GUEST_LOG_BYTES; the one before is kept under this name. */
#define GUEST_CONSOLE_LOG_OLD "console.log.old"
#define GUEST_LOG_BYTES (1u << 20)
#define GUEST_MONITOR_SOCK "monitor.sock"

#endif
