/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_NUMA_HOST_KERNEL_FILE_H
#define CELLVISOR_NUMA_HOST_KERNEL_FILE_H

/*
 * Writes `text` to a file by which the kernel is told something (sysfs, cgroup, tracefs), in one
 * write, as the kernel wants it. `dir` is a descriptor, or AT_FDCWD; `name` is below it, or
 * absolute. 0 or -errno of whichever step failed; -EIO: the kernel took a part only.
 */
int kernel_file_write(int dir, const char *name, const char *text);

#endif
