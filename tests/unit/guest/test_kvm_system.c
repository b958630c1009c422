/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/kvm/system.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

Test(kvm_system, a_missing_device_is_named)
{
	struct kvm_system s;
	struct err e;

	cr_assert_lt(kvm_system_open(&s, "/nonexistent/kvm", &e), 0);
	cr_assert_eq(e.code, EXIT_ENVIRONMENT);
	cr_assert(strstr(e.text, "/nonexistent/kvm"), "%s", e.text);
	cr_assert(strstr(e.text, "kvm-amd"), "says nothing of what to do: %s", e.text);
}

Test(kvm_system, another_device_is_not_kvm)
{
	struct kvm_system s;
	struct err e;

	cr_assert_lt(kvm_system_open(&s, "/dev/null", &e), 0);
	cr_assert_eq(e.code, EXIT_ENVIRONMENT);
	cr_assert(strstr(e.text, "not KVM"), "%s", e.text);
}

Test(kvm_system, no_permission_is_said)
{
	char path[] = "/tmp/cv-kvm-XXXXXX";
	int fd = mkstemp(path), status;
	pid_t child;

	cr_assert_geq(fd, 0);
	close(fd);
	chmod(path, 0);
	child = fork();
	if (child == 0) {
		struct kvm_system s;
		struct err e;

		/* root may open anything */
		if (setgid(65534) || setuid(65534))
			_exit(geteuid() == 0 ? 9 : 0);
		_exit(kvm_system_open(&s, path, &e) < 0 && e.code == EXIT_ENVIRONMENT &&
					strstr(e.text, path) && strstr(e.text, "permission")
				? 0
				: 1);
	}
	waitpid(child, &status, 0);
	unlink(path);
	cr_assert_eq(WEXITSTATUS(status), 0);
}
