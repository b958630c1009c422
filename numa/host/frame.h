/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_NUMA_HOST_FRAME_H
#define CELLVISOR_NUMA_HOST_FRAME_H

/* Frames of physical memory: of which node, and taken out of use. */

#include <stdint.h>

#define FRAME_BYTES 4096u

/*
 * The node (the operating system's number) that a page frame is memory of, from sysfs. 0; -ENOENT:
 * it is no memory, or offline; -EXDEV: its block of memory belongs to several nodes; or -errno.
 */
int frame_node(uint64_t frame, uint32_t *os_node);

/*
 * Soft offline (Documentation/admin-guide/sysfs-memory-page-offline): the kernel moves what is in
 * the frame to another one, of the same node if that has free memory, and never uses it again
 * before its next boot. May hang for as long as a CPU does. 0, or
 * -errno: -EBUSY and -EIO when it can't be moved, -EOPNOTSUPP without CONFIG_MEMORY_FAILURE.
 */
int frame_soft_offline(uint64_t frame);

#endif
