/* SPDX-License-Identifier: BSD-2-Clause */
#include "guests/agent/owner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096u
#define DISK "/dev/vda"
#define WORD_TOUCH 't'
#define WORD_DISK 'd'
#define SEED 0x9e3779b97f4a7c15ull
#define PAGEMAP_FRAME_MASK ((1ull << 55) - 1)

/* Guest address of a page of this process; 0 if it can't be known. */
static uint64_t address_of(const void *page)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;

	if (fd < 0)
		return 0;
	if (pread(fd, &entry, sizeof(entry), (off_t)((uintptr_t)page / PAGE * sizeof(entry))) !=
		(ssize_t)sizeof(entry))
		entry = 0;
	close(fd);
	return entry >> 63 ? (entry & PAGEMAP_FRAME_MASK) * PAGE : 0;
}

static bool is_intact(const volatile uint64_t *page)
{
	for (uint64_t i = 0; i < PAGE / sizeof(*page); i++)
		if (page[i] != SEED * (i + 1))
			return false;
	return true;
}

static char write_disk(const volatile uint64_t *page)
{
	int fd = open(DISK, O_RDWR | O_DIRECT | O_CLOEXEC);
	char error = 0;

	if (fd < 0)
		return (char)errno;
	if (pwrite(fd, (const void *)page, PAGE, 0) != PAGE)
		error = (char)errno;
	close(fd);
	return error;
}

static _Noreturn void own(int sock)
{
	volatile uint64_t *page =
		mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t gpa = 0;
	char word;

	if (page == MAP_FAILED)
		_exit(1);
	for (uint64_t i = 0; i < PAGE / sizeof(*page); i++)
		page[i] = SEED * (i + 1);
	if (mlock((const void *)page, PAGE) == 0)
		gpa = address_of((const void *)page);
	if (write(sock, &gpa, sizeof(gpa)) != (ssize_t)sizeof(gpa))
		_exit(1);
	while (read(sock, &word, 1) == 1) {
		word = word == WORD_DISK ? write_disk(page) : (char)is_intact(page);
		if (write(sock, &word, 1) != 1)
			break;
	}
	_exit(0);
}

int owner_start(struct owner *o)
{
	int ends[2];
	pid_t pid;

	if (o->pid)
		return -EBUSY;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	pid = fork();
	if (pid < 0) {
		int rc = -errno;

		close(ends[0]);
		close(ends[1]);
		return rc;
	}
	if (pid == 0) {
		close(ends[0]);
		own(ends[1]);
	}
	close(ends[1]);
	*o = (struct owner){ .pid = pid, .sock = ends[0] };
	if (read(o->sock, &o->gpa, sizeof(o->gpa)) == (ssize_t)sizeof(o->gpa) && o->gpa)
		return 0;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(o->sock);
	o->pid = 0;
	return -EIO;
}

int owner_touch(struct owner *o, struct owner_state *state)
{
	char word = WORD_TOUCH;
	int status;

	*state = (struct owner_state){ 0 };
	if (!o->pid)
		return -ESRCH;
	if (send(o->sock, &word, 1, MSG_NOSIGNAL) == 1 && read(o->sock, &word, 1) == 1) {
		state->alive = true;
		state->intact = word == 1;
		return 0;
	}
	if (waitpid(o->pid, &status, 0) < 0)
		return -errno;
	state->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	close(o->sock);
	o->pid = 0;
	return 0;
}

int owner_write_disk(struct owner *o)
{
	char word = WORD_DISK;

	if (!o->pid)
		return -ESRCH;
	if (send(o->sock, &word, 1, MSG_NOSIGNAL) != 1 || read(o->sock, &word, 1) != 1)
		return -EPIPE;
	return -word;
}
