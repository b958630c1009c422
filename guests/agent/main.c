/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The init of our test guests: an ordinary program under an unmodified kernel.
 * It says `cv-ready`, then sends a heartbeat twice a second that carries a
 * checksum over memory which it watches over (pattern.h):
 *
 *	cv-beat SEQUENCE UPTIME SUM ok|BAD
 *
 * BAD stays once wrong bytes were seen. Commands typed at the console are
 * answered by `cv-reply NAME ok [JSON]` or `cv-reply NAME error WHY`:
 *
 *	info | disk-write SEED MIB | disk-verify SEED MIB | reboot | poweroff
 *	owner | owner-touch | owner-write-disk	(owner.h)
 *	fill MIB			use more memory; does it hold what is written?
 *	kernel-log WORD			what the kernel has said of it
 *	look-for-errors			the kernel looks for deferred ones each second
 *
 * Kernel command line: cv.mem=MIB of memory to watch over (default 16; at most
 * half of what is free). As init it never exits.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/mempolicy.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "guests/agent/button.h"
#include "guests/agent/console.h"
#include "guests/agent/disk.h"
#include "guests/agent/owner.h"
#include "guests/agent/pattern.h"
#include "guests/agent/sysinfo.h"

#define DISK "/dev/vda"
#define MODULES "/modules"
#define BEAT_NS 500000000L
#define DEFAULT_MIB 16u
#define MAX_MIB (1u << 20)
#define KLOG_READ_ALL 3
#define KLOG_CONSOLE_LEVEL 8

static struct console console;
static struct owner owner; /* of the thread for commands */

static void mount_all(void)
{
	static const struct {
		const char *type, *path;
	} mounts[] = { { "proc", "/proc" }, { "sysfs", "/sys" }, { "devtmpfs", "/dev" } };

	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		mkdir(mounts[i].path, 0755);
		mount(mounts[i].type, mounts[i].path, mounts[i].type, 0, NULL);
	}
}

/* In the order of the list, each after what it needs. One that does not fit this machine is no
 * harm. */
static void load_modules(void)
{
	FILE *list = fopen(MODULES "/order", "re");
	char name[64], path[96];

	while (list && fscanf(list, "%63s", name) == 1) {
		int fd;

		snprintf(path, sizeof(path), MODULES "/%s.ko", name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST &&
				      errno != ENODEV))
			console_say(
				&console, "cv-note module %s: %s", name, strerrordesc_np(errno));
		if (fd >= 0)
			close(fd);
	}
	if (list)
		fclose(list);
}

/* An equal part of the memory on every node; preferred, since init can't do without it. */
static void spread_over_nodes(char *start, size_t pages)
{
	uint32_t nodes[SYSINFO_NODES];
	size_t count = sysinfo_memory_nodes(nodes);
	size_t first = 0;

	for (size_t i = 0; i < count; i++) {
		size_t last = pages * (i + 1) / count;
		unsigned long mask[1024 / 64] = { 0 };

		mask[nodes[i] / 64 % 16] = 1ul << nodes[i] % 64;
		syscall(SYS_mbind, start + first * PATTERN_PAGE_BYTES,
			(last - first) * PATTERN_PAGE_BYTES, MPOL_PREFERRED, mask, 1024ul, 0);
		first = last;
	}
}

static void watch_memory(struct pattern *pattern)
{
	static uint64_t spare[PATTERN_PAGE_WORDS];
	char cmdline[4096];
	uint64_t seed = 0, room = sysinfo_available_bytes() / 2;
	size_t pages;
	void *memory;

	sysinfo_read("/proc/cmdline", cmdline, sizeof(cmdline));
	pages = (size_t)sysinfo_parse_option(cmdline, "cv.mem", MAX_MIB, DEFAULT_MIB) *
		((1u << 20) / PATTERN_PAGE_BYTES);
	if (pages > room / PATTERN_PAGE_BYTES) {
		pages = (size_t)(room / PATTERN_PAGE_BYTES);
		console_say(&console, "cv-note cv.mem: only %zu MiB are free for it", pages >> 8);
	}
	memory = mmap(NULL, (pages + 1) * PATTERN_PAGE_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == 0 || memory == MAP_FAILED) {
		memory = spare;
		pages = 1;
	} else {
		spread_over_nodes(memory, pages);
	}
	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) < 0)
		seed = (uint64_t)time(NULL);
	pattern_init(pattern, memory, pages, seed);
}

static void end_machine(const char *name, int how)
{
	console_drain(&console);
	sync();
	reboot(how);
	console_say(&console, "cv-reply %s error %s", name, strerrordesc_np(errno));
}

static bool parse_number(const char *text, uint64_t max, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 10);
	return !errno && *text >= '0' && *text <= '9' && !*end && *value <= max;
}

static void answer_disk(const struct command *c)
{
	bool store = strcmp(c->words[0], "disk-write") == 0;
	char why[DISK_WHY_BYTES] = "";
	uint64_t seed, mib;
	int rc;

	if (c->count != 3 || !parse_number(c->words[1], UINT64_MAX, &seed) ||
		!parse_number(c->words[2], MAX_MIB, &mib) || mib == 0) {
		console_say(&console, "cv-reply %s error wants SEED MIB", c->words[0]);
		return;
	}
	rc = store ? disk_write(DISK, seed, mib, why) : disk_verify(DISK, seed, mib, why);
	if (rc)
		console_say(&console, "cv-reply %s error %s", c->words[0], why);
	else
		console_say(
			&console, "cv-reply %s ok {\"bytes\":%" PRIu64 "}", c->words[0], mib << 20);
}

static void answer_owner(const struct command *c)
{
	struct owner_state state;
	int rc;

	if (strcmp(c->words[0], "owner") == 0) {
		rc = owner_start(&owner);
		if (!rc)
			console_say(&console, "cv-reply owner ok {\"pid\":%d,\"gpa\":%" PRIu64 "}",
				(int)owner.pid, owner.gpa);
	} else if (strcmp(c->words[0], "owner-write-disk") == 0) {
		rc = owner_write_disk(&owner);
		if (!rc)
			console_say(&console, "cv-reply %s ok", c->words[0]);
	} else {
		rc = owner_touch(&owner, &state);
		if (!rc)
			console_say(&console,
				"cv-reply %s ok {\"alive\":%s,\"intact\":%s,\"signal\":%d}",
				c->words[0], state.alive ? "true" : "false",
				state.intact ? "true" : "false", state.signal);
	}
	if (rc)
		console_say(&console, "cv-reply %s error %s", c->words[0], strerrordesc_np(-rc));
}

static void answer_fill(const struct command *c)
{
	struct pattern pattern;
	uint64_t mib = 0;
	uint64_t *memory;
	bool intact = true;

	if (c->count != 2 || !parse_number(c->words[1], MAX_MIB, &mib) || mib == 0) {
		console_say(&console, "cv-reply fill error wants MIB");
		return;
	}
	memory = mmap(NULL, mib << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) {
		console_say(&console, "cv-reply fill error %s", strerrordesc_np(errno));
		return;
	}
	pattern_init(&pattern, memory, (mib << 20) / PATTERN_PAGE_BYTES, mib);
	for (unsigned i = 0; i < PATTERN_STEPS; i++)
		intact = pattern_step(&pattern);
	munmap(memory, mib << 20);
	console_say(&console, "cv-reply fill ok {\"intact\":%s}", intact ? "true" : "false");
}

static void answer_log(const struct command *c)
{
	static char log[1 << 18];
	unsigned found = 0;
	int bytes = klogctl(KLOG_READ_ALL, log, sizeof(log) - 1);
	char *rest = log;

	if (c->count != 2 || bytes < 0) {
		console_say(&console, "cv-reply kernel-log error wants WORD");
		return;
	}
	log[bytes] = '\0';
	for (char *line; (line = strsep(&rest, "\n"));) {
		if (!strstr(line, c->words[1]))
			continue;
		console_say(&console, "cv-note kernel: %s", line);
		found++;
	}
	console_say(&console, "cv-reply kernel-log ok {\"lines\":%u}", found);
}

static void answer_look(void)
{
	static const char path[] = "/sys/devices/system/machinecheck/machinecheck0/check_interval";
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, "1", 1) == 1;

	if (done)
		console_say(&console, "cv-reply look-for-errors ok");
	else
		console_say(&console, "cv-reply look-for-errors error %s", strerrordesc_np(errno));
	if (fd >= 0)
		close(fd);
}

static void answer(const struct command *c)
{
	const char *name = c->words[0];

	if (c->bad) {
		console_say(&console, "cv-reply %s error too long", name);
	} else if (strcmp(name, "info") == 0) {
		char *json = sysinfo_json();

		console_say(&console, json ? "cv-reply info ok %s" : "cv-reply info error memory%s",
			json ? json : "");
		free(json);
	} else if (strcmp(name, "disk-write") == 0 || strcmp(name, "disk-verify") == 0) {
		answer_disk(c);
	} else if (strcmp(name, "owner") == 0 || strcmp(name, "owner-touch") == 0 ||
		   strcmp(name, "owner-write-disk") == 0) {
		answer_owner(c);
	} else if (strcmp(name, "fill") == 0) {
		answer_fill(c);
	} else if (strcmp(name, "kernel-log") == 0) {
		answer_log(c);
	} else if (strcmp(name, "look-for-errors") == 0) {
		answer_look();
	} else if (strcmp(name, "reboot") == 0) {
		console_say(&console, "cv-reply reboot ok");
		end_machine(name, RB_AUTOBOOT);
	} else if (strcmp(name, "poweroff") == 0) {
		console_say(&console, "cv-reply poweroff ok");
		end_machine(name, RB_POWER_OFF);
	} else {
		console_say(&console, "cv-reply %s error no such command", name);
	}
}

static void *serve_commands(void *unused)
{
	struct command_input input = { 0 };
	struct command command;

	(void)unused;
	for (;;) {
		char chunk[64];
		ssize_t n = read(console.fd, chunk, sizeof(chunk));

		if (n <= 0) {
			poll(NULL, 0, 1000); /* a console that hung up may come back */
			continue;
		}
		for (ssize_t i = 0; i < n; i++)
			if (command_feed(&input, chunk[i], &command) && command.count > 0)
				answer(&command);
	}
	return NULL;
}

static void *serve_button(void *argument)
{
	struct button *button = argument;

	for (;;) {
		button_wait(button);
		console_say(&console, "cv-note power button");
		end_machine("power-button", RB_POWER_OFF);
	}
	return NULL;
}

static void start_thread(void *(*body)(void *), void *argument)
{
	pthread_t thread;
	int rc = pthread_create(&thread, NULL, body, argument);

	if (rc)
		console_say(&console, "cv-note thread: %s", strerrordesc_np(rc));
}

static _Noreturn void beat(struct pattern *pattern)
{
	struct timespec due;

	clock_gettime(CLOCK_MONOTONIC, &due);
	for (uint64_t sequence = 1;; sequence++) {
		bool told = pattern->wrong;
		bool ok = pattern_step(pattern);
		struct timespec now;

		if (!ok && !told)
			console_say(&console, "cv-note wrong bytes in page %zu of %zu",
				pattern->wrong_page, pattern->pages);
		clock_gettime(CLOCK_MONOTONIC, &now);
		console_say(&console, "cv-beat %" PRIu64 " %jd.%02ld %016" PRIx64 " %s", sequence,
			(intmax_t)now.tv_sec, now.tv_nsec / 10000000, pattern->sum,
			ok ? "ok" : "BAD");
		due.tv_nsec += BEAT_NS;
		if (due.tv_nsec >= 1000000000L) {
			due.tv_nsec -= 1000000000L;
			due.tv_sec++;
		}
		/* After a pause of the whole guest: no burst of beats that were missed. */
		if (now.tv_sec > due.tv_sec + 1)
			due = now;
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR)
			;
	}
}

int main(void)
{
	struct pattern pattern;
	struct button button;

	signal(SIGPIPE, SIG_IGN);
	mount_all();
	console_open(&console, "/dev/console");
	klogctl(KLOG_CONSOLE_LEVEL, NULL, 1); /* only what ends the kernel interrupts our lines */
	load_modules();
	watch_memory(&pattern);
	button_open(&button);
	console_say(&console, "cv-ready");
	start_thread(serve_commands, NULL);
	start_thread(serve_button, &button);
	beat(&pattern);
}
