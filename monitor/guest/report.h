/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_GUEST_REPORT_H
#define CELLVISOR_MONITOR_GUEST_REPORT_H

/*
 * What a guest process and its cell monitor say to each other: one JSON object
 * per datagram of a SOCK_SEQPACKET socket, at most REPORT_BYTES_MAX. Neither
 * side trusts the other: both decode whole before they act.
 *
 * Life of a guest, seen from the monitor:
 *   it makes a socketpair, starts `cellvisor guest` with one end as fd 3, sends
 *   start; gets started (with the memfd of the guest's RAM by SCM_RIGHTS; the
 *   guest then runs) or error (and the process exits with that code);
 *   gets state at each change; sends stop, kill, show when it likes.
 * When the socket closes, the guest goes on and tries the monitor's guests.sock
 * every REPORT_RETRY_MS, by the name that process.h tells; its first message
 * there is register, with the memfd. After that both sockets are alike.
 *
 * The ledger is the monitor's own note about the guest (which loans it uses); the
 * guest process keeps the last one, doesn't look into it, and shows it to the
 * next monitor.
 */

#include "faultcontain/memory_error.h"
#include "monitor/err.h"
#include "monitor/guest/home.h"
#include "monitor/guest/spec.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define REPORT_BYTES_MAX 65536u
#define REPORT_RETRY_MS 200u
/* A ledger as compact JSON. */
#define REPORT_LEDGER_BYTES_MAX 16384u
#define REPORT_CAUSE_BYTES 200u
/* The control socket of a new guest process. */
#define REPORT_START_FD 3

/* --- monitor to guest --- */

enum guest_order_op {
	ORDER_START,  /* the first and only the first message on fd 3 */
	ORDER_STOP,   /* press the power button; the guest may take its time, or ignore it */
	ORDER_KILL,   /* end at once: state stopped, cause "killed", exit status 0 */
	ORDER_SHOW,   /* answered by REPORT_SHOWN */
	ORDER_KEEP,   /* keep this ledger, in place of the one before */
	ORDER_PING,   /* answered by REPORT_PONG at once, if its event loop turns */
	ORDER_REHOME, /* another cell is the home from now on: see docs/moving.md */
	ORDER_OP_COUNT,
};

/* A plain value but for `ledger`. */
struct guest_order {
	enum guest_order_op op;
	struct guest_spec spec; /* of ORDER_START */
	struct guest_home home; /* of ORDER_START, _REHOME */
	json_t *ledger;		/* of ORDER_KEEP, _REHOME: an object, owned; see guest_order_fini */
};

/*
 * {"op":"start","spec":{..},"home":{..}}, {"op":"stop"}, {"op":"keep","ledger":{..}},
 * {"op":"rehome","home":{..},"ledger":{..}}, ...
 * A new reference or NULL.
 */
json_t *guest_order_encode(const struct guest_order *o);

/*
 * The reverse, for any JSON value. 0, or a negative errno with *e and nothing to
 * free in *o, which is then undefined.
 */
int guest_order_decode(const json_t *value, struct guest_order *o, struct err *e);

void guest_order_fini(struct guest_order *o);

/* --- guest to monitor --- */

enum guest_report_op {
	REPORT_STARTED,
	REPORT_ERROR,
	REPORT_STATE,
	REPORT_REGISTER,
	REPORT_SHOWN,
	REPORT_MEMORY_ERROR,
	REPORT_PONG,
	REPORT_OP_COUNT,
};

enum report_state {
	REPORT_STARTING,
	REPORT_RUNNING,
	REPORT_STOPPED, /* powered off or killed on request: the process exits with 0 */
	REPORT_CRASHED, /* ended by an error of guest, host or ours, told in `cause` */
	REPORT_STATE_COUNT,
};

/* A plain value but for `shown` and `ledger`. Fields not named by the op are zero. */
struct guest_report {
	enum guest_report_op op;
	pid_t pid;	     /* STARTED, REGISTER */
	uint64_t start_time; /* STARTED, REGISTER: as in struct proc_id */
	enum exit_code code; /* ERROR, with text */
	char text[ERR_TEXT_BYTES];
	enum report_state state; /* STATE, REGISTER, with cause and reboots */
	char cause[REPORT_CAUSE_BYTES];
	uint64_t reboots;
	struct guest_spec spec; /* REGISTER, as `home` */
	struct guest_home home;
	uint64_t memory_errors; /* MEMORY_ERROR, REGISTER: pages that the guest has lost so far */
	struct memory_error error; /* MEMORY_ERROR: of one of them, all but `off` and the flags */
	json_t *shown;	/* SHOWN: an object to be shown as it is; owned, see guest_report_fini */
	json_t *ledger; /* REGISTER: the last ORDER_KEEP's, owned; NULL if there was none */
};

/*
 * {"op":"started","pid","start_time"}, {"op":"error","code","text"},
 * {"op":"state","state","cause","reboots"}, {"op":"register","name","pid",
 * "start_time","spec","home","state","cause","reboots","memory_errors","ledger"?}, {"op":"shown",
 * "guest":{..}}, {"op":"memory-error","memory_errors","gpa","bytes","end",
 * "node"?,"frame"?,"vcpu"?,"source"}, {"op":"pong"}. A new reference or NULL.
 */
json_t *guest_report_encode(const struct guest_report *r);

/*
 * The reverse, for any JSON value. 0, or a negative errno with *e and nothing to
 * free in *r. A cause is cut, control characters in it become '?'.
 */
int guest_report_decode(const json_t *value, struct guest_report *r, struct err *e);

void guest_report_fini(struct guest_report *r);

/* "starting", "running", "stopped", "crashed". */
const char *report_state_name(enum report_state state);

/* --- the socket --- */

/*
 * Sends one object (borrowed), with descriptor `fd` unless it is -1; never
 * blocks. 0; -EMSGSIZE beyond REPORT_BYTES_MAX, -EAGAIN when the peer doesn't
 * read, -EPIPE when it is gone, or another negative errno.
 */
int report_send(int sock, const json_t *value, int fd);

/*
 * Receives one datagram; blocks as the socket does. 1 with *value a new
 * reference and *fd a descriptor (close-on-exec, owned by the caller) or -1;
 * 0 at the end of the stream; -EBADMSG if it is no JSON object or too long;
 * another negative errno (-EAGAIN: nothing there). *fd is -1 and *value NULL
 * unless 1 is returned.
 */
int report_recv(int sock, json_t **value, int *fd);

#endif
