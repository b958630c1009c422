/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/host/local_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "numa/check.h"

#define RING_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static int ring_memory(uint32_t ring_bytes, void **map)
{
	size_t bytes = ring_map_bytes(ring_bytes);
	int fd = memfd_create("cv-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int rc;

	if (fd < 0)
		return -errno;
	/* Allocated now, by the receiver's memory policy: a page that its writer touched first
	 * would lie on the writer's node. */
	if (ftruncate(fd, (off_t)bytes) || fallocate(fd, 0, 0, (off_t)bytes) ||
		fcntl(fd, F_ADD_SEALS, RING_SEALS)) {
		rc = -errno;
		goto close_memfd;
	}
	*map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (*map == MAP_FAILED) {
		rc = -errno;
		goto close_memfd;
	}
	return fd;

close_memfd:
	(void)close(fd);
	return rc;
}

int local_link_make_ring(struct local *t, uint16_t cell, struct local_offer *offer)
{
	struct local_link *link = &t->links[cell];
	void *map = NULL;
	int rc;

	CHECK(!link->map_in && link->bell_in < 0);
	offer->memfd = ring_memory(t->ring_bytes, &map);
	if (offer->memfd < 0)
		return offer->memfd;
	link->map_in = map;
	link->map_in_bytes = ring_map_bytes(t->ring_bytes);
	if (ring_create(&link->in, map, t->ring_bytes) != RING_OK) {
		rc = -EIO;
		goto close_memfd;
	}
	link->bell_in = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (link->bell_in < 0) {
		rc = -errno;
		goto close_memfd;
	}
	rc = local_watch(t, link->bell_in, LOCAL_BELL, cell);
	if (rc)
		goto close_memfd;
	offer->bell = link->bell_in;
	return 0;

close_memfd:
	(void)close(offer->memfd);
	return rc;
}

/* A descriptor of another kind could block the writer, or do what it does not mean. */
static bool is_eventfd(int fd)
{
	static const char wanted[] = "anon_inode:[eventfd]";
	char path[48], target[sizeof(wanted)];
	ssize_t n;
	int flags = fcntl(fd, F_GETFL);

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, target, sizeof(target));
	return flags >= 0 && (flags & O_NONBLOCK) && n == (ssize_t)strlen(wanted) &&
	       !memcmp(target, wanted, (size_t)n);
}

static bool is_sealed_memory(int fd, size_t bytes)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	return seals >= 0 && (seals & F_SEAL_SHRINK) && fstat(fd, &st) == 0 &&
	       st.st_size == (off_t)bytes;
}

enum wire_refusal local_link_take_ring(
	struct local_link *link, int memfd, int bell, uint32_t ring_bytes)
{
	size_t bytes = ring_map_bytes(ring_bytes);
	void *map = MAP_FAILED;

	CHECK(!link->map_out && link->bell_out < 0);
	if (is_eventfd(bell) && is_sealed_memory(memfd, bytes))
		map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	(void)close(memfd);
	if (map == MAP_FAILED) {
		(void)close(bell);
		return WIRE_HELLO_RING;
	}
	link->bell_out = bell;
	link->map_out = map;
	link->map_out_bytes = bytes;
	return ring_attach(&link->out, map, bytes) == RING_OK ? WIRE_HELLO_OK : WIRE_HELLO_RING;
}

static void ring_bell(int fd)
{
	const uint64_t one = 1;
	ssize_t n = write(fd, &one, sizeof(one));

	/* EAGAIN: it rings already. */
	(void)n;
}

void local_link_up(struct local *t, uint16_t cell, const struct wire_hello *hello)
{
	struct local_link *link = &t->links[cell];

	link->peer = (struct transport_peer){
		.cell = cell,
		.incarnation = hello->incarnation,
		.pid = (pid_t)hello->pid,
		.start_time = hello->start_time,
		.record_max = ring_record_max(hello->ring_bytes),
	};
	link->state = LINK_UP;
	link->up_ns = link->bells_since_ns = t->now_ns;
	link->empty_bells = 0;
	link->retry_ns = UINT64_MAX;
	if (t->min_incarnation[cell] < hello->incarnation)
		t->min_incarnation[cell] = hello->incarnation;
	/* The peer may have written while this side was not ready to read. */
	ring_bell(link->bell_in);
	t->events.link_up(t->events.ctx, &link->peer);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

void local_link_clear(struct local *t, uint16_t cell)
{
	struct local_link *link = &t->links[cell];

	close_fd(&link->sock);
	close_fd(&link->bell_in);
	close_fd(&link->bell_out);
	if (link->map_in)
		(void)munmap(link->map_in, link->map_in_bytes);
	if (link->map_out)
		(void)munmap(link->map_out, link->map_out_bytes);
	link->map_in = link->map_out = NULL;
	link->state = LINK_IDLE;
	link->failed = link->asked = false;
	link->generation++;
}

void local_link_down(struct local *t, uint16_t cell, enum link_down why)
{
	struct local_link *link = &t->links[cell];
	bool was_up = link->state == LINK_UP;

	local_link_clear(t, cell);
	if (was_up && t->now_ns - link->up_ns >= LOCAL_SETTLED_NS)
		link->backoff_ns = 0;
	link->backoff_ns *= 2;
	if (link->backoff_ns < LOCAL_BACKOFF_MIN_NS)
		link->backoff_ns = LOCAL_BACKOFF_MIN_NS;
	if (link->backoff_ns > LOCAL_BACKOFF_MAX_NS)
		link->backoff_ns = LOCAL_BACKOFF_MAX_NS;
	link->retry_ns = link->wanted ? t->now_ns + link->backoff_ns : UINT64_MAX;
	if (link->retry_ns < t->due_ns)
		t->due_ns = link->retry_ns;
	if (was_up)
		t->events.link_down(t->events.ctx, cell, why);
}

static enum link_down cause_of(enum ring_outcome outcome)
{
	return outcome == RING_LIE ? LINK_LIED : LINK_LOST;
}

/*
 * Delivers up to `budget` records. RING_OK: there may be more; RING_EMPTY; else
 * the ring has failed. Sets *gone if a callback took this link down.
 */
static enum ring_outcome deliver(
	struct local *t, uint16_t cell, size_t budget, size_t *count, bool *gone)
{
	struct local_link *link = &t->links[cell];
	uint32_t generation = link->generation;
	enum ring_outcome outcome = RING_OK;
	size_t bytes;

	*gone = false;
	for (*count = 0; *count < budget; (*count)++) {
		outcome = ring_read(&link->in, t->record, t->record_room, &bytes);
		if (outcome != RING_OK)
			break;
		t->events.record(t->events.ctx, cell, t->record, bytes);
		*gone = link->generation != generation;
		if (*gone)
			break;
	}
	return outcome;
}

/* Bells without records cost the reader time: a peer that floods with them loses its link. */
static bool bells_flood(struct local *t, struct local_link *link, size_t records)
{
	if (t->now_ns - link->bells_since_ns >= 1000 * MS) {
		link->bells_since_ns = t->now_ns;
		link->empty_bells = 0;
	}
	if (records == 0)
		link->empty_bells++;
	return link->empty_bells > LOCAL_EMPTY_BELLS_MAX;
}

void local_link_drain(struct local *t, uint16_t cell)
{
	struct local_link *link = &t->links[cell];
	enum ring_outcome outcome;
	uint64_t rung;
	size_t count, left = LOCAL_DRAIN_BUDGET, total = 0;
	bool gone;
	ssize_t n;

	if (link->bell_in < 0)
		return;
	n = read(link->bell_in, &rung, sizeof(rung));
	/* A bell before the answer to the offer: the records wait until the link is up. */
	if (n < 0 || link->state != LINK_UP)
		return;
	outcome = ring_awake(&link->in);
	while (outcome == RING_OK && left) {
		outcome = deliver(t, cell, left, &count, &gone);
		if (gone)
			return;
		left -= count;
		total += count;
		if (outcome == RING_EMPTY)
			outcome = ring_sleep(&link->in);
	}
	if (outcome == RING_OK)
		ring_bell(link->bell_in); /* the rest after the other links */
	else if (outcome != RING_EMPTY)
		local_link_down(t, cell, cause_of(outcome));
	else if (bells_flood(t, link, total))
		local_link_down(t, cell, LINK_LIED);
}

void local_link_closed(struct local *t, uint16_t cell)
{
	struct local_link *link = &t->links[cell];
	/* The least that a record takes of the ring bounds how many can lie there. */
	size_t most = t->ring_bytes / 8, count;
	bool gone = false;

	if (link->state == LINK_UP)
		(void)deliver(t, cell, most, &count, &gone);
	if (!gone)
		local_link_down(t, cell, LINK_CLOSED);
}

int local_link_send(struct local *t, uint16_t cell, const void *part0, size_t bytes0,
	const void *part1, size_t bytes1)
{
	struct local_link *link = &t->links[cell];
	enum ring_outcome outcome;
	int bell;

	if (link->state != LINK_UP || link->failed)
		return -ENOTCONN;
	outcome = ring_write(&link->out, part0, bytes0, part1, bytes1, &bell);
	switch (outcome) {
	case RING_OK:
		if (bell)
			ring_bell(link->bell_out);
		return 0;
	case RING_FULL:
		return -EAGAIN;
	case RING_TOO_BIG:
		return -EMSGSIZE;
	default:
		link->failed = true;
		link->failed_why = cause_of(outcome);
		t->due_ns = 0;
		return -EIO;
	}
}
