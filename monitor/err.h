/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_ERR_H
#define CELLVISOR_MONITOR_ERR_H

/*
 * Failures that a user will read. Exit codes are part of the interface of
 * `cellvisor` (docs/operations.md lists them) and travel unchanged from the
 * guest process over the monitor to the command line.
 */
enum exit_code {
	EXIT_OK = 0,
	EXIT_FAILED = 1,      /* the operation failed, or a bug of ours */
	EXIT_USAGE = 2,	      /* the command line was wrong */
	EXIT_NOT_FOUND = 3,   /* no such guest, cell or node */
	EXIT_INVALID = 4,     /* an input file or value is not usable */
	EXIT_NO_ROOM = 5,     /* does not fit into the machine's free resources */
	EXIT_ENVIRONMENT = 6, /* no /dev/kvm, no permission, kernel lacks something */
	EXIT_CONFLICT = 7,    /* already up, name taken, guests still run */
	EXIT_NOT_RUNNING = 8, /* no cells are up */
	EXIT_NO_ANSWER = 9,   /* a cell or guest did not answer in time */
};

#define ERR_TEXT_BYTES 512

/* One failure: what was wrong, where, and what would be right. */
struct err {
	enum exit_code code;
	char text[ERR_TEXT_BYTES];
};

/*
 * Fills *e (the text is cut, never overrun) and returns a negative errno that
 * matches `code`, so that callers can write `return err_set(...)`. `e` may not
 * be NULL.
 */
int err_set(struct err *e, enum exit_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
