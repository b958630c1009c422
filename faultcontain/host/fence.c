/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/host/fence.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

int fence_kill(const struct proc_id *id)
{
	struct pollfd over = { .events = POLLIN };
	int rc;

	over.fd = proc_open(id);
	if (over.fd < 0)
		return over.fd == -ESRCH ? 0 : over.fd;
	if (poll(&over, 1, 0) == 1)
		rc = 0; /* a zombie */
	else
		rc = syscall(SYS_pidfd_send_signal, over.fd, SIGKILL, NULL, 0) ? -errno : 1;
	(void)close(over.fd);
	return rc == -ESRCH ? 0 : rc;
}

void fence_kill_all(const struct proc_id *ids, size_t count, struct fence_report *report)
{
	*report = (struct fence_report){ 0 };
	for (size_t i = 0; i < count; i++) {
		int rc = fence_kill(&ids[i]);

		if (rc > 0)
			report->killed++;
		else if (rc == 0)
			report->gone++;
		else if (report->failed++ == 0)
			report->first_errno = rc;
	}
}

size_t fence_count_over(const struct proc_id *ids, size_t count)
{
	size_t over = 0;

	for (size_t i = 0; i < count; i++)
		over += proc_over(&ids[i]) == 1;
	return over;
}
