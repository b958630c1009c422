/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/guest/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union fd_message {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int))];
};

int report_send(int sock, const json_t *value, int fd)
{
	char *text = json_dumps(value, JSON_COMPACT);
	union fd_message control = { 0 };
	struct iovec iov = { .iov_base = text };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	int rc = 0;

	if (!text)
		return -ENOMEM;
	iov.iov_len = strlen(text);
	if (fd >= 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = sizeof(control.bytes);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.align), &fd, sizeof(int));
	}
	if (iov.iov_len > REPORT_BYTES_MAX)
		rc = -EMSGSIZE;
	else if (sendmsg(sock, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		rc = -errno;
	free(text);
	return rc == -ECONNRESET ? -EPIPE : rc;
}

/* The one descriptor of a message; whatever else came with it is closed. */
static int take_fd(struct msghdr *message)
{
	int taken = -1;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		size_t count;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (taken < 0)
				taken = fd;
			else
				close(fd);
		}
	}
	return taken;
}

static int parse(const char *text, size_t bytes, json_t **value)
{
	json_error_t error;

	*value = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
	if (!*value)
		return -EBADMSG;
	if (json_is_object(*value))
		return 1;
	json_decref(*value);
	*value = NULL;
	return -EBADMSG;
}

int report_recv(int sock, json_t **value, int *fd)
{
	char *text = malloc(REPORT_BYTES_MAX);
	union fd_message control;
	struct iovec iov = { .iov_base = text, .iov_len = REPORT_BYTES_MAX };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t got;
	int rc;

	*value = NULL;
	*fd = -1;
	if (!text)
		return -ENOMEM;
	got = recvmsg(sock, &message, MSG_CMSG_CLOEXEC);
	if (got < 0) {
		rc = errno == ECONNRESET ? 0 : -errno;
		goto out;
	}
	*fd = take_fd(&message);
	if (got == 0)
		rc = 0;
	else if (message.msg_flags & MSG_TRUNC)
		rc = -EBADMSG;
	else
		rc = parse(text, (size_t)got, value);
	if (rc != 1 && *fd >= 0) {
		close(*fd);
		*fd = -1;
	}
out:
	free(text);
	return rc;
}
