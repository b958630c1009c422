/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_GUEST_SANDBOX_H
#define CELLVISOR_MONITOR_GUEST_SANDBOX_H

/*
 * What a guest process can still do once its guest runs. A guest that takes over
 * the process (a bug in a device model) has its own files, its own memory, its
 * VM and the socket to its monitor, and no way to open, execute or signal
 * anything else. docs/guest-process.md has the list and the reasons.
 */

#include "monitor/err.h"

/*
 * Makes `folder` the process's root and only folder, and takes it off the
 * network, so that the paths and sockets of the calls that the filter allows
 * (unlink, rename, connect) reach nothing else, not even abstract sockets. Before
 * privileges are dropped, by the only thread. 0, or a negative errno with *e
 * (EXIT_ENVIRONMENT).
 */
int sandbox_enclose(const char *folder, struct err *e);

/*
 * Gives up all capabilities for good and sets no_new_privs. For the calling
 * thread and those it starts: call it before any other exists, after everything
 * is open. 0, or a negative errno with *e (EXIT_ENVIRONMENT).
 */
int sandbox_drop_privileges(struct err *e);

/*
 * Installs the system call filter in all threads of the process. A call that is
 * not on the list ends the process with SIGSYS: only a bug or an attack makes
 * one. A few that libc tries and can do without fail instead. 0, or a negative
 * errno with *e (EXIT_ENVIRONMENT).
 */
int sandbox_filter(struct err *e);

#endif
