/* SPDX-License-Identifier: BSD-2-Clause */
/* The cell monitor: sets up, and turns the loop. */

#include "monitor/cell/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "monitor/cell/balancing.h"
#include "monitor/cell/draining.h"
#include "monitor/cell/jobs.h"
#include "monitor/cell/lending.h"
#include "monitor/cell/moving.h"
#include "monitor/cell/predicting.h"
#include "monitor/cell/recovery.h"
#include "monitor/cell/restart.h"
#include "monitor/cell/state.h"
#include "numa/check.h"
#include "numa/host/cgroup.h"

/* A new life hears from its peers within this time what its former one knew. */
#define SETTLE_NS (3ull * 1000000000u)
/* A peer whose ring was full is told again after this time. */
#define TELL_AGAIN_NS (50ull * 1000000u)
/* The former life of this cell was killed; its lock goes with its process. */
#define LOCK_TRIES 100
#define LOCK_PAUSE_US 100000

#define MONITOR_NICE (-10)

struct options {
	uint64_t cell, incarnation, born;
	const char *dir, *because;
};

uint64_t monitor_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

double monitor_wall(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void monitor_event(
	struct monitor *m, uint32_t cell, const char *guest, const char *name, const char *cause)
{
	event_record(m->events, monitor_wall(), cell, guest, name, cause);
}

const struct guest_book *monitor_book(const struct monitor *m, uint32_t cell)
{
	return cell == m->self ? keeper_book(m->keeper) : &m->replicas[cell].book;
}

void monitor_forget_ended(struct monitor *m, const char *name)
{
	keeper_forget(m->keeper, name);
	for (uint32_t cell = 0; cell < m->plan->cells.cell_count; cell++) {
		struct guest *g = guest_book_find(&m->replicas[cell].book, name);

		if (g && guest_ended(g))
			guest_book_remove(&m->replicas[cell].book, g);
	}
}

/* --- telling peers of the guests --- */

/* Sends a book in parts. 0 or -errno: then all of it has to be sent again. */
static int send_book(struct monitor *m, uint32_t cell, uint16_t op, const struct guest_book *book)
{
	char *part;
	int rc = 0;

	for (size_t i = 0; !rc && (part = replica_part(book, i)); i++) {
		rc = fabric_send(m->fabric, (uint16_t)cell, op, part, strlen(part));
		free(part);
	}
	return rc;
}

static void tell_peers(struct monitor *m)
{
	if (m->settled_ns)
		return;
	for (uint32_t cell = 0; cell < m->plan->cells.cell_count; cell++)
		if (m->tell[cell] &&
			send_book(m, cell, CELL_OP_GUESTS, keeper_book(m->keeper)) != -EAGAIN)
			m->tell[cell] = false; /* without a link: link_up will tell it */
}

bool monitor_told(const struct monitor *m)
{
	struct transport_peer peer;

	for (uint32_t cell = 0; cell < m->plan->cells.cell_count; cell++)
		if (m->tell[cell] && fabric_peer(m->fabric, (uint16_t)cell, &peer))
			return false;
	return true;
}

static void guests_changed(void *ctx)
{
	struct monitor *m = ctx;

	for (uint32_t cell = 0; cell < m->plan->cells.cell_count; cell++)
		m->tell[cell] = cell != m->self;
	tell_peers(m);
}

static void guest_event(void *ctx, const struct guest *g, const char *name, const char *cause)
{
	struct monitor *m = ctx;

	monitor_event(m, m->self, g->name, name, cause);
}

static void guest_registered(void *ctx, const struct guest *g, const struct guest_spec *spec,
	const struct guest_home *home, const json_t *ledger)
{
	moving_registered(ctx, g, ledger);
	lending_registered(ctx, g, spec, home, ledger);
	balancing_registered(ctx, g, spec, ledger);
}

static void settle(struct monitor *m)
{
	m->settled_ns = 0;
	tell_peers(m);
}

/* --- the fabric's events --- */

static void link_up(void *ctx, const struct transport_peer *peer)
{
	struct monitor *m = ctx;

	/* First what its former life had: its own word will replace that. */
	send_book(m, peer->cell, CELL_OP_REMEMBER, &m->replicas[peer->cell].book);
	m->tell[peer->cell] = true;
	recovery_link_up(m, peer);
	balancing_link_up(m, peer->cell);
}

static void link_down(void *ctx, uint16_t cell, uint64_t incarnation, enum link_down why)
{
	struct monitor *m = ctx;

	fprintf(stderr, "link to cell %u is down: %s\n", cell, link_down_name(why));
	recovery_link_down(m, cell, incarnation);
}

static void take_memories(struct monitor *m, const void *body, size_t bytes)
{
	struct replica *r = &m->remembered;

	if (!m->settled_ns || replica_take(r, m->self, body, bytes) != 1)
		return;
	for (size_t i = 0; i < r->book.count; i++)
		keeper_remember(m->keeper, r->book.guests[i]);
	settle(m);
}

static void take_book(struct monitor *m, uint16_t cell, const void *body, size_t bytes)
{
	int rc = replica_take(&m->replicas[cell], cell, body, bytes);

	if (rc < 0)
		fabric_fail(m->fabric, cell);
	else if (rc == 1)
		moving_book(m, cell);
}

static void message(
	void *ctx, uint16_t cell, uint64_t incarnation, uint16_t op, const void *body, size_t bytes)
{
	struct monitor *m = ctx;

	if (op < WIRE_OP_CELL)
		recovery_message(m, cell, incarnation, op, body, bytes);
	else if (op == CELL_OP_LOAN)
		lending_message(m, cell, incarnation, body, bytes);
	else if (op == CELL_OP_REMEMBER)
		take_memories(m, body, bytes);
	else if (op == CELL_OP_LOAD)
		balancing_loads(m, cell, body, bytes);
	else if (op == CELL_OP_VISITS)
		balancing_announced(m, cell, incarnation, body, bytes);
	else if (op == CELL_OP_CORRECTED)
		predicting_message(m, body, bytes);
	else if (op == CELL_OP_GUESTS)
		take_book(m, cell, body, bytes);
}

static bool call(void *ctx, const struct fabric_request *req, const void *body, size_t bytes)
{
	struct monitor *m = ctx;
	const struct asker who = { .peer = *req };
	json_t *request;
	struct err e;

	if (req->op == CELL_OP_VISIT) {
		balancing_visit(m, req, body, bytes);
		return true;
	}
	if (req->op != CELL_OP_REQUEST)
		return false;
	request = json_loadb(body, bytes, JSON_REJECT_DUPLICATES, NULL);
	if (request) {
		serve_request(m, &who, request);
		json_decref(request);
	} else {
		err_set(&e, EXIT_USAGE, "a request that is not JSON");
		asker_refuse(m, &who, &e);
	}
	return true;
}

/* --- descriptors --- */

static void fabric_ready(void *ctx, uint32_t events)
{
	struct monitor *m = ctx;

	(void)events;
	fabric_process(m->fabric, monitor_now_ns());
}

static void server_ready(void *ctx, uint32_t events)
{
	struct monitor *m = ctx;

	(void)events;
	server_process(m->server);
}

/* Asked to end by whoever manages this machine: the guests go on, a peer takes over. */
static void signal_ready(void *ctx, uint32_t events)
{
	struct monitor *m = ctx;
	struct signalfd_siginfo info;

	(void)events;
	if (read(m->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		fprintf(stderr, "ends on signal %u\n", info.ssi_signo);
		m->exit_ns = 0;
	}
}

/* --- setting up --- */

static bool parse_u64(const char *text, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 10);
	return !errno && end != text && *end == '\0';
}

static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option names[] = {
		{ "cell", required_argument, NULL, 'c' },
		{ "incarnation", required_argument, NULL, 'i' },
		{ "born", required_argument, NULL, 'b' },
		{ "runtime", required_argument, NULL, 'r' },
		{ "because", required_argument, NULL, 'w' },
		{ 0 },
	};
	bool good = true;
	int key;

	while ((key = getopt_long(argc, argv, "", names, NULL)) != -1)
		switch (key) {
		case 'c':
			good = good && parse_u64(optarg, &o->cell) && o->cell < CELLS_MAX;
			break;
		case 'i':
			good = good && parse_u64(optarg, &o->incarnation);
			break;
		case 'b':
			good = good && parse_u64(optarg, &o->born);
			break;
		case 'r':
			o->dir = optarg;
			good = good && strlen(optarg) <= RUNTIME_DIR_MAX;
			break;
		case 'w':
			o->because = optarg;
			break;
		default:
			good = false;
		}
	return good && o->dir && o->incarnation >= 1 && o->born >= 1 ? 0 : -EINVAL;
}

static int take_lock(struct monitor *m, struct err *e)
{
	char path[RUNTIME_PATH_BYTES];

	m->lock_fd = open(runtime_cell_path(path, m->dir, m->self, "lock"),
		O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	for (int i = 0; m->lock_fd >= 0 && i < LOCK_TRIES; i++) {
		if (!flock(m->lock_fd, LOCK_EX | LOCK_NB))
			return 0;
		usleep(LOCK_PAUSE_US);
	}
	return err_set(
		e, EXIT_CONFLICT, "cell %u already has a monitor: %s is locked", m->self, path);
}

static int open_signals(struct monitor *m, struct err *e)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	m->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (m->signal_fd < 0 ||
		loop_watch(&m->loop, &m->signal_watch, m->signal_fd, signal_ready, m))
		return err_set(e, EXIT_ENVIRONMENT, "signalfd: %s", strerror(errno));
	return 0;
}

static void raise_limits(void)
{
	struct rlimit files;

	/* Its guests' vCPUs run on the same CPUs; being late looks like being dead. */
	setpriority(PRIO_PROCESS, 0, MONITOR_NICE);

	/* Several descriptors per guest and peer. */
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

static int open_fabric(struct monitor *m, struct err *e)
{
	const struct fabric_cfg cfg = {
		.runtime_dir = m->dir,
		.self_cell = (uint16_t)m->self,
		.cell_count = (uint16_t)m->plan->cells.cell_count,
		.incarnation = m->incarnation,
		.events = { .link_up = link_up,
			.link_down = link_down,
			.message = message,
			.call = call,
			.ctx = m },
	};
	int rc = fabric_open(&m->fabric, &cfg, e);

	if (rc)
		return rc;
	rc = loop_watch(&m->loop, &m->fabric_watch, fabric_fd(m->fabric), fabric_ready, m);
	return rc ? err_set(e, EXIT_ENVIRONMENT, "epoll: %s", strerror(-rc)) : 0;
}

static int open_server(struct monitor *m, struct err *e)
{
	char path[RUNTIME_PATH_BYTES];
	int rc = server_open(&m->server, runtime_cell_path(path, m->dir, m->self, "monitor.sock"),
		api_line, m, e);

	if (rc)
		return rc;
	rc = loop_watch(&m->loop, &m->server_watch, server_fd(m->server), server_ready, m);
	return rc ? err_set(e, EXIT_ENVIRONMENT, "epoll: %s", strerror(-rc)) : 0;
}

static int open_keeper(struct monitor *m, bool newborn, struct err *e)
{
	const struct keeper_cfg cfg = {
		.loop = &m->loop,
		.dir = m->dir,
		.cell = m->self,
		.exe_fd = m->exe_fd,
		.cgroups = cgroup_offered(e) == 0,
		.newborn = newborn,
		.plan = m->plan,
		.events = { .event = guest_event,
			.changed = guests_changed,
			.registered = guest_registered,
			.ctx = m },
	};

	return keeper_open(&m->keeper, &cfg, e);
}

static int monitor_open(struct monitor *m, const struct options *o, struct err *e)
{
	char path[RUNTIME_PATH_BYTES], name[16];
	int rc;

	snprintf(m->dir, sizeof(m->dir), "%s", o->dir);
	m->self = (uint32_t)o->cell;
	m->incarnation = o->incarnation;
	m->next_token = 1;
	m->exit_ns = UINT64_MAX;
	m->settled_ns = m->incarnation > 1 ? monitor_now_ns() + SETTLE_NS : 0;
	snprintf(name, sizeof(name), "cv-cell-%u", m->self);
	bind_name_thread(name);
	raise_limits();
	m->plan = calloc(1, sizeof(*m->plan));
	m->events = calloc(1, sizeof(*m->events));
	CHECK(m->plan && m->events);
	rc = plan_load(m->plan, m->dir, e);
	if (rc)
		return rc;
	if (m->self >= m->plan->cells.cell_count)
		return err_set(e, EXIT_USAGE, "machine.json has no cell %u", m->self);
	m->exe_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (m->exe_fd < 0 || loop_init(&m->loop))
		return err_set(e, EXIT_ENVIRONMENT, "can't set up: %s", strerror(errno));
	rc = take_lock(m, e);
	if (rc)
		return rc;
	restart_open(m);
	event_log_init(
		m->events, m->self, runtime_cell_path(path, m->dir, m->self, "events.jsonl"));
	jobs_open(m);
	moving_open(m);
	draining_open(m);
	predicting_open(m);
	if ((rc = open_signals(m, e)) || (rc = open_keeper(m, o->incarnation == o->born, e)) ||
		(rc = balancing_open(m, e)) || (rc = recovery_open(m, o->born, e)) ||
		(rc = lending_open(m, o->born, e)) || (rc = open_fabric(m, e)))
		return rc;
	monitor_event(m, m->self, NULL, m->incarnation == o->born ? "cell-up" : "monitor-restarted",
		o->because ? o->because : "started");
	return open_server(m, e);
}

static void monitor_close(struct monitor *m)
{
	gather_fini(m);
	if (m->server)
		server_close(m->server);
	if (m->recovery)
		recovery_close(m);
	if (m->fabric)
		fabric_close(m->fabric);
	balancing_close(m);
	lending_close(m);
	moving_close(m);
	predicting_close(m);
	draining_close(m);
	jobs_close(m);
	keeper_close(m->keeper);
	for (uint32_t cell = 0; cell < CELLS_MAX; cell++)
		replica_fini(&m->replicas[cell]);
	replica_fini(&m->remembered);
	restart_close(m);
	event_log_fini(m->events);
	free(m->events);
	free(m->plan);
}

/* --- the loop --- */

static uint64_t next_due(const struct monitor *m, uint64_t now_ns)
{
	uint64_t due = recovery_due(m), other = keeper_next_ns(m->keeper);

	if (gather_pending(m))
		return now_ns;
	due = other < due ? other : due;
	other = lending_due(m, now_ns);
	due = other < due ? other : due;
	other = moving_due(m, now_ns);
	due = other < due ? other : due;
	other = draining_due(m, now_ns);
	due = other < due ? other : due;
	other = predicting_due(m);
	due = other < due ? other : due;
	other = jobs_due(m);
	due = other < due ? other : due;
	due = m->exit_ns < due ? m->exit_ns : due;
	due = restart_due(m) < due ? restart_due(m) : due;
	due = balancing_due(m) < due ? balancing_due(m) : due;
	if (m->settled_ns && m->settled_ns < due)
		due = m->settled_ns;
	for (uint32_t cell = 0; cell < m->plan->cells.cell_count; cell++)
		if (m->tell[cell] && now_ns + TELL_AGAIN_NS < due)
			due = now_ns + TELL_AGAIN_NS;
	return due;
}

static int timeout_ms(const struct monitor *m, uint64_t now_ns)
{
	uint64_t due = next_due(m, now_ns);

	if (due <= now_ns)
		return 0;
	/* Rounded up: waking a little late is harmless, spinning is not. */
	return due - now_ns > 60000000000u ? 60000 : (int)((due - now_ns + 999999u) / 1000000u);
}

static void run(struct monitor *m)
{
	while (monitor_now_ns() < m->exit_ns) {
		uint64_t now_ns;

		loop_turn(&m->loop, timeout_ms(m, monitor_now_ns()));
		now_ns = monitor_now_ns();
		if (m->settled_ns && m->settled_ns <= now_ns)
			settle(m);
		recovery_turn(m, now_ns);
		keeper_tick(m->keeper, now_ns);
		balancing_turn(m, now_ns);
		lending_turn(m, now_ns);
		restart_turn(m, now_ns);
		moving_turn(m, now_ns);
		draining_turn(m, now_ns);
		predicting_turn(m, now_ns);
		jobs_turn(m, now_ns);
		tell_peers(m);
		gather_turn(m);
		server_process(m->server);
	}
}

int cell_monitor_main(int argc, char **argv)
{
	struct monitor *m = calloc(1, sizeof(*m));
	struct options o = { .cell = CELLS_MAX };
	struct err e;
	int status = EXIT_OK;

	CHECK(m != NULL);
	if (parse_options(argc, argv, &o)) {
		fprintf(stderr,
			"cellvisor monitor is internal: `cellvisor up` starts it with "
			"--cell=N --incarnation=K --born=B --runtime=DIR [--because=TEXT]\n");
		free(m);
		return EXIT_USAGE;
	}
	/* The log is read while the monitor lives. */
	(void)setvbuf(stderr, NULL, _IOLBF, 0);
	if (monitor_open(m, &o, &e)) {
		fprintf(stderr, "%s\n", e.text);
		status = (int)e.code;
	} else {
		fprintf(stderr, "cell %u: life %llu, process %d\n", m->self,
			(unsigned long long)m->incarnation, (int)getpid());
		run(m);
	}
	monitor_close(m);
	free(m);
	return status;
}
