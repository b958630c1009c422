/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/host/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FIELD_START_TIME 22
#define FIELD_CPU 39

/* A number of a stat file. The name in field 2 may hold spaces and parentheses, fields after it
 * can't. */
static int read_field(int stat_fd, int number, uint64_t *value)
{
	char stat[1024], *field, *end;
	ssize_t n = pread(stat_fd, stat, sizeof(stat) - 1, 0);

	if (n < 0)
		return -errno;
	stat[n] = '\0';
	field = strrchr(stat, ')');
	/* Field 3 follows after one blank. */
	for (int at = 2; field && at < number; at++) {
		field = strchr(field, ' ');
		if (field)
			field++;
	}
	if (!field)
		return -EPROTO;
	errno = 0;
	*value = strtoull(field, &end, 10);
	return errno || end == field ? -EPROTO : 0;
}

int proc_start_time(pid_t pid, uint64_t *start_time)
{
	char path[32];
	int fd, rc;

	if (pid <= 0)
		return -ESRCH;
	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	rc = read_field(fd, FIELD_START_TIME, start_time);
	(void)close(fd);
	return rc;
}

int proc_last_cpu(int stat_fd, uint32_t *cpu)
{
	uint64_t value = 0;
	int rc = read_field(stat_fd, FIELD_CPU, &value);

	if (!rc && value > INT32_MAX)
		rc = -EPROTO;
	if (!rc)
		*cpu = (uint32_t)value;
	return rc;
}

int proc_self(struct proc_id *id)
{
	id->pid = getpid();
	return proc_start_time(id->pid, &id->start_time);
}

int proc_open(const struct proc_id *id)
{
	uint64_t start_time = 0;
	int fd, rc;

	if (id->pid <= 0)
		return -ESRCH;
	fd = (int)syscall(SYS_pidfd_open, id->pid, 0);
	if (fd < 0)
		return errno == EINVAL ? -ESRCH : -errno; /* EINVAL: a thread, not a process */
	/* Held by the pidfd, the pid can't change hands from here on. */
	rc = proc_start_time(id->pid, &start_time);
	if (rc == 0 && start_time != id->start_time)
		rc = -ESRCH;
	if (rc) {
		(void)close(fd);
		return rc;
	}
	return fd;
}

int proc_over(const struct proc_id *id)
{
	struct pollfd poll_fd = { .events = POLLIN };
	int rc;

	poll_fd.fd = proc_open(id);
	if (poll_fd.fd < 0)
		return poll_fd.fd == -ESRCH ? 1 : poll_fd.fd;
	rc = poll(&poll_fd, 1, 0);
	if (rc < 0)
		rc = -errno;
	(void)close(poll_fd.fd);
	return rc;
}
