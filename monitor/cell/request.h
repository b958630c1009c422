/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_REQUEST_H
#define CELLVISOR_MONITOR_CELL_REQUEST_H

/*
 * Requests to a cell monitor: JSON objects, from the command line (a line on
 * monitor.sock) and from peers (the body of a call). docs/operations.md lists
 * the operations and their fields. Parsed whole before anything is done.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "monitor/cell/guests.h"
#include "monitor/err.h"

/* Longest request, with its newline. */
#define REQUEST_BYTES_MAX ((size_t)65536)

enum request_op {
	/* from the command line; the monitor that is asked answers for all cells */
	REQUEST_PING,
	REQUEST_LS,
	REQUEST_SHOW,
	REQUEST_RUN,
	REQUEST_STOP,
	REQUEST_KILL,
	REQUEST_VCPUS,
	REQUEST_MOVE_VCPU,
	REQUEST_BORROW,
	REQUEST_GIVE_BACK,
	REQUEST_MOVE,
	REQUEST_DRAIN,
	REQUEST_UNDRAIN,
	REQUEST_EVENTS,
	REQUEST_INJECT,
	REQUEST_DOWN,
	/* from peers; a cell answers for itself */
	REQUEST_CELL_ROWS,    /* the cell and its guests */
	REQUEST_CELL_ROOM,    /* what its nodes have free */
	REQUEST_CELL_SHOW,    /* one guest */
	REQUEST_CELL_RESERVE, /* keep a name for the asking cell */
	REQUEST_CELL_RELEASE, /* ... and give it up: the guest started, or did not */
	REQUEST_CELL_START,   /* start a guest here */
	REQUEST_CELL_STOP,    /* power button, wait for the end */
	REQUEST_CELL_KILL,
	REQUEST_CELL_VCPUS, /* where vCPUs of its guests run, and who visits it */
	REQUEST_CELL_MOVE_VCPU,
	REQUEST_CELL_BORROW, /* memory for a guest of its own */
	REQUEST_CELL_GIVE_BACK,
	REQUEST_CELL_MOVE,   /* a guest of its own to another cell; answered by a job's number */
	REQUEST_CELL_EXPECT, /* will it have that guest? */
	REQUEST_CELL_DRAIN,  /* empty it; answered by a job's number */
	REQUEST_CELL_UNDRAIN,
	REQUEST_CELL_JOB, /* how does that job go on? */
	REQUEST_CELL_EVENTS,
	REQUEST_CELL_DOWN, /* end all guests, and then this monitor */
	REQUEST_OP_COUNT,
};

enum request_origin {
	REQUEST_FROM_CLIENT,
	REQUEST_FROM_PEER,
};

struct request {
	enum request_op op;
	char name[SPEC_NAME_MAX + 1]; /* valid, if the operation has one */
	char kind[32];		      /* of a fault */
	uint32_t node;
	uint32_t vcpu, cpu;
	bool has_cell;
	uint32_t cell;
	uint64_t bytes;
	bool force, started, has_cpu;
	bool release; /* of a vCPU: it is the balancers' again */
	double since;
	uint64_t after;	     /* sequence number of an event, or of what a job told */
	uint64_t timeout_ms; /* 0: none given */
	uint64_t token;	     /* of a reservation, or a job */
	json_t *spec, *home; /* owned objects, not judged yet; NULL if none */
};

/*
 * Parses one request. 0, or -errno with *e (EXIT_USAGE) naming the operation
 * and field, and then nothing to free. Unknown fields are refused, so that a
 * misspelt option is never silently ignored.
 */
int request_parse(
	struct request *r, enum request_origin from, const char *text, size_t bytes, struct err *e);

/* The same from parsed JSON (borrowed). */
int request_from_json(
	struct request *r, enum request_origin from, const json_t *value, struct err *e);

void request_fini(struct request *r);

/* As it stands in "op". */
const char *request_op_name(enum request_op op);

#endif
