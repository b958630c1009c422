/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "faultcontain/host/probe.h"

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Far enough away that only a hang gets there. */
static uint64_t far(void)
{
	return now_ns() + 60000000000ull;
}

static enum probe_state run(struct probe *p)
{
	struct pollfd fd = { .fd = probe_fd(p), .events = POLLIN };
	enum probe_state state;

	while ((state = probe_step(p, now_ns())) == PROBE_WAITING)
		(void)poll(&fd, 1, 100);
	return state;
}

/* For what runs in a process of its own: it returns the line that failed, or 0. */
#define NEED(condition)                                                                            \
	do {                                                                                       \
		if (!(condition))                                                                  \
			return __LINE__;                                                           \
	} while (0)

static uint32_t own_cpu(void)
{
	return (uint32_t)sched_getcpu();
}

Test(probe, a_cpu_that_runs_answers)
{
	uint32_t cpus[2] = { 0, own_cpu() };
	struct probe_leftovers book = { 0 };
	struct probe *p;

	cr_assert_eq(probe_begin(&p, cpus, 1, far()), 0);
	cr_expect_eq(run(p), PROBE_ALIVE);
	cr_expect_eq(probe_cpu(p, 0), PROBE_CPU_ANSWERED);
	cr_expect_eq(probe_answered(p), 1);
	probe_end(p, &book);
	while (probe_reap(&book))
		(void)usleep(1000);
	cr_expect_eq(waitpid(-1, NULL, __WALL), -1, "no child is left");
	cr_expect_eq(errno, ECHILD);
	probe_leftovers_fini(&book);
}

Test(probe, children_are_invisible_to_the_owners_own_waiting)
{
	uint32_t cpu = own_cpu();
	struct probe_leftovers book = { 0 };
	struct probe *p;
	sigset_t set, pending;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	cr_assert_eq(probe_begin(&p, &cpu, 1, far()), 0);
	cr_expect_eq(waitpid(-1, NULL, WNOHANG), -1);
	cr_expect_eq(run(p), PROBE_ALIVE);
	(void)sigpending(&pending);
	cr_expect_not(sigismember(&pending, SIGCHLD));
	probe_end(p, &book);
	probe_leftovers_fini(&book);
}

/* A CPU this machine has not: the kernel lists it as not online. */
Test(probe, an_offline_cpu_does_not_execute)
{
	uint32_t cpus[2] = { 8000, 8001 };
	struct probe_leftovers book = { 0 };
	struct probe *p;

	cr_assert_eq(probe_begin(&p, cpus, 2, far()), 0);
	cr_expect_eq(run(p), PROBE_SILENT, "known before the deadline");
	cr_expect_eq(probe_cpu(p, 0), PROBE_CPU_OFFLINE);
	cr_expect_eq(probe_cpu(p, 1), PROBE_CPU_OFFLINE);
	probe_end(p, &book);
	probe_leftovers_fini(&book);
}

Test(probe, one_living_cpu_is_enough)
{
	uint32_t cpus[3] = { 8000, own_cpu(), 8001 };
	struct probe_leftovers book = { 0 };
	struct probe *p;

	cr_assert_eq(probe_begin(&p, cpus, 3, far()), 0);
	cr_expect_eq(run(p), PROBE_ALIVE);
	cr_expect_eq(probe_cpu(p, 1), PROBE_CPU_ANSWERED);
	probe_end(p, &book);
	probe_leftovers_fini(&book);
}

/*
 * A cpuset that forbids a CPU must not make it look dead. Stands for it: a filter
 * that refuses sched_setaffinity().
 */
static int forbidden_cpus(void)
{
	struct sock_filter program[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sched_setaffinity, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { .len = 4, .filter = program };
	struct probe_leftovers book = { 0 };
	uint32_t cpus[2] = { 8000, own_cpu() };
	struct probe *p;

	NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	NEED(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
	NEED(probe_begin(&p, cpus, 2, far()) == 0);
	NEED(run(p) == PROBE_UNKNOWN);
	NEED(probe_cpu(p, 0) == PROBE_CPU_OFFLINE);
	NEED(probe_cpu(p, 1) == PROBE_CPU_FORBIDDEN);
	probe_end(p, &book);
	probe_leftovers_fini(&book);
	return 0;
}

Test(probe, a_cpu_that_may_not_be_used_is_not_taken_for_dead)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(forbidden_cpus() % 251);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_expect_eq(status, 0, "line %d", WEXITSTATUS(status));
}

Test(probe, bad_counts_and_numbers_are_refused)
{
	uint32_t cpu = 100000;
	struct probe *p;

	cr_expect_eq(probe_begin(&p, &cpu, 0, far()), -EINVAL);
	cr_expect_eq(probe_begin(&p, &cpu, 1025, far()), -EINVAL);
	cr_expect_eq(probe_begin(&p, &cpu, 1, far()), -EINVAL);
	probe_end(NULL, NULL);
}

/*
 * A CPU that hangs, as the owner of a probe sees it: the child never comes back
 * from pinning itself, and can't be reaped although it was killed. A tracer makes
 * it so: it leaves each child of the subject stopped at sched_setaffinity().
 * The subject says SIGUSR1 for "the CPU works again", and returns the number of
 * the line that failed, or 0.
 */
static int under_tracer(int (*subject)(void))
{
	pid_t pid = fork(), held = 0, stopped;
	int status, works_again = 0;

	if (pid == 0) {
		(void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		(void)raise(SIGSTOP);
		_exit(subject() % 251);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(ptrace(PTRACE_SETOPTIONS, pid, NULL,
			     PTRACE_O_TRACECLONE | PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL),
		0);
	(void)ptrace(PTRACE_CONT, pid, NULL, NULL);
	while ((stopped = waitpid(-1, &status, __WALL)) > 0) {
		long signal_number = WIFSTOPPED(status) ? WSTOPSIG(status) : 0;
		struct user_regs_struct regs;

		if (stopped == pid) {
			if (WIFEXITED(status))
				return WEXITSTATUS(status);
			cr_assert_not(WIFSIGNALED(status));
			works_again |= signal_number == SIGUSR1;
			if (works_again && held) {
				(void)ptrace(PTRACE_DETACH, held, NULL, NULL);
				held = 0;
			}
			if (signal_number == SIGUSR1 || signal_number == SIGTRAP)
				signal_number = 0;
			(void)ptrace(PTRACE_CONT, pid, NULL, signal_number);
		} else if (WIFSTOPPED(status)) {
			if (signal_number == (SIGTRAP | 0x80) &&
				ptrace(PTRACE_GETREGS, stopped, NULL, &regs) == 0 &&
				regs.orig_rax == SYS_sched_setaffinity && !works_again) {
				held = stopped;
				continue;
			}
			(void)ptrace(PTRACE_SYSCALL, stopped, NULL, NULL);
		}
	}
	return -1;
}

static int silent_until_the_deadline(void)
{
	struct probe_leftovers book = { 0 };
	uint32_t cpu = own_cpu();
	uint64_t deadline = far();
	struct probe *p;

	NEED(probe_begin(&p, &cpu, 1, deadline) == 0);
	NEED(probe_step(p, now_ns()) == PROBE_WAITING);
	NEED(probe_step(p, deadline - 1) == PROBE_WAITING);
	NEED(probe_step(p, deadline) == PROBE_SILENT);
	NEED(probe_cpu(p, 0) == PROBE_CPU_WAITING);
	NEED(probe_answered(p) == 0);
	(void)raise(SIGUSR1);
	NEED(run(p) == PROBE_ALIVE);
	probe_end(p, &book);
	probe_leftovers_fini(&book);
	return 0;
}

Test(probe, a_cpu_that_hangs_is_silent)
{
	cr_expect_eq(under_tracer(silent_until_the_deadline), 0);
}

static int lets_go_of_descriptors(void)
{
	struct pollfd end = { .events = POLLIN };
	struct probe_leftovers book = { 0 };
	uint32_t cpu = own_cpu();
	struct probe *p;
	int ends[2];

	NEED(pipe(ends) == 0);
	NEED(probe_begin(&p, &cpu, 1, far()) == 0);
	(void)close(ends[1]);
	end.fd = ends[0];
	NEED(poll(&end, 1, 30000) == 1);
	NEED(end.revents & POLLHUP);
	NEED(probe_step(p, now_ns()) == PROBE_WAITING);
	(void)raise(SIGUSR1);
	NEED(run(p) == PROBE_ALIVE);
	probe_end(p, &book);
	probe_leftovers_fini(&book);
	return 0;
}

/* A child that is stuck on a dead CPU would keep the monitor's sockets open, and so hide its death.
 */
Test(probe, children_let_go_of_the_owners_descriptors)
{
	cr_expect_eq(under_tracer(lets_go_of_descriptors), 0);
}
