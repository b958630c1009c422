/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cell/lives.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "monitor/cell/runtime.h"

static const char *life_path(
	char buf[RUNTIME_PATH_BYTES], const char *dir, uint32_t cell, uint64_t incarnation)
{
	char name[40];

	snprintf(name, sizeof(name), "life-%llu", (unsigned long long)incarnation);
	return runtime_cell_path(buf, dir, cell, name);
}

/* "BORN PID START_TIME\n", all decimal. */
static bool read_life(const char *dir, uint32_t cell, uint64_t incarnation, struct life *life)
{
	char path[RUNTIME_PATH_BYTES], text[80];
	unsigned long long born, start_time;
	ssize_t n;
	int pid, fd = open(life_path(path, dir, cell, incarnation), O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n < 0)
		return false;
	text[n] = '\0';
	life->incarnation = incarnation;
	/* A record that can't be read: the life is claimed all the same. */
	if (sscanf(text, "%llu %d %llu", &born, &pid, &start_time) != 3) {
		life->born = 0;
		life->proc.pid = 0;
		life->proc.start_time = 0;
		return true;
	}
	life->born = born;
	life->proc.pid = pid > 1 ? pid : 0;
	life->proc.start_time = start_time;
	return true;
}

static int write_life(int fd, const struct life *life)
{
	char text[80];
	int n = snprintf(text, sizeof(text), "%llu %d %llu\n", (unsigned long long)life->born,
		(int)life->proc.pid, (unsigned long long)life->proc.start_time);

	return pwrite(fd, text, (size_t)n, 0) == n ? 0 : -EIO;
}

/* Sorts it in, latest first; beyond `room` the earliest falls out. */
static uint32_t insert(struct life *lives, uint32_t count, uint32_t room, const struct life *life)
{
	uint32_t i = count;

	if (count == room && (!count || lives[--i].incarnation > life->incarnation))
		return count;
	for (; i > 0 && lives[i - 1].incarnation < life->incarnation; i--)
		lives[i] = lives[i - 1];
	lives[i] = *life;
	return count < room ? count + 1 : count;
}

uint32_t lives_list(const char *dir, uint32_t cell, struct life *lives, uint32_t room)
{
	char path[RUNTIME_PATH_BYTES];
	DIR *folder = opendir(runtime_cell_path(path, dir, cell, NULL));
	const struct dirent *entry;
	uint32_t count = 0;

	while (folder && (entry = readdir(folder))) {
		unsigned long long incarnation;
		struct life life;
		char rest;

		if (sscanf(entry->d_name, "life-%llu%c", &incarnation, &rest) == 1 &&
			read_life(dir, cell, incarnation, &life))
			count = insert(lives, count, room, &life);
	}
	if (folder)
		closedir(folder);
	return count;
}

int lives_claim(const char *dir, uint32_t cell, const struct life *life, uint64_t *highest)
{
	struct life lives[4 * LIVES_KEPT];
	uint32_t count = lives_list(dir, cell, lives, 4 * LIVES_KEPT);
	char path[RUNTIME_PATH_BYTES], draft[RUNTIME_PATH_BYTES], name[48];
	int fd, rc;

	if (count > 0 && lives[0].incarnation >= life->incarnation) {
		*highest = lives[0].incarnation;
		return -EEXIST;
	}
	/* The record appears complete or not at all: others judge by what it holds. */
	snprintf(name, sizeof(name), "draft-%d", (int)getpid());
	runtime_cell_path(draft, dir, cell, name);
	fd = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	rc = write_life(fd, life);
	close(fd);
	if (rc == 0 && link(draft, life_path(path, dir, cell, life->incarnation)))
		rc = -errno;
	unlink(draft);
	if (rc == -EEXIST)
		*highest = life->incarnation;
	if (rc)
		return rc;
	for (uint32_t i = LIVES_KEPT; i < count; i++)
		unlink(life_path(path, dir, cell, lives[i].incarnation));
	return 0;
}

int lives_set_process(const char *dir, uint32_t cell, const struct life *life)
{
	char path[RUNTIME_PATH_BYTES];
	int fd = open(life_path(path, dir, cell, life->incarnation), O_WRONLY | O_CLOEXEC), rc;

	if (fd < 0)
		return -errno;
	rc = write_life(fd, life);
	close(fd);
	return rc;
}
