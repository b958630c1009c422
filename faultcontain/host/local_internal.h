/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_HOST_LOCAL_INTERNAL_H
#define CELLVISOR_FAULTCONTAIN_HOST_LOCAL_INTERNAL_H

/*
 * Inside of the one-kernel transport: local.c owns the loop, local_hello.c the
 * introduction over sockets, local_link.c the rings of one link.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "faultcontain/host/local.h"
#include "faultcontain/host/proc.h"
#include "faultcontain/host/ring.h"
#include "faultcontain/wire_hello.h"

#define MS 1000000ull
#define LOCAL_BACKOFF_MIN_NS (20 * MS)
#define LOCAL_BACKOFF_MAX_NS (1000 * MS)
/* A link that lasted this long has proven itself: the next back-off starts small. */
#define LOCAL_SETTLED_NS (5000 * MS)
/* A stopped peer accepts connections without ever answering. */
#define LOCAL_HELLO_TIMEOUT_NS (5000 * MS)
#define LOCAL_BACKLOG 1024
#define LOCAL_PENDING_MAX 64u
/* Records taken from one link before the others get their turn. */
#define LOCAL_DRAIN_BUDGET 256u
/* Bells without records that a link may ring in one second. */
#define LOCAL_EMPTY_BELLS_MAX 10000u

enum link_state {
	LINK_IDLE = 0, /* nothing, or waiting for retry_ns */
	LINK_OFFERED,  /* connected, OFFER sent, answer due at retry_ns */
	LINK_UP,
};

struct local_link {
	enum link_state state;
	bool wanted; /* by this side */
	bool asked;  /* the lower cell knocked; until the link goes down */
	bool failed; /* a send saw it; process() takes it down */
	enum link_down failed_why;
	uint32_t generation;	/* counts downs: a drain notices that its link went away */
	int sock;		/* connection of the offer or link; -1 */
	pid_t listener_pid;	/* LINK_OFFERED: who listens there */
	int bell_in, bell_out;	/* eventfds, owned; -1 */
	void *map_in, *map_out; /* own ring, peer's ring; owned mappings */
	size_t map_in_bytes, map_out_bytes;
	struct ring_reader in;
	struct ring_writer out;
	struct transport_peer peer;
	uint64_t up_ns, retry_ns, backoff_ns;
	uint64_t bells_since_ns;
	uint32_t empty_bells;
};

/* A connection of someone who has not said a hello yet. */
struct local_pending {
	int sock; /* -1: free */
	uint64_t due_ns;
};

struct local {
	uint16_t self_cell, cell_count;
	uint64_t incarnation;
	uint32_t ring_bytes;
	struct transport_events events;
	char *runtime_dir; /* owned */
	struct proc_id self;
	int epoll, timer, listener;
	dev_t socket_dev; /* of our socket file: an heir's is not removed */
	ino_t socket_ino;
	uint64_t now_ns, armed_ns, wake_ns, due_ns;
	struct local_link *links;  /* by cell; owned */
	uint64_t *min_incarnation; /* by cell; owned */
	struct local_pending pending[LOCAL_PENDING_MAX];
	uint8_t *record; /* private copy of the record in hand; owned */
	size_t record_room;
};

/* What an epoll event is about: kind in the upper half of data.u64, index in the lower. */
enum local_event {
	LOCAL_TIMER,
	LOCAL_LISTENER,
	LOCAL_PENDING, /* index of pending[] */
	LOCAL_SOCK,    /* cell */
	LOCAL_BELL,    /* cell */
};
int local_watch(struct local *t, int fd, enum local_event kind, uint32_t index);

/* Room for the path of a cell's socket. */
#define LOCAL_PATH_BYTES 108
/* 0 or -ENAMETOOLONG. */
int local_socket_path(const struct local *t, uint16_t cell, const char *suffix, char *path);

/* --- local_link.c --- */

/* The memory and the bell to be passed to the peer with a hello. */
struct local_offer {
	int memfd; /* to be closed once sent */
	int bell;  /* borrowed: link->bell_in */
};
/* Makes this cell's ring for the peer. 0 or -errno; undone by local_link_clear(). */
int local_link_make_ring(struct local *t, uint16_t cell, struct local_offer *offer);
/*
 * Takes up the ring that the peer offers: checks that the descriptors are what
 * was agreed (sealed shared memory of that size, an eventfd). Both are given
 * away in any case.
 */
enum wire_refusal local_link_take_ring(
	struct local_link *link, int memfd, int bell, uint32_t ring_bytes);
/* The introduction is complete. link->sock is set and watched. */
void local_link_up(struct local *t, uint16_t cell, const struct wire_hello *hello);
/* Frees all of a link, up or not, and says nothing. */
void local_link_clear(struct local *t, uint16_t cell);
/* The same with link_down if it was up; plans the next attempt. */
void local_link_down(struct local *t, uint16_t cell, enum link_down why);
/* The bell rang. */
void local_link_drain(struct local *t, uint16_t cell);
/* The peer hung up: takes what it had written before, then link_down. */
void local_link_closed(struct local *t, uint16_t cell);
int local_link_send(struct local *t, uint16_t cell, const void *part0, size_t bytes0,
	const void *part1, size_t bytes1);

/* --- local_hello.c --- */

/* Binds the socket of this cell over an earlier life's. 0 or -errno. */
int local_listen(struct local *t);
void local_unlisten(struct local *t);
/* Takes all connections that wait. */
void local_accept(struct local *t);
/* The connection has something to say. */
void local_pending_ready(struct local *t, uint32_t index);
void local_pending_close(struct local *t, uint32_t index);
/* It is time to try: connects and offers to a lower cell, knocks at a higher one. */
void local_attempt(struct local *t, uint16_t cell);
/* The socket of an offered or established link has an event. */
void local_sock_ready(struct local *t, uint16_t cell);

#endif
