/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_GUESTS_AGENT_BUTTON_H
#define CELLVISOR_GUESTS_AGENT_BUTTON_H

/*
 * Waits for the power button: KEY_POWER of any input device, also of one that
 * appears later. Returns when it was pressed.
 */
void button_wait(void);

#endif
