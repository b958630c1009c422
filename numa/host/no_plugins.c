/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hwloc loads plugins, for GPUs and the like, from a folder of the system. Into a
 * static executable they would bring a second libc; so its dlopen() fails there:
 * such executables are linked with --wrap=dlopen, and with this as with no_udev.c.
 */
#include <stddef.h>

void *__wrap_dlopen(const char *file, int mode);

void *__wrap_dlopen(const char *file, int mode)
{
	(void)file;
	(void)mode;
	return NULL;
}
