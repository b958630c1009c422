/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/guest/sandbox.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs `act` in a process of its own, sandboxed; returns its wait status. */
static int sandboxed(void (*act)(void))
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		struct err e;

		if (sandbox_drop_privileges(&e) || sandbox_filter(&e)) {
			(void)!write(2, e.text, strlen(e.text));
			_exit(99);
		}
		act();
		_exit(0);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	return status;
}

static void goes(const char *what, void (*act)(void))
{
	int status = sandboxed(act);

	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s: wait status 0x%x", what,
		status);
}

static void dies(const char *what, void (*act)(void))
{
	int status = sandboxed(act);

	cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%s: wait status 0x%x", what,
		status);
}

static void *nothing(void *arg)
{
	return arg;
}

static void starts_a_thread(void)
{
	pthread_t t;

	if (pthread_create(&t, NULL, nothing, NULL) || pthread_join(t, NULL))
		_exit(1);
}

static void maps_memory(void)
{
	void *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || mprotect(p, 4096, PROT_READ) || munmap(p, 8192))
		_exit(1);
}

static void opens_a_file(void)
{
	if (open("/etc/passwd", O_RDONLY) >= 0 || errno != EACCES)
		_exit(1);
}

static void calls_kvm(void)
{
	if (ioctl(0, KVM_RUN, 0) == 0)
		_exit(1);
}

static void makes_a_unix_socket(void)
{
	if (socket(AF_UNIX, SOCK_SEQPACKET, 0) < 0)
		_exit(1);
}

static void signals_itself(void)
{
	if (syscall(SYS_tgkill, getpid(), gettid(), 0))
		_exit(1);
}

static void executes(void)
{
	char *words[] = { "true", NULL };

	execv("/bin/true", words);
}

static void forks(void)
{
	syscall(SYS_fork);
}

static void clones_a_process(void)
{
	syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);
}

static void maps_code(void)
{
	mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void makes_code(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	mprotect(p, 4096, PROT_READ | PROT_EXEC);
}

static void uses_the_network(void)
{
	socket(AF_INET, SOCK_STREAM, 0);
}

static void signals_another(void)
{
	syscall(SYS_tgkill, getppid(), getppid(), 0);
}

static void kills(void)
{
	kill(getppid(), 0);
}

static void traces(void)
{
	syscall(SYS_ptrace, 0, 0, 0, 0);
}

static void asks_a_terminal(void)
{
	ioctl(0, 0x5412 /* TIOCSTI */, "x");
}

static void makes_a_ring(void)
{
	syscall(SYS_io_uring_setup, 1, NULL);
}

static void mounts(void)
{
	syscall(SYS_mount, "a", "b", "c", 0, NULL);
}

static void reads_another_process(void)
{
	syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0);
}

Test(sandbox, a_guest_process_can_do_its_work)
{
	goes("start a thread", starts_a_thread);
	goes("map memory", maps_memory);
	goes("have an open refused", opens_a_file);
	goes("call KVM", calls_kvm);
	goes("make a unix socket", makes_a_unix_socket);
	goes("signal its own threads", signals_itself);
}

Test(sandbox, a_taken_over_guest_process_can_do_nothing_else)
{
	dies("execute a program", executes);
	dies("fork", forks);
	dies("clone a process", clones_a_process);
	dies("map code", maps_code);
	dies("make memory executable", makes_code);
	dies("use the network", uses_the_network);
	dies("signal a thread of another process", signals_another);
	dies("signal another process", kills);
	dies("trace", traces);
	dies("use another driver's ioctl", asks_a_terminal);
	dies("set up another io_uring", makes_a_ring);
	dies("mount", mounts);
	dies("read another process", reads_another_process);
}

Test(sandbox, no_capability_is_left_or_can_come_back)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
		struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
		struct err e;

		if (sandbox_drop_privileges(&e) || syscall(SYS_capget, &header, sets))
			_exit(99);
		for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
			if (sets[i].effective | sets[i].permitted | sets[i].inheritable)
				_exit(1);
		for (unsigned long cap = 0; geteuid() == 0 && cap < 40; cap++)
			if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1)
				_exit(2);
		_exit(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : 3);
	}
	waitpid(child, &status, 0);
	cr_assert_eq(status, 0, "wait status 0x%x", status);
}

/* All that is left of the file system and of the network is the folder. */
Test(sandbox, an_enclosed_process_reaches_only_its_folder)
{
	char folder[] = "/tmp/cv-sandbox-XXXXXX", inside[64];
	struct sockaddr_un abstract = { .sun_family = AF_UNIX, .sun_path = "\0cv-sandbox-test" };
	socklen_t bytes = offsetof(struct sockaddr_un, sun_path) + 16;
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), status;
	pid_t child;

	if (geteuid() != 0)
		cr_skip_test("needs root");
	cr_assert(mkdtemp(folder));
	snprintf(inside, sizeof(inside), "%s/file", folder);
	close(open(inside, O_CREAT | O_WRONLY, 0600));
	cr_assert_eq(bind(listener, (struct sockaddr *)&abstract, bytes), 0);
	cr_assert_eq(listen(listener, 1), 0);
	child = fork();
	if (child == 0) {
		struct err e;

		if (chdir(folder) || sandbox_enclose(folder, &e) || sandbox_drop_privileges(&e))
			_exit(99);
		if (access("/etc/passwd", F_OK) == 0 || access("../../etc/passwd", F_OK) == 0)
			_exit(1);
		if (connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&abstract, bytes) ==
			0)
			_exit(2);
		if (unlink("file"))
			_exit(3);
		_exit(0);
	}
	waitpid(child, &status, 0);
	cr_assert_eq(status, 0, "wait status 0x%x", status);
	close(listener);
	cr_assert_eq(rmdir(folder), 0);
}

static void *waits_then_forks(void *arg)
{
	int *pipe_end = arg;
	char c;

	(void)!read(*pipe_end, &c, 1);
	syscall(SYS_fork);
	return NULL;
}

/* The disks' threads exist before the filter does. */
Test(sandbox, threads_that_run_already_are_bound_too)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		int ends[2];
		pthread_t t;
		struct err e;

		if (pipe(ends) || sandbox_drop_privileges(&e) ||
			pthread_create(&t, NULL, waits_then_forks, &ends[0]) || sandbox_filter(&e))
			_exit(99);
		(void)!write(ends[1], "x", 1);
		pthread_join(t, NULL);
		_exit(0);
	}
	waitpid(child, &status, 0);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "wait status 0x%x", status);
}
