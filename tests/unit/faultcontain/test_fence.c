/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faultcontain/host/fence.h"
#include "faultcontain/host/proc.h"

static struct proc_id sleeper(const char *name)
{
	struct proc_id id = { .pid = fork() };

	if (id.pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)prctl(PR_SET_NAME, name);
		for (;;)
			pause();
	}
	cr_assert_eq(proc_start_time(id.pid, &id.start_time), 0);
	return id;
}

static void reap(const struct proc_id *id)
{
	(void)kill(id->pid, SIGKILL);
	(void)waitpid(id->pid, NULL, 0);
}

Test(proc, start_times_agree_with_ps)
{
	struct proc_id self;
	uint64_t again;
	char command[96];
	unsigned long long field;
	FILE *file;

	cr_assert_eq(proc_self(&self), 0);
	cr_expect_eq(self.pid, getpid());
	(void)snprintf(command, sizeof(command), "sed 's/.*) //' /proc/%d/stat | cut -d' ' -f20",
		(int)self.pid);
	file = popen(command, "r");
	cr_assert_eq(fscanf(file, "%llu", &field), 1);
	(void)pclose(file);
	cr_expect_eq(self.start_time, field);
	cr_expect_eq(proc_start_time(self.pid, &again), 0);
	cr_expect_eq(again, self.start_time);
	cr_expect_eq(proc_start_time(0, &again), -ESRCH);
	cr_expect_eq(proc_start_time(-1, &again), -ESRCH);
	cr_expect_eq(proc_start_time(0x3fffffff, &again), -ESRCH);
}

Test(proc, tells_the_cpu_of_a_thread)
{
	cpu_set_t all, one;
	uint32_t cpu = UINT32_MAX;
	int fd;

	cr_assert_eq(sched_getaffinity(0, sizeof(all), &all), 0);
	(void)prctl(PR_SET_NAME, "a) 1 2 (b");
	fd = open("/proc/thread-self/stat", O_RDONLY | O_CLOEXEC);
	cr_assert_geq(fd, 0);
	for (int i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(i, &one);
		cr_assert_eq(sched_setaffinity(0, sizeof(one), &one), 0);
		cr_assert_eq(proc_last_cpu(fd, &cpu), 0);
		cr_expect_eq(cpu, (uint32_t)i);
	}
	cr_expect_eq(proc_last_cpu(-1, &cpu), -EBADF);
	(void)close(fd);
}

Test(proc, a_name_with_blanks_and_parentheses_is_no_obstacle)
{
	struct proc_id id = { .pid = fork() };
	uint64_t before, after;

	if (id.pid == 0)
		for (;;)
			pause();
	cr_assert_eq(proc_start_time(id.pid, &before), 0);
	reap(&id);
	id.pid = fork();
	if (id.pid == 0) {
		(void)prctl(PR_SET_NAME, "a) R 1 (b) 9");
		(void)kill(getppid(), 0);
		(void)raise(SIGSTOP);
		_exit(0);
	}
	cr_assert_eq(waitpid(id.pid, NULL, WUNTRACED), id.pid);
	cr_assert_eq(proc_start_time(id.pid, &after), 0);
	cr_expect_geq(after, before);
	cr_expect_lt(after, before + 100000, "start time %lu after %lu", after, before);
	reap(&id);
}

Test(proc, over_means_over)
{
	struct proc_id id = sleeper("sleeper"), other = id;

	other.start_time--;
	cr_expect_eq(proc_over(&id), 0);
	cr_expect_eq(proc_over(&other), 1, "another process has that pid");
	cr_expect_eq(proc_open(&other), -ESRCH);
	(void)kill(id.pid, SIGSTOP);
	cr_expect_eq(proc_over(&id), 0, "stopped is not over");
	(void)kill(id.pid, SIGKILL);
	cr_assert_eq(waitid(P_PID, (id_t)id.pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
	cr_expect_eq(proc_over(&id), 1, "a zombie is over");
	reap(&id);
	cr_expect_eq(proc_over(&id), 1);
}

Test(proc, a_pidfd_tells_the_end)
{
	struct proc_id id = sleeper("sleeper");
	struct pollfd fd = { .fd = proc_open(&id), .events = POLLIN };

	cr_assert_geq(fd.fd, 0);
	cr_expect_eq(poll(&fd, 1, 0), 0);
	(void)kill(id.pid, SIGKILL);
	cr_expect_eq(poll(&fd, 1, 10000), 1);
	reap(&id);
}

Test(fence, kills_exactly_the_process_that_was_registered)
{
	struct proc_id id = sleeper("victim"), recycled = id;

	recycled.start_time--;
	cr_expect_eq(fence_kill(&recycled), 0, "the pid belongs to another process now");
	(void)usleep(20000);
	cr_expect_eq(proc_over(&id), 0, "and that one lives on");
	cr_expect_eq(fence_kill(&id), 1);
	cr_assert_eq(waitid(P_PID, (id_t)id.pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
	cr_expect_eq(fence_kill(&id), 0, "a zombie needs no killing");
	reap(&id);
	cr_expect_eq(fence_kill(&id), 0);
}

Test(fence, a_stopped_process_dies_too)
{
	struct proc_id id = sleeper("victim");

	(void)kill(id.pid, SIGSTOP);
	cr_assert_eq(waitpid(id.pid, NULL, WUNTRACED), id.pid);
	cr_expect_eq(fence_kill(&id), 1);
	cr_assert_eq(waitpid(id.pid, NULL, 0), id.pid);
}

Test(fence, a_list_is_killed_to_its_end_and_counted)
{
	struct proc_id ids[5];
	struct fence_report report;

	ids[0] = (struct proc_id){ .pid = 0x3fffffff, .start_time = 1 };
	ids[1] = sleeper("one");
	ids[2] = ids[1];
	ids[2].start_time ^= 1;
	ids[3] = sleeper("two");
	ids[4] = (struct proc_id){ .pid = 0, .start_time = 1 };
	cr_expect_eq(fence_count_over(ids, 5), 3);
	fence_kill_all(ids, 5, &report);
	cr_expect_eq(report.killed, 2);
	cr_expect_eq(report.gone, 3);
	cr_expect_eq(report.failed, 0);
	cr_expect_eq(report.first_errno, 0);
	(void)waitpid(ids[1].pid, NULL, 0);
	(void)waitpid(ids[3].pid, NULL, 0);
	cr_expect_eq(fence_count_over(ids, 5), 5);
}

/* Without privileges a process of another user can't be killed: the fence must not claim to hold.
 */
Test(fence, a_failure_is_reported_as_one)
{
	struct proc_id ids[2] = { { .pid = 1 }, sleeper("mine") };
	struct fence_report report;
	pid_t pid;
	int status;

	if (geteuid() != 0)
		cr_skip_test("needs root to become somebody else");
	cr_assert_eq(proc_start_time(1, &ids[0].start_time), 0);
	pid = fork();
	if (pid == 0) {
		if (setuid(65534))
			_exit(9);
		fence_kill_all(ids, 2, &report);
		_exit(report.killed == 0 && report.failed == 2 && report.first_errno == -EPERM ? 0
											       : 1);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", status);
	reap(&ids[1]);
}
