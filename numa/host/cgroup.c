/* SPDX-License-Identifier: BSD-2-Clause */
#include "numa/host/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "numa/check.h"
#include "numa/host/kernel_file.h"

#define DEPTH_MAX 8
#define LIST_BYTES 8192u

/* Opens the place where the version 2 hierarchy is mounted. A descriptor, or -EOPNOTSUPP. */
static int open_root(void)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent entry;
	char buf[4096];
	int fd = -1;

	if (!mounts)
		return -EOPNOTSUPP;
	while (fd < 0 && getmntent_r(mounts, &entry, buf, sizeof(buf))) {
		if (strcmp(entry.mnt_type, "cgroup2") == 0)
			fd = open(entry.mnt_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	(void)endmntent(mounts);
	return fd >= 0 ? fd : -EOPNOTSUPP;
}

/* Does the file, a list of words, have both controllers? */
static bool has_controllers(int dir, const char *name)
{
	bool cpuset = false, memory = false;
	char text[512], *word, *rest = text;
	ssize_t n;
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	text[n > 0 ? n : 0] = '\0';
	while ((word = strsep(&rest, " \n"))) {
		cpuset |= strcmp(word, "cpuset") == 0;
		memory |= strcmp(word, "memory") == 0;
	}
	return cpuset && memory;
}

/* Opens the root and judges it. A descriptor, or -EOPNOTSUPP with *e. */
static int open_offered(struct err *e)
{
	int root = open_root();

	if (root < 0) {
		(void)err_set(e, EXIT_ENVIRONMENT, "no cgroup2 hierarchy is mounted");
		return -EOPNOTSUPP;
	}
	if (!has_controllers(root, "cgroup.controllers")) {
		(void)err_set(e, EXIT_ENVIRONMENT,
			"the cgroup2 hierarchy lacks the controllers cpuset and memory");
		goto not_offered;
	}
	if (faccessat(root, "cgroup.subtree_control", W_OK, 0) != 0) {
		(void)err_set(e, EXIT_ENVIRONMENT, "no permission to make control groups");
		goto not_offered;
	}
	return root;

not_offered:
	(void)close(root);
	return -EOPNOTSUPP;
}

int cgroup_offered(struct err *e)
{
	int root = open_offered(e);

	if (root < 0)
		return root;
	(void)close(root);
	return 0;
}

static int fail(struct err *e, const char *group, const char *what, int rc)
{
	(void)err_set(
		e, EXIT_ENVIRONMENT, "control group %s: %s: %s", group, what, strerrordesc_np(-rc));
	return rc;
}

/* Splits "a/b/c" in place. The names are ours, so that a bad one is a bug. */
static uint32_t split(char *path, char *parts[DEPTH_MAX])
{
	uint32_t count = 0;
	char *part, *rest = path;

	while ((part = strsep(&rest, "/"))) {
		CHECK(count < DEPTH_MAX && part[0] != '\0' && part[0] != '.');
		parts[count++] = part;
	}
	return count;
}

static void copy_path(char path[CGROUP_PATH_BYTES], const char *group)
{
	CHECK(strlen(group) < CGROUP_PATH_BYTES);
	(void)snprintf(path, CGROUP_PATH_BYTES, "%s", group);
}

/* Opens a group below `root`. A descriptor or -errno. */
static int open_group(int root, const char *group)
{
	int fd = openat(root, group, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd >= 0 ? fd : -errno;
}

/* "0-3,8" of the nodes. Cut off when it is too long, which the kernel then refuses. */
static void format_nodes(const struct node_set *nodes, char *text, size_t bytes)
{
	size_t used = 0;

	text[0] = '\0';
	for (uint32_t n = 0; n < BIND_NODES; n++) {
		if (node_set_has(nodes, n) && used < bytes)
			used += (size_t)snprintf(
				text + used, bytes - used, "%s%u", used ? "," : "", n);
	}
}

static int set_limits(int dir, const struct cgroup_limits *limits, const char **what)
{
	char text[LIST_BYTES];
	int rc = 0;

	if (limits->cpus) {
		*what = "cpuset.cpus";
		if (cpu_set_format(limits->cpus, text, sizeof(text)) < 0)
			return -ENOSPC;
		rc = kernel_file_write(dir, *what, text);
	}
	if (!rc && limits->nodes) {
		*what = "cpuset.mems";
		format_nodes(limits->nodes, text, sizeof(text));
		rc = kernel_file_write(dir, *what, text);
	}
	if (!rc) {
		*what = "memory.max";
		(void)snprintf(text, sizeof(text), "max");
		if (limits->memory_max_bytes > 0)
			(void)snprintf(text, sizeof(text), "%llu",
				(unsigned long long)limits->memory_max_bytes);
		rc = kernel_file_write(dir, *what, text);
	}
	return rc;
}

/* Removes the deepest `made` of the first `count` levels of a path. */
static void unmake(int root, char *parts[DEPTH_MAX], uint32_t count, uint32_t made)
{
	char path[CGROUP_PATH_BYTES + 1];

	for (; made > 0; made--, count--) {
		size_t used = 0;

		for (uint32_t i = 0; i < count; i++)
			used += (size_t)snprintf(
				path + used, sizeof(path) - used, "%s%s", i ? "/" : "", parts[i]);
		(void)unlinkat(root, path, AT_REMOVEDIR);
	}
}

int cgroup_make(const char *group, const struct cgroup_limits *limits, struct err *e)
{
	char path[CGROUP_PATH_BYTES], *parts[DEPTH_MAX];
	const char *what = "cgroup.subtree_control";
	uint32_t count, depth = 0, made = 0, reached = 0;
	int root = open_offered(e), dir, rc = 0;

	if (root < 0)
		return root;
	copy_path(path, group);
	count = split(path, parts);
	dir = fcntl(root, F_DUPFD_CLOEXEC, 0);
	if (dir < 0)
		rc = -errno;
	for (; !rc && depth < count; depth++) {
		int next;

		rc = kernel_file_write(dir, "cgroup.subtree_control", "+cpuset +memory");
		if (rc)
			break;
		what = parts[depth];
		if (mkdirat(dir, what, 0755) == 0)
			made++;
		else if (errno != EEXIST)
			rc = -errno;
		reached = rc ? depth : depth + 1;
		next = rc ? -1 : open_group(dir, what);
		if (!rc && next < 0)
			rc = next;
		if (!rc) {
			(void)close(dir);
			dir = next;
			what = "cgroup.subtree_control";
		}
	}
	if (!rc)
		rc = set_limits(dir, limits, &what);
	if (rc) {
		(void)fail(e, group, what, rc);
		unmake(root, parts, reached, made);
	}
	if (dir >= 0)
		(void)close(dir);
	(void)close(root);
	return rc;
}

static int write_group(const char *group, const char *name, const char *text, struct err *e)
{
	int root = open_offered(e), dir, rc;

	if (root < 0)
		return root;
	dir = open_group(root, group);
	(void)close(root);
	if (dir < 0)
		return fail(e, group, "open", dir);
	rc = kernel_file_write(dir, name, text);
	(void)close(dir);
	return rc ? fail(e, group, name, rc) : 0;
}

int cgroup_set_nodes(const char *group, const struct node_set *nodes, struct err *e)
{
	char text[LIST_BYTES];

	format_nodes(nodes, text, sizeof(text));
	return write_group(group, "cpuset.mems", text, e);
}

int cgroup_add(const char *group, pid_t pid, struct err *e)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%d", pid);
	return write_group(group, "cgroup.procs", text, e);
}

/* Removes all groups below `dir`, which it closes. 0 or -errno. */
static int remove_below(int dir, uint32_t depth)
{
	DIR *stream = fdopendir(dir);
	struct dirent *entry;
	int rc = 0;

	if (!stream) {
		rc = -errno;
		(void)close(dir);
		return rc;
	}
	/* One stream belongs to one thread. NOLINTNEXTLINE(concurrency-mt-unsafe) */
	while (!rc && (entry = readdir(stream))) {
		int below;

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		below = open_group(dirfd(stream), entry->d_name);
		rc = below < 0 ? below : depth == 0 ? -ELOOP : remove_below(below, depth - 1);
		if (!rc && unlinkat(dirfd(stream), entry->d_name, AT_REMOVEDIR) != 0)
			rc = -errno;
	}
	(void)closedir(stream);
	return rc;
}

int cgroup_remove(const char *group, struct err *e)
{
	int root = open_offered(e), dir, rc;

	if (root < 0)
		return root;
	dir = open_group(root, group);
	rc = dir < 0 ? dir : remove_below(dir, DEPTH_MAX);
	if (!rc && unlinkat(root, group, AT_REMOVEDIR) != 0)
		rc = -errno;
	(void)close(root);
	if (rc == -ENOENT)
		return 0;
	return rc ? fail(e, group, "remove", rc) : 0;
}
