/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_NUMA_HOST_EXE_COPY_H
#define CELLVISOR_NUMA_HOST_EXE_COPY_H

#include <stdint.h>

/*
 * Copies the running executable into a sealed memfd named "cellvisor-cell-N"
 * whose pages all lie on node os_node, to be run with fexecve(3): so no text
 * page is shared between cells, and none of a cell's text dies with another
 * cell. Returns the descriptor (close-on-exec, owned by the caller) or -errno;
 * -ENOMEM also when a page ended up on another node.
 */
int exe_copy(uint32_t cell, uint32_t os_node);

#endif
