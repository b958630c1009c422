/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cell/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a child must not inherit of a monitor: signal handling and priority. */
static void start_fresh(void)
{
	struct sigaction standard = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int signum = 1; signum < NSIG; signum++)
		sigaction(signum, &standard, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setpriority(PRIO_PROCESS, 0, 0);
}

/* A copy out of the way of 0..3, or -1. */
static int aside(int fd)
{
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, SPAWN_FREE_FD);
}

_Noreturn static void give_up(const char *what, int error)
{
	dprintf(2, "cellvisor: %s: %s\n", what, strerror(error));
	_exit(127);
}

_Noreturn static void child(const struct spawn *s)
{
	extern char **environ;
	int exe = aside(s->exe_fd), log = aside(s->log_fd), fd3 = aside(s->fd3);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), rc;

	start_fresh();
	setsid();
	if (dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
		_exit(127);
	close(3);
	if (s->fd3 >= 0 && dup2(fd3, 3) < 0)
		give_up("can't pass a socket", errno);
	/* Whatever the shell that called us had open. */
	close_range(4, ~0u, CLOSE_RANGE_CLOEXEC);
	if (chdir("/"))
		give_up("can't go to /", errno);
	rc = s->prepare ? s->prepare(s->ctx) : 0;
	if (rc < 0)
		give_up("can't take this cell's place", -rc);
	fexecve(s->exe_fd < 0 ? rc : exe, s->argv, environ);
	give_up("can't execute this cell's copy of the program", errno);
}

int spawn_process(const struct spawn *s, pid_t *pid, int *pidfd)
{
	pid_t id = fork();
	int rc;

	if (id < 0)
		return -errno;
	if (id == 0)
		child(s);
	*pidfd = pidfd_open(id, 0);
	if (*pidfd < 0) {
		rc = -errno;
		kill(id, SIGKILL);
		waitpid(id, NULL, 0);
		return rc;
	}
	*pid = id;
	return 0;
}
