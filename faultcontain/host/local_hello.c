/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/host/local_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "numa/check.h"

#define HELLO_FDS 2 /* ring memory and bell */

static int fill_address(
	const struct local *t, uint16_t cell, const char *suffix, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	_Static_assert(sizeof(address->sun_path) == LOCAL_PATH_BYTES, "sun_path");
	return local_socket_path(t, cell, suffix, address->sun_path);
}

static int open_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

int local_listen(struct local *t)
{
	struct sockaddr_un fresh, address;
	struct stat st;
	int rc = fill_address(t, t->self_cell, ".new", &fresh);

	if (!rc)
		rc = fill_address(t, t->self_cell, "", &address);
	if (rc)
		return rc;
	t->listener = open_socket();
	if (t->listener < 0)
		return t->listener;
	/* Renamed into place, so that peers see the old socket or the new one, never none. */
	(void)unlink(fresh.sun_path);
	if (bind(t->listener, (struct sockaddr *)&fresh, sizeof(fresh)) ||
		listen(t->listener, LOCAL_BACKLOG) || lstat(fresh.sun_path, &st) ||
		rename(fresh.sun_path, address.sun_path)) {
		rc = -errno;
		(void)unlink(fresh.sun_path);
		(void)close(t->listener);
		t->listener = -1;
		return rc;
	}
	t->socket_dev = st.st_dev;
	t->socket_ino = st.st_ino;
	return local_watch(t, t->listener, LOCAL_LISTENER, 0);
}

void local_unlisten(struct local *t)
{
	struct sockaddr_un address;
	struct stat st;

	if (t->listener < 0)
		return;
	(void)close(t->listener);
	t->listener = -1;
	if (fill_address(t, t->self_cell, "", &address) == 0 && lstat(address.sun_path, &st) == 0 &&
		st.st_dev == t->socket_dev && st.st_ino == t->socket_ino)
		(void)unlink(address.sun_path);
}

/* --- one hello ----------------------------------------------------------- */

static struct wire_hello hello_to(const struct local *t, uint16_t cell, enum wire_hello_kind kind)
{
	return (struct wire_hello){
		.kind = (uint16_t)kind,
		.src_cell = t->self_cell,
		.dst_cell = cell,
		.incarnation = t->incarnation,
		.start_time = t->self.start_time,
		.pid = (uint32_t)t->self.pid,
		.ring_bytes =
			kind == WIRE_HELLO_OFFER || kind == WIRE_HELLO_ACCEPT ? t->ring_bytes : 0,
		.known_incarnation = kind == WIRE_HELLO_OFFER ? t->min_incarnation[cell] : 0,
	};
}

/* `offer` may be NULL. 0 or -errno; never blocks. */
static int send_hello(int sock, struct wire_hello *hello, const struct local_offer *offer)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(HELLO_FDS * sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = hello, .iov_len = sizeof(*hello) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	wire_hello_seal(hello);
	if (offer) {
		const int fds[HELLO_FDS] = { offer->memfd, offer->bell };
		struct cmsghdr *cmsg;

		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(fds));
		memcpy(CMSG_DATA(cmsg), fds, sizeof(fds));
	}
	return sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

static void refuse(const struct local *t, int sock, uint16_t cell, enum wire_refusal why)
{
	struct wire_hello hello = hello_to(t, cell, WIRE_HELLO_REFUSE);

	hello.refusal = (uint16_t)why;
	if (cell < t->cell_count)
		hello.known_incarnation = t->min_incarnation[cell];
	(void)send_hello(sock, &hello, NULL);
}

/* One datagram with its descriptors, which the caller owns. */
struct received {
	uint8_t bytes[sizeof(struct wire_hello) + 1]; /* one more shows what is too long */
	size_t count;
	int fds[HELLO_FDS];
	size_t fd_count;
	bool cut; /* it had more bytes or descriptors than a hello has */
};

static void close_received(struct received *r)
{
	for (size_t i = 0; i < r->fd_count; i++)
		(void)close(r->fds[i]);
	r->fd_count = 0;
}

static void take_fds(struct msghdr *msg, struct received *r)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (r->fd_count < HELLO_FDS)
				r->fds[r->fd_count++] = fd;
			else
				(void)close(fd);
		}
	}
}

/* 1 if a datagram came, 0 at the end of the connection, -EAGAIN or another -errno. */
static int receive_hello(int sock, struct received *r)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(HELLO_FDS * sizeof(int))];
	struct iovec iov = { .iov_base = r->bytes, .iov_len = sizeof(r->bytes) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	r->fd_count = 0;
	if (n <= 0)
		return n ? -errno : 0;
	r->count = (size_t)n;
	take_fds(&msg, r);
	r->cut = msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC);
	return 1;
}

/* The kernel's word on who is at the other end, against what the hello says. */
static bool same_user(int sock, pid_t *pid)
{
	struct ucred cred;
	socklen_t bytes = sizeof(cred);

	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &bytes))
		return false;
	*pid = cred.pid;
	return cred.uid == geteuid();
}

static bool identity_holds(int sock, const struct wire_hello *hello)
{
	uint64_t start_time;
	pid_t pid;

	return same_user(sock, &pid) && pid == (pid_t)hello->pid &&
	       proc_start_time(pid, &start_time) == 0 && start_time == hello->start_time;
}

static enum wire_refusal judge(const struct local *t, int sock, uint16_t from,
	const struct received *r, struct wire_hello *hello)
{
	const struct wire_hello_expect expect = {
		.cell_count = t->cell_count,
		.self_cell = t->self_cell,
		.self_incarnation = t->incarnation,
		.peer_cell = from,
		.min_incarnation = t->min_incarnation,
		.ring_bytes_min = RING_DATA_MIN,
		.ring_bytes_max = RING_DATA_MAX,
	};
	enum wire_refusal why = wire_hello_judge(r->bytes, r->count, &expect, hello);
	bool offers = hello->kind == WIRE_HELLO_OFFER || hello->kind == WIRE_HELLO_ACCEPT;

	if (why == WIRE_HELLO_OK && (r->cut || r->fd_count != (offers ? HELLO_FDS : 0)))
		why = WIRE_HELLO_MALFORMED;
	if (why == WIRE_HELLO_OK && !identity_holds(sock, hello))
		why = WIRE_HELLO_IDENTITY;
	return why;
}

/* --- accepting side ------------------------------------------------------ */

void local_pending_close(struct local *t, uint32_t index)
{
	if (t->pending[index].sock >= 0)
		(void)close(t->pending[index].sock);
	t->pending[index].sock = -1;
}

/* A free place, if need be that of the connection that has been silent for longest. */
static uint32_t pending_place(struct local *t)
{
	uint32_t oldest = 0;

	for (uint32_t i = 0; i < LOCAL_PENDING_MAX; i++) {
		if (t->pending[i].sock < 0)
			return i;
		if (t->pending[i].due_ns < t->pending[oldest].due_ns)
			oldest = i;
	}
	local_pending_close(t, oldest);
	return oldest;
}

void local_accept(struct local *t)
{
	for (uint32_t n = 0; n < LOCAL_PENDING_MAX; n++) {
		int sock = accept4(t->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		uint32_t i;
		pid_t pid;

		if (sock < 0)
			return;
		i = pending_place(t);
		if (!same_user(sock, &pid) || local_watch(t, sock, LOCAL_PENDING, i)) {
			(void)close(sock);
			continue;
		}
		t->pending[i].sock = sock;
		t->pending[i].due_ns = t->now_ns + LOCAL_HELLO_TIMEOUT_NS;
		if (t->pending[i].due_ns < t->due_ns)
			t->due_ns = t->pending[i].due_ns;
	}
}

/* A lower cell asks to be connected to. */
static void knocked(struct local *t, const struct wire_hello *hello)
{
	struct local_link *link = &t->links[hello->src_cell];

	if (link->state == LINK_UP && link->peer.incarnation == hello->incarnation)
		return; /* if its side went away, our socket will say so */
	if (link->state == LINK_OFFERED && link->listener_pid == (pid_t)hello->pid)
		return; /* it has the offer already */
	if (link->state != LINK_IDLE)
		local_link_down(t, hello->src_cell, LINK_REPLACED);
	link->asked = true;
	link->backoff_ns = 0;
	link->retry_ns = t->now_ns;
	t->due_ns = 0;
}

/* Whether another process, alive and linked, already is that life of the cell. */
static bool life_is_taken(const struct local_link *link, const struct wire_hello *hello)
{
	const struct proc_id id = { .pid = link->peer.pid, .start_time = link->peer.start_time };

	return link->state == LINK_UP && link->peer.incarnation == hello->incarnation &&
	       (hello->pid != (uint32_t)id.pid || hello->start_time != id.start_time) &&
	       proc_over(&id) == 0;
}

/* A higher cell offers its ring: takes it, gives it one, and is linked. */
static enum wire_refusal offered(
	struct local *t, int sock, struct received *r, const struct wire_hello *hello)
{
	uint16_t cell = hello->src_cell;
	struct local_link *link = &t->links[cell];
	struct wire_hello answer = hello_to(t, cell, WIRE_HELLO_ACCEPT);
	struct local_offer offer;
	enum wire_refusal why;
	int rc;

	if (life_is_taken(link, hello))
		return WIRE_HELLO_IDENTITY;
	if (link->state != LINK_IDLE)
		local_link_down(t, cell, LINK_REPLACED);
	if (hello->incarnation < t->min_incarnation[cell])
		return WIRE_HELLO_STALE; /* the owner declared it dead just now */
	local_link_clear(t, cell);
	r->fd_count = 0;
	why = local_link_take_ring(link, r->fds[0], r->fds[1], hello->ring_bytes);
	if (why != WIRE_HELLO_OK)
		return why;
	rc = local_link_make_ring(t, cell, &offer);
	if (rc)
		return WIRE_HELLO_RING;
	rc = send_hello(sock, &answer, &offer);
	(void)close(offer.memfd);
	if (rc)
		return WIRE_HELLO_RING;
	link->sock = sock;
	if (local_watch(t, sock, LOCAL_SOCK, cell))
		return WIRE_HELLO_RING;
	local_link_up(t, cell, hello);
	return WIRE_HELLO_OK;
}

void local_pending_ready(struct local *t, uint32_t index)
{
	struct received r = { .count = 0 };
	struct wire_hello hello;
	enum wire_refusal why;
	int sock = t->pending[index].sock, rc;

	if (sock < 0)
		return;
	rc = receive_hello(sock, &r);
	if (rc == -EAGAIN)
		return;
	if (rc <= 0) {
		local_pending_close(t, index);
		return;
	}
	why = judge(t, sock, WIRE_HELLO_ANY_CELL, &r, &hello);
	if (why == WIRE_HELLO_OK && hello.kind == WIRE_HELLO_OFFER) {
		/* The socket moves from the pending ones to the link. */
		t->pending[index].sock = -1;
		why = offered(t, sock, &r, &hello);
		close_received(&r);
		if (why == WIRE_HELLO_OK)
			return;
		if (t->links[hello.src_cell].sock == sock)
			t->links[hello.src_cell].sock = -1;
		refuse(t, sock, hello.src_cell, why);
		(void)close(sock);
		if (t->links[hello.src_cell].state != LINK_UP)
			local_link_clear(t, hello.src_cell);
		return;
	}
	close_received(&r);
	if (why == WIRE_HELLO_OK && hello.kind == WIRE_HELLO_KNOCK)
		knocked(t, &hello);
	else if (why != WIRE_HELLO_OK)
		refuse(t, sock, hello.src_cell, why);
	local_pending_close(t, index);
}

/* --- connecting side ----------------------------------------------------- */

/* A socket, with the process at its other end, or -errno. */
static int connect_to(struct local *t, uint16_t cell, pid_t *pid)
{
	struct sockaddr_un address;
	int sock, rc = fill_address(t, cell, "", &address);

	if (rc)
		return rc;
	sock = open_socket();
	if (sock < 0)
		return sock;
	if (connect(sock, (struct sockaddr *)&address, sizeof(address)))
		rc = -errno;
	else if (!same_user(sock, pid))
		rc = -EPERM;
	if (rc) {
		(void)close(sock);
		return rc;
	}
	return sock;
}

static void knock(struct local *t, uint16_t cell)
{
	struct wire_hello hello = hello_to(t, cell, WIRE_HELLO_KNOCK);
	pid_t pid;
	int sock = connect_to(t, cell, &pid);

	if (sock < 0)
		return;
	(void)send_hello(sock, &hello, NULL);
	(void)close(sock);
}

static int offer_to(struct local *t, uint16_t cell)
{
	struct local_link *link = &t->links[cell];
	struct wire_hello hello = hello_to(t, cell, WIRE_HELLO_OFFER);
	struct local_offer offer;
	int rc;

	link->sock = connect_to(t, cell, &link->listener_pid);
	if (link->sock < 0)
		return link->sock;
	rc = local_watch(t, link->sock, LOCAL_SOCK, cell);
	if (!rc)
		rc = local_link_make_ring(t, cell, &offer);
	if (rc)
		return rc;
	rc = send_hello(link->sock, &hello, &offer);
	(void)close(offer.memfd);
	return rc;
}

void local_attempt(struct local *t, uint16_t cell)
{
	struct local_link *link = &t->links[cell];

	CHECK(link->state == LINK_IDLE && cell != t->self_cell);
	if (cell > t->self_cell) {
		knock(t, cell);
		local_link_down(t, cell, LINK_CLOSED); /* plans the next knock */
		return;
	}
	if (offer_to(t, cell)) {
		local_link_down(t, cell, LINK_CLOSED);
		return;
	}
	link->state = LINK_OFFERED;
	link->retry_ns = t->now_ns + LOCAL_HELLO_TIMEOUT_NS;
	if (link->retry_ns < t->due_ns)
		t->due_ns = link->retry_ns;
}

static void answered(struct local *t, uint16_t cell, struct received *r)
{
	struct local_link *link = &t->links[cell];
	struct wire_hello hello;

	if (judge(t, link->sock, cell, r, &hello) == WIRE_HELLO_OK &&
		hello.kind == WIRE_HELLO_ACCEPT) {
		r->fd_count = 0;
		if (local_link_take_ring(link, r->fds[0], r->fds[1], hello.ring_bytes) ==
			WIRE_HELLO_OK) {
			local_link_up(t, cell, &hello);
			return;
		}
	}
	local_link_down(t, cell, LINK_CLOSED);
}

void local_sock_ready(struct local *t, uint16_t cell)
{
	struct local_link *link = &t->links[cell];
	struct received r = { .count = 0 };
	int rc;

	if (link->sock < 0)
		return;
	rc = receive_hello(link->sock, &r);
	if (rc == -EAGAIN)
		return;
	if (rc <= 0)
		local_link_closed(t, cell);
	else if (link->state == LINK_OFFERED)
		answered(t, cell, &r);
	else
		local_link_down(t, cell, LINK_LIED); /* nothing follows the hellos */
	close_received(&r);
}
