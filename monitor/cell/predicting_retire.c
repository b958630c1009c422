/* SPDX-License-Identifier: BSD-2-Clause */
/* Pages that are retired, one at a time, each by a process that may hang. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor/cell/predicting.h"
#include "monitor/cell/predicting_internal.h"
#include "monitor/cell/spawn.h"
#include "monitor/cell/state.h"
#include "numa/host/bind.h"
#include "numa/host/frame.h"

/* After this time it is said that the kernel does not finish. */
#define HANGS_NS (30ull * 1000000000u)
/*
 * The kernel takes the new frame from the old one's node, unless that has less free memory than its
 * low watermark, a thousandth of it and some more (vm.watermark_scale_factor, vm.min_free_kbytes).
 * Then the page would come to a node that nobody knows the guest to need: with less than so much,
 * and a two hundredth, none is retired. A cpuset would forbid it strictly, but to move a process
 * into one holds the lock against CPU hotplug while it waits for RCU: a CPU that hangs just then
 * could not be taken offline any more.
 */
#define NODE_FREE_MIN (64ull << 20)
#define NODE_FREE_PART 200u
/* Exit status of the process: an errno, or this. */
#define STATUS_USAGE 201

/* --- the process --- */

int retire_page_main(int argc, char **argv)
{
	unsigned long long frame;
	char rest;

	if (argc != 2 || sscanf(argv[1], "%llu%c", &frame, &rest) != 1) {
		fprintf(stderr, "cellvisor retire-page is internal: cell monitors start it\n");
		return STATUS_USAGE;
	}
	return -frame_soft_offline(frame);
}

/* --- its monitor --- */

/* "page frame 0x1234 (address 0x1234000) of node 1, whose errors are most in DIMM_A1" */
static int name_page(
	const struct monitor *m, char *text, size_t room, uint64_t frame, uint32_t node)
{
	const struct corrected_dimm *d =
		corrected_worst_dimm(m->predicting->counts, node, monitor_now_ns());

	return snprintf(text, room, "page frame %#llx (address %#llx) of node %u%s%s",
		(unsigned long long)frame, (unsigned long long)frame * FRAME_BYTES,
		m->plan->machine.nodes[node].os_node, d ? ", whose errors are most in " : "",
		d ? d->label : "");
}

static const char *why_not(int status, bool killed)
{
	if (killed)
		return "the process that did it was killed";
	if (status == EBUSY || status == EIO)
		return "the kernel can't move what is in it now";
	if (status == EOPNOTSUPP)
		return "this kernel can't take memory out of use (or vm.enable_soft_offline "
		       "forbids it)";
	if (status == ENXIO)
		return "it is no memory that the kernel manages";
	return status > 0 && status < STATUS_USAGE ? strerrordesc_np(status) : "its process failed";
}

static void say(struct monitor *m, const char *event, const char *how)
{
	const struct retirement *r = &m->predicting->retirement;
	char text[EVENT_CAUSE_BYTES];
	int n = name_page(m, text, sizeof(text), r->frame, r->node);

	if (n > 0 && (size_t)n < sizeof(text))
		snprintf(text + n, sizeof(text) - (size_t)n, ": %s", how);
	monitor_event(m, m->self, NULL, event, text);
}

static void done(struct monitor *m, const char *problem)
{
	struct predicting *p = m->predicting;

	(void)corrected_left(p->counts, monitor_now_ns(), p->retirement.frame, problem == NULL);
	if (problem)
		say(m, "page-not-retired", problem);
	else
		say(m, "page-retired", "what was in it has moved, it is not used any more");
}

static void process_ended(void *ctx, uint32_t events)
{
	struct monitor *m = ctx;
	struct retirement *r = &m->predicting->retirement;
	siginfo_t status = { .si_code = 0 };

	(void)events;
	if (waitid(P_PIDFD, (id_t)r->process.pidfd, &status, WEXITED | WNOHANG))
		status.si_code = CLD_KILLED;
	loop_unwatch(&m->loop, &r->process.watch);
	close(r->process.pidfd);
	r->process.pidfd = -1;
	if (status.si_code == CLD_EXITED && status.si_status == 0)
		done(m, NULL);
	else
		done(m, why_not(status.si_status, status.si_code != CLD_EXITED));
}

static int start(struct monitor *m)
{
	struct retirement *r = &m->predicting->retirement;
	char program[] = "cellvisor", role[] = "retire-page";
	char frame[32];
	char *argv[] = { program, role, frame, NULL };
	const struct spawn s = { .exe_fd = m->exe_fd, .log_fd = 2, .fd3 = -1, .argv = argv };
	int rc;

	snprintf(frame, sizeof(frame), "%llu", (unsigned long long)r->frame);
	rc = spawn_process(&s, &r->process.pid, &r->process.pidfd);
	if (rc) {
		r->process.pidfd = -1;
		return rc;
	}
	rc = loop_watch(&m->loop, &r->process.watch, r->process.pidfd, process_ended, m);
	if (rc) {
		/* Its end would never be noticed. */
		kill(r->process.pid, SIGKILL);
		close(r->process.pidfd);
		r->process.pidfd = -1;
	}
	return rc;
}

static bool has_room(const struct monitor *m, uint32_t node)
{
	struct node_memory memory;

	return bind_node_memory(m->plan->machine.nodes[node].os_node, &memory) == 0 &&
	       memory.free_bytes >= NODE_FREE_MIN + memory.total_bytes / NODE_FREE_PART;
}

void retirement_turn(struct monitor *m, uint64_t now_ns)
{
	struct predicting *p = m->predicting;
	struct retirement *r = &p->retirement;

	if (r->process.pidfd >= 0) {
		if (r->due_ns <= now_ns && !r->said_hanging) {
			r->said_hanging = true;
			say(m, "page-not-retired",
				"the kernel has not finished yet; no other page is retired until "
				"it has");
		}
		return;
	}
	if (m->going_down || !corrected_next(p->counts, now_ns, &r->frame, &r->node))
		return;
	r->due_ns = now_ns + HANGS_NS;
	r->said_hanging = false;
	if (!has_room(m, r->node))
		done(m, "its node has no room for what is in it");
	else if (start(m))
		done(m, "no process could be started for it");
}

void retirement_close(struct monitor *m)
{
	struct retirement *r = &m->predicting->retirement;

	loop_unwatch(&m->loop, &r->process.watch);
	/* It ends by itself when the kernel is done. */
	if (r->process.pidfd >= 0)
		close(r->process.pidfd);
	r->process.pidfd = -1;
}
