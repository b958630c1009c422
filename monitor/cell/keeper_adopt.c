/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guests of an earlier life of this monitor: they register again over
 * guests.sock, and peers remember them.
 */

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "faultcontain/handover.h"
#include "monitor/cell/keeper_internal.h"
#include "monitor/guest/process.h"
#include "numa/check.h"

/* A connection that says nothing for so long is closed. */
#define NEWCOMER_NS 5000000000u

static void newcomer_close(struct newcomer *n)
{
	loop_unwatch(n->k->cfg.loop, &n->watch);
	close(n->fd);
	n->fd = -1;
}

/* Is the peer of this socket the process that the report claims it to be? The kernel's word. */
static bool is_itself(int fd, const struct guest_report *r)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	uint64_t start_time;

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) && peer.pid == r->pid &&
	       !proc_start_time(peer.pid, &start_time) && start_time == r->start_time;
}

/* The link that this process gets: the one that waits for it, or a new one. NULL: refused. */
static struct guest_link *link_of(struct keeper *k, const struct guest_report *r)
{
	const struct proc_id id = { .pid = r->pid, .start_time = r->start_time };
	struct guest_link *l = keeper_find_link(k, r->spec.name);
	struct guest *g;
	int pidfd;

	if (l)
		return l->g->proc.pid == id.pid && l->g->proc.start_time == id.start_time ? l
											  : NULL;
	pidfd = proc_open(&id);
	if (pidfd < 0)
		return NULL;
	if (guest_book_add(&k->book, r->spec.name, k->cfg.cell, &g) != GUEST_ADDED) {
		close(pidfd);
		return NULL;
	}
	g->proc = id;
	guest_move(g, GUEST_RUNNING, "adopted", keeper_wall_clock());
	return keeper_link(k, g, pidfd);
}

/* Is this a guest of this cell? One of another is shown the door of its home. */
static bool register_here(struct keeper *k, int sock, const struct guest_report *r)
{
	if (r->op != REPORT_REGISTER || !is_itself(sock, r))
		return false;
	if (handover_register(k->cfg.cell, r->home.cell) == HANDOVER_ADOPT)
		return true;
	if (r->home.cell < k->cfg.plan->cells.cell_count)
		keeper_show_door(k, r->spec.name, r->home.cell);
	return false;
}

/* A guest process introduces itself: `fd` is its RAM (borrowed), the socket is given away. */
static void adopt(struct keeper *k, int sock, const struct guest_report *r, int fd)
{
	struct guest_link *l;
	int ram = fd >= 0 ? dup(fd) : -1;

	l = register_here(k, sock, r) ? link_of(k, r) : NULL;
	if (!l || keeper_link_chan(l, sock)) {
		fprintf(stderr, "a process that is not a guest of cell %u tried to register\n",
			k->cfg.cell);
		if (!l)
			close(sock);
		if (ram >= 0)
			close(ram);
		return;
	}
	if (!l->heard)
		keeper_fill(l->g, &r->spec, &r->home);
	keeper_link_home(l, &r->home);
	keeper_event(k, l->g, "guest-adopted", "its process registered with the new monitor");
	/* Reboots that no monitor saw are no news now. */
	l->g->reboots = r->reboots < INT32_MAX ? (uint32_t)r->reboots : INT32_MAX;
	keeper_link_report(l, r, ram);
	if (!l->heard && k->cfg.events.registered)
		k->cfg.events.registered(k->cfg.events.ctx, l->g, &r->spec, &r->home, r->ledger);
	l->heard = true;
	/* What it keeps may be older than what this life has sent. */
	l->ledger_waits = l->ledger != NULL;
	keeper_push_ledger(l);
	keeper_changed(k);
}

static void newcomer_ready(void *ctx, uint32_t events)
{
	struct newcomer *n = ctx;
	struct keeper *k = n->k;
	struct guest_report *r;
	json_t *value;
	struct err e;
	int fd, sock, rc = report_recv(n->fd, &value, &fd);

	(void)events;
	if (rc == -EAGAIN || rc == -EINTR)
		return;
	if (rc != 1) {
		newcomer_close(n);
		return;
	}
	r = calloc(1, sizeof(*r));
	CHECK(r != NULL);
	rc = guest_report_decode(value, r, &e);
	json_decref(value);
	if (rc) {
		newcomer_close(n);
	} else {
		loop_unwatch(k->cfg.loop, &n->watch);
		sock = n->fd;
		n->fd = -1;
		adopt(k, sock, r, fd);
		guest_report_fini(r);
	}
	free(r);
	if (fd >= 0)
		close(fd);
}

static void listener_ready(void *ctx, uint32_t events)
{
	struct keeper *k = ctx;
	int fd;

	(void)events;
	while ((fd = accept4(k->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct newcomer *n = k->newcomers;

		while (n < k->newcomers + NEWCOMERS_MAX && n->fd >= 0)
			n++;
		if (n == k->newcomers + NEWCOMERS_MAX) {
			close(fd); /* it will try again */
			continue;
		}
		n->k = k;
		n->fd = fd;
		n->deadline_ns = keeper_clock_ns() + NEWCOMER_NS;
		if (loop_watch(k->cfg.loop, &n->watch, fd, newcomer_ready, n))
			newcomer_close(n);
	}
}

void keeper_open_door(const struct keeper *k, const char *name)
{
	char door[RUNTIME_PATH_BYTES], sock[RUNTIME_PATH_BYTES];

	runtime_cell_path(sock, k->dir, k->cfg.cell, "guests.sock");
	runtime_guest_path(door, k->dir, k->cfg.cell, name, GUEST_MONITOR_SOCK);
	unlink(door);
	if (link(sock, door))
		fprintf(stderr, "guest '%s' will not find this monitor: %s: %s\n", name, door,
			strerror(errno));
}

/* What a guest had that died with its cell, and so tidied nothing up; its log stays to be read. */
static void close_doors(const struct keeper *k, const char *name)
{
	char path[RUNTIME_PATH_BYTES];

	unlink(runtime_guest_path(path, k->dir, k->cfg.cell, name, GUEST_CONSOLE_SOCK));
	unlink(runtime_guest_path(path, k->dir, k->cfg.cell, name, GUEST_MONITOR_SOCK));
}

/* For the guests of an earlier life. */
static void open_doors(const struct keeper *k)
{
	char path[RUNTIME_PATH_BYTES];
	const struct dirent *entry;
	DIR *folder = opendir(runtime_cell_path(path, k->dir, k->cfg.cell, "guests"));
	struct err e;

	while (folder && (entry = readdir(folder)))
		if (!guest_name_check(entry->d_name, &e))
			(k->cfg.newborn ? close_doors : keeper_open_door)(k, entry->d_name);
	if (folder)
		closedir(folder);
}

int keeper_listen(struct keeper *k, struct err *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	runtime_cell_path(addr.sun_path, k->dir, k->cfg.cell, "guests.sock");
	k->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (k->listen_fd < 0)
		return err_set(e, EXIT_ENVIRONMENT, "can't make a socket: %s", strerror(errno));
	unlink(addr.sun_path);
	if (bind(k->listen_fd, (struct sockaddr *)&addr, sizeof(addr)) ||
		chmod(addr.sun_path, 0600) || listen(k->listen_fd, (int)NEWCOMERS_MAX) ||
		loop_watch(k->cfg.loop, &k->listen_watch, k->listen_fd, listener_ready, k)) {
		int rc = errno;

		close(k->listen_fd);
		return err_set(
			e, EXIT_ENVIRONMENT, "can't listen on %s: %s", addr.sun_path, strerror(rc));
	}
	open_doors(k);
	return 0;
}

void keeper_unlisten(struct keeper *k)
{
	for (size_t i = 0; i < NEWCOMERS_MAX; i++)
		if (k->newcomers[i].fd >= 0)
			newcomer_close(&k->newcomers[i]);
	loop_unwatch(k->cfg.loop, &k->listen_watch);
	close(k->listen_fd);
}

void keeper_newcomers_tick(struct keeper *k, uint64_t now_ns)
{
	for (size_t i = 0; i < NEWCOMERS_MAX; i++)
		if (k->newcomers[i].fd >= 0 && k->newcomers[i].deadline_ns <= now_ns)
			newcomer_close(&k->newcomers[i]);
}

uint64_t keeper_newcomers_next_ns(const struct keeper *k)
{
	uint64_t next = UINT64_MAX;

	for (size_t i = 0; i < NEWCOMERS_MAX; i++)
		if (k->newcomers[i].fd >= 0 && k->newcomers[i].deadline_ns < next)
			next = k->newcomers[i].deadline_ns;
	return next;
}

/* Why it needs a cell is not remembered: until its users say, every reason counts. */
static void remember_needs(struct guest_link *l, const struct guest *row)
{
	for (uint32_t i = 0; i < row->need_count; i++)
		for (int why = 0; row->needs[i] < SPEC_CELLS_MAX && why < KEEPER_NEED_COUNT; why++)
			l->needs[why][row->needs[i]] = true;
}

/* Copies what a peer remembers into a fresh record. */
static struct guest *recall(struct keeper *k, const struct guest *row)
{
	struct guest *g;

	if (guest_book_add(&k->book, row->name, k->cfg.cell, &g) != GUEST_ADDED)
		return NULL;
	*g = *row;
	g->home = k->cfg.cell;
	g->spec = json_incref(row->spec);
	return g;
}

void keeper_remember(struct keeper *k, const struct guest *row)
{
	struct guest_link *l;
	struct guest *g;
	int pidfd;

	if (row->home != k->cfg.cell || guest_book_find(&k->book, row->name))
		return;
	if (guest_ended(row)) {
		recall(k, row);
		return;
	}
	if (row->proc.pid == 0)
		return;
	pidfd = proc_open(&row->proc);
	g = pidfd >= 0 || pidfd == -ESRCH ? recall(k, row) : NULL;
	if (!g) {
		if (pidfd >= 0)
			close(pidfd);
		return;
	}
	/* One that was starting is taken for running: its process decides which it is. */
	guest_move(g, GUEST_RUNNING, "started", row->started);
	l = pidfd >= 0 ? keeper_link(k, g, pidfd) : NULL;
	if (l) {
		remember_needs(l, row);
		keeper_changed(k);
		return;
	}
	guest_move(g, GUEST_CRASHED, "its process ended while this cell's monitor was down",
		keeper_wall_clock());
	keeper_event(k, g, "guest-crashed", g->cause);
	keeper_changed(k);
}
