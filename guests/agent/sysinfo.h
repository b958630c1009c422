/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_GUESTS_AGENT_SYSINFO_H
#define CELLVISOR_GUESTS_AGENT_SYSINFO_H

/* What the guest's kernel says of its machine. */

#include <stddef.h>
#include <stdint.h>

#define SYSINFO_NODES 64u
#define SYSINFO_CPUS 1024u

/*
 * Numbers of a kernel list such as "0-3,8". How many; -EINVAL if it is none or
 * holds more than `room` numbers. An empty list has none.
 */
long sysinfo_parse_list(const char *text, uint32_t *numbers, size_t room);

/* Bytes of the line that starts with (after blanks) or holds `name`, such as "MemTotal:"; 0 if
 * none. */
uint64_t sysinfo_parse_meminfo(const char *text, const char *name);

/* The value of the word `name=VALUE` of a kernel command line, decimal; `fallback` if it is
 * missing or no number up to `max`. */
uint64_t sysinfo_parse_option(
	const char *cmdline, const char *name, uint64_t max, uint64_t fallback);

/* Numbers of the NUMA nodes that have memory; at least node 0. */
size_t sysinfo_memory_nodes(uint32_t nodes[SYSINFO_NODES]);

uint64_t sysinfo_available_bytes(void);

/* The answer to `info` in JSON; owned by the caller (free). NULL without memory. */
char *sysinfo_json(void);

/* Reads at most bytes - 1 of a small file and terminates them. The length; 0 if it can't be read.
 */
size_t sysinfo_read(const char *path, char *out, size_t bytes);

#endif
