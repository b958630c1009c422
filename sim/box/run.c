/* SPDX-License-Identifier: BSD-2-Clause */
#include "sim/box/run.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim/box/port.h"
#include "sim/box/proto.h"

#define SPEC_BYTES_MAX (4u << 20)

/* What the first process holds on to. */
struct run {
	int port; /* -1 until it is open */
	int vm;
	int children; /* signalfd of SIGCHLD */
	int out[2], err[2];
	pid_t command;
	int status; /* of the command, once it has ended */
};

static void write_all(int fd, const void *data, size_t bytes)
{
	const char *at = data;

	while (bytes > 0) {
		ssize_t n = write(fd, at, bytes);

		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return; /* the outside has gone, and with it soon this machine */
		if (n > 0) {
			at += n;
			bytes -= (size_t)n;
		}
	}
}

static void send_frame(
	const struct run *r, enum box_frame_kind kind, const void *data, size_t bytes)
{
	struct box_frame frame = { .kind = (uint8_t)kind, .bytes = htole32((uint32_t)bytes) };

	write_all(r->port, &frame, sizeof(frame));
	write_all(r->port, data, bytes);
}

static _Noreturn void rest(void)
{
	for (;;)
		pause();
}

/* Says why the command can't run, to the outside or, without a port, to the console. */
static _Noreturn void fail(const struct run *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static _Noreturn void fail(const struct run *r, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (r->port >= 0)
		send_frame(r, BOX_FRAME_FAIL, text, strlen(text));
	else
		fprintf(stderr, "box: %s\n", text);
	rest();
}

static void open_port(struct run *r)
{
	char path[64];

	if (box_port_find(BOX_PORT_RUN, path, sizeof(path)) == 0)
		r->port = open(path, O_WRONLY | O_CLOEXEC);
	if (r->port < 0)
		fail(r, "no port %s: %s", BOX_PORT_RUN, strerrordesc_np(errno));
}

static void hold_vm(struct run *r)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0)
		fail(r, "the box has no /dev/kvm: %s", strerrordesc_np(errno));
	r->vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (r->vm < 0)
		fail(r, "KVM_CREATE_VM: %s", strerrordesc_np(errno));
	close(kvm);
}

static void read_spec(const struct run *r, const char *path, struct box_spec *spec)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *data;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) != 0 || st.st_size > (off_t)SPEC_BYTES_MAX)
		fail(r, "%s: %s", path, fd < 0 ? strerrordesc_np(errno) : "too long");
	data = malloc((size_t)st.st_size + 1);
	if (!data)
		fail(r, "no memory");
	n = read(fd, data, (size_t)st.st_size);
	close(fd);
	if (n < 0 || box_spec_parse(data, (unsigned long)n, spec) != 0)
		fail(r, "%s: not a command", path);
}

static _Noreturn void become(const struct run *r, const struct box_spec *spec)
{
	cpu_set_t all;
	sigset_t none;
	int null = open("/dev/null", O_RDONLY);

	dup2(null, STDIN_FILENO);
	dup2(r->out[1], STDOUT_FILENO);
	dup2(r->err[1], STDERR_FILENO);
	close(null);
	memset(&all, 0xff, sizeof(all));
	sched_setaffinity(0, sizeof(all), &all);
	sigemptyset(&none);
	pthread_sigmask(SIG_SETMASK, &none, NULL);
	setsid();
	environ = spec->env;
	execvp(spec->argv[0], spec->argv);

	int status = errno == ENOENT ? 127 : 126;

	fprintf(stderr, "box: can't run %s: %s\n", spec->argv[0], strerrordesc_np(errno));
	_exit(status);
}

static void start(struct run *r, const struct box_spec *spec)
{
	sigset_t mask;

	if (chdir(spec->folder) != 0)
		fail(r, "the folder %s can't be seen inside the box: %s", spec->folder,
			strerrordesc_np(errno));
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	pthread_sigmask(SIG_BLOCK, &mask, NULL);
	r->children = signalfd(-1, &mask, SFD_CLOEXEC);
	if (r->children < 0 || pipe2(r->out, O_CLOEXEC) != 0 || pipe2(r->err, O_CLOEXEC) != 0)
		fail(r, "pipes: %s", strerrordesc_np(errno));
	fcntl(r->out[0], F_SETFL, O_NONBLOCK);
	fcntl(r->err[0], F_SETFL, O_NONBLOCK);
	r->command = fork();
	if (r->command < 0)
		fail(r, "fork: %s", strerrordesc_np(errno));
	if (r->command == 0)
		become(r, spec);
	close(r->out[1]);
	close(r->err[1]);
}

/*
 * Passes on what the pipe holds now (it holds 1 MiB at most), but not for ever
 * what a process in the background goes on writing. False at the pipe's end.
 */
static bool pass_on(const struct run *r, int fd, enum box_frame_kind kind)
{
	static char chunk[BOX_FRAME_BYTES_MAX];
	ssize_t n = 1;

	for (int i = 0; i < 16 && n > 0; i++) {
		n = read(fd, chunk, sizeof(chunk));
		if (n > 0)
			send_frame(r, kind, chunk, (size_t)n);
	}
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* Reaps whoever ended, orphans too; true once the command has. */
static bool reap(struct run *r)
{
	struct signalfd_siginfo info;
	bool ended = false;
	pid_t pid;
	int status;

	if (read(r->children, &info, sizeof(info)) < 0)
		return false;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != r->command)
			continue;
		r->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
		ended = true;
	}
	return ended;
}

/* Until the command has ended; then everything it wrote before has been passed on. */
static void stream(struct run *r)
{
	struct pollfd p[] = {
		{ .fd = r->children, .events = POLLIN },
		{ .fd = r->out[0], .events = POLLIN },
		{ .fd = r->err[0], .events = POLLIN },
	};
	bool ended = false;

	while (!ended) {
		if (poll(p, 3, -1) < 0)
			continue;
		ended = p[0].revents && reap(r);
		if ((ended || p[1].revents) && !pass_on(r, r->out[0], BOX_FRAME_STDOUT))
			p[1].fd = -1;
		if ((ended || p[2].revents) && !pass_on(r, r->err[0], BOX_FRAME_STDERR))
			p[2].fd = -1;
	}
}

_Noreturn void box_run(const char *path)
{
	struct run r = { .port = -1, .vm = -1 };
	struct box_spec spec;
	char text[16];
	cpu_set_t first;

	/* CPU 0 is the one that stays when nodes die, so output goes on. */
	CPU_ZERO(&first);
	CPU_SET(0, &first);
	sched_setaffinity(0, sizeof(first), &first);
	open_port(&r);
	hold_vm(&r);
	read_spec(&r, path, &spec);
	send_frame(&r, BOX_FRAME_ALIVE, NULL, 0);
	start(&r, &spec);
	stream(&r);
	snprintf(text, sizeof(text), "%d", r.status);
	send_frame(&r, BOX_FRAME_EXIT, text, strlen(text));
	rest();
}
