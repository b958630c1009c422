/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_GUEST_SPEC_H
#define CELLVISOR_MONITOR_GUEST_SPEC_H

/*
 * What a guest is asked to be: the value that travels as JSON from the command
 * line over the monitor to the guest process, and back when a guest registers
 * with a new monitor. Pure.
 */

#include "monitor/err.h"
#include "numa/vnuma.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define SPEC_NAME_MAX 32u     /* without the terminating 0 */
#define SPEC_PATH_BYTES 1024u /* with it, as all further _BYTES of texts */
#define SPEC_CMDLINE_BYTES 2048u
#define SPEC_DISKS_MAX 16u
#define SPEC_NODES_MAX 64u
#define SPEC_CPUS_MAX 240u
#define SPEC_VNUMA_MAX VNUMA_MAX
#define SPEC_MEMORY_MIN (32ull << 20)
#define SPEC_MEMORY_MAX (16ull << 40)
/* RAM comes in huge pages; also the least that a vNUMA node is a multiple of. */
#define SPEC_MEMORY_UNIT VNUMA_UNIT_BYTES
#define SPEC_ANY_CELL 0xffffffffu
#define SPEC_CELLS_MAX 64u
#define SPEC_CELL_MAX 1023u
#define SPEC_RESTARTS_MAX 1000000u
/* Texts of a guest that is restarted: every cell keeps a copy of them. */
#define SPEC_RESTART_TEXT_BYTES 2048u
#define SPEC_CONSOLE_WAIT_MS 10000u

struct spec_disk {
	char path[SPEC_PATH_BYTES]; /* absolute */
	bool read_only;
};

/* A plain value: may be copied, owns nothing. */
struct guest_spec {
	char name[SPEC_NAME_MAX + 1];
	char kernel[SPEC_PATH_BYTES]; /* absolute */
	char initrd[SPEC_PATH_BYTES]; /* absolute, or "" for none */
	struct spec_disk disks[SPEC_DISKS_MAX];
	uint32_t disk_count;
	char cmdline[SPEC_CMDLINE_BYTES];
	uint32_t cpus;			/* 1 .. SPEC_CPUS_MAX */
	uint64_t memory_bytes;		/* a multiple of SPEC_MEMORY_UNIT */
	uint32_t vnuma;			/* NUMA nodes the guest sees; 0: flat, no SRAT */
	uint32_t cell;			/* wanted home cell, or SPEC_ANY_CELL */
	uint32_t nodes[SPEC_NODES_MAX]; /* wanted host nodes, ascending */
	uint32_t node_count;		/* 0: any */
	/*
	 * How many cells it may need at most, its home included: 1 .. SPEC_CELLS_MAX. With 1 it
	 * lives and dies with its home alone; only above may it get memory or CPUs of other cells.
	 */
	uint32_t cells_max;
	/* What was loaded and never written is healed after a memory error; see views_init(). */
	bool heal;
	/*
	 * After a crash or the loss of a cell it is started again, where there is room:
	 * at most restart_max times in a row (0: any number); `restarts` says how many
	 * there were before this life.
	 */
	bool restart;
	uint32_t restart_max, restarts;
	/*
	 * The vCPUs wait until a client is connected to the console, SPEC_CONSOLE_WAIT_MS at
	 * most: for `run --attach`, which must not miss the guest's first words.
	 */
	bool wait_console;
	bool gang; /* never two of its vCPUs on one host CPU */
};

/* All zero but for what has to be something: one CPU, any cell, but no more than one. */
void guest_spec_init(struct guest_spec *s);

/*
 * Is it a name for a guest: 1 to SPEC_NAME_MAX of a-z A-Z 0-9 . _ -, beginning
 * with a letter or digit. 0, or a negative errno (EXIT_USAGE).
 */
int guest_name_check(const char *name, struct err *e);

/*
 * Judges all values, not the files behind the paths. 0, or a negative errno with
 * *e: EXIT_USAGE for name and CPUs, EXIT_INVALID for the rest; the text says
 * what would be right.
 */
int guest_spec_check(const struct guest_spec *s, struct err *e);

/*
 * {"name","kernel","initrd"?,"disks":[{"path","read_only"}],"cmdline","cpus",
 * "memory_bytes","vnuma","cell"?,"nodes":[],"cells_max"?,"heal"?,"restart"?,"restart_max"?,
 * "restarts"?,"wait_console"?,"gang"?}. A new reference, NULL when out of memory.
 */
json_t *guest_spec_encode(const struct guest_spec *s);

/*
 * The reverse, for any JSON value (borrowed): fields of wrong type, unknown or
 * missing ones are refused by name (EXIT_INVALID), then guest_spec_check() is
 * asked. name, kernel, cpus and memory_bytes are required. *s is untouched on
 * failure.
 */
int guest_spec_decode(const json_t *value, struct guest_spec *s, struct err *e);

#endif
