/* SPDX-License-Identifier: BSD-2-Clause */
#include "faultcontain/host/tracing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "numa/host/kernel_file.h"

/* Records are 200 bytes and are read at once; the kernel's own default is 1.4 MiB for each CPU. */
#define BUFFER_KIB "16"
#define CONTROLLER "/sys/devices/system/edac/mc/mc0"

static const char *const places[] = { "/sys/kernel/tracing", "/sys/kernel/debug/tracing" };
#define PLACE_COUNT (sizeof(places) / sizeof(places[0]))

/* Opens instances/ of the tracer, below tracing/ itself. A descriptor or -errno. */
static int open_tracing(const char **place)
{
	int rc = -ENOENT;

	for (size_t i = 0; i < PLACE_COUNT; i++) {
		int fd = open(places[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		*place = places[i];
		if (fd >= 0 && faccessat(fd, "instances", F_OK, 0) == 0)
			return fd;
		rc = fd < 0 ? -errno : -ENOENT;
		if (fd >= 0)
			(void)close(fd);
	}
	return rc;
}

/* Does anybody else trace events? Then the names of tasks are theirs to switch on and off. */
static bool others_trace(int tracing, const char *name)
{
	int fd = openat(tracing, "events/enable", O_RDONLY | O_CLOEXEC), below;
	struct dirent *entry;
	bool others = true;
	char state = '?';
	DIR *dir;

	if (fd >= 0) {
		others = read(fd, &state, 1) != 1 || state != '0';
		(void)close(fd);
	}
	below = openat(tracing, "instances", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = below < 0 ? NULL : fdopendir(below);
	if (!dir) {
		if (below >= 0)
			(void)close(below);
		return true;
	}
	/* One stream belongs to one thread. NOLINTNEXTLINE(concurrency-mt-unsafe) */
	while (!others && (entry = readdir(dir)))
		others = entry->d_name[0] != '.' && strcmp(entry->d_name, name) != 0;
	(void)closedir(dir);
	return others;
}

static int set_up(int tracing, int instance, const char *name, const char **what)
{
	const char *event = access(CONTROLLER, F_OK) == 0 ? "events/ras/mc_event/enable"
							  : "events/mce/mce_record/enable";
	int rc;

	*what = "buffer_size_kb";
	rc = kernel_file_write(instance, *what, BUFFER_KIB);
	if (rc)
		return rc;
	/*
	 * To record the names of tasks hooks into each switch of tasks. We need none; but on 6.1
	 * the switch is one for all instances.
	 */
	if (!others_trace(tracing, name))
		(void)kernel_file_write(instance, "trace_options", "norecord-cmd");
	(void)kernel_file_write(instance, "trace", "");
	*what = event;
	return kernel_file_write(instance, event, "1");
}

static int open_instance(int tracing, const char *name)
{
	char path[TRACING_NAME_BYTES + 16];
	int fd;

	(void)snprintf(path, sizeof(path), "instances/%s", name);
	if (mkdirat(tracing, path, 0700) && errno != EEXIST)
		return -errno;
	fd = openat(tracing, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int tracing_make(const char *name, char path[TRACING_PATH_BYTES], struct err *e)
{
	const char *place = "", *what = "instances/";
	int tracing = open_tracing(&place), instance, rc;

	if (tracing < 0) {
		(void)err_set(e, EXIT_ENVIRONMENT, "the kernel's tracer is not at %s: %s",
			places[0], strerrordesc_np(-tracing));
		return tracing;
	}
	instance = open_instance(tracing, name);
	rc = instance < 0 ? instance : set_up(tracing, instance, name, &what);
	if (instance >= 0)
		(void)close(instance);
	(void)close(tracing);
	if (rc) {
		(void)err_set(e, EXIT_ENVIRONMENT, "the kernel's tracer at %s: %s: %s", place, what,
			strerrordesc_np(-rc));
		(void)tracing_remove(name);
		return rc;
	}
	(void)snprintf(path, TRACING_PATH_BYTES, "%s/instances/%s", place, name);
	return 0;
}

int tracing_remove(const char *name)
{
	const char *place = "";
	char path[TRACING_NAME_BYTES + 16];
	int tracing = open_tracing(&place), rc = 0;

	if (tracing < 0)
		return tracing == -ENOENT ? 0 : tracing;
	(void)snprintf(path, sizeof(path), "instances/%s", name);
	if (unlinkat(tracing, path, AT_REMOVEDIR) && errno != ENOENT)
		rc = -errno;
	(void)close(tracing);
	return rc;
}
