/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cli/attach.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

/* After the end of input, so long without a word of the guest is the end. */
#define QUIET_MS 1000

int attach_connect(const char *path, const char *name, struct err *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd, rc;

	if (strlen(path) >= sizeof(addr.sun_path))
		return err_set(
			e, EXIT_FAILED, "the console of guest '%s' has too long a path", name);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && !connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return fd;
	rc = errno;
	if (fd >= 0)
		close(fd);
	return err_set(e, EXIT_NO_ANSWER,
		"the console of guest '%s' can't be reached (%s: %s); `cellvisor console %s --log` "
		"shows what it said",
		name, path, strerror(rc), name);
}

static bool write_all(int fd, const char *data, size_t bytes)
{
	while (bytes > 0) {
		ssize_t n = write(fd, data, bytes);

		if (n < 0 && errno != EINTR)
			return false;
		data += n > 0 ? n : 0;
		bytes -= n > 0 ? (size_t)n : 0;
	}
	return true;
}

/* One read of input. false: there is no more of it; *escaped if the user left. */
static bool take_input(int console, bool raw, bool *escaped)
{
	char buf[4096];
	ssize_t n = read(0, buf, sizeof(buf));
	char *escape;

	if (n <= 0)
		return n < 0 && errno == EINTR;
	escape = raw ? memchr(buf, ATTACH_ESCAPE, (size_t)n) : NULL;
	*escaped = escape != NULL;
	/* A console that takes no more input still prints. */
	return write_all(console, buf, escape ? (size_t)(escape - buf) : (size_t)n);
}

/* false: the guest closed its console. */
static bool take_output(int console)
{
	char buf[65536];
	ssize_t n = read(console, buf, sizeof(buf));

	if (n <= 0)
		return n < 0 && errno == EINTR;
	write_all(1, buf, (size_t)n);
	return true;
}

static enum attach_end copy(int console, bool stay, bool raw)
{
	struct pollfd fds[2] = { { .fd = console, .events = POLLIN },
		{ .fd = 0, .events = POLLIN } };

	for (;;) {
		bool escaped = false;
		int n = poll(fds, 2, fds[1].fd < 0 && !stay ? QUIET_MS : -1);

		if (n == 0)
			return ATTACH_EOF;
		if (fds[0].revents && !take_output(console))
			return ATTACH_CLOSED;
		if (fds[1].fd >= 0 && fds[1].revents && !take_input(console, raw, &escaped))
			fds[1].fd = -1;
		if (escaped)
			return ATTACH_ESCAPED;
	}
}

enum attach_end attach_run(int console, bool stay)
{
	struct termios before, raw;
	bool terminal = isatty(0) && !tcgetattr(0, &before);
	enum attach_end end;

	if (terminal) {
		raw = before;
		cfmakeraw(&raw);
		tcsetattr(0, TCSANOW, &raw);
	}
	end = copy(console, stay, terminal);
	if (terminal)
		tcsetattr(0, TCSANOW, &before);
	return end;
}
