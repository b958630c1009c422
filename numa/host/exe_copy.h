/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_NUMA_HOST_EXE_COPY_H
#define CELLVISOR_NUMA_HOST_EXE_COPY_H

#include <stdint.h>

/*
 * Copies what is loaded of an executable (`from` is borrowed) into a sealed memfd of this name
 * (below 64 characters) whose pages all lie on node os_node, to be run with fexecve(3): so no text
 * page is shared between cells, and none of a cell's text dies with another
 * cell. What only debuggers read is left out. Returns the descriptor (close-on-exec, owned by the
 * caller) or -errno; -ENOMEM also when a page ended up on another node.
 */
int exe_copy(int from, const char *name, uint32_t os_node);

#endif
