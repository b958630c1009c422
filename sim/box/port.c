/* SPDX-License-Identifier: BSD-2-Clause */
#include "sim/box/port.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PORTS "/sys/class/virtio-ports"

/* Without udev there are no links by name in /dev/virtio-ports. */
int box_port_find(const char *name, char *path, size_t path_bytes)
{
	DIR *dir = opendir(PORTS);
	struct dirent *entry;
	int rc = -ENODEV;

	if (!dir)
		return -ENODEV;
	/* One stream belongs to one thread. NOLINTNEXTLINE(concurrency-mt-unsafe) */
	while (rc && (entry = readdir(dir))) {
		char file[sizeof(PORTS) + sizeof(entry->d_name) + sizeof("//name")];
		char line[128] = "";
		FILE *f;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), PORTS "/%s/name", entry->d_name);
		f = fopen(file, "re");
		if (!f)
			continue;
		if (fgets(line, sizeof(line), f) && (line[strcspn(line, "\n")] = '\0', 1) &&
			strcmp(line, name) == 0 &&
			(size_t)snprintf(path, path_bytes, "/dev/%s", entry->d_name) < path_bytes)
			rc = 0;
		fclose(f);
	}
	closedir(dir);
	return rc;
}
