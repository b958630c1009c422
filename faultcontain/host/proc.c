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

/* Field 22; the name in field 2 may hold spaces and parentheses, fields after it can't. */
static int parse_start_time(char *stat, uint64_t *start_time)
{
	char *field = strrchr(stat, ')');
	char *end;

	/* Field 3 follows after one blank, 22 after nineteen more. */
	for (int n = 2; field && n < 22; n++) {
		field = strchr(field, ' ');
		if (field)
			field++;
	}
	if (!field)
		return -EPROTO;
	errno = 0;
	*start_time = strtoull(field, &end, 10);
	return errno || end == field ? -EPROTO : 0;
}

int proc_start_time(pid_t pid, uint64_t *start_time)
{
	char path[32], stat[1024];
	ssize_t n;
	int fd, rc;

	if (pid <= 0)
		return -ESRCH;
	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	n = read(fd, stat, sizeof(stat) - 1);
	rc = n < 0 ? -errno : 0;
	(void)close(fd);
	if (rc)
		return rc;
	stat[n] = '\0';
	return parse_start_time(stat, start_time);
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
