/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cell/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "monitor/cell/runtime.h"
#include "monitor/cell/spawn.h"
#include "numa/host/exe_copy.h"

#define LOG_BYTES_MAX (4 << 20)

struct place {
	const struct plan *plan;
	uint32_t cell;
};

/* In the child: takes the cell's place on the machine. */
static int take_place(void *ctx)
{
	const struct place *place = ctx;
	const struct cell_plan *c = &place->plan->cells.cells[place->cell];
	struct node_set nodes;
	char name[32];
	uint32_t n = 0;
	int self, rc = bind_thread(0, &c->cpus);

	if (rc)
		return rc;
	plan_cell_node_set(place->plan, place->cell, &nodes);
	rc = bind_process_memory(&nodes);
	if (rc)
		return rc;
	/* The copy needs a node with memory; cells_check() says that there is one. */
	while (n + 1 < c->node_count && place->plan->machine.nodes[c->nodes[n]].memory_bytes == 0)
		n++;
	snprintf(name, sizeof(name), "cellvisor-cell-%u", place->cell);
	self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	return self < 0 ? -errno
			: exe_copy(self, name, place->plan->machine.nodes[c->nodes[n]].os_node);
}

static int open_log(const char *dir, uint32_t cell)
{
	char path[RUNTIME_PATH_BYTES];
	int fd = open(runtime_cell_path(path, dir, cell, "monitor.log"),
		O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd >= 0 && lseek(fd, 0, SEEK_END) > LOG_BYTES_MAX && ftruncate(fd, 0))
		fprintf(stderr, "can't shorten %s: %s\n", path, strerror(errno));
	return fd < 0 ? -errno : fd;
}

int cell_launch(const struct plan *plan, const char *dir, uint32_t cell, const struct life *life,
	const char *because, pid_t *pid, int *pidfd, struct err *e)
{
	struct place place = { .plan = plan, .cell = cell };
	char program[] = "cellvisor", role[] = "monitor";
	char cell_word[32], life_word[48], born[48], dir_word[64], why[256];
	char *argv[] = { program, role, cell_word, life_word, born, dir_word, why, NULL };
	struct spawn s = {
		.exe_fd = -1, .fd3 = -1, .argv = argv, .prepare = take_place, .ctx = &place
	};
	int rc;

	snprintf(cell_word, sizeof(cell_word), "--cell=%u", cell);
	snprintf(life_word, sizeof(life_word), "--incarnation=%llu",
		(unsigned long long)life->incarnation);
	snprintf(born, sizeof(born), "--born=%llu", (unsigned long long)life->born);
	snprintf(dir_word, sizeof(dir_word), "--runtime=%s", dir);
	snprintf(why, sizeof(why), "--because=%s", because);
	s.log_fd = open_log(dir, cell);
	rc = s.log_fd < 0 ? s.log_fd : spawn_process(&s, pid, pidfd);
	if (s.log_fd >= 0)
		close(s.log_fd);
	if (rc)
		return err_set(e, EXIT_ENVIRONMENT, "can't start the monitor of cell %u: %s", cell,
			strerror(-rc));
	return 0;
}
