/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Against the kernel that is there. With several nodes (in the box) pages are seen
 * to lie where they were bound; with one the calls and their errors are tried.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "numa/host/bind.h"
#include "numa/host/cgroup.h"
#include "numa/host/discover.h"
#include "numa/host/exe_copy.h"

#define PAGE 4096u
#define PAGES 1200u /* more than one question to the kernel holds */

static struct machine this_machine(void)
{
	struct machine m;
	struct err e;

	cr_assert_eq(discover_this_machine(&m, &e), 0, "%s", e.text);
	return m;
}

/* A node with memory; the last one there is, so that node 0 by default is wrong where it can be. */
static uint32_t some_node(void)
{
	struct machine m = this_machine();

	for (uint32_t n = m.node_count; n > 0; n--) {
		if (m.nodes[n - 1].memory_bytes > 0)
			return m.nodes[n - 1].os_node;
	}
	cr_assert_fail("no memory");
	return 0;
}

static uint8_t *map_shared(size_t bytes)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	uint8_t *map;

	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, (off_t)bytes), 0);
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	cr_assert_neq(map, MAP_FAILED);
	close(fd);
	return map;
}

static uint64_t counts[BIND_NODES];

static uint64_t all_counts(void)
{
	uint64_t sum = 0;

	for (uint32_t n = 0; n < BIND_NODES; n++)
		sum += counts[n];
	return sum;
}

Test(bind, node_sets)
{
	struct node_set s = { 0 };

	node_set_add(&s, 1023);
	node_set_add(&s, 64);
	cr_assert(node_set_has(&s, 1023));
	cr_assert(node_set_has(&s, 64));
	cr_assert(!node_set_has(&s, 65));
	cr_assert(!node_set_has(&s, 0));
	cr_assert(!node_set_has(&s, 1024));
}

Test(bind, pages_lie_where_they_were_bound_and_untouched_ones_count_nowhere)
{
	uint32_t os_node = some_node();
	struct node_set nodes = { 0 };
	uint8_t *map = map_shared(PAGES * PAGE);

	node_set_add(&nodes, os_node);
	cr_assert_eq(bind_memory(map, PAGES * PAGE, &nodes, false), 0);
	cr_assert_eq(bind_count_pages(0, map, PAGES * PAGE, counts), 0);
	cr_assert_eq(all_counts(), 0);
	for (uint32_t i = PAGES / 2; i < PAGES; i += 3)
		map[i * PAGE] = 1;
	cr_assert_eq(bind_count_pages(0, map, PAGES * PAGE, counts), 0);
	cr_assert_eq(counts[os_node], PAGES / 6);
	cr_assert_eq(all_counts(), PAGES / 6);
	cr_assert_eq(bind_count_pages(getpid(), map + PAGE, 2 * PAGE, counts), 0);
	cr_assert_eq(all_counts(), 0, "only the range that was asked about");
	cr_assert_eq(bind_memory(map, PAGES * PAGE, &nodes, true), 0);
}

Test(bind, pages_move_to_where_they_belong)
{
	uint32_t os_node = some_node();
	struct node_set nodes = { 0 };
	uint8_t *map = map_shared(PAGES * PAGE);

	memset(map, 7, PAGES * PAGE);
	node_set_add(&nodes, os_node);
	cr_assert_eq(bind_move(map, PAGES * PAGE, &nodes), 0);
	cr_assert_eq(bind_count_pages(0, map, PAGES * PAGE, counts), 0);
	cr_assert_eq(counts[os_node], PAGES);
	cr_assert_eq(map[PAGES * PAGE - 1], 7);
}

Test(bind, errors_are_the_kernels)
{
	struct node_set nodes = { 0 };
	uint8_t *map = map_shared(PAGE);
	struct cpu_set cpus = { 0 };
	struct node_memory memory;

	cr_assert_eq(bind_memory(map, PAGE, &nodes, false), -EINVAL, "no nodes");
	node_set_add(&nodes, 1023);
	cr_assert_eq(bind_memory(map, PAGE, &nodes, false), -EINVAL, "a node that is not there");
	cr_assert_eq(bind_memory(map + 1, PAGE, &nodes, false), -EINVAL, "not page aligned");
	cr_assert_eq(bind_thread(0, &cpus), -EINVAL, "no CPUs");
	cr_assert_eq(bind_node_memory(1023, &memory), -ENOENT);
	cr_assert_eq(bind_count_pages(0x3fffffff, map, PAGE, counts), -ESRCH);
}

Test(bind, a_thread_runs_where_it_was_put)
{
	struct cpu_set before, one = { 0 }, now;
	uint32_t cpu;
	char name[32] = "";
	FILE *file;

	cr_assert_eq(bind_thread_read(0, &before), 0);
	cpu = cpu_set_next(&before, 0);
	cr_assert_neq(cpu, CPU_NONE);
	cpu = cpu_set_next(&before, cpu + 1) == CPU_NONE ? cpu : cpu_set_next(&before, cpu + 1);
	cpu_set_add(&one, cpu);
	cr_assert_eq(bind_thread(0, &one), 0);
	cr_assert_eq(bind_thread_read(0, &now), 0);
	cr_assert(cpu_set_equal(&one, &now));
	bind_name_thread("a-name-that-is-too-long");
	file = fopen("/proc/thread-self/comm", "r");
	cr_assert_not_null(file);
	cr_assert_not_null(fgets(name, sizeof(name), file));
	fclose(file);
	cr_assert_str_eq(name, "a-name-that-is-\n");
}

Test(bind, a_nodes_memory_is_told)
{
	struct node_memory memory;
	uint32_t os_node = some_node();
	struct machine m = this_machine();

	cr_assert_eq(bind_node_memory(os_node, &memory), 0);
	cr_assert_gt(memory.free_bytes, 0);
	cr_assert_leq(memory.free_bytes, memory.available_bytes);
	cr_assert_leq(memory.available_bytes, memory.total_bytes);
	cr_assert_eq(memory.total_bytes, m.nodes[machine_node_of(&m, os_node)].memory_bytes,
		"hwloc and sysfs agree");
}

/* The rest of a process's memory follows its policy. */
Test(bind, a_process_allocates_on_its_nodes)
{
	uint32_t os_node = some_node();
	struct node_set nodes = { 0 };
	uint8_t *map;

	node_set_add(&nodes, os_node);
	cr_assert_eq(bind_process_memory(&nodes), 0);
	map = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(map, 1, PAGES * PAGE);
	cr_assert_eq(bind_count_pages(0, map, PAGES * PAGE, counts), 0);
	cr_assert_eq(counts[os_node], PAGES);
}

static void read_file(int fd, size_t at, uint8_t *to, size_t bytes)
{
	cr_assert_eq(pread(fd, to, bytes, (off_t)at), (ssize_t)bytes);
}

Test(exe_copy, is_the_same_program_sealed_and_named)
{
	int exe = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int fd = exe_copy(exe, "cellvisor-cell-7", some_node());
	char link[64], name[128] = "";
	uint8_t a[PAGE], b[PAGE];
	struct stat st, own;

	cr_assert_geq(fd, 0, "%s", strerror(-fd));
	cr_assert_eq(fstat(fd, &st) | fstat(exe, &own), 0);
	/* All that is loaded, and in a program with symbols less than the file. */
	cr_assert_eq(st.st_size % PAGE, 0);
	cr_assert_gt(st.st_size, own.st_size / 16);
	cr_assert_lt(st.st_size, own.st_size);
	for (off_t at = 0; at + 2 * (off_t)PAGE <= st.st_size; at += PAGE) {
		read_file(fd, (size_t)at, a, PAGE);
		read_file(exe, (size_t)at, b, PAGE);
		cr_assert_eq(memcmp(a, b, PAGE), 0, "differs at %ld", (long)at);
	}
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	cr_assert_gt(readlink(link, name, sizeof(name) - 1), 0);
	cr_assert_str_eq(name, "/memfd:cellvisor-cell-7 (deleted)");
	cr_assert_eq(pwrite(fd, "x", 1, 0), -1, "sealed");
	cr_assert_eq(ftruncate(fd, 1), -1, "sealed");
	cr_assert_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

Test(exe_copy, runs)
{
	int exe = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int fd = exe_copy(exe, "copy", some_node()), status;
	char *argv[] = { "cellvisor", "--list", NULL }, *envp[] = { NULL };
	pid_t pid;

	cr_assert_geq(fd, 0);
	pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY);

		dup2(null, 1);
		fexecve(fd, argv, envp);
		_exit(99);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", status);
}

Test(exe_copy, refuses_a_node_that_is_not_there)
{
	int exe = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	cr_assert_eq(exe_copy(exe, "copy", 1023), -EINVAL);
}

static void assert_file(const char *group, const char *file, const char *expected)
{
	char path[512], text[128] = "";
	FILE *stream;

	snprintf(path, sizeof(path), "/sys/fs/cgroup/%s/%s", group, file);
	stream = fopen(path, "r");
	cr_assert_not_null(stream, "%s", path);
	cr_assert_not_null(fgets(text, sizeof(text), stream));
	fclose(stream);
	text[strcspn(text, "\n")] = '\0';
	cr_assert_str_eq(text, expected, "%s: %s", path, text);
}

Test(cgroup, holds_a_process_to_its_limits_where_the_kernel_offers_it)
{
	struct machine m = this_machine();
	struct cpu_set cpus = { 0 };
	struct node_set nodes = { 0 };
	struct cgroup_limits limits = { &cpus, &nodes, 64u << 20 };
	char text[64];
	struct err e;
	pid_t pid;

	if (cgroup_offered(&e) != 0) {
		cr_assert_neq(e.text[0], '\0');
		cr_assert_eq(cgroup_make("cv-test/a/b", &limits, &e), -EOPNOTSUPP);
		cr_assert_eq(cgroup_add("cv-test/a/b", getpid(), &e), -EOPNOTSUPP);
		cr_assert_eq(cgroup_remove("cv-test", &e), -EOPNOTSUPP);
		cr_skip_test("%s", e.text);
	}
	for (uint32_t n = 0; n < m.node_count; n++) {
		if (!cpu_set_empty(&m.nodes[n].cpus))
			cpus = m.nodes[n].cpus;
	}
	node_set_add(&nodes, m.nodes[m.node_count - 1].os_node);
	cr_assert_eq(cgroup_make("cv-test/cell-1/alder", &limits, &e), 0, "%s", e.text);
	cpu_set_format(&cpus, text, sizeof(text));
	assert_file("cv-test/cell-1/alder", "cpuset.cpus", text);
	assert_file("cv-test/cell-1/alder", "memory.max", "67108864");
	snprintf(text, sizeof(text), "%u", m.nodes[m.node_count - 1].os_node);
	assert_file("cv-test/cell-1/alder", "cpuset.mems", text);
	limits.memory_max_bytes = 0;
	cr_assert_eq(cgroup_make("cv-test/cell-1/alder", &limits, &e), 0, "again: %s", e.text);
	assert_file("cv-test/cell-1/alder", "memory.max", "max");

	pid = fork();
	if (pid == 0) {
		pause();
		_exit(0);
	}
	cr_assert_eq(cgroup_add("cv-test/cell-1/alder", pid, &e), 0, "%s", e.text);
	snprintf(text, sizeof(text), "%d", pid);
	assert_file("cv-test/cell-1/alder", "cgroup.procs", text);
	cr_assert_eq(cgroup_remove("cv-test", &e), -EBUSY, "a process is left");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	cr_assert_eq(cgroup_remove("cv-test", &e), 0, "%s", e.text);
	cr_assert_eq(access("/sys/fs/cgroup/cv-test", F_OK), -1);
	cr_assert_eq(cgroup_remove("cv-test", &e), 0, "there is none: fine");

	node_set_add(&nodes, 1023);
	cr_assert_lt(cgroup_make("cv-test/cell-2/birch", &limits, &e), 0);
	cr_assert_not_null(strstr(e.text, "cpuset.mems"), "%s", e.text);
	cr_assert_eq(access("/sys/fs/cgroup/cv-test", F_OK), -1, "nothing is left behind");
	cr_assert_lt(cgroup_add("cv-test/cell-2/birch", getpid(), &e), 0);
}

Test(bind, process_memory_stays_within_what_it_was_bound_to)
{
	struct node_set zero = { { 0 } }, more = { { 0 } }, other = { { 0 } };

	node_set_add(&zero, 0);
	node_set_add(&more, 0);
	node_set_add(&more, 1000);
	node_set_add(&other, 1000);
	if (bind_process_memory(&zero))
		cr_skip_test("a kernel without NUMA");
	/* Node 1000 is not there: to bind to it alone fails, to ask for it as well does not. */
	cr_assert_eq(bind_process_memory_within(&more), 0);
	cr_assert_neq(bind_process_memory_within(&other), 0);
}
