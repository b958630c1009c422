/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cell/runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int runtime_dir(char dir[RUNTIME_DIR_MAX + 1], struct err *e)
{
	const char *from = getenv("CELLVISOR_RUNTIME_DIR");
	size_t length;

	if (!from || !*from)
		from = "/run/cellvisor";
	length = strlen(from);
	while (length > 1 && from[length - 1] == '/')
		length--;
	if (from[0] != '/' || length < 2)
		return err_set(e, EXIT_USAGE,
			"CELLVISOR_RUNTIME_DIR '%.60s' has to be an absolute path of a folder",
			from);
	if (length > RUNTIME_DIR_MAX)
		return err_set(e, EXIT_USAGE,
			"CELLVISOR_RUNTIME_DIR '%.60s...' is longer than %d characters, which a "
			"socket's "
			"address has no room for",
			from, RUNTIME_DIR_MAX);
	memcpy(dir, from, length);
	dir[length] = '\0';
	return 0;
}

const char *runtime_cell_path(
	char buf[RUNTIME_PATH_BYTES], const char *dir, uint32_t cell, const char *file)
{
	snprintf(buf, RUNTIME_PATH_BYTES, "%.*s/cell-%u%s%.40s", RUNTIME_DIR_MAX, dir, cell,
		file ? "/" : "", file ? file : "");
	return buf;
}

const char *runtime_guest_path(char buf[RUNTIME_PATH_BYTES], const char *dir, uint32_t cell,
	const char *name, const char *file)
{
	snprintf(buf, RUNTIME_PATH_BYTES, "%.*s/cell-%u/guests/%.*s%s%.16s", RUNTIME_DIR_MAX, dir,
		cell, (int)SPEC_NAME_MAX, name, file ? "/" : "", file ? file : "");
	return buf;
}
