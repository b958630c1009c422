/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/inject/node_death.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "faultcontain/host/fence.h"
#include "faultcontain/inject/bystanders.h"
#include "faultcontain/inject/node_plan.h"
#include "faultcontain/inject/poison.h"
#include "faultcontain/inject/setting.h"
#include "numa/host/bind.h"
#include "numa/host/kernel_file.h"
#include "sim/box/client.h"

#define MS 1000000ull
/* How long the CPUs stay frozen: survivors have to notice, agree and fence within this time. */
#define FROZEN_NS (8000 * MS)
/* Beyond it the kernel complains about stalls: then poisoning ends even if unfinished. */
#define FROZEN_MAX_NS (15000 * MS)
#define STOP_TIMEOUT_NS (500 * MS)
#define PORT_TIMEOUT_MS 5000u
#define OFFLINE_ATTEMPTS 20

/* What the injection holds on its way; each step undoes what came before if it fails. */
struct death {
	const struct node_death *what;
	struct node_death_report *report;
	struct cpu_set dying, others;
	struct plan_frames frames;
	struct bystanders bystanders;
	struct box_client box;
	struct poison poison;
	volatile struct poison_count *count; /* shared with the poisoner */
	pid_t poisoner;
	int go; /* to the poisoner: a byte means start */
	size_t frozen_nodes;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void pause_ns(uint64_t ns)
{
	struct timespec ts = { .tv_sec = (time_t)(ns / 1000000000u),
		.tv_nsec = (long)(ns % 1000000000u) };

	(void)nanosleep(&ts, NULL);
}

static void say(const struct node_death *what, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void say(const struct node_death *what, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	if (!what->progress)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	what->progress(what->ctx, text);
}

/* --- what dies ------------------------------------------------------------- */

static int add_memory_block(struct plan_frames *frames, const char *name, uint64_t block_frames)
{
	uint64_t block;
	char *end;

	if (strncmp(name, "memory", 6) != 0 || !isdigit((unsigned char)name[6]))
		return 0;
	block = strtoull(name + 6, &end, 10);
	if (*end)
		return 0;
	return plan_frames_add(frames, block * block_frames, (block + 1) * block_frames);
}

static int frames_of_node(struct death *d, uint32_t node, struct err *e)
{
	char path[SETTING_PATH_BYTES], text[64];
	struct dirent *entry;
	uint64_t block_frames;
	DIR *dir;
	int rc = setting_read("/sys/devices/system/memory/block_size_bytes", text, sizeof(text));

	block_frames = rc ? 0 : strtoull(text, NULL, 16) >> 12;
	(void)snprintf(path, sizeof(path), "/sys/devices/system/node/node%u", node);
	dir = rc ? NULL : opendir(path);
	if (!block_frames || !dir) {
		if (dir)
			(void)closedir(dir);
		return err_set(e, EXIT_NOT_FOUND, "there is no node %u on this machine", node);
	}
	while (!rc && (entry = readdir(dir)) != NULL) // NOLINT(concurrency-mt-unsafe)
		rc = add_memory_block(&d->frames, entry->d_name, block_frames);
	(void)closedir(dir);
	return rc ? err_set(e, EXIT_FAILED, "node %u has too many blocks of memory", node) : 0;
}

static int survey(struct death *d, struct err *e)
{
	struct cpu_set online, node_cpus;
	char path[SETTING_PATH_BYTES];
	int rc = setting_read_cpus("/sys/devices/system/cpu/online", &online);

	if (rc)
		return err_set(e, EXIT_ENVIRONMENT, "can't read which CPUs are online: %s",
			strerrordesc_np(-rc));
	for (size_t i = 0; i < d->what->node_count; i++) {
		rc = frames_of_node(d, d->what->nodes[i], e);
		if (rc)
			return rc;
		(void)snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/cpulist",
			d->what->nodes[i]);
		rc = setting_read_cpus(path, &node_cpus);
		if (rc)
			return err_set(e, EXIT_ENVIRONMENT, "%s: %s", path, strerrordesc_np(-rc));
		cpu_set_merge(&d->dying, &node_cpus);
	}
	if (cpu_set_has(&d->dying, 0))
		return err_set(e, EXIT_INVALID,
			"CPU 0 is among these and can't be taken offline; in the box, choose a "
			"cell "
			"whose nodes don't have it");
	plan_subtract(&online, &d->dying, &d->others);
	if (cpu_set_empty(&d->others))
		return err_set(e, EXIT_INVALID, "no CPU would survive");
	return 0;
}

/* --- the members ------------------------------------------------------------ */

static size_t signal_members(const struct node_death *what, int signal_number)
{
	size_t reached = 0;

	for (size_t i = 0; i < what->member_count; i++) {
		int fd = proc_open(&what->members[i]);

		if (fd < 0)
			continue;
		reached += syscall(SYS_pidfd_send_signal, fd, signal_number, NULL, 0) == 0;
		(void)close(fd);
	}
	return reached;
}

/* Whether every thread of a process stands still (stopped or over). */
static bool stands_still(pid_t pid)
{
	char path[64], stat[512];
	struct dirent *entry;
	bool still = true;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	if (!dir)
		return true;
	while (still && (entry = readdir(dir)) != NULL) { // NOLINT(concurrency-mt-unsafe)
		const char *state;

		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		(void)snprintf(
			path, sizeof(path), "/proc/%d/task/%.16s/stat", (int)pid, entry->d_name);
		if (setting_read(path, stat, sizeof(stat)))
			continue;
		state = strrchr(stat, ')');
		still = !state || strchr("TtZX", state[2]);
	}
	(void)closedir(dir);
	return still;
}

static void stop_members(struct death *d)
{
	uint64_t end_ns = now_ns() + STOP_TIMEOUT_NS;

	d->report->members_stopped = signal_members(d->what, SIGSTOP);
	/* One that takes longer is in the kernel; the freeze waits for its CPU to idle anyway. */
	for (size_t i = 0; i < d->what->member_count; i++)
		while (!stands_still(d->what->members[i].pid) && now_ns() < end_ns)
			pause_ns(MS);
}

/* --- poisoning, in a child: it may hang as long as the CPUs do ------------------ */

static _Noreturn void poisoner(struct death *d, int go)
{
	char byte;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (read(go, &byte, 1) != 1)
		_exit(1);
	for (size_t i = 0; i < d->what->member_count; i++)
		(void)poison_process(&d->poison, &d->what->members[i], &d->frames, d->count);
	_exit(0);
}

/* Starts before the freeze, so that nothing of it has to be set up during it. */
static int start_poisoner(struct death *d, struct err *e)
{
	int ends[2];

	d->count = mmap(
		NULL, sizeof(*d->count), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (d->count == MAP_FAILED) {
		d->count = NULL;
		return err_set(e, EXIT_ENVIRONMENT, "out of memory");
	}
	if (pipe(ends))
		return err_set(e, EXIT_ENVIRONMENT, "pipe: %s", strerrordesc_np(errno));
	d->poisoner = fork();
	if (d->poisoner == 0) {
		(void)close(ends[1]);
		poisoner(d, ends[0]);
	}
	(void)close(ends[0]);
	d->go = ends[1];
	return d->poisoner < 0 ? err_set(e, EXIT_ENVIRONMENT, "fork: %s", strerrordesc_np(errno))
			       : 0;
}

static bool poisoner_done(struct death *d)
{
	if (d->poisoner > 0 && waitpid(d->poisoner, NULL, WNOHANG) != 0)
		d->poisoner = 0;
	return d->poisoner <= 0;
}

static void end_poisoner(struct death *d)
{
	if (d->poisoner > 0) {
		(void)kill(d->poisoner, SIGKILL);
		(void)waitpid(d->poisoner, NULL, 0);
	}
	d->poisoner = 0;
	if (d->go >= 0)
		(void)close(d->go);
	d->go = -1;
	if (d->count) {
		d->report->pages_poisoned = d->count->poisoned;
		d->report->pages_refused = d->count->refused;
		(void)munmap((void *)d->count, sizeof(*d->count));
	}
	d->count = NULL;
}

/* --- the CPUs ------------------------------------------------------------------ */

static void thaw(struct death *d)
{
	struct err ignored;

	while (d->frozen_nodes)
		if (box_client_thaw_node(&d->box, d->what->nodes[--d->frozen_nodes], &ignored))
			say(d->what, "node %u could not be thawed: %s",
				d->what->nodes[d->frozen_nodes], ignored.text);
}

static bool has_cpus(uint32_t node)
{
	char path[SETTING_PATH_BYTES];
	struct cpu_set cpus;

	(void)snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/cpulist", node);
	return setting_read_cpus(path, &cpus) == 0 && !cpu_set_empty(&cpus);
}

static int freeze(struct death *d, struct err *e)
{
	/* d->frozen_nodes counts nodes[] from the start; those without CPUs are as good as frozen.
	 */
	for (; d->frozen_nodes < d->what->node_count; d->frozen_nodes++) {
		uint32_t node = d->what->nodes[d->frozen_nodes];
		int rc = has_cpus(node) ? box_client_freeze_node(&d->box, node, BOX_FREEZE_IDLE, e)
					: 0;

		if (rc) {
			thaw(d);
			return rc;
		}
	}
	d->report->cpus_frozen = cpu_set_count(&d->dying);
	return 0;
}

static void take_offline(struct death *d)
{
	char path[SETTING_PATH_BYTES];

	for (uint32_t cpu = cpu_set_next(&d->dying, 0); cpu != CPU_NONE;
		cpu = cpu_set_next(&d->dying, cpu + 1)) {
		int rc = -EBUSY;

		(void)snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/online", cpu);
		for (int n = 0; rc == -EBUSY && n < OFFLINE_ATTEMPTS; n++) {
			rc = kernel_file_write(AT_FDCWD, path, "0");
			if (rc == -EBUSY)
				pause_ns(50 * MS);
		}
		if (rc)
			say(d->what, "CPU %u could not be taken offline: %s", cpu,
				strerrordesc_np(-rc));
		else
			d->report->cpus_offline++;
	}
}

/* --- the order of things --------------------------------------------------------- */

static int prepare(struct death *d, struct err *e)
{
	int rc = survey(d, e);

	if (rc)
		return rc;
	rc = bind_thread(0, &d->others);
	if (rc) {
		(void)err_set(e, EXIT_ENVIRONMENT, "can't move to CPUs that survive: %s",
			strerrordesc_np(-rc));
		return rc;
	}
	rc = poison_open(&d->poison, e);
	if (!rc)
		rc = box_client_open(&d->box, PORT_TIMEOUT_MS, e);
	if (!rc)
		rc = start_poisoner(d, e);
	if (rc)
		return rc;
	say(d->what, "moving everything else off CPUs that are to die");
	rc = bystanders_away(
		&d->bystanders, &d->dying, &d->others, d->what->members, d->what->member_count, e);
	d->report->bystanders_moved = d->bystanders.task_count;
	return rc;
}

/* From the first SIGSTOP to the freeze the cell is merely silent: this has to be quick. */
static int strike(struct death *d, struct err *e)
{
	int rc;

	stop_members(d);
	rc = bystanders_scrub(&d->dying, e);
	if (!rc)
		rc = bystanders_drain_pages(e);
	if (!rc)
		rc = freeze(d, e);
	if (rc)
		(void)signal_members(d->what, SIGCONT);
	return rc;
}

static void lie_dead(struct death *d)
{
	uint64_t frozen_ns = now_ns(), end_ns = frozen_ns + FROZEN_NS;
	ssize_t n = write(d->go, "", 1);

	(void)n;
	say(d->what, "%zu processes stopped, %zu CPUs frozen; poisoning their memory",
		d->report->members_stopped, d->report->cpus_frozen);
	while (now_ns() < end_ns || (!poisoner_done(d) && now_ns() < frozen_ns + FROZEN_MAX_NS))
		pause_ns(20 * MS);
	if (!poisoner_done(d))
		say(d->what, "poisoning did not finish in time");
	say(d->what, "%llu pages poisoned; letting the CPUs go to take them offline",
		(unsigned long long)d->count->poisoned);
}

static int kill_on_server(
	const struct node_death *what, struct node_death_report *report, struct err *e)
{
	struct fence_report fence;

	say(what, "this machine is no box: killing the cell's processes; its CPUs and memory are "
		  "left alone");
	fence_kill_all(what->members, what->member_count, &fence);
	report->members_stopped = fence.killed;
	if (!fence.failed)
		return 0;
	return err_set(e, EXIT_ENVIRONMENT, "%zu processes of the cell could not be killed: %s",
		fence.failed, strerrordesc_np(-fence.first_errno));
}

int node_death_inject(
	const struct node_death *what, struct node_death_report *report, struct err *e)
{
	struct death d = {
		.what = what,
		.report = report,
		.box = { .fd = -1 },
		.poison = { -1, -1 },
		.go = -1,
	};
	bool dead = false;
	int rc;

	*report = (struct node_death_report){ .in_box = box_client_here() };
	if (geteuid() != 0)
		return err_set(e, EXIT_ENVIRONMENT, "injecting a fault takes root");
	if (!report->in_box)
		return kill_on_server(what, report, e);
	rc = prepare(&d, e);
	if (!rc)
		rc = strike(&d, e);
	if (!rc) {
		dead = true;
		lie_dead(&d);
		thaw(&d);
		take_offline(&d);
	}
	end_poisoner(&d);
	bystanders_back(&d.bystanders, !dead);
	box_client_close(&d.box);
	poison_close(&d.poison);
	return rc;
}
