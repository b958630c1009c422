/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static int errno_of(enum exit_code code)
{
	switch (code) {
	case EXIT_OK:
		return 0;
	case EXIT_USAGE:
	case EXIT_INVALID:
		return -EINVAL;
	case EXIT_NOT_FOUND:
		return -ENOENT;
	case EXIT_NO_ROOM:
		return -ENOMEM;
	case EXIT_ENVIRONMENT:
		return -EPERM;
	case EXIT_CONFLICT:
		return -EBUSY;
	case EXIT_NOT_RUNNING:
		return -ECONNREFUSED;
	case EXIT_NO_ANSWER:
		return -ETIMEDOUT;
	case EXIT_FAILED:
		break;
	}
	return -EIO;
}

int err_set(struct err *e, enum exit_code code, const char *fmt, ...)
{
	va_list ap;

	e->code = code;
	va_start(ap, fmt);
	(void)vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	return errno_of(code);
}
