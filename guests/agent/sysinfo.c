/* SPDX-License-Identifier: BSD-2-Clause */
#include "guests/agent/sysinfo.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define NODES "/sys/devices/system/node"

size_t sysinfo_read(const char *path, char *out, size_t bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t n = 1;

	while (fd >= 0 && n > 0 && used < bytes - 1) {
		n = read(fd, out + used, bytes - 1 - used);
		if (n > 0)
			used += (size_t)n;
	}
	if (fd >= 0)
		close(fd);
	out[used] = '\0';
	return used;
}

/* A decimal number at *text, which is moved behind it. */
static int take_number(const char **text, uint32_t *value)
{
	char *end;
	unsigned long n;

	if (!isdigit((unsigned char)**text))
		return -EINVAL;
	errno = 0;
	n = strtoul(*text, &end, 10);
	if (errno || n > UINT32_MAX)
		return -EINVAL;
	*text = end;
	*value = (uint32_t)n;
	return 0;
}

long sysinfo_parse_list(const char *text, uint32_t *numbers, size_t room)
{
	size_t count = 0;

	while (*text && *text != '\n') {
		uint32_t first, last;

		if (take_number(&text, &first))
			return -EINVAL;
		last = first;
		if (*text == '-') {
			text++;
			if (take_number(&text, &last))
				return -EINVAL;
		}
		if (last < first || last - first >= room - count)
			return -EINVAL;
		for (uint32_t n = first; n <= last; n++)
			numbers[count++] = n;
		if (*text == ',')
			text++;
		else if (*text && *text != '\n')
			return -EINVAL;
	}
	return (long)count;
}

uint64_t sysinfo_parse_meminfo(const char *text, const char *name)
{
	const char *at = strstr(text, name);
	char *end;
	uint64_t kib;

	if (!at)
		return 0;
	at += strlen(name);
	kib = strtoull(at, &end, 10);
	return end == at ? 0 : kib * 1024;
}

uint64_t sysinfo_parse_option(
	const char *cmdline, const char *name, uint64_t max, uint64_t fallback)
{
	size_t length = strlen(name);
	const char *at = cmdline;

	while ((at = strstr(at, name))) {
		bool starts = at == cmdline || isspace((unsigned char)at[-1]);
		char *end;
		uint64_t value;

		at += length;
		if (!starts || *at != '=')
			continue;
		errno = 0;
		value = strtoull(at + 1, &end, 10);
		if (errno || !isdigit((unsigned char)at[1]) || value > max ||
			(*end && !isspace((unsigned char)*end)))
			return fallback;
		return value;
	}
	return fallback;
}

size_t sysinfo_memory_nodes(uint32_t nodes[SYSINFO_NODES])
{
	char text[512];
	long count;

	sysinfo_read(NODES "/has_memory", text, sizeof(text));
	count = sysinfo_parse_list(text, nodes, SYSINFO_NODES);
	if (count > 0)
		return (size_t)count;
	nodes[0] = 0;
	return 1;
}

uint64_t sysinfo_available_bytes(void)
{
	char text[4096];

	sysinfo_read("/proc/meminfo", text, sizeof(text));
	return sysinfo_parse_meminfo(text, "MemAvailable:");
}

/* Numbers separated by blanks, as in a node's `distance`. */
static json_t *json_of_row(const char *text)
{
	json_t *array = json_array();
	uint32_t value;

	for (;;) {
		while (isspace((unsigned char)*text))
			text++;
		if (take_number(&text, &value))
			return array;
		json_array_append_new(array, json_integer(value));
	}
}

static json_t *json_of_list(const char *text)
{
	static uint32_t numbers[SYSINFO_CPUS];
	json_t *array = json_array();
	long count = sysinfo_parse_list(text, numbers, SYSINFO_CPUS);

	for (long i = 0; i < count; i++)
		json_array_append_new(array, json_integer(numbers[i]));
	return array;
}

static json_t *json_of_node(uint32_t node)
{
	char path[96], text[4096];
	json_t *cpus, *distances;
	uint64_t bytes;

	snprintf(path, sizeof(path), NODES "/node%" PRIu32 "/cpulist", node);
	sysinfo_read(path, text, sizeof(text));
	cpus = json_of_list(text);
	snprintf(path, sizeof(path), NODES "/node%" PRIu32 "/meminfo", node);
	sysinfo_read(path, text, sizeof(text));
	bytes = sysinfo_parse_meminfo(text, "MemTotal:");
	snprintf(path, sizeof(path), NODES "/node%" PRIu32 "/distance", node);
	sysinfo_read(path, text, sizeof(text));
	distances = json_of_row(text);
	return json_pack("{s:i, s:o, s:I, s:o}", "node", (int)node, "cpus", cpus, "memory_bytes",
		(json_int_t)bytes, "distances", distances);
}

char *sysinfo_json(void)
{
	static uint32_t nodes[SYSINFO_NODES];
	struct utsname name;
	char text[4096];
	json_t *array = json_array(), *all;
	char *out;
	long count;

	sysinfo_read(NODES "/online", text, sizeof(text));
	count = sysinfo_parse_list(text, nodes, SYSINFO_NODES);
	for (long i = 0; i < count; i++)
		json_array_append_new(array, json_of_node(nodes[i]));
	uname(&name);
	sysinfo_read("/proc/meminfo", text, sizeof(text));
	all = json_pack("{s:I, s:I, s:o, s:s}", "cpus_online",
		(json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "memory_bytes",
		(json_int_t)sysinfo_parse_meminfo(text, "MemTotal:"), "nodes", array, "kernel",
		name.release);
	out = json_dumps(all, JSON_COMPACT);
	json_decref(all);
	return out;
}
