/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_SIM_BOX_CLIENT_H
#define CELLVISOR_SIM_BOX_CLIENT_H

/*
 * Asks the outside of a box (docs/box.md) for hardware events. All calls block
 * for at most their deadline. One thread at a time per client; several
 * processes take turns, since the kernel opens the port for one at a time.
 *
 * Errors: 0 or a negative errno with *e filled in:
 *	-ENODEV      this machine is no box
 *	-ETIMEDOUT   the port was busy, or no answer came, within the deadline
 *	-EREMOTEIO   the outside refused; e->text has its reason
 *	-EPIPE       the outside has gone
 *	others       from open, read, write
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "monitor/err.h"
#include "sim/box/proto.h"

/* Long enough for what the outside may try for seconds, such as freezing each CPU of a node. */
#define BOX_CLIENT_DEADLINE_MS 60000u

struct box_client {
	int fd;
	struct box_lines lines;
};

/* True if this machine is a box: it has the control port. */
bool box_client_here(void);

/*
 * Opens the control port. Keep it open for a few calls only: others wait. Open
 * it before anything is frozen if it is needed during the freeze.
 */
int box_client_open(struct box_client *c, unsigned deadline_ms, struct err *e);
void box_client_close(struct box_client *c);

/*
 * One request and its reply. Writes the reply's text, cut to answer_bytes, into
 * answer, which may be NULL.
 */
int box_client_call(struct box_client *c, const char *verb, const char *const *words,
	size_t word_count, unsigned deadline_ms, char *answer, size_t answer_bytes, struct err *e);

/*
 * Which moment of a CPU a freeze may strike. A CPU that idles (HLT) holds no
 * lock of the emulator, so everything else goes on for sure. One that executes
 * may hold what others need: then the outside notices that the emulator no
 * longer answers, thaws the CPU and tries again.
 */
enum box_freeze {
	BOX_FREEZE_IDLE, /* only while it idles; refused if it never does for 2 s */
	BOX_FREEZE_ANY,	 /* preferably while it idles, else as it is */
};

/*
 * Freezes one CPU: from the reply on it executes nothing. Freezing a frozen CPU
 * and thawing one that runs are refused. A frozen CPU's timers and interrupts
 * stay pending and strike at the thaw.
 */
int box_client_freeze_cpu(struct box_client *c, uint32_t cpu, enum box_freeze how, struct err *e);
int box_client_thaw_cpu(struct box_client *c, uint32_t cpu, struct err *e);

/*
 * All CPUs of a node, or none: if one can't be frozen the others are thawed
 * again. The node of CPU 0 may be frozen too. thaw_node thaws those that are frozen.
 */
int box_client_freeze_node(struct box_client *c, uint32_t node, enum box_freeze how, struct err *e);
int box_client_thaw_node(struct box_client *c, uint32_t node, struct err *e);

/* A machine check, in the words of the AMD and Intel manuals. */
struct box_mce {
	uint32_t cpu, bank;
	uint64_t status, mcg_status, addr, misc;
	bool broadcast; /* to all CPUs, as Intel does */
};

/*
 * Raises it. Refused while the CPU (for a broadcast: any CPU) is frozen, since
 * the emulator would wait for it.
 */
int box_client_mce(struct box_client *c, const struct box_mce *mce, struct err *e);

/* Ends the box; its exit status is then 125 unless the command ended before. */
int box_client_power_off(struct box_client *c, struct err *e);

#endif
