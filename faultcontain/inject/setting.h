/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_INJECT_SETTING_H
#define CELLVISOR_FAULTCONTAIN_INJECT_SETTING_H

/* Small files of the kernel, and changing them for a while. */

#include <stddef.h>

#include "numa/cpu_set.h"

#define SETTING_TEXT_BYTES 1024u
#define SETTING_PATH_BYTES 128u

/* Reads a small file whole, without its last newline. 0 or -errno; -E2BIG if it does not fit. */
int setting_read(const char *path, char *text, size_t bytes);
/* A CPU list as in /sys/devices/system/cpu/online; an empty list is an empty set. 0 or -errno. */
int setting_read_cpus(const char *path, struct cpu_set *cpus);

struct setting {
	char path[SETTING_PATH_BYTES];
	char before[SETTING_TEXT_BYTES];
};

/* Settings that were changed. A value; zero-initialized is empty. */
struct settings {
	struct setting *list; /* owned */
	size_t count, room;
};

/* Remembers what is in the file and writes `text`. 0 or -errno; then nothing is changed. */
int settings_change(struct settings *s, const char *path, const char *text);
/* Writes back what was there, last change first, and frees. Whatever can't be written stays. */
void settings_restore(struct settings *s);

#endif
