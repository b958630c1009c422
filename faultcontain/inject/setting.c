/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/inject/setting.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "numa/host/kernel_file.h"

int setting_read(const char *path, char *text, size_t bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, bytes);
	if (n < 0)
		rc = -errno;
	else if ((size_t)n >= bytes)
		rc = -E2BIG;
	(void)close(fd);
	if (rc)
		return rc;
	if (n > 0 && text[n - 1] == '\n')
		n--;
	text[n] = '\0';
	return 0;
}

int setting_read_cpus(const char *path, struct cpu_set *cpus)
{
	char text[SETTING_TEXT_BYTES] = "";
	int rc = setting_read(path, text, sizeof(text));

	memset(cpus, 0, sizeof(*cpus));
	if (rc || !text[0])
		return rc;
	return cpu_set_parse(text, cpus);
}

int settings_change(struct settings *s, const char *path, const char *text)
{
	struct setting *one;
	int rc;

	if (s->count == s->room) {
		size_t room = s->room ? s->room * 2 : 32;
		struct setting *list = realloc(s->list, room * sizeof(*list));

		if (!list)
			return -ENOMEM;
		s->list = list;
		s->room = room;
	}
	one = &s->list[s->count];
	if (strlen(path) >= sizeof(one->path))
		return -ENAMETOOLONG;
	(void)snprintf(one->path, sizeof(one->path), "%s", path);
	rc = setting_read(path, one->before, sizeof(one->before));
	if (!rc)
		rc = kernel_file_write(AT_FDCWD, path, text);
	if (!rc)
		s->count++;
	return rc;
}

void settings_restore(struct settings *s)
{
	while (s->count) {
		s->count--;
		(void)kernel_file_write(AT_FDCWD, s->list[s->count].path, s->list[s->count].before);
	}
	free(s->list);
	*s = (struct settings){ 0 };
}
