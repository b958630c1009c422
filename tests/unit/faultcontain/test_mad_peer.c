/* SPDX-License-Identifier: BSD-2-Clause */
/* A peer that goes mad costs at most its own link: lies in hellos, rings, messages; floods. */
#include "fabric_lab.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "faultcontain/host/local_internal.h"

/* The other end of a link, made by hand: a connection, a ring to write into, its own ring. */
struct mad {
	int sock, bell;
	struct ring_layout *ring; /* of the victim */
	size_t ring_bytes;
	struct wire_hello hello; /* what the victim answered */
};

static void mad_send(int sock, struct wire_hello *h, int memfd, int bell)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = h, .iov_len = sizeof(*h) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fds[2] = { memfd, bell };

	if (memfd >= 0) {
		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		CMSG_FIRSTHDR(&msg)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&msg)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&msg)->cmsg_len = CMSG_LEN(sizeof(fds));
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), fds, sizeof(fds));
	}
	cr_assert_eq(sendmsg(sock, &msg, 0), sizeof(*h));
}

static int mad_connect(const char *dir, uint16_t cell)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	(void)snprintf(
		address.sun_path, sizeof(address.sun_path), "%s/cell-%u/fabric.sock", dir, cell);
	cr_assert_eq(connect(sock, (struct sockaddr *)&address, sizeof(address)), 0);
	return sock;
}

static struct wire_hello mad_hello(uint16_t self, uint16_t to, uint64_t incarnation)
{
	struct proc_id id;

	cr_assert_eq(proc_self(&id), 0);
	return (struct wire_hello){
		.kind = WIRE_HELLO_OFFER,
		.src_cell = self,
		.dst_cell = to,
		.incarnation = incarnation,
		.pid = (uint32_t)id.pid,
		.start_time = id.start_time,
		.ring_bytes = RING_DATA_MIN,
	};
}

enum mad_ring { MAD_GOOD, MAD_UNSEALED, MAD_SMALL, MAD_UNFORMATTED, MAD_PIPE_AS_BELL, MAD_FILE };

static int mad_memory(enum mad_ring kind, int *bell)
{
	size_t bytes = ring_map_bytes(RING_DATA_MIN);
	struct ring_reader reader;
	int fd = memfd_create("mad", MFD_ALLOW_SEALING), ends[2];
	void *map;

	*bell = eventfd(0, EFD_NONBLOCK);
	if (kind == MAD_PIPE_AS_BELL) {
		cr_assert_eq(pipe2(ends, O_NONBLOCK), 0);
		*bell = ends[1];
	}
	if (kind == MAD_FILE)
		return open("/proc/self/exe", O_RDONLY);
	cr_assert_eq(ftruncate(fd, (off_t)(kind == MAD_SMALL ? bytes / 2 : bytes)), 0);
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (kind != MAD_UNFORMATTED)
		cr_assert_eq(ring_create(&reader, map, RING_DATA_MIN), RING_OK);
	if (kind != MAD_UNSEALED)
		cr_assert_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	(void)munmap(map, bytes);
	return fd;
}

/* Offers and waits for the answer; returns its kind, 0 if the connection was closed. */
static int mad_offer(
	struct mad *m, struct lab_cell *victim, int sock, struct wire_hello *h, enum mad_ring kind)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = &m->hello, .iov_len = sizeof(m->hello) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	int bell, memfd = mad_memory(kind, &bell), fds[2];
	ssize_t n = -1;

	wire_hello_seal(h);
	mad_send(sock, h, memfd, bell);
	(void)close(memfd);
	LAB_UNTIL((n = recvmsg(sock, &msg, MSG_DONTWAIT)) >= 0, victim);
	if (n == 0)
		return 0;
	cr_assert_eq(n, sizeof(m->hello));
	if (m->hello.kind == WIRE_HELLO_ACCEPT) {
		memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fds));
		m->bell = fds[1];
		m->ring_bytes = ring_map_bytes(m->hello.ring_bytes);
		m->ring = mmap(NULL, m->ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
		cr_assert_neq((void *)m->ring, MAP_FAILED);
	}
	m->sock = sock;
	return m->hello.kind;
}

static void mad_link(struct mad *m, const char *dir, struct lab_cell *victim, uint16_t self)
{
	struct wire_hello h = mad_hello(self, victim->self, 50);
	unsigned ups = victim->ups[self];

	cr_assert_eq(mad_offer(m, victim, mad_connect(dir, victim->self), &h, MAD_GOOD),
		WIRE_HELLO_ACCEPT);
	cr_assert_eq(victim->ups[self], ups + 1);
}

static void mad_unlink(struct mad *m)
{
	(void)munmap(m->ring, m->ring_bytes);
	(void)close(m->sock);
	(void)close(m->bell);
}

static void mad_ring_bell(struct mad *m)
{
	cr_assert_eq(write(m->bell, &(uint64_t){ 1 }, 8), 8);
}

Test(mad_peer, offers_that_are_not_what_they_say_are_refused)
{
	const char *dir = lab_dir();
	struct lab_cell *a = lab_open(dir, 0, 1);
	struct mad m;
	struct wire_hello h;

	for (enum mad_ring kind = MAD_UNSEALED; kind <= MAD_FILE; kind++) {
		h = mad_hello(3, 0, 50);
		cr_expect_eq(mad_offer(&m, a, mad_connect(dir, 0), &h, kind), WIRE_HELLO_REFUSE,
			"%d", kind);
		cr_expect_eq(m.hello.refusal, WIRE_HELLO_RING, "%d", kind);
		(void)close(m.sock);
	}
	h = mad_hello(3, 0, 50);
	h.pid = 1;
	cr_expect_eq(mad_offer(&m, a, mad_connect(dir, 0), &h, MAD_GOOD), WIRE_HELLO_REFUSE);
	cr_expect_eq(m.hello.refusal, WIRE_HELLO_IDENTITY);
	(void)close(m.sock);
	h = mad_hello(3, 0, 50);
	h.start_time++;
	cr_expect_eq(mad_offer(&m, a, mad_connect(dir, 0), &h, MAD_GOOD), WIRE_HELLO_REFUSE);
	cr_expect_eq(m.hello.refusal, WIRE_HELLO_IDENTITY);
	(void)close(m.sock);
	h = mad_hello(7, 0, 50);
	cr_expect_eq(mad_offer(&m, a, mad_connect(dir, 0), &h, MAD_GOOD), WIRE_HELLO_REFUSE);
	cr_expect_eq(m.hello.refusal, WIRE_HELLO_SRC);
	(void)close(m.sock);
	cr_expect_eq(a->ups[3], 0);
	mad_link(&m, dir, a, 3);
	mad_unlink(&m);
	lab_close(a);
	lab_rmdir(dir);
}

Test(mad_peer, strangers_and_their_noise_are_shown_the_door)
{
	const char *dir = lab_dir();
	struct lab_cell *a = lab_open(dir, 0, 1), *b = lab_open(dir, 1, 1);
	uint8_t noise[300];
	int socks[200];

	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (uint8_t)(i * 73);
	/* More silent connections than there are places for them, then noise. */
	for (int i = 0; i < 100; i++)
		socks[i] = mad_connect(dir, 0);
	for (int i = 100; i < 200; i++) {
		socks[i] = mad_connect(dir, 0);
		(void)send(socks[i], noise + i % 7, (size_t)i, MSG_DONTWAIT);
		lab_serve(&a, 1);
	}
	LAB_UNTIL(a->ups[1] && b->ups[0], a, b);
	for (int i = 0; i < 200; i++)
		(void)close(socks[i]);
	cr_assert_eq(fabric_send(b->fabric, 0, OP_HELLO, "x", 1), 0);
	LAB_UNTIL(a->messages == 1, a, b);
	lab_close(a);
	lab_close(b);
	lab_rmdir(dir);
}

Test(mad_peer, random_bytes_in_a_ring_cost_that_link_alone)
{
	const char *dir = lab_dir();
	struct lab_cell *a = lab_open(dir, 0, 1), *b = lab_open(dir, 1, 1);
	uint64_t seed = 1;
	unsigned lied = 0;
	struct mad m;

	LAB_UNTIL(a->ups[1] && b->ups[0], a, b);
	for (int round = 0; round < 60; round++) {
		uint64_t *words;
		unsigned downs = a->downs[3];

		mad_link(&m, dir, a, 3);
		words = (uint64_t *)m.ring;
		/* Sometimes everything, sometimes all but the header, with a head that looks true.
		 */
		for (size_t i = round % 2 ? RING_HEAD_BYTES / 8 : 0; i < m.ring_bytes / 8; i++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			words[i] = seed ^ seed >> 29;
		}
		if (round % 2)
			m.ring->head = (seed >> 40) & ~7ull;
		mad_ring_bell(&m);
		cr_assert_eq(fabric_send(b->fabric, 0, OP_HELLO, "sane", 4), 0);
		LAB_UNTIL(a->downs[3] == downs + 1 && a->messages == (unsigned)round + 1, a, b);
		lied += a->why[3] == LINK_LIED;
		mad_unlink(&m);
	}
	cr_expect_eq(lied, 60);
	cr_expect_eq(a->downs[1], 0);
	lab_close(a);
	lab_close(b);
	lab_rmdir(dir);
}

/* True records with wrong messages in them, and the fate of the link after each. */
Test(mad_peer, a_forged_message_changes_nothing)
{
	const char *dir = lab_dir();
	struct lab_cell *a = lab_open(dir, 0, 1);
	static const struct {
		enum wire_outcome outcome;
		bool link_stays;
	} rows[] = {
		{ WIRE_BAD_CRC, false },
		{ WIRE_BAD_SRC, false },
		{ WIRE_SRC_STALE, true },
		{ WIRE_DST_STALE, true },
		{ WIRE_REPEATED, true },
		{ WIRE_BAD_REV, true },
		{ WIRE_SHORT, false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wire_hdr h = {
			.op = OP_HELLO,
			.src_cell = rows[i].outcome == WIRE_BAD_SRC ? 2 : 3,
			.src_incarnation = rows[i].outcome == WIRE_SRC_STALE ? 49 : 50,
			.dst_incarnation = rows[i].outcome == WIRE_DST_STALE ? 2 : 1,
			.seq = rows[i].outcome == WIRE_REPEATED ? 0 : 1,
		};
		struct fabric_link_stats stats;
		struct ring_writer w;
		unsigned downs = a->downs[3];
		size_t bytes = sizeof(h);
		struct mad m;
		int bell;

		mad_link(&m, dir, a, 3);
		wire_seal(&h, NULL);
		if (rows[i].outcome == WIRE_BAD_REV)
			h.rev = 2;
		if (rows[i].outcome == WIRE_BAD_CRC)
			h.crc32c ^= 1;
		if (rows[i].outcome == WIRE_SHORT)
			bytes--;
		cr_assert_eq(ring_attach(&w, m.ring, m.ring_bytes), RING_OK);
		cr_assert_eq(ring_write(&w, &h, bytes, NULL, 0, &bell), RING_OK);
		/* And a good one behind it. */
		h = (struct wire_hdr){ .op = OP_HELLO,
			.src_cell = 3,
			.src_incarnation = 50,
			.dst_incarnation = 1,
			.seq = 2 };
		wire_seal(&h, NULL);
		cr_assert_eq(ring_write(&w, &h, sizeof(h), NULL, 0, &bell), RING_OK);
		a->messages = 0;
		mad_ring_bell(&m);
		LAB_UNTIL(a->messages || a->downs[3] > downs, a);
		cr_expect_eq(a->messages, rows[i].link_stays, "row %zu", i);
		cr_expect_eq(a->downs[3] == downs, rows[i].link_stays, "row %zu", i);
		fabric_link_stats(a->fabric, 3, &stats);
		cr_expect_eq(stats.outcomes[rows[i].outcome], 1, "row %zu", i);
		cr_expect_eq(stats.sent, i >= 5, "another revision is told so");
		mad_unlink(&m);
		LAB_UNTIL(a->downs[3] == downs + 1, a);
	}
	lab_close(a);
	lab_rmdir(dir);
}

Test(mad_peer, a_flood_of_bells_costs_the_link)
{
	const char *dir = lab_dir();
	struct lab_cell *a = lab_open(dir, 0, 1);
	struct mad m;

	mad_link(&m, dir, a, 3);
	while (!a->downs[3]) {
		mad_ring_bell(&m);
		lab_serve(&a, 1);
	}
	cr_expect_eq(a->why[3], LINK_LIED);
	mad_unlink(&m);
	lab_close(a);
	lab_rmdir(dir);
}

Test(mad_peer, a_second_process_that_claims_a_life_is_refused)
{
	const char *dir = lab_dir();
	struct lab_cell *a = lab_open(dir, 0, 1);
	pid_t pid = lab_peer(dir, 3, 50);
	struct wire_hello h = mad_hello(3, 0, 50);
	struct mad m;

	LAB_UNTIL(a->ups[3], a);
	cr_expect_eq(mad_offer(&m, a, mad_connect(dir, 0), &h, MAD_GOOD), WIRE_HELLO_REFUSE);
	cr_expect_eq(m.hello.refusal, WIRE_HELLO_IDENTITY);
	cr_expect_eq(a->downs[3], 0);
	(void)close(m.sock);
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	lab_close(a);
	lab_rmdir(dir);
}

/* Poisoned or truncated, a ring that can't be read is a link that failed, and is set up anew. */
Test(mad_peer, a_ring_whose_memory_is_lost_is_replaced)
{
	const char *dir = lab_dir();
	struct lab_cell *a = lab_open(dir, 0, 1), *b = lab_open(dir, 1, 1);
	char line[256];
	FILE *maps;
	unsigned found = 0;

	LAB_UNTIL(a->ups[1] && b->ups[0], a, b);
	/* Sealed memory can't be truncated, so something else goes where the rings were mapped. */
	maps = fopen("/proc/self/maps", "r");
	while (fgets(line, sizeof(line), maps)) {
		int hole = memfd_create("hole", 0);
		unsigned long from, to;

		if (!strstr(line, "cv-ring") || sscanf(line, "%lx-%lx", &from, &to) != 2)
			continue;
		found++;
		cr_assert_eq(mmap((void *)from, to - from, PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_FIXED, hole, 0),
			(void *)from);
		(void)close(hole);
	}
	(void)fclose(maps);
	cr_assert_eq(found, 4, "two rings, mapped twice each");
	cr_expect_eq(fabric_send(a->fabric, 1, OP_HELLO, "x", 1), -EIO);
	cr_expect_eq(fabric_send(a->fabric, 1, OP_HELLO, "x", 1), -ENOTCONN);
	LAB_UNTIL(a->ups[1] == 2 && b->ups[0] == 2, a, b);
	cr_expect_eq(a->why[1], LINK_LOST);
	cr_assert_eq(fabric_send(a->fabric, 1, OP_HELLO, "again", 5), 0);
	LAB_UNTIL(b->messages == 1, a, b);
	lab_close(a);
	lab_close(b);
	lab_rmdir(dir);
}
