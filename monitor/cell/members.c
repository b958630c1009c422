/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cell/members.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "numa/check.h"

#define CMDLINE_MAX 4096

static const char *next_word(const char *word, const char *end)
{
	word += strnlen(word, (size_t)(end - word));
	return word < end ? word + 1 : end;
}

static bool ends_in(const char *text, const char *tail)
{
	size_t a = strlen(text), b = strlen(tail);

	return a >= b && !strcmp(text + a - b, tail);
}

bool members_match(const char *words, size_t bytes, const char *dir, struct member *m)
{
	char runtime[64], copy[CMDLINE_MAX + 1];
	const char *word = copy, *end = copy + bytes;
	bool has_cell = false, has_dir = false;

	if (bytes == 0 || bytes > CMDLINE_MAX)
		return false;
	memcpy(copy, words, bytes);
	copy[bytes] = '\0';
	snprintf(runtime, sizeof(runtime), "--runtime=%s", dir);
	if (!ends_in(word, "cellvisor"))
		return false;
	word = next_word(word, end);
	m->monitor = !strcmp(word, "monitor");
	if (!m->monitor && strcmp(word, "guest") != 0)
		return false;
	for (word = next_word(word, end); word < end; word = next_word(word, end)) {
		char rest;

		has_dir |= !strcmp(word, runtime);
		has_cell |= sscanf(word, "--cell=%u%c", &m->cell, &rest) == 1;
	}
	return has_cell && has_dir;
}

static bool read_member(const char *pid_text, const char *dir, struct member *m)
{
	char path[64], words[CMDLINE_MAX];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%.20s/cmdline", pid_text);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, words, sizeof(words));
	close(fd);
	if (n <= 0 || !members_match(words, (size_t)n, dir, m))
		return false;
	m->id.pid = (pid_t)strtol(pid_text, NULL, 10);
	return proc_start_time(m->id.pid, &m->id.start_time) == 0 && proc_over(&m->id) == 0;
}

int members_list(const char *dir, struct member **members, size_t *count)
{
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	size_t room = 0;

	*members = NULL;
	*count = 0;
	if (!proc)
		return -errno;
	while ((entry = readdir(proc))) {
		struct member m = { .monitor = false };

		if (entry->d_name[0] < '1' || entry->d_name[0] > '9' ||
			!read_member(entry->d_name, dir, &m))
			continue;
		if (*count == room) {
			room = room ? 2 * room : 32;
			*members = reallocarray(*members, room, sizeof(**members));
			CHECK(*members != NULL);
		}
		(*members)[(*count)++] = m;
	}
	closedir(proc);
	return 0;
}
