/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/guest/sandbox.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* KVM's ioctls and those of userfaultfd, and nobody else's: _IOC_TYPE is in bits 8..15. */
#define IOCTL_TYPE_MASK 0xff00u
#define IOCTL_TYPE_KVM (KVMIO << 8)
#define IOCTL_TYPE_UFFD (UFFDIO << 8)

static const int allowed[] = {
	/* files that are open already */
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(readv),
	SCMP_SYS(writev),
	SCMP_SYS(pread64),
	SCMP_SYS(pwrite64),
	SCMP_SYS(preadv),
	SCMP_SYS(pwritev),
	SCMP_SYS(preadv2),
	SCMP_SYS(pwritev2),
	SCMP_SYS(lseek),
	SCMP_SYS(close),
	SCMP_SYS(fcntl),
	SCMP_SYS(fstat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(fsync),
	SCMP_SYS(fdatasync),
	SCMP_SYS(fallocate),
	SCMP_SYS(ftruncate),
	SCMP_SYS(dup),
	/* the console's log and socket: sandbox_enclose() leaves no other folder */
	SCMP_SYS(renameat2),
	SCMP_SYS(unlink),
	/* event loop, sockets */
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(eventfd2),
	SCMP_SYS(timerfd_settime),
	SCMP_SYS(accept4),
	SCMP_SYS(connect),
	SCMP_SYS(sendto),
	SCMP_SYS(sendmsg),
	SCMP_SYS(recvfrom),
	SCMP_SYS(recvmsg),
	SCMP_SYS(shutdown),
	SCMP_SYS(getsockopt),
	/* block I/O; the ring is set up before */
	SCMP_SYS(io_uring_enter),
	/* memory; no mapping becomes executable, see below */
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(brk),
	SCMP_SYS(mbind),
	SCMP_SYS(move_pages),
	SCMP_SYS(get_mempolicy),
	/* threads, signals, time */
	SCMP_SYS(futex),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(gettid),
	SCMP_SYS(getpid),
	SCMP_SYS(sched_yield),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(sched_setaffinity),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigtimedwait), /* the thread for memory errors */
	SCMP_SYS(sigaltstack),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(nanosleep),
	SCMP_SYS(getrandom),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
};

/* libc asks, and goes on without. */
static const struct {
	int call, error;
} refused[] = {
	/* flags of clone3 are in memory, out of a filter's reach; clone is tried next */
	{ SCMP_SYS(clone3), ENOSYS },
	/* malloc reads the number of CPUs, abort and friends look for debug settings */
	{ SCMP_SYS(openat), EACCES },
	{ SCMP_SYS(open), EACCES },
	{ SCMP_SYS(readlink), EACCES },
};

static int add_lists(scmp_filter_ctx filter)
{
	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {
		int rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);

		if (rc)
			return rc;
	}
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		int rc = seccomp_rule_add(
			filter, SCMP_ACT_ERRNO((uint32_t)refused[i].error), refused[i].call, 0);

		if (rc)
			return rc;
	}
	return 0;
}

/* Calls that are allowed by their arguments. */
static int add_judged(scmp_filter_ctx filter)
{
	const scmp_datum_t pid = (scmp_datum_t)getpid();
	int rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
		SCMP_A1(SCMP_CMP_MASKED_EQ, IOCTL_TYPE_MASK, IOCTL_TYPE_KVM));

	if (!rc)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
			SCMP_A1(SCMP_CMP_MASKED_EQ, IOCTL_TYPE_MASK, IOCTL_TYPE_UFFD));
	if (!rc)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
			SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (!rc)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
			SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	/* threads, but no processes */
	if (!rc)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
			SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
	/* signals to its own threads */
	if (!rc)
		rc = seccomp_rule_add(
			filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_EQ, pid));
	if (!rc)
		rc = seccomp_rule_add(
			filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
	/* a disk's thread keeps the kernel's workers on its CPUs */
	if (!rc)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(io_uring_register), 1,
			SCMP_A1(SCMP_CMP_EQ, IORING_REGISTER_IOWQ_AFF));
	/* names of threads */
	if (!rc)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
			SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
	if (!rc)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
			SCMP_A0(SCMP_CMP_EQ, PR_MCE_KILL));
	return rc;
}

int sandbox_filter(struct err *e)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int rc = filter ? 0 : -ENOMEM;

	if (!rc)
		rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	if (!rc)
		rc = add_lists(filter);
	if (!rc)
		rc = add_judged(filter);
	if (!rc)
		rc = seccomp_load(filter);
	seccomp_release(filter);
	return rc ? err_set(e, EXIT_ENVIRONMENT,
			    "the system call filter can't be installed (CONFIG_SECCOMP_FILTER): %s",
			    strerrordesc_np(-rc))
		  : 0;
}

int sandbox_enclose(const char *folder, struct err *e)
{
	/* A kernel without network namespaces has nothing to take it off. */
	if (unshare(CLONE_NEWNET) < 0 && errno != EINVAL)
		return err_set(e, EXIT_ENVIRONMENT,
			"no network namespace for the guest process: %s", strerrordesc_np(errno));
	if (chroot(folder) < 0 || chdir("/") < 0)
		return err_set(e, EXIT_ENVIRONMENT, "%s can't become the guest process's root: %s",
			folder, strerrordesc_np(errno));
	return 0;
}

/* The bounding set first: it takes a capability to shrink it. Without any there is nothing to do.
 */
static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EPERM)
			return -errno;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

int sandbox_drop_privileges(struct err *e)
{
	int rc = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : drop_capabilities();

	return rc ? err_set(e, EXIT_ENVIRONMENT, "privileges can't be given up: %s",
			    strerrordesc_np(-rc))
		  : 0;
}
