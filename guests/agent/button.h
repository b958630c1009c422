/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_GUESTS_AGENT_BUTTON_H
#define CELLVISOR_GUESTS_AGENT_BUTTON_H

#include <poll.h>

#define BUTTON_DEVICES 8

/* KEY_POWER of any input device, also of one that appears later. */
struct button {
	struct pollfd devices[BUTTON_DEVICES]; /* fd -1: none */
};

/* From here on no press is lost: opens the input devices that there are. */
void button_open(struct button *b);

/* Returns when it was pressed. */
void button_wait(struct button *b);

#endif
